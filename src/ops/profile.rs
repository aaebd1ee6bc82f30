//! How far the latest stretch of a key's values lies from the nearest one before it: the left matrix profile.
//!
//! Spec (Yeh et al. 2016, Matrix Profile I; Lu et al. 2022, DAMP: Discord Aware Matrix Profile). Of each value the
//! latest `points` numbers are kept. With every new one the stretch of the latest `window` numbers is compared with the
//! stretches of as many numbers before it that do not overlap it: those that end `lag` numbers earlier, `lag` from
//! `window` to `points - window - 1`, so that all of them and what left them last is kept. The distance to the nearest
//! of them is what the event is judged by; then it is one of those that later ones are compared with. Missing numbers
//! are in no stretch.
//!
//! A number is kept as its *place*, from 0 to 8190: its distance to the key's mean over the longest horizon
//! (`ops::ewma`), which has learnt it, in 64ths of a deviation, rounded and held to 4095 on either side. So no offset
//! and no scale shows. Keeping begins when the longest horizon stands for sixteen numbers.
//!
//! All sums are of integers, so nothing drifts and nothing cancels, however long a stream: with each number the sum of
//! squared differences at each lag gains those of the new pair and loses those of the pair that leaves the stretch
//! (as in STOMP, Zhu et al. 2016, for products). Numbers before the first one count as 0. The sums are exact, 64 times
//! 8190^2 being less than 2^32; what they mean differs from distances of exact numbers by the rounding of places alone,
//! half a 64th of a deviation each.
//!
//! The squared distance is, per number of the stretch,
//! - *raw*: the mean squared difference, in squared deviations of the key, rounded once;
//! - by *shape*: with both stretches moved and scaled to mean 0 and variance 1, which makes it `2 (1 - r)` by their
//!   correlation `r`. From squares centred at a whole number near the mean, which are exact, it is
//!   `(c - (s - t)^2) / (s t)`, where `s` and `t` are the roots of both centred sums of squares and `c` that of their
//!   difference; its error is at most 2^-21 times the larger by the smaller of the roots. A stretch that deviates by
//!   less than a 64th of the key's deviation is *flat*; two flat ones are at distance 0, a flat one and another at 1.
//!
//! The *level* that decides (`ops::decide`) is the logarithm of one more than 64 times the squared distance, so
//! differences below an eighth of a deviation hardly count. With `d` the distance, `d / (1 + d)` is the dense score. Of
//! an event's values the one farthest from its nearest stretch is judged; the largest distance of `ops::ewma` only says
//! which of them stands out.
//!
//! State for each key and value: a line of counts and sums, then for each of the points a place and a sum, by shape
//! also the sum, the root and its inverse of the stretch that ends there: 8 bytes a point, 20 by shape. Cost for each
//! event and value: all of that read, the sums written; five operations a lag, by shape twenty.

use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, SETTLED, held, near_zero};
use super::math::{inverse, ln};
use super::score::{BINDS, SEEN_AGAIN, ScoreParams, scores_wgsl};
use super::simd::{Wide, wide};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::VALUES_MAX;
use crate::plan::Kernel;

/// The kernel `ops::score` with left matrix profiles.
pub static PROFILE: Kernel = Kernel {
    name: "profile",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("together.wgsl", "profile.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        let profile = Profile::unpacked(p.shape0);
        walk::score(args, Nearest { profile, farthest: None });
    },
};

/// State: numbers kept so far; from twice the points on it goes back by the points, so that it tells where the latest
/// one lies.
pub const COUNT: usize = 0;
/// State: the sum of the latest stretch's places.
pub const SUM: usize = 1;
/// State: the sum of their squares.
pub const SQUARES: usize = 2;
/// State of the first value: events that had a level, counted as `score::SEEN`.
pub const LEVELS: usize = 3;
/// State of the first value: for each value whether the latest event has a number of it that is kept.
pub const FRESH: usize = 8;
/// State: where the ring of places begins. The latest is at `-count` modulo the points, the one before it next to it.
pub const RING: usize = FRESH + VALUES_MAX;
/// The largest place.
pub const PLACE_MAX: u32 = 8190;
/// Fewest points.
pub const POINTS_MIN: u32 = 256;
/// Most points.
pub const POINTS_MAX: u32 = 4096;
/// Shortest window.
pub const WINDOW_MIN: u32 = 8;
/// Longest window: of 64 squares of 8190 the sum still fits a word.
pub const WINDOW_MAX: u32 = 64;
/// No root of a centred sum of squares is larger: 64 places lie 4095 off their mean.
const ROOT_MAX: f32 = 32_768.0;
/// Places in a deviation.
const STEPS: f32 = 64.0;
/// Words of a point: its place and the sum at a lag.
const RAW: usize = 2;
/// By shape also the sum, the root and the inverse root of the stretch that ends there.
const SHAPE: usize = 5;

