// The id of a dense key is the key; one out of range goes aside. Twin of src/ops/keys.rs.
//
// Per event: its 4 or 8 bytes of key, 4 of id written; per event set aside two additions.

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
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<atomic<u32>>;

fn set_aside(event: u32) {
    atomicStore(&out[OUT_FIXED + atomicAdd(&out[OUT_ASIDE], 1u)], event);
    atomicAdd(&out[0], 1u);
}

@compute @workgroup_size(256)
fn dense(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    let keys = head[DENSE_KEYS];
    if (g == 0u && k == 0u) {
        atomicAdd(&out[0], OUT_FIXED);
        atomicStore(&out[OUT_KEYS], keys);
    }
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    if (p.filtered != 0u && ids[event] == DROPPED) {
        return;
    }
    let at = event * p.stride + p.key_word;
    var low = 0u;
    var high = 0u;
    if (p.key_words != 0u) {
        low = events[at];
    }
    if (p.key_words == 2u) {
        high = events[at + 1u];
    }
    if (high == 0u && low < keys) {
        ids[event] = low;
    } else {
        ids[event] = ASIDE;
        set_aside(event);
    }
}
