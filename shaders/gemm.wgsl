// A linear layer and its activation: 32 tokens by 64 columns a workgroup, 16 of the depth at a time. Twin of
// src/ops/gemm.rs.
//
// A thread has two rows of four columns: per step of the depth two words and one quad of workgroup memory for eight
// products. A column's sum runs over the depth in order. At low precision (low.wgsl) a step is a word of several
// values.

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
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

const ROWS: u32 = 32u;

var<workgroup> rows: array<u32, 512>;
var<workgroup> quads: array<vec4<u32>, 256>;

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
    return x;
}

// The sums of a thread's two rows at low precision.
fn low_sums(first: u32, last: u32, column: u32, k: u32) -> array<vec4<f32>, 2> {
    let row = k / 16u * 2u;
    let own = column_at(column);
    var one = vec4<f32>(0.0);
    var two = vec4<f32>(0.0);
    var whole_one = vec4<i32>(0);
    var whole_two = vec4<i32>(0);
    if (p.dtype == INT8) {
        scale_rows(first, ROWS, last, k);
    }
    for (var start = 0u; start < row_words(); start += STEPS) {
        workgroupBarrier();
        for (var i = k; i < ROWS * STEPS; i += 256u) {
            rows[i] = word_of(min(first + i / STEPS, last), i / STEPS, start + i % STEPS);
        }
        quads[k] = w[(own + (start + k / 16u) * PANEL) / 4u];
        workgroupBarrier();
        for (var step = 0u; step < STEPS; step += 1u) {
            let x = quads[step * 16u + k % 16u];
            if (p.dtype == INT8) {
                whole_one = dots(whole_one, rows[row * STEPS + step], x);
                whole_two = dots(whole_two, rows[(row + 1u) * STEPS + step], x);
            } else {
                one = pairs(one, rows[row * STEPS + step], x);
                two = pairs(two, rows[(row + 1u) * STEPS + step], x);
            }
        }
    }
    if (p.dtype == INT8) {
        one = valued(whole_one, row, column);
        two = valued(whole_two, row + 1u, column);
    }
    return array<vec4<f32>, 2>(one, two);
}

@compute @workgroup_size(256)
fn gemm(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let across = (p.columns + 63u) / 64u;
    let group = group_index(wid, groups);
    let first = group / across * ROWS;
    let tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    let wanted = group % across * 64u + k % 16u * 4u;
    let column = min(wanted, p.columns - 4u);
    let row = k / 16u * 2u;
    var one = vec4<f32>(0.0);
    var two = vec4<f32>(0.0);
    if (p.dtype == 0u) {
        let own = p.panels_at + column / PANEL * PANEL * p.depth + column % PANEL;
        for (var start = 0u; start < p.depth; start += STEPS) {
            workgroupBarrier();
            for (var i = k; i < ROWS * STEPS; i += 256u) {
                let t = min(first + i / STEPS, tokens - 1u);
                rows[i] = bitcast<u32>(a[t * p.depth + start + i % STEPS]);
            }
            quads[k] = w[(own + (start + k / 16u) * PANEL) / 4u];
            workgroupBarrier();
            for (var step = 0u; step < STEPS; step += 1u) {
                let x = bitcast<vec4<f32>>(quads[step * 16u + k % 16u]);
                one += bitcast<f32>(rows[row * STEPS + step]) * x;
                two += bitcast<f32>(rows[(row + 1u) * STEPS + step]) * x;
            }
        }
    } else {
        let both = low_sums(first, tokens - 1u, column, k);
        one = both[0];
        two = both[1];
    }
    let bias = bitcast<vec4<f32>>(w[(p.bias_at + column) / 4u]);
    let t = first + row;
    if (t < tokens && wanted == column) {
        out[(t * p.columns + column) / 4u] = finish(one + bias);
    }
    if (t + 1u < tokens && wanted == column) {
        out[((t + 1u) * p.columns + column) / 4u] = finish(two + bias);
    }
}
