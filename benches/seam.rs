//! S5-step and S5-overhead: what the engine's side of the seam costs when kernels do nothing.
//!
//! `S5-step` replays a plan of twelve steps on the null device, which walks the plan and runs no kernel.
//! `S5-overhead` takes a batch of 4,096 events all the way on the processor: claim and commit in the lane,
//! note, lease, submit of one empty kernel, poll, and the memory back to the producer. Nobody writes the
//! events, because that is the producer's work and not the host's.

use pelton::Result;
use pelton::device::{Device, ProgramId, Queue, QueueOptions};
use pelton::plan::{Access, Bind, Grid, Kernel, Memory, Plan, Role};
use pelton::ring::{Lane, LaneOptions, Lease, Tail, lane};
use std::time::Instant;

const EVENTS: usize = 4096;
const STRIDE: usize = 4;
const STEPS: usize = 12;
const HEAD: [u32; 4] = [1, 4096, 1, 7];

pelton::params! {
    /// A block as large as those of real kernels.
    EmptyParams {
        /// Not used.
        a: u32,
        /// Not used.
        b: u32,
        /// Not used.
        c: u32,
        /// Not used.
        d: u32,
    }
}

const PARAMS: EmptyParams = EmptyParams { a: 1, b: 2, c: 3, d: 4 };

/// Does nothing, with what a kernel of an operator binds.
static EMPTY: Kernel = Kernel {
    name: "empty",
    params: EmptyParams::FIELDS,
    events: true,
    binds: &[
        Bind { name: "read", access: Access::Read },
        Bind { name: "write", access: Access::Write },
    ],
    wgsl: "",
    cpu: |_| {},
};

/// A queue with one program of `steps` empty kernels, and a lane to lease events from.
struct Seam {
    queue: Box<dyn Queue>,
    program: ProgramId,
    lane: Lane<[u32; STRIDE]>,
    tail: Tail,
    /// The leases' list, which comes back with every batch.
    leases: Vec<Lease>,
}

impl Seam {
    fn new(device: &Device, steps: usize) -> Result<Self> {
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
        let mut memory = Memory::default();
        let read = memory.buffer::<u32>("read", Role::State, 64);
        let write = memory.buffer::<u32>("write", Role::Scratch, 64);
        queue.alloc(&memory.buffers)?;
        let mut plan = Plan::new("seam", HEAD.len());
        (plan.events_max, plan.stride) = (EVENTS, STRIDE);
        for _ in 0..steps {
            plan.step(&EMPTY, Grid::Head(0), PARAMS, &[read.id, write.id]);
        }
        let program = queue.compile(&plan, &memory)?;
        let (lane, tail) = lane(&LaneOptions { events: 4 * EVENTS, ..LaneOptions::default() })?;
        Ok(Self { queue, program, lane, tail, leases: Vec::new() })
    }

    /// A range of the lane, leased.
    fn lease(&mut self) {
        self.tail.reclaim();
        let run = self.lane.write(EVENTS).expect("the lane has room");
        run.commit(EVENTS, 0, 0);
        let note = self.tail.next().expect("a run was committed");
        self.leases.push(self.tail.lease(note.from, note.to));
    }

    /// One crossing and back, with the leases there are.
    fn cross(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        assert!(self.queue.room(self.program), "the batch before it has retired");
        self.queue.submit(self.program, &HEAD, leases).expect("the device works");
        self.queue.flush().expect("the device works");
        let done = self.queue.poll().expect("the device works");
        self.leases = done.expect("it finishes inside submit").leases;
    }

    /// One batch from the producer's claim until its memory may be reused.
    fn batch(&mut self) {
        self.lease();
        self.cross();
        self.leases.clear();
    }
}

/// Nanoseconds of one step in each round: whole replays by their steps.
fn step(rounds: usize) -> Result<Vec<f64>> {
    const REPLAYS: u32 = 200_000;
    let mut seam = Seam::new(&Device::null(), STEPS)?;
    seam.lease();
    (0..REPLAYS / 10).for_each(|_| seam.cross());
    let round = |_| {
        let start = Instant::now();
        (0..REPLAYS).for_each(|_| seam.cross());
        start.elapsed().as_secs_f64() * 1e9 / (f64::from(REPLAYS) * STEPS as f64)
    };
    Ok((0..rounds).map(round).collect())
}

/// The p50 of a batch's microseconds in each round; reading the clock is in it.
fn overhead(rounds: usize) -> Result<Vec<f64>> {
    const BATCHES: usize = 20_000;
    let mut seam = Seam::new(&Device::cpu(), 1)?;
    let mut took = vec![0.0; BATCHES];
    (0..BATCHES / 10).for_each(|_| seam.batch());
    let round = |_| {
        for took in &mut took {
            let start = Instant::now();
            seam.batch();
            *took = start.elapsed().as_secs_f64() * 1e6;
        }
        median(&mut took)
    };
    Ok((0..rounds).map(round).collect())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} x{cores}", model.trim_start_matches([' ', '\t', ':']).replace(['"', '\\'], ""))
}

/// One line of JSON; there is no peer, because nobody else has this seam.
fn print(id: &str, unit: &str, (value, bound): (f64, f64), rounds: usize, why: &str) {
    println!(
        "{{\"id\":\"{id}\",\"value\":{value:.3},\"unit\":\"{unit}\",\"peer\":null,\"version\":null,\
         \"peer_value\":null,\"ratio\":{:.3},\"bound\":{bound},\"ok\":{},\"why\":\"{why}\",\
         \"rounds\":{rounds},\"machine\":\"{}\"}}",
        value / bound,
        value <= bound,
        machine()
    );
}

/// `seam [ID]`: one row, or all of them.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("S5")).unwrap_or_default();
    let asked = |id: &str| wanted.is_empty() || wanted == id;
    if asked("S5-step") {
        const ROUNDS: usize = 9;
        let why = "12 steps on the null device, submit and poll included; ratio to the bound";
        print("S5-step", "ns/step", (median(&mut step(ROUNDS)?), 10.0), ROUNDS, why);
    }
    if asked("S5-overhead") {
        const ROUNDS: usize = 20;
        let best = overhead(ROUNDS)?.into_iter().fold(f64::INFINITY, f64::min);
        let why = "p50 of a batch of 4096 events through one empty kernel, lane and lease included, \
                   best round; ratio to the bound";
        print("S5-overhead", "us/batch", (best, 1.0), ROUNDS, why);
    }
    Ok(())
}
