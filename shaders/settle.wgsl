// Gives every claim its id. Twin of src/ops/keys.rs.
//
// Per event: 4 bytes of id; per new key one addition, two more where the table has several pages, its slot and id
// written.

struct KeysParams {
    stride: u32,
    key_word: u32,
    key_words: u32,
    record_words: u32,
    filtered: u32,
    expires: u32,
    first_slot: u32,
    page_slots: u32,
    first_id: u32,
    page_ids: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: KeysParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> out: array<atomic<u32>>;

// The key of an event, by its index in the batch.
fn key_of(event: u32) -> vec2<u32> {
    let at = event * p.stride + p.key_word;
    var key = vec2<u32>(events[at], 0u);
    if (p.key_words == 2u) {
        key.y = events[at + 1u];
    }
    return key;
}

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
    let mask = min(head[TABLE_MASK], p.page_slots - 1u);
    let slot = (pending & ~PENDING) - p.first_slot;
    if (slot > mask) {
        return; // In another page.
    }
    let key = key_of(event);
    let id = take_id();
    let at = 2u * p.key_words * slot;
    table[at + 1u] = key.x;
    if (p.key_words == 2u) {
        table[at + 2u] = key.y;
    }
    table[at] = id + 1u;
    ids[event] = NEW | id;
    if (mask < head[TABLE_MASK]) {
        let fill = atomicAdd(&counts[COUNTS_FILL + p.first_slot / p.page_slots], 1u) + 1u;
        atomicMax(&out[OUT_FILL], fill);
    }
}
