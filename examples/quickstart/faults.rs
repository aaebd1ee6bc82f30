//! What goes wrong with the made sensors, and how much of it the alerts find.

use super::made::{PRODUCERS, SENSORS};
use pelton::base::rng::SplitMix;
use std::fmt;

/// How many faults are made, of every kind as many.
pub(crate) const FAULTS: usize = 8;
const KINDS: [Kind; 4] = [Kind::Spike, Kind::Jump, Kind::Drift, Kind::Stuck];
/// How fast a drift climbs, in degrees a slide of the windows: two a minute where those are an hour. What drifts much
/// slower is learnt as it goes, and no event of it is a surprise.
const DRIFT: f64 = 120.0;
/// The faults are those of this seed.
const SEED: u64 = 2026;

/// How a sensor fails. All but a spike last to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One reading is far off.
    Spike,
    /// All readings are higher.
    Jump,
    /// Readings climb.
    Drift,
    /// It reads 0, whatever there is to measure.
    Stuck,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spike => "spike",
            Self::Jump => "jump",
            Self::Drift => "drift",
            Self::Stuck => "stuck",
        })
    }
}

/// A fault of one sensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) sensor: u64,
    /// The first faulty reading, in its producer's count, and its event time.
    pub(crate) reading: u64,
    pub(crate) from: u64,
}

impl Fault {
    /// Faults of busy sensors in the last half of a run, in which a producer makes so many `readings`.
    pub(crate) fn plan(readings: u64, time: impl Fn(u64) -> u64) -> [Self; FAULTS] {
        let mut rng = SplitMix::new(SEED);
        std::array::from_fn(|i| {
            // One fault in each hundredth of the sensors but the first: no sensor has two.
            let sensor = (i as u64 + 1) * (SENSORS / 100) + rng.below(SENSORS / 100);
            let reading = readings / 2 + rng.below(readings * 2 / 5 + 1);
            Self { kind: KINDS[i % KINDS.len()], sensor, reading, from: time(reading) }
        })
    }

    /// Whether it is this producer's to make.
    pub(crate) fn is_of(&self, producer: u64) -> bool {
        self.sensor % PRODUCERS == producer
    }

    /// Whether it is in a reading of this sensor at this time.
    pub(crate) fn hits(&self, sensor: u64, at: u64) -> bool {
        let lasts = self.kind != Kind::Spike;
        self.sensor == sensor && (at == self.from || lasts && at > self.from)
    }

    /// What is read instead, `slides` slides of the windows after it began.
    pub(crate) fn reads(&self, right: f64, slides: f64) -> f64 {
        match self.kind {
            Kind::Spike => right + 10.0,
            Kind::Jump => right + 8.0,
            Kind::Drift => right + DRIFT * slides,
            Kind::Stuck => 0.0,
        }
    }
}

/// The alerts, judged by what was made to go wrong.
pub(crate) struct Judge {
    faults: [Fault; FAULTS],
    found: [bool; FAULTS],
    pub(crate) false_alarms: u64,
}

impl Judge {
    pub(crate) const fn new(faults: [Fault; FAULTS]) -> Self {
        Self { faults, found: [false; FAULTS], false_alarms: 0 }
    }

    /// The fault that an alert has found; without one it is a false alarm.
    pub(crate) fn alert(&mut self, sensor: u64, at: u64) -> Option<Kind> {
        let Some(i) = self.faults.iter().position(|fault| fault.hits(sensor, at)) else {
            self.false_alarms += 1;
            return None;
        };
        self.found[i] = true;
        Some(self.faults[i].kind)
    }

    /// The faults that no alert has found.
    pub(crate) fn missed(&self) -> Vec<Fault> {
        let missed = self.faults.iter().zip(self.found).filter(|(_, found)| !found);
        missed.map(|(fault, _)| *fault).collect()
    }
}
