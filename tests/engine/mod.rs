//! Runs a scenario of the specification through the real engine and gathers what the judge compares.
//!
//! `inline` feeds an engine on the caller's thread, in the scenario's global order; `threads` gives each lane a
//! producer of its own. Wherever the moment at which a lane joins or leaves decides what is late, the engine is
//! settled first, because the specification acts on one thing at a time.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the module")]

use crate::spec::compare::{EngineOutput, EngineRow, EngineStats};
use crate::spec::{self, Counters, Filter, KeyField, Mode, Reading, ValueField};
use pelton::base::rng::SplitMix;
use pelton::{
    Aside, Device, Key, LaneOptions, Options, Policy, Reason, Row, Rows, Stats, Sum, Value,
    Windows, field,
};

pub mod case;
pub mod inline;
pub mod narrow;
pub mod slow;
pub mod threads;

/// How an engine is set up for a scenario. None of it may change what comes out.
#[derive(Debug, Clone)]
pub struct Setup {
    pub device: Device,
    pub batch: usize,
    pub in_flight: usize,
    pub result_rows: usize,
    pub outstanding: usize,
    /// Rows kept in hand before they are read and given back.
    pub hold: usize,
    pub keys: usize,
    pub ttl: bool,
    /// Events that gather per lane before they are fed.
    pub chunk: usize,
    pub lane_events: usize,
    /// Lanes that never say that they are idle are shared ones.
    pub shared: bool,
    /// Ask for every aggregate, or for some that the seed names.
    pub all_parts: bool,
    pub seed: u64,
    /// Devices it moves to while it runs, in turn.
    pub moves: Vec<Device>,
}

impl Setup {
    pub fn new(device: &Device, batch: usize) -> Self {
        Self {
            device: device.clone(),
            batch,
            in_flight: 2,
            result_rows: 4096,
            outstanding: 4,
            hold: 0,
            keys: 1,
            ttl: false,
            chunk: 512,
            lane_events: 4096,
            shared: false,
            all_parts: true,
            seed: 1,
            moves: Vec::new(),
        }
    }

    /// Everything but device and batch size drawn from `seed`.
    pub fn random(device: &Device, batch: usize, seed: u64) -> Self {
        let mut rng = SplitMix::new(seed ^ 0x5E70_0000);
        let mut pick =
            |from: &[usize]| from[usize::try_from(rng.below(from.len() as u64)).expect("an index")];
        Self {
            device: device.clone(),
            batch,
            in_flight: pick(&[1, 2, 3, 4]),
            result_rows: pick(&[16, 16, 100, 4096]),
            outstanding: pick(&[1, 4, 16]),
            hold: pick(&[0, 0, 3]),
            keys: pick(&[1, 1, 5000]),
            ttl: pick(&[0, 1]) == 1,
            chunk: pick(&[1, 7, 64, 512, 4096]),
            lane_events: pick(&[64, 1024, 1 << 14]),
            shared: pick(&[0, 1]) == 1,
            all_parts: pick(&[0, 1]) == 1,
            seed,
            moves: Vec::new(),
        }
    }

    /// As [`Setup::random`], the batch size too.
    pub fn any(device: &Device, seed: u64) -> Self {
        let word = SplitMix::at(seed, 3);
        let bits = word % 17;
        let batch = usize::try_from((1 << bits) + word / 17 % (1 << bits)).expect("small");
        Self::random(device, batch.min(1 << 16), seed)
    }

    pub fn options(&self, policy: Policy) -> Options {
        Options {
            batch_events: self.batch,
            in_flight: self.in_flight,
            outstanding: self.outstanding,
            result_rows: self.result_rows,
            lane: LaneOptions { events: self.lane_events, policy, ..LaneOptions::default() },
            keys: self.keys,
            asides: usize::MAX,
            seed: Some(self.seed),
            ..Options::on(self.device.clone())
        }
    }
}

/// What is asked of one value; the judge compares nothing else.
#[derive(Debug, Clone, Copy)]
struct Asked {
    sum: bool,
    variance: bool,
    extremes: bool,
    first: bool,
    last: bool,
}

impl Asked {
    fn of(setup: &Setup, index: usize, value: spec::Value) -> Self {
        let fixed = value.field == ValueField::Other || matches!(value.mode, Mode::Fixed { .. });
        let word = SplitMix::at(setup.seed, index as u64 + 99);
        let on = |bit: u32| setup.all_parts || word >> bit & 1 == 1;
        let sum = on(0) || word >> 8 & 3 == 0;
        let (variance, first, last) = (sum && fixed && on(1), on(2), on(3));
        // A value of which nothing is asked is not even looked at.
        Self { sum, variance, extremes: on(4) || !(sum || first || last), first, last }
    }
}

/// Scenarios draw dense 64-bit keys; the engine has them in 32 bits only.
pub fn playable(query: &spec::Query) -> spec::Query {
    let key = if query.dense.is_some() { KeyField::Small } else { query.key };
    spec::Query { key, ..query.clone() }
}

