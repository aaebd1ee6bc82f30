// Products of small matrices by the units that a warp has for them, and copies that do not wait: the inline
// PTX for sm_80 and up (wgmma.cuh has that for sm_90a). Each has a twin for the host, so that what a kernel does with
// fragments is tested.
//
// PTX ISA, "Matrix fragments for mma.m16n8k16" and "for mma.m16n8k32": of 16 rows of `a`, by 8 columns of `b`, a word
// holds two numbers of 16 bits or four codes next to each other in depth, and both kinds have 8 words of depth. With
// g = lane / 4 and t = lane % 4:
//
//   a[0] row g, word t        a[1] row g + 8, word t       a[2] row g, word t + 4      a[3] row g + 8, word t + 4
//   b[0] word t, column g     b[1] word t + 4, column g
//   sums[0], [1] row g, columns 2t, 2t + 1                 sums[2], [3] row g + 8, the same columns
#pragma once

#include "encoder.cuh"

namespace pelton {

constexpr uint32_t F16 = 1;
constexpr uint32_t BF16 = 2;
constexpr uint32_t INT8 = 3;
// The bits of an infinity.

// What a sum of a kind is.
template <uint32_t KIND> struct SumOf {
    using Type = float;
};
template <> struct SumOf<INT8> {
    using Type = int32_t;
};
template <uint32_t KIND> using Sum = typename SumOf<KIND>::Type;

// Before a loop over sums, which lie in registers only where their places are known; and before one whose code is long.
#ifdef CUDA_HOST
#define UNROLLED
#define ROLLED
#else
#define UNROLLED _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#endif

#ifdef CUDA_HOST

// What the lanes of a warp bring.
struct Fragments {
    uint32_t a[4], b[2];
};

static __device__ __forceinline__ Fragments* fragments_of_warp() {
    __shared__ Fragments fragments[WARPS][LANES];
    return fragments[threadIdx.x / LANES];
}

static __device__ __forceinline__ void add_word(int32_t& sum, uint32_t, uint32_t a, uint32_t b) {
    for (int i = 0; i < 32; i += 8) {
        sum += int32_t(int8_t(a >> i)) * int32_t(int8_t(b >> i));
    }
}
static __device__ __forceinline__ float half_at(uint32_t kind, uint32_t word, int at) {
    const uint32_t half = word >> at & 0xffff, sign = (half & 0x8000) << 16, size = (half & 0x7fff) << 13;
    const float up = real(uint32_t(127 + 112) << 23);
    return kind == BF16               ? real(half << 16)
           : (half & 0x7c00) == 0x7c00 ? real(sign | INFINITE | size)
                                       : real(sign | size) * up;
}
static __device__ __forceinline__ void add_word(float& sum, uint32_t kind, uint32_t a, uint32_t b) {
    for (int i = 0; i < 32; i += 16) {
        sum += half_at(kind, a, i) * half_at(kind, b, i);
    }
}

template <uint32_t KIND>
static __device__ __forceinline__ void mma(Sum<KIND> (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    Fragments* const all = fragments_of_warp();
    Fragments& own = all[lane()];
    std::copy(a, a + 4, own.a);
    std::copy(b, b + 2, own.b);
    __syncwarp();
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t group = lane() / 4 * 4, column = lane() % 4 * 2 + i % 2;
        for (uint32_t word = 0; word < 8; word++) {
            const uint32_t x = all[group + word % 4].a[word / 4 * 2 + i / 2];
            add_word(sums[i], KIND, x, all[column * 4 + word % 4].b[word / 4]);
        }
    }
    __syncwarp();
}

// Copies are made when they are waited for, so that what is read before is not there yet.
class Copies {
  public:
    void copy(uint4& to, const uint4& from) {
        if (count == sizeof(waiting) / sizeof(waiting[0])) {
            cuda_host::fail("more copies under way than a thread may have");
        }
        waiting[count++] = {&to, &from};
    }
    void wait() {
        for (; count > 0; count--) {
            *waiting[count - 1].to = *waiting[count - 1].from;
        }
    }

  private:
    struct {
        uint4* to;
        const uint4* from;
    } waiting[4];
    uint32_t count = 0;
};

#else

template <uint32_t KIND>
static __device__ __forceinline__ void mma(Sum<KIND> (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#define PELTON_MMA(shape, constraint)                                                                      \
    asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                 : constraint(sums[0]), constraint(sums[1]), constraint(sums[2]), constraint(sums[3])      \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
    if constexpr (KIND == INT8) {
        PELTON_MMA("m16n8k32.row.col.s32.s8.s8.s32", "+r");
    } else if constexpr (KIND == BF16) {
        PELTON_MMA("m16n8k16.row.col.f32.bf16.bf16.f32", "+f");
    } else {
        PELTON_MMA("m16n8k16.row.col.f32.f16.f16.f32", "+f");
    }
#undef PELTON_MMA
}

// Copies of four words from memory to a block's own, which go on while the thread does.
class Copies {
  public:
    __device__ __forceinline__ void copy(uint4& to, const uint4& from) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(uint32_t(__cvta_generic_to_shared(&to))),
                     "l"(__cvta_generic_to_global(&from))
                     : "memory");
    }
    // Until all of this thread's have come; a barrier tells the others.
    __device__ __forceinline__ void wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
};

#endif

}  // namespace pelton
