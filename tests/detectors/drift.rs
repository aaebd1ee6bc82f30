//! Keys that drift: held to the definition, and to begin anew at that very event; what that is good for, and how rarely
//! it happens to a key that stays as it was.

use crate::scores::judge::{judge, of_key, surprise};
use crate::scores::spec::{Ask, Test};
use crate::scores::{
    CROWDED, Reading, SHORT, Scored, Setup, Words, cutting, dense, drifting, ensemble, moving,
    normal, run, stream, unit, wide,
};
use pelton::base::rng::SplitMix;
use pelton::ops::score::{ALERT, DRIFTED, MISSING, WARMING};
use pelton::{
    Detector, Device, Drift, Forest, HalfSpaces, Inline, Loda, Member, Options, Profile, Scores,
    Spectral, SubPca,
};

fn cpu(query: Scores<Reading>, events: &[Reading]) -> Scored {
    run(&Device::cpu(), query, &Setup::default(), events).0
}

fn detectors() -> [Detector; 9] {
    [
        Detector::Distances,
        Detector::Forest(Forest::of(64)),
        Detector::HalfSpaces(HalfSpaces { trees: 5, height: 5, window: 50 }),
        Detector::Loda(Loda { projections: 9, cells: 16, window: 40 }),
        Detector::Season(SHORT),
        Detector::Profile(Profile { points: 256, window: 8, shape: false }),
        Detector::SubPca(SubPca { window: 8, rank: 2 }),
        Detector::Spectral(Spectral { window: 32 }),
        Detector::Art(CROWDED),
    ]
}

#[test]
fn keys_drift_when_the_definition_says() {
    let mut drifts = [0; 2];
    for seed in 1..4 {
        let events = moving(seed, 30_000, 6);
        for drift in [
            Drift::Page { delta: 0.25, threshold: 40.0 },
            Drift::page(),
            Drift::Adwin { delta: 0.1 },
            Drift::adwin(),
        ] {
            let query = Scores { drift: Some(drift), ..dense(6) };
            let got = cpu(query, &events);
            let drift = match drift {
                Drift::Page { delta, threshold } => Test::Page(delta.into(), threshold.into()),
                Drift::Adwin { delta } => Test::Adwin(delta.into()),
            };
            let ask = Ask { rate: 1e-3, drift: Some(drift), ..Ask::default() };
            for key in 0..6 {
                let rows = &got[&u64::from(key)];
                judge(&ask, &of_key(&events, key), |e| vec![f64::from(e.value)], rows);
                drifts[usize::from(matches!(drift, Test::Adwin(_)))] +=
                    rows.iter().filter(|words| words[4] & DRIFTED != 0).count();
            }
        }
    }
    println!("{drifts:?} drifts by each test");
    assert!(drifts[0] > 30 && drifts[1] > 15, "{drifts:?}");
}

/// What follows upon a drift is what a key gets that has just come, bit for bit.
#[test]
fn a_key_that_drifted_begins_anew() {
    let events = moving(4, 12_000, 3);
    let queries = [drifting(dense(3)), drifting(wide()), cutting(dense(3)), cutting(wide())];
    for query in queries {
        for detector in detectors() {
            let query = Scores { detector, ..query.clone() };
            let mut drifts = 0;
            for (&key, rows) in &cpu(query.clone(), &events) {
                let number = if query.values.len() > 1 { key >> 33 } else { key };
                let own = of_key(&events, u32::try_from(number).expect("few"));
                let Some(at) = rows.iter().position(|words| words[4] & DRIFTED != 0) else {
                    continue;
                };
                drifts += 1;
                assert!(rows[at][4] & (WARMING | MISSING) == 0, "{detector}");
                let anew = &cpu(query.clone(), &own[at + 1..])[&key];
                assert_eq!(&rows[at + 1..], &anew[..], "{detector}, key {key}");
                assert!(rows[at + 1][9] <= 1 && rows[at + 1][4] & (WARMING | MISSING) != 0);
            }
            let context = format!("{detector}, {} values, {:?}", query.values.len(), query.drift);
            println!("{context}: {drifts} drifted");
            assert!(drifts > 0, "{context}");
        }
    }
}

/// Of the outliers of a key that went elsewhere for good, one in 500 events, those that alert.
fn found_after_a_move(drift: Option<Drift>, detector: Detector, rate: f64) -> usize {
    let mut rng = SplitMix::new(6);
    let is_outlier = |at: u64| at >= 6500 && at.is_multiple_of(500);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event = |at: u64| {
        let level = if at < 5000 { 10.0 } else { 22.0 };
        let outlier = if is_outlier(at) { 12.0 } else { 0.0 };
        let value = (level + outlier + normal(&mut rng)) as f32;
        Reading { at, wide: 0, key: 0, value, other: 0.0, count: 0 }
    };
    let events: Vec<Reading> = (0..9000).map(event).collect();
    let scored = cpu(Scores { drift, detector, rate, rest: 16.0, ..dense(1) }, &events);
    let found = |(_, words): &(u64, &Words)| words[4] & ALERT != 0;
    (0..).zip(&scored[&0]).filter(|&(at, _)| is_outlier(at)).filter(found).count()
}

