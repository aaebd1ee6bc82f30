//! How a thread waits for the other end of a lane, in both directions, and never misses its wake-up.
//!
//! One protocol serves both. The sleeper announces itself by a swap on a flag and then looks once more; the
//! waker makes its change visible and then swaps the flag back. Swaps on one flag have one order. If the
//! waker's came later, it saw the announcement and wakes. If it came earlier, the sleeper's swap read what
//! the waker's left there (or a swap after it: every write of a flag is a swap, so the chain is unbroken),
//! which makes the waker's change visible to the sleeper's second look. No fence is needed, and none is
//! used: ThreadSanitizer does not understand them. A plain store to clear a flag would break the chain.

use super::options::{Policy, Wait};
use super::state::State;
use super::sync::{Backoff, Guarded, Parker, Unparker};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// Wakes one sleeping consumer, the engine's thread, from any number of others.
///
/// A ring is remembered: when nobody sleeps, the next wait returns at once.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    parker: Guarded<Parker>,
    unparker: Unparker,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> Self {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        Self(Arc::new(Inner { parker: Guarded::new(parker), unparker }))
    }

    /// Sleeps until the bell rings, or rang since the last wait, or `timeout` is over. One thread at a time.
    ///
    /// A lane rings only while its [`Tail`](super::Tail) is armed.
    pub fn wait(&self, timeout: Duration) {
        self.0.parker.with(|parker| parker.park_timeout(timeout));
    }

    /// Rings whether or not a lane is armed: for a device's completion, a consumer of results, a stop.
    pub fn ring_always(&self) {
        self.0.unparker.unpark();
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}

/// A producer that waits for room: a parked thread or an async task.
pub(super) enum Waiter {
    Thread(Unparker),
    Task(Waker),
}

impl Waiter {
    fn wake(self) {
        match self {
            Self::Thread(unparker) => unparker.unpark(),
            Self::Task(waker) => waker.wake(),
        }
    }
}

/// The producers that wait, each under its own number.
#[derive(Default)]
pub(super) struct Waiters(Vec<(u64, Waiter)>);

/// Announces that `producer` waits for room. The caller must look for room once more afterwards.
pub(super) fn announce(state: &State, producer: u64, waiter: Waiter) {
    // What is replaced is dropped outside the lock: dropping a waker runs foreign code.
    let _replaced = state.waiters.with(|Waiters(all)| {
        match all.iter_mut().find(|(id, _)| *id == producer) {
            Some(entry) => return Some(std::mem::replace(&mut entry.1, waiter)),
            None => all.push((producer, waiter)),
        }
        None
    });
    state.starve();
}

/// Takes the announcement back. The flag stays up, because other producers may wait too.
pub(super) fn withdraw(state: &State, producer: u64) {
    let _withdrawn = state.waiters.with(|Waiters(all)| {
        let at = all.iter().position(|(id, _)| *id == producer)?;
        Some(all.swap_remove(at))
    });
}

/// Wakes every producer that waits. Called when the flag was up after room was made or the consumer left.
#[cold]
pub(super) fn wake_all(state: &State) {
    // Wakers run foreign code, which may come back here: wake outside the lock.
    let Waiters(all) = state.waiters.with(std::mem::take);
    all.into_iter().for_each(|(_, waiter)| waiter.wake());
}

/// Waits until `room` is not zero and returns it, or `None` when the consumer is gone.
#[cold]
pub(super) fn for_room(
    state: &State,
    producer: u64,
    parker: &mut Option<Parker>,
    notes: u64,
    mut room: impl FnMut() -> u64,
) -> Option<u64> {
    state.count_wait();
    let backoff = Backoff::new();
    loop {
        if state.gone() {
            return None;
        }
        match room() {
            0 => {}
            events => return Some(events),
        }
        if state.policy == Policy::DropOldest {
            state.ask(notes);
        }
        match state.wait {
            _ if state.policy == Policy::Spin => backoff.spin(),
            Wait::Spin => backoff.spin(),
            Wait::Yield => backoff.snooze(),
            Wait::Park if !backoff.is_completed() => backoff.snooze(),
            Wait::Park => {
                let parker = parker.get_or_insert_with(Parker::new);
                announce(state, producer, Waiter::Thread(parker.unparker().clone()));
                // In a shared lane, finding room is claiming it: what is found here must not be dropped.
                match room() {
                    0 if !state.gone() => parker.park(),
                    0 => withdraw(state, producer),
                    events => {
                        withdraw(state, producer);
                        return Some(events);
                    }
                }
            }
        }
    }
}
