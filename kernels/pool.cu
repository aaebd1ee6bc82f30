// A sequence's vectors to one, a block each: a thread adds up every 256th value over the tokens.
//
// Twin of src/ops/pool.rs. Every vector is read once.
#include "encoder.cuh"

namespace pelton::pool {

struct PoolParams {
    uint32_t hidden;
    uint32_t first;
    uint32_t unit;
    uint32_t pad0;
};

constexpr uint32_t OUTPUT_HEAD = 8;

static __device__ __forceinline__ void body(Head head, const PoolParams& p, ConstWords x, Words out) {
    const uint32_t sequence = blockIdx.x;
    if (sequence >= head[SEQUENCES]) {
        return;
    }
    if (sequence == 0 && threadIdx.x == 0) {
        out[0] = OUTPUT_HEAD + head[SEQUENCES] * p.hidden;
    }
    const uint32_t begin = head[head[STARTS_AT] + sequence];
    const uint32_t end = p.first != 0 ? begin + 1 : head[head[STARTS_AT] + sequence + 1];
    const uint32_t to = OUTPUT_HEAD + sequence * p.hidden;
    const float share = 1.0f / float(end - begin);
    float squares = 0;
    for (uint32_t i = threadIdx.x; i < p.hidden; i += THREADS) {
        float sum = 0;
        for (uint32_t token = begin; token < end; token++) {
            sum += real(x[token * p.hidden + i]);
        }
        sum *= share;
        squares += sum * sum;
        out[to + i] = bits(sum);
    }
    const float length = sqrtf(sum_of_block(squares));
    if (p.unit != 0 && length > 0.0f) {
        for (uint32_t i = threadIdx.x; i < p.hidden; i += THREADS) {
            out[to + i] = bits(real(out[to + i]) * (1.0f / length));
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) pool(Head head, PoolParams p, ConstWords x, Words out) {
    body(head, p, x, out);
}

}  // namespace pelton::pool
