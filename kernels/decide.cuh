// From distances to probabilities and alerts.
//
// Twin of src/ops/decide.rs, part of scores.cuh. Peaks read and write 160 bytes of state beside the two lines of all.
#pragma once

namespace pelton::score {

// Mean and variance at `at` learn what lies `off` from the mean, with this share of the whole.
static __device__ __forceinline__ void learn_spread(const State& state, uint32_t at, float off, float share) {
    const float step = off * share;
    const float variance = state.get(at + 1);
    const float square = off * (off - step);
    state.put(at, state.get(at) + step);
    state.put(at + 1, positive(variance + (square - variance) * share));
}

// Events that the share of peaks counts, of so many that had a level.
static __device__ __forceinline__ uint32_t trials_of(uint32_t levels) {
    return levels < 0x40000 ? levels : 0x20000 + (levels & 0x1ffff);
}

// The share of peaks among all events.
static __device__ __forceinline__ float share_of_peaks(uint32_t peaks, uint32_t trials) {
    return (float(peaks) + 0.5f) * inverse(float(trials) + 20.0f);
}

// A shape, from -0.5 to `most`.
static __device__ __forceinline__ float held_to(float xi, float most) {
    xi = xi < -0.5f ? -0.5f : xi;
    return xi > most ? most : xi;
}

// Minus the logarithm of the probability of this excess or a larger one among those of a Pareto distribution.
static __device__ __forceinline__ float pareto(float excess, float mean, float xi) {
    const float y = excess * inverse(mean * (1.0f - xi));
    if (xi >= -1e-3f && xi <= 1e-3f) {
        return y;
    }
    const float at = 1.0f + xi * y;
    const float per = inverse(xi);
    return at >= 0.25f ? own_ln(at) * per : -1.3862944f * per + (y + 0.75f * per) * 4.0f;
}

// Minus the logarithm of the probability of this excess or a larger one, as so few peaks predict it.
static __device__ __forceinline__ float tail(const State& state, float excess, uint32_t trials) {
    const float n = float(state[PEAKS]);
    const float all = inverse(n + 10.0f);
    const float mean = (state.get(EXCESS) * n + 1.0f) * inverse(n + 1.0f);
    const float least = (state.get(LEAST) * n + 2.5f * mean) * all;
    float spread = mean - 2.0f * least;
    if (spread < 0.02f * mean) {
        spread = 0.02f * mean;
    }
    const float xi = held_to(2.0f - mean * inverse(spread), 0.75f) + 2.0f * all;
    const float aside = 2.0f * __fsqrt_rn(all);
    const float usual = pareto(excess, mean, held_to(xi, 0.9f));
    const float light = pareto(excess, mean, held_to(xi - aside, 0.9f));
    const float heavy = pareto(excess, mean, held_to(xi + aside, 0.9f));
    const float lighter = light > usual ? usual : light;
    const float largest = lighter > heavy ? heavy : lighter;
    const float by_light = own_exp(held(largest - light, 80.0f));
    const float by_usual = own_exp(held(largest - usual, 80.0f));
    const float by_heavy = own_exp(held(largest - heavy, 80.0f));
    const float sum = by_light + 4.0f * by_usual + by_heavy;
    return largest - own_ln(sum * (1.0f / 6.0f)) - own_ln(share_of_peaks(state[PEAKS], trials));
}

static __device__ __forceinline__ void learn_peak(const State& state, float excess, uint32_t trials) {
    const uint32_t peaks = state[PEAKS];
    const uint32_t compared = min(peaks, 8u);
    float sum = 0.0f;
    for (uint32_t i = 0; i < compared; i++) {
        const float other = state.get(RING + (peaks < RING_PEAKS ? i : (peaks + i) % RING_PEAKS));
        sum += other < excess ? other : excess;
    }
    const float n = float(peaks);
    const float mean = state.get(EXCESS);
    state.put(EXCESS, mean + (excess - mean) * inverse(n + 1.0f));
    if (compared > 0) {
        const float lesser = 0.5f * sum * inverse(float(compared));
        const float least = state.get(LEAST);
        state.put(LEAST, least + (lesser - least) * inverse(n));
    }
    state.put(RING + peaks % RING_PEAKS, excess);
    state[PEAKS] = peaks + 1;
    const float odds = inverse(share_of_peaks(peaks + 1, trials)) - 1.0f;
    state.put(SLOPE, own_ln(odds) * (1.0f / 3.0f));
}

static __device__ __forceinline__ void learn(const State& state, float excess, uint32_t trials) {
    if (excess > 0.0f) {
        learn_peak(state, excess > 16.0f ? 16.0f : excess, trials);
    }
    if (trials >= 0x40000 && state[PEAKS] >= 64) {
        state[PEAKS] /= 2;
    }
}

// How far a level lies from those before it, `count` of them, in deviations; it is then learnt.
static __device__ __forceinline__ float standardise(const State& state, float level, float count) {
    const float off = near_zero(level - state.get(LEVEL));
    const float deviation = __fsqrt_rn(state.get(LEVEL + 1));
    const float u = held(off * inverse(deviation + 1e-6f), 1e6f);
    const float limit = 8.0f * deviation + 1e-3f;
    const float age = (count + 1.0f) * (1.0f / 2048.0f);
    const float share = 1.0f / 2048.0f * inverse(1.0f - own_exp(-(age > 16.0f ? 16.0f : age)));
    const bool known = count >= 8.0f;
    learn_spread(state, LEVEL, known ? held(off, limit) : off, share);
    return known ? u : 0.0f;
}

// Whether a label says that alerts up to this surprise are none. Twin of src/ops/label.rs.
static __device__ __forceinline__ bool is_dismissed(const State& state, const ScoreParams& p, float surprise) {
    return surprise <= state.get(BAR) && float(state[SEEN] - state[BAR_SEEN]) * p.rate <= 16.0f;
}

// What chance makes of a level of independent values.
static __device__ __forceinline__ float by_chance(const ScoreParams& p, float level) {
    const float beyond = level - 1.3f;
    return 4.6f * level + p.chance_steep * (beyond > 0.0f ? beyond : 0.0f);
}

// Adds to the flags of an event that is this surprising whether it alerts: rest, labels and rules.
static __device__ __forceinline__ void announce(const State& state, const ScoreParams& p, float surprise,
                                                uint32_t& flags) {
    const bool peak = (flags & USUAL) == 0;
    if (state.get(REST) > 0.0f && !(peak && surprise > 1.2f * state.get(PEAK))) {
        flags |= RESTING;
    }
    if (peak && surprise > p.asked && (flags & (WARMING | RULED_OUT | RESTING)) == 0) {
        if (is_dismissed(state, p, surprise)) {
            flags |= DISMISSED;
        } else {
            flags |= ALERT;
            state.put(REST, p.rest);
            state.put(PEAK, surprise);
        }
    }
}

// The window of a key's levels, where drift is looked for by one.
static __device__ __forceinline__ State window_of(State state, const ScoreParams& p) {
    state.at += p.own_words - WINDOW;
#ifndef CUDA_HOST
    // So that no compiler keeps this place in a register from event to event, where mostly no drift is looked for.
    asm volatile("" : "+r"(state.at));
#endif
    return state;
}

// Whether a key has drifted, with an event whose level lies `u` deviations off. Twin of src/ops/drift.rs. A window is
// looked at behind the event (`judge`), where there are registers for it.
static __device__ __forceinline__ bool has_drifted(State state, const ScoreParams& p, float u) {
#ifndef CUDA_HOST
    // As above.
    asm volatile("" : "+r"(state.at));
#endif
    if (p.drift_threshold < 0.0f) {
        count_level(window_of(state, p), u);
        return false;
    }
    const float sum = state.get(DRIFT) + (u > 4.0f ? 4.0f : u) - p.drift_delta;
    state.put(DRIFT, sum > 0.0f ? sum : 0.0f);
    return sum > p.drift_threshold;
}

// How surprising an event is; its flags are added to. With `CHANCE` a part of a peak's surprise is that
// by chance.
template <bool CHANCE>
static __device__ __forceinline__ float decide(const State& state, const ScoreParams& p, const Distance& far,
                                               const Level& judged, uint32_t& flags) {
    const float u = standardise(state, judged.level, float(judged.levels));
    if (p.drift_threshold != 0.0f && (flags & WARMING) == 0 && has_drifted(state, p, u)) {
        flags |= DRIFTED;
    }
    const float excess = u - 3.0f;
    float surprise = state.get(SLOPE) * u;
    if (excess > 0.0f) {
        surprise = tail(state, excess, trials_of(judged.levels));
        if constexpr (CHANCE) {
            const float share = p.chance * (400.0f * inverse(400.0f + float(state[PEAKS])));
            surprise = (1.0f - share) * surprise + share * by_chance(p, judged.level);
        }
        const float distance = far.off < 0.0f ? -far.off : far.off;
        const float expected = far.expected < 0.0f ? -far.expected : far.expected;
        const uint32_t watched = p.sides & (far.off > 0.0f ? 1 : 2);
        if (surprise > p.asked && (watched == 0 || distance < p.least || distance < p.least_share * expected)) {
            flags |= RULED_OUT;
        }
    } else {
        flags |= USUAL;
    }
    announce(state, p, surprise, flags);
    learn(state, excess, trials_of(judged.levels) + 1);
    return surprise;
}

}  // namespace pelton::score
