// Scores each event by the past of its key, with forests: how soon random cuts set a value apart from a sample of its
// key's past.
//
// Twin of src/ops/forest.rs; what all kernels that score cost stands in scores.cuh. Per value and event each sample is
// read once, in sixteen strided walks of one thread; it stays in the cache from walk to walk.
#include "scores.cuh"

namespace pelton::forest {

using namespace score;

constexpr uint32_t FOREST_COUNTS = 16;
constexpr uint32_t FOREST_SAMPLES = 3;
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
        if (rank >= points) {
            return;
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

// The isolation of a value whose track, at `track`, has learnt it; the key's forests at `forest` learn it.
static __device__ __forceinline__ Apart isolation_of(const State& state, uint32_t points, uint32_t forest,
                                                         uint32_t value, uint32_t track, float number) {
    const uint32_t n = state[forest + value];
    const uint32_t count = n < points ? n : points;
    uint32_t at = forest + FOREST_COUNTS + value * FOREST_SAMPLES * points;
    float fine = 0.0f;
    float coarse = 0.0f;
    for (uint32_t sample = 0; sample < FOREST_SAMPLES; sample++) {
        const float off = near_zero(number - state.get(track));
        const float q = sample == 0 ? off : near_zero(state.get(track + 3 * sample - 1));
        uint32_t less;
        float by = inverse(1.0f + depth_of(Points{state, at, 1, count}, q, less));
        fine += by * by;
        by = inverse(1.0f + coarse_depth(state, at, count, q));
        coarse += by * by;
        learn_point(state, at, points, n, sample, q, less);
        at += points;
    }
    state[forest + value] = n == 0xffffffffu ? FOREST_MEMORY : n + 1;
    if (n < 8) {
        return Apart{0.0f, 0.0f};
    }
    return Apart{__fsqrt_rn(fine * (1.0f / 3.0f)), __fsqrt_rn(coarse * (1.0f / 3.0f))};
}

struct Forests {
    static __device__ __forceinline__ void missing(const State&, uint32_t, uint32_t) {}
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance&) {
        return isolation_of(state, p.shape0, own, i, track, x);
    }
    static __device__ __forceinline__ Level level(const State&, const ScoreParams& p, uint32_t, const Distance&,
                                                  const Apart& apart, uint32_t seen) {
        return Level{seen > 8, seen - min(seen, 9u), apart.by * float(31 - __clz(int(p.shape0))), apart.dense};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    forest(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
           Words out) {
    body<Forests>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::forest
