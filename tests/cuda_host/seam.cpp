// The kernels that test the seam, as the host runs them.

#include "cuda_host.h"

#include "seam.cu"

namespace {

#define KERNEL(name) HOST_KERNEL(#name, pelton::name::name)

constexpr HostKernel KERNELS[] = {
    KERNEL(count_bins), KERNEL(echo), KERNEL(copy_head), KERNEL(chunk_sums), KERNEL(fold_sums), KERNEL(visit),
};

}  // namespace

// Null when there is none of this name.
extern "C" const HostKernel* seam_kernel(const char* name) {
    for (const HostKernel& kernel : KERNELS) {
        if (std::strcmp(kernel.name, name) == 0) {
            return &kernel;
        }
    }
    return nullptr;
}
