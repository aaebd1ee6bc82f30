//! The consumer's end of a lane: takes runs in order, leases them, gives their memory back in order.
//!
//! It is untyped, because the engine moves words; it is the same for private and shared lanes, because the
//! engine does not care who wrote. Taking a run costs one look at one cache line.

use super::options::Policy;
use super::slab::Slab;
use super::state::{Gap, LEASES, LaneStats, State};
use super::sync::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is known of one committed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Sequence of its first event.
    pub from: u64,
    /// Sequence after its last event; `from` for a mark.
    pub to: u64,
    /// When it was committed, on the clock of `base::clock`.
    pub stamp_ns: u64,
    /// The caller's first word: the smallest event time in the run.
    pub lo: u64,
    /// The caller's second word: the largest event time in the run.
    pub hi: u64,
    /// The code, when this is a mark.
    pub mark: Option<u32>,
}

/// Taken events whose memory goes back together.
struct Segment {
    to: u64,
    /// The flag that a lease clears, or none when nobody holds the events.
    slot: Option<usize>,
}

/// The consumer's end of a lane. Dropping it makes every write of the producers fail as closed.
pub struct Tail {
    pub(super) state: Arc<State>,
    /// Notes taken.
    notes: u64,
    /// Marks among them.
    marks: u64,
    /// Events taken: all below.
    taken: u64,
    /// Events taken or peeked.
    seen: u64,
    /// Events leased or skipped.
    covered: u64,
    /// Events given back, and notes.
    head: u64,
    notes_back: u64,
    segments: VecDeque<Segment>,
    /// Leases given out, and the first of them whose events are not given back.
    leases: u64,
    leases_back: u64,
}

