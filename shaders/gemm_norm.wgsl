// A linear layer, what came before it added, normalised: whole rows in a workgroup. Twin of src/ops/gemm.rs.
//
// A row needs an eighth as many threads as it has columns: a quad of each half. A workgroup takes as many rows as that
// leaves, in F32 twice those that the grid is for: the last workgroups find nothing to do. Sums are those of
// product.wgsl.

struct GemmNormParams {
    depth: u32,
    columns: u32,
    panels_at: u32,
    bias_at: u32,
    gamma_at: u32,
    beta_at: u32,
    eps: f32,
    dtype: u32,
    scales_at: u32,
    smooth_at: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GemmNormParams;
@group(0) @binding(3) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;

const THREADS: u32 = 128u;
// A row has four threads at least.
const ROWS_MAX: u32 = 128u;

var<workgroup> parts: array<vec4<f32>, THREADS>;

// The sums of what the `across` threads of four rows bring, for each of them.
fn row_sums(k: u32, across: u32, x: vec4<f32>) -> vec4<f32> {
    let c = k % across;
    workgroupBarrier();
    parts[k] = x;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (c < half && c + half < across && k + half < THREADS) {
            parts[k] += parts[k + half];
        }
        workgroupBarrier();
    }
    return parts[k - c];
}

fn total(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

fn totals(x: mat4x4<f32>) -> vec4<f32> {
    return vec4<f32>(total(x[0]), total(x[1]), total(x[2]), total(x[3]));
}

fn squares(x: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x[0] * x[0], x[1] * x[1], x[2] * x[2], x[3] * x[3]);
}

// What is added to the sums of tokens t from a column on: the bias and what came before.
fn added(t: vec4<u32>, column: u32) -> mat4x4<f32> {
    let bias = bitcast<vec4<f32>>(w[(p.bias_at + column) / 4u]);
    let at = (t * p.columns + vec4<u32>(column)) / vec4<u32>(4u);
    return mat4x4<f32>(
        bias + residual[at.x], bias + residual[at.y], bias + residual[at.z], bias + residual[at.w],
    );
}

// Writes the rows of x from token t on, `count` of them, at a column.
fn write(t: u32, count: u32, column: u32, x: mat4x4<f32>, scale: vec4<f32>) {
    let gamma = bitcast<vec4<f32>>(w[(p.gamma_at + column) / 4u]);
    let beta = bitcast<vec4<f32>>(w[(p.beta_at + column) / 4u]);
    var y = x;
    for (var i = 0u; i < count; i += 1u) {
        out[((t + i) * p.columns + column) / 4u] = y[i] * scale[i] * gamma + beta;
    }
}

// Normalises four rows from token t on and writes those before `end`.
fn finish(t: u32, end: u32, left: u32, right: u32, sums: Sums, k: u32, across: u32) {
    let own = min(vec4<u32>(t) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(head[TOKENS] - 1u));
    var x = Sums(sums.left + added(own, left), sums.right + added(own, right));
    let share = 1.0 / f32(p.columns);
    let mean = share * row_sums(k, across, totals(x.left) + totals(x.right));
    let means = mat4x4<f32>(vec4<f32>(mean.x), vec4<f32>(mean.y), vec4<f32>(mean.z), vec4<f32>(mean.w));
    x = Sums(x.left - means, x.right - means);
    let variance = share * row_sums(k, across, totals(squares(x.left)) + totals(squares(x.right)));
    let scale = vec4<f32>(1.0) / sqrt(variance + vec4<f32>(p.eps));
    let count = min(4u, end - min(end, t));
    write(t, count, left, x.left, scale);
    write(t, count, right, x.right, scale);
}

@compute @workgroup_size(THREADS)
fn gemm_norm(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let across = p.columns / 8u;
    let count = min(THREADS / across * ROWS, ROWS_MAX);
    let first = group_index(wid, groups) * count;
    let tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    let row = k / across * ROWS;
    let left = k % across * 4u;
    let right = left + p.columns / 2u;
    let sums = sums_of(first, count, tokens - 1u, row, left, right, k);
    // Threads beyond the rows only keep step.
    let end = select(0u, tokens, row < count);
    finish(first + row, end, left, right, sums.upper, k, across);
    if (ROWS > 4u) {
        finish(first + row + 4u, end, left, right, sums.lower, k, across);
    }
}
