//! The forest of infinitely many random cut trees against its definition: depths by trying all cuts, samples by a
//! reservoir that is sorted anew each time.

use pelton::Forest;
use pelton::base::rng::SplitMix;
use pelton::ops::forest::{COUNTS, EDGE, MEANS, depth, isolation, judge};

/// The expected depth by the definition: of all first cuts, weighted by the gap they fall into, the depth in what
/// remains. `line` is sorted, without repetitions; `at` is where the point stands that is to be alone.
fn by_all_cuts(line: &[f64], at: usize) -> f64 {
    let n = line.len();
    // Of each stretch of the line that holds the point, the short ones first.
    let mut known = vec![vec![0.0; n]; n];
    for from in (0..=at).rev() {
        for to in at..n {
            let width = line[to] - line[from];
            let mut sum = 0.0;
            for gap in from..to {
                let rest = if gap < at { known[gap + 1][to] } else { known[from][gap] };
                sum += (line[gap + 1] - line[gap]) / width * rest;
            }
            known[from][to] = if from == to { 0.0 } else { 1.0 + sum };
        }
    }
    known[0][n - 1]
}

/// The same for a sample with repetitions.
fn expected(points: &[f32], q: f32) -> f64 {
    let mut line: Vec<f64> = points.iter().chain([&q]).map(|&z| f64::from(z)).collect();
    line.sort_by(f64::total_cmp);
    line.dedup();
    let at = line.iter().position(|&z| z == f64::from(q)).expect("it is on the line");
    let equal = points.iter().filter(|&&z| z == q).count();
    by_all_cuts(&line, at) + (equal as f64 + 1.0).log2()
}

fn close(got: f32, want: f64, context: &str) {
    assert!((f64::from(got) - want).abs() <= 2e-5 * want.abs(), "{got} for {want}: {context}");
}

#[test]
fn depths_are_those_of_all_cuts() {
    let mut rng = SplitMix::new(1);
    let mut below = |n: u64| rng.below(n);
    for round in 0..600 {
        let size = 1 + below(60);
        let scale = [1.0, 1e-9, 1e11][round % 3];
        // Few different values, so that many are equal, or many.
        let kinds = [5, 40, 1 << 20][round % 7 % 3];
        let mut number = || (below(kinds) as f32 - 2.0) * scale;
        let mut points: Vec<f32> = (0..size).map(|_| number()).collect();
        points.sort_by(f32::total_cmp);
        let q = if round % 5 == 0 { points[0] - 7.0 * scale } else { number() };
        let words: Vec<u32> = points.iter().map(|z| z.to_bits()).collect();
        let (got, less) = depth(&words, q);
        assert_eq!(less, points.iter().filter(|&&z| z < q).count());
        close(got, expected(&points, q), &format!("{q} in {points:?}"));
    }
    assert_eq!(depth(&[], 3.0), (0.0, 0));
}

/// A sample as the definition has it: in no order, and sorted when it is looked at.
struct Naive {
    sample: usize,
    points: Vec<f32>,
}

impl Naive {
    fn learn(&mut self, n: u32, points: usize, q: f32) {
        if self.points.len() < points {
            return self.points.push(q);
        }
        let mut x = n.wrapping_mul(0x27d4_eb2f);
        x = x.wrapping_add(u32::try_from(self.sample).unwrap().wrapping_mul(0x9e37_79b9));
        x ^= 0x5bf0_3635;
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        let rank = u64::from(x >> 16) * u64::from((n + 1).min(65_536)) / 65_536;
        self.points.sort_by(f32::total_cmp);
        let (rank, outer) = (usize::try_from(rank).expect("small"), points - EDGE);
        let stays = rank >= points || n < 65_536 && (rank < EDGE || rank >= outer);
        let goes = match stays {
            false => Some(rank),
            true if q > self.points[outer] => Some(outer),
            true => (q < self.points[EDGE - 1]).then_some(EDGE - 1),
        };
        if let Some(goes) = goes {
            self.points.remove(goes);
            self.points.push(q);
        }
    }

