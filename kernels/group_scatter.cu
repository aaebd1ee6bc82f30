// Moves each element of a block of 256 to its place by one digit, behind those before it with the same digit.
//
// Twin of src/ops/group.rs. Per element: 4 bytes of id, 8 after the first pass, 8 of counts, 8 written, scattered over
// as many places as the block has digits; no atomic. Bound by the sectors written: 32 bytes per element when all
// digits differ, 8 when few do.
#include "group.cuh"

namespace pelton::group_scatter {

static __device__ __forceinline__ void body(Block block, Head head, const GroupParams& p, ConstWords ids,
                                            ConstWords pairs, ConstWords counts, Words segments, Words sorted) {
    // For each warp, how many of its elements have a digit, 32 at most; and where the elements of a digit begin.
    __shared__ uint8_t in_warp[WARPS][DIGITS];
    __shared__ uint32_t starts[DIGITS];
    const uint32_t blocks = head[CHUNKS];
    if (past_grid(head, block) || block.index >= blocks) {
        return;
    }
    const uint32_t warp = threadIdx.x / LANES;
    for (uint32_t i = 0; i < WARPS; i++) {
        in_warp[i][threadIdx.x] = 0;
    }
    uint32_t all;
    const uint32_t count = counts[threadIdx.x];
    starts[threadIdx.x] = scan(count, all) - count;
    const Pair mine =
        element_of_thread(block, head, p, ids, pairs, ConstWords{segments.at, segments.len, segments.pad});
    const uint32_t digit = (mine.id >> p.shift) % DIGITS;
    const uint32_t same = lanes_of_digit(mine.id, digit);
    if (mine.id != DROPPED && (same & lanes_below()) == 0) {
        in_warp[warp][digit] = uint8_t(__popc(same));
    }
    __syncthreads();
    if (p.first != 0 && block.index == 0 && threadIdx.x == 0) {
        segments[GROUPED] = all;
    }
    if (mine.id == DROPPED) {
        return;
    }
    uint32_t at = starts[digit] + counts[DIGITS + digit * blocks + block.index] + __popc(same & lanes_below());
    for (uint32_t i = 0; i < warp; i++) {
        at += in_warp[i][digit];
    }
    sorted.two(2 * at) = join(mine.id, mine.index);
}

extern "C" __global__ void __launch_bounds__(256)
    group_scatter(Head head, GroupParams p, ConstWords ids, ConstWords pairs, ConstWords counts, Words segments,
                  Words sorted) {
    body(this_block(), head, p, ids, pairs, counts, segments, sorted);
}

}  // namespace pelton::group_scatter
