//! Producers: typed lanes that know which field is the event's time.

use super::control::Control;
use super::lanes::{MARK_ADVANCE, MARK_IDLE, mark_of};
use crate::base::error::Result;
use crate::base::field::Column;
use crate::ops::label::Label;
use crate::ops::simd;
use crate::ring::{self, Full, Lane, LaneOptions, LaneStats, Policy, Run, Shared};
use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};

/// The smallest and largest time of some events; the note that their run carries.
#[inline]
fn times<E: Pod>(events: &[E], time: Column) -> (u64, u64) {
    let stride = size_of::<E>() / 4;
    let words: &[u32] = bytemuck::cast_slice(events);
    let word = time.word();
    assert!(word + 1 < stride, "the time lies inside an event");
    if simd::available() && events.len() > 8 {
        return simd::times(words, stride, word);
    }
    words
        .chunks_exact(stride)
        .map(|event| time.u64(event))
        .fold((u64::MAX, 0), |(lo, hi), t| (lo.min(t), hi.max(t)))
}

/// Opens lanes into a pipeline, from any thread. When the last of these is gone and all lanes are closed, the
/// pipeline drains, fires what is left and ends its results.
pub struct Feeds<E> {
    control: Arc<Control>,
    time: Column,
    lane: LaneOptions,
    of: PhantomData<fn(E)>,
}

impl<E: Pod> Feeds<E> {
    pub(super) fn new(control: Arc<Control>, time: Column, lane: LaneOptions) -> Self {
        control.hold();
        Self { control, time, lane, of: PhantomData }
    }

    /// A lane of its own for one producer.
    ///
    /// # Errors
    /// `Source` when the pipeline has ended, `Unsupported` when memory runs out.
    pub fn lane(&self) -> Result<Feed<E>> {
        self.lane_with(&self.lane)
    }

    /// As [`Self::lane`], with options of its own.
    ///
    /// # Errors
    /// As for [`Self::lane`]; `Invalid` for options out of range.
    pub fn lane_with(&self, options: &LaneOptions) -> Result<Feed<E>> {
        let (lane, tail) = ring::lane_with_bell(options, self.control.bell())?;
        self.control.open(tail)?;
        Ok(Feed { lane, time: self.time, drops: options.policy == Policy::DropNewest })
    }

    /// One lane that any number of producers share, at the price of an atomic claim for each run.
    ///
    /// # Errors
    /// As for [`Self::lane`].
    pub fn shared(&self) -> Result<SharedFeed<E>> {
        let (lane, tail) = ring::shared_with_bell(&self.lane, self.control.bell())?;
        self.control.open(tail)?;
        Ok(SharedFeed { lane, time: self.time })
    }
}

impl<E: Pod> Clone for Feeds<E> {
    fn clone(&self) -> Self {
        Self::new(self.control.clone(), self.time, self.lane.clone())
    }
}

impl<E> Drop for Feeds<E> {
    fn drop(&mut self) {
        self.control.release();
    }
}

impl<E> fmt::Debug for Feeds<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feeds")
    }
}

/// One producer's lane. Dropping it closes the lane; what was committed still counts.
pub struct Feed<E: Pod> {
    lane: Lane<E>,
    time: Column,
    /// A full lane drops what comes.
    drops: bool,
}

impl<E: Pod> Feed<E> {
    /// Memory for 1 to `n` events, to be filled in place and committed as one run; fewer than `n` where the
    /// ring wraps or less is free. What a full lane does is its policy.
    ///
    /// # Errors
    /// [`Full`] when the policy rejects or drops, or the pipeline has ended (`closed`).
    #[inline]
    pub fn write(&mut self, n: usize) -> std::result::Result<Writing<'_, E>, Full> {
        Ok(Writing { run: self.lane.write(n)?, time: self.time })
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// [`Full`] with the event, as for [`Self::write`].
    #[inline]
    pub fn push(&mut self, event: E) -> std::result::Result<(), Full<E>> {
        let (t, _) = times(std::slice::from_ref(&event), self.time);
        self.lane.push_noted(event, t, t)
    }

    /// Publishes finished events in runs as long as the lane allows; returns how many the lane took, fewer
    /// than all only when its policy rejects or drops, or the pipeline has ended. What it drops is counted.
    pub fn push_all(&mut self, events: &[E]) -> usize {
        let mut done = 0;
        while done < events.len() {
            match self.push_some(&events[done..]) {
                Ok(taken) => done += taken,
                Err(full) => {
                    if self.drops && !full.closed {
                        self.dropped(&events[done..]);
                    }
                    break;
                }
            }
        }
        done
    }

    /// As [`Self::push_all`], waiting for room without blocking the thread, whatever the policy. Dropped half
    /// way, the events that were published stay published.
    pub async fn send_all(&mut self, events: &[E]) -> usize {
        let mut done = 0;
        while done < events.len() {
            self.ready().await;
            let Ok(taken) = self.push_some(&events[done..]) else { break };
            done += taken;
        }
        done
    }

