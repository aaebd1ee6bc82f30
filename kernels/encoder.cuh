// What the kernels of an encoder share: the header of packed tokens, functions, sums. See src/ops/tokens.rs, float.rs.
#pragma once

#include "prelude.cuh"

#include <cmath>

namespace pelton {

constexpr uint32_t TOKENS = 0;
constexpr uint32_t SEQUENCES = 1;
constexpr uint32_t TILES = 2;
constexpr uint32_t IDS_AT = 3;
constexpr uint32_t PLACES_AT = 4;
constexpr uint32_t STARTS_AT = 5;
constexpr uint32_t TILES_AT = 6;
// Columns of a panel of weights.
constexpr uint32_t PANEL = 32;
// Steps of the depth that a product takes at a time.
constexpr uint32_t STEPS = 16;

static __device__ __forceinline__ float real(uint32_t bits) { return __uint_as_float(bits); }
static __device__ __forceinline__ uint32_t bits(float x) { return __float_as_uint(x); }

// One product added to a sum, rounded once; the host, for which that would be a call, rounds twice.
static __device__ __forceinline__ float add_product(float sum, float a, float b) {
#ifdef CUDA_HOST
    return sum + a * b;
#else
    return fmaf(a, b, sum);
#endif
}

// Four values.
struct Quad {
    float x, y, z, w;

    __device__ __forceinline__ void add_product(float a, const Quad& b) {
        x = pelton::add_product(x, a, b.x);
        y = pelton::add_product(y, a, b.y);
        z = pelton::add_product(z, a, b.z);
        w = pelton::add_product(w, a, b.w);
    }
    __device__ __forceinline__ void add(const Quad& b) {
        x += b.x;
        y += b.y;
        z += b.z;
        w += b.w;
    }
    __device__ __forceinline__ float total() const { return (x + y) + (z + w); }
};

static __device__ __forceinline__ Quad quad(uint4 words) {
    return {real(words.x), real(words.y), real(words.z), real(words.w)};
}
static __device__ __forceinline__ uint4 words_of(const Quad& x) {
    return make_uint4(bits(x.x), bits(x.y), bits(x.z), bits(x.w));
}

constexpr uint32_t INFINITE = 0x7f800000;

// The bits of the nearest BF16.
static __device__ __forceinline__ uint32_t bf16(float x) {
    const uint32_t b = bits(x);
    return ((b & 0x7fffffff) > INFINITE ? b | 0x00400000 : b + 0x7fff + ((b >> 16) & 1)) >> 16;
}

// e^x for x that is not positive, or hardly; below -87 it is that of -87.
static __device__ __forceinline__ float exp_neg(float x) {
    x = x > -87.0f ? x : -87.0f;
    const int n = int(x * 1.4426950408889634f - 0.5f);
    const float whole = float(n);
    const float r = (x - whole * 0.6933594f) + whole * 0.00021219444f;
    float q = 0.001388888888888889f + r * 0.0001984126984126984f;
    q = 0.041666666666666664f + r * (0.008333333333333333f + r * q);
    q = 1.0f + r * (1.0f + r * (0.5f + r * (0.16666666666666666f + r * q)));
    return q * real(uint32_t(n + 127) << 23);
}

static __device__ __forceinline__ float gelu_erf(float x) {
    float z = fabsf(x) * 0.7071067811865476f;
    z = z < 9.0f ? z : 9.0f;
    const float t = 1.0f / (1.0f + 0.5f * z);
    float q = 0.13771698f;
    q = q * t - 0.6411484f;
    q = q * t + 1.0622663f;
    q = q * t - 0.56880635f;
    q = q * t - 0.1873603f;
    q = q * t + 0.059204828f;
    q = q * t + 0.014477708f;
    q = q * t + 0.39095455f;
    q = q * t + 0.99811643f;
    q = q * t - 1.2654217f;
    const float tail = t * exp_neg(q - z * z);
    return 0.5f * x * (x > 0.0f ? 2.0f - tail : tail);
}

static __device__ __forceinline__ float gelu_tanh(float x) {
    const float u = 0.7978846f * (x + 0.044715f * x * x * x);
    const float e = exp_neg(-2.0f * fabsf(u));
    const float share = 1.0f / (1.0f + e);
    return x * (u > 0.0f ? share : e * share);
}

static __device__ __forceinline__ float tanh_of(float x) {
    const float e = exp_neg(-2.0f * fabsf(x));
    const float far = (1.0f - e) / (1.0f + e);
    const float z = x * x;
    const float near = -0.053968254f + z * (0.021869488f + z * -0.008863236f);
    const float close = x + x * z * (-0.33333334f + z * (0.13333334f + z * near));
    return fabsf(x) >= 0.25f ? (x < 0.0f ? -far : far) : close;
}

// The sum of what the threads of a warp bring, for each of them; the order is that of a tree.
static __device__ __forceinline__ float sum_of_warp(float x) {
    for (int half = LANES / 2; half > 0; half /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, half);
    }
    return x;
}

// The sum of what the threads of a block bring, for each of them.
static __device__ __forceinline__ float sum_of_block(float x) {
    __shared__ float of_warp[WARPS];
    x = sum_of_warp(x);
    __syncthreads();
    if (lane() == 0) {
        of_warp[threadIdx.x / LANES] = x;
    }
    __syncthreads();
    float all = 0;
    for (uint32_t i = 0; i < WARPS; i++) {
        all += of_warp[i];
    }
    return all;
}

}  // namespace pelton
