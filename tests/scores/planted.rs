//! Mistakes to plant in what becomes of a key: drift and labels.

use super::Planted;
use crate::cuda_host::planted::plant;

/// In the test for drift, and in what a key forgets then.
pub(super) const DRIFTS: &[Planted] = &[
    (
        "a large event that counts in full",
        plant("kernels/decide.cuh", "(u > 4.0f ? 4.0f : u)", "(u > 4e9f ? 4.0f : u)"),
    ),
    (
        "a delta left out",
        plant("kernels/decide.cuh", " - p.drift_delta;", " - 0.0f * p.drift_delta;"),
    ),
    (
        "a key that drifts while it warms up",
        plant("kernels/decide.cuh", "&& (flags & WARMING) == 0 && has_drifted", "&& has_drifted"),
    ),
    (
        "half of a state that is kept",
        plant("kernels/scores.cuh", "i < p.own_words;", "i < p.own_words / 2;"),
    ),
    (
        "a drift of the first member alone",
        plant(
            "kernels/ensemble.cu",
            "(out[row + 4] | rows[by + 4]) & DRIFTED;",
            "out[row + 4] & DRIFTED;",
        ),
    ),
];

/// In windows of levels.
pub(super) const WINDOWS: &[Planted] = &[
    (
        "a mean of too few events",
        plant("kernels/adwin.cuh", "WINDOW_COUNT] < WINDOW_EVENTS)", "WINDOW_COUNT] < 31)"),
    ),
    (
        "an event of a window that counts in full",
        plant("kernels/adwin.cuh", "(held(u, 4.0f) + 4.0f)", "(held(u, 40.0f) + 40.0f)"),
    ),
    (
        "the oldest bucket twice",
        plant("kernels/adwin.cuh", "bucket_at(row, came + 1);", "bucket_at(row, came);"),
    ),
    (
        "a row that hears of too many",
        plant("kernels/adwin.cuh", "0 : (came - 3) / 2;", "0 : (came - 2) / 2;"),
    ),
    (
        "a row that holds one bucket less",
        plant("kernels/adwin.cuh", "came : 4 - (came & 1);", "came : 3;"),
    ),
    (
        "a spread that is not about the mean",
        plant("kernels/adwin.cuh", "to_float(n * s - t * t)", "to_float(n * s - 0 * t)"),
    ),
    (
        "no bound for what is rare",
        plant("kernels/adwin.cuh", "d * 5.3333335f * width;", "d * 0.0f * width;"),
    ),
    ("a window cut too soon", plant("kernels/adwin.cuh", "if (n <= 10) {", "if (n <= 4) {")),
    (
        "parts with the wrong sizes",
        plant("kernels/adwin.cuh", "newer = t1 * n0;", "newer = t1 * n1;"),
    ),
    (
        "a window that knows no other delta",
        plant(
            "kernels/adwin.cuh",
            "p.drift_delta + own_ln",
            "12.0f + 0.0f * p.drift_delta + own_ln",
        ),
    ),
    (
        "a window that is kept",
        plant("kernels/scores.cuh", "i < p.own_words;", "i < p.own_words - WINDOW;"),
    ),
    (
        "a window of the next key",
        plant("kernels/decide.cuh", "p.own_words - WINDOW;", "p.own_words;"),
    ),
];

/// In what becomes of an alert that a label dismisses.
pub(super) const LABELS: &[Planted] = &[
    (
        "a label that is not heard",
        plant(
            "kernels/decide.cuh",
            "surprise <= state.get(BAR) &&",
            "surprise < 0.0f * state.get(BAR) &&",
        ),
    ),
    (
        "a label that is soon forgotten",
        plant(
            "kernels/decide.cuh",
            "float(state[SEEN] - state[BAR_SEEN]) * p.rate <= 16.0f",
            "float(state[SEEN] - state[BAR_SEEN]) * p.rate <= 1.0f",
        ),
    ),
    (
        "a label that is never forgotten",
        plant(
            "kernels/decide.cuh",
            "float(state[SEEN] - state[BAR_SEEN]) * p.rate <= 16.0f",
            "float(state[SEEN] - state[BAR_SEEN]) * p.rate <= 16e6f",
        ),
    ),
    (
        "a dismissed alert that rests",
        plant(
            "kernels/decide.cuh",
            "            flags |= DISMISSED;",
            "            flags |= DISMISSED;\n            state.put(REST, p.rest);",
        ),
    ),
];
