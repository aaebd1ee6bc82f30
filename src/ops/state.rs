//! What holds of every state that scoring leaves behind: one from outside is judged by it before a kernel gets it.
//!
//! States come back from files and networks. No word of one is used as an index without a bound, but numbers that no
//! stream leads to would make scores infinite or NaN. The limits here are wide: they are those of the arithmetic in
//! `ops::ewma`, `ops::decide` and the detectors, for values held to +-10^12.

use super::adwin;
use super::decide::{RING_PEAKS, TRIALS_MAX};
use super::detector::Detector;
use super::drift::THRESHOLD_MAX;
use super::ensemble::Judges;
use super::ewma::{HORIZONS, OFF_MAX, VALUE_MAX};
use super::score::{
    BAR, DRIFT, EXCESS, LEAST, LEVEL, PEAK, PEAKS, REST, RING, SEEN, SLOPE, SPACING, state_words,
    track,
};

/// The layout of states, which changes when they mean something else.
pub const STATE_VERSION: u32 = 7;

/// Weights count events, and an f32 stops counting here.
pub(super) const WEIGHT_MAX: f32 = 16_777_216.0;

/// The first word of a state that no stream of so many values leads to, with these detectors; `None` when all are as
/// they can be. `state` has as many words as [`Judges::words`] says.
pub fn misfit(state: &[u32], values: usize, judges: Judges) -> Option<usize> {
    let head = match judges.head() {
        0 => None,
        head => misfit_of(&state[..head], 1, Detector::Distances),
    };
    head.or_else(|| {
        judges.places(values).find_map(|(at, words, detector)| {
            let (own, window) = state[at..at + words].split_at(words - judges.window());
            let in_window = || adwin::misfit(window).map(|word| own.len() + word);
            let word = misfit_of(own, values, detector).or_else(in_window);
            word.map(|word| at + word)
        })
    })
}

/// The same for the state of one detector.
fn misfit_of(state: &[u32], values: usize, detector: Detector) -> Option<usize> {
    let within = |at, least, most| within(state, at, least, most);
    let up_to = |at: usize, most: u32| (state[at] > most).then_some(at);
    within(SPACING, 0.0, 1e20)
        .or_else(|| within(REST, 0.0, VALUE_MAX))
        .or_else(|| within(PEAK, 0.0, 1e15))
        .or_else(|| spread_misfit(state, LEVEL, 1e3))
        .or_else(|| up_to(PEAKS, TRIALS_MAX))
        .or_else(|| [EXCESS, LEAST].into_iter().find_map(|at| within(at, 0.0, 16.0)))
        .or_else(|| within(SLOPE, -100.0, 100.0))
        .or_else(|| (RING..RING + RING_PEAKS as usize).find_map(|at| within(at, 0.0, 16.0)))
        .or_else(|| within(BAR, 0.0, 2e15))
        .or_else(|| (0..values).find_map(|value| track_misfit(state, track(value))))
        .or_else(|| within(DRIFT, 0.0, THRESHOLD_MAX))
        .or_else(|| {
            let (state, own) = state.split_at(state_words(values));
            detector.misfit(own, values, state[SEEN]).map(|at| state.len() + at)
        })
}

/// The word at `at`, where it is no number in this range.
pub(super) fn within(state: &[u32], at: usize, least: f32, most: f32) -> Option<usize> {
    let x = f32::from_bits(state[at]);
    (!(least..=most).contains(&x)).then_some(at)
}

/// A mean and a variance.
fn spread_misfit(state: &[u32], at: usize, off: f32) -> Option<usize> {
    within(state, at, -off, off).or_else(|| within(state, at + 1, 0.0, off * off))
}

/// The first word of a value's track that no stream leads to.
pub(super) fn track_misfit(state: &[u32], at: usize) -> Option<usize> {
    let horizon = |h| {
        let at = at + 1 + 3 * h;
        within(state, at, 0.0, WEIGHT_MAX).or_else(|| spread_misfit(state, at + 1, OFF_MAX))
    };
    within(state, at, -VALUE_MAX, VALUE_MAX).or_else(|| (0..HORIZONS).find_map(horizon))
}
