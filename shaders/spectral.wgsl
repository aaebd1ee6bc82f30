// Scores each event by the past of its key, with spectral residuals: how salient the latest number of a value's stretch
// is. Twin of src/ops/spectral.rs; what all kernels that score share stands in scores.wgsl, what detectors of stretches
// share in stretch.wgsl.
//
// A thread takes each 32nd frequency.

// Cosines of a quarter turn in steps of a 128th turn.
var<private> cosines: array<f32, 33> = array<f32, 33>(
    1.0, 0.99879545, 0.9951847, 0.9891765, 0.98078525, 0.97003126, 0.95694035, 0.94154406, 0.9238795, 0.9039893,
    0.8819213, 0.8577286, 0.8314696, 0.8032075, 0.77301043, 0.7409511, 0.70710677, 0.671559, 0.6343933, 0.5956993,
    0.55557024, 0.51410276, 0.47139674, 0.42755508, 0.38268343, 0.33688986, 0.29028466, 0.24298018, 0.19509032,
    0.14673047, 0.09801714, 0.049067676, 0.0,
);

// The logarithm of each frequency's power.
var<workgroup> logs: array<f32, 65>;

fn stretch_window() -> u32 {
    return p.shape0;
}

fn stretch_words() -> u32 {
    return (STRETCH_RING + p.shape0 + 15u) / 16u * 16u;
}

// Cosine and sine of so many 128ths of a turn, up to half of one.
fn turn_of(step: u32) -> vec2<f32> {
    if (step > 32u) {
        return vec2<f32>(-cosines[64u - step], cosines[step - 32u]);
    }
    return vec2<f32>(cosines[step], cosines[32u - step]);
}

// The number of a stretch that came so many before the latest one, which lies at `at` in the ring.
fn number_before(stretch: u32, at: u32, back: u32) -> f32 {
    return state_of(stretch + STRETCH_RING + ((at + back) & (p.shape0 - 1u)));
}

// What follows, by the numbers before the latest one.
fn estimate_of(stretch: u32, at: u32) -> f32 {
    let start = number_before(stretch, at, 1u);
    var sum = rounded(start - number_before(stretch, at, 2u));
    sum = rounded(sum + mul(rounded(start - number_before(stretch, at, 3u)), 0.5));
    sum = rounded(sum + mul(rounded(start - number_before(stretch, at, 4u)), 0.33333334));
    sum = rounded(sum + mul(rounded(start - number_before(stretch, at, 5u)), 0.25));
    sum = rounded(sum + mul(rounded(start - number_before(stretch, at, 6u)), 0.2));
    return near_zero(held(number_before(stretch, at, 5u) + sum, 64.0));
}

// The spectrum of a stretch at a frequency: real and imaginary part.
fn spectrum_at(stretch: u32, at: u32, f: u32, estimate: f32) -> vec2<f32> {
    let window = p.shape0;
    let turn = turn_of(f * (128u / window));
    var sum = vec2<f32>(0.0, 0.0);
    for (var i = 1u; i <= window; i += 1u) {
        var number = estimate;
        if (i < window - 5u || i == window) {
            number = number_before(stretch, at, i & (window - 1u));
        }
        let real = rounded(mul(sum.x, turn.x) + mul(sum.y, turn.y)) + number;
        sum = vec2<f32>(rounded(real), rounded(mul(sum.y, turn.x) - mul(sum.x, turn.y)));
    }
    return vec2<f32>(near_zero(sum.x), near_zero(sum.y));
}

// The square of the saliency map at the latest number.
fn unusual(stretch: u32, at: u32, share: f32, learns: bool, k: u32) -> f32 {
    let window = p.shape0;
    let half = window / 2u;
    let by_window = inverse(f32(window));
    let estimate = estimate_of(stretch, at);
    var real = array<f32, 3>(0.0, 0.0, 0.0);
    for (var i = 0u; STRANDS * i + k <= half; i += 1u) {
        let sums = spectrum_at(stretch, at, STRANDS * i + k, estimate);
        real[i] = sums.x;
        let power = rounded(mul(sums.x, sums.x) + mul(sums.y, sums.y));
        logs[STRANDS * i + k] = own_ln(1.0 + mul(power, mul(4096.0, by_window)));
    }
    workgroupBarrier();
    var salient = 0.0;
    for (var i = 0u; STRANDS * i + k <= half; i += 1u) {
        let f = STRANDS * i + k;
        let below = logs[select(f - 1u, 1u, f == 0u)];
        let above = logs[select(f + 1u, half - 1u, f == half)];
        let usual = own_exp(mul(rounded(rounded(below + logs[f]) + above), -0.16666667));
        let times = select(2.0, 1.0, f == 0u || f == half);
        salient = rounded(salient + mul(mul(real[i], usual), times));
    }
    salient = summed(k, vec2<f32>(salient, 0.0)).x;
    return near_zero(mul(mul(salient, salient), mul(mul(4096.0, by_window), by_window)));
}

@compute @workgroup_size(32)
fn spectral(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) k: u32,
) {
    walk_together(wid, groups, k);
}
