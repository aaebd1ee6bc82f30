//! The first batches of a device: they show that it works, and which way in is the faster one.
//!
//! The first kernel of a replay reads small ranges of events from host memory itself; large ones come by the copy
//! engine, whose start costs more but which leaves the kernels of the batch before alone. Where the ways cross depends
//! on the bus, so it is measured when a device is opened, in a few milliseconds.

use super::Gpu;
use super::lanes;
use super::queue::CudaQueue;
use crate::base::error::{Error, Result};
use crate::device::{Queue, QueueOptions};
use crate::plan::{Memory, Plan, Role};
use crate::ring::{Lane, LaneOptions, Tail, lane};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Overrides what is measured: bytes of a range of events from which on the copy engine brings it.
const OVERRIDE: &str = "PELTON_CUDA_COPY_BYTES";
/// Words of an event.
const STRIDE: usize = 4;
/// Events of the batches that are measured. From the largest on it is the copy engine in any case.
const EVENTS: [usize; 5] = [1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16];
/// Batches of each size and way, of which the median counts.
const TIMES: usize = 7;
/// How long the device may take for one of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows that a device works, and sets where the ways in cross.
pub(super) fn run(gpu: &Arc<Gpu>) -> Result<()> {
    let asked = match std::env::var(OVERRIDE) {
        Ok(bytes) => Some(bytes.parse::<usize>().map_err(|_| {
            Error::invalid(format!("{OVERRIDE}={bytes}: a number of bytes, 0 for always"))
        })?),
        Err(_) => None,
    };
    let mut trial = Trial::new(gpu)?;
    trial.words_pass_through()?;
    let (gather, copy) = (usize::MAX, 0);
    let mut way = |way, events| {
        gpu.gather_words.store(way, Ordering::Relaxed);
        trial.time(events)
    };
    // Both ways once: that they work, and that their graphs are there.
    way(gather, EVENTS[0])?;
    way(copy, EVENTS[0])?;
    let words = match asked {
        Some(bytes) => bytes / 4,
        None => {
            let mut crossed = EVENTS[EVENTS.len() - 1];
            for events in EVENTS {
                if median(|| way(copy, events))? <= median(|| way(gather, events))? {
                    crossed = events;
                    break;
                }
            }
            crossed * STRIDE
        }
    };
    gpu.gather_words.store(words, Ordering::Relaxed);
    Ok(())
}

fn median(mut time: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    time()?;
    let mut times = (0..TIMES).map(|_| time()).collect::<Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[TIMES / 2])
}

/// A queue with a plan that only brings events and an empty output.
struct Trial {
    queue: CudaQueue,
    name: String,
    memory: Memory,
    lane: Lane<[u32; STRIDE]>,
    tail: Tail,
}

impl Trial {
    fn new(gpu: &Arc<Gpu>) -> Result<Self> {
        let most = EVENTS[EVENTS.len() - 1];
        let mut queue =
            CudaQueue::new(Arc::clone(gpu), QueueOptions { in_flight: 1, outputs: 1 }, false)?;
        let mut memory = Memory::default();
        memory.buffer::<u32>("state", Role::State, 8);
        let output = memory.buffer::<u32>("output", Role::Output { eager: 8 }, 64);
        queue.alloc(&memory.buffers)?;
        let mut plan = Plan::new("trial", 4);
        (plan.events_max, plan.stride, plan.output) = (most, STRIDE, Some(output.id));
        queue.compile(&plan, &memory)?;
        let (lane, tail) = lane(&LaneOptions { events: most, ..LaneOptions::default() })?;
        lanes::register(&gpu.context, tail.slab())?;
        Ok(Self { queue, name: gpu.context.name.clone(), memory, lane, tail })
    }

    /// Words written, kept by a change of size, and read again are the same.
    fn words_pass_through(&mut self) -> Result<()> {
        let (state, mut back) = (crate::plan::BufId(0), [9; 16]);
        let words = self.memory.buffers[0].words;
        self.queue.write(state, 0, &[1, 2, 3, 4])?;
        self.queue.resize(state, back.len())?;
        self.queue.read(state, 0, &mut back)?;
        self.queue.resize(state, words)?;
        let mut wanted = [0; 16];
        wanted[..4].copy_from_slice(&[1, 2, 3, 4]);
        if back == wanted {
            return Ok(());
        }
        Err(Error::unsupported(&self.name, "words do not come back as they were written"))
    }

    /// How long a batch takes.
    fn time(&mut self, events: usize) -> Result<Duration> {
        self.tail.reclaim();
        let full = |_| Error::unsupported(&self.name, "the lane of the trial has no room");
        let mut left = events;
        while left > 0 {
            let run = self.lane.write(left).map_err(full)?;
            let got = run.len();
            run.commit(got, 0, 0);
            left -= got;
        }
        let mut leases = Vec::new();
        while let Some(note) = self.tail.next() {
            let middle = self.tail.contiguous(note.from, note.to);
            leases.push(self.tail.lease(note.from, middle));
            if middle < note.to {
                leases.push(self.tail.lease(middle, note.to));
            }
        }
        let start = Instant::now();
        self.queue.submit(crate::device::ProgramId(0), &[1, 2, 3, 4], leases)?;
        loop {
            if self.queue.poll()?.is_some() {
                return Ok(start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                let what = format!("it did not finish a batch within {PATIENCE:?}");
                return Err(Error::unsupported(&self.name, what));
            }
            std::hint::spin_loop();
        }
    }
}
