//! Projections and their histograms against the definition, and factors by what they are for.

use pelton::base::rng::SplitMix;
use pelton::ops::half_space::MIDDLE;
use pelton::ops::loda::{CELLS, EVENTS, Loda, POINT, factors, needed, shadow};
use std::collections::BTreeMap;

/// Histograms as the definition has them.
struct Naive {
    loda: Loda,
    dimensions: u32,
    events: u32,
    cells: Vec<BTreeMap<u32, u32>>,
}

impl Naive {
    /// The level, when there is one, before the point is learnt.
    fn step(&mut self, point: &[u32]) -> Option<f64> {
        let mut rare = Vec::new();
        for (j, cells) in (0..).zip(&mut self.cells) {
            let factors = factors(j, self.dimensions);
            let used = || factors.iter().zip(point).filter(|&(&factor, _)| factor != 0);
            let size: i32 = used().map(|(factor, _)| factor.abs()).sum();
            let sum: i64 =
                used().map(|(&f, &place)| i64::from(f) * (i64::from(place) - 32_768)).sum();
            // Between -32,768 and 32,767, cut into equal cells.
            let shadow = (sum as f64 / f64::from(size) + 32_768.0).floor();
            let cell = (shadow * f64::from(self.loda.cells) / 65_536.0).floor();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let count = cells.entry(cell as u32).or_default();
            rare.push((f64::from(self.events + 1) / f64::from(*count + 1)).ln());
            *count += 1;
        }
        let known = self.events >= self.loda.window;
        self.events += 1;
        if self.events == 2 * self.loda.window {
            self.events = self.loda.window;
            self.cells.iter_mut().flat_map(BTreeMap::values_mut).for_each(|count| *count /= 2);
        }
        known.then(|| rare.iter().sum::<f64>() / rare.len() as f64)
    }
}

#[test]
fn levels_are_those_of_the_definition() {
    let mut rng = SplitMix::new(3);
    for (projections, cells, window, dimensions) in
        [(32, 32, 256, 3u32), (7, 8, 100, 2), (64, 256, 16, 8), (1, 16, 500, 1), (100, 64, 40, 5)]
    {
        let loda = Loda { projections, cells, window };
        let mut naive = Naive {
            loda,
            dimensions,
            events: 0,
            cells: vec![BTreeMap::new(); projections as usize],
        };
        let (mut state, factors) = (vec![0; loda.words()], loda.factors(dimensions));
        let (mut least, mut most) = (f32::MAX, 0.0f32);
        for i in 0..2000 {
            let spread = [1 << 16, 1 << 12][usize::from(i % 5 > 0)];
            let point: Vec<u32> =
                (0..dimensions).map(|_| u32::try_from(rng.below(spread)).unwrap()).collect();
            state[POINT..POINT + dimensions as usize].copy_from_slice(&point);
            let got = loda.shadows(&mut state, &factors, &mut []);
            let want = naive.step(&point);
            assert_eq!(got.known, want.is_some(), "{loda:?}, event {i}");
            let Some(level) = want else { continue };
            let context = format!("{got:?} for {level}, {loda:?}, event {i}");
            assert!((f64::from(got.level) - level).abs() < 1e-5 * (1.0 + level), "{context}");
            assert!((0.0..=1.0).contains(&got.rarity), "{context}");
            (least, most) = (least.min(got.level), most.max(got.level));
        }
        assert!(least < 0.7 * most, "{loda:?}: nothing was rare, {least} to {most}");
        assert_eq!(state[EVENTS], naive.events);
        for (j, naive) in naive.cells.iter().enumerate() {
            for cell in 0..cells as usize {
                let word = state[CELLS + (j * cells as usize + cell) / 2];
                let got = word >> (16 * (cell % 2)) & 0xFFFF;
                let want = naive.get(&u32::try_from(cell).unwrap()).copied().unwrap_or(0);
                assert_eq!(got, want, "projection {j}, cell {cell}");
            }
        }
    }
}

/// The largest options: no count overflows when all points are in one place.
#[test]
fn the_largest_counts_fit() {
    let loda = Loda { projections: 2, cells: 8, window: 32_767 };
    let mut state = vec![0; loda.words()];
    state[POINT..POINT + 8].fill(MIDDLE);
    for i in 0..70_000 {
        let got = loda.shadows(&mut state, &loda.factors(8), &mut []);
        assert!(got.known == (i >= 32_767) && got.level == 0.0, "{got:?}");
    }
}

#[test]
fn factors_are_sparse_and_spread_evenly() {
    for dimensions in 1..=8 {
        let mut used = [0u32; 8];
        let mut sets = std::collections::BTreeSet::new();
        for projection in 0..256 {
            let factors = factors(projection, dimensions);
            let taken: Vec<usize> = (0..8).filter(|&i| factors[i] != 0).collect();
            assert_eq!(taken.len(), needed(dimensions) as usize);
            taken.iter().for_each(|&i| used[i] += 1);
            sets.insert(taken);
            assert!(factors.iter().all(|f| f.abs() <= 255 && (f % 2 != 0 || *f == 0)));
        }
        let mean = 256 * needed(dimensions) / dimensions;
        let used = &used[..dimensions as usize];
        assert!(used.iter().all(|&n| n.abs_diff(mean) < 8 + mean / 4), "{used:?}");
        let all = [1, 1, 3, 6, 10, 20, 35, 56][dimensions as usize - 1];
        assert_eq!(sets.len(), all, "all sets of dimensions come up");
    }
}

#[test]
fn shadows_stay_within_the_histogram() {
    for projection in 0..256 {
        let factors = factors(projection, 8);
        let edge = |high: bool| {
            let place = |f: &i32| if (*f > 0) == high { 65_535 } else { 0 };
            let point: Vec<u32> = factors.iter().map(place).collect();
            shadow(&factors, point[..].try_into().expect("eight"))
        };
        assert!(edge(false) < 200 && (65_300..65_536).contains(&edge(true)), "{factors:?}");
        assert_eq!(shadow(&factors, &[MIDDLE; 8]), MIDDLE);
    }
}
