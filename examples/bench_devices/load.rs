//! The workload: keyed windows over events that every engine was measured on, and the load put on them.
//!
//! Events are made before anything is measured and copied into the lane with their time moved on, so that the
//! producer costs little and a run may be as long as it likes. `closed` pushes as fast as the pipeline takes;
//! `open` keeps to a schedule, whether or not the pipeline keeps up.

use super::host;
use super::peers::{Digest, Dist, KEYS, RATE, peers_event};
use super::sample::Sample;
use pelton::base::clock;
use pelton::base::hist::Latency;
use pelton::base::rng::SplitMix;
use pelton::pipeline::Monitor;
use pelton::{
    Device, Feed, Key, LaneOptions, Options, Pipeline, Pod, Result, Results, Value, Windows,
    Zeroable, field,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Milliseconds of event time in a window, and how far events may be out of order.
pub(crate) const WINDOW_MS: u64 = 1_000;
pub(crate) const DISORDER_MS: u64 = 100;
/// Events a lane holds.
pub(crate) const LANE_EVENTS: usize = 1 << 16;
/// Events that arrive together in the open loop, and that are committed together in the closed one.
pub(crate) const OPEN_RUN: usize = 64;
pub(crate) const CLOSED_RUN: usize = 1_024;
/// Windows of time the closed loop is divided into.
pub(crate) const SLOTS: u32 = 10;
/// The seed of the arrivals.
pub(crate) const SEED: u64 = 7;
/// Events that go through before anything is measured: two windows close.
pub(crate) const PRIMING: u64 = RATE * 5 / 2;
/// How long the last events of an open loop may take.
const DRAIN_NS: u64 = 5_000_000_000;
const SECOND: f64 = 1e9;

/// One event, 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Event {
    at: u64,
    key: u32,
    value: f32,
}

/// Bytes of an event.
pub(crate) const EVENT_BYTES: usize = size_of::<Event>();

/// Events without end: the first ones of the shared workload, over and over, their times moving on.
pub(crate) struct Source {
    block: Vec<Event>,
    /// Event time from one repetition to the next.
    span: u64,
}

impl Source {
    /// `events` are whole event-time seconds, so that one repetition follows the other without a step.
    pub(crate) fn new(events: u64) -> Self {
        assert!(events.is_multiple_of(RATE), "whole event-time seconds");
        let dist = Dist::zipf();
        let event = |i| {
            let (at, key, value) = peers_event(i, &dist);
            Event { at, key, value }
        };
        Self { block: (0..events).map(event).collect(), span: events / RATE * 1000 }
    }

    /// Events before they repeat.
    pub(crate) fn events(&self) -> u64 {
        self.block.len() as u64
    }

    /// Writes the events from number `from` on.
    fn fill(&self, from: u64, mut run: &mut [Event]) {
        let mut shift = from / self.events() * self.span;
        let mut at = usize::try_from(from % self.events()).expect("inside the block");
        while !run.is_empty() {
            let part = &self.block[at..];
            let (now, later) = run.split_at_mut(part.len().min(run.len()));
            for (to, event) in now.iter_mut().zip(part) {
                *to = Event { at: event.at + shift, ..*event };
            }
            (run, at, shift) = (later, 0, shift + self.span);
        }
    }
}

fn start(device: &Device) -> Result<(Pipeline<Event>, Feed<Event>)> {
    // Values are multiples of a quarter.
    let value = Value { variance: false, ..Value::fixed(field!(Event.value), 2) };
    let windows = Windows {
        key: Key::hashed(field!(Event.key)),
        values: vec![value],
        disorder: DISORDER_MS,
        ..Windows::tumbling(field!(Event.at), WINDOW_MS)
    };
    let lane = LaneOptions { events: LANE_EVENTS, ..LaneOptions::default() };
    let options = Options { lane, keys: KEYS, seed: Some(SEED), ..Options::on(device.clone()) };
    let pipeline = Pipeline::start(windows, options)?;
    let lane = pipeline.lane()?;
    Ok((pipeline, lane))
}

