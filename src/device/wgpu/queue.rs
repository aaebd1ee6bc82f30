//! Batches in flight on an adapter: one copy in, a few dispatches, one copy out, and nobody waits.
//!
//! A batch takes the next place in flight, round and round, since batches retire in order. What is
//! submitted while the device works is recorded into one encoder and handed over together: a submission
//! costs far more than a dispatch. Results are mapped by the driver's callbacks, seen by the completion
//! thread, and copied once, here, into an output of the host's pool.

use super::Gpu;
use super::completion::{Line, State};
use super::memory::{BACK, Home, Inputs, PIECE, bytes, regrow};
use super::program::Program;
use crate::base::error::{Error, Result};
use crate::device::output::{Output, Words};
use crate::device::{Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights};
use crate::plan::{BufId, BufferDecl, Memory, OUTPUT_HEAD, Plan};
use crate::ring::lane::Lease;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use wgpu::{Buffer, CommandEncoder, CommandEncoderDescriptor, MapMode, SubmissionIndex};

/// A batch in flight.
struct Flight {
    slot: usize,
    ticket: Ticket,
    /// The output buffer, and the host memory set aside for it.
    output: Option<(usize, Words)>,
    /// Words used, once their rest is on its way.
    rest: Option<usize>,
    /// Their events have been copied; they go back with the batch.
    leases: Vec<Lease>,
}

/// A pipeline's share of an adapter.
pub(super) struct GpuQueue {
    gpu: Arc<Gpu>,
    options: QueueOptions,
    homes: Vec<Home>,
    programs: Vec<Program>,
    inputs: Inputs,
    line: Arc<Line>,
    /// Batches not taken yet, the oldest first.
    flights: VecDeque<Flight>,
    /// The newest of them that the device has not been given yet, and their commands.
    held: usize,
    encoder: Option<CommandEncoder>,
    tickets: u64,
    /// The newest submission that carried batches.
    newest: Option<SubmissionIndex>,
    /// Where the next batch goes.
    slot: usize,
    /// The way back of `read`, made when first used.
    staging: Option<Buffer>,
}

impl GpuQueue {
    pub(super) fn new(gpu: Arc<Gpu>, options: QueueOptions) -> Self {
        Self {
            gpu,
            options,
            homes: Vec::new(),
            programs: Vec::new(),
            inputs: Inputs::default(),
            line: Line::new(options.in_flight),
            flights: VecDeque::with_capacity(options.in_flight),
            held: 0,
            encoder: None,
            tickets: 0,
            newest: None,
            slot: 0,
            staging: None,
        }
    }

    fn store(&self, id: BufId) -> Result<(&'static str, &Buffer, usize)> {
        match self.homes.get(usize::from(id.0)) {
            Some(Home::Store { name, buffer, words }) => Ok((name, buffer, *words)),
            Some(Home::Outlet { .. } | Home::Shared { .. }) => {
                Err(Error::invalid("an output or weights are no State or Scratch buffer"))
            }
            None => Err(Error::invalid(format!("no buffer #{}", id.0))),
        }
    }

    fn fresh_encoder(&self) -> CommandEncoder {
        self.gpu.device.create_command_encoder(&CommandEncoderDescriptor::default())
    }

    /// Gives the device what was held back.
    fn hand_over(&mut self) -> Result<()> {
        self.gpu.health.check()?;
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        let index = self.gpu.queue.submit([encoder.finish()]);
        for flight in self.flights.iter().rev().take(std::mem::take(&mut self.held)) {
            let upload = self.inputs.upload(flight.slot);
            upload.map_async(MapMode::Write, .., self.line.callback(flight.slot));
            if let Some((output, _)) = flight.output
                && let Home::Outlet { back, .. } = &self.homes[output]
            {
                back[flight.slot].map_async(MapMode::Read, .., self.line.callback(flight.slot));
            }
        }
        self.newest = Some(index.clone());
        self.gpu.completion.watch(index, &self.line);
        self.gpu.health.check()
    }

    /// Whether the device has nothing to do, so that a batch held back would only wait.
    fn is_idle(&self) -> bool {
        match self.flights.iter().rev().nth(self.held) {
            None => true,
            Some(newest) => !matches!(self.line.state(newest.slot), State::Pending),
        }
    }

    /// Waits until the device is done with every batch; they are still to be taken.
    fn settle(&mut self) -> Result<()> {
        self.hand_over()?;
        let Some(index) = self.newest.clone() else { return Ok(()) };
        for flight in &self.flights {
            while matches!(self.line.state(flight.slot), State::Pending) {
                self.gpu.health.wait(&self.gpu.device, &index)?;
            }
        }
        Ok(())
    }

