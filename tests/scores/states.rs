//! States that leave a query and come back, to it or to another one.

use super::{Reading, Scored, settle, stream};
use pelton::{Device, Inline, LaneOptions, Options, Scores, States};
use std::collections::BTreeSet;

/// An engine of few keys in small batches.
pub fn engine(device: &Device, query: Scores<Reading>, keys_max: usize) -> Inline<Reading> {
    let options = Options {
        batch_events: 64,
        in_flight: 2,
        outstanding: 4,
        lane: LaneOptions { events: 1 << 14, ..LaneOptions::default() },
        keys: 1,
        keys_max,
        seed: Some(3),
        ..Options::on(device.clone())
    };
    Inline::new(query, options).expect("the query runs")
}

/// Scores `events` in pieces of `chunk`, through one lane.
pub fn feed(engine: &mut Inline<Reading>, events: &[Reading], chunk: usize) -> Scored {
    let mut lane = engine.lane().expect("it takes lanes");
    let mut scored = Scored::new();
    for chunk in events.chunks(chunk) {
        chunk.iter().for_each(|&event| lane.push(event).expect("there is room"));
        settle(engine, &mut scored);
    }
    scored
}

fn key_of(event: &Reading, is_wide: bool) -> u64 {
    if is_wide { event.wide } else { event.key.into() }
}

/// Scores a stream in a query that has room for few of its keys; what it forgets is kept here, and brought back just
/// before a key's next events. Holds the scores to those of a query with room for all; returns how many states went.
pub fn same_forgotten(
    device: &Device,
    query: impl Fn() -> Scores<Reading>,
    (keys, keys_max, is_wide): (u32, usize, bool),
    (seed, n): (u64, usize),
) -> u64 {
    let events = stream(seed, n, keys);
    let want = feed(&mut engine(&Device::cpu(), query(), 1 << 16), &events, 1000);
    let mut few = engine(device, Scores { evict: true, ..query() }, keys_max);
    let mut lane = few.lane().expect("it takes lanes");
    let mut got = Scored::new();
    let mut away: Option<States> = None;
    for chunk in events.chunks(keys_max / 4) {
        let coming: BTreeSet<u64> = chunk.iter().map(|event| key_of(event, is_wide)).collect();
        // What comes back may drive out others.
        loop {
            settle(&mut few, &mut got);
            match (&mut away, few.forgotten()) {
                (Some(away), Some(gone)) => away.extend(&gone).expect("of one kind"),
                (away, gone) => *away = away.take().or(gone),
            }
            let Some(away) = &mut away else { break };
            let mut back = away.clone();
            back.retain(|key| coming.contains(&key));
            away.retain(|key| !coming.contains(&key));
            if back.is_empty() {
                break;
            }
            few.restore(&back).expect("they were its own");
        }
        chunk.iter().for_each(|&event| lane.push(event).expect("there is room"));
    }
    settle(&mut few, &mut got);
    assert!(got == want, "a key that was away scores as one that was not");
    let stats = few.stats();
    assert_eq!((stats.bad_key, stats.states_lost), (0, 0));
    assert!(stats.keys <= keys_max as u64 + 64, "{} keys", stats.keys);
    stats.expired
}

/// Scores half of a stream on one device, takes all states through bytes to another query on another device, and goes
/// on there. Holds the scores to those of one query.
pub fn same_restored(
    (from, to): (&Device, &Device),
    query: impl Fn() -> Scores<Reading>,
    (seed, n): (u64, usize),
) {
    let events = stream(seed, n, 40);
    let want = feed(&mut engine(&Device::cpu(), query(), 1 << 16), &events, 1000);
    let (early, late) = events.split_at(n / 2);
    let mut first = engine(from, query(), 1 << 16);
    let mut got = feed(&mut first, early, 500);
    let bytes = first.states().expect("it has states").to_bytes();
    let mut second = engine(to, query(), 1 << 16);
    let states = States::from_bytes(&bytes).expect("as they were made");
    second.restore(&states).expect("of the same query");
    for (key, scores) in feed(&mut second, late, 700) {
        got.entry(key).or_default().extend(scores);
    }
    assert!(got == want, "scores go on where they were");
}
