//! Half-space trees against their definition, and the definition against River's trees with the same cuts (recorded by
//! `tests/learn/record.py`); coordinates and hashed cuts by what they are for.

use pelton::HalfSpaces;
use pelton::base::rng::SplitMix;
use pelton::ops::half_space::{COUNT, Cuts, KNOWN, MASSES, MIDDLE, POINT};
use pelton::ops::half_space::{coordinate, dimension, offset};

/// A tree as the definition has it: every node of its own, with the points it has counted.
struct Tree<Cut> {
    /// Whether a point goes right at a node, of which it has come by these before.
    cut: Cut,
    latest: Vec<u32>,
    reference: Vec<u32>,
}

/// Trees with cuts of any kind; points in any form.
struct Naive<Cut> {
    trees: Vec<Tree<Cut>>,
    height: u32,
    window: u32,
    count: u32,
    known: bool,
}

impl<Cut> Naive<Cut> {
    fn new(height: u32, window: u32, cuts: impl IntoIterator<Item = Cut>) -> Self {
        let masses = vec![0; 2 << height];
        let tree = |cut| Tree { cut, latest: masses.clone(), reference: masses.clone() };
        let trees = cuts.into_iter().map(tree).collect();
        Self { trees, height, window, count: 0, known: false }
    }

    /// The sum over all trees, when there is one, before the point is learnt.
    fn step<Point: ?Sized>(&mut self, point: &Point) -> Option<u64>
    where
        Cut: Fn(&[usize], &Point) -> bool,
    {
        let mut sum = 0u64;
        for tree in &mut self.trees {
            let mut path = vec![1];
            while path.len() <= self.height as usize {
                let right = (tree.cut)(&path, point);
                path.push(2 * path[path.len() - 1] + usize::from(right));
            }
            for (depth, &node) in path.iter().enumerate() {
                sum += u64::from(tree.reference[node]) << depth;
                if f64::from(tree.reference[node]) < 0.1 * f64::from(self.window) {
                    break;
                }
            }
            path.iter().for_each(|&node| tree.latest[node] += 1);
        }
        let known = self.known;
        self.count += 1;
        if self.count == self.window {
            (self.count, self.known) = (0, true);
            for tree in &mut self.trees {
                tree.reference = std::mem::replace(&mut tree.latest, vec![0; 2 << self.height]);
            }
        }
        known.then_some(sum)
    }

    /// The largest sum.
    fn most(&self) -> u64 {
        self.trees.len() as u64 * u64::from(self.window) * ((2 << self.height) - 1)
    }
}

/// Options by name, of a line of the record.
fn option(head: &str, name: &str) -> u32 {
    let options = head.split(' ').nth(1).expect("options");
    let found = options.split(',').find_map(|option| option.strip_prefix(&format!("{name}=")));
    found.expect(name).parse().expect("a number")
}

#[test]
fn the_definition_says_what_river_says() {
    let mut lines = include_str!("../learn/river.txt").lines().peekable();
    let mut compared = 0;
    while let Some(head) = lines.next() {
        if !head.starts_with("trees ") {
            continue;
        }
        let [height, window, features, seed] =
            ["height", "window_size", "features", "seed"].map(|name| option(head, name));
        let mut cuts = Vec::new();
        while let Some(tree) = lines.next_if(|line| line.starts_with("tree ")) {
            let cut = |word: &str| {
                let (feature, threshold) = word.split_once(':').expect("two");
                (feature.parse::<usize>().unwrap(), threshold.parse::<f64>().unwrap())
            };
            let tree: Vec<_> = tree.split(' ').skip(1).map(cut).collect();
            assert_eq!(tree.len() + 1, 1 << height);
            cuts.push(move |path: &[usize], x: &[f64]| {
                let (feature, threshold) = tree[path[path.len() - 1] - 1];
                x[feature] >= threshold
            });
        }
        assert_eq!(cuts.len(), option(head, "n_trees") as usize);
        let mut naive = Naive::new(height, window, cuts);
        let mut rng = SplitMix::new(seed.into());
        for score in lines.next().expect("scores").split(' ').skip(1) {
            let mut number = || (0..4).map(|_| rng.below(1 << 14)).sum::<u64>() as f64 / 65536.0;
            let x: Vec<f64> = (0..features).map(|_| number()).collect();
            let most = naive.most() as f64;
            let got = naive.step(&x[..]).map_or(0.0, |sum| 1.0 - sum as f64 / most);
            assert_eq!(got, score.parse::<f64>().unwrap(), "{head}");
            compared += 1;
        }
    }
    assert_eq!(compared, 2400);
}

/// The hashed cuts as the definition has them: halves of a space of twice 65,536, moved for each tree.
fn hashed(tree: u32, values: u32) -> impl Fn(&[usize], &[u32]) -> bool {
    move |path, point| {
        let cuts = |node: usize| dimension(tree, u32::try_from(node).unwrap(), values);
        let asked = cuts(path[path.len() - 1]);
        let place = f64::from(point[asked as usize]) + f64::from(offset(tree, asked));
        let (mut from, mut to) = (0.0, 131_072.0);
        for (&node, &child) in path.iter().zip(&path[1..]) {
            if cuts(node) == asked {
                let middle = (from + to) / 2.0;
                (from, to) = if child % 2 == 1 { (middle, to) } else { (from, middle) };
            }
        }
        place >= (from + to) / 2.0
    }
}

