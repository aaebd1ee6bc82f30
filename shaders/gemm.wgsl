// A linear layer and its activation: 32 tokens by 64 columns a workgroup. Twin of src/ops/gemm.rs.
//
// Eight threads side by side have the same rows, and one panel's columns each half of theirs; sums are those of
// product.wgsl.

struct GemmParams {
    depth: u32,
    columns: u32,
    panels_at: u32,
    bias_at: u32,
    activation: u32,
    dtype: u32,
    scales_at: u32,
    smooth_at: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: GemmParams;
@group(0) @binding(3) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

const ROWS_MAX: u32 = 32u;
override THREADS: u32 = ROWS_MAX / ROWS * 8u;

fn finish(x: vec4<f32>) -> vec4<f32> {
    if (p.activation == 1u) {
        return vec4<f32>(gelu_erf(x.x), gelu_erf(x.y), gelu_erf(x.z), gelu_erf(x.w));
    }
    if (p.activation == 2u) {
        return vec4<f32>(gelu_tanh(x.x), gelu_tanh(x.y), gelu_tanh(x.z), gelu_tanh(x.w));
    }
    if (p.activation == 3u) {
        // As its twins: what is no number stays none.
        return select(x, vec4<f32>(0.0), x < vec4<f32>(0.0));
    }
    if (p.activation == 4u) {
        return vec4<f32>(tanh_of(x.x), tanh_of(x.y), tanh_of(x.z), tanh_of(x.w));
    }
    if (p.activation == 5u) {
        return round_bf16(x);
    }
    return x;
}

// Writes what four rows from token t on come to.
fn write(t: u32, tokens: u32, left: u32, right: u32, sums: Sums) {
    let bias_left = bitcast<vec4<f32>>(w[(p.bias_at + left) / 4u]);
    let bias_right = bitcast<vec4<f32>>(w[(p.bias_at + right) / 4u]);
    var y = sums;
    for (var i = 0u; i < min(4u, tokens - min(tokens, t)); i += 1u) {
        out[((t + i) * p.columns + left) / 4u] = finish(y.left[i] + bias_left);
        out[((t + i) * p.columns + right) / 4u] = finish(y.right[i] + bias_right);
    }
}

@compute @workgroup_size(THREADS)
fn gemm(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let across = (p.columns + 63u) / 64u;
    let group = group_index(wid, groups);
    let first = group / across * ROWS_MAX;
    let tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    let left = group % across * 64u + k % 8u * 4u;
    // Of the last panel alone, the right half is the left again.
    let right = select(left, left + PANEL, left + PANEL < p.columns);
    let row = k / 8u * ROWS;
    let sums = sums_of(first, ROWS_MAX, tokens - 1u, row, left, right, k);
    write(first + row, tokens, left, right, sums.upper);
    if (ROWS > 4u) {
        write(first + row + 4u, tokens, left, right, sums.lower);
    }
}
