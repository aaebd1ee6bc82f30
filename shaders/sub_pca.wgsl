// Scores each event by the past of its key, with streaming principal components: how much of the latest stretch of a
// key's values its usual shapes leave over. Twin of src/ops/sub_pca.rs; what all kernels that score share stands in
// scores.wgsl, the walk in together.wgsl.
//
// A thread takes one or two numbers of a window, and those of each vector at the same places.

const PCA_COUNT: u32 = 0u;
const PCA_MEAN: u32 = 1u;
const PCA_LEVELS: u32 = 2u;
const PCA_FRESH: u32 = 8u;
const PCA_RING: u32 = 16u;
const PCA_COUNT_MAX: u32 = 4096u;
const STRANDS: u32 = 32u;

// What the threads add up, in two halves that take turns.
var<workgroup> parts: array<vec2<f32>, 64>;

// What src/ops/sub_pca.rs packs.
struct SubPca {
    window: u32,
    rank: u32,
    // Of a value's state.
    words: u32,
}

fn pca_asked() -> SubPca {
    let window = p.shape0 >> 16u;
    let rank = p.shape0 & 0xffffu;
    return SubPca(window, rank, (PCA_RING + window * (1u + rank) + 15u) / 16u * 16u);
}

// A number in deviations that the track at `track` has learnt.
fn scaled(track: u32, x: f32) -> f32 {
    let deviation = rounded(sqrt(state_of(track + 9u)));
    let off = rounded(near_zero(rounded(x - state_of(track))) - state_of(track + 8u));
    return near_zero(held(mul(off, inverse(deviation + 1e-12)), 64.0));
}

// Two sums over all threads, each of which brings a part.
fn summed(k: u32, part: vec2<f32>) -> vec2<f32> {
    var sum = part;
    var turn = 0u;
    for (var half = STRANDS / 2u; half > 0u; half /= 2u) {
        parts[turn + k] = sum;
        workgroupBarrier();
        let other = parts[turn + (k ^ half)];
        sum = vec2<f32>(rounded(sum.x + other.x), rounded(sum.y + other.y));
        turn ^= STRANDS;
    }
    workgroupBarrier();
    return sum;
}

// Takes from a value's window what each vector explains, and has each learn it, with this share; the sum of squares of
// what is left. All threads come by every barrier; where `learns` is false, nothing else is done.
fn left_over(asked: SubPca, pca: u32, at: u32, share: f32, learns: bool, k: u32) -> f32 {
    var left = array<f32, 2>(0.0, 0.0);
    for (var i = 0u; STRANDS * i + k < asked.window; i += 1u) {
        left[i] = state_of(pca + PCA_RING + ((at + STRANDS * i + k) & (asked.window - 1u)));
    }
    var is_done = !learns;
    for (var j = 0u; j < asked.rank; j += 1u) {
        let vector = pca + PCA_RING + asked.window * (1u + j) + k;
        var part = vec2<f32>(0.0, 0.0);
        for (var i = 0u; STRANDS * i + k < asked.window; i += 1u) {
            let of_vector = state_of(vector + STRANDS * i);
            part += vec2<f32>(mul(left[i], of_vector), mul(of_vector, of_vector));
        }
        let sums = summed(k, part);
        let is_none = sums.y < 1e-12;
        let size = select(sums.y, 1.0, is_none);
        let along = near_zero(sums.x);
        let taken = mul(along, inverse(size));
        let gain = mul(mul(along, inverse(rounded(sqrt(size)))), share);
        for (var i = 0u; !is_done && STRANDS * i + k < asked.window; i += 1u) {
            let before = state_of(vector + STRANDS * i);
            let number = left[i];
            if (is_none) {
                put(vector + STRANDS * i, number);
            } else {
                put(vector + STRANDS * i, near_zero(mul(before, 1.0 - share) + mul(number, gain)));
                left[i] = near_zero(number - mul(before, taken));
            }
        }
        is_done |= is_none;
    }
    return summed(k, vec2<f32>(mul(left[0], left[0]) + mul(left[1], left[1]), 0.0)).x;
}

// The excess of a value's window, or -1 where there is none or no past to judge by.
fn excess_of(asked: SubPca, pca: u32, is_fresh: bool, k: u32) -> f32 {
    let count = states[pca + PCA_COUNT];
    let mean = state_of(pca + PCA_MEAN);
    let learns = is_fresh && count >= asked.window;
    let learnt = count - min(count, asked.window);
    let early = mul(3.0, inverse(f32(learnt) + 3.0));
    let share = select(early, 9.765625e-4, early < 9.765625e-4);
    let at = (0u - count) & (asked.window - 1u);
    let square = mul(left_over(asked, pca, at, share, learns, k), inverse(f32(asked.window)));
    storageBarrier();
    if (learns && k == 0u) {
        put(pca + PCA_MEAN, near_zero(mean + mul(rounded(square - mean), share)));
    }
    return select(-1.0, mul(square, inverse(mean + 2.4414063e-4)), learns && learnt >= asked.window);
}

fn missing_value(own: u32, i: u32) {
    states[own + PCA_FRESH + i] = 0u;
}

// Keeps a value that its track, at `track`, has learnt.
fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    let asked = pca_asked();
    let pca = own + i * asked.words;
    if (states[pca + PCA_COUNT] > 0u || state_of(track + 7u) >= 16.0) {
        states[own + PCA_FRESH + i] = 1u;
        let count = states[pca + PCA_COUNT] + 1u;
        states[pca + PCA_COUNT] = select(count, PCA_COUNT_MAX, count == PCA_COUNT_MAX + asked.window);
        put(pca + PCA_RING + ((0u - count) & (asked.window - 1u)), scaled(track, x));
    }
    return Apart((*found).z2, 0.0);
}

// Of an event's values the largest excess, or -1 where none is known: all threads together.
fn found_together(own: u32, k: u32) -> f32 {
    let asked = pca_asked();
    var largest = -1.0;
    for (var i = 0u; i < p.values; i += 1u) {
        let is_fresh = states[own + PCA_FRESH + i] != 0u;
        largest = max(largest, excess_of(asked, own + i * asked.words, is_fresh, k));
    }
    return largest;
}

// `apart` holds the largest excess.
fn level_of(own: u32, far: Distance, apart: Apart, seen: u32) -> Level {
    if (apart.by < 0.0) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let levels = states[own + PCA_LEVELS];
    states[own + PCA_LEVELS] = select(levels + 1u, 0xfffe0000u, levels == 0xffffffffu);
    let root = rounded(sqrt(apart.by));
    return Level(true, levels, own_ln(1.0 + apart.by), mul(root, inverse(1.0 + root)));
}

@compute @workgroup_size(32)
fn sub_pca(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk_together(wid, groups, k);
}
