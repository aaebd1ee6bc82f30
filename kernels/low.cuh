// What both products share at low precision: rows are rounded and packed as they are read. Spec: src/ops/low.rs.
//
// A word is four codes or two of F16 or BF16, the first lowest; sixteen words of a row are taken at a time. P is the
// parameters of either product.
#pragma once

#include "encoder.cuh"

namespace pelton {

constexpr uint32_t F16 = 1;
constexpr uint32_t BF16 = 2;
constexpr uint32_t INT8 = 3;
// The bits of 2^-100, below which a row counts as zeros.
constexpr uint32_t LEAST = 0x0d800000;
constexpr uint32_t INFINITE = 0x7f800000;
// Rows of a block, at most.
constexpr uint32_t ROUNDED_MAX = 128;

// A block's rows: bits of the largest sizes, scales and their inverses.
struct Rates {
    uint32_t most[ROUNDED_MAX];
    float scales[ROUNDED_MAX];
    float inverses[ROUNDED_MAX];
};

// Four sums of codes.
struct Sums {
    int32_t x, y, z, w;
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

template <class P>
static __device__ __forceinline__ float scaled(const P& p, ConstWords a, ConstWords w, uint32_t t, uint32_t k) {
    return real(a[t * p.depth + k]) * real(w[p.smooth_at + k]);
}

// Finds the scales of `count` rows from `first` on; those beyond the batch are its last.
template <class P>
static __device__ __forceinline__ void scale_rows(const P& p, ConstWords a, ConstWords w, uint32_t first,
                                                  uint32_t count, uint32_t last, Rates& rates) {
    const uint32_t k = threadIdx.x;
    if (k < ROUNDED_MAX) {
        rates.most[k] = 0;
    }
    __syncthreads();
    const uint32_t threads = THREADS / count, row = k / threads;
    if (row < count) {
        uint32_t most = 0;
        for (uint32_t i = k % threads; i < p.depth; i += threads) {
            most = max(most, bits(scaled(p, a, w, min(first + row, last), i)) & 0x7fffffff);
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

static __device__ __forceinline__ uint32_t bf16(float x) {
    const uint32_t b = bits(x);
    return ((b & 0x7fffffff) > INFINITE ? b | 0x00400000 : b + 0x7fff + ((b >> 16) & 1)) >> 16;
}

static __device__ __forceinline__ uint32_t f16(float x) {
    const uint32_t size = bits(x) & 0x7fffffff, rounded = size + 0xfff + ((size >> 13) & 1);
    const uint32_t half = size > INFINITE           ? 0x7e00
                          : rounded >= 0x47800000 ? 0x7c00
                          : rounded < 0x38800000  ? 0
                                                  : (rounded - 0x38000000) >> 13;
    return half | (bits(x) >> 16 & 0x8000);
}

// Two values rounded, the first in the lower half.
template <class P>
static __device__ __forceinline__ uint32_t halves(const P& p, float x, float y) {
    return p.dtype == F16 ? f16(x) | f16(y) << 16 : bf16(x) | bf16(y) << 16;
}

// A word of token t, whose row has this inverse.
template <class P>
static __device__ __forceinline__ uint32_t word_of(const P& p, ConstWords a, ConstWords w, uint32_t t, float inverse,
                                                   uint32_t at) {
    if (p.dtype != INT8) {
        const uint32_t k = at * 2;
        return k < p.depth ? halves(p, real(a[t * p.depth + k]), real(a[t * p.depth + k + 1])) : 0;
    }
    const uint32_t k = at * 4;
    uint32_t word = 0;
    for (uint32_t i = 0; i < 4 && k < p.depth && inverse != 0.0f; i++) {
        word |= code(scaled(p, a, w, t, k + i), inverse) << (8 * i);
    }
    return word;
}

static __device__ __forceinline__ int32_t dot(int32_t sum, uint32_t a, uint32_t b) {
#ifdef CUDA_HOST
    for (int i = 0; i < 32; i += 8) {
        sum += int32_t(int8_t(a >> i)) * int32_t(int8_t(b >> i));
    }
    return sum;
#else
    return __dp4a(int32_t(a), int32_t(b), sum);
#endif
}

// The products of a word and four of weights, added to sums.
static __device__ __forceinline__ void dots(Sums& sums, uint32_t x, const uint4& v) {
    sums = {dot(sums.x, x, v.x), dot(sums.y, x, v.y), dot(sums.z, x, v.z), dot(sums.w, x, v.w)};
}

// The upper half of a word as what it stands for; `up` is 2^112, what an exponent says more in F16.
static __device__ __forceinline__ float upper(uint32_t dtype, uint32_t word, float up) {
    return dtype == F16 ? real(uint32_t(int32_t(word) >> 3) & 0x8fffe000) * up : real(word & 0xffff0000);
}

// The products of a word and four of weights, added to sums.
static __device__ __forceinline__ void pairs(uint32_t dtype, Quad& sums, uint32_t x, const uint4& v) {
    const float up = real(uint32_t(127 + 112) << 23);
    for (uint32_t left = 16;; left = 0) {
        const Quad weights = {upper(dtype, v.x << left, up), upper(dtype, v.y << left, up),
                              upper(dtype, v.z << left, up), upper(dtype, v.w << left, up)};
        sums.add_product(upper(dtype, x << left, up), weights);
        if (left == 0) {
            return;
        }
    }
}

// Sums of codes as what they stand for, in a row and four columns of these scales.
static __device__ __forceinline__ Quad valued(const Sums& sums, float scale, const Quad& scales) {
    return {float(sums.x) * (scale * scales.x), float(sums.y) * (scale * scales.y),
            float(sums.z) * (scale * scales.z), float(sums.w) * (scale * scales.w)};
}

}  // namespace pelton
