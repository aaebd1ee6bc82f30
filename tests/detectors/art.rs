//! Fuzzy ART against its definition, and what must hold of it whatever the places.

use crate::scores::judge::surprise;
use crate::scores::{self, Reading, Setup, normal, run};
use pelton::base::rng::SplitMix;
use pelton::ops::art::{
    COORDINATE_MAX, COORDINATES, COUNTS, EXTENT, FIRST, KEPT, LATEST, POINT, POINTS, RING, SUMS,
    coordinate, dense, keep, level,
};
use pelton::ops::profile::PLACE_MAX;
use pelton::ops::score::{ALERT, MISSING, WARMING};
use pelton::{Art, Detector, Device, Scores};

type Point = [u32; COORDINATES];

/// Kinds that differ in more than size: with room and without, that forget soon and late.
const KINDS: [Art; 4] = [
    Art { categories: 64, vigilance: 720, window: 1024 },
    Art { categories: 16, vigilance: 950, window: 64 },
    Art { categories: 32, vigilance: 500, window: 100 },
    Art { categories: 16, vigilance: 999, window: 300 },
];

/// A box and how many points it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Category {
    lower: Point,
    upper: Point,
    count: u32,
}

impl Category {
    fn apart(&self, point: &Point) -> u32 {
        let off = |i: usize| point[i].abs_diff(point[i].clamp(self.lower[i], self.upper[i]));
        (0..COORDINATES).map(off).sum()
    }

    fn size(&self) -> u32 {
        self.lower.iter().zip(&self.upper).map(|(lower, upper)| upper - lower).sum()
    }

    fn grown(mut self, point: &Point) -> Self {
        for (i, &x) in point.iter().enumerate() {
            (self.lower[i], self.upper[i]) = (self.lower[i].min(x), self.upper[i].max(x));
        }
        Self { count: self.count + 1, ..self }
    }
}

/// Categories as the definition has them.
struct Naive {
    art: Art,
    points: u32,
    all: Vec<Category>,
}

impl Naive {
    fn step(&mut self, point: &Point) -> Option<u32> {
        let there = self.all.iter().enumerate().filter(|(_, category)| category.count > 0);
        let nearest = there.min_by_key(|(_, it)| (it.apart(point), it.size())).map(|(i, _)| i);
        let apart = nearest.map(|i| self.all[i].apart(point));
        // By the match of the definition: how much of the extent is outside the grown box.
        let fits = |it: &Category| {
            let rest = f64::from(EXTENT - it.grown(point).size()) / f64::from(EXTENT);
            rest >= f64::from(self.art.vigilance) / 1000.0 - 1e-12
        };
        match nearest.filter(|&i| fits(&self.all[i])) {
            Some(i) => self.all[i] = self.all[i].grown(point),
            None => {
                let rarest = self.all.iter_mut().min_by_key(|category| category.count);
                *rarest.expect("a place") = Category { lower: *point, upper: *point, count: 1 };
            }
        }
        let known = self.points >= FIRST;
        self.points += 1;
        if self.points == 2 * self.art.window {
            self.points = self.art.window;
            self.all.iter_mut().for_each(|category| category.count /= 2);
        }
        apart.filter(|_| known)
    }
}

/// What a state says of its categories.
fn categories(art: Art, state: &[u32]) -> Vec<Category> {
    let n = art.categories as usize;
    let one = |j: usize| {
        let edge = |i: usize| state[COUNTS + (1 + i) * n + j];
        Category {
            lower: std::array::from_fn(|i| edge(i) & 0xFFFF),
            upper: std::array::from_fn(|i| edge(i) >> 16),
            count: state[COUNTS + j],
        }
    };
    (0..n).map(one).collect()
}

/// Points around a few that move on, and others anywhere.
fn points(seed: u64, n: usize) -> Vec<Point> {
    let mut rng = SplitMix::new(seed);
    let mut below = move |n: u32| u32::try_from(rng.below(n.into())).expect("small");
    let one = |i: usize| match below(50) {
        0 => [0; COORDINATES].map(|_| COORDINATE_MAX * below(2)),
        1..4 => [0; COORDINATES].map(|_| below(COORDINATE_MAX + 1)),
        which => {
            let home = (which * 97 + u32::try_from(i / 600).expect("few") * 211) % 800;
            [0; COORDINATES].map(|_| home + below(60))
        }
    };
    (0..n).map(one).collect()
}

