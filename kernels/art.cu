// Scores each event by the past of its key, with fuzzy ART: how far the shape of a key's latest values lies from all
// shapes that it is known by.
//
// Twin of src/ops/art.rs; what all kernels that score cost stands in scores.cuh. Here a warp takes a key: its lanes
// take the categories side by side, so that counts and edges are loaded in whole lines, and the first lane what else
// there is to do. Per event and value 36 bytes a category are read and one box written.
#include "point.cuh"
#include "together.cuh"

namespace pelton::art {

using namespace score;

constexpr uint32_t ART_KEPT = 0;
constexpr uint32_t ART_POINTS = 1;
constexpr uint32_t ART_LEVELS = 2;
constexpr uint32_t ART_SUMS = 3;
constexpr uint32_t ART_FRESH = 8;
constexpr uint32_t ART_RING = 16;
constexpr uint32_t ART_POINT = 48;
constexpr uint32_t ART_COUNTS = 64;
constexpr uint32_t COORDINATES = 8;
constexpr uint32_t HALFWAY = 512;
constexpr uint32_t NO_BOX = 0xffffffffu;

// Where a number lies that is so far off, by what lies halfway to the edge.
static __device__ __forceinline__ uint32_t coordinate(uint32_t off, uint32_t halfway) {
    const bool below = int32_t(off) < 0;
    const uint32_t size = min(below ? 0 - off : off, 131072u);
    const uint32_t steps = 511 * size / (halfway + size);
    return below ? 511 - steps : 511 + steps;
}

// Keeps a number by its place; whether there are enough of them for the point in the state.
static __device__ __forceinline__ bool keep_number(const State& art, uint32_t place) {
    const uint32_t kept = art[ART_KEPT] + 1;
    art[ART_KEPT] = kept == 64 ? 32 : kept;
    const uint32_t at = (0 - kept) & 31;
    uint32_t shorter = place;
    for (uint32_t i = 0; i < 5; i++) {
        const uint32_t gone = art[ART_RING + ((at + (2u << i)) & 31)];
        const uint32_t sum = art[ART_SUMS + i] + place - gone;
        art[ART_SUMS + i] = sum;
        art[ART_POINT + 3 + i] = coordinate(2 * shorter - sum, HALFWAY << i);
        shorter = sum;
    }
    art[ART_RING + at] = place;
    return kept >= 32;
}

// The state of a value's categories.
static __device__ __forceinline__ State art_of(const State& state, const ScoreParams& p, uint32_t own, uint32_t i) {
    return State{state.words, state.at + own + i * (ART_COUNTS + (1 + COORDINATES) * p.shape0)};
}

// The least key of a box, by distance, size and number; and of a place, by count and number.
struct Found {
    uint32_t nearest, rarest;
};

// Looks at all categories, all lanes together, which all get the same.
static __device__ __forceinline__ Found look(const State& art, uint32_t categories) {
    Found found{NO_BOX, NO_BOX};
    for (uint32_t j = lane(); j < categories; j += LANES) {
        const uint32_t count = art[ART_COUNTS + j];
        uint32_t apart = 0;
        uint32_t size = 0;
        for (uint32_t i = 0; i < COORDINATES; i++) {
            const uint32_t x = art[ART_POINT + i];
            const uint32_t edge = art[ART_COUNTS + (1 + i) * categories + j];
            const uint32_t lower = edge & 0xffff;
            const uint32_t upper = edge >> 16;
            apart += (max(lower, x) - x) + (max(x, upper) - upper);
            size += upper - lower;
        }
        found.nearest = min(found.nearest, count == 0 ? NO_BOX : apart << 19 | size << 6 | j);
        found.rarest = min(found.rarest, count << 6 | j);
    }
    found.nearest = __reduce_min_sync(ALL_LANES, found.nearest);
    found.rarest = __reduce_min_sync(ALL_LANES, found.rarest);
    return found;
}

// Learns the point: each lane its counts, the first ones also an edge.
static __device__ __forceinline__ void learn(const State& art, const ScoreParams& p, const Found& found) {
    const uint32_t size_max = (1000 - p.shape1) * 8176 / 1000;
    const bool grows = found.nearest != NO_BOX && (found.nearest >> 19) + (found.nearest >> 6 & 0x1fff) <= size_max;
    const uint32_t chosen = (grows ? found.nearest : found.rarest) & 63;
    const uint32_t halved = art[ART_POINTS] == 2 * p.shape2 ? 1 : 0;
    for (uint32_t j = lane(); j < p.shape0; j += LANES) {
        uint32_t& count = art[ART_COUNTS + j];
        count = (j == chosen ? (grows ? count + 1 : 1) : count) >> halved;
    }
    if (lane() < COORDINATES) {
        const uint32_t x = art[ART_POINT + lane()];
        uint32_t& edge = art[ART_COUNTS + (1 + lane()) * p.shape0 + chosen];
        edge = grows ? min(x, edge & 0xffff) | max(x, edge >> 16) << 16 : x | x << 16;
    }
}

struct Shapes {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + ART_FRESH + i] = 0;
    }
    // Keeps a value that its track has learnt.
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance& found) {
        const State art = art_of(state, p, own, i);
        if (art[ART_KEPT] > 0 || state.get(track + 7) >= 16.0f) {
            const uint32_t place = sixty_fourths(state, track, near_zero(x - state.get(track)));
            art[ART_POINT] = coordinate(place - 4095, HALFWAY);
            for (uint32_t level = 1; level < 3; level++) {
                const uint32_t mean = sixty_fourths(state, track, state.get(track + 3 * level - 1));
                art[ART_POINT + level] = coordinate(mean - 4095, HALFWAY);
            }
            if (keep_number(art, place)) {
                state[own + ART_FRESH + i] = 1;
                const uint32_t points = art[ART_POINTS];
                art[ART_POINTS] = (points == 2 * p.shape2 ? p.shape2 : points) + 1;
            }
        }
        return Apart{found.z2, 0.0f, own_ln(1.0f + found.z2 * 0.2f)};
    }
    // Learns the points of an event's key, all lanes together; of its values the largest distance, or -1 where none is
    // known. What a distance adds to the level is a part of its value.
    static __device__ __forceinline__ float together(const State& state, const ScoreParams& p, const Row& row) {
        float far = -1.0f;
        for (uint32_t i = 0; i < p.values; i++) {
            const State art = art_of(state, p, own_state(p), i);
            if (state[own_state(p) + ART_FRESH + i] != 0) {
                const Found found = look(art, p.shape0);
                learn(art, p, found);
                if (art[ART_POINTS] > 64 && found.nearest != NO_BOX) {
                    const float apart = float(found.nearest >> 19);
                    far = apart > far ? apart : far;
                    if (lane() == 0 && p.values > 1) {
                        row.add_part(i, own_ln(1.0f + apart * 0.125f));
                    }
                }
            }
        }
        return far;
    }
    // `apart` holds the largest distance.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams&, uint32_t own,
                                                  const Distance& far, const Apart& apart, uint32_t, const Row&) {
        if (apart.by < 0.0f) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const uint32_t levels = state[own + ART_LEVELS];
        state[own + ART_LEVELS] = levels == 0xffffffffu ? 0xfffe0000u : levels + 1;
        const float level = own_ln(1.0f + far.z2 * 0.2f) + own_ln(1.0f + apart.by * 0.125f);
        return Level{true, levels, level, apart.by * inverse(8176.0f)};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    art(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
        Words out) {
    body_together<Shapes>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::art
