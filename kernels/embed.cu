// Token ids to normalised vectors: a warp a token.
//
// Twin of src/ops/embed.rs. Per token: three times three rows read, the later times from a cache, and one written.
#include "encoder.cuh"

namespace pelton::embed {

struct EmbedParams {
    uint32_t hidden;
    uint32_t vocab;
    uint32_t places;
    uint32_t places_at;
    uint32_t types_at;
    uint32_t gamma_at;
    uint32_t beta_at;
    float eps;
};

static __device__ __forceinline__ void body(Head head, const EmbedParams& p, ConstWords words, ConstWords tables,
                                            Words out) {
    const uint32_t t = blockIdx.x * WARPS + threadIdx.x / LANES;
    if (t >= head[TOKENS]) {
        return;
    }
    const uint32_t word = min(head[head[IDS_AT] + t], p.vocab - 1) * p.hidden;
    const uint32_t place = p.places_at + min(head[head[PLACES_AT] + t], p.places - 1) * p.hidden;
    const auto value = [&](uint32_t i) {
        return real(words[word + i]) + real(tables[place + i]) + real(tables[p.types_at + i]);
    };
    const float share = 1.0f / float(p.hidden);
    float sum = 0;
    for (uint32_t i = lane(); i < p.hidden; i += LANES) {
        sum += value(i);
    }
    const float mean = sum_of_warp(sum) * share;
    sum = 0;
    for (uint32_t i = lane(); i < p.hidden; i += LANES) {
        const float off = value(i) - mean;
        sum += off * off;
    }
    const float scale = 1.0f / sqrtf(sum_of_warp(sum) * share + p.eps);
    for (uint32_t i = lane(); i < p.hidden; i += LANES) {
        const float x = (value(i) - mean) * scale;
        out[t * p.hidden + i] = bits(x * real(tables[p.gamma_at + i]) + real(tables[p.beta_at + i]));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    embed(Head head, EmbedParams p, ConstWords words, ConstWords tables, Words out) {
    body(head, p, words, tables, out);
}

}  // namespace pelton::embed
