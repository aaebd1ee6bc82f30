// Gives every event of a new key its id, writes the records of new keys, and notes the generation of keys that expire.
// Twin of src/ops/keys.rs.
//
// Per event: 4 bytes of id; when its key is new, 4 of another's id and 4 of id written; 4 of generation when keys
// expire; per new key its 4 or 8 bytes of event, its record written.

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
@group(0) @binding(3) var<storage, read_write> records: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> ids: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read> counts: array<u32>;
@group(0) @binding(6) var<storage, read_write> out: array<u32>;

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
    if (g == 0u && k == 0u && p.first_id == 0u) {
        out[OUT_KEYS] = high_water();
        out[OUT_FREE] = max(counts[COUNTS_FREE], counts[COUNTS_TAKEN]) - counts[COUNTS_TAKEN];
    }
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    var id = atomicLoad(&ids[event]);
    if (id >= ASIDE) {
        return;
    }
    if ((id & FOLLOW) != 0u) {
        // The event that claimed the slot may have been here already, or not.
        id = atomicLoad(&ids[id & ~FOLLOW]) & ~NEW;
        atomicStore(&ids[event], id);
    }
    let is_new = (id & NEW) != 0u;
    id &= ~NEW;
    let here = id - p.first_id;
    if (here >= p.page_ids) {
        return; // In another page.
    }
    let record = here * p.record_words;
    if (is_new) {
        let key = event * p.stride + p.key_word;
        for (var i = 0u; i < p.key_words; i += 1u) {
            atomicStore(&records[record + i], events[key + i]);
        }
        atomicStore(&ids[event], id);
    }
    if (is_new || p.expires != 0u) {
        // Events of one key all write the same.
        atomicStore(&records[record + p.key_words], head[GENERATION]);
    }
}
