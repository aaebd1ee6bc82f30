//! A steady stream, whose windows open and close, on the test's own thread under an allocator that counts.
//!
//! One test to a program, because the count is the whole process's.

use pelton::{
    Device, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Value, Windows, Zeroable, field,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    if size > LARGEST.load(Ordering::Relaxed) {
        LARGEST.fetch_max(size, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it is; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this process so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes of the largest one.
#[allow(dead_code, reason = "asked by those who read hostile files")]
pub(crate) fn largest() -> usize {
    LARGEST.load(Ordering::Relaxed)
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

const KEYS: u64 = 500;

/// How a device is held to it.
#[derive(Clone, Copy)]
pub(crate) struct Steady {
    pub(crate) latency_mode: bool,
    /// Events of a batch; a window ends every ten batches.
    pub(crate) batch: u64,
    /// Batches that warm up, and batches that may not allocate.
    pub(crate) warm: u64,
    pub(crate) measured: u64,
    /// How often these may be tried: what is made once for something seldom, or by the thread that runs the tests, is
    /// not made in all of them.
    pub(crate) tries: u64,
}

struct Stream {
    engine: Inline<Trade>,
    lane: Feed<Trade>,
    batch: u64,
    events: Vec<Trade>,
    next: u64,
    rows: u64,
}

impl Stream {
    fn new(device: &Device, windows: Windows<Trade>, how: Steady) -> Self {
        let options = Options {
            batch_events: usize::try_from(how.batch).expect("small"),
            latency_mode: how.latency_mode,
            lane: LaneOptions { events: 4096, policy: Policy::Reject, ..LaneOptions::default() },
            ..Options::on(device.clone())
        };
        let engine = Inline::new(windows, options).expect("a good query");
        let lane = engine.lane().expect("a lane");
        Self {
            engine,
            lane,
            batch: how.batch,
            events: Vec::with_capacity(1 << 10),
            next: 0,
            rows: 0,
        }
    }

    /// Feeds and runs so many batches.
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.events.clear();
            let events = self.next..self.next + self.batch;
            self.events.extend(events.map(|i| Trade {
                at: i,
                account: u32::try_from(i % KEYS).expect("small"),
                amount: 0.25,
            }));
            self.next += self.batch;
            assert_eq!(self.lane.push_all(&self.events), self.events.len(), "there is room");
            let Self { engine, rows, .. } = self;
            engine.settle(|closed| *rows += closed.len() as u64).expect("it works");
        }
    }
}

fn tumbling(window: u64) -> Windows<Trade> {
    Windows {
        key: Key::hashed(field!(Trade.account)),
        values: vec![Value::exact(field!(Trade.amount))],
        disorder: 5,
        ..Windows::tumbling(field!(Trade.at), window)
    }
}

/// Every way through the engine that a steady stream takes.
fn queries(window: u64) -> [(&'static str, Windows<Trade>); 5] {
    let mut ends = Value::fixed(field!(Trade.amount), 8);
    (ends.first, ends.last) = (true, true);
    let dense = Key::dense(field!(Trade.account), 500);
    let some = pelton::Filter::lt(field!(Trade.account), 250);
    [
        ("tumbling", tumbling(window)),
        (
            "ends, dense, filtered",
            Windows { key: dense, values: vec![ends], filter: Some(some), ..tumbling(window) },
        ),
        ("kept for late events", Windows { lateness: 2 * window, ..tumbling(window) }),
        ("hopping", Windows { slide: window / 5, ..tumbling(window) }),
        ("time to live", Windows { ttl: Some(u64::MAX), ..tumbling(window) }),
    ]
}

/// Runs every query on a device and holds it to no allocation once it is warm.
pub(crate) fn check(device: &Device, how: Steady) {
    for (name, query) in queries(10 * how.batch) {
        let mode = if how.latency_mode { ", latency mode" } else { "" };
        let name = format!("{name} on {}{mode}", device.caps().name);
        let mut stream = Stream::new(device, query, how);
        stream.run(how.warm);
        let stretches: Vec<u64> =
            (0..how.tries).map(|_| stretch(&mut stream, how, &name)).collect();
        assert!(stretches.contains(&0), "{name}: in stretches of {}: {stretches:?}", how.measured);
        assert_eq!(stream.rows > 0, device.caps().name != "null", "{name}");
    }
}

/// What the measured batches allocate.
fn stretch(stream: &mut Stream, how: Steady, name: &str) -> u64 {
    let batches = stream.engine.stats().batches;
    let before = allocations();
    assert!(before > 0, "the allocator counts");
    stream.run(how.measured);
    let allocated = allocations() - before;
    let batches = stream.engine.stats().batches - batches;
    assert!(batches >= how.measured, "{name}: {batches} batches");
    allocated
}
