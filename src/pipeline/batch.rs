//! Puts a batch together: takes runs from the lanes, judges them, and writes the header that kernels read.

use super::clock::{Clock, Rules, Verdict};
use super::lanes::{Part, Sink};
use super::results::Reason;
use super::slots::Slots;
use crate::base::field::Column;
use crate::base::limits::{CHUNK_EVENTS, ROW_EVENTS_MAX};
use crate::ops::batch::{self, CHUNK, Chunk, FIXED, SPAN, Span};
use crate::pipeline::programs::{PIECES_MAX, SPANS_MAX};
use crate::ring::{Lease, Tail};
use std::collections::BTreeMap;

/// Slices of one run that get a slot without looking whether the run really has events in each.
const SPREAD_MAX: u64 = 4;
/// Events of one piece whose slices are looked at one by one.
const SCAN_EVENTS: usize = 64;

/// Different slices and windows that one batch names before it ends: each may need a slot, and slots are freed only
/// by firing, between batches.
const NAMED_MAX: usize = 64;

/// Which slot belongs to which slice, and which to which window.
#[derive(Debug)]
pub(super) struct Places {
    /// Slot by slice.
    pub(super) slices: BTreeMap<u64, u32>,
    /// Slot by window, for events whose slice is spoken for, and for windows that may fire again.
    pub(super) windows: BTreeMap<u64, u32>,
    pub(super) slots: Slots,
}

impl Places {
    /// None, on a device whose pages hold so many blocks.
    pub(super) fn new(page_blocks: usize) -> Self {
        let slots = Slots::new(page_blocks);
        Self { slices: BTreeMap::new(), windows: BTreeMap::new(), slots }
    }

    /// The slot of a slice.
    pub(super) fn slice(&mut self, slice: u64) -> u32 {
        let slots = &mut self.slots;
        *self.slices.entry(slice).or_insert_with(|| slots.open())
    }

    /// The slot of a window of its own.
    pub(super) fn window(&mut self, window: u64) -> u32 {
        let slots = &mut self.slots;
        *self.windows.entry(window).or_insert_with(|| slots.open())
    }
}

/// A stretch of one lane whose events go to the same places.
#[derive(Debug, Clone, Copy)]
struct Piece {
    from: u64,
    to: u64,
    /// To every window named, or each to its slice.
    all: bool,
    places_at: usize,
    places: usize,
}

/// One run's share of a batch, for the latency of its events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) ns: u64,
    pub(super) events: u64,
}

/// A batch under construction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) head: Vec<u32>,
    spans: Vec<u32>,
    chunks: u32,
    /// Events under leases so far.
    pub(super) events: usize,
    pub(super) leases: Vec<Lease>,
    pub(super) stamps: Vec<Stamp>,
    /// For each lease, its lane, so that events set aside by a kernel can be found.
    pieces: Vec<Piece>,
    places: Vec<u64>,
    /// The different places named so far, ascending.
    named: Vec<u64>,
    /// Windows fired before that got events again.
    pub(super) refire: Vec<u64>,
    /// Events that do not reach the device.
    pub(super) accepted: u64,
}

/// An event that goes aside: its reason and its words.
pub(super) type AsideSink<'a> = &'a mut dyn FnMut(Reason, &[u32]);

/// What judging needs to know beside the lane.
pub(super) struct Judging<'a> {
    pub(super) rules: &'a Rules,
    pub(super) time: Column,
    /// Windows fired so far.
    pub(super) fired: u128,
    /// Whether devices want chunks of at most 256 events.
    pub(super) chunked: bool,
}

impl Judging<'_> {
    /// The smallest and largest time of the events `[from, to)`.
    pub(super) fn times(&self, tail: &Tail, from: u64, to: u64) -> (u64, u64) {
        let (a, b) = tail.words(from, to);
        let stride = tail.stride();
        let events = a.chunks_exact(stride).chain(b.chunks_exact(stride));
        events
            .map(|event| self.time.u64(event))
            .fold((u64::MAX, 0), |(lo, hi), t| (lo.min(t), hi.max(t)))
    }
}

/// A batch that is being filled from lanes.
pub(super) struct Filling<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) places: &'a mut Places,
    pub(super) judging: &'a Judging<'a>,
}

impl Sink for Filling<'_> {
    fn events(&self) -> usize {
        self.batch.events
    }

    fn take(
        &mut self,
        part: &Part,
        (clock, tail): (&mut Clock, &Tail),
        aside: AsideSink<'_>,
    ) -> u64 {
        let (from, to) = (part.from, part.to);
        let times = part.times.unwrap_or_else(|| self.judging.times(tail, from, to));
        let at = self.batch.judge((from, to), times, (clock, tail), self.judging, aside);
        if at > from {
            self.batch.stamps.push(Stamp { ns: part.stamp_ns, events: at - from });
        }
        at
    }

    fn taken(&mut self, lane: u32, range: (u64, u64), tail: &mut Tail, aside: AsideSink<'_>) {
        self.batch.lease(lane, range, tail, (&mut *self.places, self.judging), aside);
    }
}

