// Finds the kernels of a library: those of all tables that were linked into it.

#include "cuda_host.h"

// Where the tables are listed.
extern "C" {
extern const cuda_host::Table* __start_host_kernels[] __attribute__((visibility("hidden")));
extern const cuda_host::Table* __stop_host_kernels[] __attribute__((visibility("hidden")));
}

const HostKernel* host_kernel_at(uint32_t number) {
    size_t before = 0;
    for (auto table = __start_host_kernels; table != __stop_host_kernels; table++) {
        if (number - before < (*table)->count) {
            return &(*table)->first[number - before];
        }
        before += (*table)->count;
    }
    return nullptr;
}

const HostKernel* host_kernel(const char* name) {
    for (uint32_t number = 0;; number++) {
        const HostKernel* kernel = host_kernel_at(number);
        if (kernel == nullptr || std::strcmp(kernel->name, name) == 0) {
            return kernel;
        }
    }
}
