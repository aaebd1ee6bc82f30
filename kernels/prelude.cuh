// What every CUDA kernel may count on, and nothing an operator knows.
//
// A kernel is a function, its body, and an entry point of the kernel's name that calls it: blocks of 256 threads, one
// dimension, more of them perhaps than the header asks for. Its arguments, in this order: the batch's header, its
// parameters when it has any, the batch's events when it reads them, and its buffers in the order of its record.
// Buffers begin at multiples of 16 bytes and hold whole quads of words, the events of a batch aside.
//
// Loads are plain ones, never those through the read-only cache: steps of one launch may read what others wrote.
#pragma once

#include <cstdint>

namespace pelton {

using u64 = unsigned long long;

constexpr uint32_t THREADS = 256;
constexpr uint32_t LANES = 32;
constexpr uint32_t WARPS = THREADS / LANES;
constexpr uint32_t ALL_LANES = 0xffffffffu;

// A buffer of words, as kernels get it; `len` is in words.
//
// The host's build reports an index outside. A device takes the last place instead, so that no data, however hostile,
// leads out of a buffer.
template <class Word, class Two, class Four> struct Buffer {
    Word* at;
    uint32_t len;
    uint32_t pad;

    __device__ __forceinline__ Word& operator[](uint32_t i) const { return *inside(i, 1); }
    // Two words from an even one on, the low one first; four from a multiple of four on.
    __device__ __forceinline__ Two& two(uint32_t i) const { return *reinterpret_cast<Two*>(inside(i, 2)); }
    __device__ __forceinline__ Four& four(uint32_t i) const { return *reinterpret_cast<Four*>(inside(i, 4)); }

    __device__ __forceinline__ Word* inside(uint32_t i, uint32_t count) const {
#ifdef CUDA_HOST
        cuda_host::check_access(at, i, count, len);
#endif
        return at + min(i, len - count);
    }
};
using Words = Buffer<uint32_t, u64, uint4>;
using ConstWords = Buffer<const uint32_t, const u64, const uint4>;
using Head = ConstWords;
using Events = ConstWords;

// A word that other threads change by atomics, as it is now.
template <class T> static __device__ __forceinline__ T now(const T& word) {
    return *const_cast<const volatile T*>(&word);
}

// Which of how many blocks this one is. A launch says so; in the resident kernel one block plays several in turn, so
// bodies that it runs are told.
struct Block {
    uint32_t index, count;
};
static __device__ __forceinline__ Block this_block() { return Block{blockIdx.x, gridDim.x}; }

static __device__ __forceinline__ u64 join(uint32_t low, uint32_t high) { return u64(high) << 32 | low; }
static __device__ __forceinline__ uint32_t low_of(u64 x) { return uint32_t(x); }
static __device__ __forceinline__ uint32_t high_of(u64 x) { return uint32_t(x >> 32); }

// One event of a batch. One of 16 bytes is loaded at once, others word by word, where they are used.
class Event {
  public:
    __device__ __forceinline__ Event(Events events, uint32_t index, uint32_t stride)
        : events(events), at(index * stride), whole(stride == 4 && (uintptr_t(events.at) & 15) == 0), words() {
        if (whole) {
            words = events.four(at);
        }
    }
    __device__ __forceinline__ uint32_t operator[](uint32_t i) const {
        if (!whole) {
            return events[at + i];
        }
        return i < 2 ? (i == 0 ? words.x : words.y) : (i == 2 ? words.z : words.w);
    }
    __device__ __forceinline__ u64 two(uint32_t i) const { return join((*this)[i], (*this)[i + 1]); }

  private:
    Events events;
    uint32_t at;
    bool whole;
    uint4 words;
};

static __device__ __forceinline__ uint32_t lane() { return threadIdx.x % LANES; }
static __device__ __forceinline__ uint32_t lanes_below() { return (1u << lane()) - 1; }

// A number for each warp of the block, given by its last lane: the sum of those before this warp's, and of all. All
// threads of the block call this and what is below.
static __device__ __forceinline__ uint32_t sum_before_warp(uint32_t mine, uint32_t& all) {
    __shared__ uint32_t of_warp[WARPS];
    const uint32_t warp = threadIdx.x / LANES;
    __syncthreads();
    if (lane() == LANES - 1) {
        of_warp[warp] = mine;
    }
    __syncthreads();
    uint32_t before = 0;
    all = 0;
    for (uint32_t i = 0; i < WARPS; i++) {
        before += i < warp ? of_warp[i] : 0;
        all += of_warp[i];
    }
    return before;
}

// The sum of the numbers of this thread and those before it, and of all.
static __device__ __forceinline__ uint32_t scan(uint32_t mine, uint32_t& all) {
    for (uint32_t step = 1; step < LANES; step *= 2) {
        const uint32_t more = __shfl_up_sync(ALL_LANES, mine, step);
        mine += lane() >= step ? more : 0;
    }
    return mine + sum_before_warp(mine, all);
}

// How many threads before this one say yes, and how many in all.
static __device__ __forceinline__ uint32_t rank(bool yes, uint32_t& all) {
    const uint32_t votes = __ballot_sync(ALL_LANES, yes);
    return sum_before_warp(__popc(votes), all) + __popc(votes & lanes_below());
}

// Places in a list, one for each thread that says yes, and how many there were: one addition a block.
static __device__ __forceinline__ uint32_t take_places(bool yes, uint32_t& counter, uint32_t& all) {
    __shared__ uint32_t first;
    const uint32_t before = rank(yes, all);
    if (threadIdx.x == 0) {
        first = all != 0 ? atomicAdd(&counter, all) : 0;
    }
    __syncthreads();
    return first + before;
}

}  // namespace pelton
