// Scores each event by the past of its key, with half-space trees: how many points of a key's recent past lie around an
// event's point. Twin of src/ops/half_space.rs; what all kernels that score share stands in scores.wgsl.

const SPACE_COUNT: u32 = 0u;
const SPACE_KNOWN: u32 = 1u;
const SPACE_POINT: u32 = 8u;
const SPACE_MASSES: u32 = 16u;

fn hash(word: u32) -> u32 {
    var x = (word ^ (word >> 16u) ^ 0x5bf03635u) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

// A missing value lies in the middle.
fn missing_value(own: u32, i: u32) {
    states[own + SPACE_POINT + i] = 0x8000u;
}

// Puts down where a value lies that its track, at `track`, has learnt.
fn value_of(own: u32, i: u32, track: u32, x: f32, moment: Moment, found: ptr<function, Distance>) -> Apart {
    put_point(own + SPACE_POINT, i, track, x);
    return Apart((*found).z2, 0.0, 0.0);
}

// Goes down a tree: the sum over its nodes up to the first light one; adds one to all of them. With several values,
// what cuts took of the mass goes to the parts of theirs, in the row at `row`.
fn walk_tree(spaces: u32, masses: u32, tree: u32, height: u32, window: u32, row: u32) -> u32 {
    let dimensions = select(p.values, 3u, p.values == 1u);
    var node = 1u;
    var cuts = 0u;
    var sum = 0u;
    var light = false;
    // Of the node before: which dimension it cuts, and the zeros above the highest bit of its mass.
    var cut = 0u;
    var zeros = 32u;
    for (var depth = 0u; depth <= height; depth += 1u) {
        let mass = states[masses + node];
        if (!light) {
            sum += (mass >> 16u) << depth;
            light = (mass >> 16u) * 10u < window;
            let left = countLeadingZeros((mass >> 16u) | 1u);
            if (left > zeros + 1u && p.values > 1u) {
                add_part(row, cut, f32(left - zeros - 1u));
            }
            zeros = left;
        }
        states[masses + node] = mass + 1u;
        let dimension = ((hash((tree << 16u) | node) >> 16u) * dimensions) >> 16u;
        let offset = hash(0x80000000u | (tree << 16u) | dimension) >> 16u;
        let place = states[spaces + SPACE_POINT + dimension] + offset;
        cut = dimension;
        let nth = (cuts >> (4u * dimension)) & 15u;
        cuts += 1u << (4u * dimension);
        node = (node << 1u) | ((place >> (16u - nth)) & 1u);
    }
    return sum;
}

// The mass around the point in the state, which is then learnt.
fn level_of(spaces: u32, far: Distance, apart: Apart, seen: u32, row: u32) -> Level {
    let trees = p.shape0 & 0xffu;
    let height = (p.shape0 >> 8u) & 0xffu;
    let window = p.shape0 >> 16u;
    let nodes = 2u << height;
    var sum = 0u;
    for (var tree = 0u; tree < trees; tree += 1u) {
        sum += walk_tree(spaces, spaces + SPACE_MASSES + tree * nodes, tree, height, window, row);
    }
    let known = states[spaces + SPACE_KNOWN] != 0u;
    let count = states[spaces + SPACE_COUNT] + 1u;
    states[spaces + SPACE_COUNT] = select(count, 0u, count == window);
    if (count == window) {
        states[spaces + SPACE_KNOWN] = 1u;
        for (var i = 0u; i < trees * nodes; i += 1u) {
            states[spaces + SPACE_MASSES + i] <<= 16u;
        }
    }
    if (!known) {
        return Level(false, 0u, 0.0, 0.0);
    }
    let most = trees * window * (nodes - 1u);
    let level = own_ln(mul(to_float(most), inverse(to_float(sum))));
    let rarity = mul(level, inverse(own_ln(to_float(nodes - 1u))));
    return Level(true, seen - min(seen, window + 1u), level, select(rarity, 1.0, rarity > 1.0));
}

@compute @workgroup_size(256)
fn half_space(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk(wid, groups, k);
}
