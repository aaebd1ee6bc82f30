// Where values lie for detectors that take their distances in deviations for coordinates. Twin of `coordinate` and
// `put_point` of src/ops/half_space.rs and `place` of src/ops/profile.rs, part of scores.wgsl.

// Where a number `off` the origin of the track at `track` lies, by the track's longest horizon.
fn place_of(track: u32, off: f32) -> u32 {
    let deviation = rounded(sqrt(state_of(track + 9u)));
    let z = held(mul(rounded(off - state_of(track + 8u)), inverse(deviation + 1e-12)), 1e6);
    let size = select(z, -z, z < 0.0);
    return u32(mul(mul(z, inverse(4.0 + size)), 32767.0) + 32768.0);
}

// The same in 64ths of a deviation, from 0 to 8190.
fn sixty_fourths(track: u32, off: f32) -> u32 {
    let deviation = rounded(sqrt(state_of(track + 9u)));
    let far = rounded(off - state_of(track + 8u));
    let steps = held(mul(mul(far, inverse(deviation + 1e-12)), 64.0), 4095.0);
    return u32(steps + 4095.5);
}

// Puts down, at `point`, where a value lies that its track, at `track`, has learnt.
fn put_point(point: u32, i: u32, track: u32, x: f32) {
    states[point + i] = place_of(track, near_zero(rounded(x - state_of(track))));
    if (p.values == 1u) {
        states[point + 1u] = place_of(track, state_of(track + 2u));
        states[point + 2u] = place_of(track, state_of(track + 5u));
    }
}
