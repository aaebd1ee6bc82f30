// A linear layer, what came before it added, normalised: whole rows in a block.
//
// Twin of src/ops/gemm.rs. A thread has four rows of four columns; a row needs a quarter as many threads as it has
// columns, and a block takes as many groups of four rows as that leaves. Weights come straight from memory, a quad for
// sixteen products.
#include "low.cuh"

namespace pelton::gemm_norm {

struct GemmNormParams {
    uint32_t depth;
    uint32_t columns;
    uint32_t panels_at;
    uint32_t bias_at;
    uint32_t gamma_at;
    uint32_t beta_at;
    float eps;
    uint32_t dtype;
    uint32_t scales_at;
    uint32_t smooth_at;
    uint32_t pad0;
    uint32_t pad1;
};

// A row has eight threads at least.
constexpr uint32_t ROWS_MAX = THREADS / 8 * 4;

// The sums of what the `across` threads of four rows bring, for each of them.
static __device__ __forceinline__ Quad sums_of(uint32_t across, const Quad& x) {
    __shared__ Quad quads[THREADS];
    const uint32_t k = threadIdx.x, c = k % across;
    __syncthreads();
    quads[k] = x;
    __syncthreads();
    for (uint32_t half = THREADS / 2; half > 0; half /= 2) {
        if (c < half && c + half < across && k + half < THREADS) {
            quads[k].add(quads[k + half]);
        }
        __syncthreads();
    }
    return quads[k - c];
}

static __device__ __forceinline__ void normalise(const GemmNormParams& p, Quad& x, float variance, const Quad& gamma,
                                                 const Quad& beta) {
    const float scale = 1.0f / sqrtf(variance / float(p.columns) + p.eps);
    x = {x.x * scale * gamma.x + beta.x, x.y * scale * gamma.y + beta.y, x.z * scale * gamma.z + beta.z,
         x.w * scale * gamma.w + beta.w};
}

static __device__ __forceinline__ float squares(Quad& x, float sum, const GemmNormParams& p) {
    const float mean = sum / float(p.columns);
    x = {x.x - mean, x.y - mean, x.z - mean, x.w - mean};
    return Quad{x.x * x.x, x.y * x.y, x.z * x.z, x.w * x.w}.total();
}

static __device__ __forceinline__ void body(Head head, const GemmNormParams& p, ConstWords a, ConstWords w,
                                            ConstWords residual, Words out) {
    __shared__ uint32_t rows[ROWS_MAX * STEPS];
    __shared__ Rates rates;
    const uint32_t across = p.columns / 4;
    const uint32_t count = THREADS / across * 4;
    const uint32_t first = blockIdx.x * count;
    const uint32_t tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    const uint32_t column = threadIdx.x % across * 4;
    const uint32_t row = threadIdx.x / across * 4;
    Quad x[4] = {};
    if (p.dtype == 0) {
        const uint32_t own = p.panels_at + column / PANEL * PANEL * p.depth + column % PANEL;
        for (uint32_t from = 0; from < p.depth; from += STEPS) {
            __syncthreads();
            for (uint32_t i = threadIdx.x; i < count * STEPS; i += THREADS) {
                rows[i] = a[min(first + i / STEPS, tokens - 1) * p.depth + from + i % STEPS];
            }
            __syncthreads();
            // Threads that are left over have no rows.
            for (uint32_t step = 0; step < STEPS && row < count; step++) {
                const Quad weights = quad(w.four(own + (from + step) * PANEL));
                for (uint32_t i = 0; i < 4; i++) {
                    x[i].add_product(real(rows[(row + i) * STEPS + step]), weights);
                }
            }
        }
    } else {
        if (p.dtype == INT8) {
            scale_rows(p, a, w, first, count, tokens - 1, rates);
        }
        const uint32_t own = column_at(p, column);
        Sums whole[4] = {};
        for (uint32_t from = 0; from < row_words(p); from += STEPS) {
            __syncthreads();
            for (uint32_t i = threadIdx.x; i < count * STEPS; i += THREADS) {
                const uint32_t t = min(first + i / STEPS, tokens - 1);
                rows[i] = word_of(p, a, w, t, rates.inverses[i / STEPS], from + i % STEPS);
            }
            __syncthreads();
            for (uint32_t step = 0; step < STEPS && row < count; step++) {
                const uint4 weights = w.four(own + (from + step) * PANEL);
                for (uint32_t i = 0; i < 4; i++) {
                    if (p.dtype == INT8) {
                        dots(whole[i], rows[(row + i) * STEPS + step], weights);
                    } else {
                        pairs(p.dtype, x[i], rows[(row + i) * STEPS + step], weights);
                    }
                }
            }
        }
        const Quad scales = quad(w.four(p.scales_at + column));
        for (uint32_t i = 0; i < 4 && p.dtype == INT8 && row < count; i++) {
            x[i] = valued(whole[i], rates.scales[row + i], scales);
        }
    }
    const Quad bias = quad(w.four(p.bias_at + column));
    for (uint32_t i = 0; i < 4; i++) {
        x[i].add(bias);
        x[i].add(quad(residual.four(min(first + row + i, tokens - 1) * p.columns + column)));
    }
    const Quad sums = sums_of(across, {x[0].total(), x[1].total(), x[2].total(), x[3].total()});
    const Quad variance = sums_of(across, {squares(x[0], sums.x, p), squares(x[1], sums.y, p),
                                           squares(x[2], sums.z, p), squares(x[3], sums.w, p)});
    const Quad gamma = quad(w.four(p.gamma_at + column));
    const Quad beta = quad(w.four(p.beta_at + column));
    const float variances[4] = {variance.x, variance.y, variance.z, variance.w};
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t t = first + row + i;
        if (row < count && t < tokens) {
            normalise(p, x[i], variances[i], gamma, beta);
            out.four(t * p.columns + column) = words_of(x[i]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    gemm_norm(Head head, GemmNormParams p, ConstWords a, ConstWords w, ConstWords residual, Words out) {
    body(head, p, a, w, residual, out);
}

}  // namespace pelton::gemm_norm
