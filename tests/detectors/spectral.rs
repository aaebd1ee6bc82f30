//! Spectral residuals against their definition in f64, and what must hold of them whatever the numbers.

use crate::scores::{self, Reading, Setup, normal, run};
use pelton::base::rng::SplitMix;
use pelton::ops::score::ALERT;
use pelton::ops::stretch::{COUNT, COUNT_MAX, MEAN, NUMBER_MAX, dense, level, scaled};
use pelton::{Detector, Device, Scores, Spectral};
use std::f64::consts::TAU;

const KINDS: [Spectral; 3] =
    [Spectral { window: 32 }, Spectral { window: 64 }, Spectral { window: 128 }];

/// The stretch of the latest numbers with its estimates: the latest number is the sixth last.
fn extended(latest: &[f64]) -> Vec<f64> {
    let n = latest.len() - 2;
    let slopes = (1..=5).map(|i| (latest[n] - latest[n - i]) / i as f64).sum::<f64>() / 5.0;
    let next = (latest[n - 4] + 5.0 * slopes).clamp(-64.0, 64.0);
    let mut all = latest[5..].to_vec();
    all.extend([next; 5]);
    all
}

/// The square of the saliency map at each number, the map turned back in full.
fn saliency(numbers: &[f64]) -> Vec<f64> {
    let n = numbers.len();
    let angle = |f: usize, t: usize| TAU * (f * t % n) as f64 / n as f64;
    let spectrum: Vec<(f64, f64)> = (0..n)
        .map(|f| {
            let parts = numbers.iter().enumerate();
            parts.fold((0.0, 0.0), |(re, im), (t, x)| {
                (re + x * angle(f, t).cos(), im - x * angle(f, t).sin())
            })
        })
        .collect();
    // The amplitude of a deviation's 64th part is the least that counts.
    let least = n as f64 / 4096.0;
    let log = |f: usize| 0.5 * (spectrum[f % n].0.powi(2) + spectrum[f % n].1.powi(2) + least).ln();
    let white: Vec<(f64, f64)> = (0..n)
        .map(|f| {
            let usual = ((log(f + n - 1) + log(f) + log(f + 1)) / 3.0).exp();
            (spectrum[f].0 / usual, spectrum[f].1 / usual)
        })
        .collect();
    (0..n)
        .map(|t| {
            let terms = white.iter().enumerate();
            let (re, im) = terms.fold((0.0, 0.0), |(re, im), (f, &(x, y))| {
                let (sin, cos) = angle(f, t).sin_cos();
                (re + x * cos - y * sin, im + x * sin + y * cos)
            });
            (re * re + im * im) / n as f64
        })
        .collect()
}

/// Numbers of one kind of stream after another, all that may come up.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = SplitMix::new(seed);
    let mut number = |i: usize| {
        let season = 1.3 * (i as f64 / 5.0).sin() + 0.5 * (i as f64 / 2.3).cos();
        let x = match i / 200 % 5 {
            0 => normal(&mut rng),
            1 => season + 0.1 * normal(&mut rng),
            2 => 2.5,
            3 => f64::from(u8::from(i.is_multiple_of(97))) * 90.0 + 0.3 * normal(&mut rng),
            _ => (i % 40) as f64 - 20.0,
        };
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let x = x as f32;
        x.clamp(-NUMBER_MAX, NUMBER_MAX)
    };
    (0..n).map(&mut number).collect()
}

#[test]
fn excesses_are_those_of_the_definition() {
    for (seed, spectral) in (0..).zip(KINDS) {
        let window = spectral.window as usize;
        let mut state = vec![0; spectral.words()];
        let numbers = numbers(seed, 2200);
        let (mut mean, mut worst) = (0.0, 0.0f64);
        for (i, &number) in numbers.iter().enumerate() {
            let got = spectral.excess(&mut state, number);
            assert_eq!(got.is_some(), i + 1 >= 2 * window, "{spectral:?}, {i}");
            let Some(learnt) = (i + 1).checked_sub(window) else { continue };
            let latest: Vec<f64> = numbers[learnt..=i].iter().map(|&x| x.into()).collect();
            let square = saliency(&extended(&latest))[window - 6];
            let want = square / (mean + 1.0 / 4096.0);
            mean += (square - mean) * (3.0 / (learnt as f64 + 3.0)).max(1.0 / 1024.0);
            let Some(got) = got else { continue };
            // Sums of up to 64 times as many rounded numbers, whitened, that may come to nothing.
            let off = (f64::from(got).sqrt() - want.sqrt()).abs();
            worst = worst.max(off / (1e-3 * (1.0 + want.sqrt())));
            assert!(worst < 1.0, "{spectral:?}, {i}: {got}, {want}, {worst}");
        }
        println!("{spectral:?}: the worst at {worst:.3} of its bound");
        assert!((f64::from(f32::from_bits(state[MEAN])) / mean - 1.0).abs() < 1e-3);
    }
}

