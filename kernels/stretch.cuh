// What detectors share that judge the latest stretch of a key's values by how much about it is unusual.
//
// Twin of src/ops/stretch.rs; what all kernels that score cost stands in scores.cuh. A warp takes a key, and a lane
// each 32nd number of a stretch, so that all are loaded in whole lines, and sums are those of a butterfly. A detector
// is a struct that is made of the parameters, with `window` and `words` of a value's state, and `unusual`.
#pragma once

#include "together.cuh"

namespace pelton::score {

constexpr uint32_t STRETCH_COUNT = 0;
constexpr uint32_t STRETCH_MEAN = 1;
constexpr uint32_t STRETCH_LEVELS = 2;
constexpr uint32_t STRETCH_FRESH = 8;
constexpr uint32_t STRETCH_RING = 16;
constexpr uint32_t STRETCH_COUNT_MAX = 4096;

// A sum over all lanes, the same in each.
static __device__ __forceinline__ float summed(float x) {
    for (uint32_t half = LANES / 2; half > 0; half /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, half);
    }
    return x;
}

// A number in deviations that the track at `track` has learnt.
static __device__ __forceinline__ float scaled(const State& state, uint32_t track, float x) {
    const float deviation = __fsqrt_rn(state.get(track + 9));
    const float off = near_zero(x - state.get(track)) - state.get(track + 8);
    return near_zero(held(off * inverse(deviation + 1e-12f), 64.0f));
}

// The excess of a value's stretch, or -1 where there is no past to judge by. All lanes together.
template <class Stretch>
static __device__ __forceinline__ float excess_of(const State& stretch, const Stretch& s) {
    const uint32_t count = stretch[STRETCH_COUNT];
    const float mean = stretch.get(STRETCH_MEAN);
    if (count < s.window) {
        return -1.0f;
    }
    const uint32_t before = count - s.window;
    const float early = 3.0f * inverse(float(before) + 3.0f);
    const float share = early < 9.765625e-4f ? 9.765625e-4f : early;
    const float square = s.unusual(stretch, (0 - count) & (s.window - 1), share);
    __syncwarp();
    if (lane() == 0) {
        stretch.put(STRETCH_MEAN, near_zero(mean + (square - mean) * share));
    }
    return before >= s.window ? square * inverse(mean + 2.4414063e-4f) : -1.0f;
}

template <class Stretch> struct ByExcess {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ State stretch_of(const State& state, const Stretch& s, uint32_t own, uint32_t i) {
        return State{state.words, state.at + own + i * s.words()};
    }
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + STRETCH_FRESH + i] = 0;
    }
    // Keeps a value that its track has learnt.
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance& found) {
        const Stretch s(p);
        const State stretch = stretch_of(state, s, own, i);
        if (stretch[STRETCH_COUNT] > 0 || state.get(track + 7) >= 16.0f) {
            state[own + STRETCH_FRESH + i] = 1;
            const uint32_t count = stretch[STRETCH_COUNT] + 1;
            stretch[STRETCH_COUNT] = count == STRETCH_COUNT_MAX + s.window ? STRETCH_COUNT_MAX : count;
            stretch.put(STRETCH_RING + ((0 - count) & (s.window - 1)), scaled(state, track, x));
        }
        return Apart{found.z2, 0.0f, 0.0f};
    }
    // Of an event's values the largest excess, or -1 where none is known: all lanes together. Each is the part of its
    // value.
    static __device__ __forceinline__ float together(const State& state, const ScoreParams& p, const Row& row) {
        const Stretch s(p);
        const uint32_t own = own_state(p);
        float largest = -1.0f;
        for (uint32_t i = 0; i < p.values; i++) {
            if (state[own + STRETCH_FRESH + i] != 0) {
                const float excess = excess_of(stretch_of(state, s, own, i), s);
                largest = excess > largest ? excess : largest;
                if (excess >= 0.0f && lane() == 0) {
                    row.put_part(p, i, excess);
                }
            }
        }
        return largest;
    }
    // `apart` holds the largest excess.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams&, uint32_t own, const Distance&,
                                                  const Apart& apart, uint32_t, const Row&) {
        if (apart.by < 0.0f) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const uint32_t levels = state[own + STRETCH_LEVELS];
        state[own + STRETCH_LEVELS] = levels == 0xffffffffu ? 0xfffe0000u : levels + 1;
        const float root = __fsqrt_rn(apart.by);
        return Level{true, levels, own_ln(1.0f + apart.by), root * inverse(1.0f + root)};
    }
};

}  // namespace pelton::score
