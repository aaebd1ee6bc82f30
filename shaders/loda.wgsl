// Scores each event by the past of its key, with random projections: how rare an event's point is among shadows of its
// key's recent past. Twin of src/ops/loda.rs; what all kernels that score share stands in scores.wgsl.

const LODA_EVENTS: u32 = 0u;
const LODA_POINT: u32 = 8u;
const LODA_CELLS: u32 = 16u;

fn hash(word: u32) -> u32 {
    var x = (word ^ (word >> 16u) ^ 0x3c6ef372u) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

// A missing value lies in the middle.
fn missing_value(own: u32, i: u32) {
    states[own + LODA_POINT + i] = 0x8000u;
}

fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    put_point(own + LODA_POINT, i, track, x);
    return Apart((*found).z2, 0.0, 0.0);
}

// Where a projection casts a point, from 0 to 65,535; which dimensions it uses, and what each of these adds.
struct Shadow {
    place: u32,
    which: vec3<u32>,
    terms: vec3<i32>,
}

// The shadow by projection `j` of the point at `point`.
fn shadow(point: u32, j: u32, dimensions: u32) -> Shadow {
    var which = vec3<u32>(0u);
    var terms = vec3<i32>(0);
    let needed = select(3u, 2u, dimensions <= 4u);
    var taken = 0u;
    var sum = 0;
    var size = 0;
    for (var i = 0u; i < dimensions; i += 1u) {
        let word = hash((j << 8u) | i);
        if ((((word >> 16u) * (dimensions - i)) >> 16u) < needed - taken) {
            let factor = i32(word & 0xffu) * 2 - 255;
            which[taken] = i;
            terms[taken] = factor * (i32(states[point + i]) - 0x8000);
            sum += terms[taken];
            taken += 1u;
            size += abs(factor);
        }
    }
    return Shadow(min(u32(sum + size * 0x8000) / u32(size), 0xffffu), which, terms);
}

// Shares what is rare out among the values that cast a shadow, by the squares of what they add to it.
fn share_out(row: u32, fallen: Shadow, rare: f32) {
    var squares = vec3<f32>(0.0);
    var all = 0.0;
    for (var i = 0u; i < 3u; i += 1u) {
        squares[i] = mul(f32(fallen.terms[i]), f32(fallen.terms[i]));
        all = rounded(all + squares[i]);
    }
    if (all > 0.0) {
        let each = mul(rare, inverse(all));
        for (var i = 0u; i < 3u; i += 1u) {
            if (squares[i] > 0.0) {
                add_part(row, fallen.which[i], mul(squares[i], each));
            }
        }
    }
}

// How rare the point in the state is, which is then learnt.
fn level_of(own: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    let projections = p.shape0;
    let half = p.shape1 / 2u;
    let window = p.shape2;
    let dimensions = select(p.values, 3u, p.values == 1u);
    let count = states[own + LODA_EVENTS];
    let halved = count + 1u == 2u * window;
    let of_all = f32(count) + 1.0;
    var sum = 0.0;
    for (var j = 0u; j < projections; j += 1u) {
        let fallen = shadow(own + LODA_POINT, j, dimensions);
        let cell = fallen.place / (0x10000u / p.shape1);
        let cells = own + LODA_CELLS + j * half;
        let up = 16u * (cell & 1u);
        let pair = states[cells + cell / 2u];
        let share = inverse(f32((pair >> up) & 0xffffu) + 1.0);
        let rare = own_ln(max(mul(of_all, share), 1.0));
        sum = rounded(sum + rare);
        if (p.values > 1u) {
            share_out(row, fallen, mul(rare, rare));
        }
        states[cells + cell / 2u] = pair + (1u << up);
        if (halved) {
            for (var i = 0u; i < half; i += 1u) {
                states[cells + i] = (states[cells + i] >> 1u) & 0x7fff7fffu;
            }
        }
    }
    states[own + LODA_EVENTS] = select(count + 1u, window, halved);
    if (count < window) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let level = mul(sum, inverse(f32(projections)));
    let rarity = mul(level, inverse(own_ln(of_all)));
    return Level(true, seen - min(seen, window + 1u), level, select(rarity, 1.0, rarity > 1.0));
}

@compute @workgroup_size(256)
fn loda(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
