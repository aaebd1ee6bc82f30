//! The CUDA kernels as a device: the processor's queue runs them, step by step, in place of its own twins.
//!
//! Of kernels that a library has not, the processor's own twins run.
//!
//! No driver, no graph, no concurrency: what is judged here is the kernels, under random orders of their threads and
//! grids that are larger than the header asks for, as those of captured graphs are.

use super::shim::{Arg, Launch, Shim};
use super::{KERNELS, Library, skip};
use bytemuck::{Pod, Zeroable};
use pelton::Result;
use pelton::device::{
    Backend, Caps, Device, Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights,
};
use pelton::ops;
use pelton::plan::{Access, Args, BufId, BufferDecl, Grid, Kernel, Memory, Plan};
use pelton::ring::Lease;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// The device under this seed, or a line in the list of what was not run.
pub fn open(test: &str, seed: u64) -> Option<Device> {
    let device = of(&KERNELS, seed);
    if device.is_none() {
        skip(test, "no C++ compiler");
    }
    device
}

/// As `open`, one that runs products at low precision as a card of compute capability 9.0 does.
pub fn open_wgmma(test: &str, seed: u64) -> Option<Device> {
    let device = of_wgmma(&KERNELS, seed);
    if device.is_none() {
        skip(test, "no C++ compiler");
    }
    device
}

/// The device over another library of the same kernels; `None` without a compiler.
pub fn of(library: &Library<'_>, seed: u64) -> Option<Device> {
    make(library, seed, false)
}

/// As `of`, a card of compute capability 9.0.
pub fn of_wgmma(library: &Library<'_>, seed: u64) -> Option<Device> {
    make(library, seed, true)
}

fn make(library: &Library<'_>, seed: u64, wgmma: bool) -> Option<Device> {
    let shim = Shim::open(library)?;
    let mut caps = Device::cpu().caps().clone();
    caps.name = format!("cuda-host:{seed}");
    (caps.in_place, caps.serial) = (false, false);
    let backend = Arc::new(CudaHost { caps, shim, seed, wgmma });
    Some(Device::new(backend, "the CUDA kernels were asked for"))
}

/// Of a card of compute capability 9.0 whose blocks have more than a tile each.
const MULTIPROCESSORS: u32 = 2;

struct CudaHost {
    caps: Caps,
    shim: Shim,
    seed: u64,
    wgmma: bool,
}

impl Backend for CudaHost {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights> {
        Device::cpu().weights(name, words)
    }
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        let inner = Device::cpu().queue(options)?;
        let (shim, seed, wgmma) = (self.shim.clone(), self.seed, self.wgmma);
        Ok(Box::new(HostQueue { inner, shim, seed, wgmma, programs: Vec::new() }))
    }
}

/// What the twins of a batch have to know beside what they are handed.
struct Replay {
    shim: Shim,
    seed: u64,
    wgmma: bool,
    grids: Vec<Grid>,
    events: Vec<Quad>,
    words: usize,
    step: usize,
}

/// Events lie as a device has them, at a multiple of 16 bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Quad([u32; 4]);

thread_local! {
    static REPLAY: RefCell<Option<Replay>> = const { RefCell::new(None) };
}

struct HostQueue {
    inner: Box<dyn Queue>,
    shim: Shim,
    seed: u64,
    wgmma: bool,
    programs: Vec<Vec<Grid>>,
}

/// The records of `ops::KERNELS` with the CUDA kernels for CPU twins.
fn twins() -> &'static [Kernel] {
    static TWINS: OnceLock<Vec<Kernel>> = OnceLock::new();
    TWINS.get_or_init(|| ops::KERNELS.iter().zip(CALLS).map(|(of, call)| twin(of, call)).collect())
}

fn twin(of: &'static Kernel, call: fn(Args<'_>)) -> Kernel {
    let Kernel { name, params, events, binds, wgsl, cpu: _ } = *of;
    Kernel { name, params, events, binds, wgsl, cpu: call }
}

