//! Load on a text pipeline, in bursts on a schedule of their own, with every event accounted for by its id.
//!
//! What an event is follows from its id: mostly one of a few texts, whose vectors are known to the bit; some are no
//! UTF-8, some too long, some token ids that no vocabulary has. Each event is stamped with the time at which it was
//! due, so that waiting for a producer that is behind counts as waiting. Whatever is lost, comes twice or is wrong
//! stops the program.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and times of a measurement"
)]
#![allow(dead_code, unreachable_pub, reason = "shared by a bench and a test")]

use pelton::base::clock;
use pelton::base::hist::Latency;
use pelton::base::rng::SplitMix;
use pelton::model::{Encoder, EncoderOptions, Model};
use pelton::pipeline::texts::{TextError, TextFeed, TextPipeline, Texts, Vector};
use pelton::ring::Full;
use pelton::{Device, LaneOptions, Options, Policy};
use std::time::Duration;

/// Bytes of a text, at most.
const BYTES_MAX: usize = 384;
/// Lanes that the events go through in turn.
const LANES: usize = 2;
/// Events of a burst, on average.
const BURST: u64 = 8;
/// Different texts.
const TEXTS: usize = 64;
/// Of so many events one is of each kind of bad one.
const BAD_IN: u64 = 97;

/// A model and what is sent to it.
pub struct Load {
    model: Model,
    texts: Vec<String>,
    /// The bits of each text's vector.
    wanted: Vec<Vec<u32>>,
    deadline: Duration,
    /// What both lanes together hold, in events.
    pub held: usize,
}

/// How events come.
#[derive(Clone, Copy)]
pub enum Pace {
    /// As fast as the lanes take them: a closed loop.
    Closed,
    /// In bursts, so many events a second in all.
    Bursts(f64),
}

/// One run.
#[derive(Clone, Copy)]
pub struct Phase {
    pub policy: Policy,
    pub pace: Pace,
    pub seconds: f64,
}

/// What came of it.
pub struct Outcome {
    pub sent: u64,
    /// Events with a vector, and with an error of their own.
    pub answered: u64,
    pub errors: u64,
    /// Events that a full lane dropped, and handed back.
    pub dropped: u64,
    pub rejected: u64,
    /// Of those answered, errors included: within the deadline.
    pub kept: u64,
    pub latency: Latency,
    /// From the first event to the last result.
    pub seconds: f64,
    /// What the caller's samples were after a tenth of the time, and at the end.
    pub samples: [Sample; 2],
}

/// Whatever the caller reads: allocations, memory.
pub type Sample = [u64; 2];

impl Outcome {
    /// Events with a vector or an error, a second.
    pub fn rate(&self) -> f64 {
        (self.answered + self.errors) as f64 / self.seconds
    }

    /// The share of answers within the deadline.
    pub fn share_kept(&self) -> f64 {
        self.kept as f64 / (self.answered + self.errors).max(1) as f64
    }
}

/// What an event is.
enum Kind {
    Text(usize),
    Utf8,
    TooLong,
    TokenId,
}