/// A left matrix profile: how much it remembers, and what it compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Numbers of a key that are kept: a power of two from 256 to 4096.
    pub points: u32,
    /// Numbers of a stretch: 8, 16, 32 or 64.
    pub window: u32,
    /// Whether stretches are compared by shape alone, each by its own mean and deviation; else by their values.
    pub shape: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self { points: 1024, window: 64, shape: false }
    }
}

impl Profile {
    /// As one parameter: 16 bits of points, 15 of window, 1 of shape.
    pub const fn packed(self) -> u32 {
        self.points << 16 | self.window << 1 | self.shape as u32
    }

    /// From what [`Profile::packed`] made.
    pub const fn unpacked(word: u32) -> Self {
        Self { points: word >> 16, window: word >> 1 & 0x7FFF, shape: word & 1 == 1 }
    }

    /// Words of a value's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        RING + self.points as usize * if self.shape { SHAPE } else { RAW }
    }

    /// # Errors
    /// `Invalid` when a number is out of range, naming it.
    pub(super) fn check(self) -> Result<()> {
        let ranges = [
            ("points", self.points, POINTS_MIN..=POINTS_MAX),
            ("window", self.window, WINDOW_MIN..=WINDOW_MAX),
        ];
        for (name, value, accepted) in ranges {
            if !(accepted.contains(&value) && value.is_power_of_two()) {
                let accepted = format!("powers of two, {} to {}", accepted.start(), accepted.end());
                return Err(out_of_range(name, value, &accepted));
            }
        }
        Ok(())
    }

    /// The first word of a key's profiles of so many values that is out of range, after `seen` events. A sum at a lag
    /// may be anything: distances stay finite.
    pub(super) fn misfit(self, own: &[u32], values: usize, seen: u32) -> Option<usize> {
        let points = self.points as usize;
        let places_max = self.window * PLACE_MAX;
        let most = |at: usize| match at {
            COUNT => 2 * self.points - 1,
            SUM => places_max,
            SQUARES => places_max * PLACE_MAX,
            LEVELS => seen,
            _ if at < FRESH => 0,
            _ if at < RING => 1,
            _ => match (at - RING) / points {
                0 => PLACE_MAX,
                1 => u32::MAX,
                2 => places_max,
                // Of floats from 0 up the bits are in order.
                3 => ROOT_MAX.to_bits(),
                _ => 1f32.to_bits(),
            },
        };
        let words = own[..values * self.words()].iter().enumerate();
        let mut words = words.map(|(i, &word)| (i, i % self.words(), word));
        words.find(|&(_, at, word)| word > most(at)).map(|(i, ..)| i)
    }

    /// Keeps a place; the squared distance of the stretch that it ends to the nearest one before, when there is one.
    pub fn nearest(self, state: &mut [u32], place: u32) -> Option<f32> {
        let (points, window) = (self.points as usize, self.window as usize);
        let (head, rest) = state[..self.words()].split_at_mut(RING);
        let (ring, rest) = rest.split_at_mut(points);
        let (sums, stretches) = rest.split_at_mut(points);
        let count = head[COUNT] + 1;
        head[COUNT] = if count == 2 * self.points { self.points } else { count };
        let at = count.wrapping_neg() as usize & (points - 1);
        ring[at] = place;
        let gone = ring[(at + window) & (points - 1)];
        head[SUM] = head[SUM].wrapping_add(place).wrapping_sub(gone);
        let squares = place.wrapping_mul(place).wrapping_sub(gone.wrapping_mul(gone));
        head[SQUARES] = head[SQUARES].wrapping_add(squares);
        wide(Slide { ring, at, window, sums });
        // Behind this lag one of the stretches would begin before the first number.
        let end = (points - window).min((count as usize + 1).saturating_sub(window));
        let known = end > window;
        if self.shape {
            let stretch = Stretch::new(head[SUM], head[SQUARES], self.window);
            let mut least = NONE;
            wide(ByShape { stretch, window, at, end, sums, stretches, least: &mut least });
            stretch.write(stretches, at, points);
            return known.then(|| f32::from_bits(least));
        }
        let mut least = u32::MAX;
        wide(Least(&sums[window..end.max(window)], &mut least));
        // One by a power of two is exact.
        known.then(|| least as f32 * (inverse(self.window as f32) * (1.0 / (STEPS * STEPS))))
    }
}

