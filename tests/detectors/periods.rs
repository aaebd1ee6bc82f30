//! Seasons of a length that nobody names (`ops::period`, `Season::learnt`): which are found, when, and what is not.

#[path = "../spec/period.rs"]
mod spec;

use crate::scores::states::{engine, feed};
use crate::scores::{Reading, Setup, dense, learnt_stream, normal, run, seasonal, unit};
use pelton::base::rng::SplitMix;
use pelton::ops::batch::lo;
use pelton::ops::period::{self, PLACE_MAX, words};
use pelton::ops::score::ALERT;
use pelton::{Device, Drift, Period, Scores, Season};
use std::f64::consts::TAU;

/// A value by the number of its event, or nothing.
type Make = Box<dyn FnMut(&mut SplitMix, u32) -> Option<f64>>;

/// One event a slot of each key.
fn events(keys: u32, slots: u32, seed: u64, make: impl Fn(u32) -> Make) -> Vec<Reading> {
    let mut keys: Vec<_> =
        (0..keys).map(|key| (SplitMix::new(seed << 32 | u64::from(key)), make(key))).collect();
    let mut events = Vec::new();
    for at in 0..slots {
        for (key, (rng, make)) in (0..).zip(&mut keys) {
            if let Some(value) = make(rng, at) {
                #[allow(clippy::cast_possible_truncation, reason = "rounded")]
                let value = value as f32;
                let at = (u64::from(u32::MAX) - 500 + u64::from(at)) * 60 + 7;
                events.push(Reading { at, wide: 0, key, value, other: 0.0, count: 0 });
            }
        }
    }
    events
}

/// What each key has found in the end, with seasons of up to `longest` slots.
fn found(keys: u32, longest: u32, events: &[Reading]) -> Vec<Period> {
    let query = seasonal(Season::learnt(60, longest), dense(keys));
    let mut engine = engine(&Device::cpu(), query, 1 << 10);
    feed(&mut engine, events, 4000);
    let mut found: Vec<_> = engine.states().expect("states").seasons().collect();
    found.sort_by_key(|&(key, ..)| key);
    assert_eq!(found.len(), keys as usize);
    found.into_iter().map(|(_, _, period)| period).collect()
}

/// What a season looks like: a number for each of its slots.
fn pattern(seed: u64, slots: u32) -> Vec<f64> {
    let mut rng = SplitMix::new(seed);
    (0..slots).map(|_| normal(&mut rng)).collect()
}

/// Places in slots of every kind, against the definition, to the bit.
#[test]
fn periods_are_what_the_definition_says() {
    let (mut takes, mut gone, mut corrected) = (0, 0, 0);
    for seed in 0..12u64 {
        let mut rng = SplitMix::new(seed);
        let longest = [16, 17, 40, 333][usize::try_from(seed % 4).expect("small")];
        let mut state = vec![0; words(longest)];
        let mut kept = spec::Kept::default();
        let (mut slot, mut length) = (i64::from(u32::MAX) - 3000, 0);
        for i in 0..20_000u32 {
            if i % 5000 == 0 {
                length = 2 + i64::try_from(rng.below(u64::from(longest) + 8)).expect("small");
            }
            slot += match rng.below(3000) {
                0 => i64::try_from(rng.below(3 * u64::from(longest))).expect("small"),
                1 => 1 << 20,
                2 if seed % 3 == 0 => -(1 << 20),
                3..60 => -i64::try_from(rng.below(9)).expect("small"),
                60..600 => 0,
                600..900 => 2,
                _ => 1,
            };
            let phase = slot.rem_euclid(length) as f64 / length as f64;
            let shape = if seed % 2 == 0 { (TAU * phase).sin() } else { (phase * 7919.0).fract() };
            let noise = normal(&mut rng) * [5.0, 40.0, 90.0][(i / 7000) as usize % 3];
            let place = (256.0 + 150.0 * shape + noise).clamp(0.0, f64::from(PLACE_MAX));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            let place = if rng.below(300) == 0 { PLACE_MAX } else { place as u32 };
            let low = lo(slot.cast_unsigned());
            let before = kept.period;
            let want = kept.step(longest.into(), slot, place.into());
            let got = period::learn(&mut state, longest, low, place);
            takes += u32::from(want && kept.period.is_some());
            gone += u32::from(want && kept.period.is_none());
            corrected += u32::from(!want && kept.period != before);
            assert_eq!(got, want, "seed {seed}, event {i}");
            let period = period::period(&state);
            assert_eq!((period.slots.map(i64::from), period.found), (kept.period, kept.found));
            let turn = period::turn(&state, low).map(|[_, number]| i64::from(number));
            assert_eq!(turn, kept.number(slot), "seed {seed}, event {i}");
        }
    }
    println!("{takes} taken, {gone} given up, {corrected} corrected");
    assert!(takes > 20 && gone > 5 && corrected > 5, "{takes}, {gone}, {corrected}");
}