fn kind(id: u64) -> Kind {
    match id % BAD_IN {
        17 => Kind::Utf8,
        43 => Kind::TooLong,
        71 => Kind::TokenId,
        _ => Kind::Text(usize::try_from(SplitMix::at(1, id) % TEXTS as u64).expect("small")),
    }
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Fate {
    Unknown = 1,
    Accepted,
    HandedBack,
    Answered,
}

/// Texts of one word to forty.
fn texts() -> Vec<String> {
    let words =
        ["water", "turning", "wheel", "a", "jet", "of", "stream", "answers", "fast", "é", ","];
    let mut rng = SplitMix::new(7);
    let mut below = |n: u64| usize::try_from(rng.below(n)).expect("small");
    let text = |_| (0..=below(40)).map(|_| words[below(11)]).collect::<Vec<_>>().join(" ");
    (0..TEXTS).map(text).collect()
}

impl Load {
    pub fn new(model: &Model, deadline: Duration) -> Self {
        let texts = texts();
        let all: Vec<&str> = texts.iter().map(|text| &text[..]).collect();
        let mut encoder = Encoder::new(model, &Device::cpu(), EncoderOptions::default());
        let found = encoder.as_mut().expect("it fits").embed(&all).expect("texts are texts");
        let wanted = found.rows().map(|row| row.iter().map(|x| x.to_bits()).collect());
        Self { model: model.clone(), texts, wanted: wanted.collect(), deadline, held: 256 }
    }

    /// Runs one phase and accounts for each of its events; `sample` is asked after a tenth of the time and at the end.
    pub fn run(&self, phase: Phase, sample: impl Fn() -> Sample) -> Outcome {
        let lane = LaneOptions {
            events: self.held.div_ceil(LANES),
            policy: phase.policy,
            ..LaneOptions::default()
        };
        let options =
            Options { latency_target: Some(self.deadline), lane, ..Options::on(Device::cpu()) };
        let texts = Texts { bytes_max: BYTES_MAX, ..Texts::new(&self.model) };
        let pipeline = TextPipeline::start(texts, options).expect("it fits");
        let lanes = [(); LANES].map(|()| pipeline.lane().expect("a lane"));
        let events_max = match phase.pace {
            Pace::Closed => 1 << 21,
            Pace::Bursts(rate) => (rate * phase.seconds) as usize,
        };
        // Written now, so that no page of it is new later.
        let mut answers = vec![Fate::Unknown; events_max];
        let fates = answers.clone();
        let begin = clock::now_ns();
        let tenth = begin + (phase.seconds * 1e8) as u64;
        let end = begin + (phase.seconds * 1e9) as u64;
        let mut early = None;
        let mut outcome = Outcome {
            sent: 0,
            answered: 0,
            errors: 0,
            dropped: 0,
            rejected: 0,
            kept: 0,
            latency: Latency::default(),
            seconds: 0.0,
            samples: [[0; 2]; 2],
        };
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| self.produce(lanes, phase, (begin, end), fates));
            let stats = pipeline.drain(|vectors| {
                for vector in vectors.iter() {
                    self.judge(vector, &mut answers, &mut outcome);
                }
                let now = clock::now_ns();
                if early.is_none() && now >= tenth {
                    early = Some(sample());
                }
            });
            outcome.seconds = (clock::now_ns() - begin) as f64 / 1e9;
            let late = sample();
            outcome.samples = [early.unwrap_or(late), late];
            let stats = stats.expect("the pipeline works");
            let (fates, sent) = producer.join().expect("no panic");
            (outcome.sent, outcome.dropped, outcome.rejected) =
                (sent, stats.dropped, stats.rejected);
            outcome.account(phase.policy, &fates, &answers);
        });
        outcome
    }

    /// Sends events until the time is over; returns what it knows of each, and how many they are.
    fn produce(
        &self,
        mut lanes: [TextFeed; LANES],
        phase: Phase,
        (begin, end): (u64, u64),
        mut fates: Vec<Fate>,
    ) -> (Vec<Fate>, u64) {
        let (mut rng, mut due, mut id) = (SplitMix::new(3), begin, 0);
        loop {
            let burst = 1 + rng.below(2 * BURST - 1);
            match phase.pace {
                Pace::Closed => due = clock::now_ns(),
                Pace::Bursts(rate) => due += gap(burst, rate, &mut rng),
            }
            while clock::now_ns() < due {
                std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now_ns())));
            }
            for _ in 0..burst {
                if id == fates.len() || due >= end {
                    return (fates, id as u64);
                }
                let stamp_ns =
                    if matches!(phase.pace, Pace::Closed) { clock::now_ns() } else { due };
                let lane = &mut lanes[id % LANES];
                fates[id] = match self.send(lane, id as u64, stamp_ns) {
                    Ok(()) => Fate::Accepted,
                    Err(_) => Fate::HandedBack,
                };
                if fates[id] == Fate::HandedBack && phase.policy == Policy::DropNewest {
                    lane.dropped(1);
                }
                id += 1;
            }
        }
    }

    fn send(&self, lane: &mut TextFeed, id: u64, stamp_ns: u64) -> Result<(), Full> {
        let bytes = match kind(id) {
            Kind::Text(text) => self.texts[text].as_bytes(),
            Kind::Utf8 => &[b'a', 0xff],
            Kind::TooLong => &[],
            Kind::TokenId => &[0xff; 4],
        };
        let mut run = lane.write(1, bytes.len())?;
        match kind(id) {
            Kind::TooLong => run.too_long(id, BYTES_MAX + 1),
            Kind::TokenId => run.words(id, 1).expect("it fits").fill(u32::MAX),
            _ => run.bytes(id, bytes.len()).expect("it fits").copy_from_slice(bytes),
        }
        run.commit_at(stamp_ns);
        Ok(())
    }

    /// Takes one result: it is the right one, and the only one.
    fn judge(&self, vector: Vector<'_>, answers: &mut [Fate], outcome: &mut Outcome) {
        let id = vector.id();
        let answer = &mut answers[usize::try_from(id).expect("small")];
        assert!(*answer == Fate::Unknown, "event {id} came twice");
        *answer = Fate::Answered;
        let right = match (kind(id), vector.values()) {
            (Kind::Text(text), Ok(values)) => {
                let wanted = &self.wanted[text];
                values.iter().map(|x| x.to_bits()).eq(wanted.iter().copied())
            }
            (Kind::Utf8, Err(error)) => error == TextError::Utf8 { from: 1 },
            (Kind::TooLong, Err(error)) => error == TextError::TooLong { bytes: BYTES_MAX + 1 },
            (Kind::TokenId, Err(error)) => matches!(error, TextError::TokenId { at: 0, .. }),
            _ => false,
        };
        assert!(right, "event {id}: {vector:?}");
        match vector.values() {
            Ok(_) => outcome.answered += 1,
            Err(_) => outcome.errors += 1,
        }
        outcome.kept += u64::from(vector.on_time());
        outcome.latency.record(vector.latency_ns(), 1);
    }
}

