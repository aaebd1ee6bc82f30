// Scores each event by the past of its key, with forests: how soon random cuts set a value apart from a sample of its
// key's past. Twin of src/ops/forest.rs; what all kernels that score share stands in scores.wgsl.

const FOREST_COUNTS: u32 = 16u;
// Points on either side that stay.
const EDGE: u32 = 4u;
// A value's means, and behind them the slots of the period.
const MEANS: u32 = 16u;
const SLOTS: u32 = 24u;

struct Depth {
    depth: f32,
    less: u32,
}

// A random word for the n-th value of a sample.
fn draw(n: u32, sample: u32) -> u32 {
    var x = (n * 0x27d4eb2fu + sample * 0x9e3779b9u) ^ 0x5bf03635u;
    x = (x ^ (x >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

fn points_at(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(state_of(at.x), state_of(at.y), state_of(at.z), state_of(at.w));
}

// Four gaps by the stretches up to their far ends; nothing for those that are none.
fn terms(gaps: vec4<f32>, stretches: vec4<f32>, are: vec4<bool>) -> vec4<f32> {
    let zero = vec4<u32>(p.zero);
    let gap = bitcast<vec4<f32>>(bitcast<vec4<u32>>(gaps) ^ zero);
    let stretch = bitcast<vec4<f32>>(bitcast<vec4<u32>>(select(vec4<f32>(1.0), stretches, are)) ^ zero);
    let by = bitcast<vec4<f32>>(bitcast<vec4<u32>>(1.0 / stretch) ^ zero);
    let product = bitcast<vec4<f32>>(bitcast<vec4<u32>>(gap * by) ^ zero);
    return select(vec4<f32>(0.0), product, are);
}

// The expected depth of `q` in the sorted points at `at`, `stride` words apart, and how many of them are less.
fn depth_of(at: u32, stride: u32, count: u32, q: f32) -> Depth {
    var less = 0u;
    var end = count;
    while (less < end) {
        let middle = (less + end) / 2u;
        if (state_of(at + middle * stride) < q) {
            less = middle + 1u;
        } else {
            end = middle;
        }
    }
    var up_to = less;
    end = count;
    while (up_to < end) {
        let middle = (up_to + end) / 2u;
        if (state_of(at + middle * stride) <= q) {
            up_to = middle + 1u;
        } else {
            end = middle;
        }
    }
    var strands = array<vec4<f32>, 4>();
    for (var first = 0u; first + 1u < less; first += 16u) {
        for (var i = 0u; i < 4u; i += 1u) {
            let j = first + 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
            let far = points_at(at + j * stride);
            let near = points_at(at + (j + 1u) * stride);
            strands[i] += terms(near - far, q - far, j + 1u < vec4<u32>(less));
        }
    }
    for (var first = up_to; first + 1u < count; first += 16u) {
        for (var i = 0u; i < 4u; i += 1u) {
            let j = first + 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
            let near = points_at(at + j * stride);
            let far = points_at(at + (j + 1u) * stride);
            strands[i] += terms(far - near, far - q, j + 1u < vec4<u32>(count));
        }
    }
    var sum = 0.0;
    for (var i = 0u; i < 4u; i += 1u) {
        let four = strands[i];
        sum = rounded(rounded(rounded(rounded(sum + four.x) + four.y) + four.z) + four.w);
    }
    sum += select(0.0, 1.0, less > 0u);
    sum += select(0.0, 1.0, up_to < count);
    if (up_to > less) {
        sum += mul(own_ln(f32(up_to - less) + 1.0), 1.44269504);
    }
    return Depth(sum, less);
}

// The depth of `q` by some 32 quantiles of a sample.
fn coarse_depth(at: u32, count: u32, q: f32) -> f32 {
    let stride = max(count / 32u, 1u);
    let first = stride / 2u;
    if (first >= count) {
        return 0.0;
    }
    return depth_of(at + first, stride, (count - first + stride - 1u) / stride, q).depth;
}

// Puts `q`, which `less` points are less than, into the sample at `at` that saw `n` values.
fn learn_point(at: u32, points: u32, n: u32, sample: u32, q: f32, less: u32) {
    if (n < points) {
        for (var j = n; j > less; j -= 1u) {
            states[at + j] = states[at + j - 1u];
        }
        put(at + less, q);
        return;
    }
    let among = select(0x10000u, n + 1u, n < 0x10000u);
    var rank = ((draw(n, sample) >> 16u) * among) >> 16u;
    if (rank >= points || (n < 0x10000u && (rank < EDGE || rank >= points - EDGE))) {
        if (q > state_of(at + points - EDGE)) {
            rank = points - EDGE;
        } else if (q < state_of(at + EDGE - 1u)) {
            rank = EDGE - 1u;
        } else {
            return;
        }
    }
    if (rank < less) {
        for (var j = rank; j + 1u < less; j += 1u) {
            states[at + j] = states[at + j + 1u];
        }
        put(at + less - 1u, q);
    } else {
        for (var j = rank; j > less; j -= 1u) {
            states[at + j] = states[at + j - 1u];
        }
        put(at + less, q);
    }
}

fn less_by(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn bits64(x: vec2<u32>) -> u32 {
    return select(64u - countLeadingZeros(x.y), 32u - countLeadingZeros(x.x), x.y == 0u);
}

// The slot of a time in a period of at most 2^58 ticks: divides bit by bit.
fn slot_of(time: vec2<u32>, period: vec2<u32>) -> u32 {
    // Bits that the period lacks; the others make less than two periods.
    let bits = max(bits64(time), bits64(period)) - bits64(period);
    var rest = vec2<u32>(time.y >> (bits & 31u), 0u);
    if (bits < 32u) {
        rest = vec2<u32>((time.x >> bits) | select(time.y << (32u - bits), 0u, bits == 0u), rest.x);
    }
    if (!less64(rest, period)) {
        rest = less_by(rest, period);
    }
    for (var bit = bits; bit > 0u; bit -= 1u) {
        let next = (select(time.x, time.y, bit > 32u) >> ((bit - 1u) & 31u)) & 1u;
        rest = vec2<u32>((rest.x << 1u) | next, (rest.y << 1u) | (rest.x >> 31u));
        if (!less64(rest, period)) {
            rest = less_by(rest, period);
        }
    }
    // 24 times as much: 16 and 8 times.
    let eight = vec2<u32>(rest.x << 3u, (rest.y << 3u) | (rest.x >> 29u));
    let sixteen = vec2<u32>(rest.x << 4u, (rest.y << 4u) | (rest.x >> 28u));
    let low = eight.x + sixteen.x;
    rest = vec2<u32>(low, eight.y + sixteen.y + select(0u, 1u, low < eight.x));
    var slot = 0u;
    while (!less64(rest, period)) {
        rest = less_by(rest, period);
        slot += 1u;
    }
    return slot;
}

// A mean at `at` learns a number, with this share.
fn learn_mean(at: u32, q: f32, share: f32) -> f32 {
    let mean = state_of(at);
    let learnt = rounded(mean + mul(near_zero(rounded(q - mean)), share));
    put(at, learnt);
    return learnt;
}

// The distance of a value to the mean of its slot, which learns it.
fn beside(slots: u32, time: vec2<u32>, period: vec2<u32>, off: f32) -> f32 {
    let at = slots + 2u * slot_of(time, period);
    let seen = states[at];
    var by = 0.0;
    if (seen > 0u) {
        by = near_zero(rounded(off - state_of(at + 1u)));
    }
    states[at] = min(seen + 1u, 64u);
    learn_mean(at + 1u, off, inverse(f32(states[at])));
    return by;
}

// A weight at `at` learns that there was an event; the share of that in it.
fn share_of(at: u32, decay: f32) -> f32 {
    let weight = rounded(mul(state_of(at), positive(mul(decay, decay))) + 1.0);
    put(at, weight);
    return inverse(weight);
}

// The isolation of a value, `off` its origin; the key's forests at `forest` learn it.
fn isolation_of(forest: u32, value: u32, off: f32, moment: Moment) -> Apart {
    let size = p.shape0;
    let period = vec2<u32>(p.shape1, p.shape2);
    let samples = select(3u, 4u, any(period != vec2<u32>(0u)));
    let head = select(MEANS, MEANS + 2u * SLOTS, samples == 4u);
    let own = forest + FOREST_COUNTS + value * (head + samples * size);
    let n = states[forest + value];
    states[forest + value] = select(n + 1u, 0x10000u, n == 0xffffffffu);
    let share = share_of(own, moment.decays.x);
    let short = learn_mean(own + 1u, off, share);
    let long = learn_mean(own + 3u, off, share_of(own + 2u, moment.decays.y));
    var lasts = 0.0;
    if (samples == 4u) {
        lasts = learn_mean(own + 4u, beside(own + MEANS, moment.time, period, off), share);
    }
    let points = vec4<f32>(off, near_zero(short), near_zero(long), near_zero(lasts));
    let count = min(n, size);
    var fine = 0.0;
    var coarse = 0.0;
    for (var sample = 0u; sample < samples; sample += 1u) {
        let q = points[sample];
        let at = own + head + sample * size;
        let found = depth_of(at, 1u, count, q);
        var by = inverse(1.0 + found.depth);
        fine += mul(by, by);
        by = inverse(1.0 + coarse_depth(at, count, q));
        coarse += mul(by, by);
        learn_point(at, size, n, sample, q, found.less);
    }
    let part = select(1.0 / 3.0, 0.25, samples == 4u);
    let known = n >= 8u;
    let instant = select(0.0, sqrt(mul(coarse, part)), known);
    let mean = learn_mean(own + 5u, instant, share);
    let isolation = rounded(select(0.0, sqrt(mul(fine, part)), known));
    let square = mul(isolation, isolation);
    return Apart(isolation, mul(0.5, instant + mean), mul(square, square));
}

fn missing_value(own: u32, i: u32) {
}

fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    return isolation_of(own, i, near_zero(rounded(x - state_of(track))), moment);
}

fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    let level = mul(apart.by, f32(firstTrailingBit(p.shape0)));
    return Level(seen > 8u, seen - min(seen, 9u), level, apart.dense);
}

@compute @workgroup_size(256)
fn forest(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