#[test]
fn distances_and_categories_are_those_of_the_definition() {
    for (seed, art) in (0..).zip(KINDS) {
        let mut naive =
            Naive { art, points: 0, all: vec![Category::default(); art.categories as usize] };
        let mut state = vec![0; art.words()];
        let (mut inside, mut outside) = (0, 0);
        for (i, point) in points(seed, 5000).iter().enumerate() {
            state[POINT..POINT + COORDINATES].copy_from_slice(point);
            let (got, want) = (art.distance(&mut state), naive.step(point));
            assert_eq!(got, want, "{art:?}, point {i}");
            inside += usize::from(got == Some(0));
            outside += usize::from(got.is_some_and(|apart| apart > 300));
            let counted = state[POINTS] % (2 * art.window);
            assert_eq!(counted.max(naive.points.min(art.window)), naive.points, "{art:?}, {i}");
            if i % 50 == 0 {
                let there = |all: &[Category]| {
                    let all = all.iter().filter(|category| category.count > 0);
                    all.copied().collect::<Vec<_>>()
                };
                assert_eq!(there(&categories(art, &state)), there(&naive.all), "{art:?}, {i}");
                assert_eq!(Detector::Art(art).misfit(&state, 1, 5000), None);
            }
        }
        assert!(outside > 100 && (inside > 100 || art.vigilance > 900), "{inside}, {outside}");
    }
}

#[test]
fn points_are_those_of_the_definition() {
    let mut rng = SplitMix::new(5);
    let mut state = vec![0; Art::default().words()];
    let mut all: Vec<i64> = Vec::new();
    for i in 0..3000 {
        let spread = [10, 300, 8191][i / 100 % 3];
        let mut place = || 4095 - (spread / 2) as i64 + i64::try_from(rng.below(spread)).unwrap();
        let levels = [place(), place(), place()];
        all.insert(0, levels[0]);
        let word = |x: i64| u32::try_from(x.clamp(0, 8190)).expect("a place");
        all[0] = word(all[0]).into();
        let is_there = keep(&mut state, levels.map(word));
        assert_eq!(is_there, all.len() >= LATEST);
        let details = (0..5).map(|n| {
            let of = |from: usize| all.iter().skip(from).take(1 << n).sum::<i64>() as f64;
            (of(0) - of(1 << n)) / f64::from(1 << n)
        });
        let levels = levels.iter().map(|&x| f64::from(word(x)) - 4095.0);
        for (at, x) in levels.chain(details).enumerate() {
            let steps = (511.0 * x.abs() / (512.0 + x.abs()) + 1e-9).floor();
            let want = 511.0 + steps * x.signum();
            assert_eq!(f64::from(state[POINT + at]), want, "number {i}, coordinate {at} of {x}");
        }
    }
    assert_eq!(state[SUMS + 4], state[RING..POINT].iter().sum::<u32>());
}

/// However large an offset from hostile sums, coordinates are in range; they rise with it and are even.
#[test]
fn coordinates_stay_in_range() {
    for halfway in [512, 512 << 4] {
        let offs = [0, 1, 7, 512, 4095, 8190, 131_040, 1 << 20, i32::MAX];
        let all: Vec<u32> = offs.iter().map(|&off| coordinate(off, halfway)).collect();
        assert!(
            all.is_sorted() && all.iter().all(|&x| (511..=COORDINATE_MAX).contains(&x)),
            "{all:?}"
        );
        for (&off, &x) in offs.iter().zip(&all) {
            assert_eq!(coordinate(-off, halfway), COORDINATE_MAX - x);
        }
        assert_eq!(coordinate(i32::MIN, halfway), coordinate(-i32::MAX, halfway));
    }
    let far = coordinate(8190, 512);
    assert_eq!(coordinate(512, 512), 511 + 255);
    assert!(far > 980, "{far}");
}

/// The largest distance fits its bits, and so does the largest size.
#[test]
fn the_largest_distances_fit() {
    let art = Art { categories: 64, vigilance: 1, window: 64 };
    let mut state = vec![0; art.words()];
    let mut put = |x: u32| {
        state[POINT..POINT + COORDINATES].fill(x);
        art.distance(&mut state)
    };
    (0..70).for_each(|_| _ = put(0));
    assert_eq!(put(COORDINATE_MAX), Some(EXTENT));
    assert_eq!(put(COORDINATE_MAX), Some(0), "it has become a box of its own");
    assert_eq!((put(COORDINATE_MAX - 1), put(3)), (Some(8), Some(24)));
    assert!(dense(EXTENT) == 1.0 && dense(0) == 0.0 && level(0) == 0.0);
    assert!((f64::from(level(EXTENT)) - 1023f64.ln()).abs() < 1e-5);
}

/// What comes again stays however long; what came a few times is forgotten after as many halvings as it takes.
#[test]
fn the_rare_is_forgotten() {
    let art = Art { categories: 16, vigilance: 900, window: 64 };
    let mut state = vec![0; art.words()];
    let mut put = |x: u32| {
        state[POINT..POINT + COORDINATES].fill(x);
        art.distance(&mut state)
    };
    (0..100).for_each(|_| _ = put(200));
    (0..6).for_each(|_| _ = put(800));
    // A halving comes with the 128th point and each 64th behind it: of six nothing is left at the third.
    (106..255).for_each(|_| _ = put(200));
    assert_eq!(put(800), Some(0));
    (0..3 * 64).for_each(|_| _ = put(200));
    assert_eq!(put(800), Some(8 * 600), "two of them, and one more that came again");
    assert_eq!(put(200), Some(0));
}

