// Attention over packed sequences: sixteen queries of one head a workgroup, sixteen keys at a time. Twin of
// src/ops/attention.rs.
//
// Eight threads side by side have the same four queries; of a tile of scores each has two keys, of the result every
// eighth quad, up to four. Queries, keys and values come straight from memory: six quads for 32 products of scores, and
// for the result eight, half of them shares, for 64. The largest score so far is kept; when it changes, what was added
// up is scaled. Each thread adds up the shares of its own keys, and all of them at the end. A bias by distance is a
// table for each head, of twice as many values as it reaches back.

struct AttentionParams {
    heads: u32,
    head_size: u32,
    scale: f32,
    bias_at: u32,
    dtype: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: AttentionParams;
@group(0) @binding(3) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

const LEAST: f32 = -3.0e38;
const BIAS_REACH: u32 = 128u;
const BF16: u32 = 2u;

// Queries and keys of a tile.
const TILE: u32 = 16u;

// Of each tile's key, the scores or the shares of four queries: sixteen keys for the first four, then the next.
var<workgroup> scores: array<vec4<f32>, 64>;

// Where the queries (0), keys (1) or values (2) of a token begin, in quads.
fn place(token: u32, which: u32, h: u32) -> u32 {
    return ((3u * token + which) * p.heads + h) * (p.head_size / 4u);
}

fn four(at: vec4<u32>, quad: u32) -> mat4x4<f32> {
    return mat4x4<f32>(qkv[at.x + quad], qkv[at.y + quad], qkv[at.z + quad], qkv[at.w + quad]);
}

// Where the queries, keys or values of four tokens begin; those beyond the sequence are its last.
fn places(first: u32, end: u32, which: u32, h: u32) -> vec4<u32> {
    return vec4<u32>(
        place(min(first, end - 1u), which, h), place(min(first + 1u, end - 1u), which, h),
        place(min(first + 2u, end - 1u), which, h), place(min(first + 3u, end - 1u), which, h),
    );
}

// The shares of a key as they meet its values.
fn rounded(x: vec4<f32>) -> vec4<f32> {
    if (p.dtype == BF16) {
        return round_bf16(x);
    }
    return x;
}

fn exps(x: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(exp_neg(x.x), exp_neg(x.y), exp_neg(x.z), exp_neg(x.w));
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

// The scores of a key for four queries, whose values begin at `own`.
fn scores_of(own: vec4<u32>, query: u32, key: u32, end: u32, h: u32) -> vec4<f32> {
    if (key >= end) {
        return vec4<f32>(LEAST);
    }
    let at = place(key, 1u, h);
    var sum = vec4<f32>(0.0);
    for (var quad = 0u; quad < p.head_size / 4u; quad += 1u) {
        sum = row_products(sum, qkv[at + quad], transpose(four(own, quad)));
    }
    return sum * p.scale + vec4<f32>(
        bias_of(h, query, key), bias_of(h, query + 1u, key), bias_of(h, query + 2u, key), bias_of(h, query + 3u, key),
    );
}

// What a tile's values add to a quad of four results; `shares` is where the queries' shares begin.
fn added(sum: mat4x4<f32>, kept: vec4<f32>, shares: u32, start: u32, end: u32, h: u32, quad: u32) -> mat4x4<f32> {
    if (quad >= p.head_size / 4u) {
        return sum;
    }
    var sums = mat4x4<f32>(sum[0] * kept.x, sum[1] * kept.y, sum[2] * kept.z, sum[3] * kept.w);
    for (var i = 0u; i < min(TILE, end - start); i += 4u) {
        let at = shares + i;
        let x = mat4x4<f32>(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
        sums = products(sums, transpose(x), four(places(start + i, end, 2u, h), quad));
    }
    return sums;
}

fn write(sum: mat4x4<f32>, weight: vec4<f32>, query: u32, end: u32, h: u32, quad: u32) {
    var sums = sum;
    for (var i = 0u; i < 4u; i += 1u) {
        if (quad < p.head_size / 4u && query + i < end) {
            out[((query + i) * p.heads + h) * (p.head_size / 4u) + quad] = sums[i] / weight[i];
        }
    }
}

@compute @workgroup_size(32)
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
    let query = head[head[TILES_AT] + 2u * number + 1u] + k / 8u * 4u;
    let begin = head[head[STARTS_AT] + sequence];
    let end = head[head[STARTS_AT] + sequence + 1u];
    let own = places(query, end, 0u, h);
    let shares = k / 8u * TILE;
    let j = k % 8u;
    // Threads whose queries are beyond the sequence only keep step.
    let known = select(begin, end, query < end);
    var most = vec4<f32>(LEAST);
    var weight = vec4<f32>(0.0);
    var one: mat4x4<f32>;
    var two: mat4x4<f32>;
    var three: mat4x4<f32>;
    var last: mat4x4<f32>;
    for (var start = begin; start < end; start += TILE) {
        let near = scores_of(own, query, start + j, known, h);
        let far = scores_of(own, query, start + j + 8u, known, h);
        workgroupBarrier();
        scores[shares + j] = near;
        scores[shares + j + 8u] = far;
        workgroupBarrier();
        var top = most;
        for (var i = 0u; i < TILE; i += 1u) {
            top = max(top, scores[shares + i]);
        }
        workgroupBarrier();
        let near_share = select(vec4<f32>(0.0), exps(near - top), start + j < end);
        let far_share = select(vec4<f32>(0.0), exps(far - top), start + j + 8u < end);
        scores[shares + j] = rounded(near_share);
        scores[shares + j + 8u] = rounded(far_share);
        workgroupBarrier();
        let kept = exps(most - top);
        most = top;
        weight = weight * kept + (near_share + far_share);
        if (query < end) {
            one = added(one, kept, shares, start, end, h, j);
            two = added(two, kept, shares, start, end, h, j + 8u);
            three = added(three, kept, shares, start, end, h, j + 16u);
            last = added(last, kept, shares, start, end, h, j + 24u);
        }
    }
    workgroupBarrier();
    scores[shares + j] = weight;
    workgroupBarrier();
    weight = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i += 1u) {
        weight += scores[shares + i];
    }
    write(one, weight, query, end, h, j);
    write(two, weight, query, end, h, j + 8u);
    write(three, weight, query, end, h, j + 16u);
    write(last, weight, query, end, h, j + 24u);
}
