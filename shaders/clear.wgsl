// Empties slots. Twin of src/ops/merge.rs.
//
// Per block and slot: its rows written. Threads of a group write consecutive words.

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

@compute @workgroup_size(256)
fn clear(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    // Slots are emptied from an id that begins a block; a group takes the blocks of 256 ids.
    let first = head[WALK_FROM] + group_index(wid, groups) * 256u;
    let end = min(head[WALK_TO], first + 256u);
    for (var i = 0u; i < head[WALK_SLOTS]; i += 1u) {
        for (var id = first; id < end; id += BLOCK_IDS) {
            let row = row_at(WALK_SLOT + 2u * i, id);
            if (row == NO_ROW) {
                continue;
            }
            for (var word = k; word < BLOCK_IDS * p.row_words; word += 256u) {
                rows[row + word] = 0u;
            }
        }
    }
}
