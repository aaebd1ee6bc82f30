//! What the two ends of a lane share: the notes, the counters, the flags, the record of gaps.
//!
//! Each cache line has one usual writer. The consumer polls the slot of the next note and nothing else, and
//! finds the run's note and its publication in that one line.

use super::options::{LaneOptions, Policy, Wait};
use super::slab::Slab;
use super::sync::{AtomicBool, AtomicU32, AtomicU64, Guarded, Ordering};
use super::wait::{Bell, Waiters, wake_all};
use crate::base::error::{Error, Result};
use crate::base::limits::{EVENT_BYTES_MAX, LANE_EVENTS_MAX, LANE_LEASES_MAX};
use crossbeam::utils::CachePadded;
use std::collections::VecDeque;
use std::sync::Arc;

/// Leases of one lane that may be out; a model needs only a few.
pub(super) const LEASES: usize = if cfg!(loom) { 2 } else { LANE_LEASES_MAX };
/// Runs that may await the consumer in a private lane, at most; fewer when the lane holds fewer events.
const NOTES_MAX: usize = 1 << 16;
/// Bits by which the notes of a shared lane are turned: those of runs of `4 << SPREAD` events that follow each other
/// lie two cache lines apart.
const SPREAD: u32 = 4;
/// Gaps told apart. When more await the consumer, the newest grow together: none is lost.
const GAPS_MAX: usize = 64;

/// One published run, as it lies in memory: half a cache line, because what crosses from core to core bounds a lane's
/// rate. Pairs of notes that follow each other lie two lines apart (see [`State::note_index`]), because processors
/// fetch lines in pairs: the consumer, which looks for the next note before it is written, would take its line away
/// from the producer.
///
/// `word` is `(events + marks published, this run included) << 1 | is a mark`. It grows with every run, so
/// that what a slot held one lap ago can never be taken for the run that is awaited there: no slot needs to
/// be reset. The other words are covered by the Release store of `word`.
#[repr(align(32))]
pub(super) struct NoteSlot {
    pub(super) word: AtomicU64,
    pub(super) stamp_ns: AtomicU64,
    pub(super) lo: AtomicU64,
    pub(super) hi: AtomicU64,
}

/// Written by the producer at every commit, or by all producers of a shared lane at every claim.
pub(super) struct Front {
    /// Events written (private lane) or claimed (shared lane).
    pub(super) written: AtomicU64,
    /// Up while the consumer sleeps or is about to. Only ever swapped.
    asleep: AtomicU32,
}

/// Written by the consumer when it gives memory back.
pub(super) struct Back {
    /// Events whose memory is free again: all below this sequence.
    pub(super) head: AtomicU64,
    /// Notes taken: all below this number.
    pub(super) notes: AtomicU64,
    /// The consumer is gone.
    gone: AtomicBool,
}

/// Written rarely, when an end waits, drops or leaves.
pub(super) struct Rare {
    /// Up while a producer waits for room. Only ever swapped.
    starved: AtomicU32,
    /// Every producer is gone.
    closed: AtomicBool,
    /// Notes written plus one, by a producer that asked for the oldest runs to be dropped; 0 without one.
    asked: AtomicU64,
    /// Handles of a shared lane that live.
    pub(super) producers: AtomicU64,
    /// Numbers given to them so far.
    pub(super) numbers: AtomicU64,
    gaps: AtomicBool,
    waits: AtomicU64,
    rejected: AtomicU64,
    dropped_newest: AtomicU64,
    dropped_oldest: AtomicU64,
}

/// A stretch of events that a lane dropped, so that the windows it touches can be flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The sequence of the event that follows the gap (newest dropped) or of the first one in it (oldest).
    pub at: u64,
    /// The smallest event time dropped, 0 when unknown.
    pub lo: u64,
    /// The largest event time dropped, `u64::MAX` when unknown.
    pub hi: u64,
    /// Events dropped.
    pub events: u64,
}

/// What a lane has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Events committed (or, in a shared lane, claimed).
    pub written: u64,
    /// Events dropped because the lane was full.
    pub dropped_newest: u64,
    /// Events dropped to make room for newer ones.
    pub dropped_oldest: u64,
    /// Writes refused because the lane was full.
    pub rejected: u64,
    /// Times that a producer had to wait for room.
    pub waits: u64,
}

