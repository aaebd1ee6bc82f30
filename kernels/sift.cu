// Marks the events that fail a filter as dropped, the others by 0: a postfix program of comparisons.
//
// Twin of src/ops/filter.rs, which says what the words of an instruction mean. Per event: its 16 bytes in one load,
// or the fields named (4 or 8 bytes each); 4 bytes of id written; no atomic. The program is read from the cache by
// whole warps. So it is bound by the bytes of the events, 20 for those of 16, until a program has dozens of
// comparisons, each of about a dozen integer operations.
#include "window.cuh"

namespace pelton::sift {

struct SiftParams {
    uint32_t stride;
    uint32_t instructions;
    uint32_t pad0;
    uint32_t pad1;
};

constexpr uint32_t INSTRUCTION = 8;
constexpr uint32_t PUSH = 0;
constexpr uint32_t AND = 1;
constexpr uint32_t RANGE_WIDE = 1;
constexpr uint32_t FIELDS = 2;

constexpr uint32_t LESS = 1;
constexpr uint32_t EQUAL = 2;
constexpr uint32_t GREATER = 4;
constexpr uint32_t UNORDERED = 8;

constexpr uint32_t F16 = 1;
constexpr uint32_t BF16 = 2;
constexpr uint32_t WHOLE = 3;
constexpr uint32_t WIDE = 5;
constexpr uint32_t SIGN = 0x80000000u;

static __device__ __forceinline__ uint32_t word_of(uint32_t load) { return load & 0xfff; }
static __device__ __forceinline__ uint32_t dtype_of(uint32_t load) { return load >> 12 & 7; }

// The bits of a field of one word, moved to the top of a word when they are half of one.
static __device__ __forceinline__ uint32_t bits_of(const Event& event, uint32_t load) {
    const uint32_t word = event[word_of(load)];
    if (dtype_of(load) != F16 && dtype_of(load) != BF16) {
        return word;
    }
    return (load & 0x10000) != 0 ? word & 0xffff0000u : word << 16;
}

// Bits at the top of a word, made to sort as the value does.
static __device__ __forceinline__ uint32_t ordered(uint32_t dtype, uint32_t bits) {
    if (dtype > WHOLE) {
        return bits;
    }
    return dtype != WHOLE && (bits & SIGN) != 0 ? ~bits : bits ^ SIGN;
}

struct Value {
    u64 ordered;
    bool number;
};

// Ordered bits of any field, one zero for both, and whether it is a number.
static __device__ __forceinline__ Value value_of(const Event& event, uint32_t load) {
    const uint32_t dtype = dtype_of(load);
    if (dtype == WIDE) {
        return Value{event.two(word_of(load)), true};
    }
    const uint32_t bits = bits_of(event, load);
    if (dtype >= WHOLE) {
        return Value{ordered(dtype, bits), true};
    }
    const uint32_t size = bits & ~SIGN;
    const uint32_t infinity = dtype == F16 ? 0x7c000000u : 0x7f800000u;
    return Value{ordered(dtype, size == 0 ? 0 : bits), size <= infinity};
}

static __device__ __forceinline__ uint32_t outcome(Value a, Value b) {
    if (!a.number || !b.number) {
        return UNORDERED;
    }
    return a.ordered < b.ordered ? LESS : a.ordered > b.ordered ? GREATER : EQUAL;
}

// One comparison of one event: 0 or 1. `how` is joint, form and flags, left, right; `range` its first and its span.
static __device__ __forceinline__ uint32_t test(const Event& event, uint4 how, uint4 range) {
    const uint32_t form = how.x >> 2 & 3;
    const uint32_t flags = how.x >> 4 & 15;
    if (form == FIELDS) {
        return (flags & outcome(value_of(event, how.y), value_of(event, how.z))) != 0;
    }
    if (form == RANGE_WIDE) {
        const u64 over = event.two(word_of(how.y)) - join(range.x, range.y);
        return uint32_t(over <= join(range.z, range.w)) ^ flags;
    }
    const uint32_t key = ordered(dtype_of(how.y), bits_of(event, how.y));
    return uint32_t(key - range.x <= range.z) ^ flags;
}

static __device__ __forceinline__ void body(Block block, Head head, const SiftParams& p, Events events, ConstWords code,
                                            Words ids) {
    if (past_grid(head, block)) {
        return;
    }
    const Chunk chunk = chunk_of_block(head, block);
    if (threadIdx.x >= chunk.events) {
        return;
    }
    const uint32_t index = chunk.first + threadIdx.x;
    const Event event(events, index, p.stride);
    uint32_t stack = 0;
    for (uint32_t i = 0; i < p.instructions; i++) {
        const uint4 how = code.four(i * INSTRUCTION);
        const uint4 range = code.four(i * INSTRUCTION + 4);
        const uint32_t joint = how.x & 3;
        uint32_t passes = stack & 1;
        if ((how.x >> 2 & 3) > FIELDS) {
            stack >>= 1;
        } else {
            passes = test(event, how, range);
        }
        if (joint == PUSH) {
            stack = stack << 1 | passes;
        } else if (joint == AND) {
            stack &= passes | ~1u;
        } else {
            stack |= passes;
        }
    }
    ids[index] = (stack & 1) != 0 ? 0 : DROPPED;
}

extern "C" __global__ void __launch_bounds__(256)
    sift(Head head, SiftParams p, Events events, ConstWords code, Words ids) {
    body(this_block(), head, p, events, code, ids);
}

}  // namespace pelton::sift
