// Scores each event by the past of its key, with streaming principal components: how much of the latest stretch of a
// key's values its usual shapes leave over. Twin of src/ops/sub_pca.rs; what all kernels that score share stands in
// scores.wgsl, what detectors of stretches share in stretch.wgsl.

fn stretch_window() -> u32 {
    return p.shape0 >> 16u;
}

fn stretch_words() -> u32 {
    return (STRETCH_RING + stretch_window() * (1u + (p.shape0 & 0xffffu)) + 15u) / 16u * 16u;
}

// Takes from a stretch what each vector explains, and where `learns` says so, has each learn it; the mean square of
// what is left.
fn unusual(stretch: u32, at: u32, share: f32, learns: bool, k: u32) -> f32 {
    let window = stretch_window();
    let rank = p.shape0 & 0xffffu;
    var left = array<f32, 2>(0.0, 0.0);
    for (var i = 0u; STRANDS * i + k < window; i += 1u) {
        left[i] = state_of(stretch + STRETCH_RING + ((at + STRANDS * i + k) & (window - 1u)));
    }
    var is_done = !learns;
    for (var j = 0u; j < rank; j += 1u) {
        let vector = stretch + STRETCH_RING + window * (1u + j) + k;
        var part = vec2<f32>(0.0, 0.0);
        for (var i = 0u; STRANDS * i + k < window; i += 1u) {
            let of_vector = state_of(vector + STRANDS * i);
            part += vec2<f32>(mul(left[i], of_vector), mul(of_vector, of_vector));
        }
        let sums = summed(k, part);
        let is_none = sums.y < 1e-12;
        let size = select(sums.y, 1.0, is_none);
        let along = near_zero(sums.x);
        let taken = mul(along, inverse(size));
        let gain = mul(mul(along, inverse(rounded(sqrt(size)))), share);
        for (var i = 0u; !is_done && STRANDS * i + k < window; i += 1u) {
            let before = state_of(vector + STRANDS * i);
            let number = left[i];
            if (is_none) {
                put(vector + STRANDS * i, number);
            } else {
                put(vector + STRANDS * i, near_zero(mul(before, 1.0 - share) + mul(number, gain)));
                left[i] = near_zero(number - mul(before, taken));
            }
        }
        is_done |= is_none;
    }
    let squares = summed(k, vec2<f32>(mul(left[0], left[0]) + mul(left[1], left[1]), 0.0)).x;
    return mul(squares, inverse(f32(window)));
}

@compute @workgroup_size(32)
fn sub_pca(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk_together(wid, groups, k);
}
