// Token ids to normalised vectors: 32 threads a token. Twin of src/ops/embed.rs.
//
// Per token: three times three rows read, the later times from a cache, and one written.

struct EmbedParams {
    hidden: u32,
    vocab: u32,
    places: u32,
    places_at: u32,
    types_at: u32,
    gamma_at: u32,
    beta_at: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: EmbedParams;
@group(0) @binding(3) var<storage, read> words: array<f32>;
@group(0) @binding(4) var<storage, read> tables: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

fn value(word: u32, place: u32, i: u32) -> f32 {
    return words[word + i] + tables[place + i] + tables[p.types_at + i];
}

@compute @workgroup_size(256)
fn embed(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let first = group_index(wid, groups) * 8u;
    if (first >= head[TOKENS]) {
        return;
    }
    let t = min(first + k / 32u, head[TOKENS] - 1u);
    let word = min(head[head[IDS_AT] + t], p.vocab - 1u) * p.hidden;
    let place = p.places_at + min(head[head[PLACES_AT] + t], p.places - 1u) * p.hidden;
    let share = 1.0 / f32(p.hidden);
    var sum = 0.0;
    for (var i = k % 32u; i < p.hidden; i += 32u) {
        sum += value(word, place, i);
    }
    let mean = sum_of(k, 32u, sum) * share;
    sum = 0.0;
    for (var i = k % 32u; i < p.hidden; i += 32u) {
        let off = value(word, place, i) - mean;
        sum += off * off;
    }
    let scale = 1.0 / sqrt(sum_of(k, 32u, sum) * share + p.eps);
    if (first + k / 32u < head[TOKENS]) {
        for (var i = k % 32u; i < p.hidden; i += 32u) {
            let x = (value(word, place, i) - mean) * scale;
            out[t * p.hidden + i] = x * tables[p.gamma_at + i] + tables[p.beta_at + i];
        }
    }
}
