// After how many slots a value repeats, where nobody says so.
//
// Twin of src/ops/period.rs. Per event a thread reads and writes three words; per slot that saw one, two words for each
// slot of the longest period, which lie apart from those of its neighbours.
#pragma once

#include "scores.cuh"

namespace pelton::score {

constexpr uint32_t PERIOD_OPEN = 0;
constexpr uint32_t PERIOD_COUNT = 1;
constexpr uint32_t PERIOD_SUM = 2;
constexpr uint32_t PERIOD_AT = 3;
constexpr uint32_t PERIOD_CLOSED = 4;
constexpr uint32_t PERIOD_CANDIDATE = 5;
constexpr uint32_t PERIOD_LOOKS = 6;
constexpr uint32_t PERIOD_SLOTS = 7;
constexpr uint32_t PERIOD_BEGIN = 8;
constexpr uint32_t PERIOD_FOUND = 9;
constexpr uint32_t PERIOD_RING = 16;

// Words of a value's state.
static __device__ __forceinline__ uint32_t period_words(uint32_t longest) {
    return longest == 0 ? 0 : PERIOD_RING + 2 * longest;
}

// The number of a slot in the period.
static __device__ __forceinline__ uint32_t period_number(const State& state, uint32_t at, uint32_t slot) {
    return (slot - state[at + PERIOD_BEGIN]) % state[at + PERIOD_SLOTS];
}

// Of a whole number above 0 the power of two below it.
static __device__ __forceinline__ uint32_t power_of(uint32_t n) { return 31 - __clz(int32_t(n)); }

// Differences are remembered up to a share of one by two to the power of this.
static __device__ __forceinline__ uint32_t period_memory(uint32_t longest) {
    return max(power_of(longest - 1) + 1, 8u);
}

// A lag learns by how much a slot differs from one before it.
static __device__ __forceinline__ uint32_t differ(uint32_t word, uint32_t past, uint32_t mean, uint32_t memory) {
    if (past == 0) {
        return word;
    }
    const uint32_t count = min((word & 2047) + 1, 2047u);
    const uint32_t power = min(power_of(count), memory);
    const int32_t was = int32_t(word >> 11);
    const int32_t off = int32_t((max(past, mean) - min(past, mean)) << 11) - was;
    const int32_t learnt = was + ((off + ((1 << power) >> 1)) >> power);
    return uint32_t(learnt) << 11 | count;
}

static __device__ __forceinline__ bool is_known_lag(uint32_t lag, uint32_t count) {
    return count >= max(64u, min(2 * lag, 2047u));
}

// The share of what is before it that a dip must be below, in 64ths, after two to the power of `power` differences.
static __device__ __forceinline__ uint32_t dip_share(uint32_t power) {
    return power <= 6 ? 32 : (power == 7 ? 41 : 44);
}

// The candidate for the period, 0 for none. Words of the lags begin at `lags`.
static __device__ __forceinline__ uint32_t look(const State& state, uint32_t lags, uint32_t longest, uint32_t memory,
                                                uint32_t period) {
    uint32_t first = 0;
    for (uint32_t lag = 1; lag <= 16; lag++) {
        const uint32_t word = state[lags + lag - 1];
        if (!is_known_lag(lag, word & 2047)) {
            return 0;
        }
        first += word >> 16;
    }
    uint32_t sum = 0;
    uint32_t known = 0;
    uint32_t best = 0;
    uint32_t least = 0;
    for (uint32_t lag = 1; lag <= longest; lag++) {
        const uint32_t word = state[lags + lag - 1];
        const uint32_t count = word & 2047;
        if (!is_known_lag(lag, count)) {
            continue;
        }
        const uint32_t mean = word >> 16;
        const uint32_t power = min(power_of(count), memory + 1);
        const uint32_t share = lag == period ? 56 : dip_share(power);
        const bool is_dip = lag > 1 && mean * known * 64 < share * sum && (lag > 16 || mean * 1024 < share * first) &&
                            sum >= known * (262144u >> power);
        const bool same = mean < least && lag - best <= 1 + best / 16;
        if (is_dip && (best == 0 || same || 4 * mean < 3 * least)) {
            best = lag;
            least = mean;
        }
        sum += mean;
        known++;
    }
    return best;
}

// Whether a candidate is another one, corrected.
static __device__ __forceinline__ bool is_near(uint32_t candidate, uint32_t other) {
    const uint32_t apart = max(candidate, other) - min(candidate, other);
    return apart == 0 || (candidate > 0 && other > 0 && apart <= 1 + other / 16);
}

static __device__ __forceinline__ void begin_period(const State& state, uint32_t at, uint32_t period, uint32_t slot) {
    state[at + PERIOD_SLOTS] = period;
    state[at + PERIOD_BEGIN] = slot - 8 * period;
}

// Makes of a candidate what is to be made of it; whether the period is another one now.
static __device__ __forceinline__ bool follow_candidate(const State& state, uint32_t at, uint32_t lags, uint32_t slot,
                                                        uint32_t candidate) {
    const uint32_t period = state[at + PERIOD_SLOTS];
    if (is_near(candidate, period)) {
        if (candidate != period &&
            16 * (state[lags + candidate - 1] >> 16) < 15 * (state[lags + period - 1] >> 16)) {
            begin_period(state, at, candidate, slot - period_number(state, at, slot) % candidate);
        }
        state[at + PERIOD_CANDIDATE] = state[at + PERIOD_SLOTS];
        state[at + PERIOD_LOOKS] = 0;
        return false;
    }
    const bool again = state[at + PERIOD_LOOKS] > 0 && is_near(candidate, state[at + PERIOD_CANDIDATE]);
    const uint32_t looks = again ? state[at + PERIOD_LOOKS] + 1 : 1;
    state[at + PERIOD_LOOKS] = looks;
    state[at + PERIOD_CANDIDATE] = candidate;
    if (looks * 8 < max(64u, candidate == 0 ? period : candidate)) {
        return false;
    }
    begin_period(state, at, candidate, slot);
    state[at + PERIOD_LOOKS] = 0;
    state[at + PERIOD_FOUND] += candidate > 0 ? 1 : 0;
    return true;
}

// Closes the open slot, `slot` being the one that is next to be open.
static __device__ __forceinline__ bool close_slot(const State& state, uint32_t at, uint32_t longest, uint32_t slot) {
    const uint32_t count = state[at + PERIOD_COUNT];
    const uint32_t mean = (state[at + PERIOD_SUM] + count / 2) / count + 1;
    const uint32_t ring = at + PERIOD_RING;
    const uint32_t lags = ring + longest;
    const uint32_t memory = period_memory(longest);
    const uint32_t here = state[at + PERIOD_AT];
    uint32_t past = here;
    for (uint32_t lag = 0; lag < longest; lag++) {
        past = past + 1 == longest ? 0 : past + 1;
        state[lags + lag] = differ(state[lags + lag], state[ring + past], mean, memory);
    }
    state[ring + here] = mean;
    const uint32_t closed = state[at + PERIOD_CLOSED] + 1;
    state[at + PERIOD_CLOSED] = closed >= 8 ? 0 : closed;
    if (closed < 8) {
        return false;
    }
    const uint32_t candidate = look(state, lags, longest, memory, state[at + PERIOD_SLOTS]);
    return follow_candidate(state, at, lags, slot, candidate);
}

// Moves the ring on by so many slots; those between saw nothing.
static __device__ __forceinline__ void move_ring(const State& state, uint32_t at, uint32_t longest, uint32_t slots) {
    const uint32_t ring = at + PERIOD_RING;
    if (slots > longest) {
        for (uint32_t i = 0; i < longest; i++) {
            state[ring + i] = 0;
        }
        return;
    }
    uint32_t here = state[at + PERIOD_AT];
    for (uint32_t i = 0; i < slots; i++) {
        if (i > 0) {
            state[ring + here] = 0;
        }
        here = here == 0 ? longest - 1 : here - 1;
    }
    state[at + PERIOD_AT] = here;
}

// Learns the place of an event in a slot; whether the period is another than before, or none any more.
static __device__ __forceinline__ bool learn_period(const State& state, uint32_t at, uint32_t longest, uint32_t slot,
                                                    uint32_t place) {
    const uint32_t open = state[at + PERIOD_OPEN];
    bool changed = false;
    if (state[at + PERIOD_COUNT] == 0 || slot != open) {
        if (state[at + PERIOD_COUNT] != 0) {
            if (open - slot <= longest) {
                return false;
            }
            changed = close_slot(state, at, longest, slot);
            move_ring(state, at, longest, slot - open);
        }
        state[at + PERIOD_OPEN] = slot;
        state[at + PERIOD_COUNT] = 0;
        state[at + PERIOD_SUM] = 0;
    }
    if (state[at + PERIOD_COUNT] < 4096) {
        state[at + PERIOD_COUNT] += 1;
        state[at + PERIOD_SUM] += place;
    }
    return changed;
}

}  // namespace pelton::score
