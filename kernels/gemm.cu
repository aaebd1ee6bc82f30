// A linear layer and its activation: 32 tokens by 64 columns a block, 16 of the depth at a time.
//
// Twin of src/ops/gemm.rs. A thread has two rows of four columns: per step of the depth two words and one quad of
// shared memory for eight products. A column's sum runs over the depth in order. At low precision (low.cuh) a step is a
// word of several values.
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

constexpr uint32_t ROWS = 32;
constexpr uint32_t COLUMNS = 64;

static __device__ __forceinline__ float activated(const GemmParams& p, float x) {
    switch (p.activation) {
        case 1: return gelu_erf(x);
        case 2: return gelu_tanh(x);
        case 3: return x < 0.0f ? 0.0f : x;
        case 4: return tanh_of(x);
        default: return x;
    }
}

static __device__ __forceinline__ void finish(const GemmParams& p, Quad x, const Quad& bias, uint4& to) {
    x.add(bias);
    to = words_of({activated(p, x.x), activated(p, x.y), activated(p, x.z), activated(p, x.w)});
}

static __device__ __forceinline__ void body(Head head, const GemmParams& p, ConstWords a, ConstWords w, Words out) {
    __shared__ uint32_t rows[ROWS * STEPS];
    __shared__ uint4 quads[STEPS * COLUMNS / 4];
    __shared__ Rates rates;
    const uint32_t k = threadIdx.x;
    const uint32_t across = (p.columns + COLUMNS - 1) / COLUMNS;
    const uint32_t first = blockIdx.x / across * ROWS;
    const uint32_t tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    const uint32_t wanted = blockIdx.x % across * COLUMNS + k % 16 * 4;
    const uint32_t column = min(wanted, p.columns - 4);
    const uint32_t row = k / 16 * 2;
    Quad one = {}, two = {};
    if (p.dtype == 0) {
        const uint32_t own = p.panels_at + column / PANEL * PANEL * p.depth + column % PANEL;
        for (uint32_t from = 0; from < p.depth; from += STEPS) {
            __syncthreads();
            for (uint32_t i = k; i < ROWS * STEPS; i += THREADS) {
                rows[i] = a[min(first + i / STEPS, tokens - 1) * p.depth + from + i % STEPS];
            }
            quads[k] = w.four(own + (from + k / 16) * PANEL);
            __syncthreads();
            for (uint32_t step = 0; step < STEPS; step++) {
                const Quad x = quad(quads[step * 16 + k % 16]);
                one.add_product(real(rows[row * STEPS + step]), x);
                two.add_product(real(rows[(row + 1) * STEPS + step]), x);
            }
        }
    } else {
        if (p.dtype == INT8) {
            scale_rows(p, a, w, first, ROWS, tokens - 1, rates);
        }
        const uint32_t own = column_at(p, column);
        Sums whole_one = {}, whole_two = {};
        for (uint32_t from = 0; from < row_words(p); from += STEPS) {
            __syncthreads();
            for (uint32_t i = k; i < ROWS * STEPS; i += THREADS) {
                const uint32_t t = min(first + i / STEPS, tokens - 1);
                rows[i] = word_of(p, a, w, t, rates.inverses[i / STEPS], from + i % STEPS);
            }
            quads[k] = w.four(own + (from + k / 16) * PANEL);
            __syncthreads();
            for (uint32_t step = 0; step < STEPS; step++) {
                const uint4 x = quads[step * 16 + k % 16];
                if (p.dtype == INT8) {
                    dots(whole_one, rows[row * STEPS + step], x);
                    dots(whole_two, rows[(row + 1) * STEPS + step], x);
                } else {
                    pairs(p.dtype, one, rows[row * STEPS + step], x);
                    pairs(p.dtype, two, rows[(row + 1) * STEPS + step], x);
                }
            }
        }
        if (p.dtype == INT8) {
            const Quad scales = quad(w.four(p.scales_at + column));
            one = valued(whole_one, rates.scales[row], scales);
            two = valued(whole_two, rates.scales[row + 1], scales);
        }
    }
    const Quad bias = quad(w.four(p.bias_at + column));
    const uint32_t t = first + row;
    if (t < tokens && wanted == column) {
        finish(p, one, bias, out.four(t * p.columns + column));
    }
    if (t + 1 < tokens && wanted == column) {
        finish(p, two, bias, out.four((t + 1) * p.columns + column));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    gemm(Head head, GemmParams p, ConstWords a, ConstWords w, Words out) {
    body(head, p, a, w, out);
}

}  // namespace pelton::gemm
