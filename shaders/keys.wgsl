// Finds or claims the table slot of each event's key. Twin of src/ops/keys.rs.
//
// Per event of a known key: its 4 or 8 bytes, 8 of table, 12 when the key has two words, 4 of id written;
// no atomic but loads. Per event of a new key one exchange; per event set aside two additions.

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
@group(0) @binding(3) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<u32>;
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

// Whether the slot at this word, with this tag, holds `key`. A claimed slot's key is that of the claiming event.
fn holds(at: u32, tag: u32, key: vec2<u32>) -> bool {
    if ((tag & PENDING) != 0u) {
        return all(key_of(tag & ~PENDING) == key);
    }
    if (atomicLoad(&table[at + 1u]) != key.x) {
        return false;
    }
    return p.key_words != 2u || atomicLoad(&table[at + 2u]) == key.y;
}

// The id of a key that is looked for from this slot of the page on; or PENDING and the slot that this event claims, or
// FOLLOW and the event that did, or ASIDE. Nobody waits: whatever a slot holds says at once whether to stop or to go
// on, and no more than the whole page is looked at.
fn find(event: u32, key: vec2<u32>, home: u32, mask: u32) -> u32 {
    var probes = 0u;
    var id = ASIDE;
    loop {
        let slot = (home + probes) & mask;
        let at = 2u * p.key_words * slot;
        var tag = atomicLoad(&table[at]);
        if (tag == 0u) {
            if (head[FROZEN] != 0u) {
                break;
            }
            let claim = atomicCompareExchangeWeak(&table[at], 0u, PENDING | event);
            if (claim.exchanged) {
                id = PENDING | (p.first_slot + slot);
                break;
            }
            tag = claim.old_value;
            if (tag == 0u) {
                continue; // A weak exchange may fail for no reason.
            }
        }
        if (holds(at, tag, key)) {
            id = select(tag - 1u, FOLLOW | (tag & ~PENDING), (tag & PENDING) != 0u);
            break;
        }
        if (probes >= mask) {
            break;
        }
        probes += 1u;
    }
    if (probes > 16u) {
        atomicMax(&out[OUT_PROBES], probes);
    }
    return id;
}

fn set_aside(event: u32) {
    atomicStore(&out[OUT_FIXED + atomicAdd(&out[OUT_ASIDE], 1u)], event);
    atomicAdd(&out[0], 1u);
}

@compute @workgroup_size(256)
fn keys(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let g = group_index(wid, groups);
    if (g == 0u && k == 0u && p.first_slot == 0u) {
        atomicAdd(&out[0], OUT_FIXED);
    }
    let chunk = chunk_at(g);
    if (g >= head[GROUPS] || k >= chunk.events) {
        return;
    }
    let event = chunk.first + k;
    if (p.filtered != 0u && ids[event] == DROPPED) {
        return;
    }
    // The hash says which page of the table has the key, and where in it.
    let mask = min(head[TABLE_MASK], p.page_slots - 1u);
    let key = key_of(event);
    let slot = key_hash(key) & head[TABLE_MASK];
    if ((slot & ~mask) != p.first_slot) {
        return;
    }
    let id = find(event, key, slot & mask, mask);
    ids[event] = id;
    if (id == ASIDE) {
        set_aside(event);
    }
}
