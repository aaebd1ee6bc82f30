// A linear layer and its activation at low precision on sm_90a: 64 tokens by 64 columns a tile, or 128 by 128 of many.
//
// Twin of src/ops/gemm.rs, launched in place of gemm.cu with a block for each multiprocessor at most, which takes one
// tile after another. Four warps put operands into shared memory, and four multiply what is there by wgmma (wgmma.cuh);
// between them go slots, each with a barrier for "full" and one for "empty". Both operands change on their way, so they
// pass through registers and not by bulk copies: activations are rounded, and columns of weights, which lie in panels,
// are turned. What a thread puts next is loaded a step before. A column's sum runs over the depth in order, in tiles of
// either size alike.
#include "gemm.cuh"
#include "wgmma.cuh"

namespace pelton::gemm_wgmma {

using gemm::GemmParams;

// Rows of a large tile, and columns.
constexpr uint32_t SIDE = 128;
// Tokens from which on tiles are large: they read weights and activations half as often.
constexpr uint32_t LARGE_TOKENS = 1024;
constexpr uint32_t SLOTS = 4;
// Words between two rows of sums, so that the lanes of a warp write to banks of their own.
constexpr uint32_t SUMS_PAD = 8;

// A block's shared memory: device/cuda/wgmma.rs knows its size.
struct Room {
    alignas(1024) uint4 rows[SLOTS][SIDE * PIECES];
    uint4 columns[SLOTS][SIDE * PIECES];
    alignas(16) uint32_t sums[WARPS / 2][16 * (SIDE + SUMS_PAD)];
    Rates rates;
    Barrier full[SLOTS];
    Barrier empty[SLOTS];
};
static_assert(sizeof(Room) == 164 << 10, "as SHARED_BYTES says there");

// A tile: its first row and column, and what it is of.
struct Task {
    GemmParams p;
    uint32_t tokens, first, column;
    ConstWords a, w;
};

// What a thread that brings operands is to put next: its piece of each of COUNT rows, as it lies in memory.
template <uint32_t KIND, uint32_t COUNT> class Rows {
    static constexpr uint32_t QUADS = KIND == INT8 ? 4 : 2;

  public:
    __device__ __forceinline__ explicit Rows(uint32_t thread) : row(thread / PIECES), piece(thread % PIECES) {}

    __device__ __forceinline__ void load(const Task& t, uint32_t step, uint32_t i) {
        const uint32_t k = first_value(step), token = min(t.first + row_of(i), t.tokens - 1);
        UNROLLED for (uint32_t j = 0; j < QUADS; j++) {
            values[i][j] = k < t.p.depth ? t.a.four(token * t.p.depth + k + 4 * j) : make_uint4(0, 0, 0, 0);
        }
    }
    // The factors of this step's values.
    __device__ __forceinline__ void load_factors(const Task& t, uint32_t step) {
        const uint32_t k = first_value(step);
        UNROLLED for (uint32_t j = 0; KIND == INT8 && j < QUADS; j++) {
            factors[j] = quad(k < t.p.depth ? t.w.four(t.p.smooth_at + k + 4 * j) : make_uint4(0, 0, 0, 0));
        }
    }
    __device__ __forceinline__ void put(Pieces& pieces, uint4* to, const Rates& rates, uint32_t i) const {
        const float inverse = KIND == INT8 ? rates.inverses[row_of(i)] : 0.0f;
        uint32_t words[PIECE_WORDS];
        UNROLLED for (uint32_t j = 0; j < PIECE_WORDS; j++) {
            words[j] = word(values[i], inverse, j);
        }
        pieces.put(to[swizzled(row_of(i), piece)], make_uint4(words[0], words[1], words[2], words[3]));
    }

  private:
    __device__ __forceinline__ uint32_t row_of(uint32_t i) const { return i * (WARPGROUP / PIECES) + row; }
    __device__ __forceinline__ uint32_t first_value(uint32_t step) const {
        return (step * PIECES + piece) * QUADS * 4;
    }
    __device__ __forceinline__ uint32_t word(const uint4 (&of)[QUADS], float inverse, uint32_t j) const {
        if constexpr (KIND == INT8) {
            const Quad x = quad(of[j]), smooth = factors[j];
            const uint32_t all = code(x.x * smooth.x, inverse) | code(x.y * smooth.y, inverse) << 8 |
                                 code(x.z * smooth.z, inverse) << 16 | code(x.w * smooth.w, inverse) << 24;
            return inverse == 0.0f ? 0 : all;
        }
        const uint4 four = of[j / 2];
        return half_word<KIND>(real(j % 2 == 0 ? four.x : four.z), real(j % 2 == 0 ? four.y : four.w));
    }

    uint32_t row, piece;
    uint4 values[COUNT][QUADS];
    Quad factors[QUADS];
};

// The same for COUNT pieces of columns, of which there are ACROSS.
template <uint32_t ACROSS, uint32_t COUNT> class Columns {
  public:
    __device__ __forceinline__ Columns(const Task& t, uint32_t thread)
        : column(thread % ACROSS), piece(thread / ACROSS),
          own(column_at(t.p, min(t.column + column, t.p.columns - 1))) {}

    __device__ __forceinline__ void load(const Task& t, uint32_t step, uint32_t i) {
        const uint32_t at = (step * PIECES + piece_of(i)) * PIECE_WORDS;
        // The depth ends with a step of sixteen words.
        const bool there = at < row_words(t.p);
        const auto word = [&](uint32_t j) { return there ? t.w[own + (at + j) * PANEL] : 0; };
        words[i] = make_uint4(word(0), word(1), word(2), word(3));
    }
    __device__ __forceinline__ void put(Pieces& pieces, uint4* to, uint32_t i) const {
        pieces.put(to[swizzled(column, piece_of(i))], words[i]);
    }

  private:
    __device__ __forceinline__ uint32_t piece_of(uint32_t i) const { return i * (WARPGROUP / ACROSS) + piece; }

    uint32_t column, piece, own;
    uint4 words[COUNT];
};

static __device__ __forceinline__ uint32_t word_of_sum(float sum) { return bits(sum); }
static __device__ __forceinline__ uint32_t word_of_sum(int32_t sum) { return uint32_t(sum); }

static __device__ __forceinline__ uint32_t steps_of(const GemmParams& p) {
    return (row_words(p) + ROW_WORDS - 1) / ROW_WORDS;
}

// Brings a tile's operands, step by step, each to the slot that is empty next; `turns` were taken before.
template <uint32_t KIND, uint32_t TILES, uint32_t WIDTH>
static __device__ __forceinline__ void bring(const Task& t, Room& room, uint32_t turns) {
    constexpr uint32_t ROWS = TILES * 64 * PIECES / WARPGROUP, ACROSS = WIDTH * 8;
    constexpr uint32_t COLUMNS = ACROSS * PIECES / WARPGROUP;
    const uint32_t thread = threadIdx.x - WARPGROUP, steps = steps_of(t.p);
    Rows<KIND, ROWS> rows(thread);
    Columns<ACROSS, COLUMNS> columns(t, thread);
    Pieces pieces;
    UNROLLED for (uint32_t i = 0; i < ROWS; i++) {
        rows.load(t, 0, i);
    }
    UNROLLED for (uint32_t i = 0; i < COLUMNS; i++) {
        columns.load(t, 0, i);
    }
    for (uint32_t step = 0; step < steps; step++) {
        const uint32_t turn = turns + step, slot = turn % SLOTS;
        const bool more = step + 1 < steps;
        rows.load_factors(t, step);
        // A slot is empty before it was ever full.
        room.empty[slot].wait(turn / SLOTS % 2 ^ 1);
        UNROLLED for (uint32_t i = 0; i < ROWS; i++) {
            rows.put(pieces, room.rows[slot], room.rates, i);
            if (more) {
                rows.load(t, step + 1, i);
            }
        }
        UNROLLED for (uint32_t i = 0; i < COLUMNS; i++) {
            columns.put(pieces, room.columns[slot], i);
            if (more) {
                columns.load(t, step + 1, i);
            }
        }
        pieces.publish(room.full[slot]);
    }
}

// What four sums stand for: codes, in a row and columns of these scales, or numbers.
template <uint32_t KIND>
static __device__ __forceinline__ Quad valued(const uint4& sums, float scale, const Quad& scales) {
    if constexpr (KIND == INT8) {
        return {float(int32_t(sums.x)) * (scale * scales.x), float(int32_t(sums.y)) * (scale * scales.y),
                float(int32_t(sums.z)) * (scale * scales.z), float(int32_t(sums.w)) * (scale * scales.w)};
    }
    return quad(sums);
}

// A warp's sixteen rows of sums, of the block's rows those from `row` on: they pass through shared memory, so that its
// lanes write whole rows, by code that is there once.
template <uint32_t KIND, uint32_t WIDTH>
static __device__ __forceinline__ void finish(const Task& t, Room& room, Words out, uint32_t row,
                                              const Sum<KIND> (&sums)[WIDTH][4]) {
    constexpr uint32_t APART = WIDTH * 8 + SUMS_PAD, QUADS = WIDTH * 2;
    uint32_t* const own = room.sums[threadIdx.x / LANES];
    uint32_t* const mine = own + lane() / 4 * APART + lane() % 4 * 2;
    __syncwarp();
    UNROLLED for (uint32_t j = 0; j < WIDTH * 4; j++) {
        mine[j % 4 / 2 * 8 * APART + j / 4 * 8 + j % 2] = word_of_sum(sums[j / 4][j % 4]);
    }
    __syncwarp();
    const uint32_t at = lane() % QUADS * 4, column = t.column + at, known = min(column, t.p.columns - 4);
    const Quad bias = quad(t.w.four(t.p.bias_at + known));
    const Quad scales = KIND == INT8 ? quad(t.w.four(t.p.scales_at + known)) : Quad{};
    ROLLED for (uint32_t i = lane() / QUADS; i < 16; i += LANES / QUADS) {
        const uint32_t token = t.first + row + i;
        const float scale = KIND == INT8 ? room.rates.scales[row + i] : 0.0f;
        const Quad y = valued<KIND>(*reinterpret_cast<const uint4*>(own + i * APART + at), scale, scales);
        if (token < t.tokens && column == known) {
            gemm::finish(t.p, y, bias, out.four(token * t.p.columns + column));
        }
    }
}

// Multiplies what is brought, and finishes the tile: TILES of 64 rows by WIDTH times eight columns.
template <uint32_t KIND, uint32_t TILES, uint32_t WIDTH>
static __device__ __forceinline__ void multiply(const Task& t, Room& room, Words out, uint32_t turns) {
    Sum<KIND> sums[TILES][WIDTH][4] = {};
    Products<KIND, WIDTH> products;
    const uint32_t steps = steps_of(t.p);
    for (uint32_t step = 0; step < steps; step++) {
        const uint32_t turn = turns + step, slot = turn % SLOTS;
        room.full[slot].wait(turn / SLOTS % 2);
        products.begin();
        UNROLLED for (uint32_t depth = 0; depth < DEPTHS; depth++) {
            const u64 columns = descriptor(room.columns[slot], depth);
            UNROLLED for (uint32_t i = 0; i < TILES; i++) {
                products.multiply(sums[i], descriptor(room.rows[slot] + i * 64 * PIECES, depth), columns);
            }
        }
        products.commit();
        // The products of the step before are made: its slot is empty.
        products.template wait<1>();
        if (step > 0) {
            room.empty[(turn - 1) % SLOTS].arrive();
        }
    }
    products.finish(sums);
    room.empty[(turns + steps - 1) % SLOTS].arrive();
    UNROLLED for (uint32_t i = 0; i < TILES; i++) {
        finish<KIND, WIDTH>(t, room, out, i * 64 + threadIdx.x / LANES * 16, sums[i]);
    }
}

// A block's tiles.
template <uint32_t KIND, uint32_t TILES, uint32_t WIDTH>
static __device__ __forceinline__ void tiles(Task t, Words out, Room& room) {
    constexpr uint32_t HEIGHT = TILES * 64, ACROSS = WIDTH * 8;
    const uint32_t across = (t.p.columns + ACROSS - 1) / ACROSS, count = (t.tokens + HEIGHT - 1) / HEIGHT * across;
    if (threadIdx.x < SLOTS) {
        room.full[threadIdx.x].init(WARPGROUP);
        room.empty[threadIdx.x].init(WARPGROUP);
    }
    __syncthreads();
    uint32_t turns = 0;
    for (uint32_t i = blockIdx.x; i < count; i += gridDim.x) {
        t.first = i / across * HEIGHT;
        t.column = i % across * ACROSS;
        if constexpr (KIND == INT8) {
            // Its barriers also part this tile's scales from those of the one before.
            scale_rows(t.p, t.a, t.w, t.first, HEIGHT, t.tokens - 1, room.rates);
        }
        if (threadIdx.x < WARPGROUP) {
            multiply<KIND, TILES, WIDTH>(t, room, out, turns);
        } else {
            bring<KIND, TILES, WIDTH>(t, room, turns);
        }
        turns += steps_of(t.p);
    }
}

template <uint32_t KIND> static __device__ __forceinline__ void low(const Task& t, Words out, Room& room) {
    if (t.tokens >= LARGE_TOKENS) {
        tiles<KIND, 2, 16>(t, out, room);
    } else {
        tiles<KIND, 1, 8>(t, out, room);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    gemm_wgmma(Head head, GemmParams p, ConstWords a, ConstWords w, Words out) {
    Room& room = launched_room<Room>();
    const Task t{p, head[TOKENS], 0, 0, a, w};
    switch (p.dtype) {
        case F16: return low<F16>(t, out, room);
        case BF16: return low<BF16>(t, out, room);
        default: return low<INT8>(t, out, room);
    }
}

}  // namespace pelton::gemm_wgmma
