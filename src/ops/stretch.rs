//! What detectors share that judge the latest stretch of a key's values by how much about it is unusual, beside what
//! usually is.
//!
//! Spec. Of each value the latest `window` numbers are kept, its *stretch*, the latest number first. Missing numbers
//! are in none. Numbers are *scaled*: a number's distance to the key's mean over the longest horizon (`ops::ewma`),
//! which has learnt it, in deviations, held to 64 on either side. So no offset and no scale shows. Keeping begins when
//! the longest horizon stands for sixteen numbers; judging and learning, when a stretch is full.
//!
//! A detector says how much of a stretch is *unusual*, a mean square `q`, and learns the stretch. `m` is the mean of
//! `q` over the stretches before, in which one has the share `3 / (n + 3)` after `n`, at least `1 / 1024`. The event's
//! *excess* is `q / (m + 2^-12)`, so little counts below a 64th of a deviation. The *level* that decides
//! (`ops::decide`) is the logarithm of one more than that. With `d` the root of the excess, `d / (1 + d)` is the dense
//! score: a half for what is usual. Both begin when as many stretches were learnt as one has numbers. Of an event's
//! values the one of the largest excess is judged, and each value's is its part; the largest distance of `ops::ewma`
//! only says which of them stands out.
//!
//! Sums are taken in 32 strands, number `k` in strand `k` modulo 32, then strands in halves, the upper added to the
//! lower one. What is nearer to zero than 10^-16 is zero.

use super::detector::{Apart, Judge, Learnt, Level};
use super::ewma::{Distance, SETTLED, held, near_zero};
use super::math::{inverse, ln};
use super::number::Number;
use super::score::{SEEN_AGAIN, ScoreParams};
use crate::base::limits::VALUES_MAX;

/// State: numbers kept so far; from [`COUNT_MAX`] and a window on it goes back by the window, so that it tells where
/// the latest one lies.
pub const COUNT: usize = 0;
/// State: the mean of what was unusual.
pub const MEAN: usize = 1;
/// State of the first value: events that had a level, counted as `score::SEEN`.
pub const LEVELS: usize = 2;
/// State of the first value: for each value whether the latest event has a number of it that is kept.
pub const FRESH: usize = 8;
/// State: where the ring of numbers begins. The latest is at `-count` modulo the window, the one before it next to it.
/// Behind it lies what a detector learns.
pub const RING: usize = FRESH + VALUES_MAX;
/// Numbers that are told apart: the share of a stretch in what is learnt is the same after so many.
pub const COUNT_MAX: u32 = 4096;
/// The largest scaled number.
pub const NUMBER_MAX: f32 = 64.0;
/// A mean square that hardly counts: that of a 64th of a deviation.
pub(super) const SQUARE_MIN: f32 = 1.0 / 4096.0;
/// The least share of a stretch.
const SHARE_MIN: f32 = 1.0 / 1024.0;
/// Sums are taken in so many strands.
pub(super) const STRANDS: usize = 32;

/// A full stretch.
pub(super) struct Latest<'a> {
    /// Its numbers.
    pub(super) ring: &'a [u32],
    /// Where the latest one lies in the ring.
    pub(super) at: usize,
    /// Its share in what is learnt.
    pub(super) share: f32,
}

impl Latest<'_> {
    /// Copies its numbers, the latest one first.
    #[inline(always)]
    pub(super) fn copy_to(&self, numbers: &mut [f32]) {
        let (older, newer) = self.ring.split_at(self.at);
        let (first, rest) = numbers.split_at_mut(newer.len());
        for (numbers, words) in [(first, newer), (rest, older)] {
            numbers.iter_mut().zip(words).for_each(|(x, &word)| *x = f32::from_bits(word));
        }
    }
}

/// A detector of stretches.
pub(super) trait Stretch: Copy {
    /// Numbers of a stretch, a power of two.
    fn window(self) -> u32;

    /// Words that it learns, behind the ring.
    fn learnt(self) -> usize;

    /// The largest number among these.
    fn learnt_max(self) -> f32;

    /// The largest mean square.
    fn unusual_max(self) -> f32;