    /// Publishes the first of these events, of which there are some, as one run; returns how many.
    fn push_some(&mut self, events: &[E]) -> std::result::Result<usize, Full> {
        let mut run = self.write(events.len())?;
        let n = run.len();
        run.copy_from_slice(&events[..n]);
        run.commit(n);
        Ok(n)
    }

    /// Counts events that the caller drops because [`Self::write`] found the lane full, so that the windows they
    /// would have gone to show the gap. [`Self::push`] and [`Self::push_all`] do so themselves.
    pub fn dropped(&mut self, events: &[E]) {
        let (lo, hi) = times(events, self.time);
        self.lane.dropped(events.len() as u64, lo, hi);
    }

    /// Says that event time has come to `time`, in ticks of the time field, as an event at that time would: windows
    /// that a quiet lane would hold up close. What the lane sends later is judged by it. Unlike an event's time it is
    /// believed however far it lies ahead. Ends idleness, as an event does.
    ///
    /// Like [`Self::idle`], it travels in order with the events and waits for a place among the runs.
    pub fn advance(&mut self, time: u64) {
        self.lane.mark(MARK_ADVANCE, time, time);
    }

    /// Says that no events come for now: windows stop waiting for this lane. Its next event ends that.
    pub fn idle(&mut self) {
        self.lane.mark(MARK_IDLE, 0, 0);
    }

    /// Says what the alert of this key at this time was: see [`Label`]. `key` and `time` are those of the
    /// [`Score`](super::Score). It counts for the events behind it in this lane, and for those of other lanes that are
    /// not taken yet. A key's latest four alerts can be named so; `Stats::labels_unknown` counts labels of others.
    ///
    /// It travels in order with the events and waits for a place among the runs. The batches before it come back first,
    /// so labels are for what people say, not for every event. A lane that brings labels only is to be
    /// [idle](Self::idle).
    pub fn feedback(&mut self, key: u64, time: u64, label: Label) {
        self.lane.mark(mark_of(label), key, time);
    }

    /// Closes the lane.
    pub fn close(self) {
        self.lane.close();
    }

    /// Whether there is room for an event.
    pub fn is_ready(&self) -> bool {
        self.lane.ready()
    }

    /// Ready when there is room for an event; wakes the task when there is again.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.lane.poll_ready(cx)
    }

    /// Waits for room without blocking the thread. Needs no particular runtime.
    pub async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.lane.poll_ready(cx)).await;
    }

    /// What the lane has counted.
    pub fn stats(&self) -> LaneStats {
        self.lane.stats()
    }
}

impl<E: Pod> fmt::Debug for Feed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({:?})", self.lane)
    }
}

/// Events being written in place. Dropping it without a commit publishes nothing.
pub struct Writing<'a, E: Pod> {
    run: Run<'a, E>,
    time: Column,
}

impl<E: Pod> Writing<'_, E> {
    /// Publishes the first `n` events as one run.
    ///
    /// # Panics
    /// When `n` exceeds the length.
    #[inline]
    pub fn commit(self, n: usize) {
        let (lo, hi) = times(&self.run[..n], self.time);
        self.run.commit(n, lo, hi);
    }

    /// As [`Self::commit`], stamped by the caller: for replays, and for open-loop measurements, where an
    /// event's latency counts from when it was due.
    ///
    /// # Panics
    /// As for [`Self::commit`].
    #[inline]
    pub fn commit_at(self, n: usize, stamp_ns: u64) {
        let (lo, hi) = times(&self.run[..n], self.time);
        self.run.commit_at(n, lo, hi, stamp_ns);
    }
}

impl<E: Pod> Deref for Writing<'_, E> {
    type Target = [E];
    fn deref(&self) -> &[E] {
        &self.run
    }
}

impl<E: Pod> DerefMut for Writing<'_, E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.run
    }
}

/// One of many producers on a shared lane; clone it for each.
pub struct SharedFeed<E: Pod> {
    lane: Shared<E>,
    time: Column,
}

impl<E: Pod> SharedFeed<E> {
    /// Publishes one event.
    ///
    /// # Errors
    /// [`Full`] with the event, by the lane's policy or because the pipeline has ended.
    pub fn push(&mut self, event: E) -> std::result::Result<(), Full<E>> {
        let (t, _) = times(std::slice::from_ref(&event), self.time);
        self.lane.push_noted(event, t, t)
    }

    /// Publishes finished events in as few runs as the lane allows; returns how many it took.
    pub fn push_all(&mut self, events: &[E]) -> usize {
        // As many as the lane takes in one run, so that each run's note holds its own extremes.
        let piece = usize::try_from(self.lane.capacity() / 4).unwrap_or(usize::MAX).max(1);
        let mut done = 0;
        for run in events.chunks(piece) {
            let (lo, hi) = times(run, self.time);
            match self.lane.push_all(run, lo, hi) {
                Ok(()) => done += run.len(),
                Err(_) => break,
            }
        }
        done
    }
}

impl<E: Pod> Clone for SharedFeed<E> {
    fn clone(&self) -> Self {
        Self { lane: self.lane.clone(), time: self.time }
    }
}

impl<E: Pod> fmt::Debug for SharedFeed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedFeed")
    }
}