/// What it is good for: a key that moved for good is soon watched as before.
#[test]
fn a_key_that_moved_recovers() {
    // Projections take longer to be as sure.
    for (detector, rate) in [(Detector::Distances, 1e-4), (Detector::Loda(Loda::default()), 1e-3)] {
        let tests = [None, Some(Drift::page()), Some(Drift::adwin())];
        let found = tests.map(|drift| found_after_a_move(drift, detector, rate));
        println!("{detector}: of 5 outliers found without drift, by Page, by ADWIN: {found:?}");
        assert!(found[0] == 0 && found[1] > 0 && found[2] > 0, "{detector}: {found:?}");
    }
}

/// Keys that stay as they were do not drift, by the default numbers, whatever they are like.
#[test]
fn keys_that_stay_do_not_drift() {
    let kinds: [fn(&mut SplitMix, u64, &mut f64) -> f64; 5] = [
        |rng, _, _| normal(rng),
        |rng, _, _| {
            let chi = (0..3).map(|_| normal(rng).powi(2)).sum::<f64>() / 3.0;
            normal(rng) / chi.sqrt()
        },
        |rng, _, _| -(unit(rng).ln() + unit(rng).ln()),
        |rng, i, _| 3.0 * (i as f64 * std::f64::consts::TAU / 288.0).sin() + normal(rng),
        |rng, _, x| {
            *x = 0.9 * *x + normal(rng);
            *x
        },
    ];
    for (kind, make) in kinds.into_iter().enumerate() {
        for detector in [Detector::Distances, Detector::Loda(Loda::default())] {
            let (mut rng, mut state) = (SplitMix::new(kind as u64), 0.0);
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            let event = |at: u64| {
                let value = make(&mut rng, at, &mut state) as f32;
                Reading { at, wide: 0, key: 0, value, other: 0.0, count: 0 }
            };
            let events: Vec<Reading> = (0..100_000).map(event).collect();
            for drift in [Drift::page(), Drift::adwin()] {
                let query = Scores { drift: Some(drift), detector, ..dense(1) };
                let (_, stats) = run(&Device::cpu(), query, &Setup::default(), &events);
                assert_eq!(stats.drifts, 0, "kind {kind}, {detector}, {drift:?}");
            }
        }
    }
}

/// A test that never speaks changes nothing; one that does counts, and batches, lanes and other keys do not show.
#[test]
fn batches_lanes_and_other_keys_do_not_show() {
    let events = moving(3, 12_000, 5);
    let still = stream(3, 12_000, 5);
    let deaf = [
        (Drift::Page { delta: 3.9, threshold: 1e6 }, &events),
        (Drift::Adwin { delta: 1e-30 }, &still),
    ];
    for (query, drift) in [wide(), dense(5), ensemble(wide())].into_iter().zip([0, 1, 1]) {
        for (drift, events) in deaf {
            let heard = cpu(Scores { drift: Some(drift), ..query.clone() }, events);
            assert!(heard == cpu(query.clone(), events), "{drift:?}");
        }
        let query = [drifting, cutting][drift](query);
        let (want, stats) = run(&Device::cpu(), query.clone(), &Setup::default(), &events);
        let flagged = |words: &&Words| words[4] & DRIFTED != 0;
        assert_eq!(want.values().flatten().filter(flagged).count() as u64, stats.drifts);
        assert!(stats.drifts > 5, "{}", stats.drifts);
        for (batch, chunk, lanes, in_flight) in
            [(1, 500, 1, 1), (7, 3000, 3, 4), (1024, 7, 5, 2), (65_536, 9000, 2, 3)]
        {
            let setup = Setup { batch, chunk, lanes, in_flight, ..Setup::default() };
            assert!(run(&Device::cpu(), query.clone(), &setup, &events).0 == want);
        }
    }
}