/// One function for each kernel, because a twin is a plain function.
const CALLS: [fn(Args<'_>); 34] = [
    call::<0>, call::<1>, call::<2>, call::<3>, call::<4>, call::<5>, call::<6>, call::<7>,
    call::<8>, call::<9>, call::<10>, call::<11>, call::<12>, call::<13>, call::<14>, call::<15>,
    call::<16>, call::<17>, call::<18>, call::<19>, call::<20>, call::<21>, call::<22>, call::<23>,
    call::<24>, call::<25>, call::<26>, call::<27>, call::<28>, call::<29>, call::<30>, call::<31>,
    call::<32>, call::<33>,
];
// Without the feature `model` there are fewer kernels.
const _: () = assert!(CALLS.len() >= ops::KERNELS.len(), "a call for each kernel");

fn call<const KERNEL: usize>(args: Args<'_>) {
    let kernel = ops::KERNELS[KERNEL];
    match kernel.binds.iter().filter(|bind| bind.access != Access::Weights).count() {
        1 => launch::<1>(kernel, args),
        2 => launch::<2>(kernel, args),
        3 => launch::<3>(kernel, args),
        4 => launch::<4>(kernel, args),
        5 => launch::<5>(kernel, args),
        6 => launch::<6>(kernel, args),
        n => unreachable!("no kernel of {n} bindings"),
    }
}

fn launch<const N: usize>(kernel: &Kernel, args: Args<'_>) {
    REPLAY.with_borrow_mut(|replay| {
        let replay = replay.as_mut().expect("set by submit");
        let (head, params) = (args.head, args.params);
        let grid = match replay.grids[replay.step] {
            // As many blocks as a graph for batches of up to this size has.
            Grid::Head(word) => head[word].next_power_of_two().max(2),
            Grid::Groups(groups) => groups,
        };
        replay.step += 1;
        let mut all = vec![Arg::Read(head)];
        if !params.is_empty() {
            all.push(Arg::Value(params));
        }
        if kernel.events {
            all.push(Arg::Read(&bytemuck::cast_slice(&replay.events)[..replay.words]));
        }
        let mut weights = args.weights.iter().map(|words| Arg::Read(words));
        let mut buffers = args.binds::<N>().into_iter().map(Arg::Write);
        all.extend(kernel.binds.iter().filter_map(|bind| match bind.access {
            Access::Weights => weights.next(),
            _ => buffers.next(),
        }));
        // Each step an order of its own, unless it is by number.
        let seed = replay.seed.wrapping_mul(0x9E37_79B9).wrapping_add(replay.step as u64);
        let seed = if replay.seed == 0 { 0 } else { seed.max(1) };
        // As device/cuda/wgmma.rs chooses.
        let dtype = kernel.params.iter().position(|field| field.name == "dtype");
        let low = kernel.name == "gemm" && dtype.is_some_and(|at| params[at] != 0);
        let (name, grid) = match replay.wgmma && low {
            true => ("gemm_wgmma", grid.min(MULTIPROCESSORS)),
            false => (kernel.name, grid),
        };
        let shared_bytes = replay.shim.shared_bytes(name);
        let launch = Launch { shared_bytes, ..Launch::of(grid, seed) };
        if let Err(why) = replay.shim.launch(name, launch, &mut all) {
            panic!("{why}");
        }
    });
}

impl Queue for HostQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        self.inner.alloc(buffers)
    }
    fn attach(&mut self, weights: &[Weights]) -> Result<()> {
        self.inner.attach(weights)
    }
    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        self.inner.resize(buffer, words)
    }

    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId> {
        let (mut plan, mut grids) = (plan.clone(), Vec::new());
        for step in &mut plan.steps {
            let same = |of: &&Kernel| std::ptr::eq(*of, step.kernel);
            let at = ops::KERNELS.iter().position(same).expect("a kernel of ops::KERNELS");
            if self.shim.has(step.kernel.name) {
                step.kernel = &twins()[at];
                grids.push(step.grid);
            }
        }
        let id = self.inner.compile(&plan, memory)?;
        self.programs.push(grids);
        Ok(id)
    }

    fn room(&mut self, program: ProgramId) -> bool {
        self.inner.room(program)
    }

    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
        let words = leases.iter().map(|lease| lease.words().len()).sum::<usize>();
        let mut events = vec![Quad([0; 4]); words.div_ceil(4)];
        let all: &mut [u32] = bytemuck::cast_slice_mut(&mut events);
        let mut at = 0;
        for words in leases.iter().map(Lease::words) {
            all[at..at + words.len()].copy_from_slice(words);
            at += words.len();
        }
        REPLAY.set(Some(Replay {
            shim: self.shim.clone(),
            seed: self.seed,
            wgmma: self.wgmma,
            grids: self.programs[program.0 as usize].clone(),
            events,
            words,
            step: 0,
        }));
        let ticket = self.inner.submit(program, head, leases);
        REPLAY.set(None);
        ticket
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
    fn poll(&mut self) -> Result<Option<Done>> {
        self.inner.poll()
    }
    fn read(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        self.inner.read(buffer, at, into)
    }
    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        self.inner.write(buffer, at, words)
    }
    fn on_done(&mut self, wake: Wake) {
        self.inner.on_done(wake);
    }
}
