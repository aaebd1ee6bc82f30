// Scores each event by the past of its key, with random projections: how rare an event's point is among shadows of its
// key's recent past.
//
// Twin of src/ops/loda.rs; what all kernels that score cost stands in scores.cuh. Per event a thread reads and writes
// one word of each projection, scattered over the key's two kilobytes, and all of them once a window.
#include "point.cuh"

namespace pelton::loda {

using namespace score;

constexpr uint32_t LODA_EVENTS = 0;
constexpr uint32_t LODA_POINT = 8;
constexpr uint32_t LODA_CELLS = 16;

static __device__ __forceinline__ uint32_t hash(uint32_t word) {
    uint32_t x = (word ^ word >> 16 ^ 0x3c6ef372u) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// Where projection `j` casts the point at `point`, from 0 to 65,535.
static __device__ __forceinline__ uint32_t shadow(const State& state, uint32_t point, uint32_t j, uint32_t dimensions) {
    const uint32_t needed = dimensions <= 4 ? 2 : 3;
    uint32_t taken = 0;
    int32_t sum = 0;
    int32_t size = 0;
    for (uint32_t i = 0; i < dimensions; i++) {
        const uint32_t word = hash(j << 8 | i);
        if ((word >> 16) * (dimensions - i) >> 16 < needed - taken) {
            const int32_t factor = int32_t(word & 0xff) * 2 - 255;
            taken++;
            sum += factor * (int32_t(state[point + i]) - 0x8000);
            size += factor < 0 ? -factor : factor;
        }
    }
    const uint32_t place = uint32_t(sum + size * 0x8000) / uint32_t(size);
    return place > 0xffff ? 0xffff : place;
}

struct Projections {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + LODA_POINT + i] = 0x8000;
    }
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance& found) {
        put_point(state, p, own + LODA_POINT, i, track, x);
        return Apart{found.z2, 0.0f};
    }
    // How rare the point in the state is, which is then learnt.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams& p, uint32_t own,
                                                  const Distance&, const Apart&, uint32_t seen) {
        const uint32_t projections = p.shape0;
        const uint32_t half = p.shape1 / 2;
        const uint32_t window = p.shape2;
        const uint32_t dimensions = p.values == 1 ? 3 : p.values;
        const uint32_t count = state[own + LODA_EVENTS];
        const bool halved = count + 1 == 2 * window;
        const float of_all = float(count) + 1.0f;
        float sum = 0.0f;
        uint32_t cells = own + LODA_CELLS;
        for (uint32_t j = 0; j < projections; j++) {
            const uint32_t cell = shadow(state, own + LODA_POINT, j, dimensions) / (0x10000 / p.shape1);
            const uint32_t pair = state[cells + cell / 2];
            const uint32_t up = 16 * (cell & 1);
            const float times = of_all * inverse(float(pair >> up & 0xffff) + 1.0f);
            sum += own_ln(times < 1.0f ? 1.0f : times);
            state[cells + cell / 2] = pair + (1u << up);
            if (halved) {
                for (uint32_t i = 0; i < half; i++) {
                    state[cells + i] = state[cells + i] >> 1 & 0x7fff7fff;
                }
            }
            cells += half;
        }
        state[own + LODA_EVENTS] = halved ? window : count + 1;
        if (count < window) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const float level = sum * inverse(float(projections));
        const float rarity = level * inverse(own_ln(of_all));
        return Level{true, seen - min(seen, window + 1), level, rarity > 1.0f ? 1.0f : rarity};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    loda(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
         Words out) {
    body<Projections>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::loda
