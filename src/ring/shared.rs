//! The shared lane: any number of producers copy finished events in.
//!
//! A producer claims memory by moving one counter, copies, and publishes its run at the place its first
//! event names. Between claim and publication runs no code of the user's, so a panic cannot leave a hole
//! that wedges the lane. The consumer takes runs in the order of the claims and sees a [`Tail`] like any.

use super::options::{Full, LaneOptions, Policy};
use super::slab::Slab;
use super::state::{Gap, LaneStats, State};
use super::sync::{Ordering, Parker};
use super::tail::Tail;
use super::wait::{self, Bell};
use crate::base::clock;
use crate::base::error::Result;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::sync::Arc;

/// A lane for events of type `E` that any number of producers write: clone the first.
///
/// A private [`lane`](super::lane::lane) for each producer is several times faster for single events.
/// Notes take 32 bytes for each event that the lane holds.
///
/// ```
/// use pelton::ring::{LaneOptions, shared};
/// let (mut first, mut tail) = shared::<u64>(&LaneOptions::default())?;
/// let mut second = first.clone();
/// first.push(7).expect("an empty lane has room");
/// second.push_all(&[8, 9], 100, 200).expect("an empty lane has room");
/// let note = tail.next().expect("a run was published");
/// assert_eq!(tail.words(note.from, note.to).0, [7, 0]);
/// # Ok::<(), pelton::Error>(())
/// ```
///
/// # Errors
/// As [`lane`](super::lane::lane).
pub fn shared<E: Pod>(options: &LaneOptions) -> Result<(Shared<E>, Tail)> {
    make(options, None)
}

/// As [`shared`], with a bell that wakes the consumer.
///
/// # Errors
/// As [`shared`].
pub fn shared_with_bell<E: Pod>(options: &LaneOptions, bell: &Bell) -> Result<(Shared<E>, Tail)> {
    make(options, Some(bell))
}

fn make<E: Pod>(options: &LaneOptions, bell: Option<&Bell>) -> Result<(Shared<E>, Tail)> {
    let state = State::new(options, size_of::<E>(), true, bell)?;
    let tail = Tail::new(state.clone());
    Ok((Shared { state, number: 0, head: 0, parker: None, events: PhantomData }, tail))
}

/// One producer's handle of a shared lane. The lane closes when the last one is dropped.
pub struct Shared<E: Pod> {
    state: Arc<State>,
    /// Which waiting producer this is.
    number: u64,
    /// `head` as last read.
    head: u64,
    parker: Option<Parker>,
    events: PhantomData<fn(E)>,
}

impl<E: Pod> Shared<E> {
    /// Appends one event of unknown time; see [`Shared::push_noted`].
    ///
    /// # Errors
    /// As [`Shared::push_noted`].
    #[inline]
    pub fn push(&mut self, event: E) -> std::result::Result<(), Full<E>> {
        self.push_noted(event, 0, u64::MAX)
    }

    /// Appends one event as a run with the note words `lo` and `hi`. Under `DropNewest` a full lane drops
    /// it, counts it, and records a gap from `lo` to `hi`.
    ///
    /// # Errors
    /// `Full` with the event when the policy rejects it or the consumer is gone.
    #[inline]
    pub fn push_noted(&mut self, event: E, lo: u64, hi: u64) -> std::result::Result<(), Full<E>> {
        self.push_all(&[event], lo, hi).map_err(|full| Full { event, closed: full.closed })
    }

    /// Appends events as runs whose notes say `lo` and `hi`. Events beyond a quarter of the lane go in
    /// several runs, each of which is taken, rejected or dropped as a whole.
    ///
    /// # Errors
    /// `Full` with the number of events that were taken, when the policy rejects the others or the consumer
    /// is gone.
    #[inline]
    pub fn push_all(
        &mut self,
        events: &[E],
        lo: u64,
        hi: u64,
    ) -> std::result::Result<(), Full<usize>> {
        self.push_all_at(events, lo, hi, clock::now_ns())
    }

    /// As [`Shared::push_all`], stamped by the caller: for replay, tests, and producers with a clock at hand.
    ///
    /// # Errors
    /// As [`Shared::push_all`].
    #[inline]
    pub fn push_all_at(
        &mut self,
        events: &[E],
        lo: u64,
        hi: u64,
        stamp_ns: u64,
    ) -> std::result::Result<(), Full<usize>> {
        let piece = usize::try_from(self.capacity() / 4).unwrap_or(usize::MAX).max(1);
        let mut done = 0;
        for run in events.chunks(piece) {
            match self.claim(run.len() as u64) {
                Ok(from) => self.fill(from, run, [stamp_ns, lo, hi]),
                Err(full) if self.state.policy == Policy::DropNewest && !full.closed => {
                    self.dropped(run.len() as u64, lo, hi);
                }
                Err(full) => return Err(Full { event: done, closed: full.closed }),
            }
            done += run.len();
        }
        Ok(())
    }

