// What detectors share that judge the latest stretch of a key's values by how much about it is unusual. Twin of
// src/ops/stretch.rs; the walk stands in together.wgsl. A detector's file brings stretch_window, stretch_words, unusual
// and the entry point, whose workgroups have 32 threads.
//
// A thread takes each 32nd number of a stretch. All of them come by every barrier, whatever a key's state holds.

const STRETCH_COUNT: u32 = 0u;
const STRETCH_MEAN: u32 = 1u;
const STRETCH_LEVELS: u32 = 2u;
const STRETCH_FRESH: u32 = 8u;
const STRETCH_RING: u32 = 16u;
const STRETCH_COUNT_MAX: u32 = 4096u;
const STRANDS: u32 = 32u;

// What the threads add up, in two halves that take turns.
var<workgroup> parts: array<vec2<f32>, 64>;

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

// A number in deviations that the track at `track` has learnt.
fn scaled(track: u32, x: f32) -> f32 {
    let deviation = rounded(sqrt(state_of(track + 9u)));
    let off = rounded(near_zero(rounded(x - state_of(track))) - state_of(track + 8u));
    return near_zero(held(mul(off, inverse(deviation + 1e-12)), 64.0));
}

fn missing_value(own: u32, i: u32) {
    states[own + STRETCH_FRESH + i] = 0u;
}

// Keeps a value that its track, at `track`, has learnt.
fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    let window = stretch_window();
    let stretch = own + i * stretch_words();
    if (states[stretch + STRETCH_COUNT] > 0u || state_of(track + 7u) >= 16.0) {
        states[own + STRETCH_FRESH + i] = 1u;
        let count = states[stretch + STRETCH_COUNT] + 1u;
        states[stretch + STRETCH_COUNT] = select(count, STRETCH_COUNT_MAX, count == STRETCH_COUNT_MAX + window);
        put(stretch + STRETCH_RING + ((0u - count) & (window - 1u)), scaled(track, x));
    }
    return Apart((*found).z2, 0.0, 0.0);
}

// The excess of a value's stretch, or -1 where there is none or no past to judge by.
fn excess_of(stretch: u32, is_fresh: bool, k: u32) -> f32 {
    let window = stretch_window();
    let count = states[stretch + STRETCH_COUNT];
    let mean = state_of(stretch + STRETCH_MEAN);
    let learns = is_fresh && count >= window;
    let before = count - min(count, window);
    let early = mul(3.0, inverse(f32(before) + 3.0));
    let share = select(early, 9.765625e-4, early < 9.765625e-4);
    let square = unusual(stretch, (0u - count) & (window - 1u), share, learns, k);
    storageBarrier();
    if (learns && k == 0u) {
        put(stretch + STRETCH_MEAN, near_zero(mean + mul(rounded(square - mean), share)));
    }
    return select(-1.0, mul(square, inverse(mean + 2.4414063e-4)), learns && before >= window);
}

// Of an event's values the largest excess, or -1 where none is known: all threads together. Each is the part of its
// value.
fn found_together(own: u32, row: u32, k: u32) -> f32 {
    var largest = -1.0;
    for (var i = 0u; i < p.values; i += 1u) {
        let is_fresh = states[own + STRETCH_FRESH + i] != 0u;
        let excess = excess_of(own + i * stretch_words(), is_fresh, k);
        largest = max(largest, excess);
        if (excess >= 0.0 && k == 0u) {
            put_part(row, i, excess);
        }
    }
    return largest;
}

// `apart` holds the largest excess.
fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    if (apart.by < 0.0) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let levels = states[own + STRETCH_LEVELS];
    states[own + STRETCH_LEVELS] = select(levels + 1u, 0xfffe0000u, levels == 0xffffffffu);
    let root = rounded(sqrt(apart.by));
    return Level(true, levels, own_ln(1.0 + apart.by), mul(root, inverse(1.0 + root)));
}
