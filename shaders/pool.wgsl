// A sequence's vectors to one, a workgroup each: a thread adds up every 256th value over the tokens. Twin of
// src/ops/pool.rs.

struct PoolParams {
    hidden: u32,
    first: u32,
    unit: u32,
    pad0: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: PoolParams;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;

const OUTPUT_HEAD: u32 = 8u;

@compute @workgroup_size(256)
fn pool(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let sequence = group_index(wid, groups);
    if (sequence >= head[SEQUENCES]) {
        return;
    }
    if (sequence == 0u && k == 0u) {
        out[0] = OUTPUT_HEAD + head[SEQUENCES] * p.hidden;
    }
    let begin = head[head[STARTS_AT] + sequence];
    let end = select(head[head[STARTS_AT] + sequence + 1u], begin + 1u, p.first != 0u);
    let to = OUTPUT_HEAD + sequence * p.hidden;
    let share = 1.0 / f32(end - begin);
    var squares = 0.0;
    for (var i = k; i < p.hidden; i += 256u) {
        var sum = 0.0;
        for (var token = begin; token < end; token += 1u) {
            sum += x[token * p.hidden + i];
        }
        sum *= share;
        squares += sum * sum;
        out[to + i] = bitcast<u32>(sum);
    }
    let length = sqrt(sum_of(k, 256u, squares));
    if (p.unit != 0u && length > 0.0) {
        for (var i = k; i < p.hidden; i += 256u) {
            out[to + i] = bitcast<u32>(bitcast<f32>(out[to + i]) * (1.0 / length));
        }
    }
}