/// Constants, the largest numbers, numbers that vanish: states stay finite, and nothing is subnormal.
#[test]
fn odd_numbers_leave_good_states() {
    let makes: [fn(u32) -> f32; 6] = [
        |_| 0.0,
        |_| NUMBER_MAX,
        |i| if i.is_multiple_of(2) { NUMBER_MAX } else { -NUMBER_MAX },
        |i| if i.is_multiple_of(500) { NUMBER_MAX } else { 0.0 },
        |i| if i / 10 % 2 == 0 { NUMBER_MAX } else { -NUMBER_MAX },
        |i| (i % 3) as f32 * 1e-15,
    ];
    for spectral in KINDS {
        for (kind, make) in makes.iter().enumerate() {
            let mut state = vec![0; spectral.words()];
            for i in 0..8000 {
                let excess = spectral.excess(&mut state, make(i));
                assert!(excess.is_none_or(|x| (0.0..1e9).contains(&x)), "{kind}, {i}: {excess:?}");
            }
            assert!((COUNT_MAX..COUNT_MAX + spectral.window).contains(&state[COUNT]));
            let mean = f32::from_bits(state[MEAN]);
            assert!(mean == 0.0 || (1e-16..1e6).contains(&mean), "{kind}, {spectral:?}: {mean}");
        }
    }
}

#[test]
fn the_scale_of_numbers_does_not_show() {
    let mut rng = SplitMix::new(4);
    let plain: Vec<f32> = (0..900).map(|_| rng.below(64) as f32 / 16.0 - 2.0).collect();
    for spectral in KINDS {
        let run = |by: f32| {
            let mut state = vec![0; spectral.words()];
            plain.iter().map(|&x| spectral.excess(&mut state, by * x)).collect::<Vec<_>>()
        };
        // But for frequencies that come to nothing by chance.
        let off = |(a, b): (Option<f32>, Option<f32>)| {
            let (a, b) = (a.unwrap_or(0.0).sqrt(), b.unwrap_or(0.0).sqrt());
            (a - b).abs() > 0.05 * (1.0 + a)
        };
        let off = run(1.0).into_iter().zip(run(2.0)).filter(|&pair| off(pair)).count();
        assert!(off < 45, "{spectral:?}: {off} of 900");
    }
    assert_eq!(scaled(-3.0, 4.0), -1.5);
    assert!(level(3.0) > level(2.0) && dense(1.0) == 0.5);
}

/// A number that is usual by itself jumps out of the season around it; without it nothing is found there.
#[test]
fn they_find_a_number_out_of_place() {
    let alerts = |jump: f64| {
        let mut rng = SplitMix::new(7);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let make = |i: u64| {
            let season = 10.0 * (i as f64 / 40.0).sin() + 0.3 * normal(&mut rng);
            let value = season + if i == 3000 { jump } else { 0.0 };
            Reading { at: i, wide: 0, key: 0, value: value as f32, other: 0.0, count: 0 }
        };
        let events: Vec<Reading> = (0..4000).map(make).collect();
        let detector = Detector::Spectral(Spectral::default());
        let query = Scores { detector, spacing: Some(1), rate: 1e-3, ..scores::dense(1) };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let rows = scored[&0].iter().enumerate();
        rows.filter(|(_, words)| words[4] & ALERT != 0).map(|(i, _)| i).collect::<Vec<_>>()
    };
    assert!(alerts(9.0).contains(&3000));
    assert!(!alerts(0.0).contains(&3000));
}