#[test]
fn masses_are_those_of_the_definition() {
    let mut rng = SplitMix::new(3);
    for (trees, height, window, values) in
        [(10, 6, 256, 1u32), (25, 8, 100, 2), (3, 10, 16, 8), (64, 1, 500, 3), (1, 9, 37, 5)]
    {
        let spaces = HalfSpaces { trees, height, window };
        assert_eq!(HalfSpaces::unpacked(spaces.packed()), spaces);
        let mut naive = Naive::new(height, window, (0..trees).map(|tree| hashed(tree, values)));
        let (mut state, cuts) = (vec![0; spaces.words()], Cuts::new(spaces, values));
        let (mut least, mut most) = (u32::MAX, 0);
        for i in 0..2000 {
            let spread = [1 << 16, 1 << 9][usize::from(i % 3 > 0)];
            let point: Vec<u32> =
                (0..values).map(|_| u32::try_from(rng.below(spread)).unwrap()).collect();
            state[POINT..POINT + values as usize].copy_from_slice(&point);
            let got = spaces.mass(&mut state, &cuts, None);
            let want = naive.step(&point[..]);
            assert_eq!(got.known.then_some(u64::from(got.sum)), want, "{spaces:?}, event {i}");
            if let Some(want) = want {
                let level = (naive.most() as f64 / want as f64).ln();
                let context = format!("{got:?} for {level}, {spaces:?}, event {i}");
                assert!((f64::from(got.level) - level).abs() < 1e-5, "{context}");
                let rarity = level / f64::from((2 << height) - 1).ln();
                assert!((f64::from(got.rarity) - rarity).abs() < 1e-5, "{context}");
                assert!((0.0..=1.0).contains(&got.rarity), "{context}");
                (least, most) = (least.min(got.sum), most.max(got.sum));
            }
        }
        assert!(height == 1 || least < most / 2, "nothing was rare");
        assert_eq!((state[COUNT], state[KNOWN]), (2000 % window, 1));
        for (tree, naive) in naive.trees.iter().enumerate() {
            for node in 1..2usize << height {
                let want = naive.reference[node] << 16 | naive.latest[node];
                assert_eq!(state[MASSES + (tree << (height + 1)) + node], want, "node {node}");
            }
        }
    }
}

/// The largest options: no sum or mass overflows when all points are in one place.
#[test]
fn the_largest_sums_fit() {
    for (trees, height) in [(64, 8), (16, 10)] {
        let spaces = HalfSpaces { trees, height, window: 32_768 };
        let (mut state, cuts) = (vec![0; spaces.words()], Cuts::new(spaces, 1));
        state[POINT] = MIDDLE;
        for _ in 0..32_768 {
            assert!(!spaces.mass(&mut state, &cuts, None).known);
        }
        let got = spaces.mass(&mut state, &cuts, None);
        assert_eq!((got.sum, got.level, got.rarity), (spaces.sum_max(), 0.0, 0.0));
        assert_eq!(u64::from(got.sum), u64::from(trees) * 32_768 * ((2 << height) - 1));
    }
}

#[test]
fn coordinates_follow_the_deviations() {
    assert_eq!(coordinate(0.0, 1.0), MIDDLE);
    assert_eq!((coordinate(4.0, 1.0), coordinate(-4.0, 1.0)), (MIDDLE + 16_383, MIDDLE - 16_384));
    assert_eq!(coordinate(6e-5, 1e-10), coordinate(6.0, 1.0));
    // Nothing that can come up is outside, constants and what jumps off them included.
    for off in [0.0, 1e-16, 1.0, 2e12] {
        for variance in [0.0, 1e-30, 1.0, 1e24] {
            let (below, above) = (coordinate(-off, variance), coordinate(off, variance));
            assert!((1..=MIDDLE).contains(&below), "{off}, {variance}: {below}");
            assert!((MIDDLE..65_536).contains(&above), "{off}, {variance}: {above}");
        }
    }
    let places: Vec<u32> = (-500..500).map(|i| coordinate(i as f32 * 0.02, 1.0)).collect();
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "in order");
}

#[test]
fn cuts_are_spread_evenly() {
    for values in 1..=8u32 {
        let mut count = vec![0u32; values as usize];
        for tree in 0..64 {
            (1..256).for_each(|node| count[dimension(tree, node, values) as usize] += 1);
        }
        let mean = 64 * 255 / values;
        assert!(count.iter().all(|&n| n.abs_diff(mean) < mean / 10), "{count:?}");
    }
    for dimension in 0..8 {
        let mut offsets: Vec<u32> = (0..64).map(|tree| offset(tree, dimension)).collect();
        offsets.sort_unstable();
        offsets.push(65_536 + offsets[0]);
        let widest = offsets.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(widest < Some(7_000), "dimension {dimension}: {widest:?}");
    }
}
