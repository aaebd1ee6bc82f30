// Writes the order of events by id down and counts the segments that begin in each block of 256.
//
// Twin of src/ops/group.rs. Per element: 8 bytes read, its neighbour's from the cache, 4 written, all in order; no
// atomic. Bound by these 12 bytes.
#include "group.cuh"

namespace pelton::group_mark {

static __device__ __forceinline__ void body(Block block, Head head, ConstWords pairs, ConstWords segments,
                                            Words order, Words counts) {
    if (past_grid(head, block) || block.index >= head[CHUNKS]) {
        return;
    }
    const uint32_t at = block.index * THREADS + threadIdx.x;
    bool begins = false;
    if (at < segments[GROUPED]) {
        order[at] = pair_at(pairs, at).index;
        begins = begins_segment(pairs, at);
    }
    const uint32_t found = __syncthreads_count(begins);
    if (threadIdx.x == 0) {
        counts[DIGITS + block.index] = found;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    group_mark(Head head, GroupParams, ConstWords pairs, ConstWords segments, Words order, Words counts) {
    body(this_block(), head, pairs, segments, order, counts);
}

}  // namespace pelton::group_mark