    /// Sends the output's words beyond the eager ones on their way back.
    fn fetch(&self, slot: usize, output: usize, used: usize) -> Result<()> {
        if let Home::Outlet { eager, device, rest: Some(rest), .. } = &self.homes[output] {
            let size = bytes(used - eager);
            let mut encoder = self.fresh_encoder();
            encoder.copy_buffer_to_buffer(&device[slot], bytes(*eager), rest, 0, size);
            let index = self.gpu.queue.submit([encoder.finish()]);
            rest.map_async(MapMode::Read, ..size, self.line.callback(slot));
            self.gpu.completion.watch(index, &self.line);
        }
        self.gpu.health.check()
    }

    /// Copies what has come back of a flight's output into host memory; `false` when more is on its way.
    fn land(&self, flight: &mut Flight) -> Result<bool> {
        let lost = |error: wgpu::MapRangeError| self.gpu.health.lose(error);
        let Some((output, words)) = &mut flight.output else { return Ok(true) };
        let Home::Outlet { eager, back, rest, .. } = &self.homes[*output] else { return Ok(true) };
        let words = words.slice_mut();
        if let (Some(used), Some(rest)) = (flight.rest, rest) {
            let view = rest.get_mapped_range(..bytes(used - eager)).map_err(lost)?;
            words[*eager..used].copy_from_slice(bytemuck::cast_slice(&view));
            drop(view);
            rest.unmap();
            return Ok(true);
        }
        let back = &back[flight.slot];
        let view = back.get_mapped_range(..).map_err(lost)?;
        let came: &[u32] = bytemuck::cast_slice(&view);
        let used = (came[0] as usize).min(words.len());
        let now = used.clamp(1, came.len());
        words[..now].copy_from_slice(&came[..now]);
        drop(view);
        back.unmap();
        if used <= *eager {
            return Ok(true);
        }
        flight.rest = Some(used);
        self.fetch(flight.slot, *output, used)?;
        Ok(false)
    }

    /// Records a batch whose events are in the upload buffer.
    fn record(&mut self, program: ProgramId, slot: usize, head: &[u32], events_bytes: u64) {
        let mut encoder = self.encoder.take().unwrap_or_else(|| self.fresh_encoder());
        let program = &self.programs[program.0 as usize];
        self.inputs.copy(slot, head.len() as u64 * 4, events_bytes, &mut encoder);
        let outlet = program.output.map(|output| &self.homes[output]);
        if let Some(Home::Outlet { device, .. }) = outlet {
            let head = (4 * OUTPUT_HEAD as u64).min(device[slot].size());
            encoder.clear_buffer(&device[slot], 0, Some(head));
        }
        program.record(slot, head, &mut encoder);
        if let Some(Home::Outlet { eager, device, back, .. }) = outlet {
            encoder.copy_buffer_to_buffer(&device[slot], 0, &back[slot], 0, bytes(*eager));
        }
        self.encoder = Some(encoder);
    }

    /// Reads one piece through the staging buffer.
    fn read_piece(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        let size = bytes(into.len());
        if self.staging.as_ref().is_none_or(|staging| staging.size() < size) {
            self.staging = Some(self.gpu.buffer("a read", into.len(), BACK, false)?);
        }
        let (_, from, _) = self.store(buffer)?;
        let (Some(staging), gpu) = (&self.staging, &self.gpu) else { return Ok(()) };
        let mut encoder = self.fresh_encoder();
        encoder.copy_buffer_to_buffer(from, at as u64 * 4, staging, 0, size);
        let index = gpu.queue.submit([encoder.finish()]);
        let mapped = Arc::new(AtomicU8::new(0));
        let told = Arc::clone(&mapped);
        staging.map_async(MapMode::Read, ..size, move |result| {
            told.store(if result.is_ok() { 1 } else { 2 }, Ordering::Release);
        });
        while mapped.load(Ordering::Acquire) == 0 {
            gpu.health.wait(&gpu.device, &index)?;
        }
        let view = staging.get_mapped_range(..size).map_err(|error| gpu.health.lose(error))?;
        into.copy_from_slice(bytemuck::cast_slice(&view));
        drop(view);
        staging.unmap();
        gpu.health.check()
    }
}

