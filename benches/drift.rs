//! A2-drift: how rarely the tests for drift forget a key that stays as it is, and how soon one that does not.
//!
//! Forgotten in vain: one key of 1,000,000 events of each kind of stream. Delay: 101 keys of Gaussian values, of which
//! all change at event 6000 and stay so for 6000 more; the median of how many events that takes, and how many keys are
//! found at all. Scores are by distances, with the defaults of `Scores` and `Drift`. `PELTON_DRIFT_EVENTS` shortens the
//! streams.
//!
//! The table goes to standard error. The row is what ADWIN forgets in vain over all kinds, and should be no more than
//! what Page's test does.

#[path = "common/machine.rs"]
mod machine;
#[path = "common/streams.rs"]
mod streams;

use machine::machine;
use pelton::base::rng::SplitMix;
use pelton::{
    Device, Drift, Inline, Key, LaneOptions, Options, Pod, Result, Scores, Zeroable, field,
};
use streams::{KINDS, Make, autocorrelated, normal, seasonal};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    key: u32,
    value: f32,
}

/// Where keys change, and for how long they are watched then.
const BEFORE: u32 = 6000;
const AFTER: u32 = 6000;
const KEYS: u32 = 101;

/// Kinds of streams beside those that scores are held by.
const FURTHER: [(&str, Make); 2] = [
    ("season of 1440", |rng, i, _| seasonal(rng, i, 1440.0)),
    ("autocorrelated, 0.99", |rng, _, x| autocorrelated(rng, x, 0.99)),
];

/// What values become: their mean and deviation.
const CHANGES: [(&str, f64, f64); 6] = [
    ("mean up by 1 deviation", 1.0, 1.0),
    ("mean up by 3", 3.0, 1.0),
    ("mean up by 12", 12.0, 1.0),
    ("deviation times 2", 0.0, 2.0),
    ("deviation times 3", 0.0, 3.0),
    ("deviation halved", 0.0, 0.5),
];

/// Scores `events` events of each of `keys` keys; gives the key and number of each at which a key drifts.
fn drifts(
    drift: Drift,
    (keys, events): (u32, u32),
    mut value: impl FnMut(u32, u32) -> f64,
) -> Result<Vec<(u32, u32)>> {
    let query = Scores {
        key: Key::dense(field!(Reading.key), keys),
        drift: Some(drift),
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    };
    let lane = LaneOptions { events: 1 << 16, ..LaneOptions::default() };
    let mut engine = Inline::new(query, Options { lane, ..Options::on(Device::cpu()) })?;
    let mut lane = engine.lane()?;
    let mut found = Vec::new();
    for i in 0..events {
        for key in 0..keys {
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            let value = value(key, i) as f32;
            let pushed = lane.push(Reading { at: i.into(), key, value });
            assert!(pushed.is_ok(), "the lane has room");
        }
        // A lane holds 65,536 events that were pushed one by one.
        if i % (10_000 / keys) == 0 || i + 1 == events {
            #[allow(clippy::cast_possible_truncation, reason = "as they were made")]
            engine.settle(|rows| {
                let drifted = rows.scores().filter(|score| score.drifted());
                found.extend(drifted.map(|score| (score.key() as u32, score.time() as u32)));
            })?;
        }
    }
    Ok(found)
}

/// How often a key that stays as it is drifts.
fn in_vain(drift: Drift, make: Make, events: u32) -> Result<usize> {
    let (mut rng, mut x) = (SplitMix::new(1), 0.0);
    Ok(drifts(drift, (1, events), |_, i| make(&mut rng, i, &mut x))?.len())
}

/// The median of events until a key that changes is found, and how many of [`KEYS`] are.
fn delay(drift: Drift, mean: f64, deviation: f64) -> Result<(Option<u32>, usize)> {
    let mut rng = SplitMix::new(2);
    let value = |_, i| {
        normal(&mut rng) * if i < BEFORE { 1.0 } else { deviation }
            + if i < BEFORE { 0.0 } else { mean }
    };
    let mut after = vec![None; KEYS as usize];
    for (key, at) in drifts(drift, (KEYS, BEFORE + AFTER), value)? {
        let first = &mut after[key as usize];
        *first = first.or(at.checked_sub(BEFORE));
    }
    let found = after.iter().flatten().count();
    after.sort_unstable_by_key(|at| at.unwrap_or(u32::MAX));
    Ok((after[after.len() / 2], found))
}

fn main() -> Result<()> {
    let events = std::env::var("PELTON_DRIFT_EVENTS").ok().and_then(|n| n.parse().ok());
    let events = events.unwrap_or(1_000_000);
    let tests = [Drift::page(), Drift::adwin()];
    let mut all = [0; 2];
    eprintln!("| forgotten in vain, of {events} events | Page | ADWIN |\n|---|---|---|");
    for (kind, make) in KINDS.into_iter().chain(FURTHER) {
        let counts = [in_vain(tests[0], make, events)?, in_vain(tests[1], make, events)?];
        eprintln!("| {kind} | {} | {} |", counts[0], counts[1]);
        all = [all[0] + counts[0], all[1] + counts[1]];
    }
    eprintln!("\n| events until it is found, keys of {KEYS} | Page | ADWIN |\n|---|---|---|");
    let tell = |(median, found): (Option<u32>, usize)| {
        median.map_or(format!("never ({found})"), |median| format!("{median} ({found})"))
    };
    for (change, mean, deviation) in CHANGES {
        let [page, adwin] = [delay(tests[0], mean, deviation)?, delay(tests[1], mean, deviation)?];
        eprintln!("| {change} | {} | {} |", tell(page), tell(adwin));
    }
    let (kinds, [page, adwin]) = (KINDS.len() + FURTHER.len(), all);
    println!(
        "{{\"id\":\"A2-drift\",\"value\":{adwin},\"unit\":\"keys forgotten in vain\",\"peer\":\"Page's test\",\
         \"version\":null,\"peer_value\":{page},\"ratio\":{:.3},\"bound\":1,\"ok\":{},\"why\":\"by ADWIN, of one \
         key each of {kinds} kinds of streams of {events} events\",\"rounds\":1,\"machine\":\"{}\"}}",
        adwin as f64 / page.max(1) as f64,
        adwin <= page,
        machine(),
    );
    Ok(())
}
