//! What scores have learnt leaves a query and comes back, and does no harm wherever it comes from.

use crate::scores::states::{engine, feed, same_forgotten, same_restored};
use crate::scores::{
    self, CROWDED, MIXED, Reading, SHORT, arts, cutting, dense, drifting, ensemble, forest,
    half_spaces, loda, periodic, profiles, seasonal, settle, spectrals, stream, sub_pcas, wide,
};
use pelton::base::rng::SplitMix;
use pelton::{
    Device, Error, HalfSpaces, Inline, Key, Loda, Options, Pipeline, Profile, Scores, Spectral,
    States, SubPca, Windows, field,
};
use std::time::Duration;

fn narrow() -> Scores<Reading> {
    Scores { key: Key::hashed(field!(Reading.key)), ..wide() }
}

/// Whose windows are full after few events.
const TREES: HalfSpaces = HalfSpaces { trees: 4, height: 5, window: 20 };

/// As soon.
const LODA: Loda = Loda { projections: 4, cells: 16, window: 20 };

/// By shape, which has the most state.
const PROFILE: Profile = Profile { points: 256, window: 8, shape: true };

/// Whose window is full as soon.
const PCA: SubPca = SubPca { window: 8, rank: 3 };

/// The shortest.
const SPECTRAL: Spectral = Spectral { window: 32 };

/// Events of one key after another, `each` of them.
fn in_turn(keys: u32, each: u64) -> Vec<Reading> {
    let event = |i: u64| Reading {
        at: i,
        wide: i / each,
        key: u32::try_from(i / each).expect("few keys"),
        value: (i % 7) as f32,
        other: 1.0,
        count: 3,
    };
    (0..u64::from(keys) * each).map(event).collect()
}

#[test]
fn forgotten_keys_go_on_once_they_are_back() {
    let cpu = Device::cpu();
    for seed in 0..3 {
        for room in [24, 32, 61] {
            let gone = same_forgotten(&cpu, wide, (100, room, true), (seed, 4000));
            assert!(gone > 500, "{gone} states went");
            same_forgotten(&cpu, narrow, (100, room, false), (seed, 2000));
        }
        same_forgotten(&cpu, || forest(64), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || half_spaces(TREES), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || seasonal(SHORT, wide()), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || seasonal(MIXED, wide()), (60, 32, true), (seed, 3000));
        same_forgotten(&cpu, || loda(LODA), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || ensemble(wide()), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || drifting(wide()), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || cutting(ensemble(wide())), (60, 32, true), (seed, 1500));
        same_forgotten(&cpu, || cutting(wide()), (20, 16, true), (seed, 9000));
        same_forgotten(&cpu, || profiles(PROFILE), (60, 32, true), (seed, 3000));
        same_forgotten(&cpu, || sub_pcas(PCA), (60, 32, true), (seed, 3000));
        same_forgotten(&cpu, || spectrals(SPECTRAL), (30, 16, true), (seed, 3000));
        same_forgotten(&cpu, || arts(CROWDED), (60, 32, true), (seed, 3000));
    }
}

#[test]
fn states_go_on_in_another_query() {
    let cpu = Device::cpu();
    for seed in 0..3 {
        same_restored((&cpu, &cpu), wide, (seed, 8000));
        same_restored((&cpu, &cpu), narrow, (seed, 8000));
        same_restored((&cpu, &cpu), || dense(40), (seed, 8000));
        same_restored((&cpu, &cpu), || forest(128), (seed, 3000));
        same_restored((&cpu, &cpu), periodic, (seed, 3000));
        same_restored((&cpu, &cpu), || half_spaces(TREES), (seed, 3000));
        same_restored((&cpu, &cpu), || seasonal(SHORT, wide()), (seed, 3000));
        same_restored((&cpu, &cpu), || seasonal(MIXED, wide()), (seed, 6000));
        same_restored((&cpu, &cpu), || loda(LODA), (seed, 3000));
        same_restored((&cpu, &cpu), || ensemble(wide()), (seed, 3000));
        same_restored((&cpu, &cpu), || profiles(PROFILE), (seed, 3000));
        same_restored((&cpu, &cpu), || sub_pcas(PCA), (seed, 3000));
        same_restored((&cpu, &cpu), || spectrals(SPECTRAL), (seed, 3000));
        same_restored((&cpu, &cpu), || arts(CROWDED), (seed, 3000));
        same_restored((&cpu, &cpu), || cutting(dense(40)), (seed, 9000));
        same_restored((&cpu, &cpu), || cutting(ensemble(wide())), (seed, 9000));
    }
}

