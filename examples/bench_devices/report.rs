//! The report of one device, schema 1: what was run, how, where, and every figure with what it was made from.

use super::host;
use super::json::{Json, object};
use super::load::{self, Closed, EVENT_BYTES, Open};
use super::peers::{Digest, KEYS, RATE};
use super::sample::{SPREAD_MAX, Steady, TREND_MAX};
use pelton::device::Device;
use std::time::Duration;

/// How the measurement is made; equal in two reports that may be compared.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    /// Of the closed loop, and of each point of the open one.
    pub(crate) time: Duration,
    pub(crate) warm: Duration,
    /// Rates of the open loop, in percent of what the closed loop took on average: its best slot may be more
    /// than any device can go on with.
    pub(crate) shares: Vec<u64>,
    /// Events of the digest, which are also the ones repeated.
    pub(crate) events: u64,
    /// How far the figures may be trusted: `smoke` on a shared machine, `measured` on a quiet one.
    pub(crate) grade: String,
}

/// The generator may be late by this share of the latency that it is part of.
const LAG_SHARE: f64 = 0.5;
/// The generator has to commit this share of what was due.
const ACHIEVED_MIN: f64 = 0.98;

/// Everything about one device before anything is measured.
pub(crate) fn front(device: &Device, protocol: &Protocol) -> Vec<(String, Json)> {
    let caps = device.caps();
    let (low, high) = caps.subgroup;
    let unlimited = caps.bind_words_max >= usize::MAX / 4;
    let bytes = caps.bind_words_max as u64 * 4;
    let bytes = if unlimited { "unlimited".into() } else { bytes.into() };
    let device = object([
        ("name", caps.name.as_str().into()),
        ("driver", caps.driver.as_str().into()),
        ("software", caps.software.into()),
        ("in_place", caps.in_place.into()),
        ("serial", caps.serial.into()),
        ("bind_bytes_max", bytes),
        ("subgroup", vec![u64::from(low), u64::from(high)].into()),
        ("f16", caps.f16.into()),
    ]);
    let workload = object([
        ("name", "tumbling windows by key".into()),
        ("keys", (KEYS as u64).into()),
        ("distribution", "Zipf, s = 1".into()),
        ("events_repeated", protocol.events.into()),
        ("events_per_event_second", RATE.into()),
        ("event_bytes", (EVENT_BYTES as u64).into()),
        ("window_ms", load::WINDOW_MS.into()),
        ("disorder_ms", load::DISORDER_MS.into()),
        ("aggregates", "count, sum, min, max".into()),
    ]);
    let how = object([
        ("seconds", protocol.time.as_secs_f64().into()),
        ("warm_up_seconds", protocol.warm.as_secs_f64().into()),
        ("priming_events", load::PRIMING.into()),
        ("slots", u64::from(load::SLOTS).into()),
        ("spread_max", SPREAD_MAX.into()),
        ("trend_max", TREND_MAX.into()),
        ("arrivals", "Poisson, in runs".into()),
        ("seed", load::SEED.into()),
        ("open_run_events", (load::OPEN_RUN as u64).into()),
        ("closed_run_events", (load::CLOSED_RUN as u64).into()),
        ("lane_events", (load::LANE_EVENTS as u64).into()),
        ("shares_percent", protocol.shares.clone().into()),
        ("lanes", 1u64.into()),
    ]);
    let pairs = [
        ("schema", 1u64.into()),
        ("kind", "pelton bench_devices".into()),
        ("grade", protocol.grade.as_str().into()),
        ("device", device),
        ("workload", workload),
        ("precision", "f32 values, sums in 64-bit fixed point with 2 bits of fraction".into()),
        ("protocol", how),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The digest and its verdict.
pub(crate) fn digest(got: &Digest, want: &Digest) -> Json {
    let json = |digest: &Digest| {
        object([
            ("rows", digest.rows.into()),
            ("count", digest.count.into()),
            ("sum", digest.sum.into()),
            ("min", digest.min.into()),
            ("max", digest.max.into()),
        ])
    };
    object([("ok", (got == want).into()), ("got", json(got)), ("want", json(want))])
}

/// The closed loop: peak beside steady state.
pub(crate) fn closed(closed: &Closed, steady: &Steady) -> Json {
    object([
        ("peak", steady.peak.into()),
        ("steady", steady.mean.into()),
        ("is_steady", steady.holds().into()),
        ("verdict", steady.verdict().into()),
        ("spread", steady.spread.into()),
        ("trend", steady.trend.into()),
        ("slots", closed.slots.clone().into()),
    ])
}

/// Why a point of the curve means nothing, or means something else; `ok` otherwise.
#[allow(clippy::cast_precision_loss, reason = "nanoseconds of a short run")]
pub(crate) fn verdict(open: &Open) -> &'static str {
    let tail = |q| open.lag.quantile(q).zip(open.event.quantile(q));
    let pair = tail(0.99).or_else(|| open.lag.max().zip(open.event.max()));
    if open.unfinished > 0 {
        "overloaded: events were left over"
    } else if open.waits > 0 && open.achieved < ACHIEVED_MIN * open.due {
        "overloaded: the lane was full and the rate not held"
    } else if open.achieved < ACHIEVED_MIN * open.due {
        "invalid: the generator did not keep its rate"
    } else if pair.is_some_and(|(lag, latency)| lag as f64 > LAG_SHARE * latency as f64) {
        "invalid: most of the latency is the generator's lag"
    } else {
        "ok"
    }
}

/// One point of the curve.
pub(crate) fn open(open: &Open, share: u64) -> Json {
    let verdict = verdict(open);
    object([
        ("share_percent", share.into()),
        ("rate", open.rate.into()),
        ("due", open.due.into()),
        ("achieved", open.achieved.into()),
        ("valid", (!verdict.starts_with("invalid")).into()),
        ("verdict", verdict.into()),
        ("waits", open.waits.into()),
        ("unfinished", open.unfinished.into()),
        ("event_ns", open.event.json()),
        ("result_ns", open.result.json()),
        ("generator_lag_ns", open.lag.json()),
    ])
}

/// What the host spends, and what moves, against what its memory can move.
#[allow(clippy::cast_precision_loss, reason = "events of a short run")]
pub(crate) fn costs(closed: &Closed, steady: &Steady, copy: f64, upload: Json) -> Json {
    let unknown = || Json::from(host::UNKNOWN);
    let each = |seconds: Option<f64>| seconds.map(|s| s * 1e9 / closed.events.max(1) as f64);
    let number = |value: Option<f64>| value.map_or_else(unknown, Json::from);
    let engine = closed.process_seconds.zip(closed.producer_seconds);
    let engine = engine.map(|(process, producer)| (process - producer).max(0.0));
    let moved = steady.mean * EVENT_BYTES as f64;
    let share = match &upload {
        Json::Number(bytes) => (moved / bytes).into(),
        words => words.clone(),
    };
    object([
        ("cpu_ns_per_event", number(each(closed.process_seconds))),
        ("cpu_ns_per_event_producer", number(each(closed.producer_seconds))),
        ("cpu_ns_per_event_engine", number(each(engine))),
        ("events", closed.events.into()),
        ("event_bytes_per_second", moved.into()),
        ("copy_bytes_per_second", copy.into()),
        ("share_of_copy", (moved / copy).into()),
        ("upload_bytes_per_second", upload),
        ("share_of_upload", share),
    ])
}
