// Fills an empty table from the key records.
//
// Twin of src/ops/keys.rs. Per id: its record of 8 or 16 bytes, in order; one exchange for each slot tried, and 4 bytes
// of table written. Slots lie at random, so this is bound by their sectors and the rate of atomics on them.
#include "window.cuh"

namespace pelton::rehash {

static __device__ __forceinline__ void body(Head head, const KeysParams& p, Words table, ConstWords records) {
    if (past_grid(head)) {
        return;
    }
    const uint32_t id = head[WALK_FROM] + blockIdx.x * THREADS + threadIdx.x;
    if (id >= head[WALK_TO]) {
        return;
    }
    const uint32_t record = id * p.record_words;
    if (records[record + p.key_words] == 0) {
        return;  // Expired: no generation is 0.
    }
    const u64 key = join(records[record], p.key_words == 2 ? records[record + 1] : 0);
    const uint32_t mask = head[TABLE_MASK];
    const uint32_t home = key_hash(head, key) & mask;
    // The mask is below 2^32 - 1: a table has two words a slot.
    for (uint32_t probes = 0; probes <= mask; probes++) {
        const uint32_t slot = (home + probes) & mask;
        if (atomicCAS(&table[2 * slot], 0u, id + 1) == 0) {
            table[2 * slot + 1] = low_of(key);
            return;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) rehash(Head head, KeysParams p, Words table, ConstWords records) {
    body(head, p, table, records);
}

}  // namespace pelton::rehash
