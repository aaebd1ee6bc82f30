//! Batches in flight on a CUDA device: one graph launch each, a mark in host memory when it is done.
//!
//! A batch takes the next place in flight, round and round, since batches retire in order. Its events are read from
//! the lanes by its first kernel, or come by the copy engine on a stream of their own while the kernels of the batch
//! before run. Its output is written by its last kernel into the page-locked memory that the user reads.
//!
//! The argument for every promise made to `stream.rs` here: what a batch uses is its place, its leases, its output,
//! and buffers of this queue. The first three are the batch's alone until its mark was seen; all of them are given
//! back only after the streams have run dry (`resize`, `compile`, `Drop`).

mod latency;

use super::Gpu;
use super::completion::Completion;
use super::memory::{Memory, Pinned, Span};
use super::place::{Place, Size, low};
use super::program::Program;
use super::resident::{Pulse, Resident};
use super::stream::{Event, Stream};
use crate::base::error::{Error, Result};
use crate::base::limits::BATCH_RANGES_MAX;
use crate::device::output::{Output, Pool, Words};
use crate::device::{Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights};
use crate::plan::{BufId, BufferDecl, Memory as PlanMemory, Plan, Role};
use crate::ring::lane::Lease;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Words that `read` and `write` move at a time.
const PIECE: usize = 1 << 20;

/// Where a declared buffer lives.
pub(super) enum Home {
    /// One buffer, for all batches.
    Store { name: &'static str, words: usize, memory: Memory },
    /// Words that other queues read, too.
    Shared { words: usize, memory: Arc<Memory> },
    /// One for each place in flight, and the host's own, as many as may be held.
    Outlet { words: usize, memory: Vec<Memory>, pool: Arc<Pool> },
}

impl Home {
    fn new(gpu: &Gpu, options: QueueOptions, decl: &BufferDecl) -> Result<Self> {
        let BufferDecl { name, role, words } = *decl;
        if !matches!(role, Role::Output { .. }) {
            let memory = Memory::new(&gpu.context, name, words)?;
            return Ok(Self::Store { name, words, memory });
        }
        let memory = (0..options.in_flight).map(|_| Memory::new(&gpu.context, name, words));
        let held =
            (0..options.outputs).map(|_| Pinned::new(&gpu.context, name, words).map(Words::from));
        Ok(Self::Outlet {
            words,
            memory: memory.collect::<Result<_>>()?,
            pool: Pool::of(held.collect::<Result<_>>()?),
        })
    }

    /// What a kernel of the batch at this place binds.
    pub(super) fn at(&self, place: usize) -> Span {
        match self {
            Self::Store { words, memory, .. } => memory.span(*words),
            Self::Shared { words, memory } => memory.span(*words),
            Self::Outlet { words, memory, .. } => memory[place].span(*words),
        }
    }

    /// Its size.
    pub(super) fn words(&self) -> usize {
        match self {
            Self::Store { words, .. } | Self::Shared { words, .. } | Self::Outlet { words, .. } => {
                *words
            }
        }
    }
}

/// A batch in flight.
struct Flight {
    ticket: Ticket,
    /// The output buffer, and the host memory set aside for it.
    output: Option<(usize, Words)>,
    /// The device reads their memory.
    leases: Vec<Lease>,
    /// The resident kernel serves it.
    rung: bool,
}

/// Page-locked memory that words pass through on their way from or to a buffer.
struct Stage {
    memory: Pinned,
    /// Behind its last use.
    free: Event,
}

/// A pipeline's share of a device. What refers to others goes before them: graphs, then memory, then the module.
pub(super) struct CudaQueue {
    options: QueueOptions,
    completion: Completion,
    /// In the latency mode, the kernel that stays on the device.
    resident: Option<Resident>,
    /// Kernels, and what must come in order with them; and the copy engine's way in.
    work: Stream,
    upload: Stream,
    programs: Vec<Program>,
    homes: Vec<Home>,
    size: Size,
    places: Vec<Place>,
    /// Batches not taken yet, the oldest first.
    flights: VecDeque<Flight>,
    tickets: u64,
    /// The launch sizes of the batch that is being submitted.
    sizes: Vec<u32>,
    /// The way of `read` and `write`, the one that was used longest ago first.
    stages: VecDeque<Stage>,
    /// Buffers whose place was to be taken when something failed: the device may still use them.
    spare: Vec<Memory>,
    /// What went wrong where no batch could be given up alone: all of this queue is lost then.
    broken: Option<Error>,
    gpu: Arc<Gpu>,
}

impl CudaQueue {
    /// With `latency`, in the latency mode.
    pub(super) fn new(gpu: Arc<Gpu>, options: QueueOptions, latency: bool) -> Result<Self> {
        gpu.context.enter()?;
        let pulse = latency.then(|| Pulse::new(&gpu.context)).transpose()?;
        let resident =
            |pulse: &Arc<Pulse>| Resident::new(&gpu, options.in_flight, Arc::clone(pulse));
        Ok(Self {
            resident: pulse.as_ref().map(resident).transpose()?,
            completion: Completion::new(&gpu.context, options.in_flight, pulse)?,
            work: Stream::new(&gpu.context)?,
            upload: Stream::new(&gpu.context)?,
            gpu,
            options,
            homes: Vec::new(),
            programs: Vec::new(),
            size: Size::default(),
            places: Vec::new(),
            flights: VecDeque::with_capacity(options.in_flight),
            tickets: 0,
            sizes: Vec::new(),
            stages: VecDeque::new(),
            spare: Vec::new(),
            broken: None,
        })
    }

