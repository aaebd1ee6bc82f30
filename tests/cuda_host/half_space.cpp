// The kernel `half_space` as the host runs it, alone: a mistake planted in it has nothing else compiled anew.

#include "cuda_host.h"

#include "../../kernels/prelude.cuh"

#include "../../kernels/half_space.cu"

HOST_KERNEL_ALONE(half_space)
