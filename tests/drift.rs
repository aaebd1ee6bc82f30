//! Keys that drift: held to the definition, and to begin anew at that very event; what that is good for, and how rarely
//! it happens to a key that stays as it was.

mod scores;

use pelton::base::rng::SplitMix;
use pelton::ops::score::{ALERT, DRIFTED, MISSING, WARMING};
use pelton::{
    Detector, Device, Drift, Forest, HalfSpaces, Inline, Loda, Member, Options, Profile, Scores,
    Spectral, SubPca,
};
use scores::judge::{judge, of_key, surprise};
use scores::spec::Ask;
use scores::{
    CROWDED, Reading, SHORT, Scored, Setup, Words, dense, drifting, ensemble, moving, normal, run,
    unit, wide,
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
    let mut drifts = 0;
    for seed in 1..4 {
        let events = moving(seed, 30_000, 6);
        for drift in [Drift { delta: 0.25, threshold: 40.0 }, Drift::default()] {
            let query = Scores { drift: Some(drift), ..dense(6) };
            let got = cpu(query, &events);
            let drift = (f64::from(drift.delta), f64::from(drift.threshold));
            let ask = Ask { rate: 1e-3, drift: Some(drift), ..Ask::default() };
            for key in 0..6 {
                let rows = &got[&u64::from(key)];
                judge(&ask, &of_key(&events, key), |e| vec![f64::from(e.value)], rows);
                drifts += rows.iter().filter(|words| words[4] & DRIFTED != 0).count();
            }
        }
    }
    println!("{drifts} drifts");
    assert!(drifts > 30, "{drifts}");
}

/// What follows upon a drift is what a key gets that has just come, bit for bit.
#[test]
fn a_key_that_drifted_begins_anew() {
    let events = moving(4, 12_000, 3);
    for query in [dense(3), wide()] {
        for detector in detectors() {
            let query = Scores { detector, ..drifting(query.clone()) };
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
            println!("{detector}, {} values: {drifts} drifted", query.values.len());
            assert!(drifts > 0, "{detector}, {} values", query.values.len());
        }
    }
}

/// Of the outliers of a key that went elsewhere for good, one in 500 events, those that alert.
fn found_after_a_move(drift: Option<Drift>, detector: Detector) -> usize {
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
    let scored = cpu(Scores { drift, detector, rate: 1e-4, rest: 16.0, ..dense(1) }, &events);
    let found = |(_, words): &(u64, &Words)| words[4] & ALERT != 0;
    (0..).zip(&scored[&0]).filter(|&(at, _)| is_outlier(at)).filter(found).count()
}

/// What it is good for: a key that moved for good is soon watched as before.
#[test]
fn a_key_that_moved_recovers() {
    for detector in [Detector::Distances, Detector::Loda(Loda::default())] {
        let found = [None, Some(Drift::default())].map(|drift| found_after_a_move(drift, detector));
        println!("{detector}: {} of 5 outliers found without drift, {} with", found[0], found[1]);
        assert!(found[0] == 0 && found[1] > 0, "{detector}: {found:?}");
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
            let query = Scores { drift: Some(Drift::default()), detector, ..dense(1) };
            let (_, stats) = run(&Device::cpu(), query, &Setup::default(), &events);
            println!("kind {kind}, {detector}: {} drifts", stats.drifts);
            assert_eq!(stats.drifts, 0, "kind {kind}, {detector}");
        }
    }
}

/// A test that never speaks changes nothing; one that does counts, and batches, lanes and other keys do not show.
#[test]
fn batches_lanes_and_other_keys_do_not_show() {
    let events = moving(3, 12_000, 5);
    let deaf = Some(Drift { delta: 3.9, threshold: 1e6 });
    for query in [wide(), dense(5), ensemble(wide())] {
        let plain = cpu(query.clone(), &events);
        assert!(cpu(Scores { drift: deaf, ..query.clone() }, &events) == plain);
        let query = drifting(query);
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

#[test]
fn mistakes_are_named() {
    for (delta, threshold, want) in [
        (-0.1, 50.0, "drift.delta: -0.1; accepted are 0 to below 4 deviations"),
        (4.0, 50.0, "drift.delta: 4; "),
        (f32::NAN, 50.0, "drift.delta: NaN"),
        (0.5, 0.0, "drift.threshold: 0; accepted are 1 to 1,000,000 deviations"),
        (0.5, f32::NAN, "drift.threshold: NaN"),
        (0.5, f32::INFINITY, "drift.threshold: inf"),
    ] {
        let query = Scores { drift: Some(Drift { delta, threshold }), ..dense(4) };
        let error = Inline::new(query, Options::on(Device::cpu())).expect_err(want).to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
}