    /// Words that every queue of the device may read: a buffer of this one, filled, and taken out of it.
    pub(super) fn into_weights(mut self, name: &'static str, words: &[u32]) -> Result<Weights> {
        let len = words.len().max(1).next_multiple_of(4);
        self.alloc(&[BufferDecl { name, role: Role::Scratch, words: len }])?;
        self.write(BufId(0), 0, words)?;
        self.work.synchronize()?;
        match self.homes.pop() {
            Some(Home::Store { memory, .. }) => Ok(Weights::new("cuda", len, Arc::new(memory))),
            _ => Err(Error::invalid("no weights")),
        }
    }

    /// What every call asks first: whether this queue still works.
    fn enter(&self) -> Result<()> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => self.gpu.context.enter(),
        }
    }

    /// Gives the queue up when something failed that other calls rely on.
    fn keep<T>(&mut self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let error = match error {
                Error::Unsupported { device, what } => Error::lost(device, what),
                other => other,
            };
            self.broken.get_or_insert(error).clone()
        })
    }

    fn store(&self, id: BufId) -> Result<(&'static str, &Memory, usize)> {
        match self.homes.get(usize::from(id.0)) {
            Some(Home::Store { name, memory, words }) => Ok((name, memory, *words)),
            Some(Home::Outlet { .. } | Home::Shared { .. }) => {
                Err(Error::invalid("an output or weights are no State or Scratch buffer"))
            }
            None => Err(Error::invalid(format!("no buffer #{}", id.0))),
        }
    }

    /// Places that hold this much more; those there are, and all graphs, are given up.
    fn grow(&mut self, size: Size) -> Result<()> {
        let size = self.size.max(size);
        if size == self.size && !self.places.is_empty() {
            return Ok(());
        }
        let places = (0..self.options.in_flight).map(|_| Place::new(&self.gpu.context, size));
        let places = places.collect::<Result<Vec<_>>>()?;
        let dry = self.work.synchronize();
        self.keep(dry)?;
        self.programs.iter_mut().for_each(|program| program.unbind(None));
        let forgotten = self.forget_table();
        self.keep(forgotten)?;
        (self.size, self.places) = (size, places);
        Ok(())
    }

    /// Gives the newest flight to the device.
    fn launch(&mut self, program: ProgramId, head: &[u32]) -> Result<()> {
        let ranges = self.flights.back().map_or(0, |flight| flight.leases.len());
        let is_resident = self.programs[program.0 as usize].is_resident();
        if self.resident.is_some() && is_resident && ranges <= BATCH_RANGES_MAX {
            return self.ring(program, head);
        }
        self.dismiss()?;
        self.replay(program, head)
    }

    /// Gives the newest flight to the device as a graph.
    fn replay(&mut self, program: ProgramId, head: &[u32]) -> Result<()> {
        let Self { gpu, work, upload, programs, places, sizes, homes, completion, .. } = self;
        let Some(flight) = self.flights.back() else { return Ok(()) };
        let (ticket, leases) = (flight.ticket, &flight.leases[..]);
        let count = self.options.in_flight;
        let at = usize::try_from((ticket.0 - 1) % count as u64).unwrap_or(0);
        let place = &mut places[at];
        let program = &mut programs[program.0 as usize];
        let result = flight.output.as_ref().map_or(0, |(_, words)| words.address());
        place.write_head(head, program.head_min(), low(ticket), result);
        let events: usize = leases.iter().map(Lease::len).sum();
        let gather_words = gpu.gather_words.load(Ordering::Relaxed);
        let many = leases.len() > BATCH_RANGES_MAX;
        if events > 0 && (many || events / leases.len() >= gather_words) {
            // SAFETY: the flight holds the leases, and the place is its own; see the top of the file.
            unsafe { place.upload(leases, upload, work)? };
        } else {
            place.list(leases)?;
        }
        program.sizes(head, place.blocks(), sizes);
        let missing = program.graph(sizes, at, count).is_none();
        if missing {
            let graph = program.capture(gpu, work, (at, place), (homes, completion), sizes)?;
            *program.graph(sizes, at, count) = Some(graph);
        }
        if let Some(graph) = program.graph(sizes, at, count) {
            // SAFETY: what the kernels use belongs to this batch or to the queue; see the top of the file.
            unsafe { work.replay(graph)? };
        }
        completion.watch(work, ticket)
    }

    /// A stage that nobody uses and a piece fits. It comes back to `stages` whatever happens.
    fn stage(&mut self, words: usize) -> Result<Stage> {
        let context = &self.gpu.context;
        let in_use = match self.stages.front() {
            Some(oldest) if self.stages.len() < self.options.in_flight => !oldest.free.passed()?,
            Some(oldest) => oldest.free.wait().map(|()| false)?,
            None => true,
        };
        if let Some(oldest) = self.stages.pop_front_if(|_| !in_use)
            && oldest.memory.slice().len() >= words
        {
            return Ok(oldest);
        }
        let memory = Pinned::new(context, "a read or write", words.next_power_of_two().max(1024))?;
        Ok(Stage { memory, free: Event::new(context)? })
    }

    fn read_piece(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        let mut stage = self.stage(into.len())?;
        let (_, memory, _) = self.store(buffer)?;
        let to = stage.memory.slice_mut().as_mut_ptr();
        // SAFETY: page-locked, long enough, and nobody else's before the stream has run dry: where that fails, the
        // queue is given up and the stage kept.
        let copied = unsafe { self.work.copy_out(memory, at, to, into.len()) };
        let copied = copied.and_then(|()| self.work.synchronize());
        if copied.is_ok() {
            into.copy_from_slice(&stage.memory.slice()[..into.len()]);
        }
        self.stages.push_back(stage);
        copied
    }

    fn write_piece(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        let mut stage = self.stage(words.len())?;
        let (_, memory, _) = self.store(buffer)?;
        stage.memory.slice_mut()[..words.len()].copy_from_slice(words);
        let from = stage.memory.slice().as_ptr();
        // SAFETY: page-locked, long enough, and not used again before its event: where that fails, as above.
        let copied = unsafe { self.work.copy_in(memory, at, from, words.len()) };
        let copied = copied.and_then(|()| self.work.record(&stage.free));
        self.stages.push_back(stage);
        copied
    }

    /// Fills a buffer that is to take another's place.
    fn fill(&self, old: &Memory, new: &Memory, kept: usize) -> Result<()> {
        // SAFETY: both stay until the stream has run dry: where that fails, `resize` keeps both.
        unsafe {
            self.work.copy(old, new, kept)?;
            self.work.zero(new, kept)?;
        }
        self.work.synchronize()
    }
}

