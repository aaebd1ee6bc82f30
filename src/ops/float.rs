//! The functions of transformers in `f32`, the same steps on every device: exponential, tanh, and sums in lanes. GELU,
//! which takes other steps on the processor, is in `ops::gelu`.
//!
//! Nothing of a standard library is used, whose results differ between platforms. Relative errors stay below 2e-7 for
//! the exponential and, of the argument, for tanh and both forms of GELU: a test compares all with `f64`. Contraction
//! is left to the compiler nowhere.

/// Values that a sum keeps apart, so that a processor adds them side by side.
pub const LANES: usize = 16;

/// Added to a value of moderate size it rounds it to nearest, ties to even, and leaves the integer in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// `e^x` for x that is not positive, or hardly; below -87 it is that of -87.
#[inline(always)]
pub fn exp_neg(x: f32) -> f32 {
    let x = if x > -87.0 { x } else { -87.0 };
    // Rounded to nearest by an addition that leaves no room for a fraction: conversions, which must not overflow, would
    // be done one by one. Devices convert; they differ where a fraction is a half, and not by more than the error.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // The logarithm of 2 in two parts, the first of which has few digits: their products with `whole` are exact.
    let r = (x - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let p = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p);
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * p)));
    // An infinite x has no power that fits, and must not stop the program: files can make sums overflow.
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// `2^x` for x that is not positive, or hardly; below -125 it is that of -125. Its relative error is below 3e-7: a
/// polynomial of degree 5, interpolated at the six Chebyshev points from -1/2 to 1/2.
#[inline(always)]
pub(super) fn pow2_neg(x: f32) -> f32 {
    let x = if x > -125.0 { x } else { -125.0 };
    let shifted = x + ROUND;
    let r = x - (shifted - ROUND);
    let p = 0.055_503_57 + r * (0.009_676_032 + r * 0.001_339_086_3);
    let p = 1.000_000_1 + r * (std::f32::consts::LN_2 + r * (0.240_221_07 + r * p));
    // The integer in the low bits belongs to the exponent; what is above falls off.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `max(x, 0)`; what is no number stays none.
#[inline(always)]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The hyperbolic tangent; small arguments by the odd series, since `1 - e^-2x` would lose their digits.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let e = exp_neg(-2.0 * size);
    let far = (1.0 - e) / (1.0 + e);
    let z = x * x;
    let near = -0.053_968_254 + z * (0.021_869_488 + z * -0.008_863_236);
    let near = x + x * z * (-0.333_333_34 + z * (0.133_333_34 + z * near));
    let far = if x < 0.0 { -far } else { far };
    if size < 0.25 {
        near
    } else if size >= 0.25 {
        far
    } else {
        x
    }
}

/// The sum of a row's values, each changed by `f`: lanes of every 16th value, then the lanes in pairs.
#[inline(always)]
pub fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    in_pairs(lanes, |a, b| a + b)
}

/// Changes a row's values by `f` and adds up what they become, as [`sum`] does.
#[inline(always)]
pub(super) fn change_and_sum(row: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = f(*x);
            *lane += *x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = f(*x);
        *lane += *x;
    }
    in_pairs(lanes, |a, b| a + b)
}

/// The lanes by halves.
#[inline(always)]
fn in_pairs(lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (mut eight, mut four) = ([0.0; LANES / 2], [0.0; LANES / 4]);
    for i in 0..LANES / 2 {
        eight[i] = f(lanes[i], lanes[i + LANES / 2]);
    }
    for i in 0..LANES / 4 {
        four[i] = f(eight[i], eight[i + LANES / 4]);
    }
    f(f(four[0], four[2]), f(four[1], four[3]))
}

/// The largest of a row.
#[inline(always)]
pub fn largest(row: &[f32]) -> f32 {
    let pick = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = pick(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = pick(*lane, x);
    }
    in_pairs(lanes, pick)
}

/// Layer normalisation in place: `(x - mean) / sqrt(variance + eps) · gamma + beta`.
#[inline(always)]
pub fn layer_norm(row: &mut [f32], gamma: &[f32], beta: &[f32], eps: f32) {
    #[allow(clippy::cast_precision_loss, reason = "rows are short")]
    let share = 1.0 / row.len() as f32;
    let mean = sum(row, |x| x) * share;
    let variance = sum(row, |x| (x - mean) * (x - mean)) * share;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((x, g), b) in row.iter_mut().zip(gamma).zip(beta) {
        *x = (*x - mean) * scale * g + b;
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_lossless, reason = "judged in f64")]
mod tests {
    use super::*;

    #[test]
    fn functions_are_as_exact_as_they_say() {
        for i in -200_000..=200_000 {
            let x = i as f32 * 5e-4;
            let wide = f64::from(x);
            if x <= 0.0 && x > -87.0 {
                let off = f64::from(exp_neg(x)) / wide.exp() - 1.0;
                assert!(off.abs() < 2e-7, "exp({x}): {off:e}");
                let off = f64::from(pow2_neg(x)) / wide.exp2() - 1.0;
                assert!(off.abs() < 3e-7, "2^{x}: {off:e}");
            }
        }
        for i in -32_767..=32_767_i16 {
            let x = f32::from(i) / 4096.0;
            let off = f64::from(tanh(x)) - f64::from(x).tanh();
            assert!(off.abs() <= 2e-7 * f64::from(x.abs()).min(1.0), "tanh({x}): {off:e}");
            assert_eq!(relu(x), x.max(0.0));
        }
        assert!(tanh(f32::NAN).is_nan() && relu(f32::NAN).is_nan());
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)], [1.0, -1.0, 0.0]);
        for x in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN] {
            let _ = (exp_neg(x), pow2_neg(x));
        }
    }

    #[test]
    fn rows_of_any_length_are_summed() {
        for n in [0_usize, 1, 15, 16, 17, 384] {
            let row: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum(&row, |x| x), (n * n.saturating_sub(1) / 2) as f32);
            assert_eq!(largest(&row), row.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
