//! Streams to score, how they are scored on a device, and how a device's scores are judged.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

pub mod judge;
pub mod labels;
pub mod order;
#[path = "../spec/scores.rs"]
pub mod spec;
pub mod states;

use pelton::base::limits::VALUES_MAX;
use pelton::base::rng::SplitMix;
use pelton::ops::score::ROW;
use pelton::{
    Art, Detector, Device, Drift, Forest, HalfSpaces, Inline, Key, LaneOptions, Loda, Member,
    Options, Pod, Profile, Rows, Score, Scores, Season, Spectral, Stats, SubPca, Zeroable, field,
};
use std::collections::BTreeMap;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Reading {
    pub at: u64,
    pub wide: u64,
    pub key: u32,
    pub value: f32,
    pub other: f32,
    pub count: i32,
}

/// Words of a score as the device wrote them; zeros behind what there is.
pub type Words = [u32; ROW + VALUES_MAX];
/// Each key's scores in order.
pub type Scored = BTreeMap<u64, Vec<Words>>;

/// How a stream is scored. None of it may change what comes out.
#[derive(Debug, Clone)]
pub struct Setup {
    pub batch: usize,
    pub in_flight: usize,
    pub outstanding: usize,
    /// Events between two polls.
    pub chunk: usize,
    pub lanes: usize,
    pub latency_mode: bool,
    /// Devices that the query moves to while it runs, in turn.
    pub moves: Vec<Device>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            batch: 1024,
            in_flight: 2,
            outstanding: 4,
            chunk: 1000,
            lanes: 2,
            latency_mode: false,
            moves: Vec::new(),
        }
    }
}

/// Scores by `wide`, of all three values.
pub fn wide() -> Scores<Reading> {
    Scores {
        key: Key::hashed(field!(Reading.wide)),
        values: vec![
            field!(Reading.value).into(),
            field!(Reading.other).into(),
            field!(Reading.count).into(),
        ],
        rate: 1e-3,
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    }
}

/// Scores of one value by dense keys.
pub fn dense(keys: u32) -> Scores<Reading> {
    Scores {
        key: Key::dense(field!(Reading.key), keys),
        rate: 1e-3,
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    }
}

/// As [`dense`], with a past so short that most of it is over before a key's next event.
pub fn brief(keys: u32) -> Scores<Reading> {
    Scores { horizon: 16.0, spacing: Some(1), ..dense(keys) }
}

/// As [`wide`], judged by forests, too.
pub fn forest(points: u32) -> Scores<Reading> {
    Scores { detector: Detector::Forest(Forest::of(points)), ..wide() }
}

/// The same with a period.
pub fn periodic() -> Scores<Reading> {
    let detector = Detector::Forest(Forest { points: 64, period: Some(100_000) });
    Scores { detector, ..wide() }
}

/// Runs a stream to its end; a key's events go through one lane.
pub fn run(
    device: &Device,
    query: Scores<Reading>,
    setup: &Setup,
    events: &[Reading],
) -> (Scored, Stats) {
    let options = Options {
        batch_events: setup.batch,
        in_flight: setup.in_flight,
        outstanding: setup.outstanding,
        latency_mode: setup.latency_mode,
        lane: LaneOptions { events: 1 << 14, ..LaneOptions::default() },
        keys: 1,
        keys_max: 1 << 16,
        seed: Some(7),
        ..Options::on(device.clone())
    };
    let mut engine = Inline::new(query, options).expect("the query runs");
    let mut lanes: Vec<_> =
        (0..setup.lanes).map(|_| engine.lane().expect("it takes lanes")).collect();
    let mut scored = Scored::new();
    let mut moved = 0;
    for chunk in events.chunks(setup.chunk) {
        for event in chunk {
            lanes[event.key as usize % setup.lanes].push(*event).expect("there is room");
        }
        settle(&mut engine, &mut scored);
        if !setup.moves.is_empty() {
            let to = setup.moves[moved % setup.moves.len()].clone();
            engine.move_to(to).expect("it moves");
            moved += 1;
        }
    }
    drop(lanes);
    engine.finish();
    settle(&mut engine, &mut scored);
    let stats = engine.stats();
    assert_eq!(stats.rows, scored.values().map(|rows| rows.len() as u64).sum::<u64>());
    (scored, stats)
}

