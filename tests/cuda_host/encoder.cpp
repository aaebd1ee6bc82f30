// The crate's kernels as the host runs them: those of encoders.

#include "cuda_host.h"

#include "../../kernels/prelude.cuh"

#include "../../kernels/attention.cu"
#include "../../kernels/embed.cu"
#include "../../kernels/gemm.cu"
#include "../../kernels/gemm_norm.cu"
#include "../../kernels/gemm_wgmma.cu"
#include "../../kernels/pool.cu"

namespace {

#define KERNEL(name) HOST_KERNEL(#name, pelton::name::name)

constexpr HostKernel KERNELS[] = {
    KERNEL(embed),
    KERNEL(gemm),
    KERNEL(gemm_norm),
    KERNEL(attention),
    KERNEL(pool),
    // In place of gemm on compute capability 9.0.
    HOST_KERNEL_IN(pelton::gemm_wgmma::Room, "gemm_wgmma", pelton::gemm_wgmma::gemm_wgmma),
};

}  // namespace

HOST_KERNELS(KERNELS)
