//! The one door to atomics, locks and parking: std and crossbeam in the library, loom's models of them
//! under `cfg(loom)`.
//!
//! Because everything the ring shares between threads passes through here, the loom tests explore the code
//! that ships and not a copy of it. Time does not pass in a model: waiting with a timeout waits for ever
//! there, so that a missed wake-up shows as a deadlock.

#[cfg(not(loom))]
mod imp {
    pub(crate) use crossbeam::sync::{Parker, Unparker};
    pub(crate) use crossbeam::utils::Backoff;
    pub(crate) use std::sync::Mutex;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    use std::sync::Arc;
    use std::time::Duration;

    type Token = Arc<(Mutex<bool>, loom::sync::Condvar)>;

    pub(crate) struct Parker(Token, Unparker);

    #[derive(Clone)]
    pub(crate) struct Unparker(Token);

    impl Parker {
        pub(crate) fn new() -> Self {
            let token = Token::new((Mutex::new(false), loom::sync::Condvar::new()));
            Self(token.clone(), Unparker(token))
        }

        pub(crate) fn unparker(&self) -> &Unparker {
            &self.1
        }

        pub(crate) fn park(&self) {
            let mut token = self.0.0.lock().expect("no panics in a model");
            while !*token {
                token = self.0.1.wait(token).expect("no panics in a model");
            }
            *token = false;
        }

        pub(crate) fn park_timeout(&self, _: Duration) {
            self.park();
        }
    }

    impl Unparker {
        pub(crate) fn unpark(&self) {
            *self.0.0.lock().expect("no panics in a model") = true;
            self.0.1.notify_one();
        }
    }

    /// No back-off in a model: it would only multiply the same states.
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn spin(&self) {
            loom::thread::yield_now();
        }

        pub(crate) fn snooze(&self) {
            loom::thread::yield_now();
        }

        pub(crate) fn is_completed(&self) -> bool {
            true
        }
    }
}

pub(crate) use imp::*;
use std::sync::PoisonError;

/// A mutex for small records that no foreign code runs under, so that a poisoned one still holds good data.
///
/// `turns` orders nothing that the mutex does not order already. It shows that order to ThreadSanitizer,
/// which cannot look into the precompiled std and would report every contended lock.
pub(crate) struct Guarded<T> {
    value: Mutex<T>,
    turns: AtomicU32,
}

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), turns: AtomicU32::new(0) }
    }

    /// Does `act` to the value alone.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.turns.load(Ordering::Acquire);
        let result = act(&mut value);
        self.turns.store(0, Ordering::Release);
        result
    }
}
