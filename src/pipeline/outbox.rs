//! How results travel from the engine to their consumer: a queue as long as there are result batches, and a way to
//! sleep at its end.

use super::results::{Aside, Reason, Rows};
use super::states::States;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::hist::Latency;
use crossbeam::queue::ArrayQueue;
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A batch of results, as it travels.
pub(super) trait Handed {
    /// Counts how long its events took to the consumer's hand.
    fn count(&self, now_ns: u64, latency: &mut Latency);
}

impl Handed for Rows {
    fn count(&self, now_ns: u64, latency: &mut Latency) {
        latency.record(now_ns.saturating_sub(self.closed_ns), self.len() as u64);
    }
}

/// Where the engine leaves results and the consumer finds them.
pub(super) struct Outbox<R = Rows> {
    rows: ArrayQueue<R>,
    asides: Mutex<VecDeque<(Reason, Box<[u32]>)>>,
    asides_max: usize,
    /// States of forgotten keys, and how many bytes of them may wait.
    states: Mutex<Option<States>>,
    states_max: usize,
    /// Set once, after the last result.
    over: AtomicBool,
    /// Nobody takes results any more.
    unwanted: AtomicBool,
    error: Mutex<Option<Error>>,
    sleeper: Mutex<Sleeper>,
    awake: Condvar,
    latency: Arc<Mutex<Latency>>,
}

