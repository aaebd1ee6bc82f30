// Scores each event by the past of its key, with fuzzy ART: how far the shape of a key's latest values lies from all
// shapes that it is known by. Twin of src/ops/art.rs; what all kernels that score share stands in scores.wgsl.
//
// A workgroup takes a key: each of its threads a category, one of them what else there is to do.

const ART_KEPT: u32 = 0u;
const ART_POINTS: u32 = 1u;
const ART_LEVELS: u32 = 2u;
const ART_SUMS: u32 = 3u;
const ART_FRESH: u32 = 8u;
const ART_RING: u32 = 16u;
const ART_POINT: u32 = 48u;
const ART_COUNTS: u32 = 64u;
const ART_HALFWAY: u32 = 512u;
const NO_BOX: u32 = 0xffffffffu;

// Of each value the least key of a box, by distance, size and number; and of a place, by count and number.
var<workgroup> nearest: array<atomic<u32>, 8>;
var<workgroup> rarest: array<atomic<u32>, 8>;

fn art_of(own: u32, value: u32) -> u32 {
    return own + value * (ART_COUNTS + 9u * p.shape0);
}

// Where a number lies that is so far off, by what lies halfway to the edge.
fn coordinate(off: i32, halfway: u32) -> u32 {
    let size = min(bitcast<u32>(abs(off)), 131072u);
    let steps = 511u * size / (halfway + size);
    return select(511u + steps, 511u - steps, off < 0);
}

fn missing_value(own: u32, i: u32) {
    states[own + ART_FRESH + i] = 0u;
}

// Keeps a value by its place; whether there are enough of them for the point in the state.
fn keep_number(art: u32, place: u32) -> bool {
    let kept = states[art + ART_KEPT] + 1u;
    states[art + ART_KEPT] = select(kept, 32u, kept == 64u);
    let at = (0u - kept) & 31u;
    var shorter = place;
    for (var i = 0u; i < 5u; i += 1u) {
        let gone = states[art + ART_RING + ((at + (2u << i)) & 31u)];
        let sum = states[art + ART_SUMS + i] + place - gone;
        states[art + ART_SUMS + i] = sum;
        states[art + ART_POINT + 3u + i] = coordinate(bitcast<i32>(2u * shorter - sum), ART_HALFWAY << i);
        shorter = sum;
    }
    states[art + ART_RING + at] = place;
    return kept >= 32u;
}

// Keeps a value that its track, at `track`, has learnt.
fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    let art = art_of(own, i);
    if (states[art + ART_KEPT] > 0u || state_of(track + 7u) >= 16.0) {
        let place = sixty_fourths(track, near_zero(rounded(x - state_of(track))));
        let levels = vec3<u32>(
            place,
            sixty_fourths(track, state_of(track + 2u)),
            sixty_fourths(track, state_of(track + 5u)),
        );
        for (var level = 0u; level < 3u; level += 1u) {
            states[art + ART_POINT + level] = coordinate(bitcast<i32>(levels[level] - 4095u), ART_HALFWAY);
        }
        if (keep_number(art, place)) {
            states[own + ART_FRESH + i] = 1u;
            let points = states[art + ART_POINTS];
            states[art + ART_POINTS] = select(points, p.shape2, points == 2u * p.shape2) + 1u;
            atomicStore(&nearest[i], NO_BOX);
            atomicStore(&rarest[i], NO_BOX);
        }
    }
    return Apart((*found).z2, 0.0, own_ln(1.0 + mul((*found).z2, 0.2)));
}

// Looks at category `k`.
fn look(art: u32, value: u32, k: u32) {
    let count = states[art + ART_COUNTS + k];
    atomicMin(&rarest[value], (count << 6u) | k);
    if (count == 0u) {
        return;
    }
    var apart = 0u;
    var size = 0u;
    for (var i = 0u; i < 8u; i += 1u) {
        let x = states[art + ART_POINT + i];
        let edge = states[art + ART_COUNTS + (1u + i) * p.shape0 + k];
        let lower = edge & 0xffffu;
        let upper = edge >> 16u;
        apart += (max(lower, x) - x) + (max(x, upper) - upper);
        size += upper - lower;
    }
    atomicMin(&nearest[value], (apart << 19u) | (size << 6u) | k);
}

// Learns the point of a value: each thread one count, the first ones also an edge.
fn learn_point(art: u32, value: u32, k: u32) {
    let key = atomicLoad(&nearest[value]);
    let size_max = (1000u - p.shape1) * 8176u / 1000u;
    let grows = key != NO_BOX && (key >> 19u) + ((key >> 6u) & 0x1fffu) <= size_max;
    let j = select(atomicLoad(&rarest[value]), key, grows) & 63u;
    if (k < p.shape0) {
        var count = states[art + ART_COUNTS + k];
        if (k == j) {
            count = select(1u, count + 1u, grows);
        }
        states[art + ART_COUNTS + k] = select(count, count / 2u, states[art + ART_POINTS] == 2u * p.shape2);
    }
    if (k < 8u) {
        let x = states[art + ART_POINT + k];
        let at = art + ART_COUNTS + (1u + k) * p.shape0 + j;
        let edge = select(x | (x << 16u), states[at], grows);
        states[at] = min(x, edge & 0xffffu) | (max(x, edge >> 16u) << 16u);
    }
}

// Learns the points of an event's key, all threads together; of its values the largest distance, or -1 where none is
// known. What a distance adds to the level is a part of its value.
fn found_together(own: u32, row: u32, k: u32) -> f32 {
    for (var value = 0u; value < p.values; value += 1u) {
        if (k < p.shape0 && states[own + ART_FRESH + value] != 0u) {
            look(art_of(own, value), value, k);
        }
    }
    storageBarrier();
    workgroupBarrier();
    var far = -1.0;
    for (var value = 0u; value < p.values; value += 1u) {
        let art = art_of(own, value);
        if (states[own + ART_FRESH + value] == 0u) {
            continue;
        }
        learn_point(art, value, k);
        let key = atomicLoad(&nearest[value]);
        if (states[art + ART_POINTS] > 64u && key != NO_BOX) {
            let apart = f32(key >> 19u);
            far = max(far, apart);
            if (k == 0u && p.values > 1u) {
                add_part(row, value, own_ln(1.0 + mul(apart, 0.125)));
            }
        }
    }
    return far;
}

// `apart` holds the largest distance.
fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    if (apart.by < 0.0) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let levels = states[own + ART_LEVELS];
    states[own + ART_LEVELS] = select(levels + 1u, 0xfffe0000u, levels == 0xffffffffu);
    let level = rounded(own_ln(1.0 + mul(far.z2, 0.2)) + own_ln(1.0 + mul(apart.by, 0.125)));
    return Level(true, levels, level, mul(apart.by, inverse(8176.0)));
}

@compute @workgroup_size(64)
fn art(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk_together(wid, groups, k);
}