    /// Counts and records `n` events from event time `lo` to `hi` that the caller dropped.
    pub fn dropped(&mut self, n: u64, lo: u64, hi: u64) {
        self.state.drop_newest(Gap { at: self.written(), lo, hi, events: n });
    }

    /// Closes this handle, as dropping it does.
    pub fn close(self) {}

    /// Whether one event would fit now.
    pub fn ready(&self) -> bool {
        self.free() > 0
    }

    /// Events that fit now, unless another producer is faster.
    pub fn free(&self) -> u64 {
        let head = self.state.back.head.load(Ordering::Acquire);
        self.capacity().saturating_sub(self.written().saturating_sub(head))
    }

    /// Events the lane holds.
    pub fn capacity(&self) -> u64 {
        self.state.capacity()
    }

    /// Events claimed so far, by all producers.
    pub fn written(&self) -> u64 {
        self.state.front.written.load(Ordering::Relaxed)
    }

    /// Whether the consumer is gone.
    pub fn closed(&self) -> bool {
        self.state.gone()
    }

    /// What the lane has counted.
    pub fn stats(&self) -> LaneStats {
        self.state.stats()
    }

    /// The memory that the events are copied into.
    pub fn slab(&self) -> &Arc<Slab> {
        &self.state.slab
    }

    /// Claims `n` events, at most a quarter of the lane or one, and returns the sequence of the first.
    #[inline]
    fn claim(&mut self, n: u64) -> std::result::Result<u64, Full> {
        if let Some(from) = try_claim(&self.state, &mut self.head, n) {
            return Ok(from);
        }
        self.claim_slowly(n)
    }

    #[cold]
    fn claim_slowly(&mut self, n: u64) -> std::result::Result<u64, Full> {
        if self.state.gone() {
            return Err(Full { event: (), closed: true });
        }
        match self.state.policy {
            Policy::Reject => self.state.count_rejected(),
            Policy::DropNewest => {}
            Policy::Block | Policy::Spin | Policy::DropOldest => {
                let (state, head, mut from) = (&self.state, &mut self.head, 0);
                let claim = || match try_claim(state, head, n) {
                    Some(claimed) => {
                        from = claimed;
                        1
                    }
                    None => 0,
                };
                return match wait::for_room(state, self.number, &mut self.parker, 0, claim) {
                    Some(_) => Ok(from),
                    None => Err(Full { event: (), closed: true }),
                };
            }
        }
        Err(Full { event: (), closed: false })
    }

    /// Copies finished events into claimed memory and publishes them.
    #[inline]
    fn fill(&mut self, from: u64, run: &[E], [stamp_ns, lo, hi]: [u64; 3]) {
        let (state, stride) = (&*self.state, self.state.stride);
        let at = state.index(from);
        let (first, second) = run.split_at(run.len().min(state.notes.len() - at));
        for (at, part) in [(at, first), (0, second)] {
            // SAFETY: the claim gave `[from, from + run.len())` to this call alone; the events that lay
            // there one lap ago are read no more, as the Acquire load of `head` saw; nobody reads the new
            // ones before they are published below. Source and target do not overlap: the target is slab
            // memory to which no reference to `E` exists.
            unsafe {
                let target = state.slab.write(at * stride, part.len() * stride).cast::<E>();
                target.as_ptr().copy_from_nonoverlapping(part.as_ptr(), part.len());
            }
        }
        let to = from + run.len() as u64;
        state.publish(state.note_index(from), to << 1, stamp_ns, lo, hi);
    }
}

/// Claims `n` events if they fit.
#[inline]
fn try_claim(state: &State, head: &mut u64, n: u64) -> Option<u64> {
    let written = &state.front.written;
    let mut from = written.load(Ordering::Relaxed);
    loop {
        // The counter may be ahead of a head read earlier, by more than the lane holds.
        if from + n > *head + state.capacity() {
            *head = state.back.head.load(Ordering::Acquire);
            if from + n > *head + state.capacity() {
                return None;
            }
        }
        // The claim itself orders nothing: memory comes from `head`, and goes by the note.
        match written.compare_exchange_weak(from, from + n, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(from),
            Err(now) => from = now,
        }
    }
}

impl<E: Pod> Clone for Shared<E> {
    fn clone(&self) -> Self {
        self.state.rare.producers.fetch_add(1, Ordering::Relaxed);
        Self {
            state: self.state.clone(),
            number: self.state.rare.numbers.fetch_add(1, Ordering::Relaxed),
            head: self.head,
            parker: None,
            events: PhantomData,
        }
    }
}

impl<E: Pod> Drop for Shared<E> {
    fn drop(&mut self) {
        // The last one out has, through this chain, seen all that the others published.
        if self.state.rare.producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.state.close();
        }
    }
}

impl<E: Pod> std::fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} of {} events free)", self.free(), self.capacity())
    }
}
