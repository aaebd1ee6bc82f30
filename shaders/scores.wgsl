// Scores each event by the past of its key: what the kernels that score share. A detector's file adds missing_value,
// value_of, level_of and the entry point. Twin of src/ops/score.rs and detector.rs with ewma.rs and math.rs.
//
// A thread takes a key and walks its events in order: per event 4 bytes of order, its time and values, 40 bytes of row
// and 4 more for each of several values; per key 64 bytes of state read and written, 16 read, and 160 more for peaks.
// The busiest key of a batch bounds it. The order of float operations is that of the Rust source; no built-in but
// inverse and square root (state.wgsl).

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: ScoreParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read> segments: array<u32>;
@group(0) @binding(5) var<storage, read> map: array<u32>;
@group(0) @binding(6) var<storage, read_write> states: array<u32>;
@group(0) @binding(7) var<storage, read_write> out: array<u32>;

struct Distance {
    z2: f32,
    off: f32,
    expected: f32,
    variance: f32,
}

// The distance of a value, which is then learnt.
fn distance(at: u32, value: f32, decays: vec3<f32>) -> Distance {
    if (states[at + 1u] == 0u) {
        put(at, value);
    }
    let origin = state_of(at);
    let x = near_zero(rounded(value - origin));
    var far = Distance(-1.0, 0.0, 0.0, 0.0);
    for (var i = 0u; i < 3u; i += 1u) {
        let h = at + 1u + 3u * i;
        let w = state_of(h);
        let m = state_of(h + 1u);
        let variance = state_of(h + 2u);
        var off = near_zero(rounded(x - m));
        let square = mul(off, off);
        let least = variance + 1e-24;
        var z2 = 0.0;
        if (w >= 8.0) {
            if (square >= 1e8 * least) {
                z2 = 1e8;
            } else {
                z2 = mul(square, inverse(least));
            }
        }
        if (z2 > far.z2) {
            far = Distance(z2, off, origin + m, variance);
        }
        if (z2 > 64.0 && variance > 0.0 && w >= 16.0) {
            off = held(off, mul(8.0, sqrt(variance)));
        }
        let weight = mul(w, decays[i]) + 1.0;
        put(h, weight);
        learn_spread(h + 1u, off, inverse(weight));
    }
    return far;
}

fn track(value: u32) -> u32 {
    return select(TRACKS + (value - 1u) * TRACK, TRACK_FIRST, value == 0u);
}

// A value's word and kind.
fn value_at(i: u32) -> vec2<u32> {
    var pair = p.values01;
    switch i / 2u {
        case 0u: {}
        case 1u: { pair = p.values23; }
        case 2u: { pair = p.values45; }
        default: { pair = p.values67; }
    }
    let packed = pair >> (16u * (i % 2u));
    return vec2<u32>(packed & 0xfffu, (packed >> 12u) & 15u);
}

struct Number {
    x: f32,
    missing: bool,
    clamped: u32,
}

// A value of an event as a number, subnormal ones as 0.
fn number_of(i: u32, event: u32) -> Number {
    let place = value_at(i);
    let bits = value_bits(place.y, events[event + place.x]);
    if (value_is_nan(place.y, bits)) {
        return Number(0.0, true, 0u);
    }
    if (place.y == I32) {
        return Number(f32(bitcast<i32>(bits)), false, 0u);
    }
    if ((bits & 0x7fffffffu) > 0x5368d4a5u) {
        return Number(bitcast<f32>((bits & 0x80000000u) | 0x5368d4a5u), false, CLAMPED);
    }
    return Number(bitcast<f32>(select(bits, 0u, (bits & 0x7f800000u) == 0u)), false, 0u);
}

// Writes a row but for how many events were seen.
fn put_row(row: u32, event: u32, time: vec2<u32>, flags: u32, surprise: f32, value: f32, far: Distance) {
    out[row] = select(0u, events[event + p.key_word], p.key_words != 0u);
    out[row + 1u] = select(0u, events[event + p.key_word + 1u], p.key_words == 2u);
    out[row + 2u] = time.x;
    out[row + 3u] = time.y;
    out[row + 4u] = flags;
    out[row + 5u] = bitcast<u32>(surprise);
    out[row + 6u] = bitcast<u32>(value);
    out[row + 7u] = bitcast<u32>(far.expected);
    out[row + 8u] = bitcast<u32>(far.variance);
}

// How a value stands out: by how much, its dense score, and its part in the event's.
struct Apart {
    by: f32,
    dense: f32,
    part: f32,
}

// Puts down the part of a value, where there are several.
fn put_part(row: u32, value: u32, part: f32) {
    if (p.values > 1u) {
        out[row + ROW + value] = bitcast<u32>(part);
    }
}

