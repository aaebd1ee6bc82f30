//! What holds of every state that scoring leaves behind: one from outside is judged by it before a kernel gets it.
//!
//! States come back from files and networks. No word of one is used as an index without a bound, but numbers that no
//! stream leads to would make scores infinite or NaN. The limits here are wide: they are those of the arithmetic in
//! `ops::ewma`, `ops::decide` and `ops::forest`, for values held to +-10^12.

use super::decide::{RING_PEAKS, TRIALS_MAX};
use super::ewma::{HORIZONS, VALUE_MAX};
use super::forest::{COUNTS, SAMPLES, forest_words};
use super::half_space::{COUNT, HalfSpaces, KNOWN, MASSES, POINT};
use super::score::{
    ALERTS, ALERTS_KEPT, BAR, EXCESS, LEAST, LEVEL, PEAK, PEAKS, REST, RING, SEEN, SLOPE, SPACING,
    state_words, track,
};

/// The layout of states, which changes when they mean something else.
pub const STATE_VERSION: u32 = 3;

/// Weights count events, and an f32 stops counting here.
const WEIGHT_MAX: f32 = 16_777_216.0;
/// Values count from an origin.
const OFF_MAX: f32 = 4.0 * VALUE_MAX;

/// The first word of a state that no stream of so many values leads to, with forests of so many points or with
/// half-space trees; `None` when all are as they can be. `state` has as many words as `score::state_words_with` says.
pub fn misfit(state: &[u32], values: usize, points: u32, half_spaces: HalfSpaces) -> Option<usize> {
    let within = |at: usize, least: f32, most: f32| {
        let x = f32::from_bits(state[at]);
        (!(least..=most).contains(&x)).then_some(at)
    };
    let up_to = |at: usize, most: u32| (state[at] > most).then_some(at);
    // A mean and a variance.
    let spread =
        |at: usize, off: f32| within(at, -off, off).or_else(|| within(at + 1, 0.0, off * off));
    let values_misfit = |value| {
        let at = track(value);
        let horizon = |h| {
            let at = at + 1 + 3 * h;
            within(at, 0.0, WEIGHT_MAX).or_else(|| spread(at + 1, OFF_MAX))
        };
        let horizons = (0..HORIZONS).find_map(horizon);
        within(at, -VALUE_MAX, VALUE_MAX).or(horizons)
    };
    within(SPACING, 0.0, 1e20)
        .or_else(|| within(REST, 0.0, VALUE_MAX))
        .or_else(|| within(PEAK, 0.0, 1e15))
        .or_else(|| spread(LEVEL, 1e3))
        .or_else(|| up_to(PEAKS, TRIALS_MAX))
        .or_else(|| [EXCESS, LEAST].into_iter().find_map(|at| within(at, 0.0, 16.0)))
        .or_else(|| within(SLOPE, -100.0, 100.0))
        .or_else(|| (RING..RING + RING_PEAKS as usize).find_map(|at| within(at, 0.0, 16.0)))
        .or_else(|| within(BAR, 0.0, 2e15))
        .or_else(|| (0..ALERTS_KEPT).find_map(|i| within(ALERTS + 2 * i + 1, 0.0, 1e15)))
        .or_else(|| (0..values).find_map(values_misfit))
        .or_else(|| samples_misfit(state, values, points))
        .or_else(|| masses_misfit(state, values, half_spaces))
}

/// The first word of the forests that is out of order.
fn samples_misfit(state: &[u32], values: usize, points: u32) -> Option<usize> {
    let first = state_words(values);
    let forest = &state[first..][..forest_words(values, points)];
    let size = points as usize;
    for value in 0..if size == 0 { 0 } else { values } {
        let held = forest[value].min(points) as usize;
        for sample in 0..SAMPLES {
            let from = COUNTS + (value * SAMPLES + sample) * size;
            let sample = forest[from..from + held].iter().map(|&word| f32::from_bits(word));
            let mut least = -OFF_MAX;
            for (at, x) in (from..).zip(sample) {
                if !(least..=OFF_MAX).contains(&x) {
                    return Some(first + at);
                }
                least = x;
            }
        }
    }
    None
}

/// The first word of the half-space trees that is out of range. Once a window was full, a root has all of its events.
fn masses_misfit(state: &[u32], values: usize, spaces: HalfSpaces) -> Option<usize> {
    if spaces.trees == 0 {
        return None;
    }
    let first = state_words(values);
    let trees = &state[first..];
    let (known, window) = (trees[KNOWN], spaces.window);
    let was_full = u32::from(state[SEEN] >= window);
    if trees[COUNT] >= window || known != was_full {
        return Some(first + COUNT);
    }
    if let Some(i) = trees[POINT..MASSES].iter().position(|&place| place > 0xFFFF) {
        return Some(first + POINT + i);
    }
    let size = 2 << spaces.height;
    let mut masses = trees[MASSES..][..spaces.masses()].iter().enumerate();
    let is_wrong = |(i, &mass): (usize, &u32)| {
        let (reference, latest) = (mass >> 16, mass & 0xFFFF);
        let is_root = i % size == 1;
        reference > window || latest > window || is_root && reference != known * window
    };
    masses.position(is_wrong).map(|i| first + MASSES + i)
}
