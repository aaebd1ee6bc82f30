// Scores each event by the past of its key, with spectral residuals: how salient the latest number of a value's stretch
// is.
//
// Twin of src/ops/spectral.rs; what detectors of stretches share stands in stretch.cuh. A lane takes each 32nd
// frequency and reads all numbers, each of which is one word for the whole warp. Per event and value 4 bytes of each
// number are read, and the arithmetic bounds it.
#include "stretch.cuh"

namespace pelton::spectral {

using namespace score;

// Cosines of a quarter turn in steps of a 128th turn.
__constant__ float COSINES[33] = {
    1.0f, 0.99879545f, 0.9951847f, 0.9891765f, 0.98078525f, 0.97003126f, 0.95694035f, 0.94154406f, 0.9238795f,
    0.9039893f, 0.8819213f, 0.8577286f, 0.8314696f, 0.8032075f, 0.77301043f, 0.7409511f, 0.70710677f, 0.671559f,
    0.6343933f, 0.5956993f, 0.55557024f, 0.51410276f, 0.47139674f, 0.42755508f, 0.38268343f, 0.33688986f,
    0.29028466f, 0.24298018f, 0.19509032f, 0.14673047f, 0.09801714f, 0.049067676f, 0.0f,
};

// Where a warp keeps the logarithm of each frequency's power.
static __device__ __forceinline__ float* logs_of_warp() {
    __shared__ float logs[WARPS][65];
    return logs[threadIdx.x / LANES];
}

struct Spectral {
    uint32_t window;
    __device__ __forceinline__ explicit Spectral(const ScoreParams& p) : window(p.shape0) {}
    __device__ __forceinline__ uint32_t words() const { return (STRETCH_RING + window + 15) / 16 * 16; }

    // The number that came so many before the latest one, which lies at `at` in the ring.
    __device__ __forceinline__ float before(const State& stretch, uint32_t at, uint32_t back) const {
        return stretch.get(STRETCH_RING + ((at + back) & (window - 1)));
    }

    // What follows, by the numbers before the latest one.
    __device__ __forceinline__ float estimate_of(const State& stretch, uint32_t at) const {
        const float from = before(stretch, at, 1);
        float sum = from - before(stretch, at, 2);
        sum += (from - before(stretch, at, 3)) * 0.5f;
        sum += (from - before(stretch, at, 4)) * 0.33333334f;
        sum += (from - before(stretch, at, 5)) * 0.25f;
        sum += (from - before(stretch, at, 6)) * 0.2f;
        return near_zero(held(before(stretch, at, 5) + sum, 64.0f));
    }

    // The spectrum of a stretch at a frequency.
    __device__ __forceinline__ void spectrum(const State& stretch, uint32_t at, uint32_t f, float estimate, float& real,
                                             float& imaginary) const {
        const uint32_t step = f * (128 / window);
        const float cosine = step > 32 ? -COSINES[64 - step] : COSINES[step];
        const float sine = COSINES[step > 32 ? step - 32 : 32 - step];
        float re = 0.0f;
        float im = 0.0f;
        for (uint32_t i = 1; i <= window; i++) {
            const bool known = i < window - 5 || i == window;
            const float number = known ? before(stretch, at, i) : estimate;
            const float turned = re * cosine + im * sine;
            im = im * cosine - re * sine;
            re = turned + number;
        }
        real = near_zero(re);
        imaginary = near_zero(im);
    }

    // The square of the saliency map at the latest number. All lanes together.
    __device__ __forceinline__ float unusual(const State& stretch, uint32_t at, float) const {
        float* logs = logs_of_warp();
        const uint32_t half = window / 2;
        const float by_window = inverse(float(window));
        const float estimate = estimate_of(stretch, at);
        float real[3] = {0.0f, 0.0f, 0.0f};
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t f = LANES * i + lane();
            if (f <= half) {
                float imaginary;
                spectrum(stretch, at, f, estimate, real[i], imaginary);
                logs[f] = own_ln(1.0f + (real[i] * real[i] + imaginary * imaginary) * (4096.0f * by_window));
            }
        }
        __syncwarp();
        float salient = 0.0f;
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t f = LANES * i + lane();
            if (f <= half) {
                const float near = logs[f == 0 ? 1 : f - 1] + logs[f] + logs[f == half ? half - 1 : f + 1];
                const float times = f == 0 || f == half ? 1.0f : 2.0f;
                salient += real[i] * own_exp(near * -0.16666667f) * times;
            }
        }
        salient = summed(salient);
        return near_zero(salient * salient * (4096.0f * by_window * by_window));
    }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    spectral(Head head, ScoreParams p, Events events, ConstWords order, ConstWords segments, ConstWords map,
             Words states, Words out) {
    body_together<ByExcess<Spectral>>(this_block(), head, p, events, order, segments, map, states, out);
}

}  // namespace pelton::spectral
