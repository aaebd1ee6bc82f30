//! GELU on the processor: `x · Φ(x)`, Φ from a table of polynomials, without a division and without an exponential.
//!
//! The *tail*, `Φ(-|x|)`, is a polynomial of degree 5 on each of sixteen intervals of 0.375, interpolated at its six
//! Chebyshev points; beyond 5.8 it is that of 5.8, below 4e-9. So both forms of GELU have an error below 2e-7 of the
//! argument, as on other devices, which compute exponentials (`ops::float`). A vector of sixteen coefficients is a
//! table that one instruction of AVX-512 looks sixteen numbers up in; all processors take the same steps, and nothing
//! is fused.

use super::float::ROUND;

/// Coefficients by their power, the interval's number in each.
pub type Tails = [[f32; 16]; 6];

/// Intervals that a unit of an argument has.
pub(super) const BY_UNIT: f32 = 1.0 / 0.375;
/// Just before the end of the last interval, from the middle of the first.
pub(super) const LAST: f32 = 15.49;

/// GELU by the error function.
#[inline(always)]
pub fn gelu_erf(x: f32) -> f32 {
    gelu(&BY_ERF, x)
}

/// GELU with the hyperbolic tangent in place of the error function: `gelu_new` and `gelu_pytorch_tanh` of model files.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    gelu(&BY_TANH, x)
}

/// GELU by a table.
#[inline(always)]
pub(super) fn gelu(tails: &Tails, x: f32) -> f32 {
    let z = x.abs() * BY_UNIT;
    let z = if z < LAST { z } else { LAST };
    // The nearest interval's middle: an addition that leaves no room for a fraction, and the number in the low bits.
    let shifted = z + ROUND;
    let r = z - (shifted - ROUND);
    let i = (shifted.to_bits() & 15) as usize;
    let mut tail = tails[5][i];
    for row in tails[..5].iter().rev() {
        tail = tail * r + row[i];
    }
    x * if x > 0.0 { 1.0 - tail } else { tail }
}

/// Tails of the normal distribution.
#[rustfmt::skip]
pub static BY_ERF: Tails = [
    [
        0.5, 0.353_830_25, 0.226_627_35, 0.130_294_52,
        0.066_807_2, 0.030_396_359, 0.012_224_471, 0.004_332_448,
        0.001_349_898_2, 3.690_787e-4, 8.841_746_6e-5, 1.853_682_3e-5,
        3.397_703_5e-6, 5.440_510_3e-7, 7.605_168e-8, 9.275_805e-9,
    ],
    [
        -0.149_603_35, -0.139_445_66, -0.112_926_535, -0.079_453_744,
        -0.048_569_098, -0.025_794_853, -0.011_902_37, -0.004_771_568,
        -0.001_661_943_2, -5.029_196e-4, -1.322_234e-4, -3.020_267_8e-5,
        -5.993_908e-6, -1.033_480_2e-6, -1.548_181_1e-7, -2.014_972_2e-8,
    ],
    [
        6.284_799e-16, 0.009_804_517, 0.015_879_998, 0.016_759_647,
        0.013_660_123, 0.009_068_639, 0.005_021_408_7, 0.002_348_535_5,
        9.348_324e-4, 3.182_349_3e-4, 9.295_661_6e-5, 2.335_379_2e-5,
        5.055_166_6e-6, 9.440_331_6e-7, 1.522_496_7e-7, 2.122_231_8e-8,
    ],
    [
        0.003_506_285_4, 0.002_808_634_7, 0.001_157_950_6, -4.946_155e-4,
        -0.001_422_902_5, -0.001_520_862_9, -0.001_133_291_9, -6.587_782_4e-4,
        -3.116_174_5e-4, -1.224_758_7e-4, -4.047_939_4e-5, -1.133_627_9e-5,
        -2.703_924_8e-6, -5.513_113e-7, -9.635_043e-8, -1.446_309_4e-8,
    ],
    [
        -2.367_539_5e-15, -3.258_046e-4, -4.504_537e-4, -3.392_762_4e-4,
        -1.207_378_1e-4, 5.334_612_8e-5, 1.203_320_9e-4, 1.067_634_6e-4,
        6.584_49e-5, 3.149_460_5e-5, 1.219_058_4e-5, 3.901_597e-6,
        1.045_648_8e-6, 2.365_937_5e-7, 4.545_073e-8, 7.443_338_4e-9,
    ],
    [
        -7.349_907_5e-5, -4.974_703e-5, 9.570_81e-7, 3.884_85e-5,
        4.330_371e-5, 2.436_779_7e-5, 3.527_483_6e-6, -7.096_001_4e-6,
        -8.183_285e-6, -5.340_529_2e-6, -2.547_651e-6, -9.561_927e-7,
        -2.917_857_7e-7, -7.370_885e-8, -1.558_685_1e-8, -2.779_928_5e-9,
    ],
];

