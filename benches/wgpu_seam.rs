//! S5-wgpu: what the seam costs over a loop written by hand against wgpu, on the same adapter.
//!
//! Both run the same two kernels over 4,096 events of 16 bytes and bring the same words back, with as many
//! batches in flight; they take turns, so that whatever else the machine does hits both. The loop by hand
//! is the one its documentation teaches: `write_buffer`, one submission for each batch, `map_async`, wait
//! for the oldest.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use kernels::{BinsParams, COUNT_BINS, ECHO, STRIDE};
use pelton::Result;
use pelton::device::{Device, ProgramId, Queue, QueueOptions};
use pelton::plan::{Grid, Kernel, Memory, Plan, Role};
use pelton::ring::{Lane, LaneOptions, Tail, lane};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use wgpu::BufferUsages as Usage;

const EVENTS: usize = 4096;
const EAGER: usize = 64;
const BATCHES: u64 = 400;
const ROUNDS: usize = 9;
const BOUND: f64 = 2.0;
const GROUPS: u32 = 16;
const HEAD: [u32; 4] = [GROUPS, 4096, 1, 7];
const PARAMS: BinsParams = BinsParams { bins: 64, shift: 3, scale: 1.0, pad0: 0 };

/// Counts what Rust code allocates, on any thread.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands every request on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is also the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above with this layout, so from the system.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one turn took.
struct Turn {
    us: f64,
    allocations: f64,
}

fn turn(mut batches: impl FnMut(u64)) -> Turn {
    batches(20);
    let (before, start) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
    batches(BATCHES);
    let us = start.elapsed().as_secs_f64() * 1e6 / BATCHES as f64;
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    Turn { us, allocations: allocations as f64 / BATCHES as f64 }
}

/// The seam.
struct Ours {
    queue: Box<dyn Queue>,
    program: ProgramId,
    lane: Lane<[u32; STRIDE]>,
    tail: Tail,
    spare: Vec<Vec<pelton::ring::Lease>>,
}

impl Ours {
    fn new(device: &Device, in_flight: usize) -> Result<Self> {
        let mut queue = device.queue(QueueOptions { in_flight, outputs: in_flight })?;
        let mut memory = Memory::default();
        let bins = memory.buffer::<u32>("bins", Role::State, 64);
        let out = memory.buffer::<u32>("out", Role::Output { eager: EAGER }, EVENTS + 2);
        queue.alloc(&memory.buffers)?;
        let mut plan = Plan::new("bench", HEAD.len());
        (plan.events_max, plan.stride, plan.output) = (EVENTS, STRIDE, Some(out.id));
        plan.step(&COUNT_BINS, Grid::Head(0), PARAMS, &[bins.id]);
        plan.step(&SHORT, Grid::Head(0), (), &[out.id]);
        let program = queue.compile(&plan, &memory)?;
        let options = LaneOptions { events: 8 * EVENTS, ..LaneOptions::default() };
        let (lane, tail) = lane(&options)?;
        Ok(Self { queue, program, lane, tail, spare: Vec::new() })
    }

    /// Runs this many batches and takes all their results. The engine's thread sleeps until it is woken.
    fn run(&mut self, batches: u64, source: &[[u32; STRIDE]]) {
        let thread = std::thread::current();
        let woken = Arc::new(AtomicBool::new(false));
        let wake = Arc::clone(&woken);
        self.queue.on_done(Arc::new(move || {
            wake.store(true, Ordering::Release);
            thread.unpark();
        }));
        let (mut sent, mut done) = (0, 0);
        while done < batches {
            while sent < batches && self.queue.room(self.program) {
                self.tail.reclaim();
                let mut run = self.lane.write(EVENTS).expect("the lane has room");
                run.copy_from_slice(source);
                run.commit(EVENTS, 0, 0);
                let note = self.tail.next().expect("a run was committed");
                let mut leases = self.spare.pop().unwrap_or_default();
                leases.push(self.tail.lease(note.from, note.to));
                self.queue.submit(self.program, &HEAD, leases).expect("the device works");
                sent += 1;
            }
            match self.queue.poll().expect("the device works") {
                Some(mut batch) => {
                    batch.leases.clear();
                    self.spare.push(batch.leases);
                    let output = batch.output.expect("there is an output");
                    assert_eq!((output.len(), output[1]), (EAGER, 7));
                    done += 1;
                }
                None => {
                    while !woken.swap(false, Ordering::Acquire) {
                        std::thread::park();
                    }
                }
            }
        }
    }
}

