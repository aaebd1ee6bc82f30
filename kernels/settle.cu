// Gives every claim its id.
//
// Twin of src/ops/keys.rs. Per event: 4 bytes of id, and 4 of table, read at random, when its key is new; per new key
// its 16 bytes of event or its 4 or 8 of key, its record and slot written; per block with new keys one addition. Bound
// by the 4 bytes of id when no key is new, else by the sectors of table and records.
#include "window.cuh"

namespace pelton::settle {

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words table,
                                            Words records, ConstWords ids, Words counts) {
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t event = chunk.first + threadIdx.x;
    const uint32_t pending = threadIdx.x < chunk.events ? ids[event] : DROPPED;
    // The slot's tag names the one event that claimed it until that event replaces it by an id, which has no flag: no
    // other thread can take it for its own.
    const uint32_t slot = pending & ~PENDING;
    const bool claimed = pending < ASIDE && (pending & PENDING) != 0 && now(table[2 * slot]) == (PENDING | event);
    uint32_t all;
    const uint32_t taken = take_places(claimed, counts[COUNTS_TAKEN], all);
    if (!claimed) {
        return;
    }
    const uint32_t free = counts[COUNTS_FREE];
    const uint32_t id = taken < free ? counts[COUNTS_LIST + taken] : counts[COUNTS_BASE] + taken - free;
    const u64 key = key_of(p, events, event);
    const uint32_t record = id * p.record_words;
    records[record] = low_of(key);
    if (p.key_words == 2) {
        records[record + 1] = high_of(key);
    }
    records[record + p.key_words] = head[GENERATION];
    table.two(2 * slot) = join(id + 1, low_of(key));
}

extern "C" __global__ void __launch_bounds__(256)
    settle(Head head, KeysParams p, Events events, Words table, Words records, ConstWords ids, Words counts) {
    body(this_block(), head, p, events, table, records, ids, counts);
}

}  // namespace pelton::settle
