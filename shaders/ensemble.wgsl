// Takes the rows of a further detector into those of the ones before it. Twin of src/ops/ensemble.rs.
//
// A thread takes a key and walks its rows in order: 40 bytes of each of two rows read, 40 written, and the parts of
// several values where they change; per key 64 bytes of state. The busiest key of a batch bounds it.

@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<uniform> p: ScoreParams;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read> segments: array<u32>;
@group(0) @binding(5) var<storage, read> map: array<u32>;
@group(0) @binding(6) var<storage, read_write> states: array<u32>;
@group(0) @binding(7) var<storage, read> rows: array<u32>;
@group(0) @binding(8) var<storage, read_write> out: array<u32>;

// What of a surprise a share of the false alarms leaves.
fn less(surprise: f32, discount: f32) -> f32 {
    let left = rounded(surprise - discount);
    return select(0.0, left, left > 0.0);
}

fn take(state: u32, by: u32, row: u32) {
    let drifted = (out[row + 4u] | rows[by + 4u]) & DRIFTED;
    var flags = out[row + 4u] & ~(ALERT | RESTING | DISMISSED);
    var surprise = bitcast<f32>(out[row + 5u]);
    if ((flags & USUAL) == 0u) {
        surprise = less(surprise, bitcast<f32>(p.shape0));
    }
    let said = rows[by + 4u];
    if ((said & (USUAL | WARMING | MISSING)) == 0u) {
        let other = less(bitcast<f32>(rows[by + 5u]), bitcast<f32>(p.shape1));
        var so_far = surprise;
        if ((flags & USUAL) != 0u) {
            so_far = own_ln(1.0 + own_exp(held(surprise, 80.0)));
        }
        if ((flags & WARMING) != 0u || other > so_far) {
            flags = (flags & 0xffff0000u) | (said & (RULED_OUT | CLAMPED | 0x700u)) | (p.shape2 << 11u);
            surprise = other;
            for (var i = 6u; i < 9u; i += 1u) {
                out[row + i] = rows[by + i];
            }
            for (var i = ROW; i < row_words(); i += 1u) {
                out[row + i] = rows[by + i];
            }
        }
    }
    if (surprise <= p.asked) {
        flags &= ~RULED_OUT;
    }
    if (p.shape3 != 0u) {
        advance(state, vec2<u32>(out[row + 2u], out[row + 3u]));
        if ((flags & MISSING) == 0u) {
            let seen = states[state + SEEN];
            states[state + SEEN] = select(seen + 1u, 0xfffe0000u, seen == 0xffffffffu);
            flags = announce(state, surprise, flags);
        }
    }
    out[row + 4u] = flags | drifted;
    out[row + 5u] = bitcast<u32>(surprise);
}

@compute @workgroup_size(256)
fn ensemble(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    let g = group_index(wid, groups);
    let segment = g * 256u + k;
    if (g >= head[GROUPS] || segment >= segments[SEGMENTS]) {
        return;
    }
    let state = state_of_segment(segment);
    if (state == NOWHERE) {
        return;
    }
    let came = OUT_FIXED + rows[OUT_ASIDE];
    let to = OUT_FIXED + out[OUT_ASIDE];
    let at = LIST + SEGMENT * segment + 1u;
    for (var i = segments[at]; i < segments[at + SEGMENT]; i += 1u) {
        take(state, came + i * row_words(), to + i * row_words());
    }
}
