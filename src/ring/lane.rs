//! The private lane: one producer writes events in place, one consumer leases them to devices.
//!
//! A producer reserves memory, fills it and commits; nothing is visible before the commit, so a producer
//! that panics half way publishes nothing and leaves nothing behind. One commit is one run, published by
//! one Release store together with its note. The memory goes back to the producer, in order, once nobody
//! reads it any more.
//!
//! This file holds the whole argument why no word is written while somebody reads it. Sequences count
//! events from the lane's birth; `head <= covered <= taken <= written <= head + capacity`:
//! - the producer writes only `[written, head + capacity)`, after an Acquire load of `head`;
//! - the consumer reads only `[head, taken or peeked)`, after an Acquire load of the run's note;
//! - `head` passes an event only in [`Tail::reclaim`], which needs `&mut Tail` (so no slice of
//!   [`Tail::words`] lives) and stops at the first lease that lives; both have ended their reads before the
//!   Release store of `head`.

use super::slab::Slab;
use super::state::State;
use super::sync::{Ordering, Parker};
use super::wait::{self, Bell, Waiter};
use crate::base::clock;
use crate::base::error::Result;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use super::options::{Full, LaneOptions, Policy, Wait};
pub use super::state::{Gap, LaneStats};
pub use super::tail::{Note, Tail};

/// A lane for events of type `E`: the producer's end and the consumer's.
///
/// ```
/// use pelton::ring::{LaneOptions, lane};
/// let (mut lane, mut tail) = lane::<[u32; 4]>(&LaneOptions::default())?;
/// let mut run = lane.write(2).expect("an empty lane has room");
/// run[0] = [1, 2, 3, 4];
/// run[1] = [5, 6, 7, 8];
/// run.commit(2, 10, 20);
///
/// let note = tail.next().expect("one run was committed");
/// assert_eq!((note.from, note.to, note.lo, note.hi), (0, 2, 10, 20));
/// let lease = tail.lease(note.from, note.to);
/// assert_eq!(lease.words(), [1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(tail.reclaim(), 0, "a lease holds the memory");
/// drop(lease);
/// assert_eq!(tail.reclaim(), 2);
/// # Ok::<(), pelton::Error>(())
/// ```
///
/// # Errors
/// `Invalid` when the events are not whole words or too large, or the lane holds none or too many;
/// `Unsupported` when the host is out of memory.
pub fn lane<E: Pod>(options: &LaneOptions) -> Result<(Lane<E>, Tail)> {
    make(options, false, None)
}

/// As [`lane`], with a bell that wakes the consumer: its commits ring while the [`Tail`] is armed.
///
/// # Errors
/// As [`lane`].
pub fn lane_with_bell<E: Pod>(options: &LaneOptions, bell: &Bell) -> Result<(Lane<E>, Tail)> {
    make(options, false, Some(bell))
}

/// With `records`, a run's first note word is the number of its events, and what the lane drops is counted by it.
pub(super) fn make<E: Pod>(
    options: &LaneOptions,
    records: bool,
    bell: Option<&Bell>,
) -> Result<(Lane<E>, Tail)> {
    let mut state = State::new(options, size_of::<E>(), false, bell)?;
    Arc::get_mut(&mut state).expect("nobody else has it yet").records = records;
    let tail = Tail::new(state.clone());
    let lane = Lane {
        state,
        written: 0,
        marks: 0,
        head: 0,
        notes: 0,
        notes_taken: 0,
        parker: None,
        events: PhantomData,
    };
    Ok((lane, tail))
}

/// Asks the processor for the lines behind a run, as many as it has and 16 at most, to write them: the next run's
/// memory comes from the core that read it last while this run is written. Nothing that the program sees changes.
#[inline(always)]
fn expect_writes(run: NonNull<u8>, bytes: usize) {
    let mut at = 0;
    while at < bytes.min(16 * 64) {
        let line = run.as_ptr().wrapping_add(bytes + at);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch does not read or write as the program sees it and never faults, wherever it points.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
        }
        let _ = line;
        at += 64;
    }
}

