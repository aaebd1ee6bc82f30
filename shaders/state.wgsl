// What all kernels know that walk the states of keys: parameters, where things lie, and arithmetic that is the same on
// every device. Twin of src/ops/score.rs and math.rs. The kernel's file binds `head`, `p`, `segments`, `map`, `states`.

struct ScoreParams {
    stride: u32,
    time_word: u32,
    key_word: u32,
    key_words: u32,
    values: u32,
    state_words: u32,
    first_block: u32,
    blocks: u32,
    values01: u32,
    values23: u32,
    values45: u32,
    values67: u32,
    warm: u32,
    sides: u32,
    own_words: u32,
    rate: f32,
    spacing: f32,
    asked: f32,
    rest: f32,
    least: f32,
    least_share: f32,
    zero: u32,
    chance: f32,
    chance_steep: f32,
    detector: u32,
    shape0: u32,
    shape1: u32,
    shape2: u32,
    shape3: u32,
    state_at: u32,
    drift_delta: f32,
    drift_threshold: f32,
}

const SEGMENTS: u32 = 0u;
const GROUPED: u32 = 1u;
const LIST: u32 = 4u;
const SEGMENT: u32 = 2u;

// A key's state, and a row's flags, as src/ops/score.rs lays them out.
const SEEN: u32 = 0u;
const TIME: u32 = 1u;
const SPACING: u32 = 3u;
const TRACK_FIRST: u32 = 4u;
const LEVEL: u32 = 14u;
const REST: u32 = 16u;
const PEAK: u32 = 17u;
const PEAKS: u32 = 18u;
const SLOPE: u32 = 19u;
const EXCESS: u32 = 20u;
const LEAST: u32 = 21u;
const RING: u32 = 22u;
const RING_PEAKS: u32 = 32u;
const BAR: u32 = 54u;
const BAR_SEEN: u32 = 55u;
const DRIFT: u32 = 56u;
const TRACKS: u32 = 57u;
const TRACK: u32 = 10u;
const ROW: u32 = 10u;
const NO_PART: f32 = -1.0;
const OUT_SCORED: u32 = 5u;
const ALERT: u32 = 1u;
const WARMING: u32 = 2u;
const RESTING: u32 = 4u;
const RULED_OUT: u32 = 8u;
const MISSING: u32 = 16u;
const CLAMPED: u32 = 32u;
const USUAL: u32 = 64u;
const DISMISSED: u32 = 128u;
const DRIFTED: u32 = 0x4000u;

fn state_of(at: u32) -> f32 {
    return bitcast<f32>(states[at]);
}

fn put(at: u32, x: f32) {
    states[at] = bitcast<u32>(x);
}

// A number as it is rounded, and a product. Compilers may fuse products with sums and put sums in another order; they
// cannot where something comes between, and cannot know that zero is zero.
fn rounded(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ p.zero);
}

fn mul(a: f32, b: f32) -> f32 {
    return rounded(a * b);
}

fn own_ln(x: f32) -> f32 {
    let bits = bitcast<u32>(x) - 0x3f3504f3u;
    let e = f32(bitcast<i32>(bits) >> 23u);
    let m = bitcast<f32>((bits & 0x007fffffu) + 0x3f3504f3u);
    let f = m - 1.0;
    let z = mul(f, f);
    var y = mul(7.0376836e-2, f) - 1.151461e-1;
    y = mul(y, f) + 1.1676999e-1;
    y = mul(y, f) - 1.2420141e-1;
    y = mul(y, f) + 1.4249323e-1;
    y = mul(y, f) - 1.6668058e-1;
    y = mul(y, f) + 2.0000715e-1;
    y = mul(y, f) - 2.4999994e-1;
    y = mul(y, f) + 3.3333331e-1;
    y = mul(mul(y, f), z);
    y += mul(e, -2.1219444e-4);
    y += mul(z, -0.5);
    return rounded(rounded(f + y) + mul(e, 0.6933594));
}

fn own_exp(x: f32) -> f32 {
    let n = u32(mul(x, 1.44269504) + 126.5);
    let k = f32(n) - 126.0;
    let r = rounded(x - mul(k, 0.6933594)) - mul(k, -2.1219444e-4);
    let z = mul(r, r);
    var y = mul(1.9875691e-4, r) + 1.3982e-3;
    y = mul(y, r) + 8.333452e-3;
    y = mul(y, r) + 4.1665796e-2;
    y = mul(y, r) + 1.6666666e-1;
    y = mul(y, r) + 5.0000001e-1;
    y = rounded(mul(y, z) + r) + 1.0;
    return mul(y, bitcast<f32>((n + 1u) << 23u));
}

