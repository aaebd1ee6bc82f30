// Counts the digits of each block of 256 elements, for a stable radix sort of events by id.
//
// Twin of src/ops/group.rs. Per element: 4 bytes of id, 8 after the first pass, and 4 of counts written; one addition
// in shared memory for each digit that a warp has. The counts of a block lie apart, a sector each: 32 bytes of
// traffic per element where the cache does not join the sectors of neighbouring blocks, which bounds it.
#include "group.cuh"

namespace pelton::group_count {

static __device__ __forceinline__ void body(Block block, Head head, const GroupParams& p, ConstWords ids,
                                            ConstWords pairs, ConstWords segments, Words counts) {
    __shared__ uint32_t found[DIGITS];
    const uint32_t blocks = head[CHUNKS];
    if (past_grid(head, block) || block.index >= blocks) {
        return;
    }
    found[threadIdx.x] = 0;
    __syncthreads();
    const uint32_t id = element_of_thread(block, head, p, ids, pairs, segments).id;
    const uint32_t digit = (id >> p.shift) % DIGITS;
    const uint32_t same = lanes_of_digit(id, digit);
    if (id != DROPPED && (same & lanes_below()) == 0) {
        atomicAdd(&found[digit], uint32_t(__popc(same)));
    }
    __syncthreads();
    counts[DIGITS + threadIdx.x * blocks + block.index] = found[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(256)
    group_count(Head head, GroupParams p, ConstWords ids, ConstWords pairs, ConstWords segments, Words counts) {
    body(this_block(), head, p, ids, pairs, segments, counts);
}

}  // namespace pelton::group_count
