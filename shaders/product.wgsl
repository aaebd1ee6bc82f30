// The sums of both products. Twin of src/ops/gemm.rs, and of src/ops/low.rs at low precision.
//
// A thread has eight rows of eight columns, two quads that lie half of what is taken at a time apart. Four words of
// each row and of each column, that is sixteen quads, are read for 256 products, and none of the sums leaves its
// registers. At low precision, where a word is more, a thread has four rows. A column's sum runs over the depth in
// order.
//
// Weights come straight from memory, and so do rows of F32: threads side by side read the same rows and neighbouring
// columns. At low precision a workgroup rounds and packs its rows first, sixteen words at a time: a word is four codes
// or two of F16 or BF16, the first lowest.

// A precision: what is not asked for is not compiled.
override dtype: u32;
const F32: u32 = 0u;
const F16: u32 = 1u;
const BF16: u32 = 2u;
const INT8: u32 = 3u;
// Rows of a thread.
override ROWS: u32 = 4u + 4u * u32(dtype == F32);
// 2^112: what a number's exponent says more in F16 than in f32.
const F16_UP: f32 = 5192296858534827628530496329220096.0;
// The bits of 2^-100, below which a row counts as zeros.
const LEAST: u32 = 0x0d800000u;
// Words of a row that are taken at a time, and quads of them.
const STEPS: u32 = 16u;
const QUADS: u32 = 4u;

// Sixteen words of each row.
var<workgroup> rows: array<vec4<u32>, ROWS_MAX * QUADS>;
// Bits of the rows' largest sizes, then their scales and the inverses.
var<workgroup> most: array<atomic<u32>, ROWS_MAX>;
var<workgroup> scales: array<f32, ROWS_MAX>;
var<workgroup> inverses: array<f32, ROWS_MAX>;

// Four words of a row or of four columns.
struct Words {
    x: vec4<u32>,
    y: vec4<u32>,
    z: vec4<u32>,
    w: vec4<u32>,
}

// Sums of codes: a row each.
struct Codes {
    x: vec4<i32>,
    y: vec4<i32>,
    z: vec4<i32>,
    w: vec4<i32>,
}

// The sums of four rows by two quads of columns: a row each.
struct Sums {
    left: mat4x4<f32>,
    right: mat4x4<f32>,
}

// The sums of eight rows: of the first four, and of the others, which there are in F32 alone.
struct Block {
    upper: Sums,
    lower: Sums,
}

// Four words of four columns, from a quad of a panel on.
fn words(at: u32) -> Words {
    return Words(w[at], w[at + 8u], w[at + 16u], w[at + 24u]);
}

// Words of a row, those that fill its last step included.
fn row_words() -> u32 {
    if (dtype == F32) {
        return p.depth;
    }
    if (dtype == INT8) {
        return (p.depth + 63u) / 64u * STEPS;
    }
    return (p.depth + 31u) / 32u * STEPS;
}

// Where a column's weights begin: of each step of a panel a word, then for INT8 a row that this device has no use for.
fn column_at(column: u32) -> u32 {
    var steps = row_words();
    if (dtype == INT8) {
        steps += 1u;
    }
    return p.panels_at + column / PANEL * PANEL * steps + column % PANEL;
}

fn scaled(t: u32, quad: u32) -> vec4<f32> {
    return a[t * (p.depth / 4u) + quad] * bitcast<vec4<f32>>(w[p.smooth_at / 4u + quad]);
}

