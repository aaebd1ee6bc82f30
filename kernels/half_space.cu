// Scores each event by the past of its key, with half-space trees: how many points of a key's recent past lie around an
// event's point.
//
// Twin of src/ops/half_space.rs; what all kernels that score cost stands in scores.cuh. Per event a thread reads and
// writes height + 1 words of each tree, scattered over the key's few kilobytes, and all of them once a window.
#include "point.cuh"

namespace pelton::half_space {

using namespace score;

constexpr uint32_t SPACE_COUNT = 0;
constexpr uint32_t SPACE_KNOWN = 1;
constexpr uint32_t SPACE_POINT = 8;
constexpr uint32_t SPACE_MASSES = 16;

static __device__ __forceinline__ uint32_t hash(uint32_t word) {
    uint32_t x = (word ^ word >> 16 ^ 0x5bf03635u) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

// Goes down a tree: the sum over its nodes up to the first light one; adds one to all of them.
// With several values, what cuts took of the mass goes to the parts of theirs.
static __device__ __forceinline__ uint32_t walk_tree(const State& state, uint32_t spaces, uint32_t masses,
                                                     uint32_t tree, uint32_t values, uint32_t height,
                                                     uint32_t window, const Row& row) {
    const uint32_t dimensions = values == 1 ? 3 : values;
    uint32_t node = 1;
    uint32_t cuts = 0;
    uint32_t sum = 0;
    bool light = false;
    // Of the node before: which dimension it cuts, and the zeros above the highest bit of its mass.
    uint32_t cut = 0;
    uint32_t zeros = 32;
    for (uint32_t depth = 0; depth <= height; depth++) {
        const uint32_t mass = state[masses + node];
        if (!light) {
            sum += mass >> 16 << depth;
            light = (mass >> 16) * 10 < window;
            const uint32_t left = uint32_t(__clz(int(mass >> 16 | 1)));
            if (left > zeros + 1 && values > 1) {
                row.add_part(cut, float(left - zeros - 1));
            }
            zeros = left;
        }
        state[masses + node] = mass + 1;
        const uint32_t dimension = (hash(tree << 16 | node) >> 16) * dimensions >> 16;
        const uint32_t offset = hash(0x80000000u | tree << 16 | dimension) >> 16;
        const uint32_t place = state[spaces + SPACE_POINT + dimension] + offset;
        cut = dimension;
        const uint32_t nth = cuts >> 4 * dimension & 15;
        cuts += 1u << 4 * dimension;
        node = node << 1 | (place >> (16 - nth) & 1);
    }
    return sum;
}

struct Trees {
    static constexpr bool CHANCE = true;
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + SPACE_POINT + i] = 0x8000;
    }
    // Puts down where a value lies that its track has learnt.
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance& found) {
        put_point(state, p, own + SPACE_POINT, i, track, x);
        return Apart{found.z2, 0.0f, 0.0f};
    }
    // The mass around the point in the state, which is then learnt.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams& p, uint32_t spaces,
                                                  const Distance&, const Apart&, uint32_t seen, const Row& row) {
        const uint32_t trees = p.shape0 & 0xff;
        const uint32_t height = p.shape0 >> 8 & 0xff;
        const uint32_t window = p.shape0 >> 16;
        const uint32_t nodes = 2u << height;
        uint32_t sum = 0;
        for (uint32_t tree = 0; tree < trees; tree++) {
            const uint32_t masses = spaces + SPACE_MASSES + tree * nodes;
            sum += walk_tree(state, spaces, masses, tree, p.values, height, window, row);
        }
        const bool known = state[spaces + SPACE_KNOWN] != 0;
        const uint32_t count = state[spaces + SPACE_COUNT] + 1;
        state[spaces + SPACE_COUNT] = count == window ? 0 : count;
        if (count == window) {
            state[spaces + SPACE_KNOWN] = 1;
            for (uint32_t i = 0; i < trees * nodes; i++) {
                state[spaces + SPACE_MASSES + i] <<= 16;
            }
        }
        if (!known) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const float level = own_ln(to_float(trees * window * (nodes - 1)) * inverse(to_float(sum)));
        const float rarity = level * inverse(own_ln(to_float(nodes - 1)));
        return Level{true, seen - min(seen, window + 1), level, rarity > 1.0f ? 1.0f : rarity};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    half_space(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
               Words states, Words out) {
    body<Trees>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::half_space
