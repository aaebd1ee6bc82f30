// Gives every event of a new key its id, writes the records of new keys, and notes the generation of keys that expire.
//
// Twin of src/ops/keys.rs. Per event: 4 bytes of id; when its key is new, 4 of another's id, read at random from the
// nearest cache, and 4 of id written; per new key its 16 bytes of event or its 4 or 8 of key, its record written; when
// keys expire, 4 of generation, written at random; no atomic. Bound by the 4 bytes of id when no key is new and none
// expires, else by the sectors of the records: 32 bytes per event.
#include "window.cuh"

namespace pelton::resolve {

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words records,
                                            Words ids, ConstWords counts, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    if (block.index == 0 && threadIdx.x == 0 && p.first_id == 0) {
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
    if ((id & FOLLOW) != 0) {
        // The event that claimed the slot may have been here already, or not.
        id = now(ids[id & ~FOLLOW]) & ~NEW;
        ids[event] = id;
    }
    const bool is_new = (id & NEW) != 0;
    id &= ~NEW;
    const uint32_t here = id - p.first_id;
    if (here >= p.page_ids) {
        return;  // In another page.
    }
    const uint32_t record = here * p.record_words;
    if (is_new) {
        const u64 key = key_of(p, events, event);
        records[record] = low_of(key);
        if (p.key_words == 2) {
            records[record + 1] = high_of(key);
        }
        ids[event] = id;
    }
    if (is_new || p.expires != 0) {
        // Events of one key all write the same.
        records[record + p.key_words] = head[GENERATION];
    }
}

extern "C" __global__ void __launch_bounds__(256)
    resolve(Head head, KeysParams p, Events events, Words records, Words ids, ConstWords counts, Words out) {
    body(this_block(), head, p, events, records, ids, counts, out);
}

}  // namespace pelton::resolve