/// Returns a few words of a batch, so that the bench is about the way and not about the freight.
static SHORT: Kernel = Kernel {
    name: "short",
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256)
fn short(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wid, n) * 256u + lane;
    if i == 0u { out[0] = 64u; out[1] = head[3]; }
    if i >= head[1] { return; }
    out[i + 2u] = events[i * 4u];
}
",
    params: ECHO.params,
    events: ECHO.events,
    binds: ECHO.binds,
    cpu: ECHO.cpu,
};

/// A place in flight of the loop by hand.
struct Place {
    head: wgpu::Buffer,
    events: wgpu::Buffer,
    out: wgpu::Buffer,
    back: wgpu::Buffer,
    groups: [wgpu::BindGroup; 2],
}

/// The loop by hand.
struct Bare {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: [wgpu::ComputePipeline; 2],
    places: Vec<Place>,
    host: Vec<[u32; STRIDE]>,
}

fn buffer(device: &wgpu::Device, words: usize, usage: Usage) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: words as u64 * 4,
        usage,
        mapped_at_creation: false,
    })
}

fn pipeline(device: &wgpu::Device, kernel: &Kernel) -> wgpu::ComputePipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(kernel.shader().into()),
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some(kernel.name),
        compilation_options: Default::default(),
        cache: None,
    })
}

fn group(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    bound: &[(u32, &wgpu::Buffer)],
) -> wgpu::BindGroup {
    let entries: Vec<_> = bound
        .iter()
        .map(|(binding, buffer)| wgpu::BindGroupEntry {
            binding: *binding,
            resource: buffer.as_entire_binding(),
        })
        .collect();
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    })
}

impl Bare {
    fn new(part: &str, in_flight: usize) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters.into_iter().find(|a| a.get_info().name == part).expect("as ours");
        let (device, queue) =
            pollster::block_on(adapter.request_device(&Default::default())).expect("as ours");
        let pipelines = [pipeline(&device, &COUNT_BINS), pipeline(&device, &SHORT)];
        let storage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
        let params = buffer(&device, 4, Usage::UNIFORM | Usage::COPY_DST);
        queue.write_buffer(&params, 0, bytemuck::bytes_of(&PARAMS));
        let bins = buffer(&device, 64, storage);
        let place = |_| {
            let head = buffer(&device, 4, storage);
            let events = buffer(&device, EVENTS * STRIDE, storage);
            let out = buffer(&device, EVENTS + 4, storage);
            let back = buffer(&device, EAGER, Usage::MAP_READ | Usage::COPY_DST);
            let first = [(0, &head), (1, &params), (2, &events), (3, &bins)];
            let second = [(0, &head), (2, &events), (3, &out)];
            let groups =
                [group(&device, &pipelines[0], &first), group(&device, &pipelines[1], &second)];
            Place { head, events, out, back, groups }
        };
        let places = (0..in_flight).map(place).collect();
        Self { places, pipelines, device, queue, host: vec![[0; STRIDE]; EVENTS] }
    }

    fn submit(&mut self, place: usize, source: &[[u32; STRIDE]]) -> wgpu::SubmissionIndex {
        let place = &self.places[place];
        // The producer's write, which ours makes into the lane.
        self.host.copy_from_slice(source);
        self.queue.write_buffer(&place.head, 0, bytemuck::bytes_of(&HEAD));
        self.queue.write_buffer(&place.events, 0, bytemuck::cast_slice(&self.host));
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&place.out, 0, Some(4));
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (pipeline, group) in self.pipelines.iter().zip(&place.groups) {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(GROUPS, 1, 1);
        }
        drop(pass);
        encoder.copy_buffer_to_buffer(&place.out, 0, &place.back, 0, EAGER as u64 * 4);
        let index = self.queue.submit([encoder.finish()]);
        place.back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.expect("the device works"));
        index
    }

    fn run(&mut self, depth: usize, batches: u64, source: &[[u32; STRIDE]]) {
        let mut flights = VecDeque::new();
        let (mut sent, mut done, mut words) = (0, 0, vec![0; EAGER]);
        while done < batches {
            while sent < batches && flights.len() < depth {
                let place = usize::try_from(sent % self.places.len() as u64).expect("small");
                flights.push_back((place, self.submit(place, source)));
                sent += 1;
            }
            let (place, index) = flights.pop_front().expect("one is in flight");
            let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
            self.device.poll(wait).expect("the device works");
            let back = &self.places[place].back;
            let view = back.get_mapped_range(..).expect("it is mapped");
            words.copy_from_slice(bytemuck::cast_slice(&view));
            assert_eq!((words[0] as usize, words[1]), (EAGER, 7));
            drop(view);
            back.unmap();
            done += 1;
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn machine(device: &Device) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} x{cores}, {}", model.trim_start_matches([' ', '\t', ':']), device.caps().name)
}