/// Holds a device's scores to those of the processor, bit for bit, with hashed and with dense keys, a long past and a
/// short one.
pub fn same(device: &Device, seed: u64, setup: &Setup, n: usize) {
    same_of([wide(), dense(40), brief(40)], device, &stream(seed, n, 40), setup);
}

/// The same for queries with forests.
pub fn same_forests(device: &Device, seed: u64, setup: &Setup, n: usize) {
    same_of(
        [
            forest(64),
            Scores { detector: Detector::Forest(Forest::of(256)), ..dense(40) },
            periodic(),
        ],
        device,
        &stream(seed, n, 40),
        setup,
    );
}

/// As [`wide`], judged by half-space trees, too.
pub fn half_spaces(trees: HalfSpaces) -> Scores<Reading> {
    Scores { detector: Detector::HalfSpaces(trees), ..wide() }
}

/// The same for queries with half-space trees, of three values and of one.
pub fn same_half_spaces(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let small = HalfSpaces { trees: 5, height: 5, window: 50 };
    let fine = HalfSpaces { trees: 8, height: 8, window: 100 };
    let one = Scores { detector: Detector::HalfSpaces(fine), ..dense(40) };
    same_of([half_spaces(small), one], device, &stream(seed, n, 40), setup);
}

/// As [`wide`], judged by matrix profiles, too.
pub fn profiles(profile: Profile) -> Scores<Reading> {
    Scores { detector: Detector::Profile(profile), ..wide() }
}

/// The same for queries with matrix profiles, of three values and of one, by values and by shape.
pub fn same_profiles(device: &Device, seed: u64, setup: &Setup, n: usize) {
    /// Few, so that rings come round.
    const KEYS: u32 = 7;
    let short = Profile { points: 256, window: 8, shape: false };
    let long = Profile { points: 512, window: 16, shape: true };
    let one = |profile| Scores { detector: Detector::Profile(profile), ..dense(KEYS) };
    let queries = [profiles(Profile { shape: true, ..short }), one(short), one(long)];
    let mut events = stream(seed, n, KEYS);
    // Now and then a key stands still, so that stretches are flat.
    for (i, event) in events.iter_mut().enumerate() {
        if i / 400 % 3 == 2 {
            event.value = [20.0, 1000.0, 0.0, -3.5e5][event.key as usize % 4];
        }
    }
    same_of(queries, device, &events, setup);
}

/// As [`wide`], judged by principal components, too.
pub fn sub_pcas(pca: SubPca) -> Scores<Reading> {
    Scores { detector: Detector::SubPca(pca), ..wide() }
}

/// The same for queries with principal components, of three values and of one.
pub fn same_sub_pcas(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let one =
        |window, rank| Scores { detector: Detector::SubPca(SubPca { window, rank }), ..dense(20) };
    let mut events = stream(seed, n, 20);
    // Now and then a key stands still, so that vectors vanish.
    for (i, event) in events.iter_mut().enumerate() {
        if i / 400 % 3 == 2 {
            event.value = [20.0, 1000.0, 0.0, -3.5e5][event.key as usize % 4];
        }
    }
    let queries = [sub_pcas(SubPca { window: 8, rank: 2 }), one(32, 4), one(64, 3)];
    same_of(queries, device, &events, setup);
}

/// As [`wide`], judged by spectral residuals, too.
pub fn spectrals(spectral: Spectral) -> Scores<Reading> {
    Scores { detector: Detector::Spectral(spectral), ..wide() }
}

/// The same for queries with spectral residuals, of three values and of one.
pub fn same_spectrals(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let one = |window| Scores { detector: Detector::Spectral(Spectral { window }), ..dense(10) };
    let queries = [spectrals(Spectral { window: 32 }), one(64), one(128)];
    same_of(queries, device, &stream(seed, n, 10), setup);
}

/// As [`wide`], judged by fuzzy ART, too.
pub fn arts(art: Art) -> Scores<Reading> {
    Scores { detector: Detector::Art(art), ..wide() }
}

/// Few and small categories that are soon forgotten, so that all that may come up does.
pub const CROWDED: Art = Art { categories: 16, vigilance: 900, window: 64 };

