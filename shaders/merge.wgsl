// Adds slots to a slot. Twin of src/ops/merge.rs.
//
// Per id: the row of each source read, that of the destination read and written for each source that is not empty.

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
@group(0) @binding(3) var<storage, read> map: array<u32>;
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;

// Where the row of `id` begins in the slot that the header names at `at`, or NO_ROW when it is not in this page.
fn row_at(at: u32, id: u32) -> u32 {
    if (id / BLOCK_IDS >= head[at + 1u]) {
        return NO_ROW;
    }
    let block = map[head[at] + id / BLOCK_IDS] - p.first_block;
    if (block >= p.blocks) {
        return NO_ROW;
    }
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.row_words;
}

fn load64(at: u32) -> vec2<u32> {
    return vec2<u32>(rows[at], rows[at + 1u]);
}

// Whether what the end at `a` holds comes before what the end at `b` holds.
fn comes_before(a: u32, b: u32) -> bool {
    let time_a = load64(a);
    let time_b = load64(b);
    if (any(time_a != time_b)) {
        return less64(time_a, time_b);
    }
    if (rows[a + END_LANE] != rows[b + END_LANE]) {
        return rows[a + END_LANE] < rows[b + END_LANE];
    }
    return less64(load64(a + 3u), load64(b + 3u));
}

fn add64(a: u32, b: u32) {
    let sum = sum64(load64(a), load64(b));
    rows[a] = sum.x;
    rows[a + 1u] = sum.y;
}

fn add128(a: u32, b: u32) {
    var carry = 0u;
    for (var i = 0u; i < 4u; i += 1u) {
        let two = sum64(vec2<u32>(rows[a + i], 0u), vec2<u32>(rows[b + i], 0u));
        let three = sum64(two, vec2<u32>(carry, 0u));
        rows[a + i] = three.x;
        carry = three.y;
    }
}

fn merge_end(a: u32, b: u32, last: bool) {
    if (rows[b + END_LANE] == 0u) {
        return;
    }
    if (rows[a + END_LANE] != 0u) {
        let takes = select(comes_before(b, a), comes_before(a, b), last);
        if (!takes) {
            return;
        }
    }
    for (var i = 0u; i < END_ELECT; i += 1u) {
        rows[a + i] = rows[b + i];
    }
}

// Adds all that the row at `b` holds to the row at `a`, `fired` aside.
fn merge_row(a: u32, b: u32) {
    if (rows[b + COUNT] == 0u) {
        return;
    }
    rows[a + COUNT] += rows[b + COUNT];
    rows[a + NAN] += rows[b + NAN];
    rows[a + OUTSIDE] += rows[b + OUTSIDE];
    if ((p.parts & EXTREMES) != 0u) {
        let at = p.extremes;
        rows[a + at] = max(rows[a + at], rows[b + at]);
        rows[a + at + 1u] = max(rows[a + at + 1u], rows[b + at + 1u]);
    }
    if ((p.parts & FIXED) != 0u) {
        add64(a + p.fixed, b + p.fixed);
    }
    if ((p.parts & SQUARES) != 0u) {
        add128(a + p.squares, b + p.squares);
    }
    if ((p.parts & EXACT) != 0u) {
        for (var limb = 0u; limb < LIMBS; limb += 1u) {
            add64(a + p.exact + 2u * limb, b + p.exact + 2u * limb);
        }
    }
    if ((p.parts & FIRST) != 0u) {
        merge_end(a + p.first, b + p.first, false);
    }
    if ((p.parts & LAST) != 0u) {
        merge_end(a + p.last, b + p.last, true);
    }
}

@compute @workgroup_size(256)
fn merge(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let id = head[WALK_FROM] + group_index(wid, groups) * 256u + k;
    if (id >= head[WALK_TO]) {
        return;
    }
    let into = row_at(WALK_INTO, id);
    for (var i = 0u; i < head[WALK_SLOTS]; i += 1u) {
        let row = row_at(WALK_SLOT + 2u * i, id);
        if (into != NO_ROW && row != NO_ROW) {
            merge_row(into, row);
        }
    }
}