fn print(id: &str, unit: &str, (ours, bare): (f64, f64), why: &str, device: &Device) {
    let ratio = ours / bare;
    println!(
        "{{\"id\":\"{id}\",\"value\":{ours:.1},\"unit\":\"{unit}\",\"peer\":\"wgpu by hand\",\
         \"version\":\"30.0.1\",\"peer_value\":{bare:.1},\"ratio\":{ratio:.3},\"bound\":{BOUND},\
         \"ok\":{},\"why\":\"{why}\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        ratio <= BOUND,
        machine(device)
    );
}

/// How many are in flight where the way is to be kept full.
const DEEP: usize = 4;

/// `wgpu_seam [ID]`: one row, or all of them.
fn main() {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("S5")).unwrap_or_default();
    let device = Device::named("wgpu").or_else(|_| Device::named("wgpu:llvmpipe"));
    let device = match device {
        Ok(device) => device,
        Err(error) => return eprintln!("SKIP S5-wgpu: {error}"),
    };
    let adapter = device.caps().name.trim_start_matches("wgpu:");
    let source: Vec<[u32; STRIDE]> = (0..4096).map(|i| [i, i * 7, 1, 2]).collect();
    let mut ours = [DEEP, 1].map(|n| Ours::new(&device, n).expect("the device works"));
    // One device each, because devices of one adapter need not be equally fast.
    let mut bare = Bare::new(adapter, DEEP);
    let mut turns = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (i, depth) in [DEEP, 1].into_iter().enumerate() {
            turns[i].push(turn(|batches| ours[i].run(batches, &source)));
            turns[i + 2].push(turn(|batches| bare.run(depth, batches, &source)));
        }
    }
    let us = |turns: &Vec<Turn>| median(turns.iter().map(|turn| turn.us).collect());
    let count = |turns: &Vec<Turn>| median(turns.iter().map(|turn| turn.allocations).collect());
    let ([deep, one, bare_deep, bare_one], counts) =
        (turns.each_ref().map(us), turns.each_ref().map(count));
    let row = |id: &str, unit: &str, pair: (f64, f64), why: String| {
        if wanted.is_empty() || wanted == id {
            print(
                id,
                unit,
                pair,
                &format!("{EVENTS} events of 16 bytes, 2 dispatches, {why}"),
                &device,
            );
        }
    };
    // By hand, more in flight is not always faster: ours is held to the better of the two.
    let why = format!(
        "{DEEP} in flight; by hand {bare_deep:.1} us so and {bare_one:.1} us with 1 in flight"
    );
    row("S5-wgpu", "us/batch", (deep, bare_deep.min(bare_one)), why);
    row("S5-wgpu-one", "us/batch", (one, bare_one), "1 in flight, a round trip".into());
    let why = format!("{DEEP} in flight; Rust allocations on all threads");
    row("S5-wgpu-alloc", "allocations/batch", (counts[0], counts[2]), why);
}
