//! The left matrix profile against its definition in f64, and what must hold of it whatever the places.

use crate::scores::{self, Reading, Setup, Words, normal, run};
use pelton::base::rng::SplitMix;
use pelton::ops::profile::{COUNT, PLACE_MAX, RING, SQUARES, SUM, dense, level, place};
use pelton::ops::score::{ALERT, MISSING};
use pelton::{Detector, Device, Profile, Scores};

/// All profiles that differ in more than size.
fn kinds() -> impl Iterator<Item = Profile> {
    let sizes = [(256, 8), (256, 64), (512, 16), (1024, 32)];
    sizes
        .into_iter()
        .flat_map(|(points, window)| [false, true].map(|shape| Profile { points, window, shape }))
}

/// The squared distance of two stretches; with the larger of their roots by the smaller.
fn apart(a: &[u32], b: &[u32], shape: bool) -> (f64, f64) {
    let n = a.len() as f64;
    let [a, b] = [a, b].map(|all| all.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    if !shape {
        let squares: f64 = a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum();
        return (squares / n / 4096.0, 1.0);
    }
    let moved = |all: &[f64]| {
        let mean = all.iter().sum::<f64>() / n;
        all.iter().map(|x| x - mean).collect::<Vec<_>>()
    };
    let root = |all: &[f64]| all.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (a, b) = (moved(&a), moved(&b));
    let (s, t) = (root(&a), root(&b));
    // The whole numbers decide, and so exactly, what is flat.
    let is_flat = |root: f64| root * root < n * (1.0 - 1e-12);
    match (is_flat(s), is_flat(t)) {
        (true, true) => (0.0, 1.0),
        (false, false) => {
            let squares: f64 = a.iter().zip(&b).map(|(x, y)| (x / s - y / t).powi(2)).sum();
            (squares, (s / t).max(t / s))
        }
        _ => (1.0, 1.0),
    }
}

/// The nearest stretch before the latest of the places kept, all numbers anew.
fn nearest(profile: Profile, places: &[u32]) -> Option<(f64, f64)> {
    let window = profile.window as usize;
    // One number more is kept than stretches are made of: that which has just left the farthest one.
    let kept = &places[places.len().saturating_sub(profile.points as usize - 1)..];
    let stretches: Vec<&[u32]> = kept.windows(window).collect();
    let (latest, before) = stretches.split_last()?;
    let far = before.len().checked_sub(window - 1)?;
    let all = before[..far].iter().map(|other| apart(latest, other, profile.shape));
    // The largest error that any of those near the least one may have.
    let all: Vec<(f64, f64)> = all.collect();
    let least = all.iter().map(|&(d, _)| d).min_by(f64::total_cmp)?;
    let ratio = all.iter().filter(|(d, _)| *d <= least + 1e-3).map(|&(_, r)| r).fold(1.0, f64::max);
    Some((least, ratio))
}

/// Places of one kind of stream after another, all that may come up.
fn places(seed: u64, n: usize) -> Vec<u32> {
    let mut rng = SplitMix::new(seed);
    let mut walk = 4095i64;
    let mut place = |i: usize| {
        let below = |rng: &mut SplitMix, n: u64| i64::try_from(rng.below(n)).expect("small");
        let at = match i / 150 % 6 {
            0 => below(&mut rng, 8191),
            1 => 4095,
            2 => 4095 + [0, 90, 20, -70][i % 4] + below(&mut rng, 3),
            3 => {
                walk = (walk + below(&mut rng, 201) - 100).clamp(0, 8190);
                walk
            }
            4 => 8190 * i64::from(i.is_multiple_of(2)),
            _ => 4095 + i64::from(i.is_multiple_of(64)) * below(&mut rng, 3),
        };
        u32::try_from(at).expect("a place")
    };
    (0..n).map(&mut place).collect()
}

#[test]
fn distances_are_those_of_the_definition() {
    let (mut compared, mut worst) = (0, 0.0f64);
    for (seed, profile) in (0..).zip(kinds()) {
        assert_eq!(Profile::unpacked(profile.packed()), profile);
        let mut state = vec![0; profile.words()];
        let places = places(seed, 3000);
        for (i, &place) in places.iter().enumerate() {
            let got = profile.nearest(&mut state, place);
            assert_eq!(got.is_some(), i + 1 >= 2 * profile.window as usize, "{profile:?}, {i}");
            // Every number at the beginning, then some.
            if i > 200 && i % 7 > 0 {
                continue;
            }
            let want = nearest(profile, &places[..=i]);
            assert_eq!(got.is_some(), want.is_some());
            let (Some(got), Some((want, ratio))) = (got, want) else { continue };
            let off = (f64::from(got) - want).abs();
            let bound = if profile.shape { ratio / 2_097_152.0 } else { want / 16_777_216.0 };
            assert!(off <= bound, "{profile:?}, {i}: {got}, {want}: off by {off:e} of {bound:e}");
            worst = worst.max(if bound > 0.0 { off / bound } else { 0.0 });
            compared += 1;
        }
    }
    println!("{compared} compared, the worst at {worst:.2} of its bound");
    assert!(compared > 4000);
}

/// However long a stream, sums are those of what is kept: a fresh start on the last numbers comes to the same state.
#[test]
fn nothing_drifts() {
    for profile in kinds() {
        let all = places(9, 40_000);
        let points = profile.points as usize;
        let (mut old, mut new) = (vec![0; profile.words()], vec![0; profile.words()]);
        all[..all.len() - 2 * points].iter().for_each(|&x| _ = profile.nearest(&mut old, x));
        new[COUNT] = old[COUNT];
        new[COUNT] %= profile.points;
        for (i, &x) in all[all.len() - 2 * points..].iter().enumerate() {
            let (was, is) = (profile.nearest(&mut old, x), profile.nearest(&mut new, x));
            assert!(i < points || was == is, "{profile:?}, {i}: {was:?}, {is:?}");
        }
        assert_eq!(old[SUM..], new[SUM..], "{profile:?}");
    }
}

/// The largest sums fit: stretches as far apart as any can be.
#[test]
fn the_largest_distances_fit() {
    let profile = Profile { points: 256, window: 64, shape: false };
    let mut state = vec![0; profile.words()];
    (0..192).for_each(|_| _ = profile.nearest(&mut state, 0));
    let all: Vec<_> = (0..64).map(|_| profile.nearest(&mut state, PLACE_MAX)).collect();
    assert_eq!(all.last(), Some(&Some(8190.0f32 * 8190.0 / 4096.0)));
    assert_eq!((state[SUM], state[SQUARES]), (64 * 8190, 64 * 8190 * 8190));
    assert_eq!(state[RING..].len(), 512);
}

/// Scaled by a power of two or moved, shapes are the same; values moved as a whole are, too.
#[test]
fn scale_and_offset_do_not_show() {
    let mut rng = SplitMix::new(5);
    let plain: Vec<u32> = (0..2000)
        .map(|i| [100, 300, 0, 200][i % 4] + u32::try_from(rng.below(90)).unwrap())
        .collect();
    let run = |shape, map: &dyn Fn(u32) -> u32| {
        let profile = Profile { points: 256, window: 16, shape };
        let mut state = vec![0; profile.words()];
        plain.iter().map(|&x| profile.nearest(&mut state, map(x))).collect::<Vec<_>>()
    };
    assert_eq!(run(false, &|x| x + 5000), run(false, &|x| x));
    assert_eq!(run(true, &|x| x + 5000), run(true, &|x| x));
    for (a, b) in run(true, &|x| 4 * x + 777).into_iter().zip(run(true, &|x| x)) {
        let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
        assert!((a - b).abs() <= 1e-6, "{a}, {b}");
    }
}

#[test]
fn places_follow_the_deviations() {
    assert_eq!([0.0, 1.0, -1.0, 0.5].map(|off| place(off, 1.0)), [4095, 4159, 4031, 4127]);
    assert_eq!(place(6e-5, 1e-10), place(6.0, 1.0));
    for off in [0.0, 1e-16, 1.0, 2e12] {
        for variance in [0.0, 1e-30, 1.0, 1e24] {
            let (below, above) = (place(-off, variance), place(off, variance));
            assert!(below <= 4095 && (4095..=PLACE_MAX).contains(&above), "{off}, {variance}");
            assert_eq!(below + above, PLACE_MAX, "{off}, {variance}");
        }
    }
    let places: Vec<u32> = (-5000..5000).map(|i| place(i as f32 * 0.016, 1.0)).collect();
    assert!(places.is_sorted());
}

#[test]
fn levels_and_dense_scores_rise_with_the_distance() {
    let all: Vec<f32> = (0..100).map(|i| (i * i) as f32 * 0.4).collect();
    for (i, &squared) in all.iter().enumerate() {
        let wide = f64::from(squared);
        assert!((f64::from(level(squared)) - (64.0 * wide).ln_1p()).abs() < 1e-5);
        let share = wide.sqrt() / (1.0 + wide.sqrt());
        assert!((f64::from(dense(squared)) - share).abs() < 1e-6);
        assert!(i == 0 || level(squared) > level(all[i - 1]));
    }
    assert!(dense(8190.0 * 8190.0) <= 1.0);
}

fn event(at: u64, value: f64) -> Reading {
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let value = value as f32;
    Reading { at, wide: 0, key: 0, value, other: 0.0, count: 0 }
}

fn scored(profile: Profile, events: &[Reading]) -> Vec<Words> {
    let detector = Detector::Profile(profile);
    let query = Scores { detector, spacing: Some(1), ..scores::dense(1) };
    let (mut scored, _) = run(&Device::cpu(), query, &Setup::default(), events);
    scored.remove(&0).expect("a score for each event")
}

/// The places of a value's numbers, as the definition has them, in f64.
struct Places {
    origin: f64,
    weight: f64,
    mean: f64,
    variance: f64,
}

impl Places {
    fn next(&mut self, x: f64) -> Option<u32> {
        if self.weight == 0.0 {
            self.origin = x;
        }
        let x = x - self.origin;
        let limit = 8.0 * self.variance.sqrt();
        let limited = self.variance > 0.0 && self.weight >= 16.0;
        let off = x - self.mean;
        let off = if limited { off.clamp(-limit, limit) } else { off };
        self.weight = self.weight * (-1.0 / 2048f64).exp() + 1.0;
        self.mean += off / self.weight;
        self.variance += (off * (off - off / self.weight) - self.variance) / self.weight;
        let steps = (x - self.mean) / (self.variance.sqrt() + 1e-12) * 64.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8190")]
        let place = (steps.clamp(-4095.0, 4095.0) + 4095.5) as u32;
        (self.weight >= 16.0).then_some(place)
    }
}

/// From a query's events to its dense scores, against the definition; large offsets and missing numbers among them.
#[test]
fn dense_scores_are_those_of_the_definition() {
    for (seed, profile) in (0..).zip(kinds()) {
        let mut rng = SplitMix::new(seed);
        let mut all = Places { origin: 0.0, weight: 0.0, mean: 0.0, variance: 0.0 };
        let make = |i: u64| {
            let season = 40.0 * (i as f64 / 9.0).sin();
            let jump = if i % 700 > 650 { 300.0 } else { 0.0 };
            let missing = rng.below(50) == 0;
            event(i, if missing { f64::NAN } else { 1e5 + season + jump + 3.0 * normal(&mut rng) })
        };
        let events: Vec<Reading> = (0..2500).map(make).collect();
        let (mut places, mut worst) = (Vec::new(), 0.0f64);
        for (i, (event, words)) in events.iter().zip(scored(profile, &events)).enumerate() {
            let got = f64::from(words[4] >> 16) / 65535.0;
            let place = if event.value.is_nan() { None } else { all.next(event.value.into()) };
            let want = match place {
                Some(place) => {
                    places.push(place);
                    nearest(profile, &places).map_or(0.0, |(squared, _)| squared.sqrt())
                }
                None => 0.0,
            };
            assert_eq!(words[4] & MISSING != 0, event.value.is_nan());
            // A few places are rounded the other way.
            worst = worst.max((got - want / (1.0 + want)).abs());
            assert!(worst < 2e-3, "{profile:?}, {i}: {got}, distance {want}");
        }
        assert!(places.len() > 2300, "{worst}");
    }
}

/// What is usual number by number, and never was in this order.
#[test]
fn profiles_find_an_order_that_never_was() {
    for shape in [false, true] {
        let mut rng = SplitMix::new(6);
        // A saw that rises; for one round it falls.
        let make = |i: u64| {
            let tooth = if (3000..3032).contains(&i) { 31 - i % 32 } else { i % 32 };
            event(i, tooth as f64 + 0.5 * normal(&mut rng))
        };
        let events: Vec<Reading> = (0..4000).map(make).collect();
        let scored = scored(Profile { points: 512, window: 16, shape }, &events);
        let alerts = scored.iter().enumerate().filter(|(_, words)| words[4] & ALERT != 0);
        let alerts: Vec<usize> = alerts.map(|(i, _)| i).collect();
        assert!(
            !alerts.is_empty() && alerts.iter().all(|at| (3000..3048).contains(at)),
            "{alerts:?}"
        );
    }
}
