// What the kernels of an encoder share: the header of packed tokens, functions, sums. See src/ops/tokens.rs, float.rs.

const TOKENS: u32 = 0u;
const SEQUENCES: u32 = 1u;
const TILES: u32 = 2u;
const IDS_AT: u32 = 3u;
const PLACES_AT: u32 = 4u;
const STARTS_AT: u32 = 5u;
const TILES_AT: u32 = 6u;
// Columns of a panel of weights.
const PANEL: u32 = 32u;

// The bits of the nearest of BF16.
fn bf16(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let rounded = bits + vec4<u32>(0x7fffu) + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u));
    return select(rounded, bits | vec4<u32>(0x00400000u), nan) >> vec4<u32>(16u);
}

// The nearest of BF16.
fn round_bf16(x: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bf16(x) << vec4<u32>(16u));
}

// e^x for x that is not positive, or hardly; below -87 it is that of -87.
fn exp_neg(wide: f32) -> f32 {
    let x = max(wide, -87.0);
    let n = i32(x * 1.4426950408889634 - 0.5);
    let whole = f32(n);
    let r = (x - whole * 0.6933594) + whole * 0.00021219444;
    var q = 0.001388888888888889 + r * 0.0001984126984126984;
    q = 0.041666666666666664 + r * (0.008333333333333333 + r * q);
    q = 1.0 + r * (1.0 + r * (0.5 + r * (0.16666666666666666 + r * q)));
    return q * bitcast<f32>(u32(n + 127) << 23u);
}

fn gelu_erf(x: f32) -> f32 {
    let z = min(abs(x) * 0.7071067811865476, 9.0);
    let t = 1.0 / (1.0 + 0.5 * z);
    var q = 0.13771698;
    q = q * t - 0.6411484;
    q = q * t + 1.0622663;
    q = q * t - 0.56880635;
    q = q * t - 0.1873603;
    q = q * t + 0.059204828;
    q = q * t + 0.014477708;
    q = q * t + 0.39095455;
    q = q * t + 0.99811643;
    q = q * t - 1.2654217;
    let tail = t * exp_neg(q - z * z);
    return 0.5 * x * select(tail, 2.0 - tail, x > 0.0);
}

fn gelu_tanh(x: f32) -> f32 {
    let u = 0.7978846 * (x + 0.044715 * x * x * x);
    let e = exp_neg(-2.0 * abs(u));
    let share = 1.0 / (1.0 + e);
    return x * select(e * share, share, u > 0.0);
}

fn tanh_of(x: f32) -> f32 {
    let e = exp_neg(-2.0 * abs(x));
    let far = (1.0 - e) / (1.0 + e);
    let z = x * x;
    let near = -0.053968254 + z * (0.021869488 + z * -0.008863236);
    if (abs(x) >= 0.25) {
        return select(far, -far, x < 0.0);
    }
    return x + x * z * (-0.33333334 + z * (0.13333334 + z * near));
}

// A row of four values times four rows of columns, added to the row's sums in that order.
fn row_products(sum: vec4<f32>, x: vec4<f32>, v: mat4x4<f32>) -> vec4<f32> {
    return (((sum + x.x * v[0]) + x.y * v[1]) + x.z * v[2]) + x.w * v[3];
}

// The same for four rows.
fn products(sum: mat4x4<f32>, x: mat4x4<f32>, v: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        row_products(sum[0], x[0], v), row_products(sum[1], x[1], v),
        row_products(sum[2], x[2], v), row_products(sum[3], x[3], v),
    );
}

var<workgroup> part: array<f32, 256>;

// The sum of what `width` threads bring, a power of two, for each of them; the order is that of a tree.
fn sum_of(k: u32, width: u32, x: f32) -> f32 {
    workgroupBarrier();
    part[k] = x;
    workgroupBarrier();
    for (var half = width / 2u; half > 0u; half /= 2u) {
        if (k % width < half) {
            part[k] += part[k + half];
        }
        workgroupBarrier();
    }
    return part[k - k % width];
}
