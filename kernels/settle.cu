// Gives every claim its id.
//
// Twin of src/ops/keys.rs. Per event: 4 bytes of id; per new key its 16 bytes of event or its 4 or 8 of key, its slot
// and 4 of id written; per block with new keys one addition, two more where the table has several pages. Bound by the 4
// bytes of id when no key is new, else by the sectors of the table.
#include "window.cuh"

namespace pelton::settle {

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words table,
                                            Words ids, Words counts, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const TablePage page(head, p);
    const uint32_t event = chunk.first + threadIdx.x;
    const uint32_t pending = threadIdx.x < chunk.events ? ids[event] : DROPPED;
    const uint32_t slot = (pending & ~PENDING) - page.first;
    const bool claimed = pending < ASIDE && (pending & PENDING) != 0 && slot <= page.mask;
    uint32_t all;
    const uint32_t taken = take_places(claimed, counts[COUNTS_TAKEN], all);
    if (threadIdx.x == 0 && all != 0 && page.has_others()) {
        atomicMax(&out[OUT_FILL], atomicAdd(&counts[page.fill()], all) + all);
    }
    if (!claimed) {
        return;
    }
    const uint32_t free = counts[COUNTS_FREE];
    const uint32_t id = taken < free ? counts[COUNTS_LIST + taken] : counts[COUNTS_BASE] + taken - free;
    const u64 key = key_of(p, events, event);
    const uint32_t at = 2 * p.key_words * slot;
    table.two(at) = join(id + 1, low_of(key));
    if (p.key_words == 2) {
        table[at + 2] = high_of(key);
    }
    ids[event] = NEW | id;
}

extern "C" __global__ void __launch_bounds__(256)
    settle(Head head, KeysParams p, Events events, Words table, Words ids, Words counts, Words out) {
    body(this_block(), head, p, events, table, ids, counts, out);
}

}  // namespace pelton::settle
