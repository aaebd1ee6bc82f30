//! Mistakes planted in CUDA kernels that score with a warp a key, one at a time, as `scores_planted` plants them in
//! others.

use crate::cuda_host::device::of;
use crate::cuda_host::planted::{find, plant};
use crate::cuda_host::{Plant, SCORES};
use crate::scores::{Setup, same_arts, same_spectrals, same_sub_pcas};
use pelton::Device;

/// What is planted, which stands there once.
type Planted = (&'static str, Plant<'static>);

/// In principal components.
const COMPONENTS: &[Planted] = &[
    (
        "a vector of the wrong length",
        plant("kernels/sub_pca.cu", "inverse(__fsqrt_rn(size)) * share", "inverse(size) * share"),
    ),
    (
        "what a vector explains left in",
        plant(
            "kernels/sub_pca.cu",
            "near_zero(left[i] - before[i] * taken)",
            "near_zero(left[i] - 0.0f * taken)",
        ),
    ),
    (
        "sums of half a window",
        plant(
            "kernels/stretch.cuh",
            "uint32_t half = LANES / 2; half > 0",
            "uint32_t half = LANES / 4; half > 0",
        ),
    ),
    (
        "vectors behind one that is not there",
        plant("kernels/sub_pca.cu", "        if (none) {", "        if (none && rank == 0) {"),
    ),
    (
        "the ring taken for the window",
        plant("kernels/sub_pca.cu", "((at + k) & (window - 1))", "((0 * at + k) & (window - 1))"),
    ),
    (
        "a window that is learnt in full for ever",
        plant(
            "kernels/stretch.cuh",
            "early < 9.765625e-4f ? 9.765625e-4f : early",
            "early < 1.0f ? 1.0f : early",
        ),
    ),
    (
        "a mean that is learnt before it judges",
        plant(
            "kernels/stretch.cuh",
            "square * inverse(mean + 2.4414063e-4f)",
            "square * inverse(stretch.get(STRETCH_MEAN) + 2.4414063e-4f)",
        ),
    ),
    (
        "a missing value judged again",
        plant(
            "kernels/stretch.cuh",
            "state[own + STRETCH_FRESH + i] = 0;",
            "state[own + STRETCH_FRESH + i] = 1;",
        ),
    ),
    (
        "levels that are not counted",
        plant("kernels/stretch.cuh", "? 0xfffe0000u : levels + 1;", "? 0xfffe0000u : levels;"),
    ),
    (
        "the last value taken",
        plant("kernels/stretch.cuh", "excess > largest ?", "excess >= 0.0f ?"),
    ),
];

/// In spectral residuals.
const SPECTRA: &[Planted] = &[
    (
        "a spectrum that turns the other way",
        plant("kernels/spectral.cu", "im * cosine - re * sine;", "im * cosine + re * sine;"),
    ),
    (
        "the half turn that is none",
        plant(
            "kernels/spectral.cu",
            "step > 32 ? -COSINES[64 - step]",
            "step > 32 ? COSINES[64 - step]",
        ),
    ),
    (
        "a stretch without its estimates",
        plant("kernels/spectral.cu", "i < window - 5 || i == window", "i < window + 5"),
    ),
    (
        "a slope left out",
        plant(
            "kernels/spectral.cu",
            "before(stretch, at, 6)) * 0.2f",
            "before(stretch, at, 6)) * 0.0f",
        ),
    ),
    (
        "a neighbour beyond the half",
        plant("kernels/spectral.cu", "f == half ? half - 1 : f + 1", "f + 1 > 64 ? 64 : f + 1"),
    ),
    (
        "the highest frequency counted twice",
        plant("kernels/spectral.cu", "f == 0 || f == half ? 1.0f", "f == 0 ? 1.0f"),
    ),
    (
        "logarithms read before they are there",
        plant(
            "kernels/spectral.cu",
            "        __syncwarp();\n        float salient",
            "        float salient",
        ),
    ),
];

/// In fuzzy ART.
const ARTS: &[Planted] = &[
    (
        "no distance to the upper corner",
        plant("kernels/art.cu", "(max(x, upper) - upper)", "0 * (max(x, upper) - upper)"),
    ),
    (
        "the first of equally near boxes taken, however large",
        plant(
            "kernels/art.cu",
            "apart << 19 | size << 6 | j",
            "apart << 19 | (0 * size + 1) << 6 | j",
        ),
    ),
    (
        "a free place taken for a box",
        plant("kernels/art.cu", "count == 0 ? NO_BOX :", "count + 1 == 0 ? NO_BOX :"),
    ),
    (
        "boxes that grow a little too far",
        plant("kernels/art.cu", "<= size_max;", "<= size_max + 60;"),
    ),
    (
        "the last of the rarest replaced",
        plant("kernels/art.cu", "count << 6 | j);", "count << 6 | (63 - j)) & ~0u;"),
    ),
    (
        "counts that are not halved",
        plant("kernels/art.cu", "== 2 * p.shape2 ? 1 : 0", "== 2 * p.shape2 ? 0 : 0"),
    ),
    ("details of the wrong sum", plant("kernels/art.cu", "shorter = sum;", "shorter = place;")),
    (
        "a ring that does not come round",
        plant("kernels/art.cu", "kept == 64 ? 32 : kept", "kept == 64 ? 31 : kept"),
    ),
    (
        "a missing value's point judged again",
        plant(
            "kernels/art.cu",
            "state[own + ART_FRESH + i] = 0;",
            "state[own + ART_FRESH + i] = 1;",
        ),
    ),
    (
        "a mean by the wrong horizon",
        plant("kernels/art.cu", "track + 3 * level - 1", "track + 2 + 0 * level"),
    ),
    (
        "the nearest value taken",
        plant("kernels/art.cu", "far = apart > far ?", "far = apart >= 0.0f ?"),
    ),
];

/// Holds a judge to find each mistake of a list: what is no panic is right.
fn found_by(list: &str, plants: &[Planted], judge: impl Fn(&Device, u64, &Setup) + Sync) {
    let setup = Setup { batch: 2048, chunk: 3000, ..Setup::default() };
    find(&SCORES, of, list, plants, 1..2, |device, order| {
        judge(device, order, &setup);
        true
    });
}

#[test]
fn planted_mistakes_in_components_are_found() {
    found_by("planted_mistakes_in_components_are_found", COMPONENTS, |device, order, setup| {
        same_sub_pcas(device, order, setup, 2000);
    });
}

#[test]
fn planted_mistakes_in_spectra_are_found() {
    found_by("planted_mistakes_in_spectra_are_found", SPECTRA, |device, order, setup| {
        same_spectrals(device, order, setup, 1000);
    });
}

#[test]
fn planted_mistakes_in_arts_are_found() {
    found_by("planted_mistakes_in_arts_are_found", ARTS, |device, order, setup| {
        same_arts(device, order, setup, 2500);
    });
}
