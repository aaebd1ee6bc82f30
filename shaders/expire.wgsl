// Forgets keys that have not been seen for their time to live. Twin of src/ops/expire.rs.
//
// Per id: 4 bytes of generation; when that is old, 4 of count for each live slot; per key forgotten one addition.

struct ExpireParams {
    record_words: u32,
    seen_word: u32,
    row_words: u32,
    first_block: u32,
    blocks: u32,
    first_id: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: ExpireParams;
@group(0) @binding(3) var<storage, read_write> records: array<u32>;
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read> map: array<u32>;
@group(0) @binding(6) var<storage, read> rows: array<u32>;

const EXPIRE_BEFORE: u32 = 3u;
const EXPIRE_SLOTS: u32 = 5u;
const EXPIRE_SLOT: u32 = 6u;

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

// Whether a live slot holds a row of this id.
fn has_rows(id: u32) -> bool {
    for (var i = 0u; i < head[EXPIRE_SLOTS]; i += 1u) {
        let row = row_at(EXPIRE_SLOT + 2u * i, id);
        if (row != NO_ROW && rows[row + COUNT] != 0u) {
            return true;
        }
    }
    return false;
}

// Whether this page's step decides about the id: the page that its blocks lie in, the first one when it has none.
fn is_ours(id: u32) -> bool {
    for (var i = 0u; i < head[EXPIRE_SLOTS]; i += 1u) {
        let at = EXPIRE_SLOT + 2u * i;
        if (id / BLOCK_IDS < head[at + 1u]) {
            let block = map[head[at] + id / BLOCK_IDS];
            if (block != NO_BLOCK) {
                return block - p.first_block < p.blocks;
            }
        }
    }
    return p.first_block == 0u;
}

@compute @workgroup_size(256)
fn expire(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let id = head[WALK_FROM] + group_index(wid, groups) * 256u + k;
    if (id >= head[WALK_TO] || !is_ours(id)) {
        return;
    }
    let seen = (id - p.first_id) * p.record_words + p.seen_word;
    let generation = records[seen];
    if (generation >= head[EXPIRE_BEFORE] || (generation != 0u && has_rows(id))) {
        return;
    }
    // When the list is full, the key stays for another time.
    let place = COUNTS_LIST + atomicAdd(&counts[COUNTS_FREE], 1u);
    if (place < arrayLength(&counts)) {
        atomicStore(&counts[place], id);
        records[seen] = 0u;
    }
}
