// Forgets keys that have not been seen for their time to live. Twin of src/ops/expire.rs.
//
// Per id: 4 bytes of generation; when that is old, 4 of count for each live slot; per key forgotten one addition.

struct ExpireParams {
    record_words: u32,
    seen_word: u32,
    row_words: u32,
    pad0: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: ExpireParams;
@group(0) @binding(3) var<storage, read_write> records: array<u32>;
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read> map: array<u32>;
@group(0) @binding(6) var<storage, read> rows: array<u32>;

const COUNTS_FREE: u32 = 1u;
const COUNTS_LIST: u32 = 4u;
const EXPIRE_BEFORE: u32 = 4u;
const EXPIRE_SLOTS: u32 = 5u;
const EXPIRE_SLOT: u32 = 6u;

fn row_at(slot: u32, id: u32) -> u32 {
    let block = map[slot * head[WALK_MAP_STRIDE] + id / BLOCK_IDS];
    return (block * BLOCK_IDS + id % BLOCK_IDS) * p.row_words;
}

// Whether a live slot holds a row of this id.
fn has_rows(id: u32) -> bool {
    for (var i = 0u; i < head[EXPIRE_SLOTS]; i += 1u) {
        if (rows[row_at(head[EXPIRE_SLOT + i], id) + COUNT] != 0u) {
            return true;
        }
    }
    return false;
}

@compute @workgroup_size(256)
fn expire(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let id = head[WALK_FROM] + group_index(wid, groups) * 256u + k;
    if (id >= head[WALK_TO]) {
        return;
    }
    let seen = id * p.record_words + p.seen_word;
    let generation = records[seen];
    if (generation >= head[EXPIRE_BEFORE] || (generation != 0u && has_rows(id))) {
        return;
    }
    records[seen] = 0u;
    atomicStore(&counts[COUNTS_LIST + atomicAdd(&counts[COUNTS_FREE], 1u)], id);
}
