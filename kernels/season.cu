// Scores each event by the past of its key, with seasons: how far a value lies from what its season makes likely.
//
// Twin of src/ops/season.rs; what all kernels that score cost stands in scores.cuh. Per event, value and season a
// thread reads and writes 47 words and two nodes of three, which lie apart from those of its neighbours.
#include "period.cuh"
#include "point.cuh"
#include "scores.cuh"

namespace pelton::season {

using namespace score;

constexpr uint32_t SEASONS = 4;
constexpr uint32_t SEASON_STARTED = 0;
constexpr uint32_t SEASON_FIRST = 1;
constexpr uint32_t SEASON_LATEST = 2;
constexpr uint32_t SEASON_WEIGHT = 3;
constexpr uint32_t SEASON_ERRORS = 4;
constexpr uint32_t SEASON_HOLT = 13;
constexpr uint32_t SEASON_TRACKS = 17;
constexpr uint32_t SEASON_NODES = 47;
constexpr uint32_t SEASON_NODE = 3;

// Slots of a season; 0 for none.
static __device__ __forceinline__ uint32_t slots_of(const ScoreParams& p, uint32_t season) {
    return (season < 2 ? p.shape2 : p.shape3) >> 16 * (season % 2) & 0xffff;
}

// Slots of the longest season that is looked for; 0 for none.
static __device__ __forceinline__ uint32_t longest_of(const ScoreParams& p) { return p.shape1 >> 21; }

static __device__ __forceinline__ uint32_t words_of(uint32_t slots) {
    return slots == 0 ? 0 : SEASON_NODES + SEASON_NODE * slots;
}

// The slot that an event lies in, and how far into it, in 256ths.
struct Time {
    u64 slot;
    uint32_t part;
};

// The two nodes that an event lies between.
struct Nodes {
    uint32_t here, next;
    float share_here, share_next;
    bool known;
};

// The nodes of a time; they forget when it is in another slot than the one before.
static __device__ __forceinline__ Nodes arrive(const State& state, uint32_t at, uint32_t slots, uint32_t number,
                                               const Time& time) {
    const uint32_t slot = low_of(time.slot);
    const uint32_t here = at + SEASON_NODES + SEASON_NODE * number;
    const uint32_t next = at + SEASON_NODES + SEASON_NODE * (number + 1 == slots ? 0 : number + 1);
    if (state[at + SEASON_STARTED] == 0) {
        state[at + SEASON_STARTED] = 1;
        state[at + SEASON_FIRST] = slot;
        state[at + SEASON_LATEST] = slot;
    }
    const uint32_t before = state[at + SEASON_LATEST];
    state[at + SEASON_LATEST] = slot;
    if (slot != before) {
        if (slot != before + 1) {
            state.put(here, positive(state.get(here) * 0.875f));
        }
        state.put(next, positive(state.get(next) * 0.875f));
    }
    const float share = float(time.part) * 0.00390625f;
    const bool passed = slot - state[at + SEASON_FIRST] >= slots;
    const bool seen = state.get(here) > 0.0f && (state.get(next) > 0.0f || time.part == 0);
    return Nodes{here, next, 1.0f - share, share, passed && seen};
}

// What stands at a node in a word behind its weight; `unseen` where it was never seen.
static __device__ __forceinline__ float node_word(const State& state, uint32_t node, uint32_t word, float unseen) {
    return state.get(node) > 0.0f ? state.get(node + word) : unseen;
}

// What stands between nodes.
static __device__ __forceinline__ float nodes_mean(const State& state, const Nodes& nodes, uint32_t word,
                                                   float unseen) {
    return nodes.share_here * node_word(state, nodes.here, word, unseen) +
           nodes.share_next * node_word(state, nodes.next, word, unseen);
}

static __device__ __forceinline__ float kept(float mean) { return held(near_zero(mean), 4e12f); }

static __device__ __forceinline__ void learn_node(const State& state, uint32_t node, float share, float residual,
                                                  float adds, float unseen) {
    if (share > 0.0f) {
        const float mean = node_word(state, node, 1, unseen);
        const float added = node_word(state, node, 2, 0.0f);
        const float weight = state.get(node) + share;
        const float part = share * inverse(weight);
        state.put(node, weight);
        state.put(node + 1, kept(mean + residual * part));
        state.put(node + 2, kept(added + adds * part));
    }
}

// The error of a model: the least of its horizons.
static __device__ __forceinline__ float error_of(const State& state, uint32_t at, uint32_t model) {
    const uint32_t error = at + SEASON_ERRORS + 3 * model;
    float least = state.get(error);
    least = state.get(error + 1) < least ? state.get(error + 1) : least;
    return state.get(error + 2) < least ? state.get(error + 2) : least;
}

// The level to be expected after a gap, by level and trend at `at`.
static __device__ __forceinline__ float holt(const State& state, const ScoreParams& p, uint32_t at,
                                             const Moment& moment) {
    return state.get(at) + state.get(at + 1) * (1.0f - moment.decays.short_one) * inverse(64.0f * p.rate);
}

// Level and trend at `at` follow a level that was expected, and turned out to be `step` off.
static __device__ __forceinline__ void follow(const State& state, uint32_t at, float level, float step, float gain,
                                              const Moment& moment) {
    const float turn = 0.25f * (step * gain) * inverse(moment.steps < 1.0f ? 1.0f : moment.steps);
    state.put(at, kept(level + step));
    state.put(at + 1, kept(state.get(at + 1) * moment.decays.short_one + turn));
}

// A residual as it is learnt.
static __device__ __forceinline__ float learnt(float residual, float error, float weight) {
    return weight >= 16.0f && error > 0.0f ? held(residual, 4.0f * __fsqrt_rn(error)) : residual;
}

// A model's share of the error without a season, where it is small enough to speak; else one.
static __device__ __forceinline__ float share_of(float error, float own, float weight) {
    return weight >= 32.0f && error < 0.75f * own ? error * inverse(own) : 1.0f;
}

// How far a model's residual lies from those before it, in its own horizons; they and its errors learn it, once
// they are settled up to a limit.
static __device__ __forceinline__ Distance judge_model(const State& state, uint32_t at, uint32_t model, float residual,
                                                 const Moment& moment, bool settled) {
    const uint32_t track = at + SEASON_TRACKS + model * TRACK;
    const float x = near_zero(residual - (state[track + 1] == 0 ? residual : state.get(track)));
    const float share = inverse(state.get(at + SEASON_WEIGHT));
#pragma unroll 1
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t error = at + SEASON_ERRORS + 3 * model + i;
        const float off = near_zero(x - state.get(track + 3 * i + 2));
        const float mean = state.get(error);
        const float most = 64.0f * mean;
        float square = off * off;
        square = settled && mean > 0.0f && square > most ? most : square;
        state.put(error, positive(mean + (square - mean) * share));
    }
    return distance_of(state, track, residual, moment.decays);
}

