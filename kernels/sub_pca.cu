// Scores each event by the past of its key, with streaming principal components: how much of the latest stretch of a
// key's values its usual shapes leave over.
//
// Twin of src/ops/sub_pca.rs; what detectors of stretches share stands in stretch.cuh. A lane has one or two numbers of
// a stretch, and those of each vector at the same places. Per event and value 4 bytes of each number and 8 of each
// vector's are moved.
#include "stretch.cuh"

namespace pelton::sub_pca {

using namespace score;

struct SubPca {
    uint32_t window, rank;
    __device__ __forceinline__ explicit SubPca(const ScoreParams& p)
        : window(p.shape0 >> 16), rank(p.shape0 & 0xffff) {}
    __device__ __forceinline__ uint32_t words() const { return (STRETCH_RING + window * (1 + rank) + 15) / 16 * 16; }

    // Takes from a stretch what each vector explains, and has each learn it, with this share; the mean square of what
    // is left. All lanes together.
    __device__ __forceinline__ float unusual(const State& stretch, uint32_t at, float share) const {
        float left[2] = {0.0f, 0.0f};
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t k = LANES * i + lane();
            left[i] = k < window ? stretch.get(STRETCH_RING + ((at + k) & (window - 1))) : 0.0f;
        }
        for (uint32_t j = 0; j < rank; j++) {
            const uint32_t vector = STRETCH_RING + window * (1 + j);
            float before[2];
            float along = 0.0f;
            float size = 0.0f;
            for (uint32_t i = 0; i < 2; i++) {
                const uint32_t k = LANES * i + lane();
                before[i] = k < window ? stretch.get(vector + k) : 0.0f;
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
                if (k < window) {
                    stretch.put(vector + k, none ? left[i] : near_zero(before[i] * (1.0f - share) + left[i] * gain));
                }
                left[i] = none ? left[i] : near_zero(left[i] - before[i] * taken);
            }
            if (none) {
                break;
            }
        }
        return summed(left[0] * left[0] + left[1] * left[1]) * inverse(float(window));
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    sub_pca(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
            Words states, Words out) {
    body_together<ByExcess<SubPca>>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::sub_pca
