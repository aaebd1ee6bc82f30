// Attention over packed sequences: sixteen queries of one head a workgroup, sixteen keys at a time. Twin of
// src/ops/attention.rs.
//
// Thread k has query k / 16; of a tile of scores it has key k % 16, of the result every sixteenth value from k % 16 on.
// The largest score so far is kept; when it changes, what was added up is scaled. A bias by distance is a table for
// each head, of twice as many values as it reaches back.

struct AttentionParams {
    heads: u32,
    head_size: u32,
    scale: f32,
    bias_at: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: AttentionParams;
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const LEAST: f32 = -3.0e38;
const BIAS_REACH: u32 = 128u;

// Sixteen keys or values, a word apart from each other's bank.
var<workgroup> tile: array<f32, 2064>;
var<workgroup> scores: array<f32, 256>;

// Loads the keys (1) or values (2) of sixteen tokens.
fn load(k: u32, which: u32, start: u32, end: u32, h: u32) {
    for (var i = k; i < 16u * p.head_size; i += 256u) {
        let j = i / p.head_size;
        let token = min(start + j, end - 1u);
        let d = i % p.head_size;
        tile[j * (p.head_size + 1u) + d] = qkv[((3u * token + which) * p.heads + h) * p.head_size + d];
    }
}

// What is added to the score of a key, this far behind or before the query.
fn bias_of(h: u32, query: u32, key: u32) -> f32 {
    if (p.bias_at == 0u) {
        return 0.0;
    }
    let before = BIAS_REACH - min(query - key, BIAS_REACH);
    let place = select(BIAS_REACH + min(key - query, BIAS_REACH - 1u), before, key < query);
    return w[p.bias_at + 2u * BIAS_REACH * h + place];
}

@compute @workgroup_size(256)
fn attention(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let group = group_index(wid, groups);
    let number = group / p.heads;
    if (number >= head[TILES]) {
        return;
    }
    let h = group % p.heads;
    let sequence = head[head[TILES_AT] + 2u * number];
    let query = head[head[TILES_AT] + 2u * number + 1u] + k / 16u;
    let begin = head[head[STARTS_AT] + sequence];
    let end = head[head[STARTS_AT] + sequence + 1u];
    let own = (3u * min(query, end - 1u) * p.heads + h) * p.head_size;
    let of_query = k / 16u * 16u;
    let j = k % 16u;
    var most = LEAST;
    var weight = 0.0;
    var sums: array<f32, 8>;
    for (var start = begin; start < end; start += 16u) {
        workgroupBarrier();
        load(k, 1u, start, end, h);
        workgroupBarrier();
        var score = 0.0;
        for (var d = 0u; d < p.head_size; d += 1u) {
            score += qkv[own + d] * tile[j * (p.head_size + 1u) + d];
        }
        score = score * p.scale + bias_of(h, query, start + j);
        scores[k] = select(LEAST, score, start + j < end);
        workgroupBarrier();
        var top = most;
        for (var i = 0u; i < 16u; i += 1u) {
            top = max(top, scores[of_query + i]);
        }
        let share = select(0.0, exp_neg(scores[k] - top), start + j < end);
        load(k, 2u, start, end, h);
        workgroupBarrier();
        scores[k] = share;
        workgroupBarrier();
        let kept = exp_neg(most - top);
        most = top;
        weight *= kept;
        for (var i = 0u; i < 16u; i += 1u) {
            weight += scores[of_query + i];
        }
        for (var r = 0u; r < p.head_size / 16u; r += 1u) {
            var sum = sums[r] * kept;
            for (var i = 0u; i < 16u; i += 1u) {
                sum += scores[of_query + i] * tile[i * (p.head_size + 1u) + 16u * r + j];
            }
            sums[r] = sum;
        }
    }
    if (query < end) {
        for (var r = 0u; r < p.head_size / 16u; r += 1u) {
            out[(query * p.heads + h) * p.head_size + 16u * r + j] = sums[r] / weight;
        }
    }
}
