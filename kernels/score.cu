// Scores each event by the past of its key, by distances alone.
//
// Twin of src/ops/score.rs; cost and memory stand in scores.cuh.
#include "scores.cuh"

namespace pelton::score {

extern "C" __global__ void __launch_bounds__(256, 4)
    score(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map, Words states,
          Words out) {
    body<ByDistance>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::score