// Adds to the part of a value that is not missing.
fn add_part(row: u32, value: u32, more: f32) {
    let part = bitcast<f32>(out[row + ROW + value]);
    if (part >= 0.0) {
        out[row + ROW + value] = bitcast<u32>(rounded(part + more));
    }
}

// When an event came: its time, spacings since the one before, and what each horizon keeps, the shortest first.
struct Moment {
    time: vec2<u32>,
    steps: f32,
    decays: vec3<f32>,
}

// What the detector makes of an event.
struct Level {
    known: bool,
    // Those before it.
    levels: u32,
    level: f32,
    dense: f32,
}

// Where the detector's own state begins.
fn own_state(state: u32) -> u32 {
    return state + (TRACKS + (p.values - 1u) * TRACK + 15u) / 16u * 16u;
}

// What an event's values are by themselves.
struct Observed {
    time: vec2<u32>,
    flags: u32,
    // The number of the value that stands out most, and that value.
    most: u32,
    value: f32,
    far: Distance,
    apart: Apart,
}

// Looks at an event's values and learns them; what was learnt before lies at `state`. The event's row begins at `row`.
fn observe(state: u32, event: u32, row: u32) -> Observed {
    let time = vec2<u32>(events[event + p.time_word], events[event + p.time_word + 1u]);
    let steps = advance(state, time);
    let long = own_exp(-min(mul(steps, p.rate), 87.0));
    let middle = eighth(long);
    let moment = Moment(time, steps, vec3<f32>(eighth(middle), middle, long));
    var far = Distance(-1.0, 0.0, 0.0, 0.0);
    var flags = MISSING;
    var value = 0.0;
    var most = 0u;
    let own = own_state(state);
    var apart = Apart(-1.0, 0.0, 0.0);
    for (var i = 0u; i < p.values; i += 1u) {
        let number = number_of(i, event);
        if (number.missing) {
            missing_value(own, i);
            put_part(row, i, NO_PART);
            continue;
        }
        flags |= number.clamped;
        var found = distance(state + track(i), number.x, moment.decays);
        let stands = value_of(own, i, state + track(i), number.x, moment, &found);
        put_part(row, i, stands.part);
        if (stands.by > apart.by) {
            apart = stands;
            far = found;
            value = number.x;
            most = i;
        }
        flags &= ~MISSING;
    }
    return Observed(time, flags, most, value, far, apart);
}

// Scores an event of these values; its row begins at `row`.
fn judge(state: u32, event: u32, row: u32, seen_as: Observed) {
    var flags = seen_as.flags;
    let most = seen_as.most;
    let far = seen_as.far;
    var surprise = 0.0;
    var dense = 0.0;
    if ((flags & MISSING) == 0u) {
        flags |= most << 8u;
        var seen = states[state + SEEN];
        seen = select(seen + 1u, 0xfffe0000u, seen == 0xffffffffu);
        states[state + SEEN] = seen;
        let weight = state_of(state + track(most) + 4u);
        let few = p.chance == 0.0 && states[state + PEAKS] < 10u && seen / 4u <= p.warm;
        let judged = level_of(own_state(state), far, seen_as.apart, seen, row);
        dense = judged.dense;
        if (seen <= p.warm || few || !judged.known || weight < 16.0) {
            flags |= WARMING;
        }
        if (judged.known) {
            let decision = decide(state, far, judged.level, judged.levels, flags);
            surprise = decision.surprise;
            flags = decision.flags;
        } else {
            flags |= USUAL;
        }
    } else {
        flags |= USUAL;
    }
    flags |= u32(mul(dense, 65535.0)) << 16u;
    put_row(row, event, seen_as.time, flags, surprise, seen_as.value, far);
    out[row + 9u] = states[state + SEEN];
    if ((flags & DRIFTED) != 0u) {
        for (var i = 0u; i < p.own_words; i += 1u) {
            states[state + i] = 0u;
        }
    }
}

// Writes what stands before the rows; returns where they begin.
fn put_front(first: bool) -> u32 {
    let rows = OUT_FIXED + out[OUT_ASIDE];
    if (first) {
        out[OUT_SCORED] = segments[GROUPED];
        out[0] = rows + segments[GROUPED] * row_words();
    }
    return rows;
}

// The whole of a thread of the kernels that score with a thread for each key.
fn walk(wid: vec3<u32>, groups: vec3<u32>, k: u32) {
    let g = group_index(wid, groups);
    let rows = put_front(g == 0u && k == 0u);
    let segment = g * 256u + k;
    if (g >= head[GROUPS] || segment >= segments[SEGMENTS]) {
        return;
    }
    let state = state_of_segment(segment);
    if (state == NOWHERE) {
        return;
    }
    let at = LIST + SEGMENT * segment + 1u;
    for (var i = segments[at]; i < segments[at + SEGMENT]; i += 1u) {
        let event = order[i] * p.stride;
        let row = rows + i * row_words();
        judge(state, event, row, observe(state, event, row));
    }
}
