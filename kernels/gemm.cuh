// What the kernels of a linear layer and its activation share: gemm.cu, and gemm_wgmma.cu for sm_90a.
#pragma once

#include "low.cuh"

namespace pelton::gemm {

struct GemmParams {
    uint32_t depth;
    uint32_t columns;
    uint32_t panels_at;
    uint32_t bias_at;
    uint32_t activation;
    uint32_t dtype;
    uint32_t scales_at;
    uint32_t smooth_at;
};

static __device__ __forceinline__ float activated(const GemmParams& p, float x) {
    switch (p.activation) {
        case 1: return gelu_erf(x);
        case 2: return gelu_tanh(x);
        case 3: return x < 0.0f ? 0.0f : x;
        case 4: return tanh_of(x);
        case 5: return real(bf16(x) << 16);
        default: return x;
    }
}

// Four sums and their bias, activated.
static __device__ __forceinline__ void finish(const GemmParams& p, Quad x, const Quad& bias, uint4& to) {
    x.add(bias);
    to = words_of({activated(p, x.x), activated(p, x.y), activated(p, x.z), activated(p, x.w)});
}

}  // namespace pelton::gemm