static __device__ __forceinline__ float residual_of(float x, float expected) {
    return held(near_zero(x - expected), 1e12f);
}

// Learns a value of one season, which stands at `at`; where that speaks, with less than `least` of the error, `found`
// is its distance.
static __device__ __forceinline__ void learn_season(const State& state, const ScoreParams& p, uint32_t at,
                                                    uint32_t slots, uint32_t number, const Time& time, uint32_t track,
                                                    float value, const Moment& moment, float& least,
                                                    Distance& found) {
    const Nodes nodes = arrive(state, at, slots, number, time);
    const float x = near_zero(value - state.get(track));
    const float unseen = state.get(track + 8);
    const float gain = inverse(state.get(track + 1));
    const float without = holt(state, p, at + SEASON_HOLT, moment);
    const float level = holt(state, p, at + SEASON_HOLT + 2, moment);
    const float by_slots = nodes_mean(state, nodes, 1, unseen);
    const float by_level = level + nodes_mean(state, nodes, 2, 0.0f);
    const float weight = state.get(at + SEASON_WEIGHT);
    const float own = error_of(state, at, 0);
    const float error_slots = error_of(state, at, 1);
    const float error_level = error_of(state, at, 2);
    const float residual = learnt(residual_of(x, by_slots), error_slots, weight);
    const float moved = learnt(residual_of(x, by_level), error_level, weight);
    learn_node(state, nodes.here, nodes.share_here, residual, moved * (1.0f - gain), unseen);
    learn_node(state, nodes.next, nodes.share_next, residual, moved * (1.0f - gain), unseen);
    follow(state, at + SEASON_HOLT, without, learnt(residual_of(x, without), own, weight) * gain, gain, moment);
    follow(state, at + SEASON_HOLT + 2, level, moved * gain, gain, moment);
    if (!nodes.known) {
        return;
    }
    state.put(at + SEASON_WEIGHT, weight * moment.decays.long_one + 1.0f);
    const bool settled = weight >= 16.0f;
    // One body for all models, which saves registers: the compiler does not know that zero is zero.
    for (uint32_t model = p.zero; model < 3; model++) {
        const float expected = model == 0 ? without : (model == 1 ? by_slots : by_level);
        const float share = model == 0 ? 1.0f : share_of(error_of(state, at, model), own, weight);
        const Distance far = judge_model(state, at, model, residual_of(x, expected), moment, settled);
        if (share < least) {
            least = share;
            found = far;
            found.expected = state.get(track) + (expected + far.expected);
        }
    }
}

