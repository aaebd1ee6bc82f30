//! Events in the order of their times: they wait until the watermark has passed them, then they go on, sorted.
//!
//! It stands between the lanes of the producers and a lane of the engine's own, from which batches are made as of any
//! lane. An event is late when its time lies further back than the declared disorder from the largest time before it
//! in its lane, so no event that is not late comes after the watermark passed its time. So the order in which events go
//! on, by time, lane and place in the lane, depends on what each lane brings alone, not on when. Labels wait with the
//! events: for the latest time of their lane.
//!
//! What waits is copied: memory of lanes goes back in their order. When much waits, only lanes that hold the watermark
//! back are taken from; the others fill up and do as their policies say.

use super::batch::AsideSink;
use super::clock::{Clock, Rules, Verdict};
use super::lanes::{Labelled, Lanes, Part, Sink};
use super::results::Reason;
use crate::base::field::Column;
use crate::base::limits::word;
use crate::base::time::Ticks;
use crate::ops::batch::{hi, join, lo};
use crate::ring::{Lane, Tail};
use bytemuck::Pod;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Events that wait, at most, but for lanes that hold the watermark back.
const WAITING_MAX: usize = 1 << 20;
/// Events taken from lanes at a time.
const ROOM: usize = 1 << 14;
/// The slot of what is a label.
const LABEL: u32 = u32::MAX;
/// Words before those of an event: when its run was committed.
const STAMP: usize = 2;

/// A lane of the engine's own, whatever its events' type.
pub(super) trait Outlet: Send {
    /// Events that there is room for; 0 when there is none for a mark either.
    fn free(&self) -> usize;

    /// Has 1 to `n` events written, for which there is room: `fill` returns the smallest and largest time, and when the
    /// oldest was committed.
    fn write(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u32]) -> [u64; 3]);

    /// Has a mark written, for which there is room.
    fn mark(&mut self, code: u32, lo: u64, hi: u64);
}

impl<E: Pod> Outlet for Lane<E> {
    fn free(&self) -> usize {
        usize::try_from(Self::free(self)).unwrap_or(usize::MAX)
    }

    fn write(&mut self, n: usize, fill: &mut dyn FnMut(&mut [u32]) -> [u64; 3]) {
        let Ok(mut run) = Self::write(self, n) else { return };
        let len = run.len();
        let [lo, hi, stamp_ns] = fill(bytemuck::cast_slice_mut(&mut run));
        run.commit_at(len, lo, hi, stamp_ns);
    }

    fn mark(&mut self, code: u32, lo: u64, hi: u64) {
        Self::mark(self, code, lo, hi);
    }
}

/// What waits, in the order in which it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: Ticks,
    lane: u32,
    /// Grows with each event taken, so those of a lane are in its order.
    number: u64,
    /// Where its words are, or [`LABEL`].
    slot: u32,
}

/// Events that wait for the watermark.
struct Waiting {
    rules: Rules,
    time: Column,
    stride: usize,
    entries: BinaryHeap<Reverse<Entry>>,
    /// Slots of words, each a stamp and an event, and those that are free.
    words: Vec<u32>,
    free: Vec<u32>,
    labels: BTreeMap<u64, Labelled>,
    number: u64,
    /// Taken since gathering began.
    taken: usize,
}

impl Waiting {
    fn push(&mut self, lane: u32, time: Ticks, slot: u32) {
        self.number += 1;
        self.entries.push(Reverse(Entry { time, lane, number: self.number, slot }));
    }

    /// Keeps an event's words; returns where.
    fn keep(&mut self, event: &[u32], stamp_ns: u64) -> u32 {
        let size = STAMP + self.stride;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.words.resize(self.words.len() + size, 0);
            word(self.words.len() / size - 1)
        });
        let place = &mut self.words[slot as usize * size..][..size];
        place[..STAMP].copy_from_slice(&[lo(stamp_ns), hi(stamp_ns)]);
        place[STAMP..].copy_from_slice(event);
        slot
    }

    /// The stamp and the event of a slot.
    fn kept(&self, slot: u32) -> (u64, &[u32]) {
        let size = STAMP + self.stride;
        let (stamp, event) = self.words[slot as usize * size..][..size].split_at(STAMP);
        (join(stamp[0], stamp[1]), event)
    }

    /// What goes on next, if the watermark has passed it; `None` for the watermark is the end of time.
    fn next(&mut self, watermark: Option<Ticks>) -> Option<Entry> {
        let &Reverse(first) = self.entries.peek()?;
        watermark.is_none_or(|watermark| first.time < watermark).then_some(first)
    }
}

impl Sink for Waiting {
    fn events(&self) -> usize {
        self.taken
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= WAITING_MAX
    }

