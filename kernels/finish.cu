// Returns a batch to host memory: the used words of its output, then its ticket as the mark that all is there.
//
// Last kernel of every replay, the device's own and no operator's. Word 0 of an output says how many of its words are
// in use, so only those cross the bus, 16 bytes a thread. The mark may become visible only after every word: each
// thread fences what it wrote, and the last block to arrive writes the mark. Twin of src/device/cuda/completion.rs.
// Bound by the bus.
#include "prelude.cuh"

namespace pelton::finish {

// As `gather` leaves them.
constexpr uint32_t DONE_BLOCKS = 0;
constexpr uint32_t KEPT_TICKET = 1;
constexpr uint32_t KEPT_RESULT = 2;

static __device__ __forceinline__ void body(Block block, Words kept, ConstWords out, Words mark) {
    if (out.len != 0) {
        Words result = {reinterpret_cast<uint32_t*>(join(kept[KEPT_RESULT], kept[KEPT_RESULT + 1])), out.len, 0};
        const uint32_t used = min(max(out[0], 1u), out.len);
        for (uint32_t i = 4 * (block.index * THREADS + threadIdx.x); i < used; i += 4 * block.count * THREADS) {
            result.four(i) = out.four(i);
        }
    }
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(&kept[DONE_BLOCKS], 1u) == block.count - 1) {
        __threadfence_system();
        *const_cast<volatile uint32_t*>(&mark[0]) = kept[KEPT_TICKET];
    }
}

extern "C" __global__ void __launch_bounds__(256) finish(Words kept, ConstWords out, Words mark) {
    body(this_block(), kept, out, mark);
}

}  // namespace pelton::finish
