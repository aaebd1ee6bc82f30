//! A device whose bindings are as small as a test says, and that counts what is written to it.

use pelton::device::{Backend, Caps, Done, ProgramId, Queue, QueueOptions, Ticket, Wake, Weights};
use pelton::plan::{BufId, BufferDecl, Memory, Plan};
use pelton::ring::{Lease, Slab};
use pelton::{Device, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a narrow device was asked for. A clone is another handle.
#[derive(Clone, Default)]
pub struct Seen(Arc<Counts>);

#[derive(Default)]
struct Counts {
    words: AtomicU64,
    rows: AtomicU64,
    tables: AtomicU64,
    records: AtomicU64,
    queues: AtomicU64,
}

impl Seen {
    /// Words written from the host.
    pub fn words(&self) -> u64 {
        self.0.words.load(Ordering::SeqCst)
    }
    /// Buffers of rows, of all queues together.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::SeqCst)
    }
    /// Pages of the key table and of key records, of all queues together.
    pub fn keys(&self) -> [u64; 2] {
        [&self.0.tables, &self.0.records].map(|count| count.load(Ordering::SeqCst))
    }
    pub fn queues(&self) -> u64 {
        self.0.queues.load(Ordering::SeqCst)
    }
}

/// Wraps a device; a binding spans so many words.
pub fn narrow(inner: &Device, bind_words_max: usize, seen: &Seen) -> Device {
    let name = format!("narrow:{bind_words_max}:{}", inner.caps().name);
    let caps = Caps { name, bind_words_max, ..inner.caps().clone() };
    let narrow = Narrow { inner: inner.clone(), caps, seen: seen.clone() };
    Device::new(Arc::new(narrow), "a test asked for it")
}

struct Narrow {
    inner: Device,
    caps: Caps,
    seen: Seen,
}

impl Backend for Narrow {
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
        let (inner, seen) = (self.inner.queue(options)?, self.seen.clone());
        seen.0.queues.fetch_add(1, Ordering::SeqCst);
        let bind_words_max = self.caps.bind_words_max;
        Ok(Box::new(NarrowQueue { inner, bind_words_max, seen, declared: Vec::new() }))
    }
}

struct NarrowQueue {
    inner: Box<dyn Queue>,
    bind_words_max: usize,
    seen: Seen,
    declared: Vec<BufferDecl>,
}

impl Queue for NarrowQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        let Counts { rows, tables, records, .. } = &*self.seen.0;
        for (name, count) in [("rows", rows), ("table", tables), ("keys", records)] {
            let pages = buffers.iter().filter(|decl| decl.name == name).count();
            count.fetch_add(pages as u64, Ordering::SeqCst);
        }
        self.declared.extend(buffers);
        self.inner.alloc(buffers)
    }
    fn attach(&mut self, weights: &[Weights]) -> Result<()> {
        self.inner.attach(weights)
    }
    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        let name = self.declared[usize::from(buffer.0)].name;
        assert!(words <= self.bind_words_max, "{name} of {words} words");
        self.inner.resize(buffer, words)
    }
    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId> {
        self.inner.compile(plan, memory)
    }
    fn room(&mut self, program: ProgramId) -> bool {
        self.inner.room(program)
    }
    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
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
        self.seen.0.words.fetch_add(words.len() as u64, Ordering::SeqCst);
        self.inner.write(buffer, at, words)
    }
    fn on_done(&mut self, wake: Wake) {
        self.inner.on_done(wake);
    }
}
