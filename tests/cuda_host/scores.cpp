// The crate's kernels that score, alone: what a mistake planted in one of them needs to have compiled.

#include "cuda_host.h"

#include "../../kernels/prelude.cuh"

#include "../../kernels/art.cu"
#include "../../kernels/ensemble.cu"
#include "../../kernels/forest.cu"
#include "../../kernels/half_space.cu"
#include "../../kernels/loda.cu"
#include "../../kernels/profile.cu"
#include "../../kernels/score.cu"
#include "../../kernels/season.cu"
#include "../../kernels/spectral.cu"
#include "../../kernels/sub_pca.cu"

namespace {

#define KERNEL(name) HOST_KERNEL(#name, pelton::name::name)

constexpr HostKernel KERNELS[] = {
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
};

}  // namespace

HOST_KERNELS(KERNELS)