    fn depth(&self, q: f32) -> (f64, f64) {
        let mut sorted = self.points.clone();
        sorted.sort_by(f32::total_cmp);
        let stride = (sorted.len() / 32).max(1);
        let some: Vec<f32> = sorted.iter().skip(stride / 2).step_by(stride).copied().collect();
        let sum = |points: &[f32]| {
            let at = |i: usize| f64::from(points[i]);
            let q = f64::from(q);
            let gaps = (1..points.len()).map(|i| match (at(i - 1), at(i)) {
                (far, near) if near < q => (near - far) / (q - far),
                (near, far) if near > q => (far - near) / (far - q),
                _ => 0.0,
            });
            let sides = [
                points.iter().any(|&z| f64::from(z) < q),
                points.iter().any(|&z| f64::from(z) > q),
            ];
            let equal = points.iter().filter(|&&z| f64::from(z) == q).count() as f64;
            gaps.sum::<f64>()
                + sides.map(|side| f64::from(u8::from(side))).iter().sum::<f64>()
                + (equal + 1.0).log2()
        };
        (sum(&sorted), sum(&some))
    }
}

#[test]
fn samples_are_those_of_a_reservoir() {
    let mut rng = SplitMix::new(2);
    for (size, events, every, forests) in
        [(64usize, 70_000u32, 97, 3), (256, 9000, 11, 4), (1024, 4000, 13, 3)]
    {
        let mut samples = vec![0; forests * size];
        let mut naive: Vec<Naive> =
            (0..forests).map(|sample| Naive { sample, points: Vec::new() }).collect();
        for n in 0..events {
            let small = rng.below(50) as f32;
            let random = rng.below(1 << 22) as f32;
            let q = [small * 1e10 - 2e11, random * 1e-3, 4.0 - small, random];
            let got = isolation(&mut samples, n, &q[..forests]);
            let depths: Vec<_> = naive.iter().zip(q).map(|(naive, q)| naive.depth(q)).collect();
            if n < 8 {
                assert_eq!(got, [0.0, 0.0]);
            } else if n % every == 0 {
                let mean = |of: fn(&(f64, f64)) -> f64| {
                    let squares = depths.iter().map(|depth| (1.0 / (1.0 + of(depth))).powi(2));
                    (squares.sum::<f64>() / forests as f64).sqrt()
                };
                close(got[0], mean(|depth| depth.0), &format!("{size} points, event {n}"));
                close(got[1], mean(|depth| depth.1), &format!("{size} points, event {n}"));
            }
            for (naive, q) in naive.iter_mut().zip(q) {
                naive.learn(n, size, q);
            }
        }
        for (naive, sample) in naive.iter_mut().zip(samples.chunks_exact(size)) {
            naive.points.sort_by(f32::total_cmp);
            let got: Vec<f32> = sample.iter().map(|&z| f32::from_bits(z)).collect();
            assert_eq!(got, naive.points, "sample {}", naive.sample);
        }
    }
}

/// A mean as the definition has it: of all that came, each by what is left of it.
fn by_weights(came: &[f64], kept: &[f64]) -> f64 {
    let (mut sum, mut whole, mut left) = (0.0, 0.0, 1.0);
    for (x, kept) in came.iter().zip(kept).rev() {
        sum += x * left;
        whole += left;
        left *= kept;
    }
    sum / whole
}

