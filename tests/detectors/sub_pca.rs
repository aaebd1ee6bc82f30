//! Streaming principal components against their definition in f64 and against those of all windows at once, and what
//! must hold of them whatever the numbers.

use crate::scores::{self, Reading, Setup, normal, run};
use pelton::base::rng::SplitMix;
use pelton::ops::score::ALERT;
use pelton::ops::stretch::{COUNT, COUNT_MAX, MEAN, NUMBER_MAX, RING, dense, level, scaled};
use pelton::{Detector, Device, Scores, SubPca};

const KINDS: [SubPca; 5] = [
    SubPca { window: 8, rank: 1 },
    SubPca { window: 16, rank: 3 },
    SubPca { window: 32, rank: 4 },
    SubPca { window: 64, rank: 2 },
    SubPca { window: 64, rank: 8 },
];

/// The definition, in f64.
struct Naive {
    pca: SubPca,
    kept: Vec<f64>,
    vectors: Vec<Vec<f64>>,
    mean: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Naive {
    fn new(pca: SubPca) -> Self {
        Self { pca, kept: Vec::new(), vectors: vec![], mean: 0.0 }
    }

    /// Mean squares of the window and of what is left, and the excess.
    fn step(&mut self, number: f32) -> Option<(f64, f64, f64)> {
        let window = self.pca.window as usize;
        self.kept.push(number.into());
        let learnt = self.kept.len().checked_sub(window)?;
        let mut left: Vec<f64> = self.kept.iter().rev().take(window).copied().collect();
        let whole = dot(&left, &left) / window as f64;
        let share = (3.0 / (learnt as f64 + 3.0)).max(1.0 / 1024.0);
        for vector in &mut self.vectors {
            let (along, size) = (dot(&left, vector), dot(vector, vector));
            for (v, r) in vector.iter_mut().zip(&mut left) {
                let before = *v;
                *v = (1.0 - share) * before + share * along / size.sqrt() * *r;
                *r -= along / size * before;
            }
        }
        let square = dot(&left, &left) / window as f64;
        if self.vectors.len() < self.pca.rank as usize && square * window as f64 >= 1e-12 {
            self.vectors.push(left);
        }
        let excess = square / (self.mean + 1.0 / 4096.0);
        self.mean += share * (square - self.mean);
        Some((whole, square, excess))
    }
}

/// Numbers of one kind of stream after another, all that may come up.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = SplitMix::new(seed);
    let mut walk = 0.0;
    let mut number = |i: usize| {
        walk = 0.98 * walk + 0.2 * normal(&mut rng);
        let season = 1.3 * (i as f64 / 5.0).sin() + 0.5 * (i as f64 / 2.3).cos();
        let x = match i / 300 % 5 {
            0 => normal(&mut rng),
            1 => season + 0.1 * normal(&mut rng),
            2 => walk,
            3 => f64::from(u8::from(i.is_multiple_of(97))) * 20.0 + 0.3 * normal(&mut rng),
            _ => season,
        };
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let x = x as f32;
        x.clamp(-NUMBER_MAX, NUMBER_MAX)
    };
    (0..n).map(&mut number).collect()
}

#[test]
fn excesses_are_those_of_the_definition() {
    for (seed, pca) in (0..).zip(KINDS) {
        assert_eq!(SubPca::unpacked(pca.packed()), pca);
        let (mut state, mut naive) = (vec![0; pca.words()], Naive::new(pca));
        let (mut compared, mut worst) = (0, 0.0f64);
        for (i, &number) in numbers(seed, 9000).iter().enumerate() {
            let got = pca.excess(&mut state, number);
            let want = naive.step(number);
            assert_eq!(got.is_some(), i + 1 >= 2 * pca.window as usize, "{pca:?}, {i}");
            let (Some(got), Some((whole, square, want))) = (got, want) else { continue };
            assert!(square <= whole * (1.0 + 1e-9));
            // What is left is a difference of numbers as large as the window's, and vectors whose variances are
            // nearly the same turn by what is rounded.
            let bound = 1e-2 * want + 1e-5 * whole * want / square.max(1e-9);
            worst = worst.max((f64::from(got) - want).abs() / bound);
            assert!(worst < 1.0, "{pca:?}, {i}: {got}, {want}, {worst}");
            compared += 1;
        }
        println!("{pca:?}: {compared} compared, the worst at {worst:.3} of its bound");
        assert!((f64::from(f32::from_bits(state[MEAN])) / naive.mean - 1.0).abs() < 1e-3);
    }
}

