// Counts requests by endpoint and by the power of two that their latency lies in: the CUDA twin of kernel.rs.
#include "prelude.cuh"

struct BucketsParams {
    uint32_t endpoints;
    uint32_t pad0;
    uint32_t pad1;
    uint32_t pad2;
};

extern "C" __global__ void __launch_bounds__(256)
    buckets(pelton::Head head, BucketsParams p, pelton::Events events, pelton::Words counts) {
    const uint32_t i = blockIdx.x * pelton::THREADS + threadIdx.x;
    if (i >= head[1]) {
        return;
    }
    const pelton::Event request(events, i, 4);
    const uint32_t endpoint = request[2];
    const uint32_t bucket = 31 - __clz(int(request[3] | 1));
    // Events are hostile: a number that is no endpoint counts in a word of its own, behind all others.
    atomicAdd(&counts[endpoint < p.endpoints ? endpoint * 32 + bucket : p.endpoints * 32], 1u);
}
