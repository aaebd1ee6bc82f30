// Scores each event by the past of its key, with left matrix profiles: how far the latest stretch of a key's values
// lies from the nearest one before it.
//
// Twin of src/ops/profile.rs; what all kernels that score cost stands in scores.cuh. Here a warp takes a key, since an
// event has hundreds of lags to move on: its lanes take them side by side, so that words of the ring and the sums are
// loaded in whole lines, and the first lane what else there is to do. Per event and value 12 bytes a lag are read and
// 4 written, by shape 24 read.
#include "point.cuh"
#include "together.cuh"

namespace pelton::profile {

using namespace score;

constexpr uint32_t PROFILE_COUNT = 0;
constexpr uint32_t PROFILE_SUM = 1;
constexpr uint32_t PROFILE_SQUARES = 2;
constexpr uint32_t PROFILE_LEVELS = 3;
constexpr uint32_t PROFILE_FRESH = 8;
constexpr uint32_t PROFILE_RING = 16;
constexpr uint32_t NO_DISTANCE = 0xffffffffu;

// What src/ops/profile.rs packs.
struct Profile {
    uint32_t points, window;
    bool shape;
    __device__ __forceinline__ explicit Profile(uint32_t packed)
        : points(packed >> 16), window(packed >> 1 & 0x7fff), shape((packed & 1) != 0) {}
    __device__ __forceinline__ uint32_t words() const { return PROFILE_RING + points * (shape ? 5 : 2); }
    __device__ __forceinline__ float by_window() const { return inverse(float(window)); }
};

// The sum of squares of whole numbers centred at the one below their mean, and what their sum is more than that.
struct Centred {
    uint32_t squares, rest;
    __device__ __forceinline__ Centred(uint32_t sum, uint32_t squares, uint32_t window)
        : squares(squares), rest(sum & (window - 1)) {
        const uint32_t below = uint32_t(int32_t(sum) >> (31 - __clz(int(window))));
        this->squares -= below * (sum + rest);
    }
    // The same, centred at the mean itself.
    __device__ __forceinline__ float at_mean(float by_window) const {
        return to_float(squares) - float(rest * rest) * by_window;
    }
};

// Keeps a number in its value's profile.
static __device__ __forceinline__ void keep_number(const State& profile, const Profile& p, uint32_t place) {
    const uint32_t count = profile[PROFILE_COUNT] + 1;
    profile[PROFILE_COUNT] = count == 2 * p.points ? p.points : count;
    const uint32_t at = (0 - count) & (p.points - 1);
    profile[PROFILE_RING + at] = place;
    const uint32_t gone = profile[PROFILE_RING + ((at + p.window) & (p.points - 1))];
    const uint32_t sum = profile[PROFILE_SUM] + place - gone;
    const uint32_t squares = profile[PROFILE_SQUARES] + place * place - gone * gone;
    profile[PROFILE_SUM] = sum;
    profile[PROFILE_SQUARES] = squares;
    if (!p.shape) {
        return;
    }
    const Centred sums(sum, squares, p.window);
    const bool is_flat = sums.squares < 2 * p.window &&
                         int32_t(p.window * sums.squares - sums.rest * sums.rest) < int32_t(p.window * p.window);
    const float root = __fsqrt_rn(sums.at_mean(p.by_window()));
    const uint32_t stretch = PROFILE_RING + 2 * p.points + at;
    profile[stretch] = sum;
    profile.put(stretch + p.points, is_flat ? 0.0f : root);
    profile.put(stretch + 2 * p.points, is_flat ? 0.0f : inverse(root));
}

// The bits of the squared distance by shape between the latest stretch and another one, which end at these places.
static __device__ __forceinline__ uint32_t by_shape(const State& profile, const Profile& p, uint32_t at, uint32_t other,
                                                    uint32_t squares) {
    const uint32_t mine = PROFILE_RING + 2 * p.points + at;
    const uint32_t its = PROFILE_RING + 2 * p.points + other;
    const Centred sums(profile[mine] - profile[its], squares, p.window);
    const float off = profile.get(mine + p.points) - profile.get(its + p.points);
    const float apart = sums.at_mean(p.by_window()) - off * off;
    const float my_inverse = profile.get(mine + 2 * p.points);
    const float its_inverse = profile.get(its + 2 * p.points);
    if ((my_inverse == 0.0f) != (its_inverse == 0.0f)) {
        return bits_of(1.0f);
    }
    const float squared = apart * my_inverse * its_inverse;
    return squared > 0.0f ? bits_of(squared) : 0;
}

// Moves the lags of a profile on, all lanes together; the least sum at one, or the bits of the least squared distance
// by shape, is what all of them get.
static __device__ __forceinline__ uint32_t slide(const State& profile, const Profile& p) {
    const uint32_t mask = p.points - 1;
    const uint32_t count = profile[PROFILE_COUNT];
    const uint32_t at = (0 - count) & mask;
    const uint32_t latest = profile[PROFILE_RING + at];
    const uint32_t gone = profile[PROFILE_RING + ((at + p.window) & mask)];
    // Behind this lag one of the stretches would begin before the first number.
    const uint32_t end = min(p.points - p.window, count + 1 - min(count + 1, p.window));
    uint32_t nearest = NO_DISTANCE;
    for (uint32_t lag = p.window + lane(); lag < p.points - p.window; lag += LANES) {
        const uint32_t gained = latest - profile[PROFILE_RING + ((at + lag) & mask)];
        const uint32_t lost = gone - profile[PROFILE_RING + ((at + lag + p.window) & mask)];
        uint32_t& sum = profile[PROFILE_RING + p.points + lag];
        sum += (gained - lost) * (gained + lost);
        if (lag < end) {
            nearest = min(nearest, p.shape ? by_shape(profile, p, at, (at + lag) & mask, sum) : sum);
        }
    }
    return __reduce_min_sync(ALL_LANES, nearest);
}

// The state of a value's profile.
static __device__ __forceinline__ State profile_of(const State& state, const Profile& p, uint32_t own, uint32_t i) {
    return State{state.words, state.at + own + i * p.words()};
}

struct Nearest {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + PROFILE_FRESH + i] = 0;
    }
    // Keeps a value that its track has learnt.
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x,
                                                  const Moment&, Distance& found) {
        const Profile asked(p.shape0);
        const State profile = profile_of(state, asked, own, i);
        if (profile[PROFILE_COUNT] > 0 || state.get(track + 7) >= 16.0f) {
            state[own + PROFILE_FRESH + i] = 1;
            keep_number(profile, asked, sixty_fourths(state, track, near_zero(x - state.get(track))));
        }
        return Apart{found.z2, 0.0f, 0.0f};
    }
    // `apart` holds the largest squared distance.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams&, uint32_t own, const Distance&,
                                                  const Apart& apart, uint32_t, const Row&) {
        if (apart.by < 0.0f) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const uint32_t levels = state[own + PROFILE_LEVELS];
        state[own + PROFILE_LEVELS] = levels == 0xffffffffu ? 0xfffe0000u : levels + 1;
        const float distance = __fsqrt_rn(apart.by);
        const float dense = distance * inverse(1.0f + distance);
        return Level{true, levels, own_ln(1.0f + apart.by * 64.0f), dense};
    }
    // Moves all profiles of an event's key on, all lanes together; of the event's values the largest squared distance,
    // or -1 where none is known. Each is the part of its value.
    static __device__ __forceinline__ float together(const State& state, const ScoreParams& p, const Row& row) {
        const Profile asked(p.shape0);
        float far = -1.0f;
        for (uint32_t i = 0; i < p.values; i++) {
            if (state[own_state(p) + PROFILE_FRESH + i] != 0) {
                const uint32_t least = slide(profile_of(state, asked, own_state(p), i), asked);
                const float raw = to_float(least) * (asked.by_window() * 2.4414063e-4f);
                const float squared = asked.shape ? number_of(least) : raw;
                far = least != NO_DISTANCE && squared > far ? squared : far;
                if (least != NO_DISTANCE && lane() == 0) {
                    row.put_part(p, i, squared);
                }
            }
        }
        return far;
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    profile(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
            Words states, Words out) {
    body_together<Nearest>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::profile
