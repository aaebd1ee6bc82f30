// Scores each event by the past of its key, with streaming principal components: how much of the latest stretch of a
// key's values its usual shapes leave over.
//
// Twin of src/ops/sub_pca.rs; what all kernels that score cost stands in scores.cuh. A warp takes a key: a lane has one
// or two numbers of a window, and those of each vector at the same places, so that all are loaded in whole lines, and
// sums are those of a butterfly. Per event and value 4 bytes of each number and 8 of each vector's are moved.
#include "scores.cuh"

namespace pelton::sub_pca {

using namespace score;

constexpr uint32_t PCA_COUNT = 0;
constexpr uint32_t PCA_MEAN = 1;
constexpr uint32_t PCA_LEVELS = 2;
constexpr uint32_t PCA_FRESH = 8;
constexpr uint32_t PCA_RING = 16;
constexpr uint32_t PCA_COUNT_MAX = 4096;

// What src/ops/sub_pca.rs packs.
struct SubPca {
    uint32_t window, rank;
    __device__ __forceinline__ explicit SubPca(uint32_t packed) : window(packed >> 16), rank(packed & 0xffff) {}
    __device__ __forceinline__ uint32_t words() const { return (PCA_RING + window * (1 + rank) + 15) / 16 * 16; }
};

// A number in deviations that the track at `track` has learnt.
static __device__ __forceinline__ float scaled(const State& state, uint32_t track, float x) {
    const float deviation = __fsqrt_rn(state.get(track + 9));
    const float off = near_zero(x - state.get(track)) - state.get(track + 8);
    return near_zero(held(off * inverse(deviation + 1e-12f), 64.0f));
}

// A sum over all lanes, the same in each.
static __device__ __forceinline__ float summed(float x) {
    for (uint32_t half = LANES / 2; half > 0; half /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, half);
    }
    return x;
}

// Takes from a window what each vector explains, and has each learn it, with this share; the sum of squares of what is
// left. All lanes together.
static __device__ __forceinline__ float left_over(const State& pca, const SubPca& p, uint32_t at, float share) {
    float left[2] = {0.0f, 0.0f};
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t k = LANES * i + lane();
        left[i] = k < p.window ? pca.get(PCA_RING + ((at + k) & (p.window - 1))) : 0.0f;
    }
    for (uint32_t j = 0; j < p.rank; j++) {
        const uint32_t vector = PCA_RING + p.window * (1 + j);
        float before[2];
        float along = 0.0f;
        float size = 0.0f;
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t k = LANES * i + lane();
            before[i] = k < p.window ? pca.get(vector + k) : 0.0f;
            along += left[i] * before[i];
            size += before[i] * before[i];
        }
        along = near_zero(summed(along));
        size = summed(size);
        const bool none = size < 1e-12f;
        const float taken = along * inverse(size);
        const float gain = along * inverse(__fsqrt_rn(size)) * share;
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t k = LANES * i + lane();
            if (k < p.window) {
                pca.put(vector + k, none ? left[i] : near_zero(before[i] * (1.0f - share) + left[i] * gain));
            }
            left[i] = none ? left[i] : near_zero(left[i] - before[i] * taken);
        }
        if (none) {
            break;
        }
    }
    return summed(left[0] * left[0] + left[1] * left[1]);
}

// The excess of a value's window, or -1 where there is no past to judge by. All lanes together.
static __device__ __forceinline__ float excess_of(const State& pca, const SubPca& p) {
    const uint32_t count = pca[PCA_COUNT];
    const float mean = pca.get(PCA_MEAN);
    if (count < p.window) {
        return -1.0f;
    }
    const uint32_t learnt = count - p.window;
    const float early = 3.0f * inverse(float(learnt) + 3.0f);
    const float share = early < 9.765625e-4f ? 9.765625e-4f : early;
    const float square = left_over(pca, p, (0 - count) & (p.window - 1), share) * inverse(float(p.window));
    __syncwarp();
    if (lane() == 0) {
        pca.put(PCA_MEAN, near_zero(mean + (square - mean) * share));
    }
    return learnt >= p.window ? square * inverse(mean + 2.4414063e-4f) : -1.0f;
}

// A value's own state.
static __device__ __forceinline__ State pca_of(const State& state, const SubPca& p, uint32_t own, uint32_t i) {
    return State{state.words, state.at + own + i * p.words()};
}

struct Residuals {
    // The key's own past alone decides.
    static constexpr bool CHANCE = false;
    static __device__ __forceinline__ void missing(const State& state, uint32_t own, uint32_t i) {
        state[own + PCA_FRESH + i] = 0;
    }
    // Keeps a value that its track has learnt.
    static __device__ __forceinline__ Apart value(const State& state, const ScoreParams& p, uint32_t own, uint32_t i,
                                                  uint32_t track, float x, const Moment&, Distance& found) {
        const SubPca asked(p.shape0);
        const State pca = pca_of(state, asked, own, i);
        if (pca[PCA_COUNT] > 0 || state.get(track + 7) >= 16.0f) {
            state[own + PCA_FRESH + i] = 1;
            const uint32_t count = pca[PCA_COUNT] + 1;
            pca[PCA_COUNT] = count == PCA_COUNT_MAX + asked.window ? PCA_COUNT_MAX : count;
            pca.put(PCA_RING + ((0 - count) & (asked.window - 1)), scaled(state, track, x));
        }
        return Apart{found.z2, 0.0f};
    }
    // Of an event's values the largest excess, or -1 where none is known: all lanes together.
    static __device__ __forceinline__ float together(const State& state, const ScoreParams& p) {
        const SubPca asked(p.shape0);
        float largest = -1.0f;
        for (uint32_t i = 0; i < p.values; i++) {
            if (state[own_state(p) + PCA_FRESH + i] != 0) {
                const float excess = excess_of(pca_of(state, asked, own_state(p), i), asked);
                largest = excess > largest ? excess : largest;
            }
        }
        return largest;
    }
    // `apart` holds the largest excess.
    static __device__ __forceinline__ Level level(const State& state, const ScoreParams&, uint32_t own, const Distance&,
                                                  const Apart& apart, uint32_t) {
        if (apart.by < 0.0f) {
            return Level{false, 0, 0.0f, 0.0f};
        }
        const uint32_t levels = state[own + PCA_LEVELS];
        state[own + PCA_LEVELS] = levels == 0xffffffffu ? 0xfffe0000u : levels + 1;
        const float root = __fsqrt_rn(apart.by);
        return Level{true, levels, own_ln(1.0f + apart.by), root * inverse(1.0f + root)};
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    sub_pca(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
            Words states, Words out) {
    body_together<Residuals>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::sub_pca