/// More keys than there is room for, once each and again: none is turned away, and those seen last stay.
#[test]
fn keys_make_room_for_others() {
    let query = Scores { evict: true, ..narrow() };
    let mut engine = engine(&Device::cpu(), query, 1000);
    let events = in_turn(50_000, 1);
    let scored = feed(&mut engine, &events, 500);
    assert_eq!(scored.len(), 50_000);
    let stats = engine.stats();
    assert_eq!(stats.bad_key, 0);
    assert!(stats.keys <= 1064 && stats.expired >= 49_000 - 64, "{stats:?}");
    let states = engine.states().unwrap();
    assert_eq!(states.len() as u64, stats.keys);
    // An eighth goes at a time.
    assert!(states.keys().iter().all(|&key| key >= 50_000 - 1064), "the last ones stayed");
    let gone = engine.forgotten().expect("many went");
    assert_eq!(gone.len() as u64, stats.expired);
    let mut all: Vec<u64> = gone.keys().iter().chain(states.keys()).copied().collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..50_000), "each key is here or there");
    assert!(engine.forgotten().is_none());
}

/// States that are brought back do not drive out each other, but what was there before.
#[test]
fn what_is_brought_back_goes_last() {
    let mut engine = engine(&Device::cpu(), Scores { evict: true, ..narrow() }, 64);
    feed(&mut engine, &in_turn(60, 1), 60);
    let mut states = engine.states().unwrap();
    states.retain(|key| key < 7);
    states.rename(|key| key + 1000);
    engine.restore(&states).unwrap();
    feed(&mut engine, &in_turn(1, 1), 1);
    let held = engine.states().unwrap();
    assert_eq!((held.len(), engine.stats().expired), (8, 60));
    assert!(held.keys().iter().all(|&key| key == 0 || key >= 1000), "{held:?}");
}

#[test]
fn keys_not_seen_for_long_are_forgotten() {
    let query = Scores { ttl: Some(800), ..narrow() };
    let mut engine = engine(&Device::cpu(), query, 1 << 16);
    // Key 0 comes in between all the time, the others for 100 ticks each.
    let mut events = in_turn(40, 100);
    events.iter_mut().step_by(10).for_each(|event| event.key = 0);
    feed(&mut engine, &events, 50);
    let (held, gone) = (engine.states().unwrap(), engine.forgotten().unwrap());
    let mut held: Vec<u64> = held.keys().to_vec();
    held.sort_unstable();
    // Time stands at 3999: whoever was seen since 3199 stays, who was not since 3099 is gone.
    assert!(held.starts_with(&[0]) && held.ends_with(&[32, 33, 34, 35, 36, 37, 38, 39]));
    assert!(held[1..].iter().all(|&key| key >= 29), "{held:?}");
    assert!(gone.keys().iter().all(|&key| (1..32).contains(&key)), "{gone:?}");
    assert_eq!(gone.len() + held.len(), 40);
    assert_eq!(engine.stats().expired, gone.len() as u64);
    // A key that is not brought back is new.
    let back = Reading { at: 4000, key: 3, ..events[0] };
    assert_eq!(feed(&mut engine, &[back], 1)[&3][0][9], 1);
    let mut again = gone.clone();
    again.retain(|key| key == 4);
    engine.restore(&again).unwrap();
    let back = Reading { at: 4001, key: 4, ..events[0] };
    assert_eq!(feed(&mut engine, &[back], 1)[&4][0][9], 91);
}

