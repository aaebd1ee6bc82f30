// Put in front of every window kernel: headers, keys, rows and values, as src/ops lays them out.
//
// A kernel declares `head` itself, as every kernel does. Nothing here costs an event anything.

// The header of an ingest batch, as src/ops/batch.rs lays it out.
const GROUPS: u32 = 0u;
const CHUNKS: u32 = 2u;
const SPANS_AT: u32 = 3u;
const TABLE_MASK: u32 = 4u;
const SEED: u32 = 5u;
const FROZEN: u32 = 9u;
const GENERATION: u32 = 10u;
const DENSE_KEYS: u32 = 11u;
const FIXED_WORDS: u32 = 16u;
const CHUNK: u32 = 12u;
const SPAN: u32 = 4u;
const ALL: u32 = 0x80000000u;

// Ids that are none; flags of an id that is still a table slot, that is still an event, whose record is not written.
const DROPPED: u32 = 0xffffffffu;
const ASIDE: u32 = 0xfffffffeu;
const PENDING: u32 = 0x80000000u;
const FOLLOW: u32 = 0x40000000u;
const NEW: u32 = 0x20000000u;

// The output of an ingest batch.
const OUT_FIXED: u32 = 8u;
const OUT_KEYS: u32 = 1u;
const OUT_ASIDE: u32 = 2u;
const OUT_PROBES: u32 = 3u;
const OUT_FREE: u32 = 4u;
const OUT_FILL: u32 = 5u;

// The ids and the keys of each page, as src/ops/keys.rs counts them.
const COUNTS_BASE: u32 = 0u;
const COUNTS_FREE: u32 = 1u;
const COUNTS_TAKEN: u32 = 2u;
const COUNTS_FILL: u32 = 4u;
const COUNTS_LIST: u32 = 260u;

struct Chunk {
    first: u32,
    events: u32,
    spans_at: u32,
    spans: u32,
    all: bool,
    lane: u32,
    seq: vec2<u32>,
}

// The chunk of workgroup `g`; one of no events when there is none.
fn chunk_at(g: u32) -> Chunk {
    if (g >= head[CHUNKS]) {
        return Chunk(0u, 0u, 0u, 0u, false, 0u, vec2<u32>(0u, 0u));
    }
    let at = FIXED_WORDS + g * CHUNK;
    let spans = head[at + 3u];
    return Chunk(
        head[at],
        head[at + 1u],
        head[SPANS_AT] + head[at + 2u] * SPAN,
        spans & ~ALL,
        (spans & ALL) != 0u,
        head[at + 4u],
        vec2<u32>(head[at + 5u], head[at + 6u]),
    );
}

// The spans an event at `time` goes to: from the first to before the second, by their number in the chunk.
fn spans_of(chunk: Chunk, time: vec2<u32>) -> vec2<u32> {
    if (chunk.all) {
        return vec2<u32>(0u, chunk.spans);
    }
    var i = chunk.spans - 1u;
    while (i > 0u) {
        let at = chunk.spans_at + i * SPAN;
        if (!less64(time, vec2<u32>(head[at], head[at + 1u]))) {
            break;
        }
        i -= 1u;
    }
    return vec2<u32>(i, i + 1u);
}

// Where the part of the block map begins that belongs to the slot of a span.
fn span_slot(chunk: Chunk, i: u32) -> u32 {
    return head[chunk.spans_at + i * SPAN + 2u];
}

// The keyed hash of src/ops/keys.rs.
fn key_hash(key: vec2<u32>) -> u32 {
    var x = (key.x ^ head[SEED]) * (head[SEED + 2u] | 1u);
    x ^= x >> 15u;
    x = (x ^ key.y ^ head[SEED + 1u]) * (head[SEED + 3u] | 1u);
    return x ^ (x >> 16u);
}

// The header of a walk over ids, as src/ops/keys.rs, merge.rs and expire.rs lay it out.
const WALK_FROM: u32 = 1u;
const WALK_TO: u32 = 2u;
const WALK_INTO: u32 = 3u;
const WALK_SLOTS: u32 = 5u;
const WALK_SLOT: u32 = 6u;

// Where rows lie, as src/ops/page.rs says: a slot is two words, where its part of the block map begins and how many
// blocks it has. Kernels leave rows alone that are not in the page they bind.
const BLOCK_IDS: u32 = 64u;
const NO_BLOCK: u32 = 0xffffffffu;
const NO_ROW: u32 = 0xffffffffu;

// Accumulator rows, as src/ops/row.rs lays them out.
const COUNT: u32 = 0u;
const NAN: u32 = 1u;
const OUTSIDE: u32 = 2u;
const FIRED: u32 = 3u;
const EXTREMES: u32 = 1u;
const FIXED: u32 = 2u;
const SQUARES: u32 = 4u;
const EXACT: u32 = 8u;
const FIRST: u32 = 16u;
const LAST: u32 = 32u;
const LIMBS: u32 = 9u;
const END: u32 = 8u;
const END_LANE: u32 = 2u;
const END_VALUE: u32 = 5u;
const END_ELECT: u32 = 6u;

// How a value lies in its word: row::Kind.
const F32: u32 = 0u;
const F16_LOWER: u32 = 1u;
const F16_UPPER: u32 = 2u;
const BF16_LOWER: u32 = 3u;
const BF16_UPPER: u32 = 4u;
const I32: u32 = 5u;

// The bits of the value in this word: those of an f32, or of an i32. Integer operations only.
fn value_bits(kind: u32, word: u32) -> u32 {
    switch kind {
        case F16_LOWER: { return half_bits(word & 0xffffu); }
        case F16_UPPER: { return half_bits(word >> 16u); }
        case BF16_LOWER: { return word << 16u; }
        case BF16_UPPER: { return word & 0xffff0000u; }
        default: { return word; }
    }
}

// An f16 as an f32, bit by bit.
fn half_bits(half: u32) -> u32 {
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 0x1fu;
    let significand = half & 0x3ffu;
    if (exponent == 0x1fu) {
        return sign | 0x7f800000u | (significand << 13u);
    }
    if (exponent != 0u) {
        return sign | ((exponent + 112u) << 23u) | (significand << 13u);
    }
    if (significand == 0u) {
        return sign;
    }
    // Subnormal: the leading bit goes to where a normal number has it, and is not stored.
    let up = countLeadingZeros(significand) - 21u;
    return sign | ((113u - up) << 23u) | (((significand << up) & 0x3ffu) << 13u);
}

fn value_is_nan(kind: u32, bits: u32) -> bool {
    return kind != I32 && (bits & 0x7fffffffu) > 0x7f800000u;
}