// Finds the scales of `count` rows from `first` on; those beyond the batch are its last.
fn scale_rows(first: u32, count: u32, last: u32, k: u32) {
    if (k < count) {
        atomicStore(&most[k], 0u);
    }
    workgroupBarrier();
    let threads = THREADS / count;
    let row = k / threads;
    if (row < count) {
        var bits = 0u;
        for (var i = k % threads; i < p.depth / 4u; i += threads) {
            let sizes = bitcast<vec4<u32>>(scaled(min(first + row, last), i)) & vec4<u32>(0x7fffffffu);
            bits = max(bits, max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
        }
        atomicMax(&most[row], bits);
    }
    workgroupBarrier();
    if (k < count) {
        let bits = atomicLoad(&most[k]);
        let size = bitcast<f32>(bits);
        scales[k] = size / 127.0;
        inverses[k] = 127.0 / size;
        if (bits < LEAST || bits >= 0x7f800000u) {
            inverses[k] = 0.0;
            // A quiet NaN where there is an infinity or a NaN.
            scales[k] = select(bitcast<f32>(bits | 0x00400000u), 0.0, bits < LEAST);
        }
    }
    workgroupBarrier();
}

// By whole numbers: what a device's own conversion makes of ties and of what is small is not the same everywhere.
fn f16(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let size = bits & vec4<u32>(0x7fffffffu);
    let rounded = size + vec4<u32>(0xfffu) + ((size >> vec4<u32>(13u)) & vec4<u32>(1u));
    var half = (rounded - vec4<u32>(0x38000000u)) >> vec4<u32>(13u);
    half = select(half, vec4<u32>(0u), rounded < vec4<u32>(0x38800000u));
    half = select(half, vec4<u32>(0x7c00u), rounded >= vec4<u32>(0x47800000u));
    half = select(half, vec4<u32>(0x7e00u), size > vec4<u32>(0x7f800000u));
    return half | ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u));
}

// Four values of token t as two words.
fn halves(t: u32, quad: u32) -> vec2<u32> {
    if (quad * 4u >= p.depth) {
        return vec2<u32>(0u);
    }
    let x = a[t * (p.depth / 4u) + quad];
    var half = bf16(x);
    if (dtype == F16) {
        half = f16(x);
    }
    return half.xz | (half.yw << vec2<u32>(16u));
}

// Four values of token t, which is a workgroup's given row, as a word of codes.
fn codes(t: u32, row: u32, quad: u32) -> u32 {
    let inverse = inverses[row];
    if (quad * 4u >= p.depth || inverse == 0.0) {
        return 0u;
    }
    let code = bitcast<vec4<u32>>(vec4<i32>(round(scaled(t, quad) * inverse))) & vec4<u32>(0xffu);
    return code.x | (code.y << 8u) | (code.z << 16u) | (code.w << 24u);
}

// Four words of token t, which is a workgroup's given row.
fn packed(t: u32, row: u32, at: u32) -> vec4<u32> {
    if (dtype == INT8) {
        let quad = at * 4u;
        return vec4<u32>(
            codes(t, row, quad), codes(t, row, quad + 1u), codes(t, row, quad + 2u), codes(t, row, quad + 3u),
        );
    }
    return vec4<u32>(halves(t, at * 2u), halves(t, at * 2u + 1u));
}

// A word's products with those of four columns, added to sums.
fn dots(sum: vec4<i32>, x: u32, v: vec4<u32>) -> vec4<i32> {
    return sum + vec4<i32>(
        dot4I8Packed(x, v.x), dot4I8Packed(x, v.y), dot4I8Packed(x, v.z), dot4I8Packed(x, v.w),
    );
}

fn row_dots(sum: vec4<i32>, x: vec4<u32>, v: Words) -> vec4<i32> {
    return dots(dots(dots(dots(sum, x.x, v.x), x.y, v.y), x.z, v.z), x.w, v.w);
}

fn all_dots(sum: Codes, x: Words, v: Words) -> Codes {
    return Codes(
        row_dots(sum.x, x.x, v), row_dots(sum.y, x.y, v), row_dots(sum.z, x.z, v), row_dots(sum.w, x.w, v),
    );
}

// What the upper halves are in F16, times 2^-112: with the bits moved down that is exact, and needs no conversion.
fn upper(v: vec4<u32>) -> vec4<f32> {
    let moved = bitcast<vec4<u32>>(bitcast<vec4<i32>>(v) >> vec4<u32>(3u));
    return bitcast<vec4<f32>>(moved & vec4<u32>(0x8fffe000u));
}

fn pairs(sum: vec4<f32>, x: u32, v: vec4<u32>) -> vec4<f32> {
    if (dtype == F16) {
        let own = unpack2x16float(x) * F16_UP;
        return (sum + own.x * upper(v << vec4<u32>(16u))) + own.y * upper(v);
    }
    let low = sum + bitcast<f32>(x << 16u) * bitcast<vec4<f32>>(v << vec4<u32>(16u));
    return low + bitcast<f32>(x & 0xffff0000u) * bitcast<vec4<f32>>(v & vec4<u32>(0xffff0000u));
}

fn row_pairs(sum: vec4<f32>, x: vec4<u32>, v: Words) -> vec4<f32> {
    return pairs(pairs(pairs(pairs(sum, x.x, v.x), x.y, v.y), x.z, v.z), x.w, v.w);
}

