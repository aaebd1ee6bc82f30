// Empties slots. Twin of src/ops/merge.rs.
//
// Per id and slot: a row written. Threads of a group write consecutive words.

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
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: RowParams;
@group(0) @binding(3) var<storage, read> map: array<u32>;
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;

fn row_at(slot: u32, id: u32) -> u32 {
    let block = map[slot * head[WALK_MAP_STRIDE] + id / BLOCK_IDS];
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.row_words;
}

@compute @workgroup_size(256)
fn clear(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    // Slots are emptied from an id that begins a block, so the rows of a group's 256 ids lie together.
    let id = head[WALK_FROM] + group_index(wid, groups) * 256u;
    if (id >= head[WALK_TO]) {
        return;
    }
    let words = min(head[WALK_TO] - id, 256u) * p.row_words;
    for (var i = 0u; i < head[WALK_SLOTS]; i += 1u) {
        let row = row_at(head[WALK_SLOT + i], id);
        for (var word = k; word < words; word += 256u) {
            rows[row + word] = 0u;
        }
    }
}
