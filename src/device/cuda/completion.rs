//! The marks that batches leave in host memory when they are done, and the thread that watches them.
//!
//! The last thing a batch does is to write its ticket into a word of page-locked memory: seeing it there costs the
//! host a load, not a call of the driver. One thread for each queue watches these words, so that the engine can
//! sleep: it looks for a while, since a wake-up costs more than a short batch, then sleeps in the driver until the
//! event behind the batch. That event also says what the mark cannot: that the device died on the way.

use super::context::Context;
use super::memory::{Pinned, Span};
use super::place::low;
use super::resident::Pulse;
use super::stream::{Event, Stream};
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::device::{Ticket, Wake};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long to look before sleeping.
const SPIN: Duration = Duration::from_micros(40);
/// How long to sleep between looks at what the resident kernel serves: it has no event to sleep on.
const REST: Duration = Duration::from_micros(50);
/// Looks in vain between two questions whether it lives.
const LOOKS: u32 = 256;

/// One place in flight.
struct Signal {
    /// The ticket of the last batch that was done here.
    mark: Pinned,
    /// Behind the last batch that was given to the device here.
    ran: Event,
    /// Whether the resident kernel serves that batch, and no event is behind it.
    resident: AtomicBool,
    /// The newest batch whose mark was seen here, and when that was first.
    seen: Mutex<(u64, u64)>,
}

impl Signal {
    /// Since when this batch is done; 0 for one that was done before a newer one here.
    fn done_ns(&self, ticket: Ticket) -> Option<u64> {
        // Acquire: what the batch returned was written before its mark.
        let ahead = self.mark.word(0).load(Ordering::Acquire).wrapping_sub(low(ticket));
        if ahead > u32::MAX / 2 {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 < ticket.0 {
            *seen = (ticket.0, clock::now_ns());
        }
        Some(if seen.0 == ticket.0 { seen.1 } else { 0 })
    }
}

/// What a queue and its thread share.
pub(super) struct Line {
    context: Arc<Context>,
    signals: Vec<Signal>,
    /// Signs of life of the queue's resident kernel, if it may have one.
    pulse: Option<Arc<Pulse>>,
    /// The newest ticket whose event was recorded.
    newest: AtomicU64,
    /// How often the engine looked in vain.
    looks: AtomicU32,
    closed: AtomicBool,
    /// Why the thread has given up.
    failed: OnceLock<Error>,
    wake: Mutex<Option<Wake>>,
}

impl Line {
    fn signal(&self, ticket: Ticket) -> &Signal {
        let places = self.signals.len() as u64;
        let place = (ticket.0 - 1) % places;
        &self.signals[usize::try_from(place).unwrap_or(0)]
    }

    /// Now and then, whether more is to be expected of the resident kernel.
    fn look(&self) -> Result<()> {
        let due = self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKS);
        match &self.pulse {
            Some(pulse) if due => pulse.check(),
            _ => Ok(()),
        }
    }

