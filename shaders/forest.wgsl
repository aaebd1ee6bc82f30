// Scores each event by the past of its key, with forests: how soon random cuts set a value apart from a sample of its
// key's past. Twin of src/ops/forest.rs; what all kernels that score share stands in scores.wgsl.

const FOREST_COUNTS: u32 = 16u;
const FOREST_SAMPLES: u32 = 3u;

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
    let rank = ((draw(n, sample) >> 16u) * among) >> 16u;
    if (rank < less) {
        for (var j = rank; j + 1u < less; j += 1u) {
            states[at + j] = states[at + j + 1u];
        }
        put(at + less - 1u, q);
    } else if (rank < points) {
        for (var j = rank; j > less; j -= 1u) {
            states[at + j] = states[at + j - 1u];
        }
        put(at + less, q);
    }
}

// The isolation of a value that its track, at `track`, has learnt; the key's forests at `forest` learn it.
fn isolation_of(forest: u32, value: u32, track: u32, number: f32) -> Apart {
    let n = states[forest + value];
    let count = min(n, p.shape0);
    var at = forest + FOREST_COUNTS + value * FOREST_SAMPLES * p.shape0;
    var fine = 0.0;
    var coarse = 0.0;
    for (var sample = 0u; sample < FOREST_SAMPLES; sample += 1u) {
        var q = near_zero(rounded(number - state_of(track)));
        if (sample > 0u) {
            q = near_zero(state_of(track + 3u * sample - 1u));
        }
        let found = depth_of(at, 1u, count, q);
        var by = inverse(1.0 + found.depth);
        fine += mul(by, by);
        by = inverse(1.0 + coarse_depth(at, count, q));
        coarse += mul(by, by);
        learn_point(at, p.shape0, n, sample, q, found.less);
        at += p.shape0;
    }
    states[forest + value] = select(n + 1u, 0x10000u, n == 0xffffffffu);
    if (n < 8u) {
        return Apart(0.0, 0.0);
    }
    return Apart(sqrt(mul(fine, 1.0 / 3.0)), sqrt(mul(coarse, 1.0 / 3.0)));
}

fn missing_value(own: u32, i: u32) {
}

fn value_of(own: u32, i: u32, at: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    return isolation_of(own, i, at, x);
}

fn level_of(own: u32, far: Distance, apart: Apart, seen: u32) -> Level {
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
