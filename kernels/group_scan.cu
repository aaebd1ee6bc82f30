// Makes of each block's count the sum of those before it, one column of counts a block, and notes the sum of all.
//
// Twin of src/ops/group.rs. Per block of 256 elements and column: 4 bytes read and written, in order; no atomic. A
// column is scanned by one block, 256 counts at a time, so for few events it is bound by latency: about a microsecond
// for every 65,536 events, whatever the number of columns.
#include "group.cuh"

namespace pelton::group_scan {

static __device__ __forceinline__ void body(Block block, Head head, const GroupParams& p, Words counts,
                                            Words segments) {
    const uint32_t column = block.index;
    if (column >= p.columns) {
        return;
    }
    const uint32_t blocks = head[CHUNKS];
    uint32_t before = 0;
    for (uint32_t tile = 0; tile < blocks; tile += THREADS) {
        const uint32_t of = tile + threadIdx.x;
        const uint32_t at = DIGITS + column * blocks + of;
        const uint32_t count = of < blocks ? counts[at] : 0;
        uint32_t all;
        const uint32_t sum = scan(count, all);
        if (of < blocks) {
            counts[at] = before + sum - count;
        }
        before += all;
    }
    if (threadIdx.x != 0) {
        return;
    }
    counts[column] = before;
    if (p.columns == 1) {
        if (blocks == 0) {
            segments[GROUPED] = 0;
        }
        segments[SEGMENTS] = before;
        segments.two(LIST + SEGMENT * before) = join(DROPPED, segments[GROUPED]);
    }
}

extern "C" __global__ void __launch_bounds__(256) group_scan(Head head, GroupParams p, Words counts, Words segments) {
    body(this_block(), head, p, counts, segments);
}

}  // namespace pelton::group_scan