impl Queue for GpuQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        self.gpu.health.check()?;
        let new = buffers.iter().map(|decl| Home::new(&self.gpu, self.options, decl));
        self.homes.extend(new.collect::<Result<Vec<_>>>()?);
        Ok(())
    }

    fn attach(&mut self, weights: &[Weights]) -> Result<()> {
        self.gpu.health.check()?;
        let held = weights.iter().map(|weights| {
            let held = weights.held::<super::Resident>("wgpu")?;
            if Arc::ptr_eq(&held.gpu, &self.gpu) { Ok(held) } else { Err(weights.strange("wgpu")) }
        });
        let held = held.collect::<Result<Vec<_>>>()?;
        let home = |held: Arc<super::Resident>| Home::Shared { buffer: held.buffer.clone() };
        self.homes.extend(held.into_iter().map(home));
        Ok(())
    }

    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        self.hand_over()?;
        let (name, old, _) = self.store(buffer)?;
        let old = old.clone();
        let mut encoder = self.fresh_encoder();
        let new = regrow(&self.gpu, name, &old, words, &mut encoder)?;
        self.gpu.queue.submit([encoder.finish()]);
        let (at, slots) = (usize::from(buffer.0), self.options.in_flight);
        self.homes[at] = Home::Store { name, words, buffer: new };
        for program in &mut self.programs {
            program.bind(&self.gpu, slots, &self.inputs, &self.homes, Some(at))?;
        }
        self.gpu.health.check()
    }

    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId> {
        plan.check(memory)?;
        let slots = self.options.in_flight;
        let mut program = Program::new(&self.gpu, plan)?;
        let (head, events) = (program.head_words, program.events_words);
        if !self.inputs.fits(head, events) {
            let inputs = self.inputs.grown(&self.gpu, slots, head, events)?;
            self.settle()?;
            self.inputs = inputs;
            for program in &mut self.programs {
                program.bind(&self.gpu, slots, &self.inputs, &self.homes, None)?;
            }
        }
        program.bind(&self.gpu, slots, &self.inputs, &self.homes, None)?;
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
        self.gpu.health.check()?;
        assert!(self.flights.len() < self.options.in_flight, "submit without room");
        let compiled = &self.programs[program.0 as usize];
        assert!(head.len() <= compiled.head_words, "a longer header than the plan said");
        let events = leases.iter().map(Lease::words);
        let count: usize = events.clone().map(<[u32]>::len).sum();
        assert!(count <= compiled.events_words, "more events than the plan said");
        let output = compiled.output.map(|output| match &self.homes[output] {
            Home::Outlet { pool, .. } => (output, pool.take().expect("submit without room")),
            _ => unreachable!("Plan::check has seen that it is an output"),
        });
        let slot = self.slot;
        let filled = self.inputs.fill(slot, head, events);
        let events_bytes = filled.map_err(|error| self.gpu.health.lose(error))?;
        self.record(program, slot, head, events_bytes);
        self.slot = (slot + 1) % self.options.in_flight;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.flights.push_back(Flight { slot, ticket, output, rest: None, leases });
        self.held += 1;
        if self.is_idle() {
            self.hand_over()?;
        }
        Ok(ticket)
    }

    fn flush(&mut self) -> Result<()> {
        self.hand_over()
    }

    fn poll(&mut self) -> Result<Option<Done>> {
        self.hand_over()?;
        let Some(oldest) = self.flights.front() else { return Ok(None) };
        let slot = oldest.slot;
        if matches!(self.line.state(slot), State::Pending) {
            // Looking is cheap and spares a result the way through the completion thread.
            self.gpu.health.poll(&self.gpu.device)?;
        }
        let done_ns = match self.line.state(slot) {
            State::Pending => return Ok(None),
            State::Failed => return Err(self.gpu.health.lose("a batch's buffers did not map")),
            State::Ready(done_ns) => done_ns,
        };
        let Some(mut flight) = self.flights.pop_front() else { return Ok(None) };
        if !self.land(&mut flight)? {
            self.flights.push_front(flight);
            return Ok(None);
        }
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
        let (name, _, words) = self.store(buffer)?;
        assert!(at + into.len() <= words, "{name}: read beyond its end");
        self.hand_over()?;
        let pieces = into.chunks_mut(PIECE).zip((at..).step_by(PIECE));
        for (piece, at) in pieces {
            self.read_piece(buffer, at, piece)?;
        }
        Ok(())
    }

    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        let (name, _, len) = self.store(buffer)?;
        assert!(at + words.len() <= len, "{name}: write beyond its end");
        self.hand_over()?;
        let (_, to, _) = self.store(buffer)?;
        self.gpu.fill(name, to, at, words)
    }

    fn on_done(&mut self, wake: Wake) {
        self.line.set_wake(wake);
    }
}

impl Drop for GpuQueue {
    fn drop(&mut self) {
        self.line.close();
    }
}
