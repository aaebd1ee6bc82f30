//! How much of the latest stretch of a key's values its usual shapes leave over: streaming principal components.
//!
//! Spec. Of each value the latest `window` numbers are a vector, its *window*, the latest number first. `rank` vectors
//! follow the principal components of the windows so far, that is, the shapes that they are mostly made of. An event is
//! judged by its window's *residual*, what is left when its parts along these vectors are taken away (the squared
//! prediction error of Jackson and Mudholkar 1979); then the window is learnt. Missing numbers are in no window.
//!
//! Numbers are *scaled*: a number's distance to the key's mean over the longest horizon (`ops::ewma`), which has learnt
//! it, in deviations, held to 64 on either side. So no offset and no scale shows, and windows need no mean taken away.
//! Keeping begins when the longest horizon stands for sixteen numbers; learning, when a window is full.
//!
//! Learning is candid covariance-free (CCIPCA; Weng, Zhang and Hwang 2003, after Oja 1982 and Sanger 1989). With `r`
//! the window, for each vector `v` in turn, by its values before:
//!
//! ```text
//! along = r.v    size = v.v
//! v' = (1 - s) v + s (along / sqrt(size)) r
//! r' = r - (along / size) v
//! ```
//!
//! So `v` points along a component and is as long as that component's variance is large, and `r` goes on without its
//! part along `v`; behind the last vector it is the residual. Each step takes an orthogonal part away, so no residual
//! is longer than its window, whatever the vectors, and they need not be made orthogonal again. The share `s` is
//! `3 / (n + 3)` after `n` windows, the amnesic mean of the paper, and at least `1 / 1024`. A vector whose `size` is
//! below 10^-12 is none: it becomes what is left of the window, and those behind it wait for the next one.
//!
//! With `q` the residual's mean square and `m` its mean over the windows before, which follows with the same share, the
//! event's *excess* is `q / (m + 2^-12)`, so what is left counts little below a 64th of a deviation. The *level* that
//! decides (`ops::decide`) is the logarithm of one more than that. With `d` the root of the excess, `d / (1 + d)` is
//! the dense score: a half for what is usual. Both begin when as many windows were learnt as a window has numbers. Of an
//! event's values the one of the largest excess is judged; the largest distance of `ops::ewma` only says which of them
//! stands out.
//!
//! Sums over a window are taken in 32 strands, number `k` in strand `k` modulo 32, then strands in halves, the upper
//! added to the lower one. What is nearer to zero than 10^-16 is zero.
//!
//! State for each key and value: a line of counts and means, then the window as a ring, then the vectors: 704 bytes for
//! 32 numbers and 4 vectors. Cost for each event and value: all of it read and most of it written, eight operations for
//! each number and vector.

use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, SETTLED, held, near_zero};
use super::math::{inverse, ln};
use super::number::Number;
use super::score::{BINDS, SEEN_AGAIN, ScoreParams, scores_wgsl};
use super::simd::{Wide, wide};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::VALUES_MAX;
use crate::plan::Kernel;

/// The kernel `ops::score` with streaming principal components.
pub static SUB_PCA: Kernel = Kernel {
    name: "sub_pca",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("together.wgsl", "sub_pca.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, Residuals { pca: SubPca::unpacked(p.shape0), largest: None });
    },
};

/// State: numbers kept so far; from [`COUNT_MAX`] and a window on it goes back by the window, so that it tells where
/// the latest one lies.
pub const COUNT: usize = 0;
/// State: the mean of residuals' mean squares.
pub const MEAN: usize = 1;
/// State of the first value: events that had a level, counted as `score::SEEN`.
pub const LEVELS: usize = 2;
/// State of the first value: for each value whether the latest event has a number of it that is kept.
pub const FRESH: usize = 8;
/// State: where the ring of numbers begins. The latest is at `-count` modulo the window, the one before it next to it.
pub const RING: usize = FRESH + VALUES_MAX;
/// Numbers that are told apart: the share of a window in what is learnt is the same after so many.
pub const COUNT_MAX: u32 = 4096;
/// The largest scaled number.
pub const NUMBER_MAX: f32 = 64.0;
/// Shortest window.
pub const WINDOW_MIN: u32 = 8;
/// Longest window.
pub const WINDOW_MAX: u32 = 64;
/// Most vectors.
pub const RANK_MAX: u32 = 8;
/// No number of a vector is larger, but for roundings: it is at most as long as the square of a window.
const VECTOR_MAX: f32 = 2.0 * WINDOW_MAX as f32 * NUMBER_MAX * NUMBER_MAX;
/// The least squared length of a vector.
const SIZE_MIN: f32 = 1e-12;
/// The least share of a window.
const SHARE_MIN: f32 = 1.0 / 1024.0;
/// A residual's mean square that hardly counts: that of a 64th of a deviation.
const RESIDUAL_MIN: f32 = 1.0 / 4096.0;
/// Sums are taken in so many strands.
const STRANDS: usize = 32;