/// In an ensemble the member that drifts begins anew, the others go on.
#[test]
fn a_member_drifts_alone() {
    let events = moving(5, 12_000, 1);
    // Projections find that level less high than distances do, and so later.
    let second = Detector::Loda(Loda { projections: 9, cells: 16, window: 40 });
    let member = Member { detector: second, share: 0.5 };
    let both = cpu(drifting(Scores { ensemble: vec![member], ..dense(1) }), &events);
    let alone = |detector| cpu(drifting(Scores { detector, ..dense(1) }), &events);
    let (first, second) = (alone(Detector::Distances), alone(second));
    let mut apart = 0;
    for ((both, first), second) in both[&0].iter().zip(&first[&0]).zip(&second[&0]) {
        assert_eq!(both[4] & DRIFTED, (first[4] | second[4]) & DRIFTED);
        assert_eq!(both[9], first[9], "events of the first member");
        let said = if both[4] >> 11 & 7 == 0 { first } else { second };
        assert_eq!(both[6..9], said[6..9]);
        assert!((surprise(both) - surprise(said)).abs() < 1.0);
        apart += u32::from((first[4] ^ second[4]) & DRIFTED != 0);
    }
    assert!(apart > 0);
}

fn refused(drift: Drift, want: &str) {
    let query = Scores { drift: Some(drift), ..dense(4) };
    let error = Inline::new(query, Options::on(Device::cpu())).expect_err(want).to_string();
    assert!(error.contains(want), "{error}, not {want}");
}

/// A change that Page's test never sees, to more and to less: only a window does.
#[test]
fn windows_see_small_changes() {
    let found = |drift, (mean, deviation): (f64, f64)| {
        let mut rng = SplitMix::new(8);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let event = |at: u64| {
            let (mean, deviation) = if at < 6000 { (0.0, 1.0) } else { (mean, deviation) };
            let value = (mean + deviation * normal(&mut rng)) as f32;
            Reading { at, wide: 0, key: 0, value, other: 0.0, count: 0 }
        };
        let events: Vec<Reading> = (0..9000).map(event).collect();
        let rows = cpu(Scores { drift: Some(drift), ..dense(1) }, &events);
        rows[&0].iter().position(|words| words[4] & DRIFTED != 0)
    };
    for change in [(1.0, 1.0), (-1.0, 1.0), (0.0, 2.0)] {
        assert_eq!(found(Drift::page(), change), None, "{change:?}");
        let at = found(Drift::adwin(), change);
        assert!(at.is_some_and(|at| (6032..7000).contains(&at)), "{change:?}: {at:?}");
    }
    assert_eq!(found(Drift::adwin(), (0.0, 1.0)), None);
}

/// Numbers that are none, that are too large, and that never change: no panic, and finite scores.
#[test]
fn hostile_numbers_do_no_harm() {
    let odd = [f32::NAN, f32::INFINITY, -1e38, 1e-42, 0.0, 1e30, -0.0, f32::MIN_POSITIVE];
    for (kind, drift) in (0..6).flat_map(|kind| [(kind, 0.5), (kind, 1e-30)]) {
        let mut rng = SplitMix::new(kind);
        let event = |i: u64| {
            let value = match kind {
                0 => f32::from_bits(pelton::ops::batch::lo(rng.next_u64())),
                1 => odd[usize::try_from(rng.below(8)).expect("few")],
                2 => [0.0, 1e30][usize::from(i >= 2000)],
                3 => 7.0,
                4 => f32::NAN,
                _ => [1e12, -1e12][usize::from(i % 1000 < 500)],
            };
            let at = if kind == 1 { rng.next_u64() } else { i };
            Reading { at, wide: 0, key: 0, value, other: value, count: 0 }
        };
        let events: Vec<Reading> = (0..6000).map(event).collect();
        for query in [dense(1), wide(), ensemble(wide())] {
            let drift = Some(Drift::Adwin { delta: drift });
            let rows = cpu(Scores { drift, warm_up: 0, ..query }, &events);
            for words in rows.values().flatten() {
                let floats = [5, 6, 7, 8].map(|at| f32::from_bits(words[at]));
                assert!(floats.iter().all(|x| x.is_finite()), "kind {kind}: {words:x?}");
            }
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (delta, threshold, want) in [
        (0.5, -1.0, "drift.threshold: -1; "),
        (-0.1, 50.0, "drift.delta: -0.1; accepted are 0 to below 4 deviations"),
        (4.0, 50.0, "drift.delta: 4; "),
        (f32::NAN, 50.0, "drift.delta: NaN"),
        (0.5, 0.0, "drift.threshold: 0; accepted are 1 to 1,000,000 deviations"),
        (0.5, f32::NAN, "drift.threshold: NaN"),
        (0.5, f32::INFINITY, "drift.threshold: inf"),
    ] {
        refused(Drift::Page { delta, threshold }, want);
    }
    for (delta, want) in [
        (0.0, "drift.delta: 0; accepted are 1e-30 to 0.5 for ADWIN"),
        (0.6, "drift.delta: 0.6; "),
        (-1e-5, "drift.delta: -0.00001; "),
        (f32::NAN, "drift.delta: NaN"),
    ] {
        refused(Drift::Adwin { delta }, want);
    }
}
