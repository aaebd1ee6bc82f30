// Adds each event's value to the accumulator row of its key and slice. Twin of src/ops/fold.rs.
//
// Per event: 4 bytes of value, 4 of id, 8 of time when there are several spans. Per row it goes to one atomic for the
// count, two for the extremes, one or two for the sum, two for the squares, up to four for the exact sum.

struct RowParams {
    stride: u32,
    time_word: u32,
    value_word: u32,
    kind: u32,
    parts: u32,
    fraction: u32,
    row_words: u32,
    ends: u32,
    extremes: u32,
    fixed: u32,
    squares: u32,
    exact: u32,
    first: u32,
    last: u32,
    first_block: u32,
    blocks: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: RowParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read> ids: array<u32>;
@group(0) @binding(4) var<storage, read> map: array<u32>;
@group(0) @binding(5) var<storage, read_write> rows: array<atomic<u32>>;

// Where the row of `id` begins, or NO_ROW when it is not in this page.
fn row_at(slot: u32, id: u32) -> u32 {
    let block = map[slot + id / BLOCK_IDS] - p.first_block;
    if (block >= p.blocks) {
        return NO_ROW;
    }
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.row_words;
}

// Adds to a 64-bit sum. Each wrap of the low word is seen by exactly one addition, which carries it.
fn add64(at: u32, x: vec2<u32>) {
    let old = atomicAdd(&rows[at], x.x);
    let high = x.y + select(0u, 1u, old + x.x < old);
    if (high != 0u) {
        atomicAdd(&rows[at + 1u], high);
    }
}

// Adds a number below 2^63 to a 128-bit sum.
fn add128(at: u32, x: vec2<u32>) {
    let old0 = atomicAdd(&rows[at], x.x);
    let high = x.y + select(0u, 1u, old0 + x.x < old0);
    let old1 = atomicAdd(&rows[at + 1u], high);
    if (old1 + high < old1 && atomicAdd(&rows[at + 2u], 1u) == 0xffffffffu) {
        atomicAdd(&rows[at + 3u], 1u);
    }
}

// An integer that sorts as the value does.
fn ordered(bits: u32) -> u32 {
    if (p.kind == I32) {
        return bits ^ 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The value in fixed point, ties to even, as a two's complement word; `y` is 1 where it fits an i32.
fn fixed_point(bits: u32) -> vec2<u32> {
    if (p.kind == I32) {
        return vec2<u32>(bits, 1u);
    }
    let exponent = (bits >> 23u) & 0xffu;
    let significand = (bits & 0x7fffffu) | select(0u, 0x800000u, exponent > 0u);
    // The value is the significand times 2 to the power of (up - down).
    let up = max(exponent, 1u) + p.fraction;
    let down = 150u;
    var magnitude = 0u;
    if (exponent == 255u || up > down + 8u) {
        return vec2<u32>(0u, 0u);
    } else if (up >= down) {
        magnitude = significand << (up - down);
    } else if (down - up < 26u) {
        let shift = down - up;
        let half = 1u << (shift - 1u);
        let rest = significand & (2u * half - 1u);
        magnitude = significand >> shift;
        magnitude += select(0u, 1u, rest > half || (rest == half && (magnitude & 1u) == 1u));
    }
    let negative = bits >> 31u;
    let fits = select(0u, 1u, magnitude <= 0x7fffffffu + negative);
    return vec2<u32>(select(magnitude, 0u - magnitude, negative == 1u), fits);
}

fn square(x: u32) -> vec2<u32> {
    let magnitude = select(x, 0u - x, (x >> 31u) == 1u);
    let low = magnitude & 0xffffu;
    let high = magnitude >> 16u;
    let middle = low * high;
    return sum64(vec2<u32>(low * low, high * high), vec2<u32>(middle << 17u, middle >> 15u));
}

// Adds a finite f32 to the limbs of an exact sum.
fn add_exact(at: u32, bits: u32) {
    let exponent = (bits >> 23u) & 0xffu;
    let significand = (bits & 0x7fffffu) | select(0u, 0x800000u, exponent > 0u);
    let place = max(exponent, 1u) - 1u;
    let shift = place & 31u;
    let low = significand << shift;
    // In two steps, because a shift by 32 is none.
    let high = (significand >> 1u) >> (31u - shift);
    let limb = at + 2u * (place >> 5u);
    add_limb(limb, low, bits >> 31u);
    add_limb(limb + 2u, high, bits >> 31u);
}

fn add_limb(at: u32, x: u32, negative: u32) {
    if (x != 0u) {
        add64(at, select(vec2<u32>(x, 0u), vec2<u32>(0u - x, 0xffffffffu), negative == 1u));
    }
}

// Adds one event's value to the row that begins at `row`; the ends are not touched.
fn add_value(row: u32, word: u32) {
    atomicAdd(&rows[row + COUNT], 1u);
    if (p.parts == 0u) {
        return;
    }
    let bits = value_bits(p.kind, word);
    if (value_is_nan(p.kind, bits)) {
        atomicAdd(&rows[row + NAN], 1u);
        return;
    }
    if ((p.parts & EXTREMES) != 0u) {
        let key = ordered(bits);
        atomicMax(&rows[row + p.extremes], ~key);
        atomicMax(&rows[row + p.extremes + 1u], key);
    }
    if ((p.parts & FIXED) != 0u) {
        let x = fixed_point(bits);
        if (x.y == 1u) {
            add64(row + p.fixed, vec2<u32>(x.x, select(0u, 0xffffffffu, (x.x >> 31u) == 1u)));
            if ((p.parts & SQUARES) != 0u) {
                add128(row + p.squares, square(x.x));
            }
        } else {
            atomicAdd(&rows[row + OUTSIDE], 1u);
        }
    }
    if ((p.parts & EXACT) != 0u) {
        if ((bits & 0x7f800000u) == 0x7f800000u) {
            atomicAdd(&rows[row + OUTSIDE], 1u);
        } else {
            add_exact(row + p.exact, bits);
        }
    }
}

@compute @workgroup_size(256)
fn fold(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    let id = ids[event];
    if (id >= ASIDE) {
        return;
    }
    let at = event * p.stride;
    var time = vec2<u32>(0u, 0u);
    if (chunk.spans > 1u && !chunk.all) {
        time = vec2<u32>(events[at + p.time_word], events[at + p.time_word + 1u]);
    }
    let spans = spans_of(chunk, time);
    for (var i = spans.x; i < spans.y; i += 1u) {
        let row = row_at(span_slot(chunk, i), id);
        if (row != NO_ROW) {
            add_value(row, events[at + p.value_word]);
        }
    }
}
