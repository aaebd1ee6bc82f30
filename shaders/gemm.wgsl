// A linear layer and its activation: 32 tokens by 64 columns a workgroup. Twin of src/ops/gemm.rs.
//
// Eight threads side by side have the same four rows, and one panel's columns each half of theirs; sums are those of
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

const THREADS: u32 = 64u;
const ROWS_MAX: u32 = 32u;

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
    let row = k / 8u * 4u;
    let left = group % across * 64u + k % 8u * 4u;
    // Of the last panel alone, the right half is the left again.
    let right = select(left, left + PANEL, left + PANEL < p.columns);
    let sums = sums_of(first, ROWS_MAX, tokens - 1u, row, left, right, k);
    let bias_left = bitcast<vec4<f32>>(w[(p.bias_at + left) / 4u]);
    let bias_right = bitcast<vec4<f32>>(w[(p.bias_at + right) / 4u]);
    var y = array<vec4<f32>, 8>(
        sums.left[0] + bias_left, sums.left[1] + bias_left, sums.left[2] + bias_left, sums.left[3] + bias_left,
        sums.right[0] + bias_right, sums.right[1] + bias_right, sums.right[2] + bias_right, sums.right[3] + bias_right,
    );
    for (var i = 0u; i < 8u; i += 1u) {
        let t = first + row + i % 4u;
        if (t < tokens) {
            out[(t * p.columns + select(left, right, i >= 4u)) / 4u] = finish(y[i]);
        }
    }
}
