// Scores each event by the past of its key, with half-space trees.
//
// Twin of src/ops/half_space.rs; cost and memory stand in scores.cuh and mass.cuh.
#include "scores.cuh"

namespace pelton::half_space {

using score::ScoreParams;

extern "C" __global__ void __launch_bounds__(256, 2)
    half_space(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
               Words states, Words out) {
    score::body<score::HALF_SPACES>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::half_space
