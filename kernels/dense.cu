// The id of a dense key is the key; one out of range goes aside.
//
// Twin of src/ops/keys.rs. Per event: its 16 bytes in one load, or its 4 or 8 bytes of key; 4 of id written; per block
// with events set aside two additions. Bound by the bytes of the events: 20 for those of 16.
#include "window.cuh"

namespace pelton::dense {

static __device__ __forceinline__ void body(Block block, Head head, const KeysParams& p, Events events, Words ids,
                                            Words out) {
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t keys = head[DENSE_KEYS];
    if (block.index == 0 && threadIdx.x == 0) {
        atomicAdd(&out[0], OUT_FIXED);
        out[OUT_KEYS] = keys;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t event = chunk.first + threadIdx.x;
    uint32_t id = DROPPED;
    if (threadIdx.x < chunk.events && (p.filtered == 0 || ids[event] != DROPPED)) {
        const u64 key = p.key_words == 0 ? 0 : key_of(p, events, event);
        id = key < keys ? low_of(key) : ASIDE;
        ids[event] = id;
    }
    set_aside(out, id == ASIDE, event);
}

extern "C" __global__ void __launch_bounds__(256) dense(Head head, KeysParams p, Events events, Words ids, Words out) {
    body(this_block(), head, p, events, ids, out);
}

}  // namespace pelton::dense
