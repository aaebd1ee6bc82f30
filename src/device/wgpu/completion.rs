//! The thread that waits for a device's submissions, so that the engine's thread never has to.
//!
//! One for each opened device, because the driver completes submissions in order whoever made them. It
//! spins a little first where the device is real hardware (a wake-up costs more than a short kernel), then
//! sleeps in the driver, and calls the queue's wake once the submission's callbacks have run.

use super::health::Health;
use crate::base::clock;
use crate::device::Wake;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, yield_now};
use std::time::{Duration, Instant};
use wgpu::{BufferAsyncError, SubmissionIndex};

/// How long to look before sleeping.
const SPIN: Duration = Duration::from_micros(40);

/// One place in flight: how many of its buffers the driver has yet to map, and how that went.
#[derive(Default)]
struct Signal {
    pending: AtomicU32,
    failed: AtomicBool,
    done_ns: AtomicU64,
}

/// What became of a place in flight.
pub(super) enum State {
    /// The device is not done with it.
    Pending,
    /// All its buffers are mapped, since this time.
    Ready(u64),
    /// The driver refused to map one.
    Failed,
}

/// What a queue, its callbacks and the completion thread share.
pub(super) struct Line {
    signals: Vec<Signal>,
    /// Callbacks that were registered, and that have run.
    registered: AtomicU64,
    fired: AtomicU64,
    /// Whether the queue is gone and nobody listens.
    closed: AtomicBool,
    wake: Mutex<Option<Wake>>,
}

impl Line {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            signals: (0..slots).map(|_| Signal::default()).collect(),
            registered: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Mutex::new(None),
        })
    }

    /// What to give `map_async` for a buffer of this place; it may run on any thread.
    pub(super) fn callback(
        self: &Arc<Self>,
        slot: usize,
    ) -> impl FnOnce(Result<(), BufferAsyncError>) + Send + 'static {
        self.registered.fetch_add(1, Ordering::Relaxed);
        self.signals[slot].pending.fetch_add(1, Ordering::Relaxed);
        let line = Arc::clone(self);
        move |mapped| {
            let signal = &line.signals[slot];
            if mapped.is_err() {
                signal.failed.store(true, Ordering::Relaxed);
            }
            signal.done_ns.store(clock::now_ns(), Ordering::Relaxed);
            // Release: who sees the place ready also sees how it went and when.
            signal.pending.fetch_sub(1, Ordering::Release);
            line.fired.fetch_add(1, Ordering::Release);
        }
    }

    /// Where a place stands whose callbacks have all been registered.
    pub(super) fn state(&self, slot: usize) -> State {
        let signal = &self.signals[slot];
        if signal.pending.load(Ordering::Acquire) != 0 {
            return State::Pending;
        }
        if signal.failed.load(Ordering::Relaxed) {
            return State::Failed;
        }
        State::Ready(signal.done_ns.load(Ordering::Relaxed))
    }

    pub(super) fn set_wake(&self, wake: Wake) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    /// Says that nobody waits for what is still to come.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn wake(&self) {
        // Cloned out of the lock, so that a wake may do what it likes with the queue.
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(wake) = wake {
            wake();
        }
    }
}

/// A submission to wait for.
struct Watch {
    index: SubmissionIndex,
    /// How many callbacks of the line have run when this submission's all have.
    fired: u64,
    line: Arc<Line>,
}

/// The completion thread's handle; dropping it ends the thread.
pub(super) struct Completion {
    watches: Option<Sender<Watch>>,
    thread: Option<JoinHandle<()>>,
}

impl Completion {
    /// Starts the thread. `spin` says whether to look for a while before sleeping.
    pub(super) fn start(
        device: wgpu::Device,
        health: Arc<Health>,
        spin: bool,
    ) -> std::io::Result<Self> {
        let (watches, incoming) = channel();
        let thread = std::thread::Builder::new()
            .name("pelton-wgpu".into())
            .spawn(move || serve(&device, &health, spin, &incoming))?;
        Ok(Self { watches: Some(watches), thread: Some(thread) })
    }

    /// Wakes the line when the submission is done and the callbacks registered so far have run.
    pub(super) fn watch(&self, index: SubmissionIndex, line: &Arc<Line>) {
        if let Some(watches) = &self.watches {
            let fired = line.registered.load(Ordering::Relaxed);
            // Fails only when the thread is gone, and that only with the device.
            let _ = watches.send(Watch { index, fired, line: Arc::clone(line) });
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        drop(self.watches.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn serve(device: &wgpu::Device, health: &Health, spin: bool, watches: &Receiver<Watch>) {
    while let Ok(watch) = watches.recv() {
        let line = &watch.line;
        let over = || line.fired.load(Ordering::Acquire) >= watch.fired;
        let start = Instant::now();
        while spin && !over() && start.elapsed() < SPIN && !health.is_lost() {
            let _ = health.poll(device);
        }
        // The engine's own thread may be the one that runs the callbacks: the submission is done then, yet
        // this thread must see them through before it wakes anybody.
        while !over() && !health.is_lost() && !line.closed.load(Ordering::Acquire) {
            let _ = health.wait(device, &watch.index);
            if !over() {
                yield_now();
            }
        }
        line.wake();
    }
}
