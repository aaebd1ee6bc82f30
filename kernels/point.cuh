// Where values lie for detectors that take their distances in deviations for coordinates.
//
// Twin of `coordinate` and `put_point` of src/ops/half_space.rs and `place` of src/ops/profile.rs. Two words read and
// one written for each value.
#pragma once

#include "scores.cuh"

namespace pelton::score {

// Where a number `off` the origin of the track at `track` lies, by the track's longest horizon.
static __device__ __forceinline__ uint32_t place_of(const State& state, uint32_t track, float off) {
    const float deviation = __fsqrt_rn(state.get(track + 9));
    const float z = held((off - state.get(track + 8)) * inverse(deviation + 1e-12f), 1e6f);
    const float size = z < 0.0f ? -z : z;
    return uint32_t(z * inverse(4.0f + size) * 32767.0f + 32768.0f);
}

// The same in 64ths of a deviation, from 0 to 8190.
static __device__ __forceinline__ uint32_t sixty_fourths(const State& state, uint32_t track, float off) {
    const float deviation = __fsqrt_rn(state.get(track + 9));
    const float far = off - state.get(track + 8);
    return uint32_t(held(far * inverse(deviation + 1e-12f) * 64.0f, 4095.0f) + 4095.5f);
}

// Puts down, at `point`, where a value lies that its track, at `track`, has learnt.
static __device__ __forceinline__ void put_point(const State& state, const ScoreParams& p, uint32_t point, uint32_t i,
                                                 uint32_t track, float x) {
    state[point + i] = place_of(state, track, near_zero(x - state.get(track)));
    if (p.values == 1) {
        state[point + 1] = place_of(state, track, state.get(track + 2));
        state[point + 2] = place_of(state, track, state.get(track + 5));
    }
}

}  // namespace pelton::score
