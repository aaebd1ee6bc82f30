// Lists the segments of events with one id: the id and where its first event stands in the order.
//
// Twin of src/ops/group.rs. Per element: 8 bytes read, its neighbour's from the cache; 8 written a segment, in order;
// no atomic. Bound by these bytes.
#include "group.cuh"

namespace pelton::group_segments {

static __device__ __forceinline__ void body(Block block, Head head, ConstWords pairs, ConstWords counts,
                                            Words segments) {
    if (past_grid(head, block) || block.index >= head[CHUNKS]) {
        return;
    }
    const uint32_t at = block.index * THREADS + threadIdx.x;
    const bool begins = at < segments[GROUPED] && begins_segment(pairs, at);
    uint32_t all;
    const uint32_t segment = counts[DIGITS + block.index] + rank(begins, all);
    if (begins) {
        segments.two(LIST + SEGMENT * segment) = join(pair_at(pairs, at).id, at);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    group_segments(Head head, GroupParams, ConstWords pairs, ConstWords counts, Words segments) {
    body(this_block(), head, pairs, counts, segments);
}

}  // namespace pelton::group_segments