fn inverse(x: f32) -> f32 {
    return rounded(1.0 / x);
}

fn ticks(t: vec2<u32>) -> f32 {
    return mul(f32(t.y), 4294967296.0) + f32(t.x);
}

// A whole number as a float, rounded once.
fn to_float(n: u32) -> f32 {
    return mul(f32(n >> 16u), 65536.0) + f32(n & 0xffffu);
}

fn positive(x: f32) -> f32 {
    return select(x, 0.0, x < 1e-30);
}

fn near_zero(x: f32) -> f32 {
    return select(x, 0.0, x < 1e-16 && x > -1e-16);
}

fn held(x: f32, limit: f32) -> f32 {
    let y = select(x, limit, x > limit);
    return select(y, -limit, y < -limit);
}

fn eighth(x: f32) -> f32 {
    let a = mul(x, x);
    let b = mul(a, a);
    return positive(mul(b, b));
}

// Mean and variance at `at` learn what lies `off` from the mean, with this share of the whole.
fn learn_spread(at: u32, off: f32, share: f32) {
    let step = mul(off, share);
    let variance = state_of(at + 1u);
    let square = mul(off, rounded(off - step));
    put(at, state_of(at) + step);
    put(at + 1u, positive(variance + mul(rounded(square - variance), share)));
}

// Moves a key's clock on; returns by how many spacings.
fn advance(state: u32, time: vec2<u32>) -> f32 {
    let seen = states[state + SEEN];
    let last = vec2<u32>(states[state + TIME], states[state + TIME + 1u]);
    if (seen == 0u) {
        put(state + SLOPE, 1.2211872);
    }
    var spacing = state_of(state + SPACING);
    var steps = 0.0;
    if (seen == 0u || less64(last, time)) {
        states[state + TIME] = time.x;
        states[state + TIME + 1u] = time.y;
        if (seen != 0u) {
            let borrow = select(0u, 1u, time.x < last.x);
            let gap = ticks(vec2<u32>(time.x - last.x, time.y - last.y - borrow));
            var share = inverse(f32(seen));
            share = select(share, 0.015625, share < 0.015625);
            let most = mul(8.0, spacing);
            let heard = select(gap, most, spacing > 0.0 && gap > most);
            spacing += mul(heard - spacing, share);
            put(state + SPACING, spacing);
            steps = mul(gap, inverse(select(spacing, p.spacing, p.spacing > 0.0)));
            steps = select(steps, 4096.0, steps > 4096.0);
        }
    }
    let rest = state_of(state + REST) - steps;
    put(state + REST, select(0.0, rest, rest > 0.0));
    return steps;
}

// Words of a row: one for the part of each value where there are several.
fn row_words() -> u32 {
    return select(ROW + p.values, ROW, p.values == 1u);
}

const NOWHERE: u32 = 0xffffffffu;

// Where the state of a segment's key begins, or `NOWHERE`.
fn state_of_segment(segment: u32) -> u32 {
    let id = segments[LIST + SEGMENT * segment];
    let slot = head[SPANS_AT] + 2u;
    if (id / BLOCK_IDS >= head[slot + 1u]) {
        return NOWHERE;
    }
    let block = map[head[slot] + id / BLOCK_IDS] - p.first_block;
    if (block >= p.blocks) {
        return NOWHERE;
    }
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.state_words + p.state_at;
}

// Whether a label says that alerts up to this surprise are none. Twin of src/ops/label.rs.
fn is_dismissed(state: u32, surprise: f32) -> bool {
    let events = f32(states[state + SEEN] - states[state + BAR_SEEN]);
    return surprise <= state_of(state + BAR) && mul(events, p.rate) <= 16.0;
}

// The flags of an event that is this surprising, those given and whether it alerts: rest, labels and rules.
fn announce(state: u32, surprise: f32, given: u32) -> u32 {
    var flags = given;
    let peak = (flags & USUAL) == 0u;
    if (state_of(state + REST) > 0.0 && !(peak && surprise > 1.2 * state_of(state + PEAK))) {
        flags |= RESTING;
    }
    if (peak && surprise > p.asked && (flags & (WARMING | RULED_OUT | RESTING)) == 0u) {
        if (is_dismissed(state, surprise)) {
            flags |= DISMISSED;
        } else {
            flags |= ALERT;
            put(state + REST, p.rest);
            put(state + PEAK, surprise);
        }
    }
    return flags;
}