/// Tails of the logistic curve that stands in for it.
#[rustfmt::skip]
pub static BY_TANH: Tails = [
    [
        0.5, 0.353_845_95, 0.226_719_26, 0.130_466_85,
        0.066_952_28, 0.030_400_513, 0.012_089_479, 0.004_153_870_5,
        0.001_212_464_1, 2.948_235e-4, 5.846_741e-5, 9.249_86e-6,
        1.141_529_8e-6, 1.074_448_76e-7, 7.541_194e-9, 3.858_947_3e-10,
    ],
    [
        -0.149_603_35, -0.139_401_64, -0.112_828_76, -0.079_412_86,
        -0.048_665_77, -0.025_957_655, -0.012_000_669, -0.004_763_531_5,
        -0.001_599_578_8, -4.458_731_3e-4, -1.009_827_2e-4, -1.816_942_1e-5,
        -2.538_653_2e-6, -2.692_585_5e-7, -2.119_488e-8, -1.210_669_2e-9,
    ],
    [
        0.0, 0.009_840_866, 0.015_885_247, 0.016_700_27,
        0.013_597_058, 0.009_070_988, 0.005_074_516, 0.002_393_097_4,
        9.444_958_4e-4, 3.070_950_3e-4, 8.058_844e-5, 1.668_955_5e-5,
        2.665_948_6e-6, 3.210_816e-7, 2.850_607_7e-8, 1.824_111_5e-9,
    ],
    [
        0.003_523_638, 0.002_811_076_8, 0.001_136_873_8, -5.102_518_5e-4,
        -0.001_409_256_6, -0.001_496_554_8, -0.001_126_438_3, -6.689_545e-4,
        -3.222_130_5e-4, -1.256_010_3e-4, -3.901_620_6e-5, -9.461_858e-6,
        -1.752_668_4e-6, -2.426_259e-7, -2.456_461e-8, -1.780_276e-9,
    ],
    [
        0.0, -3.321_502e-4, -4.537_382_6e-4, -3.335_280_6e-4,
        -1.142_910_3e-4, 5.177_630_7e-5, 1.148_271_9e-4, 1.045_672_2e-4,
        6.728_294e-5, 3.322_970_6e-5, 1.272_302_2e-5, 3.734_720_4e-6,
        8.261_185e-7, 1.351_533_3e-7, 1.604_540_5e-8, 1.356_005_4e-9,
    ],
    [
        -7.516_813e-5, -5.026_92e-5, 2.605_776e-6, 4.023_019_6e-5,
        4.219_759_3e-5, 2.278_594_7e-5, 3.626_007_1e-6, -6.152_574_8e-6,
        -7.792_069_5e-6, -5.529_666e-6, -2.770_230_4e-6, -1.015_205_5e-6,
        -2.718_651_6e-7, -5.263_166e-8, -7.262_613e-9, -7.030_380_7e-10,
    ],
];

#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "judged in f64")]
mod tests {
    use super::*;

    /// The error function by its series and, far out, its continued fraction.
    fn erf(x: f64) -> f64 {
        if x.abs() > 3.0 {
            let mut f = 0.0;
            for k in (1..200).rev() {
                f = f64::from(k) / 2.0 / (x.abs() + f);
            }
            let tail = (-x * x).exp() / ((x.abs() + f) * std::f64::consts::PI.sqrt());
            return (1.0 - tail).copysign(x);
        }
        let (mut term, mut all) = (x, x);
        for k in 1..100 {
            term *= -x * x / f64::from(k);
            all += term / f64::from(2 * k + 1);
        }
        all * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn gelu_is_as_exact_as_it_says() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 5e-4;
            let (wide, size) = (f64::from(x), f64::from(x.abs()));
            let off = f64::from(gelu_erf(x)) - wide * 0.5 * (1.0 + erf(wide / 2f64.sqrt()));
            assert!(off.abs() <= 2e-7 * size + 1e-30, "gelu_erf({x}): {off:e}");
            let u = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            let off = f64::from(gelu_tanh(x)) - wide * 0.5 * (1.0 + u.tanh());
            assert!(off.abs() <= 2e-7 * size + 1e-30, "gelu_tanh({x}): {off:e}");
        }
        for gelu in [gelu_erf, gelu_tanh] {
            assert_eq!(gelu(0.0), 0.0);
            assert!(gelu(f32::NAN).is_nan());
            assert_eq!([f32::INFINITY, f32::MAX].map(gelu), [f32::INFINITY, f32::MAX]);
            assert!(gelu(f32::MIN).is_finite());
        }
    }
}
