// Gives every claim its id. Twin of src/ops/keys.rs.
//
// Per event: 4 bytes of id, and 4 of table when its key is new; per new key one addition, its record and slot written.

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
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> records: array<u32>;
@group(0) @binding(5) var<storage, read> ids: array<u32>;
@group(0) @binding(6) var<storage, read_write> counts: array<atomic<u32>>;

// The key of an event, by its index in the batch.
fn key_of(event: u32) -> vec2<u32> {
    let at = event * p.stride + p.key_word;
    var key = vec2<u32>(events[at], 0u);
    if (p.key_words == 2u) {
        key.y = events[at + 1u];
    }
    return key;
}

const COUNTS_BASE: u32 = 0u;
const COUNTS_FREE: u32 = 1u;
const COUNTS_TAKEN: u32 = 2u;
const COUNTS_LIST: u32 = 4u;

// The next free id.
fn take_id() -> u32 {
    let taken = atomicAdd(&counts[COUNTS_TAKEN], 1u);
    let free = atomicLoad(&counts[COUNTS_FREE]);
    if (taken < free) {
        return atomicLoad(&counts[COUNTS_LIST + taken]);
    }
    return atomicLoad(&counts[COUNTS_BASE]) + taken - free;
}

@compute @workgroup_size(256)
fn settle(
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
    let pending = ids[event];
    if (pending >= ASIDE || (pending & PENDING) == 0u) {
        return;
    }
    // The slot's tag names the one event that claimed it until that event replaces it by an id, which has no flag:
    // no other thread can take it for its own.
    let slot = pending & ~PENDING;
    if (atomicLoad(&table[2u * slot]) != (PENDING | event)) {
        return;
    }
    let key = key_of(event);
    let id = take_id();
    let record = id * p.record_words;
    records[record] = key.x;
    if (p.key_words == 2u) {
        records[record + 1u] = key.y;
    }
    records[record + p.key_words] = head[GENERATION];
    atomicStore(&table[2u * slot + 1u], key.x);
    atomicStore(&table[2u * slot], id + 1u);
}
