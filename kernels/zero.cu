// Zeroes a buffer.
//
// Twin of src/ops/merge.rs. Per thread 16 bytes written, neighbouring threads side by side; no atomic. Bound by these
// bytes.
#include "window.cuh"

namespace pelton::zero {

struct ZeroParams {
    uint32_t words;
    uint32_t pad0;
    uint32_t pad1;
    uint32_t pad2;
};

static __device__ __forceinline__ void body(const ZeroParams& p, Words words) {
    const uint32_t at = 4 * (blockIdx.x * THREADS + threadIdx.x);
    if (at < p.words && p.words - at >= 4) {
        words.four(at) = make_uint4(0, 0, 0, 0);
        return;
    }
    for (uint32_t word = at; word < p.words; word++) {
        words[word] = 0;
    }
}

extern "C" __global__ void __launch_bounds__(256) zero(Head, ZeroParams p, Words words) { body(p, words); }

}  // namespace pelton::zero
