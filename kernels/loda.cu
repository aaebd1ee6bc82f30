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

// Where a projection casts a point, from 0 to 65,535; which dimensions it uses, 4 bits each, and what each of these
// adds.
struct Shadow {
    uint32_t place, which;
    int32_t a, b, c;
};

// The shadow by projection `j` of the point at `point`.
static __device__ __forceinline__ Shadow shadow(const State& state, uint32_t point, uint32_t j, uint32_t dimensions) {
    const uint32_t needed = dimensions <= 4 ? 2 : 3;
    Shadow found{0, 0, 0, 0, 0};
    uint32_t taken = 0;
    int32_t sum = 0;
    int32_t size = 0;
    for (uint32_t i = 0; i < dimensions; i++) {
        const uint32_t word = hash(j << 8 | i);
        if ((word >> 16) * (dimensions - i) >> 16 < needed - taken) {
            const int32_t factor = int32_t(word & 0xff) * 2 - 255;
            const int32_t term = factor * (int32_t(state[point + i]) - 0x8000);
            found.a = taken == 0 ? term : found.a;
            found.b = taken == 1 ? term : found.b;
            found.c = taken == 2 ? term : found.c;
            found.which |= i << 4 * taken;
            taken++;
            sum += term;
            size += factor < 0 ? -factor : factor;
        }
    }
    const uint32_t place = uint32_t(sum + size * 0x8000) / uint32_t(size);
    found.place = place > 0xffff ? 0xffff : place;
    return found;
}

// Shares what is rare out among the values that cast a shadow, by the squares of what they add to it.
static __device__ __forceinline__ void share_out(const Row& row, const Shadow& shadow, float rare) {
    const float a = float(shadow.a) * float(shadow.a);
    const float b = float(shadow.b) * float(shadow.b);
    const float c = float(shadow.c) * float(shadow.c);
    const float all = a + b + c;
    if (all > 0.0f) {
        const float each = rare * inverse(all);
        if (a > 0.0f) {
            row.add_part(shadow.which & 15, a * each);
        }
        if (b > 0.0f) {
            row.add_part(shadow.which >> 4 & 15, b * each);
        }
        if (c > 0.0f) {
            row.add_part(shadow.which >> 8 & 15, c * each);
        }
    }
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
        return Apart{found.z2, 0.0f, 0.0f};
    }
    // How rare the point in the state is, which is then learnt.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams& p, uint32_t own,
                                                  const Distance&, const Apart&, uint32_t seen, const Row& row) {
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
            const Shadow fallen = shadow(state, own + LODA_POINT, j, dimensions);
            const uint32_t cell = fallen.place / (0x10000 / p.shape1);
            const uint32_t pair = state[cells + cell / 2];
            const uint32_t up = 16 * (cell & 1);
            const float times = of_all * inverse(float(pair >> up & 0xffff) + 1.0f);
            const float rare = own_ln(times < 1.0f ? 1.0f : times);
            sum += rare;
            if (p.values > 1) {
                share_out(row, fallen, rare * rare);
            }
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
