// The crate's kernels as the host runs them: the translation unit that the images are made of, and a table of it.

#include "cuda_host.h"

#include "../../kernels/pelton.cu"

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
    KERNEL(forest),
    KERNEL(half_space),
    KERNEL(loda),
    KERNEL(season),
    KERNEL(profile),
    KERNEL(sub_pca),
    KERNEL(spectral),
    KERNEL(art),
    KERNEL(ensemble),
    KERNEL(elect),
    KERNEL(ends),
    KERNEL(merge),
    KERNEL(clear),
    KERNEL(zero),
    KERNEL(fire),
    KERNEL(embed),
    KERNEL(gemm),
    KERNEL(gemm_norm),
    KERNEL(attention),
    KERNEL(pool),
    // The device's own: the first kernel of every replay and the last.
    KERNEL(gather),
    KERNEL(finish),
    // In place of gemm on compute capability 9.0.
    HOST_KERNEL_IN(pelton::gemm_wgmma::Room, "gemm_wgmma", pelton::gemm_wgmma::gemm_wgmma),
    // The latency mode, which runs bodies of the others.
    KERNEL(resident),
};

}  // namespace

HOST_KERNELS(KERNELS)
