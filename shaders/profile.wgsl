// Scores each event by the past of its key, with left matrix profiles: how far the latest stretch of a key's values
// lies from the nearest one before it. Twin of src/ops/profile.rs; what all kernels that score share stands in
// scores.wgsl.
//
// An event has hundreds of lags to move on: the threads of a workgroup take them side by side.

const PROFILE_COUNT: u32 = 0u;
const PROFILE_SUM: u32 = 1u;
const PROFILE_SQUARES: u32 = 2u;
const PROFILE_LEVELS: u32 = 3u;
const PROFILE_FRESH: u32 = 8u;
const PROFILE_RING: u32 = 16u;
const NO_DISTANCE: u32 = 0xffffffffu;

// Of each value the least sum at a lag, or by shape the bits of the least squared distance.
var<workgroup> least: array<atomic<u32>, 8>;

// What src/ops/profile.rs packs.
struct Profile {
    points: u32,
    window: u32,
    by_shape: bool,
    // Of a value's state.
    words: u32,
}

fn profile_asked() -> Profile {
    let points = p.shape0 >> 16u;
    let by_shape = (p.shape0 & 1u) != 0u;
    return Profile(points, (p.shape0 >> 1u) & 0x7fffu, by_shape, PROFILE_RING + points * select(2u, 5u, by_shape));
}

// The sum of squares of whole numbers centred at the one below their mean, and what their sum is more than that.
fn centred(sum: u32, squares: u32, window: u32) -> vec2<u32> {
    let below = bitcast<u32>(bitcast<i32>(sum) >> firstTrailingBit(window));
    let rest = sum & (window - 1u);
    return vec2<u32>(squares - below * (sum + rest), rest);
}

// The same, centred at the mean itself.
fn centred_at_mean(sums: vec2<u32>, by_window: f32) -> f32 {
    return rounded(to_float(sums.x) - mul(f32(sums.y * sums.y), by_window));
}

// Keeps a value's number in its profile.
fn keep_number(asked: Profile, profile: u32, place: u32) {
    let points = asked.points;
    let window = asked.window;
    let count = states[profile + PROFILE_COUNT] + 1u;
    states[profile + PROFILE_COUNT] = select(count, points, count == 2u * points);
    let at = (0u - count) & (points - 1u);
    let ring = profile + PROFILE_RING;
    states[ring + at] = place;
    let gone = states[ring + ((at + window) & (points - 1u))];
    let sum = states[profile + PROFILE_SUM] + place - gone;
    let squares = states[profile + PROFILE_SQUARES] + place * place - gone * gone;
    states[profile + PROFILE_SUM] = sum;
    states[profile + PROFILE_SQUARES] = squares;
    if (!asked.by_shape) {
        return;
    }
    let sums = centred(sum, squares, window);
    let is_flat = sums.x < 2u * window
        && bitcast<i32>(window * sums.x - sums.y * sums.y) < bitcast<i32>(window * window);
    let root = rounded(sqrt(centred_at_mean(sums, inverse(f32(window)))));
    let stretch = ring + 2u * points + at;
    states[stretch] = sum;
    put(stretch + points, select(root, 0.0, is_flat));
    put(stretch + 2u * points, select(inverse(root), 0.0, is_flat));
}

// The bits of the squared distance by shape between the latest stretch and another one, which end at these places.
fn by_shape_of(asked: Profile, stretches: u32, at: u32, other: u32, squares: u32) -> u32 {
    let points = asked.points;
    let mine = stretches + at;
    let its = stretches + other;
    let sums = centred(states[mine] - states[its], squares, asked.window);
    let off = rounded(state_of(mine + points) - state_of(its + points));
    let apart = rounded(centred_at_mean(sums, inverse(f32(asked.window))) - mul(off, off));
    let my_inverse = state_of(mine + 2u * points);
    let its_inverse = state_of(its + 2u * points);
    if ((my_inverse == 0.0) != (its_inverse == 0.0)) {
        return bitcast<u32>(1.0);
    }
    let squared = mul(mul(apart, my_inverse), its_inverse);
    return select(0u, bitcast<u32>(squared), squared > 0.0);
}

// This thread's lags of a value's profile are moved on, and the least distance found.
fn slide(asked: Profile, value: u32, profile: u32, k: u32) {
    let points = asked.points;
    let window = asked.window;
    let mask = points - 1u;
    let ring = profile + PROFILE_RING;
    let count = states[profile + PROFILE_COUNT];
    let at = (0u - count) & mask;
    let latest = states[ring + at];
    let gone = states[ring + ((at + window) & mask)];
    // Behind this lag one of the stretches would begin before the first number.
    let end = min(points - window, count + 1u - min(count + 1u, window));
    var nearest = NO_DISTANCE;
    for (var lag = window + k; lag < points - window; lag += 256u) {
        let gained = latest - states[ring + ((at + lag) & mask)];
        let lost = gone - states[ring + ((at + lag + window) & mask)];
        let sum = states[ring + points + lag] + (gained - lost) * (gained + lost);
        states[ring + points + lag] = sum;
        if (lag < end) {
            var distance = sum;
            if (asked.by_shape) {
                distance = by_shape_of(asked, ring + 2u * points, at, (at + lag) & mask, sum);
            }
            nearest = min(nearest, distance);
        }
    }
    atomicMin(&least[value], nearest);
}

fn missing_value(own: u32, i: u32) {
    states[own + PROFILE_FRESH + i] = 0u;
}

// Keeps a value that its track, at `track`, has learnt.
fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    let asked = profile_asked();
    let profile = own + i * asked.words;
    if (states[profile + PROFILE_COUNT] > 0u || state_of(track + 7u) >= 16.0) {
        states[own + PROFILE_FRESH + i] = 1u;
        keep_number(asked, profile, sixty_fourths(track, near_zero(rounded(x - state_of(track)))));
    }
    return Apart((*found).z2, 0.0, 0.0);
}

// Moves all profiles of an event's key on, all threads together; of the event's values the largest squared distance,
// or -1 where none is known. Each is the part of its value.
fn found_together(own: u32, row: u32, k: u32) -> f32 {
    let asked = profile_asked();
    if (k < p.values) {
        atomicStore(&least[k], NO_DISTANCE);
    }
    workgroupBarrier();
    for (var value = 0u; value < p.values; value += 1u) {
        if (states[own + PROFILE_FRESH + value] != 0u) {
            slide(asked, value, own + value * asked.words, k);
        }
    }
    workgroupBarrier();
    var far = -1.0;
    for (var i = 0u; i < p.values; i += 1u) {
        let bits = atomicLoad(&least[i]);
        if (states[own + PROFILE_FRESH + i] != 0u && bits != NO_DISTANCE) {
            var squared = mul(to_float(bits), mul(inverse(f32(asked.window)), 2.4414063e-4));
            if (asked.by_shape) {
                squared = bitcast<f32>(bits);
            }
            far = select(far, squared, squared > far);
            if (k == 0u) {
                put_part(row, i, squared);
            }
        }
    }
    return far;
}

// `apart` holds the largest squared distance.
fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    if (apart.by < 0.0) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let levels = states[own + PROFILE_LEVELS];
    states[own + PROFILE_LEVELS] = select(levels + 1u, 0xfffe0000u, levels == 0xffffffffu);
    let distance = rounded(sqrt(apart.by));
    let dense = mul(distance, inverse(1.0 + distance));
    return Level(true, levels, own_ln(1.0 + mul(apart.by, 64.0)), dense);
}

@compute @workgroup_size(256)
fn profile(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk_together(wid, groups, k);
}