/// Streaming principal components of the latest stretch of each value: how long it is, and how many shapes are usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubPca {
    /// Numbers of a window: 8, 16, 32 or 64.
    pub window: u32,
    /// Vectors, 1 to 8.
    pub rank: u32,
}

impl Default for SubPca {
    fn default() -> Self {
        Self { window: 32, rank: 4 }
    }
}

impl SubPca {
    /// As one parameter: 16 bits of window, 16 of rank.
    pub const fn packed(self) -> u32 {
        self.window << 16 | self.rank
    }

    /// From what [`SubPca::packed`] made.
    pub const fn unpacked(word: u32) -> Self {
        Self { window: word >> 16, rank: word & 0xFFFF }
    }

    /// Words of a value's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        (RING + (self.window * (1 + self.rank)) as usize).next_multiple_of(16)
    }

    /// # Errors
    /// `Invalid` when a number is out of range, naming it.
    pub(super) fn check(self) -> Result<()> {
        if !self.window.is_power_of_two() || !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window) {
            return Err(out_of_range("window", self.window, "8, 16, 32, 64"));
        }
        if !(1..=RANK_MAX).contains(&self.rank) {
            return Err(out_of_range("rank", self.rank, "1 to 8"));
        }
        Ok(())
    }

    /// The first word of a key's state of so many values that is out of range, after `seen` events.
    pub(super) fn misfit(self, own: &[u32], values: usize, seen: u32) -> Option<usize> {
        let window = self.window as usize;
        // Without their signs the bits of floats are in order, those of NaN last.
        let is_off = |word: u32, most: f32| word & 0x7FFF_FFFF > most.to_bits();
        let misfits = |at: usize, word: u32| match at {
            COUNT => word >= COUNT_MAX + self.window,
            MEAN => word > (2.0 * NUMBER_MAX * NUMBER_MAX).to_bits(),
            LEVELS => word > seen,
            _ if at < FRESH => word != 0,
            _ if at < RING => word > 1,
            _ if at < RING + window => is_off(word, NUMBER_MAX),
            _ => is_off(word, VECTOR_MAX),
        };
        let words = own[..values * self.words()].iter().enumerate();
        let mut words = words.map(|(i, &word)| (i, i % self.words(), word));
        words.find(|&(_, at, word)| misfits(at, word)).map(|(i, ..)| i)
    }

    /// Keeps a scaled number; the excess of the window that it ends, where there is a past to judge by.
    pub fn excess(self, state: &mut [u32], number: f32) -> Option<f32> {
        let (head, rest) = state.split_at_mut(RING);
        let (ring, vectors) = rest.split_at_mut(self.window as usize);
        let count = head[COUNT] + 1;
        head[COUNT] = if count == COUNT_MAX + self.window { COUNT_MAX } else { count };
        let at = (count.wrapping_neg() & (self.window - 1)) as usize;
        ring[at] = number.to_bits();
        let learnt = count.checked_sub(self.window)?;
        let share = (3.0 * inverse(learnt as f32 + 3.0)).no_less(SHARE_MIN);
        let vectors = &mut vectors[..(self.window * self.rank) as usize];
        let mut squares = 0.0;
        wide(Step { ring, at, vectors, share, squares: &mut squares });
        // One by a power of two is exact.
        let square = squares * inverse(self.window as f32);
        let mean = f32::from_bits(head[MEAN]);
        head[MEAN] = near_zero(mean + (square - mean) * share).to_bits();
        (learnt >= self.window).then(|| square * inverse(mean + RESIDUAL_MIN))
    }
}

/// Principal components on a serial device.
struct Residuals {
    pca: SubPca,
    /// Of the event's values so far the largest excess.
    largest: Option<f32>,
}