/// The state of one lane.
pub(super) struct State {
    pub(super) slab: Arc<Slab>,
    /// Words of one event.
    pub(super) stride: usize,
    /// Capacity in events, less one.
    pub(super) mask: u64,
    /// Notes are found by the sequence of their first event (shared lane) and not by their number.
    pub(super) by_sequence: bool,
    /// A run's events are as many as the first word of its note says: they have lengths of their own.
    pub(super) records: bool,
    /// Bits by which sequences are turned to find the places of their notes in a shared lane.
    spread: u32,
    pub(super) notes: Box<[NoteSlot]>,
    /// Codes of marks, beside the notes because few notes are marks.
    pub(super) codes: Box<[AtomicU32]>,
    pub(super) leases: Box<[AtomicBool]>,
    pub(super) policy: Policy,
    pub(super) wait: Wait,
    pub(super) waiters: Guarded<Waiters>,
    bell: Option<Bell>,
    gaps: Guarded<VecDeque<Gap>>,
    pub(super) front: CachePadded<Front>,
    pub(super) back: CachePadded<Back>,
    pub(super) rare: CachePadded<Rare>,
}

fn boxed<T>(n: usize, make: impl FnMut() -> T) -> Result<Box<[T]>> {
    let mut all = Vec::new();
    all.try_reserve_exact(n).map_err(|_| {
        Error::unsupported("host", format!("no memory for {n} notes: make the lane smaller"))
    })?;
    all.resize_with(n, make);
    Ok(all.into_boxed_slice())
}

