// The walk of detectors whose events are too much for one thread: a warp takes a key. Twin of shaders/together.wgsl.
#pragma once

#include "scores.cuh"

namespace pelton::score {

// The whole of the kernels that score with a warp for each key: one lane looks at an event, all lanes work out how far
// it stands out (`D::together`), and the one decides.
template <class D>
static __device__ __forceinline__ void body_together(Block block, Head head, const ScoreParams& p, Events events,
                                                     ConstWords order, ConstWords segments, ConstWords map,
                                                     Words states, Words out) {
    if (past_grid(head, block)) {
        return;
    }
    const uint32_t rows = put_front(block.index == 0 && threadIdx.x == 0, p, segments, out);
    const uint32_t warps = head[GROUPS] * WARPS;
    for (uint32_t segment = block.index * WARPS + threadIdx.x / LANES; segment < segments[score::SEGMENTS];
         segment += warps) {
        State state{states, 0};
        if (!find_state(head, p, segments, map, segment, state.at)) {
            continue;
        }
        const Span span = events_of_segment(segments, segment);
        for (uint32_t i = span.first; i < span.end; i++) {
            const Row row{out, rows + i * row_words(p)};
            Observed observed{};
            if (lane() == 0) {
                observed = observe<D>(state, p, events, order[i], row);
            }
            __syncwarp();
            observed.apart.by = D::together(state, p, row);
            __syncwarp();
            if (lane() == 0) {
                judge<D>(state, p, observed, row);
            }
        }
    }
}

}  // namespace pelton::score