#[test]
fn states_that_nobody_fetches_are_counted() {
    let query = Scores { evict: true, ..narrow() };
    let options = Options {
        batch_events: 64,
        keys_max: 100,
        forgotten_bytes: 50 * 320,
        ..Options::on(Device::cpu())
    };
    let mut engine = Inline::new(query, options).unwrap();
    feed(&mut engine, &in_turn(500, 1), 50);
    let (stats, gone) = (engine.stats(), engine.forgotten().unwrap());
    assert_eq!((gone.len(), gone.bytes()), (50, 50 * 320));
    assert_eq!(stats.states_lost + 50, stats.expired);
}

#[test]
fn a_running_pipeline_answers_and_takes_states_in() {
    let (feeds, results) = Pipeline::start(narrow(), Options::on(Device::cpu()))
        .map(|p| (p.monitor(), p.split()))
        .map(|(monitor, (feeds, results))| ((feeds, monitor), results))
        .unwrap();
    let (feeds, monitor) = feeds;
    let mut lane = feeds.lane().unwrap();
    in_turn(3, 400).into_iter().for_each(|event| lane.push(event).unwrap());
    while monitor.stats().accepted < 1200 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut states = monitor.states().unwrap();
    assert_eq!(states.len(), 3);
    states.retain(|key| key == 2);
    states.rename(|_| 77);
    monitor.restore(states).unwrap();
    lane.push(Reading { at: 1200, key: 77, ..in_turn(1, 1)[0] }).unwrap();
    drop((lane, feeds));
    let mut seen = 0;
    for rows in results {
        seen = rows
            .unwrap()
            .scores()
            .filter(|s| s.key() == 77)
            .map(|s| s.seen())
            .sum::<u64>()
            .max(seen);
    }
    assert_eq!(seen, 401);
    assert!(matches!(monitor.states(), Err(Error::Source { .. })));
}

#[test]
fn mistakes_are_named() {
    let says = |error: Error, what: &str| {
        assert!(matches!(&error, Error::Invalid(text) if text.contains(what)), "{error}");
    };
    let mut one = engine(&Device::cpu(), narrow(), 2);
    feed(&mut one, &in_turn(2, 10), 20);
    let mut states = one.states().unwrap();
    let mut other = engine(&Device::cpu(), dense(5), 5);
    says(other.restore(&states).unwrap_err(), "3 values");
    says(other.states().unwrap().extend(&states).unwrap_err(), "not of 1 values");
    let mut by_windows = engine(&Device::cpu(), cutting(narrow()), 2);
    says(by_windows.restore(&states).unwrap_err(), "3 values by distances; drift by ADWIN");
    states.rename(|key| key + 2);
    says(one.restore(&states).unwrap_err(), "keys_max is 2");
    states.rename(|key| key + (1 << 32));
    says(one.restore(&states).unwrap_err(), "below 4294967296");
    let mut windows =
        Inline::new(Windows::tumbling(field!(Reading.at), 10), Options::on(Device::cpu())).unwrap();
    says(windows.states().unwrap_err(), "only Scores");
    says(windows.restore(&states).unwrap_err(), "only Scores");
    // Nothing has changed.
    assert_eq!(feed(&mut one, &in_turn(1, 1), 1)[&0][0][9], 11);
    let query = Scores { ttl: Some(0), ..narrow() };
    says(Inline::new(query, Options::on(Device::cpu())).unwrap_err(), "ttl: 0");
}