fn all_pairs(sum: mat4x4<f32>, x: Words, v: Words) -> mat4x4<f32> {
    return mat4x4<f32>(
        row_pairs(sum[0], x.x, v), row_pairs(sum[1], x.y, v), row_pairs(sum[2], x.z, v), row_pairs(sum[3], x.w, v),
    );
}

// Sums of codes as what they stand for.
fn valued(sum: Codes, row: u32, column: u32) -> mat4x4<f32> {
    let by = bitcast<vec4<f32>>(w[(p.scales_at + column) / 4u]);
    return mat4x4<f32>(
        vec4<f32>(sum.x) * (scales[row] * by), vec4<f32>(sum.y) * (scales[row + 1u] * by),
        vec4<f32>(sum.z) * (scales[row + 2u] * by), vec4<f32>(sum.w) * (scales[row + 3u] * by),
    );
}

// The sums of four of a workgroup's `count` rows, from `row` on, at low precision.
fn low_sums(first: u32, count: u32, last: u32, row: u32, left: u32, right: u32, k: u32) -> Sums {
    var sums: Sums;
    var codes_left: Codes;
    var codes_right: Codes;
    if (dtype == INT8) {
        scale_rows(first, count, last, k);
    }
    let from_left = column_at(left) / 4u;
    let from_right = column_at(right) / 4u;
    let filled = row_words();
    for (var start = 0u; start < filled; start += STEPS) {
        workgroupBarrier();
        for (var i = k; i < count * QUADS; i += THREADS) {
            rows[i] = packed(min(first + i / QUADS, last), i / QUADS, start / 4u + i % QUADS);
        }
        workgroupBarrier();
        // Rows that no token has cost nothing.
        let quads = select(0u, QUADS, row < count && first + row <= last);
        for (var i = 0u; i < quads; i += 1u) {
            let at = row * QUADS + i;
            let x = Words(rows[at], rows[at + QUADS], rows[at + 2u * QUADS], rows[at + 3u * QUADS]);
            let step = (start / 4u + i) * PANEL;
            let by_left = words(from_left + step);
            let by_right = words(from_right + step);
            if (dtype == INT8) {
                codes_left = all_dots(codes_left, x, by_left);
                codes_right = all_dots(codes_right, x, by_right);
            } else {
                sums.left = all_pairs(sums.left, x, by_left);
                sums.right = all_pairs(sums.right, x, by_right);
            }
        }
    }
    if (dtype == INT8) {
        return Sums(valued(codes_left, row, left), valued(codes_right, row, right));
    }
    return sums;
}

fn numbers(v: Words) -> mat4x4<f32> {
    return mat4x4<f32>(
        bitcast<vec4<f32>>(v.x), bitcast<vec4<f32>>(v.y), bitcast<vec4<f32>>(v.z), bitcast<vec4<f32>>(v.w),
    );
}

// The sums of a thread's rows among a workgroup's `count`, from `row` on; those beyond the batch are its last.
fn sums_of(first: u32, count: u32, last: u32, row: u32, left: u32, right: u32, k: u32) -> Block {
    var sums: Block;
    if (dtype != F32) {
        sums.upper = low_sums(first, count, last, row, left, right, k);
        return sums;
    }
    let own = min(vec4<u32>(first + row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last)) * (p.depth / 4u);
    let next = min(vec4<u32>(first + row) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(last)) * (p.depth / 4u);
    let quads = select(0u, p.depth / 4u, row < count && first + row <= last);
    let from_left = column_at(left) / 4u;
    let from_right = column_at(right) / 4u;
    for (var i = 0u; i < quads; i += 1u) {
        let x = mat4x4<f32>(a[own.x + i], a[own.y + i], a[own.z + i], a[own.w + i]);
        let y = mat4x4<f32>(a[next.x + i], a[next.y + i], a[next.z + i], a[next.w + i]);
        let by_left = numbers(words(from_left + i * PANEL));
        sums.upper.left = products(sums.upper.left, x, by_left);
        sums.lower.left = products(sums.lower.left, y, by_left);
        let by_right = numbers(words(from_right + i * PANEL));
        sums.upper.right = products(sums.upper.right, x, by_right);
        sums.lower.right = products(sums.lower.right, y, by_right);
    }
    return sums;
}
