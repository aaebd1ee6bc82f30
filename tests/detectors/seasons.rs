//! Scores by seasons (`ops::season`): what they find that distances alone do not, that they lose nothing where there is
//! no season, and that each key's own season is found.

use crate::scores::judge::{judge, of_key, surprise};
use crate::scores::spec::{self, Ask};
use crate::scores::{Reading, SHORT, Setup, Words, dense, normal, run, seasonal, stream, unit};
use pelton::base::rng::SplitMix;
use pelton::ops::score::{ALERT, USUAL, WARMING};
use pelton::ops::season::{Place, SLOT_MAX, place};
use pelton::{Device, Scores, Season};
use std::f64::consts::TAU;

/// Ticks between two events: 48 to a day.
const STEP: u64 = 1_800_000_000_000;
const DAY: u64 = 48 * STEP;
/// A day and a week, in slots of an hour.
const DAYS: Season = Season { slot: 2 * STEP, seasons: [24, 168, 0, 0], longest: 0 };

/// One season alone, and slots that are not those of another's.
const LONE: Season = Season { slot: 1571, seasons: [12, 0, 0, 0], longest: 0 };

#[allow(clippy::cast_possible_truncation, reason = "rounded")]
fn reading(at: u64, value: f64) -> Reading {
    Reading { at, wide: 0, key: 0, value: value as f32, other: 0.0, count: 0 }
}

/// One key's rows.
fn rows(query: Scores<Reading>, events: &[Reading]) -> Vec<Words> {
    run(&Device::cpu(), query, &Setup::default(), events).0.remove(&0).expect("a key")
}

fn alerts(rows: &[Words]) -> Vec<usize> {
    (0..rows.len()).filter(|&i| rows[i][4] & ALERT != 0).collect()
}

/// What a day looks like, from -10 to 10.
fn day(at: u64) -> f64 {
    10.0 * (TAU * (at % DAY) as f64 / DAY as f64).sin()
}

/// Busy from Monday to Friday, quiet on two days.
fn week(at: u64) -> f64 {
    if at / DAY % 7 < 5 { day(at) } else { -8.0 }
}

/// The value of noon at midnight is what distances take for usual.
#[test]
fn what_is_unusual_for_its_time_is_found() {
    let kinds: [fn(u64) -> f64; 2] = [day, week];
    let odd = [(100 * 48 + 12, -10.0), ((14 * 7 + 2) * 48 + 12, -8.0)];
    for (kind, (usual, (odd, value))) in kinds.into_iter().zip(odd).enumerate() {
        let mut rng = SplitMix::new(12);
        let event = |i: u64| {
            let value = if i == odd { value } else { usual(i * STEP) };
            reading(i * STEP, value + 0.5 * normal(&mut rng))
        };
        let events: Vec<Reading> = (0..120 * 48).map(event).collect();
        let odd = usize::try_from(odd).expect("an index");
        let query = || Scores { rate: 1e-4, ..dense(1) };
        assert!(!alerts(&rows(query(), &events)).contains(&odd), "kind {kind}");
        let scored = rows(seasonal(DAYS, query()), &events);
        let found = alerts(&scored);
        assert!(found.contains(&odd) && found.len() <= 3, "kind {kind}: {found:?}");
        let number = |at: usize| f64::from(f32::from_bits(scored[odd][at]));
        assert!((number(7) - usual(odd as u64 * STEP)).abs() < 1.0, "expected {}", number(7));
        assert!(number(8).sqrt() < 1.0, "a band of {}", number(8).sqrt());
        // The dense score tells it from all others, too.
        let dense = |words: &Words| words[4] >> 16;
        assert!(scored[1000..].iter().filter(|row| dense(row) >= dense(&scored[odd])).count() == 1);
    }
}

/// Without a season the distances stand as they are, so that nothing is lost.
#[test]
fn where_there_is_no_season_distances_stand() {
    let kinds: [fn(&mut SplitMix, u64, &mut f64) -> f64; 5] = [
        |rng, _, _| normal(rng),
        |rng, _, _| -(unit(rng).ln() + unit(rng).ln()),
        |rng, _, x| {
            *x = 0.9 * *x + normal(rng);
            *x
        },
        |rng, _, x| {
            *x += normal(rng);
            *x
        },
        |rng, i, _| 1e-3 * i as f64 + normal(rng),
    ];
    for (kind, make) in kinds.into_iter().enumerate() {
        let (mut rng, mut state) = (SplitMix::new(kind as u64), 0.0);
        let events: Vec<Reading> =
            (0..20_000).map(|i| reading(i * STEP, make(&mut rng, i, &mut state))).collect();
        let (plain, scored) = (rows(dense(1), &events), rows(seasonal(DAYS, dense(1)), &events));
        let expects = plain.iter().zip(&scored).filter(|(a, b)| a[7] != b[7]).count();
        println!("kind {kind}: {expects} of 20,000 by a season");
        assert!(expects <= 1000, "kind {kind}: {expects} of 20,000 by a season");
    }
}

