// ADWIN as a test for drift: a window of a key's latest levels.
//
// Twin of src/ops/adwin.rs, part of scores.cuh. An event reads and writes two words of a line of state; one in 32 some
// forty words more, four or five of which it writes.
#pragma once

namespace pelton::score {

constexpr uint32_t WINDOW = 64;
constexpr uint32_t WINDOW_COUNT = 0;
constexpr uint32_t WINDOW_SUM = 1;
constexpr uint32_t WINDOW_MEANS = 2;
constexpr uint32_t WINDOW_BUCKETS = 8;
constexpr uint32_t WINDOW_ROWS = 7;
constexpr uint32_t WINDOW_EVENTS = 32;

// Buckets that a row holds to which so many came.
static __device__ __forceinline__ uint32_t buckets_held(uint32_t came) { return came <= 4 ? came : 4 - (came & 1); }

// Buckets that came to the row above one to which so many came.
static __device__ __forceinline__ uint32_t buckets_above(uint32_t came) { return came <= 4 ? 0 : (came - 3) / 2; }

// Where the `i`th bucket of a row lies.
static __device__ __forceinline__ uint32_t bucket_at(uint32_t row, uint32_t i) {
    return WINDOW_BUCKETS + 8 * row + 2 * (i % 4);
}

// Takes in a mean.
static __device__ __forceinline__ void insert_mean(const State& window, uint32_t mean) {
    uint32_t came = window[WINDOW_MEANS];
    window[WINDOW_MEANS] = came == 0x7fffffffu ? 0x40000000u : came + 1;
    uint32_t total = mean;
    uint32_t squares = mean * mean;
    for (uint32_t row = 0; row < WINDOW_ROWS; row++) {
        const uint32_t at = bucket_at(row, came);
        const uint32_t next = bucket_at(row, came + 1);
        const uint32_t older_total = window[at] + window[next];
        const uint32_t older_squares = window[at + 1] + window[next + 1];
        window[at] = total;
        window[at + 1] = squares;
        if (buckets_held(came) < 4) {
            return;
        }
        total = older_total;
        squares = older_squares;
        came = buckets_above(came);
    }
}

// Whether a window has two parts whose means differ by more than chance.
static __device__ __forceinline__ bool has_cut(const State& window, const ScoreParams& p) {
    uint32_t n = 0;
    uint32_t t = 0;
    uint32_t s = 0;
    uint32_t came = window[WINDOW_MEANS];
    for (uint32_t row = 0; row < WINDOW_ROWS; row++) {
        for (uint32_t i = came - buckets_held(came); i < came; i++) {
            n += 1u << row;
            t += window[bucket_at(row, i)];
            s += window[bucket_at(row, i) + 1];
        }
        came = buckets_above(came);
    }
    if (n <= 10) {
        return false;
    }
    const float width = float(n);
    const float d = p.drift_delta + own_ln(own_ln(width));
    const float chance = 2.0f * d * to_float(n * s - t * t);
    const float range = d * 5.3333335f * width;
    uint32_t n1 = 0;
    uint32_t t1 = 0;
    came = window[WINDOW_MEANS];
    for (uint32_t row = 0; row < WINDOW_ROWS; row++) {
        for (uint32_t i = 1; i <= buckets_held(came); i++) {
            n1 += 1u << row;
            t1 += window[bucket_at(row, came - i)];
            const uint32_t n0 = n - n1;
            const uint32_t newer = t1 * n0;
            const uint32_t older = (t - t1) * n1;
            const float e = float(max(newer, older) - min(newer, older)) - range;
            if (e > 0.0f && e * e * width > chance * float(n0 * n1)) {
                return true;
            }
        }
        came = buckets_above(came);
    }
    return false;
}

// Takes in an event whose level lies `u` deviations off.
static __device__ __forceinline__ void count_level(const State& window, float u) {
    window[WINDOW_SUM] += uint32_t((held(u, 4.0f) + 4.0f) * 256.0f + 0.5f);
    window[WINDOW_COUNT]++;
}

// Where enough events for a mean are counted, takes that in; whether the window can then be cut.
static __device__ __forceinline__ bool has_changed(const State& window, const ScoreParams& p) {
    if (window[WINDOW_COUNT] < WINDOW_EVENTS) {
        return false;
    }
    const uint32_t sum = window[WINDOW_SUM];
    window[WINDOW_COUNT] = 0;
    window[WINDOW_SUM] = 0;
    insert_mean(window, (sum + 128) >> 8);
    return has_cut(window, p);
}

}  // namespace pelton::score
