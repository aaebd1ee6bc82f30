// Where an event lies for detectors that take all of its values for one point. Twin of `coordinate` and `put_point` of
// src/ops/half_space.rs, part of scores.wgsl.

// Where a number `off` the origin of the track at `track` lies, by the track's longest horizon.
fn place_of(track: u32, off: f32) -> u32 {
    let deviation = rounded(sqrt(state_of(track + 9u)));
    let z = held(mul(rounded(off - state_of(track + 8u)), inverse(deviation + 1e-12)), 1e6);
    let size = select(z, -z, z < 0.0);
    return u32(mul(mul(z, inverse(4.0 + size)), 32767.0) + 32768.0);
}

// Puts down, at `point`, where a value lies that its track, at `track`, has learnt.
fn put_point(point: u32, i: u32, track: u32, x: f32) {
    states[point + i] = place_of(track, near_zero(rounded(x - state_of(track))));
    if (p.values == 1u) {
        states[point + 1u] = place_of(track, state_of(track + 2u));
        states[point + 2u] = place_of(track, state_of(track + 5u));
    }
}