/// The producer's end of a private lane. Dropping it closes the lane: what was committed is still drained.
pub struct Lane<E: Pod> {
    pub(super) state: Arc<State>,
    /// Sequence of the next event.
    pub(super) written: u64,
    /// Marks published.
    marks: u64,
    /// `head` as last read.
    head: u64,
    /// Notes published, and how many of them the consumer had taken when last asked.
    pub(super) notes: u64,
    notes_taken: u64,
    parker: Option<Parker>,
    events: PhantomData<fn(E)>,
}

impl<E: Pod> Lane<E> {
    /// Memory for 1 to `n` events in a row, to fill in place and [commit](Run::commit): fewer than `n` at
    /// the end of the ring or where less is free. A full lane does as its [`Policy`] says; under
    /// `DropNewest` it comes back as full, and [`Lane::dropped`] records what the caller then drops.
    ///
    /// The memory holds older events: write every field.
    ///
    /// # Errors
    /// `Full` when the policy does not wait, or the consumer is gone.
    ///
    /// # Panics
    /// When `n` is 0.
    #[inline]
    pub fn write(&mut self, n: usize) -> std::result::Result<Run<'_, E>, Full> {
        assert!(n > 0, "a run has at least one event");
        let mut room = self.room();
        if room < n as u64 {
            room = self.look();
            if room == 0 {
                room = self.wait_for_room(1)?;
            }
        }
        let at = self.state.index(self.written);
        #[allow(clippy::cast_possible_truncation, reason = "room is at most the capacity, a usize")]
        let len = n.min(room as usize).min(self.state.mask as usize + 1 - at);
        let stride = self.state.stride;
        // SAFETY: these events are in `[written, head + capacity)`: not published, so no reader has them,
        // and read no more, as the Acquire load of `head` saw. Only this producer writes, and `Run` borrows
        // it exclusively; `Run` gives out no reference that outlives the commit.
        let first = unsafe { self.state.slab.write(at * stride, len * stride) }.cast::<E>();
        expect_writes(first.cast(), len * stride * 4);
        Ok(Run { lane: self, first, len })
    }

    /// Appends one event of unknown time; see [`Lane::push_noted`].
    ///
    /// # Errors
    /// As [`Lane::push_noted`].
    #[inline]
    pub fn push(&mut self, event: E) -> std::result::Result<(), Full<E>> {
        self.push_noted(event, 0, u64::MAX)
    }

    /// Appends one event and publishes it as a run with the note words `lo` and `hi`. Under `DropNewest` a
    /// full lane drops it, counts it, and records a gap from `lo` to `hi`.
    ///
    /// # Errors
    /// `Full` with the event when the policy rejects it or the consumer is gone.
    #[inline]
    pub fn push_noted(&mut self, event: E, lo: u64, hi: u64) -> std::result::Result<(), Full<E>> {
        let closed = match self.write(1) {
            Ok(mut run) => {
                run[0] = event;
                run.commit(1, lo, hi);
                return Ok(());
            }
            Err(full) => full.closed,
        };
        if closed || self.state.policy != Policy::DropNewest {
            return Err(Full { event, closed });
        }
        self.dropped(1, lo, hi);
        Ok(())
    }

    /// Counts and records `n` events from event time `lo` to `hi` that the caller dropped before this point,
    /// because the lane was full.
    pub fn dropped(&mut self, n: u64, lo: u64, hi: u64) {
        self.state.drop_newest(Gap { at: self.written, lo, hi, events: n });
    }

    /// Publishes a run of no events that carries a code, in order with the events. Waits for the consumer
    /// when too many runs await it, whatever the policy; does nothing when the consumer is gone.
    pub fn mark(&mut self, code: u32, lo: u64, hi: u64) {
        if self.notes_free() == 0 {
            self.look();
            if self.notes_free() == 0 && !self.wait_for_note() {
                return;
            }
        }
        let at = self.state.note_index(self.notes);
        self.state.codes[at].store(code, Ordering::Relaxed);
        self.marks += 1;
        self.publish(true, lo, hi, clock::now_ns());
    }

    /// Closes the lane, as dropping it does. What was committed is still drained.
    pub fn close(self) {}

    /// Whether a write would find room now.
    pub fn ready(&self) -> bool {
        self.free() > 0
    }

    /// Events that fit now.
    pub fn free(&self) -> u64 {
        let notes = self.notes - self.state.back.notes.load(Ordering::Acquire);
        if notes == self.state.notes.len() as u64 {
            return 0;
        }
        self.state.capacity() - (self.written - self.state.back.head.load(Ordering::Acquire))
    }

    /// Events the lane holds.
    pub fn capacity(&self) -> u64 {
        self.state.capacity()
    }

    /// Sequence of the next event: as many were committed so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether the consumer is gone.
    pub fn closed(&self) -> bool {
        self.state.gone()
    }

    /// What the lane has counted.
    pub fn stats(&self) -> LaneStats {
        self.state.stats()
    }

    /// The memory that the events are written into.
    pub fn slab(&self) -> &Arc<Slab> {
        &self.state.slab
    }

    /// Ready when a write would not have to wait: there is room, or the consumer is gone and the write
    /// fails at once. Otherwise the task is woken when that changes. For back-pressure without blocking.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.look() > 0 || self.state.gone() {
            return Poll::Ready(());
        }
        if self.state.policy == Policy::DropOldest {
            self.state.ask(self.notes);
        }
        wait::announce(&self.state, 0, Waiter::Task(cx.waker().clone()));
        if self.look() > 0 || self.state.gone() {
            wait::withdraw(&self.state, 0);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Notes that may still be published, as far as known.
    #[inline]
    fn notes_free(&self) -> u64 {
        self.state.notes.len() as u64 - (self.notes - self.notes_taken)
    }

    /// Events that may still be written, as far as known.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        let events = self.state.capacity() - (self.written - self.head);
        if self.notes_free() == 0 { 0 } else { events }
    }

    /// Looks what the consumer gave back, and returns the room.
    #[inline]
    pub(super) fn look(&mut self) -> u64 {
        self.head = self.state.back.head.load(Ordering::Acquire);
        self.notes_taken = self.state.back.notes.load(Ordering::Acquire);
        self.room()
    }

    #[cold]
    pub(super) fn wait_for_room(&mut self, n: u64) -> std::result::Result<u64, Full> {
        if self.state.gone() {
            return Err(Full { event: (), closed: true });
        }
        match self.state.policy {
            Policy::Reject => self.state.count_rejected(),
            Policy::DropNewest => {}
            Policy::Block | Policy::Spin | Policy::DropOldest => {
                let room = |lane: &mut Self| Some(lane.look()).filter(|&r| r >= n).unwrap_or(0);
                return self.wait_until(room).ok_or(Full { event: (), closed: true });
            }
        }
        Err(Full { event: (), closed: false })
    }

    /// Waits for room for a note; false when the consumer is gone.
    #[cold]
    fn wait_for_note(&mut self) -> bool {
        let room = |lane: &mut Self| {
            lane.look();
            lane.notes_free()
        };
        self.wait_until(room).is_some()
    }

    fn wait_until(&mut self, room: impl Fn(&mut Self) -> u64) -> Option<u64> {
        let state = self.state.clone();
        let mut parker = self.parker.take();
        let found = wait::for_room(&state, 0, &mut parker, self.notes, || room(self));
        self.parker = parker;
        found
    }

    #[inline]
    pub(super) fn publish(&mut self, mark: bool, lo: u64, hi: u64, stamp_ns: u64) {
        let at = self.state.note_index(self.notes);
        let word = (self.written + self.marks) << 1 | u64::from(mark);
        self.notes += 1;
        self.state.front.written.store(self.written, Ordering::Relaxed);
        self.state.publish(at, word, stamp_ns, lo, hi);
    }
}

