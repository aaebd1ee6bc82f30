// Headers, keys, rows and values, as src/ops lays them out: what the kernels of operators share.
//
// Numbers of 64 bits lie in two words, the low one first, on an even word wherever a row or a table holds one, so
// that one atomic of 64 bits adds to them; the sequence number of an end is the exception.
#pragma once

#include "prelude.cuh"

namespace pelton {

// The header of an ingest batch, as src/ops/batch.rs lays it out.
constexpr uint32_t GROUPS = 0;
constexpr uint32_t CHUNKS = 2;
constexpr uint32_t SPANS_AT = 3;
constexpr uint32_t TABLE_MASK = 4;
constexpr uint32_t SEED = 5;
constexpr uint32_t FROZEN = 9;
constexpr uint32_t GENERATION = 10;
constexpr uint32_t DENSE_KEYS = 11;
constexpr uint32_t FIXED_WORDS = 16;
constexpr uint32_t CHUNK = 12;
constexpr uint32_t SPAN = 4;
constexpr uint32_t ALL = 0x80000000u;

// Ids that are none; flags of an id that is still a table slot, that is still an event, whose record is not written.
constexpr uint32_t DROPPED = 0xffffffffu;
constexpr uint32_t ASIDE = 0xfffffffeu;
constexpr uint32_t PENDING = 0x80000000u;
constexpr uint32_t FOLLOW = 0x40000000u;
constexpr uint32_t NEW = 0x20000000u;

// The output of an ingest batch.
constexpr uint32_t OUT_FIXED = 8;
constexpr uint32_t OUT_KEYS = 1;
constexpr uint32_t OUT_ASIDE = 2;
constexpr uint32_t OUT_PROBES = 3;
constexpr uint32_t OUT_FREE = 4;
constexpr uint32_t OUT_FILL = 5;

// Whether a block is one that the header did not ask for.
static __device__ __forceinline__ bool past_grid(Head head, Block block = this_block()) {
    return block.index >= head[GROUPS];
}

struct Chunk {
    uint32_t first, events, spans_at, spans;
    bool all;
    uint32_t lane;
    u64 seq;
};

// The chunk of a block; one of no events when there is none.
static __device__ __forceinline__ Chunk chunk_of_block(Head head, Block block = this_block()) {
    if (block.index >= head[CHUNKS]) {
        return Chunk{};
    }
    const uint32_t at = FIXED_WORDS + block.index * CHUNK;
    const uint32_t spans = head[at + 3];
    return Chunk{head[at],
                 head[at + 1],
                 head[SPANS_AT] + head[at + 2] * SPAN,
                 spans & ~ALL,
                 (spans & ALL) != 0,
                 head[at + 4],
                 join(head[at + 5], head[at + 6])};
}

// How many spans each event of the chunk goes to: all of them, or one.
static __device__ __forceinline__ uint32_t spans_each(const Chunk& chunk) {
    return chunk.all ? chunk.spans : min(chunk.spans, 1u);
}

// Whether the time of the chunk's events says which span they go to.
static __device__ __forceinline__ bool by_time(const Chunk& chunk) { return chunk.spans > 1 && !chunk.all; }

// Where the header names the slot of the `i`-th span that an event at `time` goes to.
static __device__ __forceinline__ uint32_t slot_of(Head head, const Chunk& chunk, uint32_t i, u64 time) {
    if (by_time(chunk)) {
        // The last that begins before the event, or the first.
        for (i = chunk.spans - 1; i > 0; i--) {
            const uint32_t at = chunk.spans_at + i * SPAN;
            if (join(head[at], head[at + 1]) <= time) {
                break;
            }
        }
    }
    return chunk.spans_at + i * SPAN + 2;
}

// Keys, as src/ops/keys.rs lays them out.
struct KeysParams {
    uint32_t stride;
    uint32_t key_word;
    uint32_t key_words;
    uint32_t record_words;
    uint32_t filtered;
    uint32_t expires;
    uint32_t first_slot;
    uint32_t page_slots;
    uint32_t first_id;
    uint32_t page_ids;
    uint32_t pad0;
    uint32_t pad1;
};
constexpr uint32_t COUNTS_BASE = 0;
constexpr uint32_t COUNTS_FREE = 1;
constexpr uint32_t COUNTS_TAKEN = 2;
constexpr uint32_t COUNTS_FILL = 4;
constexpr uint32_t COUNTS_LIST = 260;

// The page of the table that a kernel binds.
struct TablePage {
    uint32_t first, mask, whole;

