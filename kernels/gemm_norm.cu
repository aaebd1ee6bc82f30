// A linear layer, what came before it added, normalised: whole rows in a block.
//
// Twin of src/ops/gemm.rs. In F32 a thread has four rows of four columns; a row needs a quarter as many threads as it
// has columns, and a block takes as many groups of four rows as that leaves. At low precision a block takes sixteen
// rows, and its warps take turns at tiles of eight columns, which they multiply with units for matrices (mma.cuh).
// Weights come straight from memory, each once a block; sums go there, and a warp normalises a row where it lies.
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

// Rows of a block at low precision, and tiles of eight columns that a warp multiplies at a time.
constexpr uint32_t LOW_ROWS = 16;
constexpr uint32_t TILES = 8;

// Rows times the columns from `column` on that the warps take together, bias and what came before added.
template <uint32_t KIND>
static __device__ __forceinline__ void low(const GemmNormParams& p, uint32_t tokens, uint32_t first, uint32_t column,
                                           ConstWords a, ConstWords w, ConstWords residual, Words out, uint32_t* rows,
                                           const Rates& rates) {
    const uint32_t g = lane() / 4, t = lane() % 4, mine = column + threadIdx.x / LANES * 8;
    // From one of a warp's tiles to the next there are 64 columns, two panels.
    const uint32_t own = column_at(p, mine + g) + t * PANEL, apart = column_at(p, 2 * PANEL) - p.panels_at;
    Sum<KIND> sums[TILES][4] = {};
    for (uint32_t from = 0; from < row_words(p); from += STEPS) {
        __syncthreads();
        round_rows<KIND>(p, a, w, rates, first, LOW_ROWS, tokens - 1, from, rows);
        __syncthreads();
        for (uint32_t half = 0; half < STEPS; half += 8) {
            uint32_t row[4];
            load_rows(rows + half, row);
            UNROLLED for (uint32_t j = 0; j < TILES; j++) {
                if (mine + j * 64 < p.columns) {
                    const uint32_t at = own + j * apart + (from + half) * PANEL;
                    const uint32_t weights[2] = {w[at], w[at + 4 * PANEL]};
                    mma<KIND>(sums[j], row, weights);
                }
            }
        }
    }
    UNROLLED for (uint32_t j = 0; j < TILES; j++) {
        const uint32_t to = mine + j * 64 + t * 2;
        if (to < p.columns) {
            const u64 bias = w.two(p.bias_at + to), scales = KIND == INT8 ? w.two(p.scales_at + to) : 0;
            UNROLLED for (uint32_t i = 0; i < 2; i++) {
                const uint32_t row = i * 8 + g, at = (first + row) * p.columns + to;
                if (first + row < tokens) {
                    const float scale = KIND == INT8 ? rates.scales[row] : 0.0f;
                    const Neighbours y = valued(sums[j][2 * i], sums[j][2 * i + 1], scale, scales);
                    const u64 before = residual.two(at);
                    out.two(at) = join(bits(y.x + real(low_of(bias)) + real(low_of(before))),
                                       bits(y.y + real(high_of(bias)) + real(high_of(before))));
                }
            }
        }
    }
}

// Normalises rows where they lie, a warp a row.
static __device__ __forceinline__ void normalise_rows(const GemmNormParams& p, uint32_t first, uint32_t end,
                                                      ConstWords w, Words out) {
    for (uint32_t row = first + threadIdx.x / LANES; row < end; row += WARPS) {
        const uint32_t at = row * p.columns;
        float sum = 0, square = 0;
        for (uint32_t i = lane() * 2; i < p.columns; i += 2 * LANES) {
            const u64 x = out.two(at + i);
            sum += real(low_of(x)) + real(high_of(x));
        }
        const float mean = sum_of_warp(sum) / float(p.columns);
        for (uint32_t i = lane() * 2; i < p.columns; i += 2 * LANES) {
            const u64 x = out.two(at + i);
            const float y = real(low_of(x)) - mean, z = real(high_of(x)) - mean;
            square += y * y + z * z;
        }
        const float scale = 1.0f / sqrtf(sum_of_warp(square) / float(p.columns) + p.eps);
        for (uint32_t i = lane() * 2; i < p.columns; i += 2 * LANES) {
            const u64 x = out.two(at + i), gamma = w.two(p.gamma_at + i), beta = w.two(p.beta_at + i);
            const float y = (real(low_of(x)) - mean) * scale * real(low_of(gamma)) + real(low_of(beta));
            const float z = (real(high_of(x)) - mean) * scale * real(high_of(gamma)) + real(high_of(beta));
            out.two(at + i) = join(bits(y), bits(z));
        }
    }
}

static __device__ __forceinline__ void plain(const GemmNormParams& p, uint32_t tokens, ConstWords a, ConstWords w,
                                             ConstWords residual, Words out, uint32_t* rows) {
    const uint32_t across = p.columns / 4;
    const uint32_t count = THREADS / across * 4;
    const uint32_t first = blockIdx.x * count;
    if (first >= tokens) {
        return;
    }
    const uint32_t column = threadIdx.x % across * 4;
    const uint32_t row = threadIdx.x / across * 4;
    Quad x[4] = {};
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

static __device__ __forceinline__ void body(Head head, const GemmNormParams& p, ConstWords a, ConstWords w,
                                            ConstWords residual, Words out) {
    __shared__ uint32_t rows[ROWS_MAX * STEPS];
    __shared__ Rates rates;
    const uint32_t tokens = head[TOKENS];
    if (p.dtype == 0) {
        return plain(p, tokens, a, w, residual, out, rows);
    }
    // The grid is that of F32, whose blocks have fewer rows where there are many columns, and more where there are few.
    for (uint32_t first = blockIdx.x * LOW_ROWS; first < tokens; first += gridDim.x * LOW_ROWS) {
        if (p.dtype == INT8) {
            scale_rows(p, a, w, first, LOW_ROWS, tokens - 1, rates);
        }
        for (uint32_t column = 0; column < p.columns; column += TILES * WARPS * 8) {
            switch (p.dtype) {
                case F16: low<F16>(p, tokens, first, column, a, w, residual, out, rows, rates); break;
                case BF16: low<BF16>(p, tokens, first, column, a, w, residual, out, rows, rates); break;
                default: low<INT8>(p, tokens, first, column, a, w, residual, out, rows, rates);
            }
        }
        __syncthreads();
        normalise_rows(p, first, min(first + LOW_ROWS, tokens), w, out);
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    gemm_norm(Head head, GemmNormParams p, ConstWords a, ConstWords w, ConstWords residual, Words out) {
    body(head, p, a, w, residual, out);
}

}  // namespace pelton::gemm_norm
