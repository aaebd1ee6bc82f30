//! Mistakes planted in the CUDA kernels that score, one at a time: comparing with the processor
//! finds each.
//!
//! `cargo test --test planted scores -- --nocapture` shows what was planted and how it was found. Only the kernels that
//! score are compiled anew and run as CUDA's; each list has the judge that finds its mistakes soonest.

#[path = "../scores/planted.rs"]
mod planted;

use crate::cuda_host::device::of;
use crate::cuda_host::planted::{find, plant};
use crate::cuda_host::{Plant, SCORES};
use crate::scores::labels::{same_labelled, same_labelled_of};
use crate::scores::{
    Setup, ensemble, same, same_cuts, same_drifts, same_ensembles, same_forests, same_half_spaces,
    same_lodas, same_profiles, same_seasons, wide,
};
use pelton::Device;
use planted::{DRIFTS, LABELS, WINDOWS};

/// What is planted, which stands there once.
type Planted = (&'static str, Plant<'static>);

/// What all detectors share.
const COMMON: &[Planted] = &[
    (
        "the surprise by chance left out",
        plant("kernels/decide.cuh", "+ share * by_chance(p, judged.level)", "+ share * surprise"),
    ),
    (
        "a tail that is taken at its word",
        plant("kernels/decide.cuh", "aside = 2.0f * __fsqrt_rn(all)", "aside = 0.0f * all"),
    ),
    (
        "a tail that few peaks make no heavier",
        plant("kernels/decide.cuh", "0.75f) + 2.0f * all;", "0.75f) + 0.0f * all;"),
    ),
    (
        "three tails alike",
        plant("kernels/decide.cuh", "by_light + 4.0f * by_usual", "by_light + by_usual"),
    ),
    (
        "the least unusual value taken",
        plant("kernels/scores.cuh", "if (stands.by > apart.by) {", "if (stands.by >= 0.0f) {"),
    ),
    (
        "a part of the first value for all",
        plant(
            "kernels/scores.cuh",
            "row.put_part(p, i, stands.part);",
            "row.put_part(p, 0, stands.part);",
        ),
    ),
    (
        "a missing value with a part",
        plant("kernels/scores.cuh", "row.put_part(p, i, NO_PART);", "row.put_part(p, i, 0.0f);"),
    ),
    (
        "a rest that does not end",
        plant("kernels/scores.cuh", "state.get(REST) - steps;", "state.get(REST);"),
    ),
];

/// What is planted in forests.
const FORESTS: &[Planted] = &[
    (
        "equal points taken for lesser ones",
        plant(
            "kernels/forest.cu",
            "if (z < q || (equal && z == q)) {",
            "if (z < q || z == (equal ? q : q + 0.0f)) {",
        ),
    ),
    (
        "the last gap left out",
        plant("kernels/forest.cu", "j + 1 < points.count", "j + 2 < points.count"),
    ),
    (
        "a strand that begins one gap late",
        plant(
            "kernels/forest.cu",
            "for (uint32_t j = strand; j",
            "for (uint32_t j = strand + 1; j",
        ),
    ),
    (
        "a point put in one place too high",
        plant(
            "kernels/forest.cu",
            "for (; rank + 1 < less; rank++)",
            "for (; rank < less; rank++)",
        ),
    ),
    (
        "a sample that goes on growing",
        plant("kernels/forest.cu", "if (n >= points) {", "if (n > points) {"),
    ),
    (
        "a draw of another sample",
        plant("kernels/forest.cu", "sample * 0x9e3779b9u", "0 * 0x9e3779b9u * sample"),
    ),
    (
        "samples of the next value",
        plant(
            "kernels/forest.cu",
            "value * (head + samples * size);",
            "(value + 1) * (head + samples * size);",
        ),
    ),
    (
        "a count that stands still",
        plant("kernels/forest.cu", "? FOREST_MEMORY : n + 1;", "? FOREST_MEMORY : n;"),
    ),
    (
        "the mean of the wrong horizon",
        plant("kernels/forest.cu", "moment.decays.middle", "moment.decays.long_one"),
    ),
    (
        "a period that begins a tick early",
        plant("kernels/forest.cu", "time % period", "(time + 1) % period"),
    ),
    (
        "an outermost point that goes",
        plant("kernels/forest.cu", "rank < EDGE ||", "rank + 1 < EDGE ||"),
    ),
    ("a slot that counts on", plant("kernels/forest.cu", "min(seen + 1, SLOT_MEMORY)", "seen + 1")),
    (
        "a slot never seen that stands at nothing",
        plant("kernels/forest.cu", "seen == 0 ? 0.0f : near_zero", "near_zero"),
    ),
    ("a part that is only squared", plant("kernels/forest.cu", "square * square}", "square}")),
    (
        "the dense score without its mean",
        plant("kernels/forest.cu", "0.5f * (instant + mean)", "instant + 0.0f * mean"),
    ),
];