impl Tail {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self {
            state,
            notes: 0,
            marks: 0,
            taken: 0,
            seen: 0,
            covered: 0,
            head: 0,
            notes_back: 0,
            // Skipped segments in a row are one, so there is at most one beside each lease.
            segments: VecDeque::with_capacity(2 * LEASES + 1),
            leases: 0,
            leases_back: 0,
        }
    }

    /// Words of one event.
    #[inline]
    pub fn stride(&self) -> usize {
        self.state.stride
    }

    /// Events the lane holds.
    pub fn capacity(&self) -> u64 {
        self.state.capacity()
    }

    /// The memory that the events lie in.
    pub fn slab(&self) -> &Arc<Slab> {
        &self.state.slab
    }

    /// Sequence of the next event to take.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next committed run or mark.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "a lane that is empty now is not at its end")]
    pub fn next(&mut self) -> Option<Note> {
        let note = self.peek()?;
        self.notes += 1;
        self.marks += u64::from(note.mark.is_some());
        self.taken = note.to;
        Some(note)
    }

    /// The next committed run or mark, which stays the next.
    #[inline]
    pub fn peek(&mut self) -> Option<Note> {
        let note = self.glance()?;
        self.seen = note.to;
        Some(note)
    }

    #[inline]
    fn glance(&self) -> Option<Note> {
        let state = &*self.state;
        let at = state.note_index(if state.by_sequence { self.taken } else { self.notes });
        let slot = &state.notes[at];
        let word = slot.word.load(Ordering::Acquire);
        if word >> 1 <= self.taken + self.marks {
            return None;
        }
        let mark = word & 1;
        let to = (word >> 1) - self.marks - mark;
        Some(Note {
            from: self.taken,
            to,
            stamp_ns: slot.stamp_ns.load(Ordering::Relaxed),
            lo: slot.lo.load(Ordering::Relaxed),
            hi: slot.hi.load(Ordering::Relaxed),
            mark: (mark == 1).then(|| state.codes[at].load(Ordering::Relaxed)),
        })
    }

    /// Whether the events were seen and are not given back.
    #[inline]
    pub(super) fn holds(&self, from: u64, to: u64) -> bool {
        self.head <= from && from <= to && to <= self.seen
    }

    /// Where the events `[from, to)` are to be split so that each part lies in one piece: `to` when they do.
    #[inline]
    pub fn contiguous(&self, from: u64, to: u64) -> u64 {
        to.min((from | self.state.mask) + 1)
    }

    /// Passes over taken events that need no lease. They must follow those leased or skipped before; their
    /// memory goes back in order with the leases.
    ///
    /// # Panics
    /// When they are not taken or not next.
    #[inline]
    pub fn skip(&mut self, from: u64, to: u64) {
        self.cover(from, to);
        match self.segments.back_mut() {
            Some(last) if last.slot.is_none() => last.to = to,
            _ => self.segments.push_back(Segment { to, slot: None }),
        }
    }

    /// Puts a lease's flag up over events that come next, and returns which.
    pub(super) fn hold(&mut self, from: u64, to: u64) -> usize {
        assert!(self.leases_free() > 0, "leases of a lane are bounded: see leases_free");
        self.cover(from, to);
        let slot = usize::try_from(self.leases % LEASES as u64).unwrap_or(0);
        self.leases += 1;
        // Whoever clears it got the lease from here, so this store comes first.
        self.state.leases[slot].store(true, Ordering::Relaxed);
        self.segments.push_back(Segment { to, slot: Some(slot) });
        slot
    }

    fn cover(&mut self, from: u64, to: u64) {
        assert_eq!(from, self.covered, "events are leased or skipped in order");
        assert!(from <= to && to <= self.taken, "only taken events are leased or skipped");
        self.covered = to;
    }

    /// Leases that may still be given out. One is back when its events are given back, in order.
    pub fn leases_free(&self) -> usize {
        LEASES - usize::try_from(self.leases - self.leases_back).unwrap_or(LEASES)
    }

    /// Gives back the memory of all events in front that no lease holds, wakes a producer that waits for
    /// it, and returns how many they were.
    pub fn reclaim(&mut self) -> u64 {
        let before = self.head;
        while let Some(front) = self.segments.front() {
            if let Some(slot) = front.slot {
                if self.state.leases[slot].load(Ordering::Acquire) {
                    break;
                }
                self.leases_back += 1;
            }
            self.head = front.to;
            self.segments.pop_front();
        }
        if self.head != before || self.notes != self.notes_back {
            self.notes_back = self.notes;
            self.state.release(self.head, self.notes);
        }
        self.head - before
    }

    /// Drops the oldest run that is not taken, if a producer with `Policy::DropOldest` asked for room, and
    /// returns its note; its events are counted and recorded as a [`Gap`]. Call it until it returns `None`:
    /// runs go until half the lane is free, or will be once the leases are back. A mark among them is not
    /// dropped but returned as if taken: treat it as from [`Tail::next`].
    ///
    /// # Panics
    /// When taken events are neither leased nor skipped.
    pub fn drop_oldest(&mut self) -> Option<Note> {
        let state = &self.state;
        if state.policy != Policy::DropOldest {
            return None;
        }
        let notes = state.asked()?;
        assert_eq!(self.covered, self.taken, "lease or skip what was taken before dropping more");
        self.reclaim();
        let state = &self.state;
        let used = state.front.written.load(Ordering::Relaxed).saturating_sub(self.taken);
        let room = state.capacity().saturating_sub(used) >= (state.capacity() / 2).max(1);
        let slots = state.notes.len() as u64;
        let noted = state.by_sequence || notes.saturating_sub(self.notes) <= slots / 2;
        if room && noted {
            state.answer();
            return None;
        }
        let note = self.next()?;
        if note.mark.is_none() {
            self.drop_taken(note);
        }
        self.reclaim();
        Some(note)
    }

    /// Whether a producer asks for room and its policy is to drop the oldest for it.
    pub fn asked(&self) -> bool {
        self.state.policy == Policy::DropOldest && self.state.asked().is_some()
    }

    /// Drops a run that was taken and is neither leased nor skipped, from where `note` says it goes on. It is counted
    /// and recorded as by [`Tail::drop_oldest`].
    ///
    /// # Panics
    /// As [`Tail::skip`].
    pub fn drop_taken(&mut self, note: Note) {
        self.skip(note.from, note.to);
        let events = if self.state.records { note.lo } else { note.to - note.from };
        self.state.drop_oldest(Gap { at: note.from, lo: note.lo, hi: note.hi, events });
    }

    /// The oldest gap not yet popped: events that the producer or [`Tail::drop_oldest`] dropped. When too
    /// many await, the newest grow together; none is lost.
    pub fn next_gap(&mut self) -> Option<Gap> {
        self.state.next_gap()
    }

    /// Whether every producer is gone and all they committed is taken.
    pub fn closed(&self) -> bool {
        self.state.closed() && self.glance().is_none()
    }

    /// Events written and not taken, about.
    pub fn backlog(&self) -> u64 {
        self.state.front.written.load(Ordering::Relaxed).saturating_sub(self.taken)
    }

    /// What the lane has counted.
    pub fn stats(&self) -> LaneStats {
        self.state.stats()
    }

    /// Announces that the consumer is about to sleep on the lane's bell: from now on a commit rings it.
    /// Returns false, with nothing announced, when there is a run to take or the lane is closed. Arm every
    /// lane; if all agree, [`Bell::wait`](super::Bell::wait); then disarm them.
    ///
    /// # Panics
    /// When the lane was made without a bell.
    pub fn arm(&mut self) -> bool {
        self.state.arm();
        let sleep = self.glance().is_none() && !self.state.closed();
        if !sleep {
            self.state.disarm();
        }
        sleep
    }

    /// The consumer is awake: commits need not ring.
    pub fn disarm(&mut self) {
        self.state.disarm();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.state.abandon();
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tail({} taken, {} given back)", self.taken, self.head)
    }
}