/// Of several states of a key the last one counts, and keys that are there are overwritten.
#[test]
fn the_last_state_of_a_key_counts() {
    let mut engine = engine(&Device::cpu(), narrow(), 100);
    let mut events = in_turn(3, 10);
    events.truncate(25);
    feed(&mut engine, &events, 25);
    let mut states = engine.states().unwrap();
    assert_eq!(states.keys(), [0, 1, 2]);
    states.rename(|_| 1);
    engine.restore(&states).unwrap();
    let next = Reading { at: 99, key: 1, ..events[0] };
    assert_eq!(feed(&mut engine, &[next], 1)[&1][0][9], 6, "as key 2, which had seen five");
    assert_eq!(engine.stats().keys, 3);
}

/// Queries of all kinds of states.
const KINDS: [fn() -> Scores<Reading>; 12] = [
    narrow,
    || dense(40),
    || Scores { key: Key::hashed(field!(Reading.key)), ..periodic() },
    || seasonal(MIXED, narrow()),
    || ensemble(dense(40)),
    || Scores { key: Key::hashed(field!(Reading.key)), ..loda(LODA) },
    || Scores { key: Key::hashed(field!(Reading.key)), ..profiles(PROFILE) },
    || Scores { key: Key::hashed(field!(Reading.key)), ..sub_pcas(PCA) },
    || Scores { key: Key::hashed(field!(Reading.key)), ..spectrals(SPECTRAL) },
    || Scores { key: Key::hashed(field!(Reading.key)), ..arts(CROWDED) },
    || cutting(dense(40)),
    || cutting(ensemble(narrow())),
];

/// Bytes from anywhere are refused or do no harm: no panic, and every score of what comes after is finite.
#[test]
fn hostile_bytes_do_no_harm() {
    let events = stream(4, 3000, 8);
    let (mut refused, mut rng) = (0, SplitMix::new(11));
    for query in KINDS {
        let mut first = engine(&Device::cpu(), query(), 1 << 10);
        feed(&mut first, &events[..2000], 500);
        let good = first.states().unwrap();
        assert_eq!(States::from_bytes(&good.to_bytes()).unwrap(), good);
        for round in 0..120 {
            let mut bytes = good.to_bytes();
            let size = bytes.len() as u64;
            match round % 4 {
                0 => bytes.truncate(usize::try_from(rng.below(size)).unwrap()),
                1 => bytes.extend([0; 4]),
                _ => {
                    // A word of the head, or one of the states, gets any bits, those of an awkward number, or one
                    // of its lower bits turned.
                    let words = if round % 8 < 6 { size / 4 } else { 8 };
                    let at = 4 * usize::try_from(rng.below(words)).unwrap();
                    let was = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                    let word = match rng.below(6) {
                        0 => f32::NAN.to_bits(),
                        1 => f32::INFINITY.to_bits(),
                        2 => u32::MAX,
                        3 | 4 => was ^ 1 << rng.below(22),
                        _ => pelton::ops::batch::lo(rng.next_u64()),
                    };
                    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
            }
            let Ok(states) = States::from_bytes(&bytes) else {
                refused += 1;
                continue;
            };
            let mut second = engine(&Device::cpu(), query(), 1 << 10);
            if second.restore(&states).is_err() {
                refused += 1;
                continue;
            }
            for score in feed(&mut second, &events[2000..], 500).values().flatten() {
                let floats = [5, 6, 7, 8].map(|at| f32::from_bits(score[at]));
                assert!(floats.iter().all(|x| x.is_finite()), "{score:x?}");
            }
        }
    }
    assert!((980..1400).contains(&refused), "{refused} of 1440 refused");
    for bytes in
        [&b""[..], b"PLTSCORE", &[0; 32], b"something else that is longer than a head of 32"]
    {
        assert!(matches!(States::from_bytes(bytes), Err(Error::Invalid(_))));
    }
    let mut empty = engine(&Device::cpu(), narrow(), 10);
    let none = empty.states().unwrap();
    assert!(none.is_empty() && States::from_bytes(&none.to_bytes()).unwrap() == none);
    empty.restore(&none).unwrap();
    let mut scored = scores::Scored::new();
    settle(&mut empty, &mut scored);
}
