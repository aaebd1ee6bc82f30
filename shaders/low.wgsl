// What both products share at low precision: rows are rounded and packed as they are read. Spec: src/ops/low.rs.
//
// A word is four codes or two of F16 or BF16, the first lowest; sixteen words of a row are taken at a time.

const F16: u32 = 1u;
const BF16: u32 = 2u;
const INT8: u32 = 3u;
// 2^112: what a number's exponent says more in F16 than in f32.
const F16_UP: f32 = 5192296858534827628530496329220096.0;
// The bits of 2^-100, below which a row counts as zeros.
const LEAST: u32 = 0x0d800000u;
// Words of a row that are taken at a time.
const STEPS: u32 = 16u;

// Bits of the largest sizes of up to 128 rows, then their scales and the inverses.
var<workgroup> most: array<atomic<u32>, 128>;
var<workgroup> scales: array<f32, 128>;
var<workgroup> inverses: array<f32, 128>;

// Words of a row, those that fill its last step included.
fn row_words() -> u32 {
    if (p.dtype == INT8) {
        return (p.depth + 63u) / 64u * STEPS;
    }
    return (p.depth + 31u) / 32u * STEPS;
}

// Where a column's weights begin: of each step of a panel a word, then for INT8 a row that this device has no use for.
fn column_at(column: u32) -> u32 {
    var steps = row_words();
    if (p.dtype == INT8) {
        steps += 1u;
    }
    return p.panels_at + column / PANEL * PANEL * steps + column % PANEL;
}

fn scaled(t: u32, k: u32) -> f32 {
    let at = p.smooth_at + k;
    return a[t * p.depth + k] * bitcast<f32>(w[at / 4u][at % 4u]);
}

// Finds the scales of `count` rows from `first` on; those beyond the batch are its last.
fn scale_rows(first: u32, count: u32, last: u32, k: u32) {
    if (k < 128u) {
        atomicStore(&most[k], 0u);
    }
    workgroupBarrier();
    let threads = 256u / count;
    let row = k / threads;
    if (row < count) {
        var bits = 0u;
        for (var i = k % threads; i < p.depth; i += threads) {
            bits = max(bits, bitcast<u32>(scaled(min(first + row, last), i)) & 0x7fffffffu);
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

fn code(x: f32, inverse: f32) -> u32 {
    return bitcast<u32>(i32(round(x * inverse))) & 0xffu;
}

fn bf16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return select(bits + 0x7fffu + ((bits >> 16u) & 1u), bits | 0x00400000u, nan) >> 16u;
}

// By whole numbers: what a device's own conversion makes of ties and of what is small is not the same everywhere.
fn f16(x: f32) -> u32 {
    let size = bitcast<u32>(x) & 0x7fffffffu;
    let rounded = size + 0xfffu + ((size >> 13u) & 1u);
    var half = (rounded - 0x38000000u) >> 13u;
    half = select(half, 0u, rounded < 0x38800000u);
    half = select(half, 0x7c00u, rounded >= 0x47800000u);
    half = select(half, 0x7e00u, size > 0x7f800000u);
    return half | ((bitcast<u32>(x) >> 16u) & 0x8000u);
}

fn half_of(x: f32) -> u32 {
    if (p.dtype == F16) {
        return f16(x);
    }
    return bf16(x);
}

// A word of token t, which is a workgroup's given row.
fn word_of(t: u32, row: u32, at: u32) -> u32 {
    if (p.dtype != INT8) {
        let k = at * 2u;
        if (k >= p.depth) {
            return 0u;
        }
        return half_of(a[t * p.depth + k]) | (half_of(a[t * p.depth + k + 1u]) << 16u);
    }
    let k = at * 4u;
    let inverse = inverses[row];
    if (k >= p.depth || inverse == 0.0) {
        return 0u;
    }
    return code(scaled(t, k), inverse) | (code(scaled(t, k + 1u), inverse) << 8u)
        | (code(scaled(t, k + 2u), inverse) << 16u) | (code(scaled(t, k + 3u), inverse) << 24u);
}

// The products of a word and four of weights, added to sums.
fn dots(sum: vec4<i32>, x: u32, v: vec4<u32>) -> vec4<i32> {
    return sum + vec4<i32>(
        dot4I8Packed(x, v.x), dot4I8Packed(x, v.y), dot4I8Packed(x, v.z), dot4I8Packed(x, v.w),
    );
}

// What the upper halves are in F16, times 2^-112: with the bits moved down that is exact, and needs no conversion.
fn upper(v: vec4<u32>) -> vec4<f32> {
    let moved = bitcast<vec4<u32>>(bitcast<vec4<i32>>(v) >> vec4<u32>(3u));
    return bitcast<vec4<f32>>(moved & vec4<u32>(0x8fffe000u));
}

fn pairs(sum: vec4<f32>, x: u32, v: vec4<u32>) -> vec4<f32> {
    if (p.dtype == F16) {
        let own = unpack2x16float(x) * F16_UP;
        return (sum + own.x * upper(v << vec4<u32>(16u))) + own.y * upper(v);
    }
    let low = sum + bitcast<f32>(x << 16u) * bitcast<vec4<f32>>(v << vec4<u32>(16u));
    return low + bitcast<f32>(x & 0xffff0000u) * bitcast<vec4<f32>>(v & vec4<u32>(0xffff0000u));
}

// Sums of codes as what they stand for.
fn valued(sum: vec4<i32>, row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(sum) * (scales[row] * bitcast<vec4<f32>>(w[(p.scales_at + column) / 4u]));
}