    fn take(
        &mut self,
        part: &Part,
        (clock, tail): (&mut Clock, &Tail),
        aside: AsideSink<'_>,
    ) -> u64 {
        let (a, b) = tail.words(part.from, part.to);
        for event in a.chunks_exact(self.stride).chain(b.chunks_exact(self.stride)) {
            let time = self.time.u64(event);
            match clock.judge(time, 0, &self.rules) {
                Verdict::Slice(_) | Verdict::Windows(..) => {
                    let slot = self.keep(event, part.stamp_ns);
                    self.push(part.lane, time, slot);
                }
                Verdict::Late => aside(Reason::Late, event),
                Verdict::Beyond => aside(Reason::Beyond, event),
            }
        }
        self.taken += usize::try_from(part.to - part.from).expect("a run's events fit");
        part.to
    }

    fn taken(&mut self, _: u32, (from, to): (u64, u64), tail: &mut Tail, _: AsideSink<'_>) {
        tail.skip(from, to);
        tail.reclaim();
    }

    fn label(&mut self, lane: u32, at: Option<Ticks>, label: Labelled) -> bool {
        self.push(lane, at.unwrap_or(0), LABEL);
        self.labels.insert(self.number, label);
        true
    }
}

/// Takes events from lanes as they come and hands them on by their times.
pub(super) struct Sorter {
    pub(super) lanes: Lanes,
    waiting: Waiting,
    /// Gone when everything there will ever be has gone on.
    out: Option<Box<dyn Outlet>>,
    ready: Vec<Entry>,
}

impl Sorter {
    pub(super) fn new(
        out: Box<dyn Outlet>,
        (disorder, horizon): (Ticks, Ticks),
        (time, stride): (Column, usize),
    ) -> Self {
        let waiting = Waiting {
            rules: Rules::by_time(disorder, horizon),
            time,
            stride,
            entries: BinaryHeap::new(),
            words: Vec::new(),
            free: Vec::new(),
            labels: BTreeMap::new(),
            number: 0,
            taken: 0,
        };
        Self { lanes: Lanes::default(), waiting, out: Some(out), ready: Vec::new() }
    }

    /// Takes in a lane. It joins at the watermark.
    pub(super) fn open(&mut self, tail: Tail) {
        self.lanes.open(tail, &self.waiting.rules);
    }

    /// Whether it waits for some lanes and leaves others alone.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.is_full()
    }

    /// Does what can be done now; false when there was nothing to do. After `closing` no lane will be opened any more.
    pub(super) fn step(&mut self, closing: bool, aside: AsideSink<'_>) -> bool {
        let Self { lanes, waiting, .. } = self;
        waiting.taken = 0;
        let rules = waiting.rules;
        let mut progress = lanes.gather(waiting, ROOM, &rules, aside);
        lanes.shed();
        progress |= lanes.close(&rules);
        progress |= lanes.raise(&rules);
        // Nobody asks scores what they may have missed.
        lanes.forget_gaps(Ticks::MAX);
        let is_end = closing && lanes.is_empty();
        match lanes.watermark.filter(|_| !is_end) {
            Some(watermark) => progress |= self.release(Some(watermark)),
            None if is_end => progress |= self.release(None),
            None => {}
        }
        if is_end && self.waiting.entries.is_empty() {
            progress |= self.out.take().is_some();
        }
        progress
    }

    /// Hands on what the watermark has passed, as far as there is room; false when that was nothing.
    fn release(&mut self, watermark: Option<Ticks>) -> bool {
        let Self { waiting, out, ready, .. } = self;
        let Some(out) = out else { return false };
        let mut progress = false;
        loop {
            let room = out.free();
            while let Some(entry) = waiting.next(watermark).filter(|e| e.slot != LABEL)
                && ready.len() < room
            {
                waiting.entries.pop();
                ready.push(entry);
            }
            let label = waiting.next(watermark).filter(|e| e.slot == LABEL);
            if ready.is_empty() && (label.is_none() || room == 0) {
                return progress;
            }
            progress = true;
            let mut rest = &ready[..];
            while !rest.is_empty() {
                out.write(rest.len(), &mut |words| {
                    let (run, behind) = rest.split_at(words.len() / waiting.stride);
                    rest = behind;
                    fill(waiting, run, words)
                });
            }
            waiting.free.extend(ready.drain(..).map(|entry| entry.slot));
            if let Some(Entry { number, .. }) = label.filter(|_| out.free() > 0) {
                waiting.entries.pop();
                let (code, lo, hi) = waiting.labels.remove(&number).expect("kept").mark();
                out.mark(code, lo, hi);
            }
        }
    }
}

/// Writes a run of events; returns their smallest and largest time, and when the oldest was committed.
fn fill(waiting: &Waiting, run: &[Entry], words: &mut [u32]) -> [u64; 3] {
    let mut oldest = u64::MAX;
    for (entry, place) in run.iter().zip(words.chunks_exact_mut(waiting.stride)) {
        let (stamp_ns, event) = waiting.kept(entry.slot);
        oldest = oldest.min(stamp_ns);
        place.copy_from_slice(event);
    }
    [run[0].time, run[run.len() - 1].time, oldest]
}
