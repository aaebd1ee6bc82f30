// Scores each event by the past of its key, with forests: how soon random cuts set a value apart from a sample of its
// key's past.
//
// Twin of src/ops/forest.rs; what all kernels that score cost stands in scores.cuh. Per value and event each sample is
// read once, in sixteen strided walks of one thread; it stays in the cache from walk to walk.
#include "scores.cuh"

namespace pelton::forest {

using namespace score;

constexpr uint32_t FOREST_COUNTS = 16;
// Points on either side that stay.
constexpr uint32_t EDGE = 4;
// A value's means, and behind them the slots of the period.
constexpr uint32_t MEANS = 16;
constexpr uint32_t SLOTS = 24;
constexpr uint32_t SLOT_MEMORY = 64;
constexpr uint32_t FOREST_MEMORY = 0x10000;

// A random word for the n-th value of a sample.
static __device__ __forceinline__ uint32_t draw(uint32_t n, uint32_t sample) {
    uint32_t x = (n * 0x27d4eb2fu + sample * 0x9e3779b9u) ^ 0x5bf03635u;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// Points from a place of a key's state on, `stride` words apart, sorted.
struct Points {
    const State& state;
    uint32_t at, stride, count;
    __device__ __forceinline__ float operator[](uint32_t i) const { return state.get(at + i * stride); }
    // How many are less than `q`, or not more.
    __device__ __forceinline__ uint32_t below(float q, bool equal, uint32_t from) const {
        uint32_t end = count;
        while (from < end) {
            const uint32_t middle = (from + end) / 2;
            const float z = (*this)[middle];
            if (z < q || (equal && z == q)) {
                from = middle + 1;
            } else {
                end = middle;
            }
        }
        return from;
    }
};

// The expected depth of `q` in points, of which `less` are less.
static __device__ __forceinline__ float depth_of(const Points& points, float q, uint32_t& less) {
    less = points.below(q, false, 0);
    const uint32_t up_to = points.below(q, true, less);
    float sum = 0.0f;
    for (uint32_t strand = 0; strand < 16; strand++) {
        float terms = 0.0f;
        for (uint32_t j = strand; j + 1 < less; j += 16) {
            const float far = points[j];
            terms += (points[j + 1] - far) * inverse(q - far);
        }
        for (uint32_t j = up_to + strand; j + 1 < points.count; j += 16) {
            const float far = points[j + 1];
            terms += (far - points[j]) * inverse(far - q);
        }
        sum += terms;
    }
    sum += less > 0 ? 1.0f : 0.0f;
    sum += up_to < points.count ? 1.0f : 0.0f;
    if (up_to > less) {
        sum += own_ln(float(up_to - less) + 1.0f) * 1.44269504f;
    }
    return sum;
}

// The depth of `q` by some 32 quantiles of a sample.
static __device__ __forceinline__ float coarse_depth(const State& state, uint32_t at, uint32_t count, float q) {
    const uint32_t stride = count < 64 ? 1 : count / 32;
    const uint32_t first = stride / 2;
    uint32_t less;
    return depth_of(Points{state, at + first, stride, (count - first + stride - 1) / stride}, q, less);
}

// Puts `q`, which `less` points are less than, into the sample at `at` that saw `n` values.
static __device__ __forceinline__ void learn_point(const State& state, uint32_t at, uint32_t points, uint32_t n,
                                                   uint32_t sample, float q, uint32_t less) {
    uint32_t rank = n;
    if (n >= points) {
        const uint32_t among = n < FOREST_MEMORY ? n + 1 : FOREST_MEMORY;
        rank = (draw(n, sample) >> 16) * among >> 16;
        if (rank >= points || (n < FOREST_MEMORY && (rank < EDGE || rank >= points - EDGE))) {
            if (q > state.get(at + points - EDGE)) {
                rank = points - EDGE;
            } else if (q < state.get(at + EDGE - 1)) {
                rank = EDGE - 1;
            } else {
                return;
            }
        }
    }
    if (rank < less) {
        for (; rank + 1 < less; rank++) {
            state[at + rank] = state[at + rank + 1];
        }
    } else {
        for (; rank > less; rank--) {
            state[at + rank] = state[at + rank - 1];
        }
    }
    state.put(at + rank, q);
}

// A mean at `at` learns a number, with this share.
static __device__ __forceinline__ float learn_mean(const State& state, uint32_t at, float q, float share) {
    const float mean = state.get(at);
    const float learnt = mean + near_zero(q - mean) * share;
    state.put(at, learnt);
    return learnt;
}

// The distance of a value to the mean of its slot, which learns it.
static __device__ __forceinline__ float beside(const State& state, uint32_t slots, u64 time, u64 period, float off) {
    const uint32_t at = slots + 2 * uint32_t(time % period * SLOTS / period);
    const uint32_t seen = state[at];
    const float by = seen == 0 ? 0.0f : near_zero(off - state.get(at + 1));
    state[at] = min(seen + 1, SLOT_MEMORY);
    learn_mean(state, at + 1, off, inverse(float(state[at])));
    return by;
}

// A weight at `at` learns that there was an event; the share of that in it.
static __device__ __forceinline__ float share_of(const State& state, uint32_t at, float decay) {
    const float weight = state.get(at) * positive(decay * decay) + 1.0f;
    state.put(at, weight);
    return inverse(weight);
}

// The isolation of a value, `off` its origin; the key's forests at `forest` learn it.
static __device__ __forceinline__ Apart isolation_of(const State& state, const ScoreParams& p, uint32_t forest,
                                                     uint32_t value, float off, const Moment& moment) {
    const uint32_t size = p.shape0;
    const u64 period = join(p.shape1, p.shape2);
    const uint32_t samples = period == 0 ? 3 : 4;
    const uint32_t head = period == 0 ? MEANS : MEANS + 2 * SLOTS;
    const uint32_t own = forest + FOREST_COUNTS + value * (head + samples * size);
    const uint32_t n = state[forest + value];
    state[forest + value] = n == 0xffffffffu ? FOREST_MEMORY : n + 1;
    const float share = share_of(state, own, moment.decays.short_one);
    learn_mean(state, own + 1, off, share);
    learn_mean(state, own + 3, off, share_of(state, own + 2, moment.decays.middle));
    if (period != 0) {
        learn_mean(state, own + 4, beside(state, own + MEANS, moment.time, period, off), share);
    }
    const uint32_t count = min(n, size);
    float fine = 0.0f;
    float coarse = 0.0f;
    for (uint32_t sample = 0; sample < samples; sample++) {
        // The means lie at 1, 3 and 4.
        const float q = sample == 0 ? off : near_zero(state.get(own + sample + (sample > 1 ? 1 : 0)));
        const uint32_t at = own + head + sample * size;
        uint32_t less;
        float by = inverse(1.0f + depth_of(Points{state, at, 1, count}, q, less));
        fine += by * by;
        by = inverse(1.0f + coarse_depth(state, at, count, q));
        coarse += by * by;
        learn_point(state, at, size, n, sample, q, less);
    }
    const float part = period == 0 ? 1.0f / 3.0f : 0.25f;
    const bool known = n >= 8;
    const float instant = known ? __fsqrt_rn(coarse * part) : 0.0f;
    const float mean = learn_mean(state, own + 5, instant, share);
    const float isolation = known ? __fsqrt_rn(fine * part) : 0.0f;
    const float square = isolation * isolation;
    return Apart{isolation, 0.5f * (instant + mean), square * square};
}

struct Forests {
    static constexpr bool CHANCE = true;
    static __device__ __forceinline__ void missing(const State&, uint32_t, uint32_t) {}
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment& moment, Distance&) {
        return isolation_of(state, p, own, i, near_zero(x - state.get(track)), moment);
    }
    static __device__ __forceinline__ Level level(const State&, const ScoreParams& p, uint32_t, const Distance&,
                                                  const Apart& apart, uint32_t seen, const Row&) {
        return Level{seen > 8, seen - min(seen, 9u), apart.by * float(31 - __clz(int(p.shape0))), apart.dense};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    forest(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
           Words out) {
    body<Forests>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::forest
