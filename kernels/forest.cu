// Scores each event by the past of its key, with forests.
//
// Twin of src/ops/forest.rs; cost and memory stand in scores.cuh and isolation.cuh.
#include "scores.cuh"

namespace pelton::forest {

using score::ScoreParams;

extern "C" __global__ void __launch_bounds__(256, 2)
    forest(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
           Words out) {
    score::body<score::FORESTS>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::forest
