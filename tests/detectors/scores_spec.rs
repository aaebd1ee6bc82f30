//! Scores on the processor against the definition in f64, and what must hold of them whatever the stream.

use crate::scores::judge::{judge, of_key, surprise};
use crate::scores::spec::Ask;
use crate::scores::{
    CROWDED, MIXED, Reading, SHORT, Setup, Words, arts, dense, forest, half_spaces, loda, normal,
    profiles, run, seasonal, spectrals, stream, sub_pcas, unit, wide,
};
use pelton::base::rng::SplitMix;
use pelton::ops::score::{ALERT, CLAMPED, MISSING, WARMING};
use pelton::ops::season::SLOT_MAX;
use pelton::{
    Art, Detector, Device, Forest, HalfSpaces, Inline, Loda, Options, Profile, Scores, Season,
    Side, Spectral, SubPca, field,
};

/// One by values and one by shape.
const PROFILES: [Profile; 2] = [
    Profile { points: 512, window: 16, shape: false },
    Profile { points: 256, window: 8, shape: true },
];

/// A level that stays within the deviations of what was before, in a place where nothing was, is what forests find.
#[test]
fn forests_find_what_is_rare_within_the_deviations() {
    let mut rng = SplitMix::new(12);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event = |at: u64| {
        let noise = 0.3 * normal(&mut rng);
        let value = if at.is_multiple_of(2) { 10.0 } else { -10.0 };
        let value = if at == 5000 { 0.0 } else { value + noise } as f32;
        Reading { at, wide: 0, key: 0, value, other: 0.0, count: 0 }
    };
    let events: Vec<Reading> = (0..6000).map(event).collect();
    let alerts = |detector| {
        let query = Scores { detector, rate: 1e-4, ..dense(1) };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let is_alert = |(_, words): &(usize, &Words)| words[4] & ALERT != 0;
        scored[&0].iter().enumerate().filter(is_alert).map(|(i, _)| i).collect::<Vec<_>>()
    };
    assert!(alerts(Detector::Distances).is_empty());
    assert_eq!(alerts(Detector::Forest(Forest::of(512))), [5000]);
}

/// Two values that are usual, each by itself, in a combination that never was, is what half-space trees find.
#[test]
fn half_spaces_find_what_is_unusual_together() {
    let mut rng = SplitMix::new(13);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event = |at: u64| {
        let side = if rng.below(2) == 0 { 10.0 } else { -10.0 };
        let (value, other) = (side + normal(&mut rng), side + normal(&mut rng));
        let (value, other) = if at == 5000 { (10.0, -10.0) } else { (value, other) };
        Reading { at, wide: 0, key: 0, value: value as f32, other: other as f32, count: 0 }
    };
    let events: Vec<Reading> = (0..6000).map(event).collect();
    let alerts = |detector| {
        let query = Scores { detector, rate: 1e-4, ..dense(1) };
        let query = Scores {
            values: vec![field!(Reading.value).into(), field!(Reading.other).into()],
            ..query
        };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let is_alert = |(_, words): &(usize, &Words)| words[4] & ALERT != 0;
        scored[&0].iter().enumerate().filter(is_alert).map(|(i, _)| i).collect::<Vec<_>>()
    };
    assert!(!alerts(Detector::Distances).contains(&5000));
    assert_eq!(alerts(Detector::HalfSpaces(HalfSpaces::default())), [5000]);
    assert!(alerts(Detector::Loda(Loda::default())).contains(&5000));
}

/// Nothing is known before the first window is full, and that shows.
#[test]
fn half_spaces_warm_up_for_a_window() {
    let events = stream(14, 3000, 1);
    let query =
        Scores { warm_up: 10, ..half_spaces(HalfSpaces { window: 500, ..HalfSpaces::default() }) };
    let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
    let rows = &scored[&1];
    for (i, words) in rows.iter().enumerate() {
        let learnt = words[9] as usize - usize::from(words[4] & MISSING == 0);
        let (warming, dense) = (words[4] & WARMING != 0, words[4] >> 16);
        assert_eq!(dense > 0, words[4] & MISSING == 0 && learnt >= 500, "event {i}");
        assert!(words[4] & MISSING != 0 || warming || learnt >= 500, "event {i}");
    }
    assert!(rows[600..].iter().filter(|words| words[4] & WARMING != 0).count() < 300);
    assert!(rows[2999][9] > 2500);
}

