//! Mistakes planted in the CUDA kernels `score` and `forest`, one at a time: comparing with the processor finds each.
//!
//! `cargo test --test scores_planted -- --nocapture` shows what was planted and how it was found.

mod cuda_host;
mod scores;

use cuda_host::Plant;
use cuda_host::planted::{find, plant};
use pelton::Device;
use scores::{Setup, same, same_forests};

/// What is planted; each stands there once.
const PLANTS: &[(&str, Plant<'_>)] = &[
    (
        "equal points taken for lesser ones",
        plant(
            "kernels/isolation.cuh",
            "if (z < q || (equal && z == q)) {",
            "if (z < q || z == (equal ? q : q + 0.0f)) {",
        ),
    ),
    (
        "the last gap left out",
        plant("kernels/isolation.cuh", "j + 1 < points.count", "j + 2 < points.count"),
    ),
    (
        "a strand that begins one gap late",
        plant(
            "kernels/isolation.cuh",
            "for (uint32_t j = strand; j",
            "for (uint32_t j = strand + 1; j",
        ),
    ),
    (
        "a point put in one place too high",
        plant(
            "kernels/isolation.cuh",
            "for (; rank + 1 < less; rank++)",
            "for (; rank < less; rank++)",
        ),
    ),
    (
        "a sample that goes on growing",
        plant("kernels/isolation.cuh", "if (n >= points) {", "if (n > points) {"),
    ),
    (
        "a draw of another sample",
        plant("kernels/isolation.cuh", "sample * 0x9e3779b9u", "0 * 0x9e3779b9u * sample"),
    ),
    (
        "samples of the next value",
        plant(
            "kernels/isolation.cuh",
            "value * FOREST_SAMPLES * points",
            "(value + 1) * FOREST_SAMPLES * points",
        ),
    ),
    (
        "a count that stands still",
        plant("kernels/isolation.cuh", "? FOREST_MEMORY : n + 1;", "? FOREST_MEMORY : n;"),
    ),
    (
        "the mean of the wrong horizon",
        plant("kernels/isolation.cuh", "own + 3 * sample - 1", "own + 3 * sample + 2"),
    ),
    (
        "the surprise by chance left out",
        plant("kernels/scores.cuh", "0.5f * (surprise + 4.6f * level)", "surprise"),
    ),
    (
        "the least unusual value taken",
        plant("kernels/scores.cuh", "isolation.fine > apart.fine;", "isolation.fine >= 0.0f;"),
    ),
    (
        "a rest that does not end",
        plant("kernels/scores.cuh", "state.get(REST) - steps;", "state.get(REST);"),
    ),
];

/// Scores a stream with forests and without, and holds them to those of the processor.
fn judge(device: &Device, order: u64) {
    let setup = Setup { batch: 2048, chunk: 3000, ..Setup::default() };
    same_forests(device, order, &setup, 3000);
    same(device, order, &setup, 2000);
}

#[test]
fn planted_mistakes_in_scores_are_found() {
    // What is no panic is right.
    find("planted_mistakes_in_scores_are_found", PLANTS, 1..2, |device, order| {
        judge(device, order);
        true
    });
}