    fn wake(&self) {
        // Cloned out of the lock, so that a wake may do what it likes with the queue.
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Waits for one batch; `false` when nothing more can come.
    fn watch(&self, ticket: Ticket) -> bool {
        let signal = self.signal(ticket);
        let start = Instant::now();
        while start.elapsed() < SPIN {
            if signal.done_ns(ticket).is_some() {
                return true;
            }
            std::hint::spin_loop();
        }
        while signal.done_ns(ticket).is_none() {
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            let waited = match &self.pulse {
                Some(pulse) if signal.resident.load(Ordering::Acquire) => self.rest(pulse),
                _ => signal.ran.wait(),
            };
            if let Err(error) = waited {
                // The engine finds it once it is awake.
                self.failed.get_or_init(|| error);
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    /// Lets a moment pass for the resident kernel; one that has left before a batch is launched again by the engine.
    fn rest(&self, pulse: &Pulse) -> Result<()> {
        pulse.check()?;
        if pulse.is_gone() {
            self.wake();
        }
        std::thread::sleep(REST);
        Ok(())
    }

    fn serve(&self) {
        let _ = self.context.enter();
        let mut seen = 0;
        while !self.closed.load(Ordering::Acquire) {
            if seen == self.newest.load(Ordering::Acquire) {
                std::thread::park();
                continue;
            }
            seen += 1;
            let goes_on = self.watch(Ticket(seen));
            self.wake();
            if !goes_on {
                return;
            }
        }
    }
}

/// The marks of a queue's batches; dropping it ends the thread.
pub(super) struct Completion {
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
    /// The same thread, to unpark.
    listener: Option<Thread>,
}

impl Completion {
    /// With a pulse where batches may be served by a resident kernel.
    pub(super) fn new(
        context: &Arc<Context>,
        places: usize,
        pulse: Option<Arc<Pulse>>,
    ) -> Result<Self> {
        let signal = |_| {
            Ok(Signal {
                mark: Pinned::new(context, "the mark of a batch", 16)?,
                ran: Event::new(context)?,
                resident: AtomicBool::new(false),
                seen: Mutex::new((0, 0)),
            })
        };
        let line = Line {
            context: Arc::clone(context),
            signals: (0..places).map(signal).collect::<Result<_>>()?,
            pulse,
            newest: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            failed: OnceLock::new(),
            wake: Mutex::new(None),
        };
        Ok(Self { line: Arc::new(line), thread: None, listener: None })
    }

    /// Where the batch at this place leaves its mark.
    pub(super) fn mark(&self, place: usize) -> Span {
        self.line.signals[place].mark.span()
    }

    /// Marks the point behind a batch that was given to the device, and watches it.
    pub(super) fn watch(&self, stream: &Stream, ticket: Ticket) -> Result<()> {
        let signal = self.line.signal(ticket);
        signal.resident.store(false, Ordering::Release);
        stream.record(&signal.ran)?;
        self.listen(ticket);
        Ok(())
    }

    /// Watches a batch that the resident kernel serves.
    pub(super) fn watch_resident(&self, ticket: Ticket) {
        self.line.signal(ticket).resident.store(true, Ordering::Release);
        self.listen(ticket);
    }

    fn listen(&self, ticket: Ticket) {
        self.line.newest.store(ticket.0, Ordering::Release);
        if let Some(listener) = &self.listener {
            listener.unpark();
        }
    }

    /// Whether the mark of a batch is there.
    pub(super) fn is_marked(&self, ticket: Ticket) -> bool {
        self.line.signal(ticket).done_ns(ticket).is_some()
    }

    /// Leaves all of it where it is for good, because the device may use it for ever.
    pub(super) fn abandon(&self) {
        std::mem::forget(Arc::clone(&self.line));
    }

    /// Since when a batch is done that is being watched; `None` when it is not.
    pub(super) fn done_ns(&self, ticket: Ticket) -> Result<Option<u64>> {
        if let Some(error) = self.line.failed.get() {
            return Err(error.clone());
        }
        let signal = self.line.signal(ticket);
        if let Some(done_ns) = signal.done_ns(ticket) {
            return Ok(Some(done_ns));
        }
        if signal.resident.load(Ordering::Acquire) {
            return self.line.look().map(|()| None);
        }
        if !signal.ran.passed()? {
            return Ok(None);
        }
        // The mark once more behind the event: it may have come between the two looks.
        match signal.done_ns(ticket) {
            Some(done_ns) => Ok(Some(done_ns)),
            None => {
                let what = "a batch ended without leaving its mark";
                Err(Error::unsupported(&self.line.context.name, what))
            }
        }
    }

    /// Sets what is called when a batch is done, from a thread that is started for it.
    pub(super) fn set_wake(&mut self, wake: Wake) -> Result<()> {
        *self.line.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
        if self.thread.is_some() {
            return Ok(());
        }
        let line = Arc::clone(&self.line);
        let started = std::thread::Builder::new()
            .name("pelton-cuda".into())
            .spawn(move || line.serve())
            .map_err(|error| {
                let name = &self.line.context.name;
                Error::unsupported(name, format!("no thread to wait on: {error}"))
            })?;
        self.listener = Some(started.thread().clone());
        self.thread = Some(started);
        Ok(())
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.line.closed.store(true, Ordering::Release);
        *self.line.wake.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        // A wake may be what drops the queue.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