// Where the search for a period stands, which has the season at `season`.
static __device__ __forceinline__ uint32_t found_at(const ScoreParams& p, uint32_t season) {
    return season - period_words(longest_of(p));
}

// Looks for a value's period; what its season, at `season`, has learnt goes when it is another one.
static __device__ __forceinline__ void find_period(const State& state, const ScoreParams& p, uint32_t season,
                                                   uint32_t slot, uint32_t track, float x) {
    const uint32_t at = found_at(p, season);
    if (state[at + PERIOD_COUNT] == 0 && state.get(track + 7) < 16.0f) {
        return;
    }
    const uint32_t longest = longest_of(p);
    const uint32_t place = sixty_fourths(state, track, near_zero(x - state.get(track)));
    if (learn_period(state, at, longest, slot, min(max(place, 3839u), 4351u) - 3839)) {
        for (uint32_t i = 0; i < words_of(longest); i++) {
            state[season + i] = 0;
        }
    }
}

struct Seasons {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State&, uint32_t, uint32_t) {}
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment& moment, Distance& found) {
        const u64 slot = join(p.shape0, p.shape1 & 0x1fffff);
        const uint32_t longest = longest_of(p);
        uint32_t words = period_words(longest) + words_of(longest);
        for (uint32_t season = 0; season < SEASONS; season++) {
            words += words_of(slots_of(p, season));
        }
        uint32_t at = own + i * words;
        if (longest > 0) {
            // Divides for itself, so that no register holds the time's parts meanwhile.
            find_period(state, p, at + words - words_of(longest), low_of(moment.time / slot), track, x);
        }
        const Time time{moment.time / slot, uint32_t((moment.time % slot << 8) / slot)};
        float least = 0.75f;
        // One body for all seasons, behind those that are named the one that is looked for; what is not kept over it is
        // read again, which saves registers.
#pragma unroll 1
        for (uint32_t season = p.zero; season <= SEASONS; season++) {
            const bool named = season < SEASONS;
            if (!named) {
                if (longest_of(p) == 0) {
                    break;
                }
                at += period_words(longest_of(p));
            }
            const uint32_t slots = named ? slots_of(p, season) : state[found_at(p, at) + PERIOD_SLOTS];
            if (slots > 0) {
                const uint32_t number =
                    named ? uint32_t(time.slot % slots) : period_number(state, found_at(p, at), low_of(time.slot));
                learn_season(state, p, at, slots, number, time, track, x, moment, least, found);
            }
            at += named ? words_of(slots_of(p, season)) : 0;
        }
        return Apart{found.z2, 0.0f, found.z2};
    }
    static __device__ __forceinline__ Level level(const State&, const ScoreParams&, uint32_t, const Distance& far,
                                                  const Apart&, uint32_t seen, const Row&) {
        const float level = own_ln(1.0f + far.z2 * 0.2f);
        return Level{seen > 8, seen - min(seen, 9u), level, level * inverse(1.0f + level)};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    season(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
           Words out) {
    body<Seasons>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::season