/// Streams with seasons in control: the share of scores below a probability is that probability, within half and twice.
#[test]
fn probabilities_hold_with_seasons() {
    let kinds: [fn(&mut SplitMix, u64, &mut f64) -> f64; 4] = [
        |rng, i, _| day(i * STEP) + normal(rng),
        |rng, i, _| week(i * STEP) + normal(rng),
        |rng, i, x| {
            *x = 0.8 * *x + normal(rng);
            day(i * STEP) + *x
        },
        |rng, _, _| normal(rng),
    ];
    let n = 150_000;
    for (kind, make) in kinds.into_iter().enumerate() {
        let (mut rng, mut state) = (SplitMix::new(kind as u64), 0.0);
        let events: Vec<Reading> =
            (0..n).map(|i| reading(i * STEP, make(&mut rng, i, &mut state))).collect();
        let scored = rows(seasonal(DAYS, dense(1)), &events);
        let warm: Vec<_> = scored.iter().filter(|w| w[4] & WARMING == 0).collect();
        for (rate, slack) in [(1e-2, 1.6), (1e-3, 1.8), (1e-4, 3.0)] {
            let below = warm.iter().filter(|w| surprise(w) > -f64::ln(rate)).count();
            let share = below as f64 / warm.len() as f64 / rate;
            println!("kind {kind}: {rate}: {share:.2}");
            assert!((1.0 / slack..=slack).contains(&share), "kind {kind}, {rate}: {share}");
        }
    }
}

/// Keys whose events come at odd times, who are away for many seasons, or jump to and fro, know their season.
#[test]
fn seasons_go_by_time_and_not_by_count() {
    let mut rng = SplitMix::new(5);
    let (mut at, mut events) = (7u64 << 50, Vec::new());
    for i in 0..12_000 {
        at += match rng.below(2000) {
            0 => DAY * rng.below(400),
            _ => rng.below(2 * STEP),
        };
        let back = if rng.below(20) == 0 { rng.below(3 * DAY) } else { 0 };
        let odd = i % 1000 == 999 && i > 5000;
        let value = if odd { -day(at - back).signum() * 9.0 } else { day(at - back) };
        // Where the day crosses zero there is nothing odd.
        let value = if odd && day(at - back).abs() < 5.0 { day(at - back) } else { value };
        events.push(reading(at - back, value + 0.3 * normal(&mut rng)));
    }
    let odd: Vec<usize> = (5000..12_000)
        .filter(|&i| (f64::from(events[i].value) - day(events[i].at)).abs() > 5.0)
        .collect();
    assert!(odd.len() >= 3);
    let query = || Scores { rate: 1e-3, rest: 1.0, ..dense(1) };
    let found = alerts(&rows(seasonal(DAYS, query()), &events));
    assert!(odd.iter().all(|i| found.contains(i)), "{odd:?}: {found:?}");
    assert!(found.len() < odd.len() + 20, "{found:?}");
    let plain = alerts(&rows(query(), &events));
    assert!(odd.iter().filter(|i| plain.contains(i)).count() < odd.len() / 2, "{plain:?}");
}

/// A season that ends, or is none, does not blind: after a while distances speak again.
#[test]
fn a_season_that_ends_is_given_up() {
    let mut rng = SplitMix::new(6);
    let event = |i: u64| {
        let value = if i < 60 * 48 { day(i * STEP) } else { 0.0 };
        let value = if i == 150 * 48 { 6.0 } else { value };
        reading(i * STEP, value + 0.3 * normal(&mut rng))
    };
    let events: Vec<Reading> = (0..160 * 48).map(event).collect();
    let scored = rows(seasonal(DAYS, Scores { rate: 1e-3, ..dense(1) }), &events);
    let late = &scored[120 * 48..];
    let off = late.iter().filter(|row| f32::from_bits(row[7]).abs() > 1.0).count();
    assert!(off < 10, "{off} expectations off");
    assert!(alerts(&scored).contains(&(150 * 48)));
    assert!(late.iter().filter(|row| row[4] & USUAL == 0).count() < late.len() / 50);
}

/// Every kind of key, with seasons that some of them have.
#[test]
fn seasons_are_what_the_definition_says() {
    let (mut compared, mut doubtful, mut alerts, mut spoke) = (0, 0, 0, 0);
    for (seed, (season, spacing)) in (20..).zip([(SHORT, None), (SHORT, Some(40)), (LONE, None)]) {
        let events = stream(seed, 40_000, 8);
        let query = Scores { spacing, horizon: 512.0, ..dense(8) };
        let plain = run(&Device::cpu(), query.clone(), &Setup::default(), &events).0;
        let got = run(&Device::cpu(), seasonal(season, query), &Setup::default(), &events).0;
        let Season { slot, seasons, .. } = season;
        let season = spec::Season { slot, seasons };
        let spacing = spacing.map_or(0.0, |ticks| ticks as f64);
        let ask = Ask { rate: 1e-3, horizon: 512.0, spacing, season, ..Ask::default() };
        for key in 0..8 {
            let (events, got) = (of_key(&events, key), &got[&key.into()]);
            alerts += got.iter().filter(|words| words[4] & ALERT != 0).count();
            doubtful += judge(&ask, &events, |e| vec![f64::from(e.value)], got);
            compared += events.len();
            let rows = got.iter().zip(&plain[&key.into()]);
            spoke += rows.filter(|(a, b)| a[7] != b[7]).count();
        }
    }
    println!("{compared} scores, {spoke} by seasons, {alerts} alerts, {doubtful} in doubt");
    assert!(alerts > 100 && spoke > 5000, "{alerts} alerts, {spoke} by seasons");
    assert!(doubtful * 500 < compared, "{doubtful} of {compared} in doubt");
}

#[test]
fn places_are_those_of_exact_division() {
    let mut rng = SplitMix::new(1);
    for i in 0..100_000u32 {
        let slot = (1 + rng.below(SLOT_MAX)) >> (i % 55);
        let slot = if i % 7 == 0 { SLOT_MAX } else { slot.max(1) };
        let time = rng.next_u64() >> (i % 64);
        let time = if i % 11 == 0 { u64::MAX } else { time };
        let part = u128::from(time % slot) * 256 / u128::from(slot);
        let want = Place { slot: time / slot, part: u32::try_from(part).expect("below 256") };
        assert_eq!(place(time, slot), want, "{time} by {slot}");
    }
}
