// ADWIN as a test for drift: a window of a key's latest levels. Twin of src/ops/adwin.rs, part of scores.wgsl.

const WINDOW: u32 = 64u;
const WINDOW_COUNT: u32 = 0u;
const WINDOW_SUM: u32 = 1u;
const WINDOW_MEANS: u32 = 2u;
const WINDOW_BUCKETS: u32 = 8u;
const WINDOW_ROWS: u32 = 7u;

// Buckets that a row holds to which so many came.
fn buckets_held(came: u32) -> u32 {
    return select(4u - (came & 1u), came, came <= 4u);
}

// Buckets that came to the row above one to which so many came.
fn buckets_above(came: u32) -> u32 {
    return select((came - 3u) / 2u, 0u, came <= 4u);
}

// Where the `i`th bucket of a row lies.
fn bucket_at(window: u32, row: u32, i: u32) -> u32 {
    return window + WINDOW_BUCKETS + 8u * row + 2u * (i % 4u);
}

// Takes in a mean.
fn insert_mean(window: u32, mean: u32) {
    var came = states[window + WINDOW_MEANS];
    states[window + WINDOW_MEANS] = select(came + 1u, 0x40000000u, came == 0x7fffffffu);
    var total = mean;
    var squares = mean * mean;
    for (var row = 0u; row < WINDOW_ROWS; row += 1u) {
        let at = bucket_at(window, row, came);
        let next = bucket_at(window, row, came + 1u);
        let older_total = states[at] + states[next];
        let older_squares = states[at + 1u] + states[next + 1u];
        states[at] = total;
        states[at + 1u] = squares;
        if (buckets_held(came) < 4u) {
            return;
        }
        total = older_total;
        squares = older_squares;
        came = buckets_above(came);
    }
}

// Whether a window has two parts whose means differ by more than chance.
fn has_cut(window: u32) -> bool {
    var n = 0u;
    var t = 0u;
    var s = 0u;
    var came = states[window + WINDOW_MEANS];
    for (var row = 0u; row < WINDOW_ROWS; row += 1u) {
        for (var i = came - buckets_held(came); i < came; i += 1u) {
            let at = bucket_at(window, row, i);
            n += 1u << row;
            t += states[at];
            s += states[at + 1u];
        }
        came = buckets_above(came);
    }
    if (n <= 10u) {
        return false;
    }
    let width = f32(n);
    let d = rounded(p.drift_delta + own_ln(own_ln(width)));
    let chance = mul(mul(2.0, d), to_float(n * s - t * t));
    let range = mul(mul(d, 5.3333335), width);
    var n1 = 0u;
    var t1 = 0u;
    came = states[window + WINDOW_MEANS];
    for (var row = 0u; row < WINDOW_ROWS; row += 1u) {
        let held = buckets_held(came);
        for (var i = 1u; i <= held; i += 1u) {
            n1 += 1u << row;
            t1 += states[bucket_at(window, row, came - i)];
            let n0 = n - n1;
            let newer = t1 * n0;
            let older = (t - t1) * n1;
            let e = rounded(to_float(max(newer, older) - min(newer, older)) - range);
            if (e > 0.0 && mul(mul(e, e), width) > mul(chance, f32(n0 * n1))) {
                return true;
            }
        }
        came = buckets_above(came);
    }
    return false;
}

// Takes in an event whose level lies `u` deviations off; whether the window can now be cut.
fn has_changed(window: u32, u: f32) -> bool {
    let units = u32(mul(rounded(held(u, 4.0) + 4.0), 256.0) + 0.5);
    let count = states[window + WINDOW_COUNT] + 1u;
    let sum = states[window + WINDOW_SUM] + units;
    states[window + WINDOW_COUNT] = select(0u, count, count < 32u);
    states[window + WINDOW_SUM] = select(0u, sum, count < 32u);
    if (count < 32u) {
        return false;
    }
    insert_mean(window, (sum + 128u) >> 8u);
    return has_cut(window);
}
