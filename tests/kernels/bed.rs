//! A test bed: one queue on one device, one lane, and the plans over the test kernels.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

use super::{BinsParams, CHUNK_SUMS, COPY_HEAD, COUNT_BINS, ECHO, FOLD, STRIDE};
use pelton::base::rng::SplitMix;
use pelton::device::{Device, Done, ProgramId, Queue, QueueOptions};
use pelton::plan::{Buf, Grid, Memory, Plan, Role};
use pelton::ring::{Lane, LaneOptions, Lease, Tail, lane};
use pelton::{Error, Result};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Events of a batch, at most; no multiple of a workgroup.
pub const EVENTS_MAX: usize = 5000;
/// Bins of the histogram.
pub const BINS: usize = 64;

/// The software adapter, or a line in the list of what was not run.
pub fn software(test: &str) -> Option<Device> {
    match Device::named("wgpu:llvmpipe") {
        Ok(device) => Some(device),
        Err(error) => {
            skip(test, &error.to_string());
            None
        }
    }
}

/// Appends to the file that `PELTON_SKIPS` names: a test that could not run must not look like one that
/// passed.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIP {test}: {}\n", why.replace('\n', " "));
    eprint!("{line}");
    if let Some(path) = std::env::var_os("PELTON_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
}

/// Wakes the test's thread, as the engine's would be.
#[derive(Default)]
pub struct Bell {
    rung: Mutex<u64>,
    more: Condvar,
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap() += 1;
        self.more.notify_all();
    }

    /// Sleeps until it has rung since the last wait; panics when nothing does for ten seconds.
    pub fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let wait = self.more.wait_timeout_while(rung, Duration::from_secs(10), |rung| *rung == 0);
        let (mut rung, late) = wait.unwrap();
        assert!(!late.timed_out(), "nobody woke the engine");
        *rung = 0;
    }
}

/// One queue with the plans of the test kernels.
pub struct Bed {
    pub queue: Box<dyn Queue>,
    pub memory: Memory,
    pub bins: Buf<u32>,
    pub total: Buf<u32>,
    pub copy: Buf<u32>,
    pub ingest: ProgramId,
    pub silent: ProgramId,
    pub lane: Lane<[u32; STRIDE]>,
    pub tail: Tail,
    pub bell: Arc<Bell>,
    pub leases: Vec<Lease>,
}

impl Bed {
    /// `eager` words of each output come back at once.
    pub fn new(device: &Device, in_flight: usize, outputs: usize, eager: usize) -> Result<Self> {
        let mut queue = device.queue(QueueOptions { in_flight, outputs })?;
        let mut memory = Memory::default();
        let bins = memory.buffer::<u32>("bins", Role::State, BINS);
        let sums = memory.buffer::<u32>("sums", Role::Scratch, EVENTS_MAX.div_ceil(256));
        let total = memory.buffer::<u32>("total", Role::State, 4);
        let copy = memory.buffer::<u32>("copy", Role::State, 4);
        let out = memory.buffer::<u32>("out", Role::Output { eager }, EVENTS_MAX + 2);
        queue.alloc(&memory.buffers)?;
        let mut plan = Plan::new("ingest", 4);
        (plan.events_max, plan.stride, plan.output) = (EVENTS_MAX, STRIDE, Some(out.id));
        let params = BinsParams { bins: 64, shift: 3, scale: 1.0, pad0: 0 };
        plan.step(&COUNT_BINS, Grid::Head(0), params, &[bins.id]);
        plan.step(&CHUNK_SUMS, Grid::Head(0), (), &[sums.id]);
        plan.step(&FOLD, Grid::Groups(1), (), &[sums.id, total.id]);
        plan.step(&ECHO, Grid::Head(0), (), &[out.id]);
        let ingest = queue.compile(&plan, &memory)?;
        let mut plan = Plan::new("silent", 4);
        plan.step(&COPY_HEAD, Grid::Groups(1), (), &[copy.id]);
        let silent = queue.compile(&plan, &memory)?;
        let bell = Arc::new(Bell::default());
        let ring = Arc::clone(&bell);
        queue.on_done(Arc::new(move || ring.ring()));
        let (lane, tail) = lane(&LaneOptions { events: 1 << 14, ..LaneOptions::default() })?;
        device.register(tail.slab())?;
        let leases = Vec::new();
        Ok(Self { queue, memory, bins, total, copy, ingest, silent, lane, tail, bell, leases })
    }

    /// Writes `n` events of a stream into the lane and leases them, in one to three pieces and more where
    /// the lane wraps; returns the header of their batch.
    pub fn feed(&mut self, n: usize, rng: &mut SplitMix) -> [u32; 4] {
        self.tail.reclaim();
        let mut left = n;
        while left > 0 {
            let piece = left.min(1 + usize::try_from(rng.below(1 + n as u64 / 2)).unwrap());
            let mut run = self.lane.write(piece).expect("the lane has room");
            let got = run.len();
            for event in run.iter_mut() {
                let (a, b) = (rng.next_u64(), rng.next_u64());
                *event = [low(a), low(a >> 32), low(b), low(b >> 32)];
            }
            run.commit(got, 0, 0);
            left -= got;
            let note = self.tail.next().expect("a run was committed");
            let mut from = note.from;
            while from < note.to {
                let to = self.tail.contiguous(from, note.to);
                self.leases.push(self.tail.lease(from, to));
                from = to;
            }
        }
        let events = u32::try_from(n).unwrap();
        let ranges = u32::try_from(self.leases.len()).unwrap();
        [events.div_ceil(256), events, ranges, low(rng.next_u64())]
    }

    /// Submits, waiting for room with what it takes from the queue.
    pub fn submit(
        &mut self,
        program: ProgramId,
        head: &[u32],
        mut taken: impl FnMut(Done),
    ) -> Result<()> {
        while !self.queue.room(program) {
            match self.queue.poll()? {
                Some(done) => taken(done),
                None => self.bell.wait(),
            }
        }
        let leases = std::mem::take(&mut self.leases);
        self.queue.submit(program, head, leases).map(|_| ())
    }

    /// Takes batches until the last of `count` is there.
    pub fn drain(&mut self, count: u64, mut taken: impl FnMut(Done)) -> Result<()> {
        loop {
            match self.queue.poll()? {
                Some(done) => {
                    let last = done.ticket.0 == count;
                    taken(done);
                    if last {
                        return Ok(());
                    }
                }
                None => self.bell.wait(),
            }
        }
    }

    /// All words of a buffer.
    pub fn read(&mut self, buffer: Buf<u32>, words: usize) -> Result<Vec<u32>> {
        let mut into = vec![0; words];
        self.queue.read(buffer.id, 0, &mut into)?;
        Ok(into)
    }
}

/// The low word.
pub fn low(word: u64) -> u32 {
    u32::try_from(word & 0xFFFF_FFFF).expect("masked")
}

/// Whether an error is one of those a device may give.
pub fn is_device_error(error: &Error) -> bool {
    matches!(error, Error::DeviceLost { .. } | Error::Unsupported { .. })
}
