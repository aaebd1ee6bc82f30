//! The producers that make their own events: readings of a thousand sensors, each around a level of its own,
//! and a few of them at fault (`faults`).

use super::Event;
use super::args::Args;
use super::faults::{FAULTS, Fault};
use pelton::Feed;
use pelton::base::clock;
use pelton::base::rng::SplitMix;
use std::thread;
use std::time::Duration;

/// Threads that make events, each with sensors and lanes of its own.
pub(crate) const PRODUCERS: u64 = 2;
/// Events a second, of all producers together.
pub(crate) const RATE: u64 = 1_000_000;
/// Sensors that are read.
pub(crate) const SENSORS: u64 = 1_000;
/// How far a reading may lie from what is expected and be nobody's business, in degrees: five deviations of the
/// noise.
pub(crate) const HARMLESS: f32 = 5.0;
/// Event time runs so fast that a window closes after this much real time.
const SLIDE_NS: u64 = 250_000_000;
/// Event time starts with 2026, or before it where a window does.
const ORIGIN: u64 = 1_767_225_600_000_000_000;
/// Events in one commit, at most.
const RUN: u64 = 256;
/// How long a producer with nothing due sleeps.
const NAP: Duration = Duration::from_micros(500);
pub(crate) const SECOND: u64 = 1_000_000_000;

/// What each producer makes.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    origin: u64,
    slide: u64,
    run_for: u64,
    pub(crate) faults: [Fault; FAULTS],
}

impl Plan {
    pub(crate) fn new(args: &Args) -> Self {
        let slide = args.shape.slide();
        let (origin, run_for) = (ORIGIN - ORIGIN % slide, args.run_for);
        let readings = run_for / (SECOND * PRODUCERS / RATE);
        let faults = Fault::plan(readings, |i| time(origin, slide, i, 0.0));
        Self { origin, slide, run_for, faults }
    }

    /// How much faster than the clock event time runs.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn speed(&self) -> f64 {
        self.slide as f64 / SLIDE_NS as f64
    }

    /// Makes events as they fall due from `begin` on, whether or not the pipeline keeps up, and returns when
    /// the last was committed. Events are stamped with the time they were due, so a pipeline that falls
    /// behind shows it in its latencies.
    pub(crate) fn produce(
        self,
        number: u64,
        begin: u64,
        [mut windows, mut scores]: [Feed<Event>; 2],
    ) -> u64 {
        let rate = RATE / PRODUCERS;
        let due_ns = |event: u64| begin + event * (SECOND / rate);
        let total = self.run_for / (SECOND / rate);
        let mut rng = SplitMix::new(number);
        let (mut made, mut now) = (0, begin);
        while made < total {
            now = clock::now_ns();
            let due = ((now.saturating_sub(begin)) / (SECOND / rate)).min(total);
            if due == made {
                thread::sleep(NAP);
                continue;
            }
            let most = usize::try_from((due - made).min(RUN)).expect("a run is short");
            let Ok(mut run) = windows.write(most) else { break };
            let n = run.len();
            for (event, i) in run.iter_mut().zip(made..) {
                *event = self.reading(number, i, &mut rng);
            }
            let scored = scores.push_all(&run);
            run.commit_at(n, due_ns(made));
            if scored < n {
                break;
            }
            made += n as u64;
        }
        now
    }

    /// The producer's reading number `i`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "made-up numbers"
    )]
    fn reading(&self, producer: u64, i: u64, rng: &mut SplitMix) -> Event {
        // One in sixteen is a little behind, one in a hundred thousand badly.
        let behind = match rng.next_u64() {
            d if d.is_multiple_of(100_000) => 0.25 * rng.unit(),
            d if d.is_multiple_of(16) => 0.001 * rng.unit(),
            _ => 0.0,
        };
        // Few sensors are read often.
        let u = rng.unit();
        let skewed = (u * u * u * (SENSORS / PRODUCERS) as f64) as u64;
        let mut key = skewed * PRODUCERS + producer;
        let mut at = time(self.origin, self.slide, i, behind);
        if let Some(fault) = self.faults.iter().find(|f| f.reading == i && f.is_of(producer)) {
            (key, at) = (fault.sensor, fault.from);
        }
        // Normal noise around the sensor's level, then what a fault makes of it.
        let (a, b) = (1.0 - rng.unit(), rng.unit());
        let noise = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        let mut value = 20.0 + (key % 50) as f64 + noise;
        if let Some(fault) = self.faults.iter().find(|f| f.hits(key, at)) {
            value = fault.reads(value, (at - fault.from) as f64 / self.slide as f64);
        }
        Event { at, key: key as u32, value: value as f32 }
    }
}

/// The event time of a producer's reading number `i`, `behind` slides late.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "made-up numbers")]
fn time(origin: u64, slide: u64, i: u64, behind: f64) -> u64 {
    let per_slide = RATE / PRODUCERS * SLIDE_NS / SECOND;
    let within = (i % per_slide) as f64 / per_slide as f64;
    let slides = slide.saturating_mul(i / per_slide);
    let at = slides.saturating_add_signed(((within - behind) * slide as f64) as i64);
    origin.saturating_add(at)
}
