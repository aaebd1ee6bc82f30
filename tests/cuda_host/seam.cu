// CUDA twins of the kernels that test the seam (tests/kernels): for the stand-in driver, never part of an image.
#include "../../kernels/prelude.cuh"

namespace pelton::count_bins {

struct BinsParams {
    uint32_t bins;
    int32_t shift;
    float scale;
    uint32_t pad0;
};

extern "C" __global__ void count_bins(Head head, BinsParams p, Events events, Words bins) {
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (blockIdx.x >= head[0] || i >= head[1]) {
        return;
    }
    const uint32_t value = events[4 * i + 1] >> p.shift;
    atomicAdd(&bins[value & (p.bins - 1)], 1u);
}

}  // namespace pelton::count_bins

namespace pelton::echo {

extern "C" __global__ void echo(Head head, Events events, Words out) {
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (blockIdx.x >= head[0]) {
        return;
    }
    if (i == 0) {
        out[0] += head[1] + 2;
        out[1] = head[3];
    }
    if (i < head[1]) {
        out[i + 2] = events[4 * i];
    }
}

}  // namespace pelton::echo

namespace pelton::copy_head {

extern "C" __global__ void copy_head(Head head, Words copy) {
    if (threadIdx.x < 4) {
        copy[threadIdx.x] = head[threadIdx.x];
    }
}

}  // namespace pelton::copy_head

namespace pelton::chunk_sums {

extern "C" __global__ void chunk_sums(Head head, Events events, Words sums) {
    __shared__ uint32_t part[THREADS];
    if (blockIdx.x >= head[0]) {
        return;
    }
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    part[threadIdx.x] = i < head[1] ? events[4 * i + 2] : 0;
    __syncthreads();
    for (uint32_t half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            part[threadIdx.x] += part[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = part[0];
    }
}

}  // namespace pelton::chunk_sums

namespace pelton::fold_sums {

extern "C" __global__ void fold_sums(Head head, ConstWords sums, Words total) {
    if (threadIdx.x != 0) {
        return;
    }
    u64 sum = join(total[0], total[1]);
    for (uint32_t i = 0; i < head[0]; i++) {
        sum += sums[i];
    }
    total[0] = low_of(sum);
    total[1] = high_of(sum);
    total[2] += 1;
}

}  // namespace pelton::fold_sums

namespace pelton::visit {

extern "C" __global__ void visit(Head head, Words visits) {
    if (blockIdx.x < head[0] && threadIdx.x == 255) {
        visits[blockIdx.x] += blockIdx.x + 1;
    }
}

}  // namespace pelton::visit