/// In half-space trees.
const HALF_SPACES: &[Planted] = &[
    (
        "a mean's place by the wrong horizon",
        plant("kernels/point.cuh", "state.get(track + 5)", "state.get(track + 2)"),
    ),
    (
        "a window that never ends",
        plant("kernels/half_space.cu", "= count == window ? 0 : count;", "= count;"),
    ),
    (
        "the mass of the running window taken",
        plant(
            "kernels/half_space.cu",
            "sum += mass >> 16 << depth;",
            "sum += (mass & 0xffff) << depth;",
        ),
    ),
    (
        "a light node that does not end the way",
        plant("kernels/half_space.cu", "* 10 < window;", "* 10 < 0 * window;"),
    ),
    (
        "leaves left out of the sum",
        plant("kernels/half_space.cu", "if (!light) {", "if (!light && depth < height) {"),
    ),
    (
        "the same offset in all trees",
        plant("kernels/half_space.cu", "0x80000000u | tree << 16", "0x80000000u | 0 * tree"),
    ),
    (
        "the next bit of the wrong dimension",
        plant("kernels/half_space.cu", "cuts >> 4 * dimension & 15;", "cuts & 15;"),
    ),
    (
        "a part of the next dimension",
        plant("kernels/half_space.cu", "row.add_part(cut,", "row.add_part((cut + 1) % values,"),
    ),
    (
        "a part of half the mass",
        plant("kernels/half_space.cu", "float(left - zeros - 1)", "float(left - zeros)"),
    ),
    (
        "a missing value where the last one was",
        plant("kernels/half_space.cu", "+ SPACE_POINT + i] = 0x8000;", "+ SPACE_POINT + i] += 0;"),
    ),
];

/// In seasons.
const SEASONS: &[Planted] = &[
    (
        "a node that never forgets",
        plant(
            "kernels/season.cu",
            "state.put(next, positive(state.get(next) * 0.875f));",
            "state.put(next, positive(state.get(next)));",
        ),
    ),
    (
        "a season known from its begin",
        plant(
            "kernels/season.cu",
            "slot - state[at + SEASON_FIRST] >= slots;",
            "slot - state[at + SEASON_FIRST] >= slots / 8;",
        ),
    ),
    (
        "a season that ends a slot late",
        plant(
            "kernels/season.cu",
            "number + 1 == slots ? 0 : number + 1",
            "number == slots ? 0 : number + 1",
        ),
    ),
    (
        "residuals learnt in full",
        plant("kernels/season.cu", "held(residual, 4.0f *", "held(residual, 4000.0f *"),
    ),
    (
        "all values with one season",
        plant("kernels/season.cu", "own + i * words;", "own + 0 * i * words;"),
    ),
    (
        "a trend that is not damped",
        plant("kernels/season.cu", "* moment.decays.short_one + turn", "* 1.0f + turn"),
    ),
    (
        "a season that may speak too soon",
        plant(
            "kernels/season.cu",
            "weight >= 32.0f && error < 0.75f * own",
            "weight >= 31.0f && error < 0.75f * own",
        ),
    ),
];

/// In random projections.
const LODAS: &[Planted] = &[
    (
        "counts that are halved late",
        plant("kernels/loda.cu", "count + 1 == 2 * window;", "count + 1 == 3 * window;"),
    ),
    ("all projections alike", plant("kernels/loda.cu", "hash(j << 8 | i)", "hash(0 * j << 8 | i)")),
    (
        "cells twice as wide",
        plant("kernels/loda.cu", "(0x10000 / p.shape1);", "(0x20000 / p.shape1);"),
    ),
    (
        "a term for another",
        plant(
            "kernels/loda.cu",
            "row.add_part(shadow.which >> 4 & 15, b",
            "row.add_part(shadow.which >> 4 & 15, a",
        ),
    ),
    (
        "a missing value where the last one was cast",
        plant("kernels/loda.cu", "+ LODA_POINT + i] = 0x8000;", "+ LODA_POINT + i] += 0;"),
    ),
];