/// The same for queries with fuzzy ART, of three values and of one.
pub fn same_arts(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let roomy = Art { categories: 64, vigilance: 700, window: 300 };
    let one = Scores { detector: Detector::Art(roomy), ..dense(7) };
    same_of([arts(CROWDED), one], device, &stream(seed, n, 7), setup);
}

/// As `query`, by seasons.
pub fn seasonal(season: Season, query: Scores<Reading>) -> Scores<Reading> {
    Scores { detector: Detector::Season(season), ..query }
}

/// Short seasons, among which that of the keys in [`stream`] whose number is one more than a multiple of four.
pub const SHORT: Season = Season { slot: 785, seasons: [24, 7, 60, 0], longest: 0 };

/// The same for queries with seasons, of three values and of one.
pub fn same_seasons(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let coarse = Season { slot: 1571, seasons: [12, 0, 0, 3], longest: 0 };
    same_of(
        [seasonal(SHORT, wide()), seasonal(coarse, dense(40))],
        device,
        &stream(seed, n, 40),
        setup,
    );
}

/// Named seasons beside one that is to be found.
pub const MIXED: Season = Season { slot: 50, seasons: [0, 12, 0, 0], longest: 40 };

/// As [`stream`], of few keys, of which all but one have a season of their own, and another one in the second half.
pub fn learnt_stream(seed: u64, n: usize) -> Vec<Reading> {
    let mut events = stream(seed, n, 5);
    for (i, event) in events.iter_mut().enumerate() {
        let slots = [7, 13, 20, 33, 1][(event.key as usize + 2 * i / n) % 5];
        let slot = event.at / 50 % slots;
        event.value += (slot * slot * 31 % 17) as f32;
    }
    events
}

/// The same for queries with seasons that are found, of three values and of one.
pub fn same_learnt(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let queries = [seasonal(MIXED, wide()), seasonal(Season::learnt(25, 70), dense(5))];
    same_of(queries, device, &learnt_stream(seed, n), setup);
}

/// As [`wide`], judged by random projections.
pub fn loda(loda: Loda) -> Scores<Reading> {
    Scores { detector: Detector::Loda(loda), ..wide() }
}

/// The same for queries with random projections, of three values and of one.
pub fn same_lodas(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let small = Loda { projections: 9, cells: 16, window: 40 };
    let fine = Loda { projections: 20, cells: 64, window: 100 };
    let one = Scores { detector: Detector::Loda(fine), ..dense(40) };
    same_of([loda(small), one], device, &stream(seed, n, 40), setup);
}

/// `query` by an ensemble: a forest, half-space trees, short seasons and a profile.
pub fn ensemble(query: Scores<Reading>) -> Scores<Reading> {
    let member = |detector, share| Member { detector, share };
    let ensemble = vec![
        member(Detector::HalfSpaces(HalfSpaces { trees: 4, height: 5, window: 20 }), 0.25),
        member(Detector::Season(SHORT), 0.0625),
        member(Detector::Profile(Profile { points: 256, window: 8, shape: false }), 0.125),
    ];
    Scores { detector: Detector::Forest(Forest::of(64)), ensemble, ..query }
}

/// The same for ensembles, of three values and of one.
pub fn same_ensembles(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let two = vec![Member { detector: Detector::Distances, share: 0.5 }];
    let loda = Detector::Loda(Loda { projections: 9, cells: 16, window: 40 });
    let queries = [ensemble(wide()), Scores { ensemble: two, detector: loda, ..dense(40) }];
    same_of(queries, device, &stream(seed, n, 40), setup);
}

/// As `query`, where keys drift soon.
pub fn drifting(query: Scores<Reading>) -> Scores<Reading> {
    let drift = Drift::Page { delta: 0.25, threshold: 25.0 };
    Scores { drift: Some(drift), warm_up: 20, ..query }
}

/// As `query`, where keys drift by their windows, which are soon cut.
pub fn cutting(query: Scores<Reading>) -> Scores<Reading> {
    Scores { drift: Some(Drift::Adwin { delta: 0.5 }), warm_up: 20, ..query }
}

/// As [`same_drifts`], by windows.
pub fn same_cuts(device: &Device, seed: u64, setup: &Setup, n: usize) {
    let queries = [wide(), dense(2), ensemble(wide())].map(cutting);
    same_of_drifting(queries, device, &moving(seed, n, 2), setup);
}

