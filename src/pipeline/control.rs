//! How producers and handles talk to an engine that runs on another thread: an inbox, and a bell.

use super::engine::Errand;
use super::machine::Machine;
use super::outbox::lock;
use super::stats::Stats;
use crate::base::error::{Error, Result};
use crate::base::hist::Latency;
use crate::ring::{Bell, Tail};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What producers and handles tell the engine.
pub(super) struct Control {
    bell: Bell,
    /// Handles that may still open lanes.
    holders: AtomicUsize,
    /// Something is in the inbox.
    mail: AtomicBool,
    inbox: Mutex<Inbox>,
    /// How long results took to the consumer's hand, which goes on when the engine has ended.
    result: Arc<Mutex<Latency>>,
}

#[derive(Default)]
struct Inbox {
    tails: Vec<Tail>,
    asked: Vec<Sender<Stats>>,
    errands: Vec<Errand>,
    /// The last word, once the engine has ended.
    ended: Option<Stats>,
}

impl Control {
    pub(super) fn new(bell: Bell, result: Arc<Mutex<Latency>>) -> Arc<Self> {
        let (holders, mail) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { bell, holders, mail, inbox: Mutex::default(), result })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Pushes and takes leave nothing half done.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(super) fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn release(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.mail.store(true, Ordering::Release);
            self.bell.ring_always();
        }
    }

    pub(super) fn open(&self, tail: Tail) -> Result<()> {
        let mut inbox = self.inbox();
        if inbox.ended.is_some() {
            return Err(Error::source("pipeline", "it has ended; its results say why"));
        }
        inbox.tails.push(tail);
        self.mail.store(true, Ordering::Release);
        self.bell.ring_always();
        Ok(())
    }

    pub(super) fn stats(&self) -> Stats {
        let counted = self.counted();
        // Behind the engine's answer: it looks at the same histogram for it.
        let result = lock(&self.result).clone();
        Stats { result, ..counted }
    }

    /// As the engine counted.
    fn counted(&self) -> Stats {
        let (sender, receiver) = channel();
        {
            let mut inbox = self.inbox();
            if let Some(stats) = &inbox.ended {
                return stats.clone();
            }
            inbox.asked.push(sender);
            self.mail.store(true, Ordering::Release);
        }
        self.bell.ring_always();
        receiver.recv().unwrap_or_else(|_| self.inbox().ended.clone().unwrap_or_default())
    }

    /// Has the engine do something between two batches, and waits for the answer.
    pub(super) fn errand<T>(&self, errand: impl FnOnce(Sender<Result<T>>) -> Errand) -> Result<T> {
        let ended = || Error::source("pipeline", "it has ended; its results say why");
        let (sender, receiver) = channel();
        {
            let mut inbox = self.inbox();
            if inbox.ended.is_some() {
                return Err(ended());
            }
            inbox.errands.push(errand(sender));
            self.mail.store(true, Ordering::Release);
        }
        self.bell.ring_always();
        receiver.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Lets the engine read its mail.
    pub(super) fn deliver(&self, engine: &mut impl Machine) -> Result<()> {
        if !self.mail.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let (tails, asked, errands) = {
            let mut inbox = self.inbox();
            let Inbox { tails, asked, errands, .. } = &mut *inbox;
            (std::mem::take(tails), std::mem::take(asked), std::mem::take(errands))
        };
        for tail in tails {
            engine.open(tail)?;
        }
        for sender in asked {
            // Who asked may have gone.
            let _ = sender.send(engine.stats());
        }
        engine.closing(self.holders.load(Ordering::Acquire) == 0);
        errands.into_iter().try_for_each(|errand| engine.errand(errand))
    }

    /// The engine has ended: nothing is taken any more.
    pub(super) fn end(&self, engine: &mut impl Machine, error: Option<Error>) {
        let mut inbox = self.inbox();
        inbox.ended = Some(engine.stats());
        inbox.asked.clear();
        inbox.errands.clear();
        // Dropping the tails tells waiting producers.
        inbox.tails.clear();
        drop(inbox);
        engine.finish(error);
    }
}
