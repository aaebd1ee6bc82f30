// The checks of the shim itself as a library of their own: kernels that are wrong on purpose, and a few that are not.

#include "cuda_host.h"

#include "checks.cu"

namespace {

#define KERNEL(name) HOST_KERNEL(#name, checks::name)

constexpr HostKernel CHECKS[] = {
    KERNEL(add_up),
    KERNEL(add_up_without_barrier),
    KERNEL(divergent_barrier),
    KERNEL(barriers_apart),
    KERNEL(barrier_after_leaving),
    KERNEL(shuffles),
    KERNEL(votes),
    KERNEL(lane_not_in_mask),
    KERNEL(lane_does_not_arrive),
    KERNEL(lane_has_left),
    KERNEL(wrong_width),
    KERNEL(index_outside),
    KERNEL(memory_not_there),
    KERNEL(index_outside_shared),
    KERNEL(unset_shared),
    KERNEL(lost_update),
    KERNEL(atomics),
    KERNEL(halves),
    KERNEL(pair_from_an_odd_word),
    KERNEL(waits_forever),
    KERNEL(order),
    KERNEL(deep),
    KERNEL(all_see_all),
    KERNEL(all_see_all_without_barrier),
    KERNEL(grid_barrier_not_reached),
    KERNEL(grid_barriers_apart),
    KERNEL(looks_for_the_last),
};

}  // namespace

HOST_KERNELS(CHECKS)