/// The query in the engine's terms.
pub fn windows(query: &spec::Query, setup: &Setup) -> Windows<Reading> {
    let values = query.values.iter().enumerate();
    let key = match (query.dense, query.key) {
        (Some(keys), _) => {
            Key::dense(field!(Reading.small), u32::try_from(keys).expect("few keys"))
        }
        (None, KeyField::Wide) => Key::hashed(field!(Reading.key)),
        (None, KeyField::Small) => Key::hashed(field!(Reading.small)),
    };
    Windows {
        key,
        slide: query.slide,
        values: values.map(|(i, v)| value(*v, Asked::of(setup, i, *v))).collect(),
        filter: match query.filter {
            Filter::Everything => None,
            Filter::OtherAtLeast(least) => Some(pelton::Filter::ge(field!(Reading.other), least)),
            Filter::ValueBelow(bound) => Some(pelton::Filter::lt(field!(Reading.value), bound)),
        },
        disorder: query.disorder,
        lateness: query.lateness,
        horizon: query.horizon,
        ttl: setup.ttl.then(|| query.size.saturating_add(query.lateness)),
        ..Windows::tumbling(field!(Reading.at), query.size)
    }
}

fn value(value: spec::Value, asked: Asked) -> Value<Reading> {
    let mut made = match value.field {
        ValueField::Value => Value::exact(field!(Reading.value)),
        ValueField::Other => Value::exact(field!(Reading.other)),
        ValueField::Half => Value::exact(field!(Reading.half)),
        ValueField::Brain => Value::exact(field!(Reading.brain)),
    };
    made.sum = match value.mode {
        _ if !asked.sum => Sum::None,
        // Integers are in fixed point already, whatever is asked.
        _ if value.field == ValueField::Other => Sum::Fixed { fraction_bits: 0 },
        Mode::Exact => Sum::Exact,
        Mode::Fixed { fraction } => Sum::Fixed { fraction_bits: fraction },
    };
    (made.extremes, made.variance) = (asked.extremes, asked.variance);
    (made.first, made.last) = (asked.first, asked.last);
    made
}

/// Gathers rows and asides in the judge's terms.
pub struct Gathered<'a> {
    query: &'a spec::Query,
    setup: &'a Setup,
    pub out: EngineOutput,
}

impl<'a> Gathered<'a> {
    pub fn new(query: &'a spec::Query, setup: &'a Setup) -> Self {
        Self { query, setup, out: EngineOutput::default() }
    }

    pub fn rows(&mut self, rows: &Rows) {
        assert_eq!(rows.lost, 0, "no lane dropped an event");
        assert!(
            (rows.complete || !rows.is_empty()) && rows.len() <= self.setup.result_rows,
            "{} rows",
            rows.len()
        );
        for row in rows.iter() {
            let values = self.query.values.iter().enumerate();
            let values = values.map(|(i, v)| stats(&row, i, Asked::of(self.setup, i, *v)));
            self.out.rows.push(EngineRow {
                key: row.key(),
                start: row.start(),
                end: row.end(),
                count: row.count(),
                values: values.collect(),
            });
        }
    }

    pub fn asides(&mut self, asides: Vec<Aside<Reading>>) {
        for aside in asides {
            let reason = match aside.reason {
                Reason::Late => spec::Reason::Late,
                Reason::Beyond => spec::Reason::Beyond,
                Reason::Key => spec::Reason::Key,
                other => panic!("no event is set aside for {other:?} here"),
            };
            self.out.asides.push((aside.event, reason));
        }
    }

    /// The counters. `accepted` counts the same on both sides: what passed lateness and horizon, filtered events and
    /// bad keys included. What a filter drops, the engine does not count: rows show it.
    pub fn finish(mut self, stats: &Stats, events: u64, filtered: u64) -> EngineOutput {
        assert_eq!(stats.events, events, "every event was taken from its lane");
        assert_eq!((stats.asides_lost, stats.full, stats.dropped), (0, 0, 0));
        assert!(stats.late_after_join <= stats.late);
        assert_eq!(stats.event.count(), events, "every event has a latency");
        self.out.counters = Counters {
            accepted: stats.accepted,
            late: stats.late,
            beyond: stats.beyond,
            bad_key: stats.bad_key,
            filtered,
            jumps: stats.jumps,
        };
        self.out
    }
}

fn stats(row: &Row<'_>, value: usize, asked: Asked) -> EngineStats {
    let on = |is: bool, get: &dyn Fn(usize) -> f64| is.then(|| get(value));
    EngineStats {
        nan: Some(row.nan(value)),
        outside: asked.sum.then(|| row.outside(value)),
        min: on(asked.extremes, &|i| row.min(i)),
        max: on(asked.extremes, &|i| row.max(i)),
        sum: on(asked.sum, &|i| row.sum(i)),
        mean: on(asked.sum, &|i| row.mean(i)),
        variance: on(asked.variance, &|i| row.variance(i)),
        sample_variance: on(asked.variance, &|i| row.variance_sample(i)),
        first: on(asked.first, &|i| row.first(i)),
        last: on(asked.last, &|i| row.last(i)),
    }
}
