//! One number, or several side by side: what detectors compute with, so that each formula is written once.
//!
//! All operations are those of f32, one by one and correctly rounded; nothing is fused. What is generic over [`Number`]
//! must be `#[inline(always)]`, as for `simd::Wide`: only so is it compiled for the vectors of its caller.

use std::ops::{Add, BitAnd, BitOr, Mul, Neg, Not, Sub};

/// An f32, or sixteen.
pub(super) trait Number:
    Copy + From<f32> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    /// Which of them something is true of.
    type Mask: Mask;
    /// Whether it is larger.
    fn above(self, other: Self) -> Self::Mask;
    /// Whether it is larger or equal.
    fn at_least(self, other: Self) -> Self::Mask;
    /// `yes` where the mask says so, else `no`.
    fn pick(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// `most`, where it is above that.
    fn up_to(self, most: Self) -> Self;
    /// `least`, where it is below that.
    fn no_less(self, least: Self) -> Self;
    /// Without its sign.
    fn abs(self) -> Self;
    /// Its square root.
    fn sqrt(self) -> Self;
    /// One by it.
    fn inverse(self) -> Self;
    /// A positive normal number as `m` and `e`: it is `m * 2^e`, and `m` from sqrt(1/2) to sqrt(2).
    fn split(self) -> (Self, Self);
    /// Cuts a number from 0 to 127 off to a whole one, `n`; with `2^(n - 126)`.
    fn whole(self) -> (Self, Self);
}

/// One truth, or several side by side.
pub(super) trait Mask:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
    /// Whether it is true of any.
    fn any(self) -> bool;
}

impl Mask for bool {
    #[inline(always)]
    fn any(self) -> bool {
        self
    }
}

impl Number for f32 {
    type Mask = bool;

    #[inline(always)]
    fn above(self, other: Self) -> bool {
        self > other
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> bool {
        self >= other
    }

    #[inline(always)]
    fn pick(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn up_to(self, most: Self) -> Self {
        if self > most { most } else { self }
    }

    #[inline(always)]
    fn no_less(self, least: Self) -> Self {
        if self < least { least } else { self }
    }

    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn inverse(self) -> Self {
        1.0 / self
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let bits = self.to_bits().wrapping_sub(SQRT_HALF);
        let m = f32::from_bits((bits & 0x007F_FFFF).wrapping_add(SQRT_HALF));
        (m, (bits.cast_signed() >> 23) as f32)
    }

    #[inline(always)]
    fn whole(self) -> (Self, Self) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 127")]
        let n = self as u32;
        (n as f32, f32::from_bits((n + 1) << 23))
    }
}

/// The bits of the square root of a half.
pub(super) const SQRT_HALF: u32 = 0x3F35_04F3;