/// The digest of the source's events through the device, and what it has to be.
pub(crate) fn digest(device: &Device, source: &Source) -> Result<(Digest, Digest)> {
    let want = Digest::of(source.events(), WINDOW_MS, &Dist::zipf());
    let (pipeline, mut lane) = start(device)?;
    let mut got = Digest::default();
    thread::scope(|scope| {
        scope.spawn(move || lane.push_all(&source.block));
        pipeline.drain(|rows| {
            for row in rows.iter() {
                got.add(row.count(), row.sum(0), row.min(0), row.max(0));
            }
        })
    })?;
    Ok((got, want))
}

/// Puts whole windows through, after which every kernel has run and tables have grown; returns their events.
fn prime(lane: &mut Feed<Event>, source: &Source, monitor: &Monitor) -> u64 {
    let mut sent = 0;
    while sent < PRIMING {
        let Ok(mut run) = lane.write(CLOSED_RUN) else { break };
        let n = run.len();
        source.fill(sent, &mut run);
        run.commit(n);
        sent += n as u64;
    }
    settle(monitor, sent);
    sent
}

/// What the closed loop showed.
pub(crate) struct Closed {
    /// Events a second in each slot of time after the warm-up.
    pub(crate) slots: Vec<f64>,
    /// Events from the end of the priming to the drained end, and CPU seconds of all of it: the process
    /// and, of that, the producer.
    pub(crate) events: u64,
    pub(crate) process_seconds: Option<f64>,
    pub(crate) producer_seconds: Option<f64>,
}

/// Pushes as fast as the pipeline takes.
#[allow(clippy::cast_precision_loss, reason = "counts of a short run")]
pub(crate) fn closed(
    device: &Device,
    source: &Source,
    (warm, time): (Duration, Duration),
) -> Result<Closed> {
    let (pipeline, mut lane) = start(device)?;
    let monitor = pipeline.monitor();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (feeds, results) = pipeline.split();
        drop(feeds);
        let consumer = scope.spawn(|| consume(results));
        let primed = prime(&mut lane, source, &monitor);
        let cpu = host::cpu_seconds();
        let stop = &stop;
        let producer = scope.spawn(move || {
            let mut sent = primed;
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut run) = lane.write(CLOSED_RUN) else { break };
                let n = run.len();
                source.fill(sent, &mut run);
                run.commit(n);
                sent += n as u64;
            }
            lane.close();
            host::thread_seconds()
        });
        thread::sleep(warm);
        let (mut before, mut since) = (monitor.stats().event.count(), clock::now_ns());
        let mut slots = Vec::new();
        for _ in 0..SLOTS {
            thread::sleep(time / SLOTS);
            let (after, now) = (monitor.stats().event.count(), clock::now_ns());
            slots.push((after - before) as f64 * SECOND / (now - since).max(1) as f64);
            (before, since) = (after, now);
        }
        stop.store(true, Ordering::Relaxed);
        let producer_seconds = producer.join().expect("the producer does not panic");
        consumer.join().expect("the consumer does not panic")?;
        let process_seconds = host::cpu_seconds().zip(cpu).map(|(now, then)| now - then);
        let events = monitor.stats().events - primed;
        Ok(Closed { slots, events, process_seconds, producer_seconds })
    })
}

/// Takes results until they end.
fn consume(results: Results<Event>) -> Result<()> {
    results.into_iter().try_for_each(|rows| rows.map(drop))
}

/// What the open loop showed at one rate.
pub(crate) struct Open {
    /// Events a second that were asked for, that fell due, and that were committed in time.
    pub(crate) rate: f64,
    pub(crate) due: f64,
    pub(crate) achieved: f64,
    /// From when an event was due until its batch retired.
    pub(crate) event: Sample,
    /// From when the events that closed a window were due until its rows were in the consumer's hand, by
    /// rows.
    pub(crate) result: Sample,
    /// How late the generator began a run, where the pipeline had not held it up.
    pub(crate) lag: Sample,
    /// Times that it found the lane full.
    pub(crate) waits: u64,
    /// Events that had not retired when the measurement ended.
    pub(crate) unfinished: u64,
}

