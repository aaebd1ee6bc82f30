// A barrier of all blocks of a launch, which must be on the device at the same time.
#pragma once

#include "prelude.cuh"

namespace pelton {

// Its words: how many blocks have come, and how often all have. Nought at first.
constexpr uint32_t ARRIVED = 0;
constexpr uint32_t ROUND = 1;

// Writes a word that others look at meanwhile.
static __device__ __forceinline__ void tell(Words words, uint32_t at, uint32_t value) {
    *const_cast<volatile uint32_t*>(&words[at]) = value;
}

// What any thread did, or saw of the host, before the barrier is seen by every thread behind it. Fences of one thread
// do for its block, since the barriers of the block around them order all others before or behind (PTX ISA, memory
// consistency model: causality order). `which` barrier it is, is the same for all.
static __device__ __forceinline__ void grid_barrier(Words shared, uint32_t which) {
    __syncthreads();
    if (threadIdx.x == 0) {
#ifdef CUDA_HOST
        cuda_host::grid_arrive(which);
#endif
        __threadfence();
        const uint32_t round = now(shared[ROUND]);
        if (atomicAdd(&shared[ARRIVED], 1u) == gridDim.x - 1) {
            tell(shared, ARRIVED, 0);
            __threadfence();
            tell(shared, ROUND, round + 1);
        } else {
            while (now(shared[ROUND]) == round) {
                __nanosleep(20);
            }
        }
        __threadfence();
    }
    __syncthreads();
}

}  // namespace pelton