impl Judge for Residuals {
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
        let words = self.pca.words();
        let at = learnt.value * words;
        let [_, _, longest] = learnt.track.horizons;
        if own[at + COUNT] > 0 || longest.weight >= SETTLED {
            own[FRESH + learnt.value] = 1;
            let off = near_zero(learnt.x - learnt.track.origin) - longest.spread.mean;
            let number = scaled(off, longest.spread.variance);
            let excess = self.pca.excess(&mut own[at..at + words], number);
            let is_larger = |excess: &f32| self.largest.is_none_or(|before| *excess > before);
            self.largest = excess.filter(is_larger).or(self.largest);
        }
        Apart { by: found.z2, dense: 0.0 }
    }

    fn level(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        _: &Distance<f32>,
        _: Apart,
        _: u32,
    ) -> Level {
        let Some(excess) = self.largest.take() else {
            return Level { known: false, levels: 0, level: 0.0, dense: 0.0 };
        };
        let levels = own[LEVELS];
        own[LEVELS] = levels.checked_add(1).unwrap_or(SEEN_AGAIN);
        Level { known: true, levels, level: level(excess), dense: dense(excess) }
    }
}

/// A number `off` the mean in deviations, by the variance around it.
#[inline(always)]
pub fn scaled(off: f32, variance: f32) -> f32 {
    near_zero(held(off * inverse(variance.sqrt() + 1e-12), NUMBER_MAX))
}

/// The level of an excess.
#[inline(always)]
pub fn level(excess: f32) -> f32 {
    ln(1.0 + excess)
}

/// The dense score of an excess, from 0 to 1.
#[inline(always)]
pub fn dense(excess: f32) -> f32 {
    let root = excess.sqrt();
    root * inverse(1.0 + root)
}

/// Takes from a window what each vector explains, and has each learn it.
struct Step<'a> {
    ring: &'a [u32],
    /// Where the latest number lies in the ring.
    at: usize,
    vectors: &'a mut [u32],
    share: f32,
    /// What comes out: the sum of squares of what is left.
    squares: &'a mut f32,
}

impl Wide for Step<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { ring, at, vectors, share, squares } = self;
        let window = ring.len();
        let mut left = [0.0f32; WINDOW_MAX as usize];
        let left = &mut left[..window];
        let (older, newer) = ring.split_at(at);
        for (number, &word) in left.iter_mut().zip(newer.iter().chain(older)) {
            *number = f32::from_bits(word);
        }
        for vector in vectors.chunks_exact_mut(window) {
            let [along, size] = sums(left, vector);
            if size < SIZE_MIN {
                for (word, &number) in vector.iter_mut().zip(&*left) {
                    *word = number.to_bits();
                }
                break;
            }
            let part = along * inverse(size);
            let gain = along * inverse(size.sqrt()) * share;
            let keep = 1.0 - share;
            for (word, number) in vector.iter_mut().zip(left.iter_mut()) {
                let before = f32::from_bits(*word);
                *word = near_zero(before * keep + *number * gain).to_bits();
                *number = near_zero(*number - before * part);
            }
        }
        let mut strands = [0.0f32; STRANDS];
        for part in left.chunks(STRANDS) {
            for (strand, &number) in strands.iter_mut().zip(part) {
                *strand += number * number;
            }
        }
        *squares = folded(&mut strands);
    }
}

/// The sums of products of numbers and a vector, and of the vector's squares.
#[inline(always)]
fn sums(numbers: &[f32], vector: &[u32]) -> [f32; 2] {
    let (mut along, mut size) = ([0.0f32; STRANDS], [0.0f32; STRANDS]);
    for (numbers, vector) in numbers.chunks(STRANDS).zip(vector.chunks(STRANDS)) {
        let strands = along.iter_mut().zip(&mut size);
        for ((along, size), (&number, &word)) in strands.zip(numbers.iter().zip(vector)) {
            let of_vector = f32::from_bits(word);
            *along += number * of_vector;
            *size += of_vector * of_vector;
        }
    }
    [near_zero(folded(&mut along)), folded(&mut size)]
}

/// The sum of all strands.
#[inline(always)]
fn folded(strands: &mut [f32; STRANDS]) -> f32 {
    let mut half = STRANDS / 2;
    while half > 0 {
        let (lower, upper) = strands.split_at_mut(half);
        for (lower, &upper) in lower.iter_mut().zip(&*upper) {
            *lower += upper;
        }
        half /= 2;
    }
    strands[0]
}