/// Offers `rate` events a second in runs that arrive at random times, chosen before the first one is due.
#[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds of a short run")]
pub(crate) fn open(
    device: &Device,
    source: &Source,
    rate: f64,
    (warm, time): (Duration, Duration),
) -> Result<Open> {
    let (pipeline, mut lane) = start(device)?;
    let monitor = pipeline.monitor();
    let due = arrivals(rate, (warm + time).as_nanos() as f64);
    let fell_due = (due.len() * OPEN_RUN) as f64 / (warm + time).as_secs_f64();
    let [warm_ns, planned] =
        [warm, warm + time].map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    thread::scope(|scope| {
        let (feeds, results) = pipeline.split();
        drop(feeds);
        let consumer = scope.spawn(|| consume(results));
        let primed = prime(&mut lane, source, &monitor);
        let waited = lane.stats().waits;
        let begin = clock::now_ns() + 1_000_000;
        let times = (begin, warm_ns);
        let producer = scope.spawn(move || produce((lane, primed), source, &due, times));
        thread::sleep(warm);
        let before = monitor.stats();
        let made = producer.join().expect("the producer does not panic");
        // The last events count too, so the lane stays open until they have retired.
        settle(&monitor, made.events);
        let after = monitor.stats();
        let waits = made.lane.stats().waits - waited;
        made.lane.close();
        consumer.join().expect("the consumer does not panic")?;
        let none = Latency::default();
        Ok(Open {
            rate,
            due: fell_due,
            achieved: (made.events - primed) as f64 * SECOND
                / (made.ended_ns - begin).max(planned) as f64,
            event: Sample::between(&before.event, &after.event),
            result: Sample::between(&before.result, &after.result),
            lag: Sample::between(&none, &made.lag),
            waits,
            unfinished: made.events.saturating_sub(after.event.count()),
        })
    })
}

fn settle(monitor: &Monitor, events: u64) {
    let begin = clock::now_ns();
    while monitor.stats().event.count() < events && clock::now_ns() - begin < DRAIN_NS {
        thread::sleep(Duration::from_millis(1));
    }
}

/// When runs are due, in nanoseconds from the beginning: exponential gaps, so that they come independently.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "nanoseconds of a short run, never negative"
)]
fn arrivals(rate: f64, until_ns: f64) -> Vec<u64> {
    let gap = OPEN_RUN as f64 * SECOND / rate;
    let mut rng = SplitMix::new(SEED);
    let mut at = 0.0;
    let next = || {
        at -= (1.0 - rng.unit()).ln() * gap;
        (at < until_ns).then_some(at as u64)
    };
    std::iter::from_fn(next).collect()
}

struct Made {
    events: u64,
    ended_ns: u64,
    lag: Latency,
    lane: Feed<Event>,
}

/// Commits each run when it is due, or as soon after as the lane has room; gives up at twice the time.
fn produce(
    (mut lane, mut events): (Feed<Event>, u64),
    source: &Source,
    due: &[u64],
    (begin, warm_ns): (u64, u64),
) -> Made {
    let mut lag = Latency::default();
    let (mut waits, mut held_up) = (lane.stats().waits, false);
    let give_up = begin + 2 * due.last().copied().unwrap_or(0);
    'runs: for due in due {
        let due_ns = begin + due;
        let now = wait_until(due_ns);
        if now > give_up {
            break;
        }
        // Once held up, it is late by no fault of its own until it has caught up.
        held_up &= now - due_ns > 100_000;
        if !held_up && *due >= warm_ns {
            lag.record(now - due_ns, 1);
        }
        let mut left = OPEN_RUN;
        while left > 0 {
            let Ok(mut run) = lane.write(left) else { break 'runs };
            let n = run.len();
            source.fill(events, &mut run);
            run.commit_at(n, due_ns);
            (events, left) = (events + n as u64, left - n);
        }
        let waited = lane.stats().waits;
        held_up |= waited > waits;
        waits = waited;
    }
    Made { events, ended_ns: clock::now_ns(), lag, lane }
}

/// Waits, asleep while it is long, and says when it woke.
fn wait_until(due_ns: u64) -> u64 {
    loop {
        let now = clock::now_ns();
        match due_ns.saturating_sub(now) {
            0 => return now,
            left @ 2_000_000.. => thread::sleep(Duration::from_nanos(left - 1_000_000)),
            _ => thread::yield_now(),
        }
    }
}