#[derive(Default)]
struct Sleeper {
    asleep: bool,
    waker: Option<Waker>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can be left half done by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Handed> Outbox<R> {
    pub(super) fn new(outstanding: usize, asides_max: usize, states_max: usize) -> Arc<Self> {
        Arc::new(Self {
            rows: ArrayQueue::new(outstanding),
            asides: Mutex::default(),
            asides_max,
            states: Mutex::default(),
            states_max,
            over: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
            error: Mutex::default(),
            sleeper: Mutex::default(),
            awake: Condvar::new(),
            latency: Arc::default(),
        })
    }

    /// Hands over rows; there is room, because a row batch is one of `outstanding` outputs.
    pub(super) fn put(&self, rows: R) {
        let refused = self.rows.push(rows);
        debug_assert!(refused.is_ok(), "as many places as outputs");
        if self.unwanted.load(Ordering::SeqCst) {
            self.rows.pop();
        }
        self.wake();
    }

    /// Row batches that there is room for.
    pub(super) fn free(&self) -> usize {
        self.rows.capacity() - self.rows.len()
    }

    /// Hands over an event set aside; false when there is no room for it.
    pub(super) fn put_aside(&self, reason: Reason, event: &[u32]) -> bool {
        let mut asides = lock(&self.asides);
        let room = asides.len() < self.asides_max;
        if room {
            asides.push_back((reason, event.into()));
        }
        room
    }

    /// The events set aside since the last call.
    pub(super) fn take_asides(&self) -> VecDeque<(Reason, Box<[u32]>)> {
        std::mem::take(&mut *lock(&self.asides))
    }

    /// Bytes of states that there is room for.
    pub(super) fn room_for_states(&self) -> usize {
        let waiting = lock(&self.states).as_ref().map_or(0, States::bytes);
        self.states_max.saturating_sub(waiting)
    }

    /// Hands over states of forgotten keys, for which there is room.
    pub(super) fn put_states(&self, states: States) {
        match &mut *lock(&self.states) {
            Some(waiting) => waiting.extend(&states).expect("one query has states of one kind"),
            none => *none = Some(states),
        }
    }

    /// Nothing comes any more.
    pub(super) fn finish(&self, error: Option<Error>) {
        *lock(&self.error) = error;
        self.over.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let mut sleeper = lock(&self.sleeper);
        if std::mem::take(&mut sleeper.asleep) {
            self.awake.notify_one();
        }
        if let Some(waker) = sleeper.waker.take() {
            waker.wake();
        }
    }

    /// What is there now: rows, the end, or nothing yet.
    pub(super) fn look(&self) -> Poll<Option<Result<R>>> {
        let over = self.over.load(Ordering::Acquire);
        if let Some(rows) = self.rows.pop() {
            rows.count(clock::now_ns(), &mut lock(&self.latency));
            return Poll::Ready(Some(Ok(rows)));
        }
        if !over {
            return Poll::Pending;
        }
        Poll::Ready(lock(&self.error).take().map(Err))
    }

    /// What is there now, or what comes next.
    pub(super) fn wait(&self) -> Option<Result<R>> {
        loop {
            if let Poll::Ready(item) = self.look() {
                return item;
            }
            let mut sleeper = lock(&self.sleeper);
            // What was put before the lock was taken did not see a sleeper: look again under the lock.
            if let Poll::Ready(item) = self.look() {
                return item;
            }
            sleeper.asleep = true;
            while sleeper.asleep {
                sleeper = self.awake.wait(sleeper).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// What is there now; otherwise the task is woken when there is something.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<R>>> {
        if let Poll::Ready(item) = self.look() {
            return Poll::Ready(item);
        }
        let mut sleeper = lock(&self.sleeper);
        if let Poll::Ready(item) = self.look() {
            return Poll::Ready(item);
        }
        sleeper.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nobody takes results any more.
    pub(super) fn leave(&self) {
        // The engine puts and then looks at the flag; one of the two empties the box.
        self.unwanted.store(true, Ordering::SeqCst);
        while self.rows.pop().is_some() {}
    }

    /// Results to consumer: from the commit of their events, or of the run that closed their window, to its hand.
    pub(super) fn latency(&self) -> Latency {
        lock(&self.latency).clone()
    }

    /// The same, as it goes on.
    pub(super) fn latencies(&self) -> Arc<Mutex<Latency>> {
        self.latency.clone()
    }
}

/// The consumer's end of a pipeline: closed windows as a blocking iterator, as a `futures` stream, or by
/// polling.
///
/// An error comes once, as the last item. When this is dropped, the pipeline goes on and throws its results away.
pub struct Results<E> {
    outbox: Arc<Outbox>,
    of: std::marker::PhantomData<fn() -> E>,
}

impl<E: bytemuck::Pod> Results<E> {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, of: std::marker::PhantomData }
    }

    /// What is there now: `Ready(Some(rows))`, `Ready(None)` after the last, or `Pending`. Never blocks.
    pub fn try_next(&mut self) -> Poll<Option<Result<Rows>>> {
        self.outbox.look()
    }

    /// Waits for the next rows without blocking the thread; `None` after the last. Needs no particular runtime, and
    /// loses nothing when it is dropped before it is ready.
    pub async fn recv(&mut self) -> Option<Result<Rows>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The events set aside since the last call, with reasons; in the order of their lanes.
    pub fn asides(&mut self) -> Vec<Aside<E>> {
        let asides = self.outbox.take_asides();
        let event = |(reason, words): (Reason, Box<[u32]>)| Aside {
            event: bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words)),
            reason,
        };
        asides.into_iter().map(event).collect()
    }

    /// What [`Scores`](super::Scores) had learnt of the keys forgotten since the last call; `None` when there are none.
    /// `restore` brings them back.
    pub fn forgotten(&mut self) -> Option<States> {
        lock(&self.outbox.states).take().filter(|states| !states.is_empty())
    }
}

impl<E: bytemuck::Pod> Iterator for Results<E> {
    type Item = Result<Rows>;

    fn next(&mut self) -> Option<Self::Item> {
        self.outbox.wait()
    }
}

impl<E: bytemuck::Pod> Stream for Results<E> {
    type Item = Result<Rows>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.poll(cx)
    }
}

impl<E> Drop for Results<E> {
    fn drop(&mut self) {
        self.outbox.leave();
    }
}

impl<E> fmt::Debug for Results<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Results")
    }
}
