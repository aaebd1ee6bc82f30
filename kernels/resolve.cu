// Replaces claimed slots by ids.
//
// Twin of src/ops/keys.rs. Per event: 4 bytes of id; when its key is new, 4 of table, read at random, and 4 of id
// written; when keys expire, 4 of generation, written at random; no atomic. Bound by the 4 bytes of id when no key is
// new and none expires, else by the sectors: 32 bytes per event.
#include "window.cuh"

namespace pelton::resolve {

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, ConstWords table,
                                            Words records, Words ids, ConstWords counts, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    if (block.index == 0 && threadIdx.x == 0) {
        // One more than the highest id ever handed out, and how many are free again.
        const uint32_t taken = counts[COUNTS_TAKEN];
        const uint32_t free = counts[COUNTS_FREE];
        out[OUT_KEYS] = counts[COUNTS_BASE] + max(taken, free) - free;
        out[OUT_FREE] = max(taken, free) - taken;
    }
    const Chunk chunk = chunk_of_block(head, block);
    if (threadIdx.x >= chunk.events) {
        return;
    }
    const uint32_t event = chunk.first + threadIdx.x;
    uint32_t id = ids[event];
    if (id >= ASIDE) {
        return;
    }
    if ((id & PENDING) != 0) {
        id = table[2 * (id & ~PENDING)] - 1;
        ids[event] = id;
    }
    if (p.expires != 0) {
        // Events of one key all write the same.
        records[id * p.record_words + p.key_words] = head[GENERATION];
    }
}

extern "C" __global__ void __launch_bounds__(256)
    resolve(Head head, KeysParams p, ConstWords table, Words records, Words ids, ConstWords counts, Words out) {
    body(this_block(), head, p, table, records, ids, counts, out);
}

}  // namespace pelton::resolve