impl<E: Pod> Drop for Lane<E> {
    fn drop(&mut self) {
        self.state.close();
    }
}

impl<E: Pod> std::fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({} of {} events free)", self.free(), self.capacity())
    }
}

/// Events under construction: a slice of lane memory that nobody else sees before the commit.
///
/// Dropping it publishes nothing.
#[must_use = "a run that is not committed publishes nothing"]
pub struct Run<'a, E: Pod> {
    lane: &'a mut Lane<E>,
    /// A pointer and not a slice: the reader is let in while `commit` still holds it.
    first: NonNull<E>,
    len: usize,
}

impl<E: Pod> Run<'_, E> {
    /// Publishes the first `n` events, stamped with the present time, as one run whose note says `lo` and
    /// `hi`: the smallest and the largest event time among them. Publishes nothing when `n` is 0.
    ///
    /// # Panics
    /// When `n` is more than the run holds.
    #[inline]
    pub fn commit(self, n: usize, lo: u64, hi: u64) {
        self.commit_at(n, lo, hi, clock::now_ns());
    }

    /// As [`Run::commit`], stamped by the caller: for replay, tests, and producers with a clock at hand.
    ///
    /// # Panics
    /// When `n` is more than the run holds.
    #[inline]
    pub fn commit_at(self, n: usize, lo: u64, hi: u64, stamp_ns: u64) {
        assert!(n <= self.len, "a commit publishes at most what the run holds");
        if n == 0 {
            return;
        }
        let Self { lane, .. } = self;
        let stride = lane.state.stride;
        lane.state.slab.will_write(lane.state.index(lane.written) * stride, n * stride);
        lane.written += n as u64;
        lane.publish(false, lo, hi, stamp_ns);
    }

    /// Sequence of the first event.
    pub fn at(&self) -> u64 {
        self.lane.written
    }
}

