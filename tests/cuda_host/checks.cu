// Small kernels that are wrong on purpose, one mistake each, and small ones that are right: the shim is judged by them.
//
// All take one buffer that they write to, and blocks of 64 threads unless they say otherwise.

#include "../../kernels/grid.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace checks {

using pelton::ALL_LANES;
using pelton::Words;

constexpr unsigned BLOCK = 64;

// Sums the block's first 64 words pairwise in shared memory; `barrier` is what the wrong one leaves out.
template <bool barrier> static __device__ void sum(Words words, unsigned* part) {
    const unsigned me = threadIdx.x;
    part[me] = words[me];
    for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
        if (barrier) {
            __syncthreads();
        }
        if (me < half) {
            part[me] += part[me + half];
        }
    }
    if (me == 0) {
        words[0] = part[0];
    }
}

extern "C" __global__ void add_up(Words words) {
    __shared__ unsigned part[BLOCK];
    sum<true>(words, part);
}

extern "C" __global__ void add_up_without_barrier(Words words) {
    __shared__ unsigned part[BLOCK];
    sum<false>(words, part);
}

// Half of the block never comes to the barrier, but waits for its warp.
extern "C" __global__ void divergent_barrier(Words words) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncwarp(1u << (threadIdx.x % 32));
    }
    words[threadIdx.x] = 1;
}

