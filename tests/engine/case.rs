//! One scenario with its answer, run through the engine and judged; random ones and long ones.

use super::{Setup, inline, playable};
use crate::spec::compare::{EngineOutput, compare};
use crate::spec::scenario::Scenario;
use crate::spec::streams::{KeyStyle, Numbers, Skew, Stream};
use crate::spec::windows::{SpecOutput, answer};
use crate::spec::{Action, Filter, KeyField, Mode, Query, Value, ValueField};
use pelton::base::limits::BLOCK_IDS;
use pelton::base::rng::SplitMix;
use pelton::{Device, Error};
use std::collections::BTreeSet;

/// What a scenario may take up.
const STATE_BYTES_MAX: usize = 1 << 30;

/// A scenario with what the specification says about it.
pub struct Case {
    pub name: String,
    pub query: Query,
    pub actions: Vec<Action>,
    pub events: usize,
    pub expected: SpecOutput,
}

impl Case {
    pub fn new(name: impl Into<String>, scenario: &Scenario) -> Self {
        let query = playable(&scenario.query);
        let actions = scenario.actions();
        let expected = answer(&query, &actions);
        let name = format!("{}\n{query:?}\n{:?}", name.into(), scenario.stream);
        Self { name, query, actions, events: scenario.stream.events, expected }
    }

    pub fn random(seed: u64) -> Self {
        Self::new(format!("seed {seed}"), &Scenario::random(seed))
    }

    pub fn of(seed: u64, events: usize) -> Self {
        Self::new(format!("seed {seed}, {events} events"), &Scenario::random_of(seed, events))
    }

    /// Bytes of rows if no window were ever given up: a slot has rows for a block of keys, however few there are.
    fn state_bytes(&self) -> usize {
        let windows = self.expected.rows.keys().map(|(_, window)| *window);
        let slices = self.actions.iter().filter_map(|action| match action {
            Action::Event(_, reading) => Some(reading.at / self.query.slide),
            _ => None,
        });
        let windows = windows.collect::<BTreeSet<_>>().len();
        let slices = slices.collect::<BTreeSet<_>>().len();
        (windows + slices) * self.query.values.len().max(1) * BLOCK_IDS * 160
    }

    /// A query with a bit of everything, windows that fire again among it, over keys that keep coming.
    pub fn busy(slide: u64, seed: u64, events: usize, keys: usize) -> Self {
        let query = Query {
            size: 40,
            slide,
            disorder: 5,
            lateness: 20,
            horizon: 500,
            key: KeyField::Wide,
            dense: None,
            filter: Filter::Everything,
            values: vec![
                Value { field: ValueField::Value, mode: Mode::Exact },
                Value { field: ValueField::Other, mode: Mode::Fixed { fraction: 8 } },
            ],
        };
        let stream = Stream {
            seed,
            events,
            lanes: 2,
            keys,
            key_style: KeyStyle::Twins,
            span: 300,
            disorder: 5,
            too_late: (0.05, 60),
            beyond: 0.01,
            horizon: 500,
            idles: 1,
            ..Stream::default()
        };
        Self::new(format!("slide {slide}, {events} events"), &Scenario { query, stream })
    }

    /// Runs it and judges it; `None` when it is too large for a test, or the device says that it cannot hold so
    /// much state.
    pub fn judged(&self, setup: &Setup) -> Option<EngineOutput> {
        let filtered = self.expected.counters.filtered;
        if self.query.lateness / self.query.slide > 1000 && self.state_bytes() > STATE_BYTES_MAX {
            return None;
        }
        let found = match inline::run(&self.query, &self.actions, setup, filtered) {
            Ok(found) => found,
            Err(error @ Error::Unsupported { .. })
                if setup.device.caps().bind_words_max < 1 << 40 =>
            {
                println!("passed over: {error}");
                return None;
            }
            Err(error) => panic!("{}\n{setup:?}: {error}", self.name),
        };
        if let Err(difference) = compare(&self.expected, &found) {
            panic!("{}\n{setup:?}\n{difference}", self.name);
        }
        Some(found)
    }

