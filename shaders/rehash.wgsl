// Fills an empty page of the table from a page of key records. Twin of src/ops/keys.rs.
//
// Per id: its record; per key of the page one exchange for each slot tried, 8 or 12 bytes of table written; per
// workgroup with such keys one addition where there are several pages.

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
@group(0) @binding(3) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read> records: array<u32>;
@group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>>;

// Keys that the threads of the workgroup have for this page.
var<workgroup> found: atomic<u32>;

// Gives an id the first empty slot from `home` on; there may be none, which the number of the page's keys shows.
fn place(id: u32, key: vec2<u32>, home: u32, mask: u32) {
    var probes = 0u;
    loop {
        let at = 2u * p.key_words * ((home + probes) & mask);
        let claim = atomicCompareExchangeWeak(&table[at], 0u, id + 1u);
        if (claim.exchanged) {
            atomicStore(&table[at + 1u], key.x);
            if (p.key_words == 2u) {
                atomicStore(&table[at + 2u], key.y);
            }
            return;
        }
        if (claim.old_value != 0u) {
            if (probes >= mask) {
                return;
            }
            probes += 1u;
        }
    }
}

// Puts the key of an id into the table if it is one of this page; whether it is.
fn refill(id: u32, mask: u32) -> bool {
    let here = id - p.first_id;
    if (id >= head[WALK_TO] || here >= p.page_ids) {
        return false;
    }
    let record = here * p.record_words;
    if (records[record + p.key_words] == 0u) {
        return false; // Expired: no generation is 0.
    }
    var key = vec2<u32>(records[record], 0u);
    if (p.key_words == 2u) {
        key.y = records[record + 1u];
    }
    let slot = key_hash(key) & head[TABLE_MASK];
    if ((slot & ~mask) != p.first_slot) {
        return false;
    }
    place(id, key, slot & mask, mask);
    return true;
}

@compute @workgroup_size(256)
fn rehash(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let mask = min(head[TABLE_MASK], p.page_slots - 1u);
    let id = head[WALK_FROM] + group_index(wid, groups) * 256u + k;
    if (refill(id, mask)) {
        atomicAdd(&found, 1u);
    }
    workgroupBarrier();
    if (k == 0u && mask < head[TABLE_MASK]) {
        let many = atomicLoad(&found);
        if (many > 0u) {
            atomicAdd(&counts[COUNTS_FILL + p.first_slot / p.page_slots], many);
        }
    }
}
