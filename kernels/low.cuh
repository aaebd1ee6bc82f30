// What both products share at low precision: rows are rounded and packed as they are read, then multiplied by the units
// for matrices (mma.cuh). Spec: src/ops/low.rs.
//
// A word is four codes or two of F16 or BF16, the first lowest; sixteen words of a row are taken at a time. P is the
// parameters of either product.
#pragma once

#include "mma.cuh"

namespace pelton {

// The bits of 2^-100, below which a row counts as zeros.
constexpr uint32_t LEAST = 0x0d800000;
// Rows of a block, at most.
constexpr uint32_t ROUNDED_MAX = 128;
// Words from one rounded row to the next, so that the lanes of a warp read from banks of their own.
constexpr uint32_t ROW = STEPS + 4;

// A block's rows: bits of the largest sizes, scales and their inverses.
struct Rates {
    uint32_t most[ROUNDED_MAX];
    float scales[ROUNDED_MAX];
    float inverses[ROUNDED_MAX];
};

// Words of a row, those that fill its last step included.
template <class P> static __device__ __forceinline__ uint32_t row_words(const P& p) {
    return p.dtype == INT8 ? (p.depth + 63) / 64 * STEPS : (p.depth + 31) / 32 * STEPS;
}

// Where a column's weights begin: of each step of a panel a word, then for INT8 a row that this device has no use for.
template <class P> static __device__ __forceinline__ uint32_t column_at(const P& p, uint32_t column) {
    const uint32_t steps = row_words(p) + (p.dtype == INT8 ? 1 : 0);
    return p.panels_at + column / PANEL * PANEL * steps + column % PANEL;
}

// Four values of token t from k on, times their factors.
template <class P>
static __device__ __forceinline__ Quad scaled(const P& p, ConstWords a, ConstWords w, uint32_t t, uint32_t k) {
    const Quad x = quad(a.four(t * p.depth + k)), smooth = quad(w.four(p.smooth_at + k));
    return {x.x * smooth.x, x.y * smooth.y, x.z * smooth.z, x.w * smooth.w};
}

// Finds the scales of `count` rows from `first` on; those beyond the batch are its last.
template <class P>
static __device__ __forceinline__ void scale_rows(const P& p, ConstWords a, ConstWords w, uint32_t first,
                                                  uint32_t count, uint32_t last, Rates& rates) {
    constexpr uint32_t SIZE = 0x7fffffff;
    const uint32_t k = threadIdx.x;
    if (k < ROUNDED_MAX) {
        rates.most[k] = 0;
    }
    __syncthreads();
    const uint32_t threads = THREADS / count, row = k / threads;
    if (row < count) {
        uint32_t most = 0;
        for (uint32_t i = k % threads * 4; i < p.depth; i += threads * 4) {
            const uint4 x = words_of(scaled(p, a, w, min(first + row, last), i));
            most = max(max(most, max(x.x & SIZE, x.y & SIZE)), max(x.z & SIZE, x.w & SIZE));
        }
        atomicMax(&rates.most[row], most);
    }
    __syncthreads();
    if (k < count) {
        const uint32_t most = rates.most[k];
        const bool none = most < LEAST, wild = most >= INFINITE;
        const float size = real(none || wild ? bits(1.0f) : most);
        // A quiet NaN where there is an infinity or a NaN.
        rates.scales[k] = wild ? real(most | 0x00400000) : none ? 0.0f : size / 127.0f;
        rates.inverses[k] = wild || none ? 0.0f : 127.0f / size;
    }
    __syncthreads();
}

static __device__ __forceinline__ uint32_t code(float x, float inverse) {
    return uint32_t(int32_t(rintf(x * inverse))) & 0xff;
}

static __device__ __forceinline__ uint32_t f16(float x) {
    const uint32_t size = bits(x) & 0x7fffffff, rounded = size + 0xfff + ((size >> 13) & 1);
    const uint32_t half = size > INFINITE           ? 0x7e00
                          : rounded >= 0x47800000 ? 0x7c00
                          : rounded < 0x38800000  ? 0
                                                  : (rounded - 0x38000000) >> 13;
    return half | (bits(x) >> 16 & 0x8000);
}

template <uint32_t KIND> static __device__ __forceinline__ uint32_t half_word(float x, float y) {
    return KIND == F16 ? f16(x) | f16(y) << 16 : bf16(x) | bf16(y) << 16;
}

// A word of token t, whose row has this inverse.
template <uint32_t KIND, class P>
static __device__ __forceinline__ uint32_t word_of(const P& p, ConstWords a, ConstWords w, uint32_t t, float inverse,
                                                   uint32_t at) {
    const uint32_t k = at * (KIND == INT8 ? 4 : 2);
    if (k >= p.depth || (KIND == INT8 && inverse == 0.0f)) {
        return 0;
    }
    if constexpr (KIND == INT8) {
        const Quad x = scaled(p, a, w, t, k);
        return code(x.x, inverse) | code(x.y, inverse) << 8 | code(x.z, inverse) << 16 | code(x.w, inverse) << 24;
    }
    const u64 two = a.two(t * p.depth + k);
    return half_word<KIND>(real(low_of(two)), real(high_of(two)));
}

// Rounds `count` rows from `first` on, sixteen words from `at` on.
template <uint32_t KIND, class P>
static __device__ __forceinline__ void round_rows(const P& p, ConstWords a, ConstWords w, const Rates& rates,
                                                  uint32_t first, uint32_t count, uint32_t last, uint32_t at,
                                                  uint32_t* rows) {
    for (uint32_t i = threadIdx.x; i < count * STEPS; i += THREADS) {
        const uint32_t row = i / STEPS;
        const float inverse = KIND == INT8 ? rates.inverses[row] : 0.0f;
        rows[row * ROW + i % STEPS] = word_of<KIND>(p, a, w, min(first + row, last), inverse, at + i % STEPS);
    }
}

// A lane's share of sixteen rounded rows: eight words of depth.
static __device__ __forceinline__ void load_rows(const uint32_t* rows, uint32_t (&x)[4]) {
    const uint32_t* own = rows + lane() / 4 * ROW + lane() % 4;
    x[0] = own[0];
    x[1] = own[8 * ROW];
    x[2] = own[4];
    x[3] = own[8 * ROW + 4];
}

// Two neighbouring values of a row.
struct Neighbours {
    float x, y;
};

// Two neighbouring sums as what they stand for: codes, in a row and columns of these scales, or numbers.
static __device__ __forceinline__ Neighbours valued(int32_t x, int32_t y, float scale, u64 scales) {
    return {float(x) * (scale * real(low_of(scales))), float(y) * (scale * real(high_of(scales)))};
}
static __device__ __forceinline__ Neighbours valued(float x, float y, float, u64) { return {x, y}; }

}  // namespace pelton
