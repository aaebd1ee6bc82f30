//! Logarithm and exponential in a fixed order of additions and multiplications.
//!
//! The functions of a device's library differ from device to device, and so would every score. These are polynomials
//! (Cephes, S. L. Moshier), the same operations in the same order in every twin (`score.wgsl`, `score.cu`). Error,
//! tested over all magnitudes: 2 ulp, near 1 that of the logarithm's argument. Arguments are in range, so that no
//! infinity, no NaN and no subnormal number comes up: devices treat those differently.

use super::number::Number;

/// The natural logarithm of a positive normal number.
#[inline(always)]
pub(super) fn ln<N: Number>(x: N) -> N {
    let k = N::from;
    let (m, e) = x.split();
    let f = m - k(1.0);
    let z = f * f;
    let mut y = k(7.037_683_6e-2) * f - k(1.151_461e-1);
    y = y * f + k(1.167_699_9e-1);
    y = y * f - k(1.242_014_1e-1);
    y = y * f + k(1.424_932_3e-1);
    y = y * f - k(1.666_805_8e-1);
    y = y * f + k(2.000_071_5e-1);
    y = y * f - k(2.499_999_4e-1);
    y = y * f + k(3.333_333e-1);
    y = y * f * z;
    y = y + e * k(-2.121_944_4e-4);
    y = y + z * k(-0.5);
    f + y + e * k(0.693_359_4)
}

/// `e` to the power of a number from -87 to 0.
#[inline(always)]
pub(super) fn exp<N: Number>(x: N) -> N {
    let k = N::from;
    // x = n ln 2 + r, with n counted from -126 so that what is cut off to a whole number is positive.
    let (n, power) = (x * k(std::f32::consts::LOG2_E) + k(126.5)).whole();
    let n = n - k(126.0);
    let r = x - n * k(0.693_359_4) - n * k(-2.121_944_4e-4);
    let z = r * r;
    let mut y = k(1.987_569_1e-4) * r + k(1.398_2e-3);
    y = y * r + k(8.333_452e-3);
    y = y * r + k(4.166_579_6e-2);
    y = y * r + k(1.666_666_6e-1);
    y = y * r + k(5e-1);
    y = y * z + r + k(1.0);
    y * power
}

/// One by `x`, which is not 0. Quotients are products with this, because devices divide differently.
#[inline(always)]
pub(super) fn inverse<N: Number>(x: N) -> N {
    x.inverse()
}

/// A whole number of ticks, rounded.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "word by word")]
pub fn ticks(t: u64) -> f32 {
    (t >> 32) as u32 as f32 * 4_294_967_296.0 + t as u32 as f32
}

#[cfg(test)]
mod tests {
    use super::{exp, ln, ticks};

    #[test]
    fn logarithms_are_within_two_ulp_over_all_magnitudes() {
        for bits in (0x0080_0000..0x7F80_0000u32).step_by(9973) {
            let x = f32::from_bits(bits);
            let (got, want) = (f64::from(ln(x)), f64::from(x).ln());
            let bound = want.abs() * 2.4e-7 + 6e-8 * (f64::from(x) - 1.0).abs().min(1.0);
            assert!((got - want).abs() <= bound, "ln({x}): {got}, {want}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn exponentials_are_within_two_ulp() {
        for i in 0..100_000 {
            let x = -87.0 * (i as f32 / 100_000.0);
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((got / want - 1.0).abs() <= 2.4e-7, "exp({x}): {got}, {want}");
        }
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn ticks_are_rounded_once_or_twice() {
        for t in [0, 1, 1 << 24, (1 << 32) - 1, 1 << 32, (1 << 40) + 12345, u64::MAX] {
            let error = (f64::from(ticks(t)) / (t as f64).max(1.0) - 1.0).abs();
            assert!(error <= 1.2e-7 || t == 0, "{t}");
        }
    }
}
