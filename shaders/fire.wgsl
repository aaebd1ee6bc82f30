// Closes a window: combines its slots key by key and hands the rows to the host. Twin of src/ops/fire.rs.
//
// Per id: 4 bytes of count for each slot; per row emitted two additions, one row read for each slot, the destination's
// row and the emitted words written.

struct FireParams {
    parts: u32,
    row_words: u32,
    out_words: u32,
    out_at: u32,
    lead: u32,
    key_words: u32,
    record_words: u32,
    extremes: u32,
    fixed: u32,
    squares: u32,
    exact: u32,
    first: u32,
    last: u32,
    first_block: u32,
    blocks: u32,
    first_id: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: FireParams;
@group(0) @binding(3) var<storage, read> records: array<u32>;
@group(0) @binding(4) var<storage, read> map: array<u32>;
@group(0) @binding(5) var<storage, read_write> rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> emitted: array<u32>;
@group(0) @binding(7) var<storage, read_write> out: array<atomic<u32>>;

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

const FIRE_FIXED: u32 = 4u;
const FIRE_ROWS: u32 = 1u;

// How many rows are combined for an id, at most: one for each slot named, and the destination's.
fn sources() -> u32 {
    return head[WALK_SLOTS] + 1u;
}

// Where the `i`-th of them begins; NO_ROW where there is none.
fn source(i: u32, id: u32) -> u32 {
    return row_at(select(WALK_INTO, WALK_SLOT + 2u * i, i < head[WALK_SLOTS]), id);
}

// Writes a word of the combined row to the output and to the destination, if there is one.
fn put(to: u32, row: u32, at: u32, word: u32) {
    atomicStore(&out[to + at], word);
    if (row != NO_ROW) {
        rows[row + at] = word;
    }
}

fn put64(to: u32, row: u32, at: u32, words: vec2<u32>) {
    put(to, row, at, words.x);
    put(to, row, at + 1u, words.y);
}

fn count_of(id: u32) -> u32 {
    var count = 0u;
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        if (s != NO_ROW) {
            count += rows[s + COUNT];
        }
    }
    return count;
}

fn fire_counts(id: u32, to: u32, row: u32) {
    var counts = vec3<u32>(0u, 0u, 0u);
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        if (s != NO_ROW) {
            counts += vec3<u32>(rows[s + COUNT], rows[s + NAN], rows[s + OUTSIDE]);
        }
    }
    put(to, row, COUNT, counts.x);
    put(to, row, NAN, counts.y);
    put(to, row, OUTSIDE, counts.z);
    atomicStore(&out[to + FIRED], 0u);
    if (row != NO_ROW) {
        rows[row + FIRED] = counts.x;
    }
}

fn fire_extremes(id: u32, to: u32, row: u32) {
    var extremes = vec2<u32>(0u, 0u);
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        if (s != NO_ROW) {
            extremes = max(extremes, load64(s + p.extremes));
        }
    }
    put64(to, row, p.extremes, extremes);
}

fn fire_sum64(id: u32, to: u32, row: u32, at: u32) {
    var sum = vec2<u32>(0u, 0u);
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        if (s != NO_ROW) {
            sum = sum64(sum, load64(s + at));
        }
    }
    put64(to, row, at, sum);
}

fn fire_squares(id: u32, to: u32, row: u32) {
    var low = vec2<u32>(0u, 0u);
    var high = vec2<u32>(0u, 0u);
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        if (s == NO_ROW) {
            continue;
        }
        let at = s + p.squares;
        let x = load64(at);
        low = sum64(low, x);
        high = sum64(high, load64(at + 2u));
        if (less64(low, x)) {
            high = sum64(high, vec2<u32>(1u, 0u));
        }
    }
    put64(to, row, p.squares, low);
    put64(to, row, p.squares + 2u, high);
}

fn fire_end(id: u32, to: u32, row: u32, at: u32, last: bool) {
    var best = NO_ROW;
    for (var i = 0u; i < sources(); i += 1u) {
        let s = source(i, id);
        let end = s + at;
        if (s == NO_ROW || rows[end + END_LANE] == 0u) {
            continue;
        }
        if (best == NO_ROW) {
            best = end;
        } else if (select(comes_before(end, best), comes_before(best, end), last)) {
            best = end;
        }
    }
    for (var i = 0u; i < END; i += 1u) {
        var word = 0u;
        if (best != NO_ROW && i < END_ELECT) {
            word = rows[best + i];
        }
        put(to, row, at + i, word);
    }
}

// Combines the rows of an id, part by part: what a part of the destination becomes is known before it is written.
fn fire_row(id: u32, to: u32, row: u32) {
    // Rows are padded at their end; what is no padding is written again below.
    atomicStore(&out[to + p.row_words - 2u], 0u);
    atomicStore(&out[to + p.row_words - 1u], 0u);
    fire_counts(id, to, row);
    if ((p.parts & EXTREMES) != 0u) {
        fire_extremes(id, to, row);
    }
    if ((p.parts & FIXED) != 0u) {
        fire_sum64(id, to, row, p.fixed);
    }
    if ((p.parts & SQUARES) != 0u) {
        fire_squares(id, to, row);
    }
    if ((p.parts & EXACT) != 0u) {
        for (var limb = 0u; limb < LIMBS; limb += 1u) {
            fire_sum64(id, to, row, p.exact + 2u * limb);
        }
    }
    if ((p.parts & FIRST) != 0u) {
        fire_end(id, to, row, p.first, false);
    }
    if ((p.parts & LAST) != 0u) {
        fire_end(id, to, row, p.last, true);
    }
}

// Decides whether the id is emitted; the number of its row, from 1 on, or 0.
fn emit(id: u32, row: u32) -> u32 {
    var fired = 0u;
    if (row != NO_ROW) {
        fired = rows[row + FIRED];
    }
    if (count_of(id) == fired) {
        return 0u;
    }
    let place = atomicAdd(&out[FIRE_ROWS], 1u) + 1u;
    atomicAdd(&out[0], p.out_words);
    let to = FIRE_FIXED + (place - 1u) * p.out_words;
    var key = vec2<u32>(id, 0u);
    let record = (id - p.first_id) * p.record_words;
    if (p.key_words != 0u) {
        key.x = records[record];
    }
    if (p.key_words == 2u) {
        key.y = records[record + 1u];
    }
    atomicStore(&out[to], key.x);
    atomicStore(&out[to + 1u], key.y);
    return place;
}

@compute @workgroup_size(256)
fn fire(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    if (g == 0u && k == 0u && p.lead != 0u && p.first_block == 0u) {
        atomicAdd(&out[0], FIRE_FIXED);
    }
    let walked = g * 256u + k;
    let id = head[WALK_FROM] + walked;
    if (id >= head[WALK_TO]) {
        return;
    }
    // All rows of an id lie in one page, or it has none.
    var here = false;
    for (var i = 0u; i < sources(); i += 1u) {
        here = here || source(i, id) != NO_ROW;
    }
    if (!here) {
        return;
    }
    let row = row_at(WALK_INTO, id);
    if (p.lead != 0u) {
        emitted[walked] = emit(id, row);
    }
    let place = emitted[walked];
    if (place != 0u) {
        fire_row(id, FIRE_FIXED + (place - 1u) * p.out_words + p.out_at, row);
    }
}
