//! The producers that make their own events: trades over a thousand accounts, on time as an exchange is on
//! time.

use super::Event;
use super::args::Args;
use pelton::Feed;
use pelton::base::clock;
use pelton::base::rng::SplitMix;
use std::thread;
use std::time::Duration;

/// Threads that make events, each through a lane of its own.
pub(crate) const PRODUCERS: u64 = 2;
/// Events a second, of all producers together.
pub(crate) const RATE: u64 = 1_000_000;
/// Accounts that trade.
pub(crate) const ACCOUNTS: u32 = 1_000;
/// Event time runs so fast that a window closes after this much real time.
const SLIDE_NS: u64 = 250_000_000;
/// Event time starts with 2026, or before it where a window does.
const ORIGIN: u64 = 1_767_225_600_000_000_000;
/// Events in one commit, at most.
const RUN: u64 = 256;
/// How long a producer with nothing due sleeps.
const NAP: Duration = Duration::from_micros(100);
const SECOND: u64 = 1_000_000_000;

/// What each producer makes.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    origin: u64,
    slide: u64,
    run_for: u64,
}

impl Plan {
    pub(crate) fn new(args: &Args) -> Self {
        let slide = args.shape.slide();
        Self { origin: ORIGIN - ORIGIN % slide, slide, run_for: args.run_for }
    }

    /// How much faster than the clock event time runs.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn speed(&self) -> f64 {
        self.slide as f64 / SLIDE_NS as f64
    }

    /// Makes events as they fall due from `begin` on, whether or not the pipeline keeps up, and returns when
    /// the last was committed. Events are stamped with the time they were due, so a pipeline that falls
    /// behind shows it in its latencies.
    pub(crate) fn produce(self, number: u64, begin: u64, mut lane: Feed<Event>) -> u64 {
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
            let Ok(mut run) = lane.write(most) else { break };
            let n = run.len();
            for (event, i) in run.iter_mut().zip(made..) {
                *event = self.trade(i, &mut rng);
            }
            run.commit_at(n, due_ns(made));
            made += n as u64;
        }
        now
    }

    /// The producer's trade number `i`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "made-up numbers"
    )]
    fn trade(self, i: u64, rng: &mut SplitMix) -> Event {
        let per_slide = RATE / PRODUCERS * SLIDE_NS / SECOND;
        let within = (i % per_slide) as f64 / per_slide as f64;
        let dice = rng.next_u64();
        // One in sixteen is a little behind, one in a hundred thousand badly.
        let behind = match dice {
            d if d.is_multiple_of(100_000) => 0.25 * rng.unit(),
            d if d.is_multiple_of(16) => 0.001 * rng.unit(),
            _ => 0.0,
        };
        let slides = self.slide.saturating_mul(i / per_slide);
        let at = slides.saturating_add_signed(((within - behind) * self.slide as f64) as i64);
        // Few accounts trade much.
        let u = rng.unit();
        let skewed = u * u * u * f64::from(ACCOUNTS);
        let value = (dice >> 32) % 100_000 + 1;
        Event {
            at: self.origin.saturating_add(at),
            key: skewed as u32,
            value: value as f32 / 100.0,
        }
    }
}
