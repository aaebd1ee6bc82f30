// The crate's kernels as the host runs them: those of windows, that of scores by distance, the device's own, and the
// latency mode, which runs bodies of all these.

#include "cuda_host.h"

#include "../../kernels/prelude.cuh"

#include "../../kernels/finish.cu"
#include "../../kernels/gather.cu"
#include "../../kernels/sift.cu"
#include "../../kernels/group_count.cu"
#include "../../kernels/group_mark.cu"
#include "../../kernels/group_scan.cu"
#include "../../kernels/group_scatter.cu"
#include "../../kernels/group_segments.cu"
#include "../../kernels/dense.cu"
#include "../../kernels/keys.cu"
#include "../../kernels/rehash.cu"
#include "../../kernels/resolve.cu"
#include "../../kernels/settle.cu"
#include "../../kernels/elect.cu"
#include "../../kernels/ends.cu"
#include "../../kernels/expire.cu"
#include "../../kernels/fold.cu"
#include "../../kernels/score.cu"
#include "../../kernels/clear.cu"
#include "../../kernels/fire.cu"
#include "../../kernels/merge.cu"
#include "../../kernels/zero.cu"
#include "../../kernels/resident.cu"

namespace {

#define KERNEL(name) HOST_KERNEL(#name, pelton::name::name)

constexpr HostKernel KERNELS[] = {
    KERNEL(sift),
    KERNEL(group_count),
    KERNEL(group_scan),
    KERNEL(group_scatter),
    KERNEL(group_mark),
    KERNEL(group_segments),
    KERNEL(keys),
    KERNEL(dense),
    KERNEL(settle),
    KERNEL(resolve),
    KERNEL(rehash),
    KERNEL(expire),
    KERNEL(fold),
    KERNEL(score),
    KERNEL(elect),
    KERNEL(ends),
    KERNEL(merge),
    KERNEL(clear),
    KERNEL(zero),
    KERNEL(fire),
    KERNEL(gather),
    KERNEL(finish),
    KERNEL(resident),
};

}  // namespace

HOST_KERNELS(KERNELS)
