// Marks the events that fail a filter as dropped, the others by 0: a postfix program of comparisons.
// Twin of src/ops/filter.rs, which says what the words of an instruction mean.
// Cost per event: the fields named (4 or 8 bytes each), 4 bytes of id written; the program is cached.

struct SiftParams { stride: u32, instructions: u32, pad0: u32, pad1: u32 }

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: SiftParams;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read> code: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;

const HEAD_CHUNKS: u32 = 2u;
const HEAD_FIXED: u32 = 16u;
const CHUNK: u32 = 12u;
const DROPPED: u32 = 0xffffffffu;

const INSTRUCTION: u32 = 8u;
const PUSH: u32 = 0u;
const AND: u32 = 1u;
const RANGE: u32 = 0u;
const RANGE_WIDE: u32 = 1u;
const FIELDS: u32 = 2u;

const LESS: u32 = 1u;
const EQUAL: u32 = 2u;
const GREATER: u32 = 4u;
const UNORDERED: u32 = 8u;

const F32: u32 = 0u;
const F16: u32 = 1u;
const BF16: u32 = 2u;
const I32: u32 = 3u;
const U64: u32 = 5u;
const SIGN: u32 = 0x80000000u;

// The bits of a field of one word, moved to the top of a word when they are half of one.
fn bits_at(event: u32, load: u32) -> u32 {
    let word = events[event + (load & 0xfffu)];
    let dtype = (load >> 12u) & 7u;
    if dtype != F16 && dtype != BF16 {
        return word;
    }
    return select(word << 16u, word & 0xffff0000u, (load & 0x10000u) != 0u);
}

// Bits at the top of a word, made to sort as the value does.
fn ordered(dtype: u32, bits: u32) -> u32 {
    if dtype > I32 {
        return bits;
    }
    return select(bits ^ SIGN, ~bits, dtype != I32 && (bits & SIGN) != 0u);
}

struct Value { low: u32, high: u32, number: bool }

// Ordered bits of any field, one zero for both, and whether it is a number.
fn value_at(event: u32, load: u32) -> Value {
    let dtype = (load >> 12u) & 7u;
    let bits = bits_at(event, load);
    if dtype == U64 {
        return Value(bits, events[event + (load & 0xfffu) + 1u], true);
    }
    if dtype >= I32 {
        return Value(ordered(dtype, bits), 0u, true);
    }
    let size = bits & ~SIGN;
    let infinity = select(0x7f800000u, 0x7c000000u, dtype == F16);
    return Value(ordered(dtype, select(bits, 0u, size == 0u)), 0u, size <= infinity);
}

fn outcome(a: Value, b: Value) -> u32 {
    if !(a.number && b.number) {
        return UNORDERED;
    }
    if a.high != b.high {
        return select(GREATER, LESS, a.high < b.high);
    }
    if a.low != b.low {
        return select(GREATER, LESS, a.low < b.low);
    }
    return EQUAL;
}

// One comparison of one event: 0 or 1.
fn test(event: u32, at: u32) -> u32 {
    let how = code[at];
    let form = (how >> 2u) & 3u;
    let flags = (how >> 4u) & 15u;
    let left = code[at + 1u];
    if form == FIELDS {
        let found = outcome(value_at(event, left), value_at(event, code[at + 2u]));
        return select(0u, 1u, (flags & found) != 0u);
    }
    if form == RANGE_WIDE {
        let low = events[event + (left & 0xfffu)];
        let borrow = select(0u, 1u, low < code[at + 4u]);
        let over = low - code[at + 4u];
        let over_high = events[event + (left & 0xfffu) + 1u] - code[at + 5u] - borrow;
        let inside = over_high < code[at + 7u] || (over_high == code[at + 7u] && over <= code[at + 6u]);
        return select(0u, 1u, inside) ^ flags;
    }
    let key = ordered((left >> 12u) & 7u, bits_at(event, left));
    return select(0u, 1u, key - code[at + 4u] <= code[at + 6u]) ^ flags;
}

@compute @workgroup_size(256)
fn sift(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) n: vec3<u32>,
    @builtin(local_invocation_id) lid: vec3<u32>,
) {
    let group = group_index(wid, n);
    if group >= head[HEAD_CHUNKS] {
        return;
    }
    let chunk = HEAD_FIXED + group * CHUNK;
    if lid.x >= head[chunk + 1u] {
        return;
    }
    let index = head[chunk] + lid.x;
    let event = index * p.stride;
    var stack = 0u;
    for (var i = 0u; i < p.instructions; i++) {
        let at = i * INSTRUCTION;
        let join = code[at] & 3u;
        var passes = stack & 1u;
        if ((code[at] >> 2u) & 3u) > FIELDS {
            stack >>= 1u;
        } else {
            passes = test(event, at);
        }
        if join == PUSH {
            stack = (stack << 1u) | passes;
        } else if join == AND {
            stack &= passes | ~1u;
        } else {
            stack |= passes;
        }
    }
    ids[index] = select(DROPPED, 0u, (stack & 1u) != 0u);
}