    /// How much of a stretch is unusual, a mean square; the stretch is then learnt.
    fn unusual(self, latest: &Latest<'_>, learnt: &mut [u32]) -> f32;
}

/// Words of a value's state, in whole lines of 64 bytes.
pub(super) const fn words(window: u32, learnt: usize) -> usize {
    (RING + window as usize + learnt).next_multiple_of(16)
}

/// Keeps a scaled number; the excess of the stretch that it ends, where there is a past to judge by.
pub(super) fn excess<S: Stretch>(stretch: S, state: &mut [u32], number: f32) -> Option<f32> {
    let window = stretch.window();
    let (head, rest) = state.split_at_mut(RING);
    let (ring, learnt) = rest.split_at_mut(window as usize);
    let count = head[COUNT] + 1;
    head[COUNT] = if count == COUNT_MAX + window { COUNT_MAX } else { count };
    let at = (count.wrapping_neg() & (window - 1)) as usize;
    ring[at] = number.to_bits();
    let before = count.checked_sub(window)?;
    let share = (3.0 * inverse(before as f32 + 3.0)).no_less(SHARE_MIN);
    let latest = Latest { ring, at, share };
    let square = stretch.unusual(&latest, &mut learnt[..stretch.learnt()]);
    let mean = f32::from_bits(head[MEAN]);
    head[MEAN] = near_zero(mean + (square - mean) * share).to_bits();
    (before >= window).then(|| square * inverse(mean + SQUARE_MIN))
}

/// The first word of a key's state of so many values that is out of range, after `seen` events.
pub(super) fn misfit<S: Stretch>(
    stretch: S,
    own: &[u32],
    values: usize,
    seen: u32,
) -> Option<usize> {
    let (window, all) = (stretch.window(), words(stretch.window(), stretch.learnt()));
    // Without their signs the bits of floats are in order, those of NaN last.
    let is_off = |word: u32, most: f32| word & 0x7FFF_FFFF > most.to_bits();
    let misfits = |at: usize, word: u32| match at {
        COUNT => word >= COUNT_MAX + window,
        MEAN => word > (2.0 * stretch.unusual_max()).to_bits(),
        LEVELS => word > seen,
        _ if at < FRESH => word != 0,
        _ if at < RING => word > 1,
        _ if at < RING + window as usize => is_off(word, NUMBER_MAX),
        _ => is_off(word, 2.0 * stretch.learnt_max()),
    };
    let mut words = own[..values * all].iter().enumerate();
    words.position(|(i, &word)| misfits(i % all, word))
}

/// Judges by stretches on a serial device.
pub(super) struct ByExcess<S> {
    stretch: S,
    /// Of the event's values so far the largest excess.
    largest: Option<f32>,
}

impl<S: Stretch> ByExcess<S> {
    pub(super) fn new(stretch: S) -> Self {
        Self { stretch, largest: None }
    }
}

impl<S: Stretch> Judge for ByExcess<S> {
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
        let words = words(self.stretch.window(), self.stretch.learnt());
        let at = learnt.value * words;
        let mut part = 0.0;
        let [_, _, longest] = learnt.track.horizons;
        if own[at + COUNT] > 0 || longest.weight >= SETTLED {
            own[FRESH + learnt.value] = 1;
            let off = near_zero(learnt.x - learnt.track.origin) - longest.spread.mean;
            let number = scaled(off, longest.spread.variance);
            let excess = excess(self.stretch, &mut own[at..at + words], number);
            part = excess.unwrap_or(0.0);
            let is_larger = |excess: &f32| self.largest.is_none_or(|before| *excess > before);
            self.largest = excess.filter(is_larger).or(self.largest);
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

/// The sum of all strands.
#[inline(always)]
pub(super) fn folded(strands: &[f32; STRANDS]) -> f32 {
    let [a, b] = halved(&halved::<4, 8>(&halved::<8, 16>(&halved::<16, STRANDS>(strands))));
    a + b
}

/// The upper half added to the lower one.
#[inline(always)]
fn halved<const HALF: usize, const ALL: usize>(all: &[f32; ALL]) -> [f32; HALF] {
    let mut sums = [0.0; HALF];
    let (lower, upper) = all.split_at(HALF);
    for ((sum, lower), upper) in sums.iter_mut().zip(lower).zip(upper) {
        *sum = lower + upper;
    }
    sums
}