/// The share of the energy of some windows that the best `rank` shapes leave over: all windows known, by Jacobi's
/// rotations.
fn best(windows: &[Vec<f64>], rank: usize) -> f64 {
    let n = windows[0].len();
    let mut a = vec![vec![0.0; n]; n];
    for window in windows {
        for i in 0..n {
            for j in 0..n {
                a[i][j] += window[i] * window[j];
            }
        }
    }
    for _ in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                let angle = 0.5 * (2.0 * a[p][q]).atan2(a[q][q] - a[p][p]);
                let (s, c) = angle.sin_cos();
                for row in &mut a {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                let (upper, lower) = a.split_at_mut(q);
                for (x, y) in upper[p].iter_mut().zip(&mut lower[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
    }
    let mut values: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values[rank..].iter().sum::<f64>() / values.iter().sum::<f64>()
}

/// What they leave over is little more than what the best shapes of all windows leave over.
#[test]
fn they_find_the_principal_components() {
    let mut rng = SplitMix::new(2);
    let makes: [fn(usize, f64) -> f64; 2] = [
        |i, noise| (i as f64 / 4.0).sin() + 0.6 * (i as f64 / 1.7).sin() + 0.2 * noise,
        |i, noise| [2.0, 0.0, -1.0, 0.5, -1.5][i % 5] + 0.3 * noise,
    ];
    for pca in [SubPca { window: 16, rank: 4 }, SubPca { window: 32, rank: 4 }] {
        for make in makes {
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            let numbers: Vec<f32> = (0..6000).map(|i| make(i, normal(&mut rng)) as f32).collect();
            let mut state = vec![0; pca.words()];
            let (mut all, mut left, mut windows) = (0.0, 0.0, Vec::new());
            for (i, &number) in numbers.iter().enumerate() {
                let mean = f32::from_bits(state[MEAN]);
                let excess = pca.excess(&mut state, number);
                if i < 4000 {
                    continue;
                }
                let window: Vec<f64> = numbers[..=i]
                    .iter()
                    .rev()
                    .take(pca.window as usize)
                    .map(|&x| x.into())
                    .collect();
                all += dot(&window, &window) / window.len() as f64;
                left += f64::from(excess.expect("known") * (mean + 1.0 / 4096.0));
                windows.push(window);
            }
            let (got, want) = (left / all, best(&windows, pca.rank as usize));
            println!("{pca:?}: {got:.4} of the energy is left, at best {want:.4}");
            assert!(got >= 0.99 * want && got < 1.15 * want + 1e-3, "{got}, {want}");
        }
    }
}

/// The longest vectors, constants, nothing at all, numbers that vanish: states stay finite and within what is taken
/// back, and nothing is subnormal.
#[test]
fn odd_numbers_leave_good_states() {
    let makes: [fn(u32) -> f32; 6] = [
        |_| 0.0,
        |_| NUMBER_MAX,
        |i| if i.is_multiple_of(2) { NUMBER_MAX } else { -NUMBER_MAX },
        |i| if i.is_multiple_of(5000) { NUMBER_MAX } else { 0.0 },
        |i| if i < 200 { (i % 7) as f32 } else { 0.0 },
        |i| (i % 3) as f32 * 1e-15,
    ];
    for pca in KINDS {
        for (kind, make) in makes.iter().enumerate() {
            let mut state = vec![0; pca.words()];
            for i in 0..40_000 {
                let excess = pca.excess(&mut state, make(i));
                assert!(excess.is_none_or(|x| (0.0..1e8).contains(&x)), "{kind}, {i}: {excess:?}");
            }
            assert!((COUNT_MAX..COUNT_MAX + pca.window).contains(&state[COUNT]));
            let most = f64::from(pca.window) * f64::from(NUMBER_MAX * NUMBER_MAX);
            for vector in state[RING..].chunks_exact(pca.window as usize).skip(1) {
                let vector: Vec<f64> = vector.iter().map(|&x| f32::from_bits(x).into()).collect();
                assert!(dot(&vector, &vector).sqrt() <= 1.001 * most, "{kind}, {pca:?}");
                assert!(vector.iter().all(|&x| x == 0.0 || x.abs() >= 1e-16), "{kind}");
            }
            // A constant is one shape, two alternating numbers are one, too.
            let mean = f32::from_bits(state[MEAN]);
            assert!(kind == 3 || mean < 1e-6, "{kind}, {pca:?}: {mean}");
        }
    }
}

/// However long the stream, the latest number is where the count says.
#[test]
fn the_ring_comes_round() {
    let pca = SubPca { window: 16, rank: 1 };
    let mut state = vec![0; pca.words()];
    let numbers: Vec<f32> = (0..20_000).map(|i| (i % 61) as f32 / 4.0).collect();
    for (i, &number) in numbers.iter().enumerate() {
        pca.excess(&mut state, number);
        for (back, want) in numbers[..=i].iter().rev().take(16).enumerate() {
            let at = (state[COUNT].wrapping_neg() as usize + back) % 16;
            assert_eq!(f32::from_bits(state[RING + at]), *want, "{i}, {back}");
        }
    }
}

#[test]
fn numbers_follow_the_deviations() {
    assert_eq!([0.0, 1.0, -1.0, 0.5, 1e9].map(|off| scaled(off, 1.0)), [0.0, 1.0, -1.0, 0.5, 64.0]);
    assert_eq!(scaled(-3.0, 4.0), -1.5);
    for off in [0.0, 1e-16, 1.0, 4e12] {
        for variance in [0.0, 1e-30, 1.0, 1e24] {
            let (below, above) = (scaled(-off, variance), scaled(off, variance));
            assert!(below == -above && (0.0..=NUMBER_MAX).contains(&above), "{off}, {variance}");
            assert!(above == 0.0 || above >= 1e-16);
        }
    }
}

#[test]
fn levels_and_dense_scores_rise_with_the_excess() {
    let all: Vec<f32> = (0..100).map(|i| (i * i) as f32 * 0.4).collect();
    for (i, &excess) in all.iter().enumerate() {
        let wide = f64::from(excess);
        assert!((f64::from(level(excess)) - wide.ln_1p()).abs() < 1e-5);
        let share = wide.sqrt() / (1.0 + wide.sqrt());
        assert!((f64::from(dense(excess)) - share).abs() < 1e-6);
        assert!(i == 0 || level(excess) > level(all[i - 1]));
    }
    assert!(dense(2e7) <= 1.0);
}

/// What is usual number by number, and never was in this order.
#[test]
fn they_find_an_order_that_never_was() {
    let mut rng = SplitMix::new(6);
    // Two seasons at once; for a while one of them runs backwards.
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let make = |i: u64| {
        let turn = if (3000..3040).contains(&i) { 3.1 } else { 9.0 };
        let value = (i as f64 / turn).sin() + 0.1 * normal(&mut rng);
        Reading { at: i, wide: 0, key: 0, value: value as f32, other: 0.0, count: 0 }
    };
    let events: Vec<Reading> = (0..4000).map(make).collect();
    let alerts = |detector| {
        let query = Scores { detector, spacing: Some(1), rate: 1e-4, ..scores::dense(1) };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let rows = scored[&0].iter().enumerate();
        rows.filter(|(_, words)| words[4] & ALERT != 0).map(|(i, _)| i).collect::<Vec<_>>()
    };
    let found = alerts(Detector::SubPca(SubPca::default()));
    assert!(!found.is_empty() && found.iter().all(|at| (3000..3072).contains(at)), "{found:?}");
    assert!(alerts(Detector::Distances).is_empty());
}