/// In matrix profiles.
const PROFILES: &[Planted] = &[
    (
        "a stretch compared with itself, nearly",
        plant(
            "kernels/profile.cu",
            "uint32_t lag = p.window + lane()",
            "uint32_t lag = 1 + lane()",
        ),
    ),
    (
        "the farthest lag left out",
        plant(
            "kernels/profile.cu",
            "lag < p.points - p.window; lag",
            "lag + 1 < p.points - p.window; lag",
        ),
    ),
    (
        "sums that lose nothing",
        plant(
            "kernels/profile.cu",
            "(gained - lost) * (gained + lost)",
            "gained * gained + 0 * lost",
        ),
    ),
    (
        "a stretch from before the first number",
        plant("kernels/profile.cu", "if (lag < end) {", "if (lag <= end) {"),
    ),
    (
        "a ring that does not come round",
        plant("kernels/profile.cu", "? p.points : count;", "? p.points - 1 : count;"),
    ),
    (
        "flat stretches taken for others",
        plant("kernels/profile.cu", "return bits_of(1.0f);", "return bits_of(0.0f);"),
    ),
    (
        "a missing value's stretch compared again",
        plant(
            "kernels/profile.cu",
            "state[own + PROFILE_FRESH + i] = 0;",
            "state[own + PROFILE_FRESH + i] = 1;",
        ),
    ),
    (
        "parts of distances that are not known",
        plant(
            "kernels/profile.cu",
            "if (least != NO_DISTANCE && lane() == 0) {",
            "if (lane() == 0) {",
        ),
    ),
    (
        "levels that are not counted",
        plant("kernels/profile.cu", "? 0xfffe0000u : levels + 1;", "? 0xfffe0000u : levels;"),
    ),
    (
        "the nearest value taken",
        plant("kernels/profile.cu", "&& squared > far ?", "&& squared >= 0.0f ?"),
    ),
];

/// In how an ensemble takes the rows of its members.
const ENSEMBLES: &[Planted] = &[
    (
        "the discount left out",
        plant("kernels/ensemble.cu", "less(surprise, number_of(p.shape0))", "less(surprise, 0.0f)"),
    ),
    (
        "the discount of the wrong member",
        plant("kernels/ensemble.cu", "number_of(p.shape1));", "number_of(p.shape0));"),
    ),
    (
        "a warming member believed",
        plant(
            "kernels/ensemble.cu",
            "(said & (USUAL | WARMING | MISSING))",
            "(said & (USUAL | MISSING))",
        ),
    ),
    ("the number of the member lost", plant("kernels/ensemble.cu", " | p.shape2 << 11;", ";")),
    (
        "a rest that is not moved on",
        plant("kernels/ensemble.cu", "advance(state, p, join(out[row + 2], out[row + 3]));", ""),
    ),
    (
        "the last member taken",
        plant("kernels/ensemble.cu", "|| other > so_far)", "|| other > 0.0f * so_far)"),
    ),
    ("another value than the member's", plant("kernels/ensemble.cu", "i < 9; i++", "i < 8; i++")),
    (
        "parts of another member",
        plant("kernels/ensemble.cu", "i < row_words(p); i++", "i < row_words(p) - 1; i++"),
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
fn planted_mistakes_in_scores_are_found() {
    found_by("planted_mistakes_in_scores_are_found", COMMON, |device, order, setup| {
        same(device, order, setup, 2000);
        same_forests(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_forests_are_found() {
    found_by("planted_mistakes_in_forests_are_found", FORESTS, |device, order, setup| {
        same_forests(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_half_spaces_are_found() {
    found_by("planted_mistakes_in_half_spaces_are_found", HALF_SPACES, |device, order, setup| {
        same_half_spaces(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_seasons_are_found() {
    found_by("planted_mistakes_in_seasons_are_found", SEASONS, |device, order, setup| {
        same_seasons(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_projections_are_found() {
    found_by("planted_mistakes_in_projections_are_found", LODAS, |device, order, setup| {
        same_lodas(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_profiles_are_found() {
    found_by("planted_mistakes_in_profiles_are_found", PROFILES, |device, order, setup| {
        same_profiles(device, order, setup, 2100);
    });
}

#[test]
fn planted_mistakes_in_ensembles_are_found() {
    found_by("planted_mistakes_in_ensembles_are_found", ENSEMBLES, |device, order, setup| {
        same_ensembles(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_drifts_are_found() {
    found_by("planted_mistakes_in_drifts_are_found", DRIFTS, |device, order, setup| {
        same_drifts(device, order, setup, 3000);
    });
}

#[test]
fn planted_mistakes_in_windows_are_found() {
    found_by("planted_mistakes_in_windows_are_found", WINDOWS, |device, order, setup| {
        same_cuts(device, order, setup, 4000);
    });
}

#[test]
fn planted_mistakes_in_labels_are_found() {
    found_by("planted_mistakes_in_labels_are_found", LABELS, |device, order, _| {
        // Few keys, so that bars end.
        same_labelled_of(2, device, wide, (order, 6000));
        same_labelled(device, || ensemble(wide()), (order + 2, 2000));
    });
}
