//! Keeps an engine going: on a thread of its own, or on the user's.

use super::calibrate;
use super::closed::Closed;
use super::control::Control;
use super::engine::{Engine, Errand};
use super::feed::{Feed, Feeds, SharedFeed};
use super::machine::Machine;
use super::options::{Options, Query};
use super::outbox::{Outbox, Results};
use super::results::Rows;
use super::scores::Ask;
use super::states::States;
use super::stats::Stats;
use crate::base::error::{Error, Result};
use crate::device::Device;
use crate::ring::{Bell, Tail, Wait};
use bytemuck::Pod;
use crossbeam::utils::Backoff;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an engine with nothing to do sleeps before it looks again by itself. Every event rings, so this
/// bounds nothing but the damage of a bug.
const NAP: Duration = Duration::from_millis(100);

/// How long it sleeps while events wait but nothing can be dispatched: a producer that asks for the oldest to be
/// dropped does not ring.
const SHORT_NAP: Duration = Duration::from_millis(1);

/// A running query, [`Windows`](super::Windows) or [`Scores`](super::Scores), on a thread of its own.
///
/// ```
/// use pelton::{Device, Key, Options, Pipeline, Pod, Value, Windows, Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Trade { at: u64, account: u32, amount: f32 }
///
/// let spend = Windows {
///     key: Key::hashed(field!(Trade.account)),
///     values: vec![Value::exact(field!(Trade.amount))],
///     ..Windows::tumbling(field!(Trade.at), 1_000)
/// };
/// let (feeds, results) = Pipeline::start(spend, Options::on(Device::cpu()))?.split();
/// std::thread::spawn(move || {
///     let mut lane = feeds.lane().expect("the pipeline runs");
///     for i in 0..4000u32 {
///         lane.push(Trade { at: i.into(), account: i % 7, amount: 0.25 }).expect("it waits for room");
///     }
/// }); // The lane closes, the pipeline drains.
/// let mut total = 0.0;
/// for rows in results {
///     total += rows?.iter().map(|row| row.sum(0)).sum::<f64>();
/// }
/// assert_eq!(total, 1000.0);
/// # Ok::<(), pelton::Error>(())
/// ```
pub struct Pipeline<E: Pod> {
    feeds: Feeds<E>,
    results: Results<E>,
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

fn parts<E: Pod>(
    ask: &impl Ask<E>,
    options: &Options,
) -> Result<(Query, Arc<Outbox>, Arc<Control>)> {
    let outstanding = options.outstanding.max(options.in_flight);
    let outbox = Outbox::new(outstanding, options.asides, options.forgotten_bytes);
    let control = Control::new(Bell::new(), outbox.latencies());
    Ok((ask.query()?, outbox, control))
}

/// The engine, told what the other device takes if there is one.
fn engine<E: Pod>(
    query: Query,
    options: Options,
    outbox: Arc<Outbox>,
    bell: Bell,
) -> Result<Engine> {
    options.check()?;
    let there = options.alternative.as_ref();
    let measure = match query.windows {
        Some(_) => calibrate::measure::<Closed>,
        None => calibrate::measure::<E>,
    };
    let there = there.map(|device| measure(&query, &options, device)).transpose()?;
    let mut engine = Engine::new(query, options, outbox, bell, there)?;
    engine.take_in::<E>()?;
    Ok(engine)
}

impl<E: Pod> Pipeline<E> {
    /// Compiles the query for the device of `options` and starts it.
    ///
    /// # Errors
    /// `Invalid`, naming the option; `Unsupported` when the device cannot run the query.
    pub fn start(ask: impl Ask<E>, options: Options) -> Result<Self> {
        let (query, outbox, control) = parts(&ask, &options)?;
        let feeds = Feeds::new(control.clone(), query.fed_time(), options.lane.clone());
        let (wait, bell) = (options.wait, control.bell().clone());
        let engine = engine::<E>(query, options, outbox.clone(), bell)?;
        let thread = spawn(engine, control.clone(), wait)?;
        Ok(Self { feeds, results: Results::new(outbox), control, thread })
    }

    /// A lane for one producer; see [`Feeds::lane`].
    ///
    /// # Errors
    /// As for [`Feeds::lane`].
    pub fn lane(&self) -> Result<Feed<E>> {
        self.feeds.lane()
    }

    /// A lane for many producers; see [`Feeds::shared`].
    ///
    /// # Errors
    /// As for [`Feeds::lane`].
    pub fn shared(&self) -> Result<SharedFeed<E>> {
        self.feeds.shared()
    }