/// Profiles on a serial device.
struct Nearest {
    profile: Profile,
    /// Of the event's values so far the largest squared distance.
    farthest: Option<f32>,
}

impl Judge for Nearest {
    fn missing(&mut self, own: &mut [u32], value: usize) {
        own[FRESH + value] = 0;
    }

    fn value(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        learnt: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart {
        let at = learnt.value * self.profile.words();
        let [_, _, longest] = learnt.track.horizons;
        let mut part = 0.0;
        if own[at + COUNT] > 0 || longest.weight >= SETTLED {
            own[FRESH + learnt.value] = 1;
            let off = near_zero(learnt.x - learnt.track.origin) - longest.spread.mean;
            let squared = self.profile.nearest(&mut own[at..], place(off, longest.spread.variance));
            let further = |squared: &f32| self.farthest.is_none_or(|before| *squared > before);
            self.farthest = squared.filter(further).or(self.farthest);
            part = squared.unwrap_or(0.0);
        }
        Apart { by: found.z2, dense: 0.0, part }
    }

    fn level(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        _: (&Distance<f32>, Apart),
        _: u32,
        _: &mut [u32],
    ) -> Level {
        let Some(squared) = self.farthest.take() else {
            return Level { known: false, levels: 0, level: 0.0, dense: 0.0 };
        };
        let levels = own[LEVELS];
        own[LEVELS] = levels.checked_add(1).unwrap_or(SEEN_AGAIN);
        Level { known: true, levels, level: level(squared), dense: dense(squared) }
    }
}

/// Where a number lies, `off` the mean, by the variance around it.
#[inline(always)]
pub fn place(off: f32, variance: f32) -> u32 {
    let steps = held(off * inverse(variance.sqrt() + 1e-12) * STEPS, 4095.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8190")]
    let place = (steps + 4095.5) as u32;
    place
}

/// The level of a squared distance.
#[inline(always)]
pub fn level(squared: f32) -> f32 {
    ln(1.0 + squared * 64.0)
}

/// The dense score of a squared distance, from 0 to 1.
#[inline(always)]
pub fn dense(squared: f32) -> f32 {
    let distance = squared.sqrt();
    distance * inverse(1.0 + distance)
}

/// Moves the sums on to the latest number.
struct Slide<'a> {
    ring: &'a [u32],
    /// Where it lies in the ring.
    at: usize,
    window: usize,
    sums: &'a mut [u32],
}

impl Wide for Slide<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { ring, at, window, sums } = self;
        let points = ring.len();
        // The ring from the latest number on, so that lags follow one another.
        let mut past = [0; POINTS_MAX as usize];
        let (newer, older) = past[..points].split_at_mut(points - at);
        newer.copy_from_slice(&ring[at..]);
        older.copy_from_slice(&ring[..at]);
        let (new, gone) = (past[0], past[window]);
        let pairs = past[window..points].iter().zip(&past[2 * window..points]);
        for (sum, (&paired, &leaving)) in sums[window..points - window].iter_mut().zip(pairs) {
            let (gained, lost) = (new.wrapping_sub(paired), gone.wrapping_sub(leaving));
            let more = gained.wrapping_sub(lost).wrapping_mul(gained.wrapping_add(lost));
            *sum = sum.wrapping_add(more);
        }
    }
}

