// A linear layer and its activation: 32 tokens by 64 columns a block, or 128 of many, 16 of the depth at a time.
//
// Twin of src/ops/gemm.rs. In F32 a thread has two rows of four columns: per step of the depth two words and one quad
// of shared memory for eight products. At low precision a step is a word of several values, and a warp multiplies rows
// by columns with its units for matrices (mma.cuh) while the next step's weights are on their way. A column's sum runs
// over the depth in order, in tiles of either height alike.
#include "gemm.cuh"

namespace pelton::gemm {

constexpr uint32_t ROWS = 32;
constexpr uint32_t COLUMNS = 64;
// Rows of a tall block, and tokens from which on blocks are tall: they read weights a quarter as often, and there are
// enough of them then.
constexpr uint32_t TALL_ROWS = 128;
constexpr uint32_t TALL_TOKENS = 1024;
// Words from one row of weights to the next, so that the lanes of a warp read from banks of their own.
constexpr uint32_t WEIGHTS = COLUMNS + 8;

// What a block of low precision keeps: this step's rows and weights, and the next one's.
struct Room {
    uint32_t rows[2][TALL_ROWS * ROW];
    uint4 weights[2][STEPS * WEIGHTS / 4];
};

// The part of a block's tile that is a warp's, and how it is multiplied: a warp has TILES of 16 rows each, of as many
// columns as ACROSS of them leave. Of the block's, `first` is the row, `column` the column that it begins at.
template <uint32_t KIND, uint32_t TILES, uint32_t ACROSS>
static __device__ __forceinline__ void low(const GemmParams& p, uint32_t tokens, ConstWords a, ConstWords w, Words out,
                                           uint32_t index, Room& room, Rates& rates) {
    constexpr uint32_t HEIGHT = TILES * 16 * WARPS / ACROSS, WIDTH = COLUMNS / 8 / ACROSS;
    const uint32_t across = (p.columns + COLUMNS - 1) / COLUMNS;
    const uint32_t first = index / across * HEIGHT, column = index % across * COLUMNS, last = tokens - 1;
    if (first >= tokens) {
        return;
    }
    const uint32_t warp = threadIdx.x / LANES, g = lane() / 4, t = lane() % 4;
    const uint32_t row = warp / ACROSS * TILES * 16, across_at = warp % ACROSS * WIDTH * 8;
    if constexpr (KIND == INT8) {
        scale_rows(p, a, w, first, HEIGHT, last, rates);
    }
    Copies copies;
    const uint32_t step = threadIdx.x / 16, quad_at = threadIdx.x % 16 * 4;
    const uint32_t own = column_at(p, min(column + quad_at, p.columns - 4)) + step * PANEL;
    const auto stage = [&](uint32_t from, uint32_t to) {
        copies.copy(room.weights[to][(step * WEIGHTS + quad_at) / 4], w.four(own + from * PANEL));
        round_rows<KIND>(p, a, w, rates, first, HEIGHT, last, from, room.rows[to]);
    };
    Sum<KIND> sums[TILES][WIDTH][4] = {};
    stage(0, 0);
    for (uint32_t from = 0, at = 0; from < row_words(p); from += STEPS, at ^= 1) {
        copies.wait();
        __syncthreads();
        if (from + STEPS < row_words(p)) {
            stage(from + STEPS, at ^ 1);
        }
        const uint32_t* weights = reinterpret_cast<const uint32_t*>(room.weights[at]) + across_at + g + t * WEIGHTS;
        for (uint32_t half = 0; half < STEPS; half += 8) {
            uint32_t x[TILES][4], y[2];
            UNROLLED for (uint32_t i = 0; i < TILES; i++) {
                load_rows(room.rows[at] + (row + i * 16) * ROW + half, x[i]);
            }
            UNROLLED for (uint32_t j = 0; j < WIDTH; j++) {
                y[0] = weights[half * WEIGHTS + j * 8];
                y[1] = weights[(half + 4) * WEIGHTS + j * 8];
                UNROLLED for (uint32_t i = 0; i < TILES; i++) {
                    mma<KIND>(sums[i][j], x[i], y);
                }
            }
        }
    }
    UNROLLED for (uint32_t j = 0; j < WIDTH; j++) {
        const uint32_t to = column + across_at + j * 8 + t * 2;
        const uint32_t known = min(to, p.columns - 2);
        const u64 bias = w.two(p.bias_at + known), scales = KIND == INT8 ? w.two(p.scales_at + known) : 0;
        UNROLLED for (uint32_t i = 0; i < 2 * TILES; i++) {
            const uint32_t of = row + i * 8 + g, high = i % 2 * 2;
            const float scale = KIND == INT8 ? rates.scales[of] : 0.0f;
            const Neighbours y = valued(sums[i / 2][j][high], sums[i / 2][j][high + 1], scale, scales);
            if (first + of < tokens && to < p.columns) {
                out.two((first + of) * p.columns + to) = join(bits(activated(p, y.x + real(low_of(bias)))),
                                                              bits(activated(p, y.y + real(high_of(bias)))));
            }
        }
    }
}

template <uint32_t KIND>
static __device__ __forceinline__ void low(const GemmParams& p, uint32_t tokens, ConstWords a, ConstWords w, Words out,
                                           Room& room, Rates& rates) {
    if (tokens >= TALL_TOKENS) {
        low<KIND, 2, 2>(p, tokens, a, w, out, blockIdx.x, room, rates);
    } else {
        low<KIND, 1, 4>(p, tokens, a, w, out, blockIdx.x, room, rates);
    }
}

static __device__ __forceinline__ void plain(const GemmParams& p, uint32_t tokens, ConstWords a, ConstWords w,
                                             Words out, uint32_t* rows, uint4* quads) {
    const uint32_t k = threadIdx.x;
    const uint32_t across = (p.columns + COLUMNS - 1) / COLUMNS;
    const uint32_t first = blockIdx.x / across * ROWS;
    if (first >= tokens) {
        return;
    }
    const uint32_t wanted = blockIdx.x % across * COLUMNS + k % 16 * 4;
    const uint32_t column = min(wanted, p.columns - 4);
    const uint32_t row = k / 16 * 2;
    Quad one = {}, two = {};
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
    const Quad bias = quad(w.four(p.bias_at + column));
    const uint32_t t = first + row;
    if (t < tokens && wanted == column) {
        finish(p, one, bias, out.four(t * p.columns + column));
    }
    if (t + 1 < tokens && wanted == column) {
        finish(p, two, bias, out.four((t + 1) * p.columns + column));
    }
}

static __device__ __forceinline__ void body(Head head, const GemmParams& p, ConstWords a, ConstWords w, Words out) {
    __shared__ Room room;
    __shared__ Rates rates;
    const uint32_t tokens = head[TOKENS];
    switch (p.dtype) {
        case F16: return low<F16>(p, tokens, a, w, out, room, rates);
        case BF16: return low<BF16>(p, tokens, a, w, out, room, rates);
        case INT8: return low<INT8>(p, tokens, a, w, out, room, rates);
        default: return plain(p, tokens, a, w, out, room.rows[0], room.weights[0]);
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    gemm(Head head, GemmParams p, ConstWords a, ConstWords w, Words out) {
    body(head, p, a, w, out);
}

}  // namespace pelton::gemm