    /// Runs it and returns how many events were compared.
    pub fn run(&self, setup: &Setup) -> usize {
        self.judged(setup).map_or(0, |_| self.events)
    }
}

/// Random scenarios until so many events were compared at this batch size.
pub fn random(device: &Device, batch: usize, events: usize, longest: usize, from: u64) -> usize {
    let (mut done, mut seed) = (0, from);
    while done < events {
        let case = Case::random(seed);
        if case.events <= longest {
            done += case.run(&Setup::random(device, batch, seed * 31 + batch as u64));
        }
        seed += 1;
    }
    done
}

/// Long streams of everyday shape: many keys, several lanes, each kind of window.
pub fn long(seed: u64, events: usize) -> Scenario {
    let mut rng = SplitMix::new(seed);
    let mut pick = |n: u64| rng.below(n);
    let slide = [1000, 2500, 10_000][usize::try_from(pick(3)).expect("small")];
    let size = slide * [1, 1, 3, 12][usize::try_from(pick(4)).expect("small")];
    let fixed = Mode::Fixed { fraction: 8 };
    let values = [
        vec![Value { field: ValueField::Value, mode: Mode::Exact }],
        vec![Value { field: ValueField::Value, mode: fixed }],
        vec![Value { field: ValueField::Other, mode: fixed }],
        vec![],
    ];
    let query = Query {
        size,
        slide,
        disorder: 500,
        lateness: [0, 0, 2000][usize::try_from(pick(3)).expect("small")],
        horizon: 3_600_000,
        key: [KeyField::Wide, KeyField::Small][usize::try_from(pick(2)).expect("small")],
        dense: None,
        filter: Filter::Everything,
        values: values[usize::try_from(pick(4)).expect("small")].clone(),
    };
    let stream = Stream {
        seed: SplitMix::at(seed, 5),
        events,
        lanes: 1 + u32::try_from(pick(3)).expect("small"),
        keys: 1 << pick(14),
        skew: if pick(2) == 0 { Skew::Zipf(1.0) } else { Skew::Uniform },
        key_style: KeyStyle::Scattered,
        base: 1_800_000_000_000,
        span: slide * 40,
        disorder: 700,
        too_late: (0.001, 10_000),
        beyond: 0.0001,
        horizon: query.horizon,
        specials: 0.001,
        numbers: Numbers::Quarters,
        ..Stream::default()
    };
    Scenario { query, stream }
}

pub fn long_setup(device: &Device, batch: usize, seed: u64) -> Setup {
    Setup {
        chunk: 4096,
        lane_events: 1 << 16,
        keys: 1,
        result_rows: 4096,
        in_flight: 1 + usize::try_from(seed % 4).expect("small"),
        seed,
        ..Setup::new(device, batch)
    }
}

/// Long streams until so many events were compared.
pub fn many(device: &Device, events: usize, each: usize, from: u64) -> usize {
    let (mut done, mut seed) = (0, from);
    while done < events {
        let case = Case::new(format!("long {seed}"), &long(seed, each));
        let batch = if seed.is_multiple_of(2) { 1024 } else { 65_536 };
        done += case.run(&long_setup(device, batch, seed));
        seed += 1;
    }
    done
}

/// Random queries give the same rows on this device as on the processor.
pub fn like_the_processor(device: &Device, seeds: u64) {
    for seed in 0..seeds {
        let case = Case::of(seed + 700, 2000);
        let on = |device: &Device, i: u64| {
            let setup = Setup { all_parts: true, ..Setup::any(device, SplitMix::at(seed, i)) };
            case.judged(&setup).map(|found| found.last_rows())
        };
        let here = on(&Device::cpu(), 1).expect("the processor has room");
        let there = on(device, 2);
        assert!(there.is_none_or(|there| there == here), "{}", case.name);
    }
}
