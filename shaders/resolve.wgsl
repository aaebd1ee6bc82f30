// Replaces claimed slots by ids. Twin of src/ops/keys.rs.
//
// Per event: 4 bytes of id; when its key is new, 4 of table and 4 of id written; 4 of generation when keys expire.

struct KeysParams {
    stride: u32,
    key_word: u32,
    key_words: u32,
    record_words: u32,
    filtered: u32,
    expires: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: KeysParams;
@group(0) @binding(3) var<storage, read> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> records: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> ids: array<u32>;
@group(0) @binding(6) var<storage, read> counts: array<u32>;
@group(0) @binding(7) var<storage, read_write> out: array<u32>;

const COUNTS_BASE: u32 = 0u;
const COUNTS_FREE: u32 = 1u;
const COUNTS_TAKEN: u32 = 2u;

// One more than the highest id ever handed out.
fn high_water() -> u32 {
    let free = counts[COUNTS_FREE];
    return counts[COUNTS_BASE] + max(counts[COUNTS_TAKEN], free) - free;
}

@compute @workgroup_size(256)
fn resolve(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    if (g == 0u && k == 0u) {
        out[OUT_KEYS] = high_water();
        out[OUT_FREE] = max(counts[COUNTS_FREE], counts[COUNTS_TAKEN]) - counts[COUNTS_TAKEN];
    }
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    var id = ids[event];
    if (id >= ASIDE) {
        return;
    }
    if ((id & PENDING) != 0u) {
        id = table[2u * (id & ~PENDING)] - 1u;
        ids[event] = id;
    }
    if (p.expires != 0u) {
        // Events of one key all write the same.
        atomicStore(&records[id * p.record_words + p.key_words], head[GENERATION]);
    }
}