/// Odd, prime, short and long seasons, quiet and noisy, with slots that saw nothing, are found within five and a half
/// of them, where these are 320 slots.
#[test]
fn planted_periods_are_found() {
    const KEYS: u32 = 20;
    for (slots, longest) in
        [(2, 16), (7, 24), (13, 100), (24, 100), (31, 60), (97, 100), (168, 336)]
    {
        for (noise, missing) in [(0.1, 0.0), (0.3, 0.1), (0.5, 0.0)] {
            let make = |key: u32| -> Make {
                let mut pattern = pattern(key.into(), slots);
                // Of a few slots chance makes all alike; these are not.
                if slots < 10 {
                    let step = 3.4 / f64::from(slots);
                    pattern = (0..slots).map(|i| f64::from(i * 5 % slots) * step).collect();
                }
                Box::new(move |rng, at| {
                    let value = pattern[(at % slots) as usize] + noise * normal(rng);
                    (unit(rng) >= missing).then_some(value)
                })
            };
            let within = (5 * slots + slots / 2).max(320);
            let found = found(KEYS, longest, &events(KEYS, within, 1, make));
            let right = found.iter().filter(|period| period.slots == Some(slots)).count();
            println!(
                "{slots} slots, noise {noise}, {missing} missing: {right} of {KEYS} in {within}"
            );
            assert!(right >= 18, "{slots} slots, noise {noise}: {found:?}");
        }
    }
}

/// Smooth seasons are found within two in a hundred of their length, also under a trend, and outlast a step.
#[test]
fn smooth_periods_trends_and_steps_are_found() {
    const KEYS: u32 = 20;
    // The last of them goes up after six seasons and some.
    let kinds: [fn(f64) -> f64; 3] =
        [|_| 0.0, |at| 0.004 * at, |at| if at > 0.0 { 12.0 } else { 0.0 }];
    for (slots, outlasts) in [(24, 3), (101, 3), (250, 2)] {
        for (kind, more) in kinds.into_iter().enumerate().take(outlasts) {
            let make = |_: u32| -> Make {
                Box::new(move |rng, at| {
                    let wave = (TAU * f64::from(at) / f64::from(slots)).sin();
                    let since =
                        f64::from(at) - if kind == 2 { f64::from(6 * slots + 200) } else { 0.0 };
                    Some(1.4 * wave + more(since) + 0.3 * normal(rng))
                })
            };
            let found = found(KEYS, 336, &events(KEYS, 8 * slots + 400, 2, make));
            let near = |period: &&Period| {
                period.slots.is_some_and(|found| found.abs_diff(slots) <= 1 + slots / 50)
            };
            let right = found.iter().filter(near).count();
            println!("{slots} slots, kind {kind}: {right} of {KEYS}");
            assert!(right >= 18, "{slots} slots, kind {kind}: {found:?}");
        }
    }
}

/// A week is more than its days.
#[test]
fn a_week_wins_over_its_days() {
    let make = |_: u32| -> Make {
        Box::new(move |rng, at| {
            let day = 1.4 * (TAU * f64::from(at % 24) / 24.0).sin();
            Some(if at / 24 % 7 < 5 { day } else { -1.2 } + 0.3 * normal(rng))
        })
    };
    let found = found(10, 200, &events(10, 168 * 6, 3, make));
    assert!(found.iter().all(|period| period.slots == Some(168)), "{found:?}");
}

