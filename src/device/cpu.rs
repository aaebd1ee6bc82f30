//! The embedded default: runs each step's CPU twin where the events lie, without a copy or a thread.

use super::output::{Output, Pool, Words};
use super::{Backend, Caps, Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights};
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::limits::{IN_FLIGHT_MAX, KERNEL_BINDS_MAX};
use crate::plan::{Args, BufId, BufferDecl, EventWords, Memory, OUTPUT_HEAD, Plan, Role};
use crate::ring::lane::Lease;
use std::collections::VecDeque;
use std::sync::Arc;

/// The host's processor.
pub(super) struct Cpu {
    caps: Caps,
}

impl Cpu {
    pub(super) fn new() -> Self {
        Self {
            caps: Caps {
                name: "cpu".into(),
                driver: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
                software: false,
                in_place: true,
                serial: true,
                bind_words_max: usize::MAX / 4,
                subgroup: (1, 1),
                f16: true,
                latency_mode: false,
            },
        }
    }
}

impl Backend for Cpu {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights> {
        weights("cpu", name, words)
    }
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        Ok(Box::new(HostQueue::new("cpu", options, |step| step.kernel.cpu)?))
    }
}

type Twin = fn(Args<'_>);

struct Step {
    twin: Twin,
    params: Vec<u32>,
    binds: Vec<usize>,
    weights: Vec<Arc<Words>>,
}

struct Program {
    steps: Vec<Step>,
    head_words: usize,
    events_max: usize,
    output: Option<usize>,
}

/// A queue that finishes every batch inside `submit`, on the caller's thread.
pub(super) struct HostQueue {
    device: &'static str,
    options: QueueOptions,
    /// What a step runs: its CPU twin, or nothing on the null device.
    twin: fn(&crate::plan::Step) -> Twin,
    buffers: Vec<Words>,
    pools: Vec<Option<Arc<Pool>>>,
    weights: Vec<Option<Arc<Words>>>,
    programs: Vec<Program>,
    done: VecDeque<Done>,
    tickets: u64,
}

impl HostQueue {
    pub(super) fn new(
        device: &'static str,
        options: QueueOptions,
        twin: fn(&crate::plan::Step) -> Twin,
    ) -> Result<Self> {
        options.check()?;
        Ok(Self {
            device,
            options,
            twin,
            buffers: Vec::new(),
            pools: Vec::new(),
            weights: Vec::new(),
            programs: Vec::new(),
            done: VecDeque::with_capacity(IN_FLIGHT_MAX),
            tickets: 0,
        })
    }

    fn full(&self, what: &str, words: usize) -> Error {
        full(self.device, what, words)
    }
}

fn full(device: &str, what: &str, words: usize) -> Error {
    let mib = words >> 18;
    Error::unsupported(device, format!("out of memory: {what} needs {mib} MiB; lower the limits"))
}

/// Weights in the host's memory.
pub(super) fn weights(device: &'static str, name: &str, words: &[u32]) -> Result<Weights> {
    let mut held = Words::zeroed(words.len()).ok_or_else(|| full(device, name, words.len()))?;
    held.slice_mut().copy_from_slice(words);
    Ok(Weights::new(device, words.len(), Arc::new(held)))
}

impl QueueOptions {
    /// What every device checks.
    pub(super) fn check(self) -> Result<()> {
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return Err(Error::invalid(format!("in_flight: 1 to {IN_FLIGHT_MAX}")));
        }
        if self.outputs < self.in_flight {
            return Err(Error::invalid("outputs: at least as many as batches in flight"));
        }
        Ok(())
    }
}

/// The leases of one batch as what a kernel reads.
struct Ranges<'a>(&'a [Lease]);

impl EventWords for Ranges<'_> {
    #[inline]
    fn range(&self, i: usize) -> &[u32] {
        self.0[i].words()
    }
}