#[test]
fn states_that_no_stream_leads_to_are_named() {
    let art = KINDS[1];
    let judge = Detector::Art(art);
    let mut good = vec![0; 2 * art.words()];
    for point in points(3, 700) {
        for own in good.chunks_exact_mut(art.words()) {
            keep(own, [point[0], point[1], 4095]);
            own[POINT..POINT + COORDINATES].copy_from_slice(&point);
            art.distance(own);
        }
    }
    assert_eq!(judge.misfit(&good, 2, 900), None);
    let edge = COUNTS + 16;
    let wrong = [
        (KEPT, 64),
        (POINTS, 129),
        (2, 901),
        (SUMS, 2 * PLACE_MAX + 1),
        (SUMS + 4, 32 * PLACE_MAX + 1),
        (8, 2),
        (RING + 31, PLACE_MAX + 1),
        (POINT + 7, COORDINATE_MAX + 1),
        (POINT + 8, 1),
        (COUNTS, 1 << 31),
        (edge, 5),
        (edge, 1023 << 16),
        (edge, 1022 << 16),
    ];
    for (at, word) in wrong {
        for second in [0, art.words()] {
            let mut bad = good.clone();
            bad[second + at] = word;
            let found = judge.misfit(&bad, 2, 900);
            assert_eq!(found, Some(second + at), "word {at} of {word}");
        }
    }
}

#[test]
fn what_comes_in_a_new_shape_stands_out() {
    let mut rng = SplitMix::new(6);
    // A saw whose teeth rise; for two of them it falls. Now and then a number is missing.
    let make = |i: u64| {
        let tooth = if (3000..3064).contains(&i) { 31 - i % 32 } else { i % 32 };
        let value = tooth as f64 + 0.5 * normal(&mut rng);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let value = if i % 100 == 50 { f32::NAN } else { value as f32 };
        Reading { at: i, wide: 0, key: 0, value, other: 0.0, count: 0 }
    };
    let events: Vec<Reading> = (0..4000).map(make).collect();
    let detector = Detector::Art(Art::default());
    let query = Scores { detector, rate: 1e-5, spacing: Some(1), ..scores::dense(1) };
    let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
    let scored = &scored[&0];
    let alerts = scored.iter().enumerate().filter(|(_, words)| words[4] & ALERT != 0);
    let alerts: Vec<usize> = alerts.map(|(i, _)| i).collect();
    assert!(!alerts.is_empty() && alerts.iter().all(|at| (3000..3100).contains(at)), "{alerts:?}");
    let density = |i: usize| scored[i][4] >> 16;
    assert!((0..100).all(|i| density(i) == 0), "nothing is known yet");
    assert!(scored.iter().all(|words| words[4] & MISSING == 0 || words[4] >> 16 == 0));
    let most = |range: std::ops::Range<usize>| range.map(density).max().expect("some");
    assert!(most(3000..3064) > 2 * most(2000..3000), "{}, {}", most(3000..3064), most(2000..3000));
}

/// Streams in control: most events lie in boxes, and still the share of scores below a probability is about that.
#[test]
fn probabilities_hold_in_control() {
    for heavy in [false, true] {
        let mut rng = SplitMix::new(9);
        let make = |i: u64| {
            let chi: f64 = (0..3).map(|_| normal(&mut rng).powi(2)).sum::<f64>() / 3.0;
            let value = normal(&mut rng) / if heavy { chi.sqrt() } else { 1.0 };
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            let value = value as f32;
            Reading { at: i, wide: 0, key: 0, value, other: 0.0, count: 0 }
        };
        let events: Vec<Reading> = (0..300_000).map(make).collect();
        let query = Scores { detector: Detector::Art(Art::default()), ..scores::dense(1) };
        let (scored, _) = run(&Device::cpu(), query, &Setup::default(), &events);
        let warm: Vec<_> = scored[&0].iter().filter(|words| words[4] & WARMING == 0).collect();
        for (rate, slack) in [(1e-2, 1.5), (1e-3, 1.7), (1e-4, 4.0)] {
            let below = warm.iter().filter(|words| surprise(words) > -f64::ln(rate)).count();
            let share = below as f64 / warm.len() as f64 / rate;
            println!("heavy {heavy}: {rate}: {share:.2}");
            assert!((1.0 / slack..=slack).contains(&share), "heavy {heavy}, {rate}: {share}");
        }
    }
}
