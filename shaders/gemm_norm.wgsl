// A linear layer, what came before it added, normalised: whole rows in a workgroup. Twin of src/ops/gemm.rs.
//
// A thread has four rows of four columns; a row needs a quarter as many threads as it has columns, and a workgroup
// takes as many groups of four rows as that leaves. Weights come straight from memory, a quad for sixteen products.

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
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>;

// Sixteen steps of 128 rows at most: a row has eight threads at least.
var<workgroup> rows: array<u32, 2048>;
var<workgroup> quads: array<vec4<f32>, 256>;

// The sums of what the `across` threads of four rows bring, for each of them.
fn sums_of(k: u32, across: u32, x: vec4<f32>) -> vec4<f32> {
    let c = k % across;
    workgroupBarrier();
    quads[k] = x;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (c < half && c + half < across && k + half < 256u) {
            quads[k] += quads[k + half];
        }
        workgroupBarrier();
    }
    return quads[k - c];
}

fn total(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

// The sums of a thread's four rows at low precision.
fn low_sums(first: u32, count: u32, last: u32, column: u32, k: u32) -> array<vec4<f32>, 4> {
    let row = k / (p.columns / 4u) * 4u;
    let own = column_at(column);
    var x: array<vec4<f32>, 4>;
    var whole: array<vec4<i32>, 4>;
    if (p.dtype == INT8) {
        scale_rows(first, count, last, k);
    }
    for (var start = 0u; start < row_words(); start += STEPS) {
        workgroupBarrier();
        for (var i = k; i < count * STEPS; i += 256u) {
            rows[i] = word_of(min(first + i / STEPS, last), i / STEPS, start + i % STEPS);
        }
        workgroupBarrier();
        for (var step = 0u; step < STEPS; step += 1u) {
            let quad = w[(own + (start + step) * PANEL) / 4u];
            for (var i = 0u; i < 4u; i += 1u) {
                if (p.dtype == INT8) {
                    whole[i] = dots(whole[i], rows[(row + i) * STEPS + step], quad);
                } else {
                    x[i] = pairs(x[i], rows[(row + i) * STEPS + step], quad);
                }
            }
        }
    }
    for (var i = 0u; i < 4u && p.dtype == INT8; i += 1u) {
        x[i] = valued(whole[i], min(row + i, 127u), column);
    }
    return x;
}

@compute @workgroup_size(256)
fn gemm_norm(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let across = p.columns / 4u;
    let count = 256u / across * 4u;
    let first = group_index(wid, groups) * count;
    let tokens = head[TOKENS];
    if (first >= tokens) {
        return;
    }
    let column = k % across * 4u;
    let row = k / across * 4u;
    var x: array<vec4<f32>, 4>;
    if (p.dtype == 0u) {
        let own = p.panels_at + column / PANEL * PANEL * p.depth + column % PANEL;
        for (var start = 0u; start < p.depth; start += STEPS) {
            workgroupBarrier();
            for (var i = k; i < count * STEPS; i += 256u) {
                let t = min(first + i / STEPS, tokens - 1u);
                rows[i] = bitcast<u32>(a[t * p.depth + start + i % STEPS]);
            }
            workgroupBarrier();
            for (var step = 0u; step < STEPS; step += 1u) {
                let quad = bitcast<vec4<f32>>(w[(own + (start + step) * PANEL) / 4u]);
                for (var i = 0u; i < 4u; i += 1u) {
                    x[i] += bitcast<f32>(rows[(row + i) * STEPS + step]) * quad;
                }
            }
        }
    } else {
        x = low_sums(first, count, tokens - 1u, column, k);
    }
    let bias = bitcast<vec4<f32>>(w[(p.bias_at + column) / 4u]);
    for (var i = 0u; i < 4u; i += 1u) {
        let t = min(first + row + i, tokens - 1u);
        x[i] += bias + residual[(t * p.columns + column) / 4u];
    }
    let share = 1.0 / f32(p.columns);
    let mean = share * sums_of(k, across, vec4<f32>(total(x[0]), total(x[1]), total(x[2]), total(x[3])));
    for (var i = 0u; i < 4u; i += 1u) {
        x[i] -= vec4<f32>(mean[i]);
    }
    let squares = vec4<f32>(
        total(x[0] * x[0]), total(x[1] * x[1]), total(x[2] * x[2]), total(x[3] * x[3]),
    );
    let variance = share * sums_of(k, across, squares);
    let gamma = bitcast<vec4<f32>>(w[(p.gamma_at + column) / 4u]);
    let beta = bitcast<vec4<f32>>(w[(p.beta_at + column) / 4u]);
    for (var i = 0u; i < 4u; i += 1u) {
        let t = first + row + i;
        if (row < count && t < tokens) {
            let scale = 1.0 / sqrt(variance[i] + p.eps);
            out[(t * p.columns + column) / 4u] = x[i] * scale * gamma + beta;
        }
    }
}