/// The least of some sums.
struct Least<'a>(&'a [u32], &'a mut u32);

impl Wide for Least<'_> {
    #[inline(always)]
    fn run(self) {
        *self.1 = self.0.iter().fold(u32::MAX, |least, &sum| if sum < least { sum } else { least });
    }
}

/// More than the bits of any distance.
const NONE: u32 = u32::MAX;

/// What a stretch is compared by.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    sum: u32,
    /// The root of the centred sum of squares; 0 when it is flat.
    root: f32,
    /// One by it; 0 when it is flat.
    inverse: f32,
}

/// The sum of squares of `window` whole numbers centred at the whole number below their mean; and by how much their sum
/// is more than `window` times that number: the square of this, by `window`, is what the first is too large by.
#[inline(always)]
fn centred(sum: u32, squares: u32, window: u32) -> (u32, u32) {
    let below = (sum.cast_signed() >> window.trailing_zeros()).cast_unsigned();
    let rest = sum & (window - 1);
    (squares.wrapping_sub(below.wrapping_mul(sum.wrapping_add(rest))), rest)
}

/// The same, centred at the mean itself, rounded.
#[inline(always)]
fn centred_at_mean((squares, rest): (u32, u32), by_window: f32) -> f32 {
    squares as f32 - (rest * rest) as f32 * by_window
}

impl Stretch {
    fn new(sum: u32, squares: u32, window: u32) -> Self {
        let (squares, rest) = centred(sum, squares, window);
        let is_flat = squares < 2 * window
            && (window * squares).wrapping_sub(rest * rest).cast_signed()
                < (window * window).cast_signed();
        let root = centred_at_mean((squares, rest), inverse(window as f32)).sqrt();
        match is_flat {
            true => Self { sum, root: 0.0, inverse: 0.0 },
            false => Self { sum, root, inverse: inverse(root) },
        }
    }

    /// Puts it down as the one that ends at `at`.
    fn write(self, stretches: &mut [u32], at: usize, points: usize) {
        let words = [self.sum, self.root.to_bits(), self.inverse.to_bits()];
        for (word, place) in words.into_iter().zip(stretches.iter_mut().skip(at).step_by(points)) {
            *place = word;
        }
    }
}

/// Finds the least squared distance by shape, as bits.
struct ByShape<'a> {
    stretch: Stretch,
    window: usize,
    /// Where the latest number lies in the ring.
    at: usize,
    /// The first lag that is not compared.
    end: usize,
    sums: &'a [u32],
    stretches: &'a [u32],
    least: &'a mut u32,
}

impl Wide for ByShape<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { stretch, window, at, end, sums, stretches, least } = self;
        let points = sums.len();
        let (earlier, rest) = stretches.split_at(points);
        let (roots, inverses) = rest.split_at(points);
        let width = u32::try_from(window).expect("64 at most");
        let by_window = inverse(width as f32);
        // Lags whose places follow one another: up to the ring's end, and from its beginning.
        let wrap = (points - at).clamp(window, end.max(window));
        for (lags, moved) in [(window..wrap, at), (wrap..end.max(wrap), at.wrapping_sub(points))] {
            let places = lags.start.wrapping_add(moved)..lags.end.wrapping_add(moved);
            if lags.is_empty() {
                continue;
            }
            let pairs = sums[lags].iter().zip(&earlier[places.clone()]);
            let by = roots[places.clone()].iter().zip(&inverses[places]);
            for ((&squares, &sum), (&root, &inverse)) in pairs.zip(by) {
                let apart = centred(stretch.sum.wrapping_sub(sum), squares, width);
                let off = stretch.root - f32::from_bits(root);
                let apart = centred_at_mean(apart, by_window) - off * off;
                let squared = apart * stretch.inverse * f32::from_bits(inverse);
                let squared = if squared > 0.0 { squared } else { 0.0 };
                // Flat stretches have inverses of 0, and so have what came out.
                let one_is_flat = (inverse == 0) != (stretch.inverse == 0.0);
                let squared = if one_is_flat { 1.0f32 } else { squared }.to_bits();
                *least = if squared < *least { squared } else { *least };
            }
        }
    }
}