impl State {
    /// The state of an empty lane of events of `event_bytes` bytes.
    pub(super) fn new(
        options: &LaneOptions,
        event_bytes: usize,
        by_sequence: bool,
        bell: Option<&Bell>,
    ) -> Result<Arc<Self>> {
        if event_bytes == 0 || !event_bytes.is_multiple_of(4) || event_bytes > EVENT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "event of {event_bytes} bytes: a multiple of 4, at most {EVENT_BYTES_MAX}"
            )));
        }
        if options.events == 0 || options.events > LANE_EVENTS_MAX {
            return Err(Error::invalid(format!(
                "lane of {} events: at least 1, at most {LANE_EVENTS_MAX}",
                options.events
            )));
        }
        let capacity = options.events.next_power_of_two();
        let notes = if by_sequence { capacity } else { capacity.min(NOTES_MAX) };
        let word = || AtomicU64::new(0);
        let note = || NoteSlot { word: word(), stamp_ns: word(), lo: word(), hi: word() };
        let codes = if by_sequence { 0 } else { notes };
        let bits = notes.ilog2();
        Ok(Arc::new(Self {
            slab: Slab::new(capacity.saturating_mul(event_bytes / 4))?,
            stride: event_bytes / 4,
            mask: capacity as u64 - 1,
            by_sequence,
            records: false,
            spread: SPREAD.min(bits),
            notes: boxed(notes, note)?,
            codes: boxed(codes, || AtomicU32::new(0))?,
            leases: boxed(LEASES, || AtomicBool::new(false))?,
            policy: options.policy,
            wait: options.wait,
            waiters: Guarded::new(Waiters::default()),
            bell: bell.cloned(),
            gaps: Guarded::new(VecDeque::new()),
            front: CachePadded::new(Front { written: word(), asleep: AtomicU32::new(0) }),
            back: CachePadded::new(Back {
                head: word(),
                notes: word(),
                gone: AtomicBool::new(false),
            }),
            rare: CachePadded::new(Rare {
                starved: AtomicU32::new(0),
                closed: AtomicBool::new(false),
                asked: word(),
                producers: AtomicU64::new(1),
                numbers: AtomicU64::new(1),
                gaps: AtomicBool::new(false),
                waits: word(),
                rejected: word(),
                dropped_newest: word(),
                dropped_oldest: word(),
            }),
        }))
    }

    /// Events the lane holds.
    #[inline]
    pub(super) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The event's place in the ring.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to the capacity, which is a usize")]
    pub(super) fn index(&self, sequence: u64) -> usize {
        (sequence & self.mask) as usize
    }

    /// The place in their ring of the note with this number, or (shared lane) of the note of the run whose first event
    /// has this sequence. The bits are turned: in a private lane all but the lowest by one to the left, so that pairs
    /// of notes which follow each other lie two lines apart; in a shared lane by [`SPREAD`] to the right.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "masked to a length, which is a usize")]
    pub(super) fn note_index(&self, note: u64) -> usize {
        let mask = self.notes.len() - 1;
        let at = note as usize & mask;
        if self.by_sequence {
            return at >> self.spread | (at << (mask.count_ones() - self.spread)) & mask;
        }
        let (pair, pairs) = (at >> 1, mask >> 1);
        let turned = pair << 1 & pairs | pair >> pairs.count_ones().saturating_sub(1);
        turned << 1 & mask | at & 1
    }

    /// Publishes one run: a single Release store makes its note and its events visible.
    #[inline]
    pub(super) fn publish(&self, at: usize, word: u64, stamp_ns: u64, lo: u64, hi: u64) {
        let slot = &self.notes[at];
        slot.stamp_ns.store(stamp_ns, Ordering::Relaxed);
        slot.lo.store(lo, Ordering::Relaxed);
        slot.hi.store(hi, Ordering::Relaxed);
        slot.word.store(word, Ordering::Release);
        self.ring();
    }

    /// Wakes the consumer if it sleeps. Lanes without a bell have consumers that never do.
    #[inline]
    fn ring(&self) {
        if let Some(bell) = &self.bell
            && self.front.asleep.swap(0, Ordering::AcqRel) != 0
        {
            bell.ring_always();
        }
    }

    /// The consumer is about to sleep: from now on a commit rings.
    pub(super) fn arm(&self) {
        assert!(self.bell.is_some(), "only a lane made with a bell can wake its consumer");
        self.front.asleep.swap(1, Ordering::AcqRel);
    }

    /// The consumer is awake. A swap, not a store: see `wait`.
    pub(super) fn disarm(&self) {
        self.front.asleep.swap(0, Ordering::AcqRel);
    }

    /// A producer is about to wait.
    pub(super) fn starve(&self) {
        self.rare.starved.swap(1, Ordering::AcqRel);
    }

    /// Gives back the memory of all events below `head` and of all notes below `notes`.
    pub(super) fn release(&self, head: u64, notes: u64) {
        self.back.head.store(head, Ordering::Release);
        self.back.notes.store(notes, Ordering::Release);
        if self.rare.starved.swap(0, Ordering::AcqRel) != 0 {
            wake_all(self);
        }
    }

    /// The consumer is gone: nobody will make room any more.
    pub(super) fn abandon(&self) {
        self.back.gone.store(true, Ordering::Release);
        if self.rare.starved.swap(0, Ordering::AcqRel) != 0 {
            wake_all(self);
        }
    }

    /// Whether the consumer is gone.
    #[inline]
    pub(super) fn gone(&self) -> bool {
        self.back.gone.load(Ordering::Acquire)
    }

    /// The last producer is gone.
    pub(super) fn close(&self) {
        self.rare.closed.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether every producer is gone; if so, all they committed is visible.
    #[inline]
    pub(super) fn closed(&self) -> bool {
        self.rare.closed.load(Ordering::Acquire)
    }

    /// A producer with `notes` notes written asks for the oldest runs to be dropped.
    pub(super) fn ask(&self, notes: u64) {
        if self.rare.asked.load(Ordering::Relaxed) != notes + 1 {
            self.rare.asked.store(notes + 1, Ordering::Release);
            if let Some(bell) = &self.bell {
                bell.ring_always();
            }
        }
    }

    /// Notes written by the producer that asked for room, if one did.
    #[inline]
    pub(super) fn asked(&self) -> Option<u64> {
        self.rare.asked.load(Ordering::Acquire).checked_sub(1)
    }

    /// The asker's wish is met, as far as the consumer can.
    pub(super) fn answer(&self) {
        self.rare.asked.store(0, Ordering::Release);
    }

    /// Counts a wait for room.
    pub(super) fn count_wait(&self) {
        self.rare.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused write.
    pub(super) fn count_rejected(&self) {
        self.rare.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and records events that the producer dropped before they were written.
    #[cold]
    pub(super) fn drop_newest(&self, gap: Gap) {
        self.rare.dropped_newest.fetch_add(gap.events, Ordering::Relaxed);
        self.record(gap);
    }

    /// Counts and records events that the consumer dropped before they were dispatched.
    #[cold]
    pub(super) fn drop_oldest(&self, gap: Gap) {
        self.rare.dropped_oldest.fetch_add(gap.events, Ordering::Relaxed);
        self.record(gap);
    }

    fn record(&self, gap: Gap) {
        self.gaps.with(|gaps| {
            let full = gaps.len() >= GAPS_MAX;
            match gaps.back_mut() {
                Some(last) if last.at == gap.at || full => {
                    last.lo = last.lo.min(gap.lo);
                    last.hi = last.hi.max(gap.hi);
                    last.events += gap.events;
                }
                _ => gaps.push_back(gap),
            }
            self.rare.gaps.store(true, Ordering::Release);
        });
    }

    /// The oldest gap not yet taken.
    pub(super) fn next_gap(&self) -> Option<Gap> {
        if !self.rare.gaps.load(Ordering::Acquire) {
            return None;
        }
        self.gaps.with(|gaps| {
            let gap = gaps.pop_front();
            self.rare.gaps.store(!gaps.is_empty(), Ordering::Release);
            gap
        })
    }

    /// What was counted so far.
    pub(super) fn stats(&self) -> LaneStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LaneStats {
            written: load(&self.front.written),
            dropped_newest: load(&self.rare.dropped_newest),
            dropped_oldest: load(&self.rare.dropped_oldest),
            rejected: load(&self.rare.rejected),
            waits: load(&self.rare.waits),
        }
    }
}
