// Attention over packed sequences: sixteen queries of one head a block, sixteen keys at a time.
//
// Twin of src/ops/attention.rs. Thread k has query k / 16; of a tile of scores it has key k % 16, of the result every
// sixteenth value from k % 16 on. The largest score so far is kept; when it changes, what was added up is scaled. Each
// thread adds up the shares of its own keys, and all of them at the end.
// A bias by distance is a table for each head, of twice as many values as it reaches back.
#include "encoder.cuh"

namespace pelton::attention {

struct AttentionParams {
    uint32_t heads;
    uint32_t head_size;
    float scale;
    uint32_t bias_at;
    uint32_t dtype;
    uint32_t pad0;
    uint32_t pad1;
    uint32_t pad2;
};

constexpr uint32_t KEYS = 16;
constexpr uint32_t HEAD_MAX = 128;
constexpr float LEAST = -3.0e38f;
constexpr uint32_t BIAS_REACH = 128;
constexpr uint32_t BF16 = 2;

// Loads the keys (1) or values (2) of sixteen tokens.
static __device__ __forceinline__ void load(const AttentionParams& p, ConstWords qkv, float* tile, uint32_t which,
                                            uint32_t from, uint32_t end, uint32_t h) {
    for (uint32_t i = threadIdx.x; i < KEYS * p.head_size; i += THREADS) {
        const uint32_t j = i / p.head_size, d = i % p.head_size;
        const uint32_t token = min(from + j, end - 1);
        tile[j * (p.head_size + 1) + d] = real(qkv[((3 * token + which) * p.heads + h) * p.head_size + d]);
    }
}

// What is added to the score of a key, this far behind or before the query.
static __device__ __forceinline__ float bias_of(const AttentionParams& p, ConstWords w, uint32_t h, uint32_t query,
                                                uint32_t key) {
    if (p.bias_at == 0) {
        return 0;
    }
    const uint32_t place =
        key < query ? BIAS_REACH - min(query - key, BIAS_REACH) : BIAS_REACH + min(key - query, BIAS_REACH - 1);
    return real(w[p.bias_at + 2 * BIAS_REACH * h + place]);
}

static __device__ __forceinline__ void body(Head head, const AttentionParams& p, ConstWords qkv, ConstWords w,
                                            Words out) {
    // A word apart from each other's bank.
    __shared__ float tile[KEYS * (HEAD_MAX + 1)];
    __shared__ float scores[THREADS];
    const uint32_t number = blockIdx.x / p.heads, h = blockIdx.x % p.heads;
    if (number >= head[TILES]) {
        return;
    }
    const uint32_t entry = head[TILES_AT] + 2 * number;
    const uint32_t starts = head[STARTS_AT] + head[entry];
    const uint32_t begin = head[starts], end = head[starts + 1];
    const uint32_t query = head[entry + 1] + threadIdx.x / KEYS;
    const uint32_t own = (3 * min(query, end - 1) * p.heads + h) * p.head_size;
    const uint32_t of_query = threadIdx.x / KEYS * KEYS, j = threadIdx.x % KEYS;
    float most = LEAST, weight = 0, sums[HEAD_MAX / KEYS] = {};
    for (uint32_t from = begin; from < end; from += KEYS) {
        __syncthreads();
        load(p, qkv, tile, 1, from, end, h);
        __syncthreads();
        float score = 0;
        for (uint32_t d = 0; d < p.head_size; d++) {
            score = add_product(score, real(qkv[own + d]), tile[j * (p.head_size + 1) + d]);
        }
        score = score * p.scale + bias_of(p, w, h, query, from + j);
        scores[threadIdx.x] = from + j < end ? score : LEAST;
        __syncthreads();
        float top = most;
        for (uint32_t i = 0; i < KEYS; i++) {
            top = fmaxf(top, scores[of_query + i]);
        }
        const float share = from + j < end ? exp_neg(scores[threadIdx.x] - top) : 0.0f;
        load(p, qkv, tile, 2, from, end, h);
        __syncthreads();
        scores[threadIdx.x] = p.dtype == BF16 ? real(bf16(share) << 16) : share;
        __syncthreads();
        const float kept = exp_neg(most - top);
        most = top;
        weight = weight * kept + share;
        for (uint32_t r = 0; r < HEAD_MAX / KEYS; r++) {
            if (r < p.head_size / KEYS) {
                sums[r] *= kept;
                for (uint32_t i = 0; i < KEYS; i++) {
                    sums[r] = add_product(sums[r], scores[of_query + i], tile[i * (p.head_size + 1) + KEYS * r + j]);
                }
            }
        }
    }
    __syncthreads();
    scores[threadIdx.x] = weight;
    __syncthreads();
    weight = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        weight += scores[of_query + i];
    }
    for (uint32_t r = 0; r < HEAD_MAX / KEYS; r++) {
        if (query < end && r < p.head_size / KEYS) {
            out[(query * p.heads + h) * p.head_size + KEYS * r + j] = bits(sums[r] / weight);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    attention(Head head, AttentionParams p, ConstWords qkv, ConstWords w, Words out) {
    body(head, p, qkv, w, out);
}

}  // namespace pelton::attention