// Everybody waits, but not at the same barrier.
extern "C" __global__ void barriers_apart(Words words) {
    if (threadIdx.x % 2 == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    words[threadIdx.x] = 1;
}

extern "C" __global__ void barrier_after_leaving(Words words) {
    if (threadIdx.x == 7) {
        return;
    }
    __syncthreads();
    words[threadIdx.x] = 1;
}

// What every shuffle gives, for the test to compare with what CUDA documents: 11 words a thread.
extern "C" __global__ void shuffles(Words words) {
    const unsigned me = threadIdx.x;
    const unsigned x = 1000 + me;
    const unsigned at = 11 * me;
    words[at] = __shfl_sync(ALL_LANES, x, 5);
    words[at + 1] = __shfl_sync(ALL_LANES, x, 13, 8);
    words[at + 2] = __shfl_up_sync(ALL_LANES, x, 3);
    words[at + 3] = __shfl_up_sync(ALL_LANES, x, 3, 16);
    words[at + 4] = __shfl_down_sync(ALL_LANES, x, 3);
    words[at + 5] = __shfl_down_sync(ALL_LANES, x, 3, 4);
    words[at + 6] = __shfl_xor_sync(ALL_LANES, x, 16);
    words[at + 7] = __shfl_xor_sync(ALL_LANES, x, 16, 16);
    const unsigned long long wide = __shfl_xor_sync(ALL_LANES, (unsigned long long)me << 40 | 1, 1);
    words[at + 8] = (unsigned)(wide >> 40);
    // Half of a warp on its own.
    words[at + 9] = 0;
    if (me % 32 < 16) {
        words[at + 9] = __shfl_sync(0x0000ffffu, x, 15);
    }
    words[at + 10] = (unsigned)__shfl_down_sync(ALL_LANES, (float)me, 1);
}

// What every vote gives: 8 words a thread.
extern "C" __global__ void votes(Words words) {
    const unsigned me = threadIdx.x;
    const unsigned at = 8 * me;
    words[at] = __ballot_sync(ALL_LANES, me % 3 == 0);
    words[at + 1] = (unsigned)__any_sync(ALL_LANES, me == 40);
    words[at + 2] = (unsigned)__all_sync(ALL_LANES, me < 40);
    words[at + 3] = __match_any_sync(ALL_LANES, me % 5);
    words[at + 4] = __reduce_add_sync(ALL_LANES, me);
    words[at + 5] = __reduce_max_sync(ALL_LANES, me);
    words[at + 6] = __reduce_min_sync(ALL_LANES, me);
    words[at + 7] = (unsigned)__syncthreads_count(me % 4 == 0);
}

extern "C" __global__ void lane_not_in_mask(Words words) { words[threadIdx.x] = __shfl_sync(0x0000ffffu, 1u, 0); }

extern "C" __global__ void lane_does_not_arrive(Words words) {
    words[threadIdx.x] = 0;
    if (threadIdx.x % 32 != 9) {
        words[threadIdx.x] = __shfl_sync(ALL_LANES, 1u, 0);
    } else {
        __syncthreads();
    }
}

extern "C" __global__ void lane_has_left(Words words) {
    if (threadIdx.x == 9) {
        return;
    }
    words[threadIdx.x] = __ballot_sync(ALL_LANES, 1);
}

extern "C" __global__ void wrong_width(Words words) { words[threadIdx.x] = __shfl_sync(ALL_LANES, 1u, 0, 12); }

extern "C" __global__ void index_outside(Words words) { words[words.len + threadIdx.x - BLOCK + 1] = 1; }

extern "C" __global__ void memory_not_there(Words words) { *(words.at + (1ull << 44)) = 1; }

extern "C" __global__ void index_outside_shared(Words words) {
    __shared__ unsigned part[BLOCK];
    part[threadIdx.x + 1] = threadIdx.x;
    __syncthreads();
    words[threadIdx.x] = part[threadIdx.x];
}

// Counts on shared memory being zero, or what the block before left.
extern "C" __global__ void unset_shared(Words words) {
    __shared__ unsigned count;
    if (threadIdx.x == 0) {
        count += 1;
        words[blockIdx.x] = count;
        count = 0;
    }
}

// Reads, lets others come first, and writes.
extern "C" __global__ void lost_update(Words words) {
    const unsigned old = words[0];
    atomicAdd(&words[1], 1u);
    words[0] = old + 1;
}

// What atomics leave behind: sums, an exchange that one thread wins, a maximum.
extern "C" __global__ void atomics(Words words) {
    const unsigned me = blockIdx.x * BLOCK + threadIdx.x;
    atomicAdd(&words[0], me);
    atomicAdd(&words.two(2), 1ull << 31);
    atomicMax(&words[4], me);
    atomicMin(&words[5], me);
    atomicOr(&words[6], 1u << (me % 32));
    if (atomicCAS(&words[7], 0u, me + 1) == 0) {
        atomicAdd(&words[8], 1u);
    }
    atomicAdd((float*)&words[9], 0.5f);
}

// Every half and brain float as an f32, and the f32 with these bits as both: 4 words a thread.
extern "C" __global__ void halves(Words words) {
    const unsigned me = blockIdx.x * BLOCK + threadIdx.x;
    const float x = __uint_as_float(words[4 * me]);
    words[4 * me] = __half_as_ushort(__float2half(x));
    words[4 * me + 1] = __bfloat16_as_ushort(__float2bfloat16(x));
    words[4 * me + 2] = __float_as_uint(__half2float(__ushort_as_half((unsigned short)me)));
    words[4 * me + 3] = __float_as_uint(__bfloat162float(__ushort_as_bfloat16((unsigned short)me)));
}

extern "C" __global__ void pair_from_an_odd_word(Words words) { words.two(2 * threadIdx.x + 1) = 1; }

// A lock that a lane of the same warp holds and nobody gives back.
extern "C" __global__ void waits_forever(Words words) {
    while (atomicCAS(&words[0], 0u, 1u) != 0) {
    }
}

// In which order threads come.
extern "C" __global__ void order(Words words) {
    words[1 + atomicAdd(&words[0], 1u)] = blockIdx.x * BLOCK + threadIdx.x;
}

// Words of the barrier of the grid in the checks below; their results lie behind.
constexpr unsigned GRID_AT = 4;

// Each block adds up what all blocks wrote, twice over; what it has in shared memory stays there while it waits.
extern "C" __global__ void all_see_all(Words words) {
    __shared__ unsigned mine;
    const unsigned blocks = gridDim.x;
    for (unsigned turn = 0; turn < 2; turn++) {
        if (threadIdx.x == 0) {
            mine = 100 * blockIdx.x + turn;
            words[GRID_AT + blockIdx.x] += blockIdx.x + 1;
        }
        pelton::grid_barrier(words, 2 * turn);
        if (threadIdx.x == 7) {
            unsigned sum = 0;
            for (unsigned i = 0; i < blocks; i++) {
                sum += words[GRID_AT + i];
            }
            words[GRID_AT + blocks * (1 + turn) + blockIdx.x] = 1000 * mine + sum;
        }
        pelton::grid_barrier(words, 2 * turn + 1);
    }
}

// As above, but nobody waits.
extern "C" __global__ void all_see_all_without_barrier(Words words) {
    const unsigned blocks = gridDim.x;
    if (threadIdx.x == 0) {
        words[GRID_AT + blockIdx.x] += blockIdx.x + 1;
        unsigned sum = 0;
        for (unsigned i = 0; i < blocks; i++) {
            sum += words[GRID_AT + i];
        }
        words[GRID_AT + blocks + blockIdx.x] = sum;
    }
}

extern "C" __global__ void grid_barrier_not_reached(Words words) {
    if (blockIdx.x != 1) {
        pelton::grid_barrier(words, 0);
    }
}

extern "C" __global__ void grid_barriers_apart(Words words) { pelton::grid_barrier(words, blockIdx.x == 1); }

// Block 0 looks until the last block has written; no barrier, so only a launch whose blocks are all there ends.
extern "C" __global__ void looks_for_the_last(Words words) {
    if (threadIdx.x == 0 && blockIdx.x == gridDim.x - 1) {
        pelton::tell(words, 0, 1);
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) {
        while (pelton::now(words[0]) == 0) {
            __nanosleep(20);
        }
        words[1] = 7;
    }
}

static unsigned nested(unsigned depth) {
    volatile unsigned kept[256];
    kept[depth % 256] = depth;
    return depth == 0 ? 0 : nested(depth - 1) + kept[depth % 256];
}

// More stack than a device gives a thread, within what a fiber has.
extern "C" __global__ void deep(Words words) { words[threadIdx.x] = nested(20); }

}  // namespace checks