    /// The two ends, for two threads: producers and consumer.
    pub fn split(self) -> (Feeds<E>, Results<E>) {
        (self.feeds, self.results)
    }

    /// A handle that goes on answering after [`Self::split`].
    pub fn monitor(&self) -> Monitor {
        Monitor(self.control.clone())
    }

    /// What the pipeline has counted so far.
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }

    /// Opens no more lanes, takes every result there still is, and returns the last counts. Lanes must have
    /// been closed, or close meanwhile.
    ///
    /// # Errors
    /// What ended the pipeline, if it was not its end.
    pub fn drain(self, take: impl FnMut(Rows)) -> Result<Stats> {
        let Self { feeds, results, control, thread } = self;
        drop(feeds);
        drain(results, thread, &control, take)
    }
}

impl<E: Pod> std::fmt::Debug for Pipeline<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pipeline")
    }
}

/// Asks a pipeline how it is doing and what it knows, from anywhere.
#[derive(Clone)]
pub struct Monitor(pub(super) Arc<Control>);

impl Monitor {
    /// What the pipeline has counted so far, or in all when it has ended.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Copies what [`Scores`](super::Scores) have learnt of all keys, between two batches. The events before it are
    /// those that the pipeline has taken from its lanes.
    ///
    /// # Errors
    /// `Invalid` when the query has no states, `Source` when the pipeline has ended.
    pub fn states(&self) -> Result<States> {
        self.0.errand(Errand::States)
    }

    /// Gives keys what is known of them from elsewhere, between two batches: instead of what was learnt of them here.
    ///
    /// # Errors
    /// `Invalid` when the query has no states or others, when a key is not one of its keys, or they are too many;
    /// nothing has changed then. `Source` when the pipeline has ended.
    pub fn restore(&self, states: States) -> Result<()> {
        self.0.errand(|answer| Errand::Restore(Box::new(states), answer))
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Monitor")
    }
}

/// Takes every result there still is, then the last counts.
pub(super) fn drain<R>(
    results: impl Iterator<Item = Result<R>>,
    thread: JoinHandle<()>,
    control: &Control,
    mut take: impl FnMut(R),
) -> Result<Stats> {
    for result in results {
        take(result?);
    }
    // The results have ended, so the thread is about to.
    let _ = thread.join();
    Ok(control.stats())
}

/// Gives an engine a thread.
pub(super) fn spawn(
    engine: impl Machine,
    control: Arc<Control>,
    wait: Wait,
) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("pelton".into())
        .spawn(move || drive(engine, &control, wait))
        .map_err(|e| Error::source("thread", e))
}

/// The engine's thread.
fn drive(mut engine: impl Machine, control: &Control, wait: Wait) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cycle(&mut engine, control, wait)
    }));
    let error = match caught {
        Ok(result) => result.err(),
        // A bug of ours must not hang the user's threads.
        Err(_) => Some(Error::lost(engine.device(), "the engine's thread panicked: this is a bug")),
    };
    control.end(&mut engine, error);
}

fn cycle(engine: &mut impl Machine, control: &Control, wait: Wait) -> Result<()> {
    let backoff = Backoff::new();
    loop {
        control.deliver(engine)?;
        if engine.step()? {
            backoff.reset();
            continue;
        }
        if engine.is_over() {
            return Ok(());
        }
        match wait {
            Wait::Spin => backoff.spin(),
            Wait::Yield => backoff.snooze(),
            Wait::Park if !backoff.is_completed() => backoff.snooze(),
            // Events wait, but the device or the consumer of results must move first: both ring the bell.
            Wait::Park if engine.is_blocked() => control.bell().wait(SHORT_NAP),
            Wait::Park => {
                let mut quiet = true;
                for tail in engine.tails() {
                    quiet &= tail.arm();
                }
                if quiet {
                    control.bell().wait(NAP);
                }
                engine.tails().for_each(Tail::disarm);
            }
        }
    }
}

/// An engine on the user's own thread, until it fails.
pub(super) struct Own<M> {
    pub(super) engine: M,
    control: Arc<Control>,
    failed: bool,
}

impl<M: Machine> Own<M> {
    pub(super) fn new(engine: M, control: Arc<Control>) -> Self {
        Self { engine, control, failed: false }
    }

    /// Reads the mail and then does something; an error ends the engine.
    fn attempt<T>(&mut self, act: impl FnOnce(&mut M) -> Result<T>) -> Result<T> {
        let done = self.control.deliver(&mut self.engine).and_then(|()| act(&mut self.engine));
        if done.is_err() {
            self.failed = true;
            self.control.end(&mut self.engine, None);
        }
        done
    }