impl Batch {
    /// Starts over, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.head.resize(FIXED, 0);
        self.spans.clear();
        (self.chunks, self.events, self.accepted) = (0, 0, 0);
        self.stamps.clear();
        self.named.clear();
        self.refire.clear();
    }

    /// Whether it takes no more, whatever the number of events.
    fn crowded(&self, tail: &Tail) -> bool {
        let chunks = self.chunks as usize + self.pieces.len();
        chunks + SCAN_EVENTS > PIECES_MAX
            || self.spans.len() / SPAN + self.places.len() + SCAN_EVENTS > SPANS_MAX
            || self.named.len() > NAMED_MAX
            || tail.leases_free() < 3
    }

    /// Judges `[from, to)` of a lane, at most up to the batch's room; returns where it stopped.
    fn judge(
        &mut self,
        (from, to): (u64, u64),
        (lo, hi): (u64, u64),
        (clock, tail): (&mut Clock, &Tail),
        j: &Judging<'_>,
        aside: AsideSink<'_>,
    ) -> u64 {
        if self.crowded(tail) {
            return from;
        }
        if j.rules.arrival {
            clock.advance(hi);
            self.add(from, to, false, 0..=0);
            return to;
        }
        let slices = if hi - lo.min(hi) < j.rules.shape.slide().saturating_mul(SPREAD_MAX) {
            clock.whole(lo, hi, j.fired, j.rules)
        } else {
            None
        };
        if let Some((first, last)) = slices {
            self.add(from, to, false, first..=last);
            return to;
        }
        let mut at = from;
        while at < to && !self.crowded(tail) {
            let end = to.min(at + SCAN_EVENTS as u64);
            at = self.scan((at, end), (clock, tail), j, aside);
        }
        at
    }

    /// Judges event by event, until the header has no room for more places; returns where it stopped. One event may
    /// go to as many as a window has slices.
    fn scan(
        &mut self,
        (from, to): (u64, u64),
        (clock, tail): (&mut Clock, &Tail),
        j: &Judging<'_>,
        aside: AsideSink<'_>,
    ) -> u64 {
        let (a, b) = tail.words(from, to);
        let stride = tail.stride();
        let events = a.chunks_exact(stride).chain(b.chunks_exact(stride));
        for (seq, event) in (from..).zip(events) {
            if self.spans.len() / SPAN + self.places.len() >= SPANS_MAX {
                return seq;
            }
            match clock.judge(j.time.u64(event), j.fired, j.rules) {
                Verdict::Slice(slice) => self.add_slice(seq, slice),
                Verdict::Windows(first, last) => self.add(seq, seq + 1, true, first..=last),
                Verdict::Late => aside(Reason::Late, event),
                Verdict::Beyond => aside(Reason::Beyond, event),
            }
        }
        to
    }

    /// Adds events that go to these slices or windows.
    fn add(&mut self, from: u64, to: u64, all: bool, places: std::ops::RangeInclusive<u64>) {
        if let Some(last) = self.pieces.last_mut()
            && last.to == from
            && last.all == all
            && places
                .clone()
                .eq(self.places[last.places_at..last.places_at + last.places].iter().copied())
        {
            last.to = to;
            return;
        }
        let places_at = self.places.len();
        places.clone().for_each(|place| self.name(place));
        self.places.extend(places);
        let places = self.places.len() - places_at;
        self.pieces.push(Piece { from, to, all, places_at, places });
    }

    fn name(&mut self, place: u64) {
        if let Err(at) = self.named.binary_search(&place) {
            self.named.insert(at, place);
        }
    }

    /// Adds one event that goes to its slice, to the last piece if that can take it.
    fn add_slice(&mut self, seq: u64, slice: u64) {
        let places = self.places.len();
        if let Some(last) = self.pieces.last_mut()
            && last.to == seq
            && !last.all
            && last.places_at + last.places == places
            && last.places < SCAN_EVENTS
        {
            let mine = &self.places[last.places_at..];
            let new = mine.binary_search(&slice).err();
            if let Some(at) = new {
                self.places.insert(last.places_at + at, slice);
                last.places += 1;
            }
            last.to = seq + 1;
            if new.is_some() {
                self.name(slice);
            }
            return;
        }
        self.add(seq, seq + 1, false, slice..=slice);
    }

    /// Leases `[from, to)` of a lane and writes the chunks of its pieces.
    fn lease(
        &mut self,
        lane: u32,
        (from, to): (u64, u64),
        tail: &mut Tail,
        (places, j): (&mut Places, &Judging<'_>),
        aside: AsideSink<'_>,
    ) {
        let pieces = std::mem::take(&mut self.pieces);
        let mut next = 0;
        let mut at = from;
        while at < to {
            let end = tail.contiguous(at, to);
            let range = u32::try_from(self.leases.len()).expect("few leases");
            self.leases.push(tail.lease(at, end));
            while let Some(piece) = pieces.get(next) {
                if piece.from >= end {
                    break;
                }
                let part = Piece { from: piece.from.max(at), to: piece.to.min(end), ..*piece };
                self.write(lane, range, (at, self.events), &part, (tail, &mut *places, j), aside);
                if piece.to > end {
                    break;
                }
                next += 1;
            }
            self.events += usize::try_from(end - at).expect("a lane's events fit");
            at = end;
        }
        self.pieces = pieces;
        self.pieces.clear();
        self.places.clear();
    }

    /// Writes the chunks of one piece that lies in one range.
    fn write(
        &mut self,
        lane: u32,
        range: u32,
        (range_from, range_event): (u64, usize),
        piece: &Piece,
        (tail, places, j): (&Tail, &mut Places, &Judging<'_>),
        aside: AsideSink<'_>,
    ) {
        let events = piece.to - piece.from;
        let spans_at = self.spans.len() / SPAN;
        let named = piece.places_at..piece.places_at + piece.places;
        let most = if j.rules.arrival { u64::MAX } else { ROW_EVENTS_MAX };
        let limit = most / j.rules.shape.slices();
        let mut full = false;
        for i in named.clone() {
            let place = self.places[i];
            let slot = if piece.all { places.window(place) } else { places.slice(place) };
            full |= places.slots.events(slot) + events > limit;
            let start = j.rules.shape.slice_start(place);
            // Where its part of the map lies is known when the batch is finished.
            self.spans.extend(Span { start, slot: [slot, 0] }.words());
        }
        if full {
            self.spans.truncate(spans_at * SPAN);
            let (a, b) = tail.words(piece.from, piece.to);
            let stride = tail.stride();
            a.chunks_exact(stride)
                .chain(b.chunks_exact(stride))
                .for_each(|e| aside(Reason::Full, e));
            return;
        }
        for i in 0..piece.places {
            places.slots.count(self.spans[(spans_at + i) * SPAN + 2], events);
        }
        for i in named {
            let place = self.places[i];
            if u128::from(place) < j.fired && !self.refire.contains(&place) {
                self.refire.push(place);
            }
        }
        let step = if j.chunked { CHUNK_EVENTS as u64 } else { u64::MAX };
        let mut from = piece.from;
        while from < piece.to {
            let to = piece.to.min(from.saturating_add(step));
            let at = usize::try_from(from - range_from).expect("a lane's events fit");
            let chunk = Chunk {
                first: u32::try_from(range_event + at).expect("a batch's events fit"),
                events: u32::try_from(to - from).expect("a batch's events fit"),
                spans_at: u32::try_from(spans_at).expect("few spans"),
                spans: u32::try_from(piece.places).expect("few spans"),
                all: piece.all,
                lane,
                seq: from,
                range,
                at: u32::try_from(at).expect("a batch's events fit"),
            };
            self.head.extend(chunk.words());
            self.chunks += 1;
            from = to;
        }
        self.accepted += events;
    }

    /// Finishes the header.
    pub(super) fn finish(&mut self, slots: &Slots) {
        for span in self.spans.as_chunks_mut::<SPAN>().0 {
            let [at, blocks] = slots.words(span[2]);
            (span[2], span[3]) = (at, blocks);
        }
        let spans_at = FIXED + self.chunks as usize * CHUNK;
        debug_assert_eq!(self.head.len(), spans_at);
        self.head.extend_from_slice(&self.spans);
        self.head[batch::GROUPS] = self.chunks;
        self.head[batch::CHUNKS] = self.chunks;
        self.head[batch::EVENTS] = u32::try_from(self.events).expect("a batch's events fit");
        self.head[batch::SPANS_AT] = u32::try_from(spans_at).expect("a header's words fit");
    }
}

/// The words of the batch's `index`-th event.
pub(super) fn event_at(leases: &[Lease], stride: usize, index: usize) -> Option<&[u32]> {
    let mut at = index * stride;
    for lease in leases {
        let words = lease.words();
        if at < words.len() {
            return Some(&words[at..at + stride]);
        }
        at -= words.len();
    }
    None
}
