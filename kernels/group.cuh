// What the kernels that group events by id share: their parameters, and what the elements of a block are.
//
// Twin of src/ops/group.rs, which says how they work together. Each block takes 256 elements: a chunk's events in the
// first pass, and from then on what the pass before wrote.
#pragma once

#include "window.cuh"

namespace pelton {

struct GroupParams {
    uint32_t ids;
    uint32_t shift;
    uint32_t first;
    uint32_t columns;
};

constexpr uint32_t DIGITS = 256;
constexpr uint32_t SEGMENTS = 0;
constexpr uint32_t GROUPED = 1;
constexpr uint32_t LIST = 4;
constexpr uint32_t SEGMENT = 2;

// An id and the index of its event, as they lie in memory; the id is DROPPED where there is none.
struct Pair {
    uint32_t id, index;
};

static __device__ __forceinline__ Pair pair_at(ConstWords pairs, uint32_t at) {
    const u64 pair = pairs.two(2 * at);
    return Pair{low_of(pair), high_of(pair)};
}

// The element of this thread in a pass.
static __device__ __forceinline__ Pair element_of_thread(Block block, Head head, const GroupParams& p, ConstWords ids,
                                                         ConstWords pairs, ConstWords segments) {
    if (p.first == 0) {
        const uint32_t at = block.index * THREADS + threadIdx.x;
        return at < segments[GROUPED] ? pair_at(pairs, at) : Pair{DROPPED, 0};
    }
    const uint32_t chunk = FIXED_WORDS + block.index * CHUNK;
    const uint32_t index = head[chunk] + threadIdx.x;
    const uint32_t id = threadIdx.x < head[chunk + 1] ? ids[index] : DROPPED;
    return Pair{id < p.ids ? id : DROPPED, index};
}

// Whether the element at `at` of the sorted ones is the first of its id.
static __device__ __forceinline__ bool begins_segment(ConstWords pairs, uint32_t at) {
    return at == 0 || pair_at(pairs, at - 1).id != pair_at(pairs, at).id;
}

// The lanes of this warp that have the same digit; those without an element are among themselves.
static __device__ __forceinline__ uint32_t lanes_of_digit(uint32_t id, uint32_t digit) {
    return __match_any_sync(ALL_LANES, id == DROPPED ? DIGITS : digit);
}

}  // namespace pelton
