// Kernels that users would bring, as the host runs them: that of the example `custom_kernel`.

#include "cuda_host.h"

#include "../../examples/custom_kernel/buckets.cu"

namespace {

constexpr HostKernel KERNEL = HOST_KERNEL("buckets", buckets);

}  // namespace

// Null when there is none of this name.
extern "C" const HostKernel* custom_kernel(const char* name) {
    return std::strcmp(name, KERNEL.name) == 0 ? &KERNEL : nullptr;
}
