// Adds each event's value to the accumulator row of its key and slice.
//
// Twin of src/ops/fold.rs. Per event: its 16 bytes in one load, or 4 of value and 8 of time where several spans need
// it; 4 of id. A block adds up its events by row in shared memory, by atomics of 32 bits, and then each row goes out
// once: one atomic for the count, two for the extremes where they grow, one of 64 bits for the sum, two for the
// squares, one for each limb used of the exact sum. So a hot key costs a block no more than any other, and rows that
// lie at random bound it: a sector of 32 bytes read and written per block and row for sum, minimum and maximum.
#include "window.cuh"

namespace pelton::fold {

// Words of a row without its ends, at most; and those of each thread's own, a column in shared memory.
constexpr uint32_t SUMS = 30;

struct Sums {
    uint32_t* column;
    __device__ __forceinline__ uint32_t& operator[](uint32_t word) const { return column[word * THREADS]; }
    __device__ __forceinline__ u64 two(uint32_t word) const { return join((*this)[word], (*this)[word + 1]); }

    __device__ __forceinline__ void grow(uint32_t word, uint32_t x) const {
        if (now((*this)[word]) < x) {
            atomicMax(&(*this)[word], x);
        }
    }
    // Each wrap of the low word is seen by exactly one addition, which carries it. Whether the high word wrapped.
    __device__ __forceinline__ bool add64(uint32_t word, u64 x) const {
        const uint32_t old = atomicAdd(&(*this)[word], low_of(x));
        const uint32_t carry = old + low_of(x) < old;
        if (high_of(x) + carry == 0) {
            return (high_of(x) & carry) != 0;
        }
        const u64 high = u64(atomicAdd(&(*this)[word + 1], high_of(x) + carry)) + high_of(x) + carry;
        return high_of(high) != 0;
    }
};

// An integer that sorts as the value does.
static __device__ __forceinline__ uint32_t ordered(uint32_t kind, uint32_t bits) {
    if (kind == I32) {
        return bits ^ 0x80000000u;
    }
    return bits >> 31 == 1 ? ~bits : bits | 0x80000000u;
}

// The significand of a float, its hidden bit included.
static __device__ __forceinline__ uint32_t significand_of(uint32_t bits, uint32_t exponent) {
    return (bits & 0x7fffff) | (exponent > 0 ? 0x800000 : 0);
}

struct Fixed {
    int32_t x;
    bool fits;
};

// The value in fixed point, ties to even, and whether it fits an i32.
static __device__ __forceinline__ Fixed fixed_point(const RowParams& p, uint32_t bits) {
    if (p.kind == I32) {
        return Fixed{int32_t(bits), true};
    }
    const uint32_t exponent = bits >> 23 & 0xff;
    const uint32_t significand = significand_of(bits, exponent);
    // The value is the significand times 2 to the power of (up - down).
    const uint32_t up = max(exponent, 1u) + p.fraction;
    const uint32_t down = 150;
    uint32_t magnitude = 0;
    if (exponent == 255 || up > down + 8) {
        return Fixed{0, false};
    } else if (up >= down) {
        magnitude = significand << (up - down);
    } else if (down - up < 26) {
        const uint32_t shift = down - up;
        const uint32_t half = 1u << (shift - 1);
        const uint32_t rest = significand & (2 * half - 1);
        magnitude = significand >> shift;
        magnitude += rest > half || (rest == half && (magnitude & 1) == 1);
    }
    const uint32_t negative = bits >> 31;
    return Fixed{int32_t(negative == 1 ? 0u - magnitude : magnitude), magnitude <= 0x7fffffffu + negative};
}

// Adds a finite f32 to the limbs of an exact sum.
static __device__ __forceinline__ void add_exact(const Sums& sums, uint32_t at, uint32_t bits) {
    const uint32_t exponent = bits >> 23 & 0xff;
    const uint32_t place = max(exponent, 1u) - 1;
    const u64 shifted = u64(significand_of(bits, exponent)) << (place & 31);
    const u64 halves[2] = {low_of(shifted), high_of(shifted)};
    for (uint32_t i = 0; i < 2; i++) {
        if (halves[i] != 0) {
            sums.add64(at + 2 * ((place >> 5) + i), bits >> 31 == 1 ? 0 - halves[i] : halves[i]);
        }
    }
}

// Adds one event's value to a row's sums; the ends are not touched.
static __device__ __forceinline__ void add_value(const RowParams& p, const Sums& sums, uint32_t word) {
    atomicAdd(&sums[COUNT], 1u);
    if (p.parts == 0) {
        return;
    }
    const uint32_t bits = value_bits(p.kind, word);
    if (value_is_nan(p.kind, bits)) {
        atomicAdd(&sums[NAN_COUNT], 1u);
        return;
    }
    if ((p.parts & EXTREMES) != 0) {
        const uint32_t key = ordered(p.kind, bits);
        sums.grow(p.extremes, ~key);
        sums.grow(p.extremes + 1, key);
    }
    if ((p.parts & FIXED) != 0) {
        const Fixed fixed = fixed_point(p, bits);
        if (!fixed.fits) {
            atomicAdd(&sums[OUTSIDE], 1u);
        } else {
            const long long x = fixed.x;
            sums.add64(p.fixed, u64(x));
            if ((p.parts & SQUARES) != 0) {
                // A block's sum of squares stays below 2^70.
                if (sums.add64(p.squares, u64(x * x))) {
                    atomicAdd(&sums[p.squares + 2], 1u);
                }
            }
        }
    }
    if ((p.parts & EXACT) != 0) {
        if ((bits & 0x7f800000u) == 0x7f800000u) {
            atomicAdd(&sums[OUTSIDE], 1u);
        } else {
            add_exact(sums, p.exact, bits);
        }
    }
}

static __device__ __forceinline__ void send(uint32_t& word, uint32_t x) {
    if (x != 0) {
        atomicAdd(&word, x);
    }
}

static __device__ __forceinline__ void send64(u64& words, u64 x) {
    if (x != 0) {
        atomicAdd(&words, x);
    }
}

static __device__ __forceinline__ void send_growth(uint32_t& word, uint32_t x) {
    if (now(word) < x) {
        atomicMax(&word, x);
    }
}

// Adds a row's sums of this block to the row.
static __device__ __forceinline__ void send_row(const RowParams& p, const Sums& sums, Words rows, uint32_t row) {
    send(rows[row + COUNT], sums[COUNT]);
    if (p.parts == 0) {
        return;
    }
    send(rows[row + NAN_COUNT], sums[NAN_COUNT]);
    send(rows[row + OUTSIDE], sums[OUTSIDE]);
    if ((p.parts & EXTREMES) != 0) {
        send_growth(rows[row + p.extremes], sums[p.extremes]);
        send_growth(rows[row + p.extremes + 1], sums[p.extremes + 1]);
    }
    if ((p.parts & FIXED) != 0) {
        send64(rows.two(row + p.fixed), sums.two(p.fixed));
    }
    if ((p.parts & SQUARES) != 0) {
        const u64 x = sums.two(p.squares);
        const u64 old = atomicAdd(&rows.two(row + p.squares), x);
        send64(rows.two(row + p.squares + 2), sums[p.squares + 2] + (old + x < old));
    }
    if ((p.parts & EXACT) != 0) {
        for (uint32_t limb = p.exact; limb < p.exact + 2 * LIMBS; limb += 2) {
            send64(rows.two(row + limb), sums.two(limb));
        }
    }
}

static __device__ __forceinline__ void body(Block block, Head head, const RowParams& p, Events events, ConstWords ids,
                                            ConstWords map, Words rows) {
    __shared__ Speakers speakers;
    __shared__ uint32_t columns[SUMS * THREADS];
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    const uint32_t index = chunk.first + threadIdx.x;
    const uint32_t id = threadIdx.x < chunk.events ? ids[index] : DROPPED;
    uint32_t value = 0;
    u64 time = 0;
    if (id < ASIDE) {
        const Event event(events, index, p.stride);
        value = event[p.value_word];
        time = by_time(chunk) ? event.two(p.time_word) : 0;
    }
    const uint32_t words = p.parts == 0 ? 1 : p.first != 0 ? p.first : p.last != 0 ? p.last : p.row_words;
    const Sums mine{columns + threadIdx.x};
    for (uint32_t i = 0; i < spans_each(chunk); i++) {
        uint32_t row = NO_ROW;
        if (id < ASIDE) {
            row = row_at(head, slot_of(head, chunk, i, time), p, map, id);
        }
        begin_speakers(speakers, row);
        for (uint32_t word = 0; word < min(words, SUMS); word++) {
            mine[word] = 0;
        }
        __syncthreads();
        const uint32_t speaker = row != NO_ROW ? speaker_for(speakers, row) : THREADS;
        if (row != NO_ROW) {
            add_value(p, Sums{columns + speaker}, value);
        }
        __syncthreads();
        if (speaker == threadIdx.x) {
            send_row(p, mine, rows, row);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    fold(Head head, RowParams p, Events events, ConstWords ids, ConstWords map, Words rows) {
    body(this_block(), head, p, events, ids, map, rows);
}

}  // namespace pelton::fold
