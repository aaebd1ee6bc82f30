// Half-precision floats as CUDA's header of this name has them: what converts them, nothing that computes with them.
//
// Kernels compute in f32 and keep halves in memory, so conversions are all they need. Bit by bit, because not every
// compiler of the host has the type.
#pragma once

#include "cuda_host.h"

namespace cuda_host {

// The bits of an f32 as those of a smaller float of so many exponent and significand bits, to the nearest, ties to
// even; a NaN keeps its upper bits and is quiet.
inline unsigned narrow(unsigned bits, int exponent_bits, int significand_bits) {
    const unsigned sign = bits >> 31 << (exponent_bits + significand_bits);
    const unsigned infinity = ((1u << exponent_bits) - 1) << significand_bits;
    const unsigned magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | infinity | 1u << (significand_bits - 1) | (magnitude & 0x7fffffu) >> (23 - significand_bits);
    }
    if (magnitude == 0x7f800000u) {
        return sign | infinity;
    }
    const int least = 2 - (1 << (exponent_bits - 1));
    const int exponent = max(static_cast<int>(magnitude >> 23), 1) - 127;
    const uint64_t significand = (magnitude & 0x7fffffu) | (magnitude >= 0x800000u ? 0x800000u : 0u);
    // Where the result's lowest bit lies in the significand; below the least exponent bits are lost.
    const int drop = min(23 - significand_bits + max(least - exponent, 0), 60);
    const uint64_t half = drop == 0 ? 0 : uint64_t{1} << (drop - 1);
    const uint64_t rest = significand & (2 * half - (drop > 0));
    uint64_t kept = significand >> drop;
    kept += drop > 0 && (rest > half || (rest == half && (kept & 1) == 1));
    // The hidden bit of `kept` adds one to the exponent by itself; so does a carry out of rounding.
    const uint64_t steps = static_cast<uint64_t>(max(exponent - least, 0)) << significand_bits;
    return sign | static_cast<unsigned>(min<uint64_t>(steps + kept, infinity));
}

// The bits of a smaller float as those of an f32.
inline unsigned widen(unsigned bits, int exponent_bits, int significand_bits) {
    const unsigned sign = bits >> (exponent_bits + significand_bits) << 31;
    const unsigned exponent = bits >> significand_bits & ((1u << exponent_bits) - 1);
    const unsigned significand = (bits & ((1u << significand_bits) - 1)) << (23 - significand_bits);
    if (exponent == (1u << exponent_bits) - 1) {
        return sign | 0x7f800000u | significand;
    }
    const int bias = (1 << (exponent_bits - 1)) - 1;
    if (exponent != 0) {
        return sign | static_cast<unsigned>(static_cast<int>(exponent) - bias + 127) << 23 | significand;
    }
    if (bias == 127) {
        return sign | significand;
    }
    // Subnormal: the significand times a power of two, both exact.
    const float unit = from_bits<float>(static_cast<unsigned>(1 - bias + 127 - 23) << 23);
    return sign | static_cast<unsigned>(to_bits(static_cast<float>(significand) * unit));
}

}  // namespace cuda_host

struct alignas(2) __half { unsigned short __x; };
struct alignas(4) __half2 { __half x, y; };
using half = __half;
using half2 = __half2;

inline __half __float2half_rn(float x) {
    return {static_cast<unsigned short>(cuda_host::narrow(__float_as_uint(x), 5, 10))};
}
inline __half __float2half(float x) { return __float2half_rn(x); }
inline float __half2float(__half x) { return __uint_as_float(cuda_host::widen(x.__x, 5, 10)); }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float __low2float(__half2 x) { return __half2float(x.x); }
inline float __high2float(__half2 x) { return __half2float(x.y); }
inline unsigned short __half_as_ushort(__half x) { return x.__x; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
