//! A device whose batches take as long as a test says: a fixed time, and one for each event.

use pelton::device::{Backend, Caps, Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights};
use pelton::plan::{BufId, BufferDecl, Memory, Plan};
use pelton::ring::{Lease, Slab};
use pelton::{Device, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What batches take, in nanoseconds; to be changed while they run. A clone is another handle.
#[derive(Clone, Default)]
pub struct Pace(Arc<(AtomicU64, AtomicU64)>);

impl Pace {
    pub fn set(&self, fixed_ns: u64, each_ns: u64) {
        self.0.0.store(fixed_ns, Ordering::SeqCst);
        self.0.1.store(each_ns, Ordering::SeqCst);
    }

    fn of(&self, events: usize) -> Duration {
        let (fixed, each) = (self.0.0.load(Ordering::SeqCst), self.0.1.load(Ordering::SeqCst));
        Duration::from_nanos(fixed + each * events as u64)
    }
}

/// Wraps a device; it keeps the device's abilities and is called `name`.
pub fn slow(inner: Device, name: &str, pace: &Pace) -> Device {
    let caps = Caps { name: name.into(), ..inner.caps().clone() };
    Device::new(Arc::new(Slow { inner, caps, pace: pace.clone() }), "a test asked for it")
}

struct Slow {
    inner: Device,
    caps: Caps,
    pace: Pace,
}

impl Backend for Slow {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn register(&self, slab: &Arc<Slab>) -> Result<()> {
        self.inner.register(slab)
    }
    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights> {
        self.inner.weights(name, words)
    }
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        let (inner, pace) = (self.inner.queue(options)?, self.pace.clone());
        Ok(Box::new(SlowQueue { inner, pace, strides: Vec::new() }))
    }
}

struct SlowQueue {
    inner: Box<dyn Queue>,
    pace: Pace,
    /// Words of an event, by program.
    strides: Vec<usize>,
}

impl Queue for SlowQueue {
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
        self.strides.push(plan.stride);
        self.inner.compile(plan, memory)
    }
    fn room(&mut self, program: ProgramId) -> bool {
        self.inner.room(program)
    }
    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
        let words: usize = leases.iter().map(|lease| lease.words().len()).sum();
        // Only batches of events take their time.
        if let Some(events) = words.checked_div(self.strides[program.0 as usize]) {
            std::thread::sleep(self.pace.of(events));
        }
        self.inner.submit(program, head, leases)
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
