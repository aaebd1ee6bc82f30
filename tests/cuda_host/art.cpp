// The kernel `art` as the host runs it, alone: a mistake planted in it has nothing else compiled anew.

#include "cuda_host.h"

#include "../../kernels/prelude.cuh"

#include "../../kernels/art.cu"

HOST_KERNEL_ALONE(art)