    __device__ __forceinline__ TablePage(Head head, const KeysParams& p)
        : first(p.first_slot), mask(min(head[TABLE_MASK], p.page_slots - 1)), whole(head[TABLE_MASK]) {}

    // Whether keys of this hash are in this page; the slot in it at which they are looked for first.
    __device__ __forceinline__ bool has(uint32_t hash) const { return (hash & whole & ~mask) == first; }
    __device__ __forceinline__ uint32_t home(uint32_t hash) const { return hash & mask; }
    // Whether there are other pages; where `counts` has the number of this one's keys then.
    __device__ __forceinline__ bool has_others() const { return mask < whole; }
    __device__ __forceinline__ uint32_t fill() const { return COUNTS_FILL + first / (mask + 1); }
};

// The key of an event, by its index in the batch; what a key of one word lacks is zero.
static __device__ __forceinline__ u64 key_of(const KeysParams& p, Events events, uint32_t index) {
    const Event event(events, index, p.stride);
    return join(event[p.key_word], p.key_words == 2 ? event[p.key_word + 1] : 0);
}

// The keyed hash of src/ops/keys.rs.
static __device__ __forceinline__ uint32_t key_hash(Head head, u64 key) {
    uint32_t x = (low_of(key) ^ head[SEED]) * (head[SEED + 2] | 1);
    x ^= x >> 15;
    x = (x ^ high_of(key) ^ head[SEED + 1]) * (head[SEED + 3] | 1);
    return x ^ x >> 16;
}

// Notes the events that are set aside in the batch's output. All threads of the block call it.
static __device__ __forceinline__ void set_aside(Words out, bool aside, uint32_t event) {
    uint32_t all;
    const uint32_t place = take_places(aside, out[OUT_ASIDE], all);
    if (aside) {
        out[OUT_FIXED + place] = event;
    }
    if (threadIdx.x == 0 && all != 0) {
        atomicAdd(&out[0], all);
    }
}

// The header of a walk over ids, as src/ops/keys.rs, merge.rs and expire.rs lay it out.
constexpr uint32_t WALK_FROM = 1;
constexpr uint32_t WALK_TO = 2;
constexpr uint32_t WALK_INTO = 3;
constexpr uint32_t WALK_SLOTS = 5;
constexpr uint32_t WALK_SLOT = 6;

// Where rows lie, as src/ops/page.rs says: a slot is two words, where its part of the block map begins and how many
// blocks it has. Kernels leave rows alone that are not in the page they bind.
constexpr uint32_t BLOCK_IDS = 64;
constexpr uint32_t NO_BLOCK = 0xffffffffu;
constexpr uint32_t NO_ROW = 0xffffffffu;

// Where the header names the `i`-th slot of a walk.
static __device__ __forceinline__ uint32_t walk_slot(uint32_t i) { return WALK_SLOT + 2 * i; }

// The block of an id's rows in the slot that the header names at `slot`, or NO_BLOCK.
static __device__ __forceinline__ uint32_t block_of(Head head, uint32_t slot, ConstWords map, uint32_t id) {
    return id / BLOCK_IDS < head[slot + 1] ? map[head[slot] + id / BLOCK_IDS] : NO_BLOCK;
}

// Where the row of an id begins in this page, in words, or NO_ROW when its block is not here.
template <class Params>
static __device__ __forceinline__ uint32_t row_in(const Params& p, uint32_t block, uint32_t id) {
    const uint32_t here = block - p.first_block;
    return here < p.blocks ? (here * BLOCK_IDS + id % BLOCK_IDS) * p.row_words : NO_ROW;
}

template <class Params>
static __device__ __forceinline__ uint32_t row_at(Head head, uint32_t slot, const Params& p, ConstWords map,
                                                  uint32_t id) {
    return row_in(p, block_of(head, slot, map, id), id);
}

// Accumulator rows, as src/ops/row.rs lays them out.
struct RowParams {
    uint32_t stride;
    uint32_t time_word;
    uint32_t value_word;
    uint32_t kind;
    uint32_t parts;
    uint32_t fraction;
    uint32_t row_words;
    uint32_t ends;
    uint32_t extremes;
    uint32_t fixed;
    uint32_t squares;
    uint32_t exact;
    uint32_t first;
    uint32_t last;
    uint32_t first_block;
    uint32_t blocks;
};
constexpr uint32_t COUNT = 0;
constexpr uint32_t NAN_COUNT = 1;
constexpr uint32_t OUTSIDE = 2;
constexpr uint32_t FIRED = 3;
constexpr uint32_t EXTREMES = 1;
constexpr uint32_t FIXED = 2;
constexpr uint32_t SQUARES = 4;
constexpr uint32_t EXACT = 8;
constexpr uint32_t FIRST = 16;
constexpr uint32_t LAST = 32;
constexpr uint32_t LIMBS = 9;
constexpr uint32_t END = 8;
constexpr uint32_t END_LANE = 2;
constexpr uint32_t END_SEQ = 3;
constexpr uint32_t END_VALUE = 5;
constexpr uint32_t END_ELECT = 6;

static __device__ __forceinline__ u64 end_seq(Words rows, uint32_t end) {
    return join(rows[end + END_SEQ], rows[end + END_SEQ + 1]);
}

// Whether what the end at `a` holds comes before what the end at `b` holds: by time, lane, sequence.
static __device__ __forceinline__ bool end_comes_before(Words rows, uint32_t a, uint32_t b) {
    if (rows.two(a) != rows.two(b)) {
        return rows.two(a) < rows.two(b);
    }
    if (rows[a + END_LANE] != rows[b + END_LANE]) {
        return rows[a + END_LANE] < rows[b + END_LANE];
    }
    return end_seq(rows, a) < end_seq(rows, b);
}

// How a value lies in its word: row::Kind.
constexpr uint32_t F16_LOWER = 1;
constexpr uint32_t F16_UPPER = 2;
constexpr uint32_t BF16_LOWER = 3;
constexpr uint32_t BF16_UPPER = 4;
constexpr uint32_t I32 = 5;

// An f16 as an f32, bit by bit.
static __device__ __forceinline__ uint32_t half_bits(uint32_t half) {
    const uint32_t sign = (half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1f;
    const uint32_t significand = half & 0x3ff;
    if (exponent == 0x1f) {
        return sign | 0x7f800000u | significand << 13;
    }
    if (exponent != 0) {
        return sign | (exponent + 112) << 23 | significand << 13;
    }
    if (significand == 0) {
        return sign;
    }
    // Subnormal: the leading bit goes to where a normal number has it, and is not stored.
    const uint32_t up = uint32_t(__clz(int(significand))) - 21;
    return sign | (113 - up) << 23 | (significand << up & 0x3ff) << 13;
}

// The bits of the value in this word: those of an f32, or of an i32. Integer operations only.
static __device__ __forceinline__ uint32_t value_bits(uint32_t kind, uint32_t word) {
    switch (kind) {
        case F16_LOWER: return half_bits(word & 0xffffu);
        case F16_UPPER: return half_bits(word >> 16);
        case BF16_LOWER: return word << 16;
        case BF16_UPPER: return word & 0xffff0000u;
        default: return word;
    }
}

static __device__ __forceinline__ bool value_is_nan(uint32_t kind, uint32_t bits) {
    return kind != I32 && (bits & 0x7fffffffu) > 0x7f800000u;
}

// The rows that a block's events go to, each spoken for by one of the threads that bring an event for it, so that
// however many there are for a hot row, one thread touches it in global memory.
constexpr uint32_t PLACES = 2 * THREADS;
struct Speakers {
    // A thread's number + 1, where a row's hash leads; and the threads' rows.
    uint32_t place[PLACES];
    uint32_t row[THREADS];
};

// Begins anew with this thread's row. A barrier stands between this and the call below, and before the next this.
static __device__ __forceinline__ void begin_speakers(Speakers& speakers, uint32_t row) {
    speakers.row[threadIdx.x] = row;
    speakers.place[threadIdx.x] = 0;
    speakers.place[threadIdx.x + THREADS] = 0;
}

// The thread that speaks for this thread's row: the first to ask. Nobody waits: there are more places than threads.
static __device__ __forceinline__ uint32_t speaker_for(Speakers& speakers, uint32_t row) {
    for (uint32_t place = row * 0x9e3779b1u >> 23;; place = (place + 1) % PLACES) {
        uint32_t there = now(speakers.place[place]);
        if (there == 0) {
            there = atomicCAS(&speakers.place[place], 0u, threadIdx.x + 1);
            if (there == 0) {
                return threadIdx.x;
            }
        }
        if (speakers.row[there - 1] == row) {
            return there - 1;
        }
    }
}

}  // namespace pelton