/// What has no season: how many of a hundred keys ever took one for it.
#[test]
fn where_there_is_no_season_none_is_found() {
    const KEYS: u32 = 100;
    let walk = |share: f64, step: f64| -> Make {
        let mut x = 0.0;
        Box::new(move |rng, _| {
            x = share * x + step * normal(rng);
            Some(x)
        })
    };
    type Kind = (&'static str, usize, fn(&dyn Fn(f64, f64) -> Make) -> Make);
    let kinds: [Kind; 9] = [
        ("white noise", 0, |_| Box::new(|rng, _| Some(normal(rng)))),
        ("skewed noise", 0, |_| Box::new(|rng, _| Some(-unit(rng).ln()))),
        ("heavy tails", 0, |_| Box::new(|rng, _| Some(normal(rng) / unit(rng).sqrt()))),
        ("a random walk", 0, |walk| walk(1.0, 1.0)),
        ("autocorrelated", 2, |walk| walk(0.9, 1.0)),
        ("to and fro", 0, |walk| walk(-0.5, 1.0)),
        ("a trend", 0, |_| Box::new(|rng, at| Some(0.01 * f64::from(at) + normal(rng)))),
        ("nothing but a few spikes", 2, |_| {
            Box::new(|rng, _| Some(if unit(rng) < 0.002 { 9.0 } else { 0.0 }))
        }),
        ("steps", 1, |_| {
            let mut level = 0.0;
            Box::new(move |rng, _| {
                level = if unit(rng) < 0.005 { 9.0 * normal(rng) } else { level };
                Some(level + 0.3 * normal(rng))
            })
        }),
    ];
    for (seed, (name, most, make)) in (4..).zip(kinds) {
        let found = found(KEYS, 100, &events(KEYS, 3000, seed, |_| make(&walk)));
        let wrong = found.iter().filter(|period| period.found > 0).count();
        println!("{name}: {wrong} of {KEYS}");
        assert!(wrong <= most, "{name}: {wrong} keys found a season");
    }
}

/// Another season is found, counted, and the old one is given up; so is one that ends.
#[test]
fn a_change_of_season_is_followed() {
    const KEYS: u32 = 10;
    for (first, second) in [(24, Some(36)), (48, Some(31)), (90, Some(24)), (24, None)] {
        let make = |key: u32| -> Make {
            let patterns = [first, second.unwrap_or(1)].map(|slots| pattern(key.into(), slots));
            Box::new(move |rng, at| {
                let pattern = &patterns[usize::from(at >= 1000)];
                Some(pattern[at as usize % pattern.len()] + 0.3 * normal(rng))
            })
        };
        let events = events(KEYS, 2000, 20, make);
        let half = events.len() / 2;
        let before = found(KEYS, 100, &events[..half]);
        assert!(before.iter().all(|period| period.slots == Some(first)), "{before:?}");
        let after = found(KEYS, 100, &events);
        let right = after.iter().filter(|period| period.slots == second).count();
        assert!(right >= 9, "{first} to {second:?}: {after:?}");
        let counted = after.iter().zip(&before).all(|(after, before)| match second {
            Some(_) => after.found > before.found,
            None => after.found == before.found,
        });
        assert!(counted, "{first} to {second:?}: {after:?}");
    }
}

/// Alerts by a season that was found are those by one that was named, and distances alone find none of them.
#[test]
fn a_found_season_judges_as_a_named_one() {
    const SLOTS: u32 = 37;
    let odd = |at: u32| at > 1500 && at % 1201 == 5;
    let make = |key: u32| -> Make {
        let pattern = pattern(key.into(), SLOTS);
        Box::new(move |rng, at| {
            let value = pattern[(at % SLOTS) as usize];
            // The value of another slot, at least two deviations off.
            let other = if value > 0.0 { value - 3.0 } else { value + 3.0 };
            let value = if odd(at) { other.clamp(-1.5, 1.5) } else { value };
            Some(3.0 * value + 0.3 * normal(rng))
        })
    };
    let events = events(20, 6000, 30, make);
    let query = || Scores { rate: 1e-3, rest: 1.0, ..dense(20) };
    let quality = |query: Scores<Reading>| {
        let rows = run(&Device::cpu(), query, &Setup::default(), &events).0;
        let (mut hits, mut odds, mut alerts) = (0.0, 0.0, 0.0);
        for rows in rows.values() {
            for (at, row) in (0..).zip(rows).skip(1500) {
                let is_alert = f64::from(row[4] & ALERT);
                odds += f64::from(u8::from(odd(at)));
                hits += if odd(at) { is_alert } else { 0.0 };
                alerts += is_alert;
            }
        }
        (hits / odds, hits / f64::max(alerts, 1.0))
    };
    let named = Season { slot: 60, seasons: [SLOTS, 0, 0, 0], longest: 0 };
    let (named, found) =
        (quality(seasonal(named, query())), quality(seasonal(Season::learnt(60, 100), query())));
    let plain = quality(query());
    println!("recall and precision: named {named:.3?}, found {found:.3?}, distances {plain:.3?}");
    assert!(found.0 > 0.95 * named.0 && found.1 > 0.9 * named.1, "{found:?}, {named:?}");
    assert!(named.0 > 0.8 && plain.0 < 0.2, "{named:?}, {plain:?}");
}

/// A key that drifts forgets its season, too, and finds it again.
#[test]
fn a_drift_forgets_the_season() {
    let events = learnt_stream(3, 12_000);
    let drift = Some(Drift::Page { delta: 0.25, threshold: 25.0 });
    let query = seasonal(Season::learnt(50, 40), Scores { drift, warm_up: 20, ..dense(5) });
    let mut engine = engine(&Device::cpu(), query, 1 << 10);
    feed(&mut engine, &events, 1000);
    assert!(engine.stats().drifts > 0);
    assert!(engine.states().expect("states").seasons().all(|(_, _, period)| period.found < 9));
}