    /// Does all that can be done now and hands over what `next` finds; false when nothing is left to do for now and
    /// nothing is in flight.
    pub(super) fn poll<R>(
        &mut self,
        mut next: impl FnMut() -> Poll<Option<Result<R>>>,
        mut take: impl FnMut(R),
    ) -> Result<bool> {
        if self.failed {
            return Ok(false);
        }
        let mut progress = self.attempt(M::step)? || self.engine.in_flight();
        while let Poll::Ready(Some(result)) = next() {
            take(result?);
            progress = true;
        }
        Ok(progress)
    }
}

/// A query on the user's own thread: nothing happens outside [`Inline::poll`].
///
/// For programs that own their threads, and for tests: everything is done when `poll` says so.
pub struct Inline<E: Pod> {
    own: Own<Engine>,
    feeds: Option<Feeds<E>>,
    results: Results<E>,
}

impl<E: Pod> Inline<E> {
    /// Compiles the query for the device of `options`.
    ///
    /// # Errors
    /// As for [`Pipeline::start`].
    pub fn new(ask: impl Ask<E>, options: Options) -> Result<Self> {
        let (query, outbox, control) = parts(&ask, &options)?;
        let feeds = Feeds::new(control.clone(), query.fed_time(), options.lane.clone());
        let engine = engine::<E>(query, options, outbox.clone(), control.bell().clone())?;
        let results = Results::new(outbox);
        Ok(Self { own: Own::new(engine, control), feeds: Some(feeds), results })
    }

    /// A lane; see [`Feeds::lane`]. A lane that waits for room must be written from another thread than the
    /// one that polls.
    ///
    /// # Errors
    /// As for [`Feeds::lane`].
    pub fn lane(&self) -> Result<Feed<E>> {
        let ended = || Error::source("pipeline", "no lanes after finish");
        self.feeds.as_ref().ok_or_else(ended)?.lane()
    }

    /// Opens lanes from other threads.
    pub fn feeds(&self) -> Option<Feeds<E>> {
        self.feeds.clone()
    }

    /// No lanes will be opened any more: when those there are have closed, everything fires.
    pub fn finish(&mut self) {
        self.feeds = None;
    }

    /// Does all that can be done now and hands each result over; false when nothing is left to do for now and
    /// nothing is in flight.
    ///
    /// # Errors
    /// What a device reports. The pipeline has ended then.
    pub fn poll(&mut self, take: impl FnMut(Rows)) -> Result<bool> {
        let results = &mut self.results;
        self.own.poll(|| results.try_next(), take)
    }

    /// Polls until nothing is left to do.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn settle(&mut self, mut take: impl FnMut(Rows)) -> Result<()> {
        while self.poll(&mut take)? {}
        Ok(())
    }

    /// Moves the query with all its state to another device, between two batches. Rows in hand stay readable.
    ///
    /// # Errors
    /// What a device reports. The query goes on where it was, unless that device itself was lost.
    pub fn move_to(&mut self, device: Device) -> Result<()> {
        self.between_batches(|engine| engine.move_to(device))
    }

    /// Copies what [`Scores`](super::Scores) have learnt of all keys.
    ///
    /// # Errors
    /// As for [`Monitor::states`].
    pub fn states(&mut self) -> Result<States> {
        self.between_batches(|engine| engine.states())
    }

    /// Gives keys what is known of them from elsewhere, instead of what was learnt of them here.
    ///
    /// # Errors
    /// As for [`Monitor::restore`].
    pub fn restore(&mut self, states: &States) -> Result<()> {
        self.between_batches(|engine| engine.restore(states))
    }

    fn between_batches<T>(&mut self, act: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
        if self.own.failed {
            return Err(Error::source("pipeline", "it has ended"));
        }
        self.own.attempt(Engine::quiet)?;
        act(&mut self.own.engine)
    }

    /// What was learnt of the keys forgotten since the last call; see [`Results::forgotten`].
    pub fn forgotten(&mut self) -> Option<States> {
        self.results.forgotten()
    }

    /// The events set aside since the last call.
    pub fn asides(&mut self) -> Vec<super::results::Aside<E>> {
        self.results.asides()
    }

    /// What has been counted so far.
    pub fn stats(&mut self) -> Stats {
        self.own.engine.stats()
    }
}

impl<E: Pod> std::fmt::Debug for Inline<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inline")
    }
}
