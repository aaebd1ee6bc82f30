// How kernels that were compiled for the host are found and run: the C interface of the shim.
//
// Whatever asks for a kernel (the stand-in for the driver, a test) knows this file and nothing else of the shim. A
// launch runs to its end on the calling thread, block after block, or all of them in turn where it is cooperative;
// several threads may launch at once, their blocks then take turns.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A kernel: its name, the sizes of its arguments, the bytes of dynamic shared memory that a launch has to give it, and
// one CUDA thread's run over pointers to its arguments.
typedef struct HostKernel {
    const char* name;
    uint32_t args, shared_bytes;
    const uint32_t* arg_bytes;
    void (*thread)(void* const* args);
} HostKernel;

// How it is run: blocks, threads of a block, bytes of dynamic shared memory, whether its blocks are there at the same
// time, and the seed of the order in which blocks and threads take turns (0: by number).
typedef struct HostLaunch {
    uint32_t grid, block, shared_bytes, cooperative;
    uint64_t seed;
} HostLaunch;

// The kernel of this name; null when there is none.
__attribute__((visibility("default"))) const HostKernel* host_kernel(const char* name);

// The kernel of this number, from 0 on; null behind the last.
__attribute__((visibility("default"))) const HostKernel* host_kernel_at(uint32_t number);

// Runs one launch to its end. 0, or 1 with a message in `why`: a barrier that some threads do not reach, a bad mask,
// an index outside its buffer, a launch that no device would take.
__attribute__((visibility("default"))) int host_launch(const HostKernel* kernel, const HostLaunch* launch,
                                                       void* const* args, char* why, size_t why_len);

// Ends all cooperative launches that run (1), lets none go on until it is told otherwise (2), or lets them (0).
__attribute__((visibility("default"))) void host_hold(int how);

#ifdef __cplusplus
}
#endif
