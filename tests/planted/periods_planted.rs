//! Mistakes planted in the CUDA kernel that finds seasons by itself, one at a time: comparing with the processor finds
//! each.
//!
//! `cargo test --test planted periods -- --nocapture` shows what was planted and how it was found.

use crate::cuda_host::device::of;
use crate::cuda_host::planted::{find, plant};
use crate::cuda_host::{Plant, SCORES};
use crate::scores::states::{engine, feed};
use crate::scores::{Setup, dense, learnt_stream, same_learnt, seasonal};
use pelton::{Device, Season};

const PERIODS: &[(&str, Plant<'static>)] = &[
    (
        "a slot that saw nothing taken for a mean",
        plant("kernels/period.cuh", "    if (past == 0) {", "    if (past == 0x7777) {"),
    ),
    (
        "slots between that are not emptied",
        plant("kernels/period.cuh", "        if (i > 0) {", "        if (i > 1) {"),
    ),
    (
        "a ring that does not come round",
        plant(
            "kernels/period.cuh",
            "here == 0 ? longest - 1 : here - 1",
            "here == 0 ? longest - 2 : here - 1",
        ),
    ),
    (
        "differences of the lag before",
        plant(
            "kernels/period.cuh",
            "    uint32_t past = here;",
            "    uint32_t past = here + longest - 1;",
        ),
    ),
    (
        "a mean that is cut off",
        plant("kernels/period.cuh", "[at + PERIOD_SUM] + count / 2)", "[at + PERIOD_SUM])"),
    ),
    (
        "differences that are cut off",
        plant("kernels/period.cuh", "((1 << power) >> 1)", "((1 << power) >> 9)"),
    ),
    (
        "a look too late",
        plant("kernels/period.cuh", "    if (closed < 8) {", "    if (closed < 9) {"),
    ),
    (
        "a lag known too soon",
        plant("kernels/period.cuh", "max(64u, min(2 * lag, 2047u))", "max(64u, min(lag, 2047u))"),
    ),
    (
        "a period that is given up too soon",
        plant("kernels/period.cuh", "lag == period ? 56 :", "lag == period ? 44 :"),
    ),
    (
        "a multiple that wins",
        plant("kernels/period.cuh", "4 * mean < 3 * least", "4 * mean < 5 * least"),
    ),
    (
        "a candidate taken at once",
        plant("kernels/period.cuh", "looks * 8 < max(64u,", "looks * 64 < max(64u,"),
    ),
    (
        "a period that begins a slot late",
        plant("kernels/period.cuh", "= slot - 8 * period;", "= slot - 8 * period + 1;"),
    ),
    (
        "what was learnt of another season kept",
        plant(
            "kernels/season.cu",
            "        state[season + i] = 0;",
            "        state[season + i] *= i % 2;",
        ),
    ),
    (
        "a season of the named ones' turn",
        plant(
            "kernels/season.cu",
            "named ? uint32_t(time.slot % slots) :",
            "true ? uint32_t(time.slot % slots) :",
        ),
    ),
    (
        "places without a limit",
        plant(
            "kernels/season.cu",
            "min(max(place, 3839u), 4351u) - 3839",
            "min(max(place, 3839u), 4391u) - 3839",
        ),
    ),
];

/// What is kept of a few keys that find their seasons.
fn states(device: &Device) -> Vec<u8> {
    let query = seasonal(Season::learnt(25, 70), dense(5));
    let mut engine = engine(device, query, 1 << 10);
    feed(&mut engine, &learnt_stream(7, 12_000), 1000);
    engine.states().expect("states can be read").to_bytes()
}

#[test]
fn planted_mistakes_in_periods_are_found() {
    let setup = Setup { batch: 2048, chunk: 3000, ..Setup::default() };
    let test = "planted_mistakes_in_periods_are_found";
    find(&SCORES, of, test, PERIODS, 1..2, |device, order| {
        same_learnt(device, order, &setup, 3000);
        // What shows in no score yet shows in the states.
        states(device) == states(&Device::cpu())
    });
}
