//! The forest of infinitely many random cut trees against its definition: depths by trying all cuts, samples by a
//! reservoir that is sorted anew each time.

use pelton::base::rng::SplitMix;
use pelton::ops::forest::{COUNTS, SAMPLES, depth, isolation, words};

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
        if let Some(goes) = usize::try_from(rank).ok().filter(|&rank| rank < points) {
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
    for (points, events, every) in [(64u32, 70_000u32, 97), (256, 9000, 11), (1024, 4000, 13)] {
        let size = points as usize;
        let mut state = vec![0; words(2, points)];
        let mut naive: Vec<Naive> =
            (0..SAMPLES).map(|sample| Naive { sample, points: Vec::new() }).collect();
        for n in 0..events {
            let small = rng.below(50) as f32;
            let q = [small * 1e10 - 2e11, rng.below(1 << 22) as f32 * 1e-3, 4.0 - small];
            let got = isolation(&mut state, 1, points, q);
            let depths: Vec<_> = naive.iter().zip(q).map(|(naive, q)| naive.depth(q)).collect();
            if n < 8 {
                assert_eq!((got.fine, got.coarse), (0.0, 0.0));
            } else if n % every == 0 {
                let mean = |of: fn(&(f64, f64)) -> f64| {
                    let squares = depths.iter().map(|depth| (1.0 / (1.0 + of(depth))).powi(2));
                    (squares.sum::<f64>() / 3.0).sqrt()
                };
                close(got.fine, mean(|depth| depth.0), &format!("{points} points, event {n}"));
                close(got.coarse, mean(|depth| depth.1), &format!("{points} points, event {n}"));
            }
            for (naive, q) in naive.iter_mut().zip(q) {
                naive.learn(n, size, q);
            }
        }
        assert_eq!((state[0], state[1]), (0, events), "the other value has seen nothing");
        for naive in &mut naive {
            naive.points.sort_by(f32::total_cmp);
            let at = COUNTS + (SAMPLES + naive.sample) * size;
            let got: Vec<f32> = state[at..at + size].iter().map(|&z| f32::from_bits(z)).collect();
            assert_eq!(got, naive.points, "sample {}", naive.sample);
        }
        assert!(state[COUNTS..COUNTS + SAMPLES * size].iter().all(|&word| word == 0));
    }
}

/// Of values that say when they came, a sample holds early and late ones alike.
#[test]
fn samples_are_fair() {
    let (points, events) = (1024, 40_000u32);
    let mut state = vec![0; words(1, points)];
    for n in 0..events {
        isolation(&mut state, 0, points, [n as f32 + 1.0; SAMPLES]);
    }
    for sample in state[COUNTS..].chunks_exact(points as usize) {
        for tenth in 0..10 {
            let range = tenth as f32 * 4000.0..(tenth + 1) as f32 * 4000.0;
            let held =
                sample.iter().filter(|&&z| range.contains(&(f32::from_bits(z) - 0.5))).count();
            // 102 are expected, with a standard deviation of 9.6.
            assert!((60..150).contains(&held), "{held} of {range:?}");
        }
    }
    let counted = &mut state[..];
    counted[0] = u32::MAX;
    let apart = isolation(counted, 0, points, [1e6; SAMPLES]);
    assert!(apart.fine > 0.3 && state[0] > 60_000, "{apart:?}: counts do not wrap to nothing");
}