impl Outcome {
    /// Holds what producer, consumer and pipeline know of the events against each other.
    fn account(&self, policy: Policy, fates: &[Fate], answers: &[Fate]) {
        let sent = usize::try_from(self.sent).expect("small");
        let all = || fates[..sent].iter().zip(answers);
        let count = |fate: (Fate, Fate)| all().filter(|&(a, b)| (*a, *b) == fate).count() as u64;
        let (taken, back) = (Fate::Accepted, Fate::HandedBack);
        assert_eq!(count((back, Fate::Answered)), 0, "handed back, and answered");
        assert_eq!(count((taken, Fate::Answered)), self.answered + self.errors);
        let (lost, back) = (count((taken, Fate::Unknown)), count((back, Fate::Unknown)));
        let told = match policy {
            Policy::Block | Policy::Spin => (0, 0, 0),
            Policy::Reject => (0, 0, self.rejected),
            Policy::DropNewest => (0, self.dropped, 0),
            Policy::DropOldest => (self.dropped, 0, 0),
        };
        let known = if policy == Policy::DropNewest { (lost, back, 0) } else { (lost, 0, back) };
        assert_eq!(known, told, "{policy:?}: lost, dropped, handed back; as counted, as told");
        assert_eq!(self.sent, self.answered + self.errors + self.dropped + self.rejected);
    }
}

/// Nanoseconds from a burst to the one before: what its events are due, more or less by up to half.
fn gap(burst: u64, rate: f64, rng: &mut SplitMix) -> u64 {
    let share = 0.5 + rng.below(1 << 20) as f64 / f64::from(1 << 20);
    (burst as f64 * share / rate * 1e9) as u64
}
