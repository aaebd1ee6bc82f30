//! A steady stream, whose windows open and close, on the test's own thread under an allocator that counts.
//!
//! One test to a program, because the count is the whole process's.

use pelton::{
    Device, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Value, Windows, Zeroable, field,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it is; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

/// Events of a batch; a window ends every ten batches.
const BATCH: u64 = 1000;
const WINDOW: u64 = 10 * BATCH;
const KEYS: u64 = 500;

struct Stream {
    engine: Inline<Trade>,
    lane: Feed<Trade>,
    events: Vec<Trade>,
    next: u64,
    rows: u64,
}

impl Stream {
    fn new(device: &Device, windows: Windows<Trade>, latency_mode: bool) -> Self {
        let options = Options {
            batch_events: usize::try_from(BATCH).expect("small"),
            latency_mode,
            lane: LaneOptions { events: 4096, policy: Policy::Reject, ..LaneOptions::default() },
            ..Options::on(device.clone())
        };
        let engine = Inline::new(windows, options).expect("a good query");
        let lane = engine.lane().expect("a lane");
        Self { engine, lane, events: Vec::with_capacity(1 << 10), next: 0, rows: 0 }
    }

    /// Feeds and runs so many batches.
    fn run(&mut self, batches: u64) {
        for _ in 0..batches {
            self.events.clear();
            let events = self.next..self.next + BATCH;
            self.events.extend(events.map(|i| Trade {
                at: i,
                account: u32::try_from(i % KEYS).expect("small"),
                amount: 0.25,
            }));
            self.next += BATCH;
            assert_eq!(self.lane.push_all(&self.events), self.events.len(), "there is room");
            let Self { engine, rows, .. } = self;
            engine.settle(|closed| *rows += closed.len() as u64).expect("it works");
        }
    }
}

fn tumbling() -> Windows<Trade> {
    Windows {
        key: Key::hashed(field!(Trade.account)),
        values: vec![Value::exact(field!(Trade.amount))],
        disorder: 5,
        ..Windows::tumbling(field!(Trade.at), WINDOW)
    }
}

/// Every way through the engine that a steady stream takes.
fn queries() -> [(&'static str, Windows<Trade>); 5] {
    let mut ends = Value::fixed(field!(Trade.amount), 8);
    (ends.first, ends.last) = (true, true);
    let dense = Key::dense(field!(Trade.account), 500);
    let some = pelton::Filter::lt(field!(Trade.account), 250);
    [
        ("tumbling", tumbling()),
        (
            "ends, dense, filtered",
            Windows { key: dense, values: vec![ends], filter: Some(some), ..tumbling() },
        ),
        ("kept for late events", Windows { lateness: 2 * WINDOW, ..tumbling() }),
        ("hopping", Windows { slide: WINDOW / 5, ..tumbling() }),
        ("time to live", Windows { ttl: Some(u64::MAX), ..tumbling() }),
    ]
}

/// Runs every query on a device and holds it to no allocation once it is warm.
pub(crate) fn check(device: &Device, latency_mode: bool) {
    for (name, query) in queries() {
        let name = format!("{name} on {}", device.caps().name);
        let mut stream = Stream::new(device, query, latency_mode);
        stream.run(100);
        let (rows, batches) = (stream.rows, stream.engine.stats().batches);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        assert!(before > 0, "the allocator counts");
        stream.run(1000);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let batches = stream.engine.stats().batches - batches;
        assert!(batches >= 1000, "{name}: {batches} batches");
        assert_eq!(stream.rows > rows, device.caps().name != "null", "{name}");
        assert_eq!(allocations, 0, "{name}: over {batches} batches");
    }
}