#[test]
fn scores_are_what_the_definition_says() {
    let (mut compared, mut doubtful, mut alerts) = (0, 0, 0);
    for seed in 0..4 {
        let events = stream(seed, 60_000, 12);
        let (got, stats) = run(&Device::cpu(), dense(12), &Setup::default(), &events);
        assert_eq!((stats.accepted, stats.bad_key), (60_000, 0));
        let ask = Ask { rate: 1e-3, ..Ask::default() };
        for key in 0..12 {
            let events = of_key(&events, key);
            let got = &got[&u64::from(key)];
            alerts += got.iter().filter(|words| words[4] & ALERT != 0).count();
            doubtful += judge(&ask, &events, |e| vec![f64::from(e.value)], got);
            compared += events.len();
        }
    }
    println!("{compared} scores, {alerts} alerts, {doubtful} decided by a rounding");
    assert!(alerts > 100 && doubtful * 1000 < compared, "{alerts} alerts, {doubtful} doubtful");
}

#[test]
fn several_values_and_rules_are_what_the_definition_says() {
    let events = stream(9, 60_000, 6);
    let values = |e: &Reading| vec![f64::from(e.value), f64::from(e.other), f64::from(e.count)];
    for (side, up, down) in
        [(Side::Both, true, true), (Side::Above, true, false), (Side::Below, false, true)]
    {
        let query = Scores {
            side,
            least: 3.0,
            least_share: 1e-3,
            rest: 20.0,
            warm_up: 500,
            horizon: 512.0,
            spacing: Some(40),
            ..wide()
        };
        let ask = Ask {
            horizon: 512.0,
            spacing: 40.0,
            warm: 500,
            rate: 1e-3,
            rest: 20.0,
            up,
            down,
            least: 3.0,
            least_share: f64::from(1e-3f32),
            ..Ask::default()
        };
        let (got, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        for key in 0..6 {
            judge(&ask, &of_key(&events, key), values, &got[&(u64::from(key) << 33 | 1)]);
        }
    }
}

#[test]
fn batches_lanes_and_other_keys_do_not_show() {
    let events = stream(3, 20_000, 9);
    let alone = of_key(&events, 5);
    let trees = half_spaces(HalfSpaces::default());
    let seasons = seasonal(SHORT, wide());
    let lodas = loda(Loda::default());
    let [by_value, by_shape] = PROFILES.map(profiles);
    let pcas = sub_pcas(SubPca::default());
    let spectra = spectrals(Spectral::default());
    let found = seasonal(MIXED, wide());
    let several = [seasons, found, lodas, by_value, by_shape, pcas, spectra, arts(CROWDED)];
    for query in [wide(), forest(128), trees].into_iter().chain(several) {
        let (want, _) = run(&Device::cpu(), query.clone(), &Setup::default(), &events);
        for (batch, chunk, lanes, in_flight) in
            [(1, 500, 1, 1), (7, 3000, 3, 4), (1024, 7, 9, 2), (65_536, 9000, 2, 3)]
        {
            let setup =
                Setup { batch, chunk, lanes, in_flight, outstanding: 1, ..Setup::default() };
            let (got, _) = run(&Device::cpu(), query.clone(), &setup, &events);
            assert!(got == want, "batches of {batch}");
        }
        let (got, _) = run(&Device::cpu(), query, &Setup::default(), &alone);
        assert_eq!(got[&(5 << 33 | 1)], want[&(5 << 33 | 1)]);
    }
}

/// Where the same arithmetic comes out scaled by a power of two, so do the scores, bit for bit.
#[test]
fn scale_and_offset_do_not_show() {
    let mut rng = SplitMix::new(4);
    #[allow(clippy::cast_possible_truncation, reason = "small whole numbers")]
    let plain: Vec<f32> = (0..8000)
        .map(|i| if i % 1500 == 1400 { 512.0 } else { (normal(&mut rng) * 16.0).round() as f32 })
        .collect();
    let scores = |detector, map: &dyn Fn(f32) -> f32| {
        let event = |(at, &x): (u64, &f32)| Reading {
            at: at * 10,
            wide: 0,
            key: 0,
            value: map(x),
            other: 0.0,
            count: 0,
        };
        let events: Vec<Reading> = (0..).zip(&plain).map(event).collect();
        let query = Scores { detector, ..dense(1) };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let row = |w: &Words| (w[4], f64::from(f32::from_bits(w[5])));
        scored[&0].iter().map(row).collect::<Vec<_>>()
    };
    let trees = Detector::HalfSpaces(HalfSpaces::default());
    let (seasons, loda) = (Detector::Season(SHORT), Detector::Loda(Loda::default()));
    let forest = Detector::Forest(Forest::of(256));
    let [by_value, by_shape] = PROFILES.map(Detector::Profile);
    // A profile holds a jump for common after the first one: each is in as many stretches as one has numbers.
    for (detector, alerts) in [
        (Detector::Distances, 4),
        (forest, 4),
        (trees, 4),
        (seasons, 4),
        (loda, 4),
        (by_value, 1),
        (by_shape, 0),
        (Detector::SubPca(SubPca::default()), 1),
        (Detector::Spectral(Spectral::default()), 1),
        (Detector::Art(Art::default()), 1),
    ] {
        let want = scores(detector, &|x| x);
        assert!(want.iter().filter(|(flags, _)| flags & ALERT != 0).count() >= alerts);
        let maps: [&dyn Fn(f32) -> f32; 3] =
            [&|x| x * 4096.0, &|x| x + 65_536.0, &|x| 0.25 * x - 512.0];
        for map in maps {
            for (i, (want, got)) in want.iter().zip(&scores(detector, map)).enumerate() {
                assert!(
                    want.0 == got.0 && (want.1 - got.1).abs() <= 1e-5 * want.1.abs().max(1.0),
                    "event {i}: {got:?}, {want:?}"
                );
            }
        }
    }
}

/// Hostile values and times: nothing panics, no score is a NaN, what is odd is flagged.
#[test]
fn hostile_streams_have_finite_scores() {
    let odd = [
        f32::NAN,
        f32::from_bits(0xFFC0_0001),
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::from_bits(1),
        -f32::from_bits(0x7F_FFFF),
        f32::MIN_POSITIVE,
        0.0,
        -0.0,
        1e30,
        -1e30,
        1e12,
        1.0,
    ];
    let mut rng = SplitMix::new(8);
    let mut pick = |n: usize| usize::try_from(rng.below(n as u64)).expect("an index");
    let mut events = Vec::new();
    for i in 0..30_000u64 {
        let kind = pick(4);
        let value = match kind {
            0 => odd[pick(odd.len())],
            1 => 5.0,
            2 => 1e30,
            _ => f32::from_bits(u32::try_from(pick(1 << 32)).expect("a word")),
        };
        let at = [i, 0, u64::MAX, i << 32, 7, u64::MAX - i][pick(6)];
        let key = u32::try_from(if pick(10) == 0 { 1 + pick(5000) } else { kind }).expect("small");
        events.push(Reading { at, wide: 0, key, value, other: -value, count: i32::MIN });
    }
    let spaces = Detector::HalfSpaces(HalfSpaces { trees: 4, height: 5, window: 64 });
    let season = Detector::Season(Season { slot: 3, seasons: [2, 5, 4096, 7], longest: 1024 });
    let loda = Detector::Loda(Loda { projections: 5, cells: 8, window: 16 });
    let forest = Detector::Forest(Forest::of(64));
    let [by_value, by_shape] = PROFILES.map(Detector::Profile);
    let pca = Detector::SubPca(SubPca { window: 16, rank: 8 });
    let spectral = Detector::Spectral(Spectral { window: 32 });
    let several = [spaces, season, loda, by_value, by_shape, pca, spectral, Detector::Art(CROWDED)];
    for detector in [Detector::Distances, forest].into_iter().chain(several) {
        let query = Scores { detector, ..dense(4000) };
        let (scored, stats) = run(&Device::cpu(), query, &Setup::default(), &events);
        let rows: usize = scored.values().map(Vec::len).sum();
        assert_eq!(rows as u64 + stats.bad_key, 30_000);
        assert!(stats.bad_key > 100);
        let (mut missing, mut clamped) = (0, 0);
        for words in scored.values().flatten() {
            for at in [5, 6, 7, 8] {
                assert!(f32::from_bits(words[at]).is_finite(), "{words:x?}");
            }
            assert!(surprise(words) >= 0.0 && f32::from_bits(words[8]) >= 0.0, "{words:x?}");
            missing += usize::from(words[4] & MISSING != 0);
            clamped += usize::from(words[4] & CLAMPED != 0);
        }
        assert!(missing > 500 && clamped > 5000, "{missing} missing, {clamped} clamped");
    }
}

/// Streams in control: the share of scores below a probability is that probability, within half and twice.
#[test]
fn probabilities_hold_in_control() {
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
    let n = 200_000u32;
    for (kind, make) in kinds.into_iter().enumerate() {
        let (mut rng, mut state) = (SplitMix::new(kind as u64), 0.0);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let event = |i: u32| Reading {
            at: u64::from(i) * 1_000_000_007,
            wide: 0,
            key: 0,
            value: make(&mut rng, i.into(), &mut state) as f32,
            other: 0.0,
            count: 0,
        };
        let events: Vec<Reading> = (0..n).map(event).collect();
        let (scored, _) = run(&Device::cpu(), dense(1), &Setup::default(), &events);
        let warm: Vec<_> = scored[&0].iter().filter(|w| w[4] & WARMING == 0).collect();
        for (rate, slack) in [(1e-2, 1.5), (1e-3, 1.6), (1e-4, 3.0)] {
            let below = warm.iter().filter(|w| surprise(w) > -f64::ln(rate)).count();
            let share = below as f64 / warm.len() as f64 / rate;
            println!("kind {kind}: {rate}: {share:.2}");
            assert!((1.0 / slack..=slack).contains(&share), "kind {kind}, {rate}: {share}");
        }
    }
}

#[test]
fn mistakes_are_named() {
    let query = || dense(4);
    for (query, want) in [
        (Scores { values: Vec::new(), ..query() }, "values: 0; accepted are 1 to 8 fields"),
        (Scores { horizon: f32::NAN, ..query() }, "horizon: NaN"),
        (Scores { spacing: Some(0), ..query() }, "spacing: 0"),
        (Scores { rate: 0.5, ..query() }, "rate: 0.5; accepted are 1e-30 to 0.01"),
        (Scores { rest: -1.0, ..query() }, "rest: -1"),
        (Scores { key: pelton::Key::dense(field!(Reading.key), 0), ..query() }, "key: 1 to"),
    ] {
        let error = Inline::new(query, Options::on(Device::cpu())).expect_err("it is refused");
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn mistakes_in_detectors_are_named() {
    let forest = |points| Scores { detector: Detector::Forest(Forest::of(points)), ..dense(4) };
    let periodic = |period| {
        let detector = Detector::Forest(Forest { points: 64, period: Some(period) });
        Scores { detector, ..dense(4) }
    };
    let trees = |trees, height, window| {
        let detector = Detector::HalfSpaces(HalfSpaces { trees, height, window });
        Scores { detector, ..dense(4) }
    };
    let loda = |projections, cells, window| {
        let detector = Detector::Loda(Loda { projections, cells, window });
        Scores { detector, ..dense(4) }
    };
    let seasons = |slot, slots| Season { slot, seasons: [0, slots, 0, 0], longest: 0 };
    let season = |slot, slots| seasonal(seasons(slot, slots), dense(4));
    let learnt = |longest| seasonal(Season::learnt(5, longest), dense(4));
    let profile = |points, window| {
        let detector = Detector::Profile(Profile { points, window, shape: true });
        Scores { detector, ..dense(4) }
    };
    let pca =
        |window, rank| Scores { detector: Detector::SubPca(SubPca { window, rank }), ..dense(4) };
    let spectral = |window| spectrals(Spectral { window });
    let art = |categories, vigilance, window| {
        let detector = Detector::Art(Art { categories, vigilance, window });
        Scores { detector, ..dense(4) }
    };
    for (query, want) in [
        (forest(100), "detector.points: 100; accepted are 64, 128"),
        (forest(2048), "detector.points: 2048"),
        (periodic(0), "detector.period: 0; accepted are 24 to 2^58 ticks, or None"),
        (periodic(23), "detector.period: 23"),
        (periodic((1 << 58) + 1), "detector.period: 288230376151711745"),
        (trees(0, 8, 256), "detector.trees: 0; accepted are 1 to 64"),
        (trees(65, 8, 256), "detector.trees: 65"),
        (trees(1, 0, 256), "detector.height: 0; accepted are 1 to 10"),
        (trees(1, 8, 15), "detector.window: 15; accepted are 16 to 32768"),
        (trees(17, 10, 256), "detector.trees: 17; accepted are fewer trees, or lower ones"),
        (loda(0, 32, 64), "detector.projections: 0; accepted are 1 to 256"),
        (loda(1, 24, 64), "detector.cells: 24; accepted are 8, 16, 32"),
        (loda(1, 512, 64), "detector.cells: 512"),
        (loda(1, 32, 32_768), "detector.window: 32768; accepted are 16 to 32767"),
        (season(0, 24), "detector.slot: 0; accepted are 1 to 2^52 ticks"),
        (season(SLOT_MAX + 1, 24), "detector.slot: 4503599627370497"),
        (season(1, 1), "detector.seasons: 1; accepted are 2 to 4,096 slots, or 0"),
        (season(1, 4097), "detector.seasons: 4097"),
        (season(1, 0), "detector.seasons: none; accepted are at least one"),
        (learnt(15), "detector.longest: 15; accepted are 16 to 1,024 slots, or 0"),
        (profile(128, 8), "detector.points: 128; accepted are powers of two, 256 to 4096"),
        (profile(300, 8), "detector.points: 300"),
        (profile(256, 4), "detector.window: 4; accepted are powers of two, 8 to 64"),
        (profile(256, 24), "detector.window: 24"),
        (pca(4, 1), "detector.window: 4; accepted are 8, 16, 32, 64"),
        (pca(128, 1), "detector.window: 128"),
        (pca(48, 1), "detector.window: 48"),
        (pca(8, 0), "detector.rank: 0; accepted are 1 to 8"),
        (pca(8, 9), "detector.rank: 9"),
        (spectral(16), "detector.window: 16; accepted are 32, 64, 128"),
        (spectral(96), "detector.window: 96"),
        (art(24, 750, 64), "detector.categories: 24; accepted are 16, 32, 64"),
        (art(16, 0, 64), "detector.vigilance: 0; accepted are 1 to 999 thousandths"),
        (art(16, 1000, 64), "detector.vigilance: 1000"),
        (art(16, 750, 63), "detector.window: 63; accepted are 64 to 2^20"),
        (art(16, 750, (1 << 20) + 1), "detector.window: 1048577"),
    ] {
        let error = Inline::new(query, Options::on(Device::cpu())).expect_err("it is refused");
        assert!(error.to_string().contains(want), "{error}");
    }
}

/// What another device takes is measured on made-up events, whose scores nobody takes.
#[test]
fn few_results_are_enough_to_measure_an_alternative() {
    let alternative = Some(Device::cpu());
    let few =
        Options { alternative, batch_events: 64, outstanding: 1, ..Options::on(Device::cpu()) };
    let mut inline = Inline::new(dense(4), few).expect("a good query");
    let mut lane = inline.lane().expect("a lane");
    let event = Reading { at: 1, wide: 0, key: 3, value: 1.0, other: 0.0, count: 0 };
    assert_eq!(lane.push_all(&[event; 100]), 100);
    let mut scored = 0;
    inline.settle(|rows| scored += rows.len()).expect("it works");
    assert_eq!(scored, 100);
}
