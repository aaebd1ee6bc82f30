// Fills an empty table from the key records. Twin of src/ops/keys.rs.
//
// Per id: its record, one exchange for each slot tried, 8 bytes of table written.

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
@group(0) @binding(3) var<storage, read_write> table: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read> records: array<u32>;

@compute @workgroup_size(256)
fn rehash(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {

    let id = head[WALK_FROM] + group_index(wid, groups) * 256u + k;
    if (id >= head[WALK_TO]) {
        return;
    }
    let record = id * p.record_words;
    if (records[record + p.key_words] == 0u) {
        return; // Expired: no generation is 0.
    }
    var key = vec2<u32>(records[record], 0u);
    if (p.key_words == 2u) {
        key.y = records[record + 1u];
    }
    let mask = head[TABLE_MASK];
    let home = key_hash(key) & mask;
    var probes = 0u;
    loop {
        let slot = (home + probes) & mask;
        let claim = atomicCompareExchangeWeak(&table[2u * slot], 0u, id + 1u);
        if (claim.exchanged) {
            atomicStore(&table[2u * slot + 1u], key.x);
            break;
        }
        if (claim.old_value != 0u) {
            if (probes >= mask) {
                break;
            }
            probes += 1u;
        }
    }
}
