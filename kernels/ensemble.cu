// Takes the rows of a further detector into those of the ones before it.
//
// Twin of src/ops/ensemble.rs. A thread takes a key and walks its rows in order: 40 bytes of each of two rows read, 40
// written, and the parts of several values where they change; per key 64 bytes of state.
#include "scores.cuh"

namespace pelton::ensemble {

using namespace score;

// What of a surprise a share of the false alarms leaves.
static __device__ __forceinline__ float less(float surprise, float discount) {
    const float left = surprise - discount;
    return left > 0.0f ? left : 0.0f;
}

static __device__ __forceinline__ void take(const State& state, const ScoreParams& p, ConstWords rows, uint32_t by,
                                            Words out, uint32_t row) {
    const uint32_t drifted = (out[row + 4] | rows[by + 4]) & DRIFTED;
    uint32_t flags = out[row + 4] & ~(ALERT | RESTING | DISMISSED);
    float surprise = number_of(out[row + 5]);
    if ((flags & USUAL) == 0) {
        surprise = less(surprise, number_of(p.shape0));
    }
    const uint32_t said = rows[by + 4];
    if ((said & (USUAL | WARMING | MISSING)) == 0) {
        const float other = less(number_of(rows[by + 5]), number_of(p.shape1));
        const float so_far = (flags & USUAL) == 0 ? surprise : own_ln(1.0f + own_exp(held(surprise, 80.0f)));
        if ((flags & WARMING) != 0 || other > so_far) {
            flags = (flags & 0xffff0000u) | (said & (RULED_OUT | CLAMPED | 0x700)) | p.shape2 << 11;
            surprise = other;
            for (uint32_t i = 6; i < 9; i++) {
                out[row + i] = rows[by + i];
            }
            for (uint32_t i = ROW; i < row_words(p); i++) {
                out[row + i] = rows[by + i];
            }
        }
    }
    if (surprise <= p.asked) {
        flags &= ~RULED_OUT;
    }
    if (p.shape3 != 0) {
        advance(state, p, join(out[row + 2], out[row + 3]));
        if ((flags & MISSING) == 0) {
            state[SEEN] = state[SEEN] == 0xffffffffu ? 0xfffe0000u : state[SEEN] + 1;
            announce(state, p, surprise, flags);
        }
    }
    out[row + 4] = flags | drifted;
    out[row + 5] = bits_of(surprise);
}

extern "C" __global__ void __launch_bounds__(256)
    ensemble(Head head, ScoreParams p, ConstWords, ConstWords segments, ConstWords map, Words states,
             ConstWords rows, Words out) {
    const Block block = this_block();
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t segment = block.index * THREADS + threadIdx.x;
    State state{states, 0};
    if (segment >= segments[score::SEGMENTS] || !find_state(head, p, segments, map, segment, state.at)) {
        return;
    }
    const uint32_t came = OUT_FIXED + rows[OUT_ASIDE];
    const uint32_t to = OUT_FIXED + out[OUT_ASIDE];
    const Span span = events_of_segment(segments, segment);
    for (uint32_t i = span.first; i < span.end; i++) {
        take(state, p, rows, came + i * row_words(p), out, to + i * row_words(p));
    }
}

}  // namespace pelton::ensemble