/// The same for queries in which keys drift, as those of three values, of one, and of ensembles do.
pub fn same_drifts(device: &Device, seed: u64, setup: &Setup, n: usize) {
    /// Few, so that they are warm soon.
    const KEYS: u32 = 5;
    let queries = [wide(), dense(KEYS), ensemble(wide())].map(drifting);
    same_of_drifting(queries, device, &moving(seed, n, KEYS), setup);
}

fn same_of_drifting<const N: usize>(
    queries: [Scores<Reading>; N],
    device: &Device,
    events: &[Reading],
    setup: &Setup,
) {
    for query in &queries {
        let (_, stats) = run(&Device::cpu(), query.clone(), &Setup::default(), events);
        assert!(stats.drifts > 2, "{} drifts", stats.drifts);
    }
    same_of(queries, device, events, setup);
}

/// As [`stream`], where all keys go elsewhere three times, and stay there.
pub fn moving(seed: u64, n: usize, keys: u32) -> Vec<Reading> {
    let mut events = stream(seed, n, keys);
    for (i, event) in events.iter_mut().enumerate() {
        let moved = (4 * i / n) as f32;
        event.value += 15.0 * moved;
        event.other += 300.0 * moved;
    }
    events
}

fn same_of<const N: usize>(
    queries: [Scores<Reading>; N],
    device: &Device,
    events: &[Reading],
    setup: &Setup,
) {
    for query in queries {
        let (want, _) = run(&Device::cpu(), query.clone(), &Setup::default(), events);
        let (got, _) = run(device, query, setup, events);
        for (key, want) in &want {
            for (i, (want, got)) in want.iter().zip(&got[key]).enumerate() {
                assert_eq!(want, got, "key {key}, its event {i}");
            }
        }
        assert!(got == want, "as many events");
    }
}

pub fn words(score: &Score<'_>) -> Words {
    let mut words = [0; _];
    words[..score.words().len()].copy_from_slice(score.words());
    words
}

pub fn settle(engine: &mut Inline<Reading>, scored: &mut Scored) {
    let mut take = |rows: Rows| {
        assert_eq!((rows.iter().len(), rows.scores().len()), (0, rows.len()));
        for score in rows.scores() {
            scored.entry(score.key()).or_default().push(words(&score));
        }
    };
    while engine.poll(&mut take).expect("the device is there") {
        std::thread::yield_now();
    }
}

/// A number from a normal distribution.
pub fn normal(rng: &mut SplitMix) -> f64 {
    let (a, b) = (unit(rng), unit(rng));
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// A number above 0 and up to 1.
pub fn unit(rng: &mut SplitMix) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// A stream of `n` events of `keys` keys, of every kind: steady, seasonal, walking, with outliers, jumps, missing
/// values, repeated and backward times and gaps. Every fourth event is of key 0.
pub fn stream(seed: u64, n: usize, keys: u32) -> Vec<Reading> {
    let mut rng = SplitMix::new(seed);
    let mut at = 1 << 33;
    let mut walk = vec![0.0f64; keys as usize];
    let event = |i: usize| {
        let key = if i.is_multiple_of(4) {
            0
        } else {
            u32::try_from(rng.below(keys.into())).expect("few keys")
        };
        at += match rng.below(1000) {
            0 => 100_000,
            1..100 => 0,
            _ => 8 + rng.below(5),
        };
        let back = if rng.below(50) == 0 { rng.below(1000) } else { 0 };
        let noise = normal(&mut rng);
        walk[key as usize] += 0.1 * normal(&mut rng);
        let (outlier, missing) = (rng.below(500) == 0, rng.below(40) == 0);
        let level = match key % 4 {
            0 => 20.0,
            1 => 1000.0 + 5.0 * (at as f64 / 3000.0).sin(),
            2 => walk[key as usize],
            _ => -3.5e5,
        };
        let value = level + noise + if outlier { 25.0 } else { 0.0 };
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        Reading {
            at: at - back,
            wide: u64::from(key) << 33 | 1,
            key,
            value: if missing { f32::NAN } else { value as f32 },
            other: if rng.below(3) == 0 { f32::NAN } else { (noise * noise) as f32 },
            count: if missing { 7 } else { (100.0 * noise) as i32 },
        }
    };
    (0..n).map(event).collect()
}
