//! A kernel of one's own: its record and CPU twin, and a queue that runs it over events from a lane.
//!
//! The record says what all twins are given: a header that changes from batch to batch, parameters, events, buffers.
//! The CPU twin is the oracle. What one file of CUDA and one of WGSL add is the same in their words.

use pelton::device::{ProgramId, Queue, QueueOptions};
use pelton::plan::{Access, Args, Bind, Buf, Grid, Kernel, Memory, Plan, Role};
use pelton::ring::{Lane, LaneOptions, Tail, lane};
use pelton::{Device, Pod, Result, Zeroable};

/// One request that was answered.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Request {
    /// When, in microseconds.
    pub(crate) at: u64,
    /// What was asked.
    pub(crate) endpoint: u32,
    /// How long it took.
    pub(crate) micros: u32,
}

/// Powers of two that a latency may lie in.
pub(crate) const POWERS: usize = 32;
/// Events of a batch, at most.
const BATCH: usize = 1 << 14;

pelton::params! {
    /// What the kernel is told once.
    BucketsParams {
        /// How many endpoints there are.
        endpoints: u32,
        /// Fills the block up to 16 bytes.
        pad0: u32,
        /// Fills the block up to 16 bytes.
        pad1: u32,
        /// Fills the block up to 16 bytes.
        pad2: u32,
    }
}

/// Counts by endpoint and power of two, kept from batch to batch. Header: blocks, events, ranges of lane memory.
pub(crate) static BUCKETS: Kernel = Kernel {
    name: "buckets",
    params: BucketsParams::FIELDS,
    events: true,
    binds: &[Bind { name: "counts", access: Access::Write }],
    wgsl: include_str!("buckets.wgsl"),
    cpu: buckets,
};

/// The CUDA twin.
pub(crate) const CUDA: &str = include_str!("buckets.cu");

fn buckets(args: Args<'_>) {
    let p: BucketsParams = args.params();
    let (ranges, events) = (args.head[2] as usize, args.events);
    let [counts] = args.binds();
    for event in (0..ranges).flat_map(|range| events.range(range).chunks_exact(4)) {
        let (endpoint, bucket) = (event[2], (event[3] | 1).ilog2());
        let known = endpoint < p.endpoints;
        let at = if known { endpoint * 32 + bucket } else { p.endpoints * 32 };
        counts[at as usize] += 1;
    }
}

/// A device that counts.
pub(crate) struct Counter {
    queue: Box<dyn Queue>,
    program: ProgramId,
    counts: Buf<u32>,
    words: usize,
    lane: Lane<Request>,
    tail: Tail,
}

impl Counter {
    /// Compiles the plan, whose one step is the kernel.
    pub(crate) fn new(device: &Device, endpoints: u32) -> Result<Self> {
        // SAFETY: the source is the file beside this one. It takes what the record says, reads header and events and
        // writes counts only through `Words` and its like, which keep every index inside.
        unsafe { device.add_kernel(&BUCKETS, CUDA)? };
        let words = endpoints as usize * POWERS + 1;
        let mut memory = Memory::default();
        let counts = memory.buffer::<u32>("counts", Role::State, words);
        let mut plan = Plan::new("latencies", 4);
        (plan.events_max, plan.stride) = (BATCH, 4);
        let params = BucketsParams { endpoints, pad0: 0, pad1: 0, pad2: 0 };
        plan.step(&BUCKETS, Grid::Head(0), params, &[counts.id]);
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
        queue.alloc(&memory.buffers)?;
        let program = queue.compile(&plan, &memory)?;
        let (lane, tail) = lane(&LaneOptions { events: 2 * BATCH, ..LaneOptions::default() })?;
        device.register(tail.slab())?;
        Ok(Self { queue, program, counts, words, lane, tail })
    }

    /// Counts these requests, in batches as large as may be.
    pub(crate) fn count(&mut self, requests: &[Request]) -> Result<()> {
        for batch in requests.chunks(BATCH) {
            self.tail.reclaim();
            let mut rest = batch;
            while !rest.is_empty() {
                let mut run = self.lane.write(rest.len()).expect("two batches find room");
                let (now, later) = rest.split_at(run.len());
                run.copy_from_slice(now);
                run.commit(now.len(), 0, 0);
                rest = later;
            }
            let mut leases = Vec::new();
            while let Some(note) = self.tail.next() {
                let middle = self.tail.contiguous(note.from, note.to);
                leases.push(self.tail.lease(note.from, middle));
                if middle < note.to {
                    leases.push(self.tail.lease(middle, note.to));
                }
            }
            let word = |n: usize| u32::try_from(n).expect("a batch is small");
            let head = [word(batch.len().div_ceil(256)), word(batch.len()), word(leases.len()), 0];
            self.queue.submit(self.program, &head, leases)?;
            while self.queue.poll()?.is_none() {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// The counts so far: a row of powers of two for each endpoint, then what is no endpoint.
    pub(crate) fn counts(&mut self) -> Result<Vec<u32>> {
        let mut counts = vec![0; self.words];
        self.queue.read(self.counts.id, 0, &mut counts)?;
        Ok(counts)
    }
}

/// Made-up requests, some of them to endpoints that are none.
pub(crate) fn requests(count: u64, endpoints: u32) -> Vec<Request> {
    let mut rng = pelton::base::rng::SplitMix::new(7);
    let mut below = |n: u64| u32::try_from(rng.below(n)).expect("small");
    (0..count)
        .map(|at| {
            let endpoint = if below(1000) == 0 { u32::MAX } else { below(u64::from(endpoints)) };
            let power = below(20);
            Request { at, endpoint, micros: below(1 << power) }
        })
        .collect()
}