impl Queue for CudaQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        self.enter_alone()?;
        let homes = buffers.iter().map(|decl| Home::new(&self.gpu, self.options, decl));
        let homes = homes.collect::<Result<Vec<_>>>()?;
        let first = self.homes.len();
        self.homes.extend(homes);
        let zeroed = self.homes[first..].iter().try_for_each(|home| match home {
            // SAFETY: buffers of this queue, given back after its streams have run dry.
            Home::Store { memory, .. } => unsafe { self.work.zero(memory, 0) },
            Home::Shared { .. } => Ok(()),
            Home::Outlet { memory, .. } => {
                // SAFETY: as above.
                memory.iter().try_for_each(|memory| unsafe { self.work.zero(memory, 0) })
            }
        });
        self.keep(zeroed)
    }

    fn attach(&mut self, weights: &[Weights]) -> Result<()> {
        self.enter()?;
        let held = weights.iter().map(|weights| weights.held::<Memory>("cuda"));
        let held = held.collect::<Result<Vec<_>>>()?;
        let words = weights.iter().map(Weights::words);
        let home = |(words, memory)| Home::Shared { words, memory };
        self.homes.extend(words.zip(held).map(home));
        Ok(())
    }

    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        self.enter_alone()?;
        let (name, old, len) = self.store(buffer)?;
        let new = Memory::new(&self.gpu.context, name, words)?;
        let filled = self.fill(old, &new, len.min(words));
        if filled.is_err() {
            self.spare.push(new);
            return self.keep(filled);
        }
        let at = usize::from(buffer.0);
        self.programs.iter_mut().for_each(|program| program.unbind(Some(at)));
        let forgotten = self.forget_table();
        self.keep(forgotten)?;
        self.homes[at] = Home::Store { name, words, memory: new };
        Ok(())
    }

    fn compile(&mut self, plan: &Plan, memory: &PlanMemory) -> Result<ProgramId> {
        plan.check(memory)?;
        self.enter_alone()?;
        let program = Program::new(&self.gpu, plan)?;
        self.grow(program.size)?;
        let forgotten = self.forget_table();
        self.keep(forgotten)?;
        self.programs.push(program);
        Ok(ProgramId(u32::try_from(self.programs.len() - 1).expect("few programs")))
    }

    fn room(&mut self, program: ProgramId) -> bool {
        let output = self.programs[program.0 as usize].output;
        let output = output.map(|output| &self.homes[output]);
        let full = matches!(output, Some(Home::Outlet { pool, .. }) if pool.is_empty());
        self.flights.len() < self.options.in_flight && !full
    }

    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
        self.enter()?;
        assert!(self.flights.len() < self.options.in_flight, "submit without room");
        let compiled = &self.programs[program.0 as usize];
        assert!(head.len() <= compiled.size.head, "a longer header than the plan said");
        let events: usize = leases.iter().map(Lease::len).sum();
        assert!(events <= compiled.size.events, "more events than the plan said");
        let output = compiled.output.map(|output| match &self.homes[output] {
            Home::Outlet { pool, .. } => (output, pool.take().expect("submit without room")),
            _ => unreachable!("Plan::check has seen that it is an output"),
        });
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        // First in flight, then given to the device: whatever fails in between, the leases are held until the
        // streams have run dry.
        self.flights.push_back(Flight { ticket, output, leases, rung: false });
        let launched = self.launch(program, head);
        self.keep(launched).map(|()| ticket)
    }

    fn flush(&mut self) -> Result<()> {
        self.enter()
    }

    fn poll(&mut self) -> Result<Option<Done>> {
        self.enter()?;
        let Some(oldest) = self.flights.front() else { return Ok(None) };
        let done_ns = self.completion.done_ns(oldest.ticket);
        let Some(done_ns) = self.keep(done_ns)? else {
            let revived = self.revive();
            return self.keep(revived).map(|()| None);
        };
        let Some(flight) = self.flights.pop_front() else { return Ok(None) };
        let output = flight.output.and_then(|(output, words)| match &self.homes[output] {
            Home::Outlet { pool, .. } => {
                let used = words.slice()[0] as usize;
                Some(Output::new(words, used, Arc::clone(pool)))
            }
            _ => None,
        });
        Ok(Some(Done { ticket: flight.ticket, done_ns, output, leases: flight.leases }))
    }

    fn read(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        self.enter_alone()?;
        let (name, _, words) = self.store(buffer)?;
        assert!(at + into.len() <= words, "{name}: read beyond its end");
        for (piece, at) in into.chunks_mut(PIECE).zip((at..).step_by(PIECE)) {
            let read = self.read_piece(buffer, at, piece);
            self.keep(read)?;
        }
        Ok(())
    }

    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        self.enter_alone()?;
        let (name, _, len) = self.store(buffer)?;
        assert!(at + words.len() <= len, "{name}: write beyond its end");
        for (piece, at) in words.chunks(PIECE).zip((at..).step_by(PIECE)) {
            let written = self.write_piece(buffer, at, piece);
            self.keep(written)?;
        }
        Ok(())
    }

    fn on_done(&mut self, wake: Wake) {
        // Without its thread nobody could be told of batches, so every later call says what is missing.
        let set = self.completion.set_wake(wake);
        let _ = self.keep(set);
    }
}

impl Drop for CudaQueue {
    fn drop(&mut self) {
        self.gpu.context.enter_to_free();
        let dismissed = self.dismiss();
        if dismissed.is_err() && self.resident.as_ref().is_some_and(|r| r.pulse.is_quiet()) {
            return self.abandon();
        }
        for stream in [&self.upload, &self.work] {
            // Once more when it fails, because memory is given back next: a refusal concerns one call only, and
            // when the context is dead the device runs nothing.
            if stream.synchronize().is_err() && stream.synchronize().is_err() {
                let _ = self.gpu.context.lose("the device cannot be waited for");
            }
        }
    }
}