impl<E: Pod> Deref for Run<'_, E> {
    type Target = [E];

    #[inline]
    fn deref(&self) -> &[E] {
        // SAFETY: `len` events from `first` belong to this run alone (see `Lane::write`), are aligned
        // (page-aligned slab, whole events) and initialised (plain data over zeroed memory).
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<E: Pod> DerefMut for Run<'_, E> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [E] {
        // SAFETY: as for `deref`, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

// The consumer's reads stand here, beside the producer's writes, so that one file makes the argument.
impl Tail {
    /// The words of the events `[from, to)`, in two slices where they cross the end of the ring. The events
    /// must have been taken or peeked and not given back.
    ///
    /// # Panics
    /// When they are not.
    #[inline]
    pub fn words(&self, from: u64, to: u64) -> (&[u32], &[u32]) {
        let (state, stride) = (&*self.state, self.state.stride);
        assert!(self.holds(from, to), "events that were taken or peeked and not given back");
        let split = self.contiguous(from, to);
        let len = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(0) * stride;
        // SAFETY: events in `[head, taken or peeked)` were published by a Release store that this tail has
        // seen, and the producer does not write them again before `head` passes them, for which `reclaim`
        // needs this tail exclusively while the slices borrow it.
        unsafe {
            (
                state.slab.read(state.index(from) * stride, len(from, split)),
                state.slab.read(state.index(split) * stride, len(split, to)),
            )
        }
    }

    /// Holds the memory of the events `[from, to)`, which lie in one piece, until the lease is dropped. They
    /// must be taken, and follow the events that were leased or skipped before.
    ///
    /// # Panics
    /// When they are not taken, not next, none, or cross the end of the ring, or when
    /// [`Tail::leases_free`] is 0.
    pub fn lease(&mut self, from: u64, to: u64) -> Lease {
        assert!(from < to, "a lease holds at least one event");
        assert_eq!(self.contiguous(from, to), to, "a lease does not cross the end of the ring");
        let slot = self.hold(from, to);
        let state = self.state.clone();
        let stride = state.stride;
        let at = state.index(from) * stride;
        let len = usize::try_from(to - from).unwrap_or(0) * stride;
        Lease { state, slot, at, len }
    }
}

/// A hold over events: their memory is not handed back to the producer while it lives.
pub struct Lease {
    state: Arc<State>,
    /// Which flag to clear.
    slot: usize,
    at: usize,
    len: usize,
}

impl Lease {
    /// The words of the events.
    #[inline]
    pub fn words(&self) -> &[u32] {
        // SAFETY: the events were taken, so their publication was seen, and the producer does not write
        // them before `head` passes them, which `reclaim` does not do while this lease's flag is up.
        unsafe { self.state.slab.read(self.at, self.len) }
    }

    /// The memory they lie in.
    #[inline]
    pub fn slab(&self) -> &Arc<Slab> {
        &self.state.slab
    }

    /// Where in the slab the first word lies.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many words they are.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a lease holds at least one event")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.slab.will_read(self.at, self.len);
        self.state.leases[self.slot].store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} words at {})", self.len, self.at)
    }
}