impl Queue for HostQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        let before = self.buffers.len();
        for decl in buffers {
            let output = matches!(decl.role, Role::Output { .. });
            let words = Words::zeroed(if output { 0 } else { decl.words });
            let pool = if output { Pool::new(self.options.outputs, decl.words) } else { None };
            let (Some(words), true) = (words, pool.is_some() == output) else {
                self.buffers.truncate(before);
                self.pools.truncate(before);
                self.weights.truncate(before);
                return Err(self.full(decl.name, decl.words));
            };
            self.buffers.push(words);
            self.pools.push(pool);
            self.weights.push(None);
        }
        Ok(())
    }

    fn attach(&mut self, weights: &[Weights]) -> Result<()> {
        let held = weights.iter().map(|weights| weights.held::<Words>(self.device));
        for held in held.collect::<Result<Vec<_>>>()? {
            self.buffers.push(Words::default());
            self.pools.push(None);
            self.weights.push(Some(held));
        }
        Ok(())
    }

    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        if self.buffers[usize::from(buffer.0)].resize(words) {
            return Ok(());
        }
        Err(self.full("a buffer", words))
    }

    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId> {
        plan.check(memory)?;
        let steps = plan.steps.iter().map(|step| {
            let ids = || step.binds.iter().map(|b| usize::from(b.0));
            Step {
                twin: (self.twin)(step),
                params: step.params.clone(),
                binds: ids().filter(|&id| self.weights[id].is_none()).collect(),
                weights: ids().filter_map(|id| self.weights[id].clone()).collect(),
            }
        });
        self.programs.push(Program {
            steps: steps.collect(),
            head_words: plan.head_words,
            events_max: plan.events_max * plan.stride,
            output: plan.output.map(|b| usize::from(b.0)),
        });
        Ok(ProgramId(u32::try_from(self.programs.len() - 1).expect("few programs")))
    }

    fn room(&mut self, program: ProgramId) -> bool {
        let output = self.programs[program.0 as usize].output;
        let pool = output.and_then(|b| self.pools[b].as_ref());
        self.done.len() < self.options.in_flight && !pool.is_some_and(|p| p.is_empty())
    }

    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
        assert!(self.done.len() < self.options.in_flight, "submit without room");
        let program = &self.programs[program.0 as usize];
        assert!(head.len() <= program.head_words, "a longer header than the plan said");
        debug_assert!(leases.iter().map(|l| l.words().len()).sum::<usize>() <= program.events_max);
        if let Some(out) = program.output {
            let pool = self.pools[out].as_ref().expect("outputs have a pool");
            self.buffers[out] = pool.take().expect("submit without room");
            let words = self.buffers[out].slice_mut();
            let head = OUTPUT_HEAD.min(words.len());
            words[..head].fill(0);
        }
        let events = Ranges(&leases);
        for step in &program.steps {
            let (buffers, binds) = (&mut self.buffers, &step.binds[..]);
            match binds.len() {
                0 => run::<0>(step, head, &events, buffers),
                1 => run::<1>(step, head, &events, buffers),
                2 => run::<2>(step, head, &events, buffers),
                3 => run::<3>(step, head, &events, buffers),
                4 => run::<4>(step, head, &events, buffers),
                5 => run::<5>(step, head, &events, buffers),
                6 => run::<6>(step, head, &events, buffers),
                n => unreachable!("Plan::check allows at most six bindings, not {n}"),
            }
        }
        let output = program.output.map(|out| {
            let words = std::mem::take(&mut self.buffers[out]);
            let used = words.slice()[0] as usize;
            Output::new(words, used, self.pools[out].clone().expect("outputs have a pool"))
        });
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.done.push_back(Done { ticket, done_ns: clock::now_ns(), output, leases });
        Ok(ticket)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<Done>> {
        Ok(self.done.pop_front())
    }

    fn read(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        into.copy_from_slice(&self.buffers[usize::from(buffer.0)].slice()[at..at + into.len()]);
        Ok(())
    }

    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        let to = self.buffers[usize::from(buffer.0)].slice_mut();
        to[at..at + words.len()].copy_from_slice(words);
        Ok(())
    }

    fn on_done(&mut self, _wake: Wake) {}
}

/// Runs one step; `Plan::check` has made sure that its bindings are distinct.
fn run<const N: usize>(step: &Step, head: &[u32], events: &Ranges<'_>, buffers: &mut [Words]) {
    let ids: [usize; N] = std::array::from_fn(|i| step.binds[i]);
    let binds = buffers.get_disjoint_mut(ids).expect("bindings are distinct");
    let mut binds = binds.map(Words::slice_mut);
    let mut weights: [&[u32]; KERNEL_BINDS_MAX] = [&[]; KERNEL_BINDS_MAX];
    for (words, held) in weights.iter_mut().zip(&step.weights) {
        *words = held.slice();
    }
    let weights = &weights[..step.weights.len()];
    (step.twin)(Args::new(head, &step.params, events, &mut binds).with_weights(weights));
}