/// The means, and what lies beside the time of a period, in 64-bit floats from all that came.
#[test]
fn means_are_those_of_all_that_came() {
    let mut rng = SplitMix::new(3);
    // Periods that do not divide by 24, one of more than 32 bits and the longest.
    for (round, period) in [None, Some(24), Some(1000), Some(86_400_000_000_000), Some(1 << 58)]
        .into_iter()
        .enumerate()
    {
        let forest = Forest { points: 64, period };
        let mut state = vec![0; forest.words(3)];
        let (mut offs, mut beside, mut coarse) = (Vec::new(), Vec::new(), Vec::new());
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let mut slots: Vec<(u32, f64)> = vec![(0, 0.0); 24];
        let mut time = if round == 3 { u64::MAX - (1 << 57) } else { 12_345 };
        for n in 0..600 {
            time = time.wrapping_add(rng.below(period.unwrap_or(90) / 11));
            let off = rng.below(1000) as f32 - 300.0 + 500.0 * (n / 100 % 2) as f32;
            let kept: [f32; 2] = match rng.below(9) {
                0..4 => [0.5, 0.95],
                4..8 => [0.9, 1.0],
                _ => [0.0, 0.0],
            };
            let before = state.clone();
            let got = judge(forest, &mut state, 1, off, time, kept);
            short.push(f64::from(kept[0]));
            long.push(f64::from(kept[1]));
            offs.push(f64::from(off));
            if let Some(period) = period {
                let slot = u128::from(time % period) * 24 / u128::from(period);
                let (seen, mean) = &mut slots[usize::try_from(slot).unwrap()];
                beside.push(if *seen == 0 { 0.0 } else { f64::from(off) - *mean });
                *seen = (*seen + 1).min(64);
                *mean += (f64::from(off) - *mean) / f64::from(*seen);
            }
            let mut q = vec![offs[n], by_weights(&offs, &short), by_weights(&offs, &long)];
            if period.is_some() {
                q.push(by_weights(&beside, &short));
            }
            // The samples are compared by what they make of these points.
            let own = COUNTS + forest.value_words();
            let mut samples = before[own + forest.head()..][..forest.samples() * 64].to_vec();
            let at = [1, 3, 4].map(|at| f32::from_bits(state[own + at]));
            for (got, want) in at.iter().zip(&q[1..]) {
                assert!((f64::from(*got) - want).abs() < 1e-2, "{got} for {want}: event {n}");
            }
            let points = [off, at[0], at[1], at[2]];
            let [fine, some] = isolation(&mut samples, before[1], &points[..forest.samples()]);
            coarse.push(f64::from(some));
            assert_eq!(got.isolation, fine);
            close(got.dense, 0.5 * (f64::from(some) + by_weights(&coarse, &short)), "dense");
            assert_eq!(samples, state[own + forest.head()..][..forest.samples() * 64]);
        }
        assert_eq!(state[..3], [0, 600, 0], "the other values have seen nothing");
        let own = COUNTS + forest.value_words();
        assert!(state[COUNTS..own].iter().all(|&word| word == 0));
        assert!(state[own + forest.value_words()..].iter().all(|&word| word == 0));
    }
}

/// Of values that say when they came, a sample holds early and late ones alike.
#[test]
fn samples_are_fair() {
    let (points, events) = (1024, 40_000u32);
    let forest = Forest::of(1024);
    let mut samples = vec![0; 3 * points];
    for n in 0..events {
        isolation(&mut samples, n, &[n as f32 + 1.0; 3]);
    }
    for sample in samples.chunks_exact(points) {
        for tenth in 0..10 {
            let range = tenth as f32 * 4000.0..(tenth + 1) as f32 * 4000.0;
            let held =
                sample.iter().filter(|&&z| range.contains(&(f32::from_bits(z) - 0.5))).count();
            // 102 are expected, with a standard deviation of 9.6.
            assert!((60..150).contains(&held), "{held} of {range:?}");
        }
    }
    let mut state = vec![0; forest.words(1)];
    state[COUNTS + MEANS..].copy_from_slice(&samples);
    state[0] = u32::MAX;
    let apart = judge(forest, &mut state, 0, 1e6, 0, [0.0; 2]);
    assert!(apart.isolation > 0.3 && state[0] > 60_000, "{apart:?}: counts do not wrap to nothing");
}
