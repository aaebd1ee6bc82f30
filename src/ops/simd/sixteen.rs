//! Sixteen numbers or words side by side: what is generic over [`Number`] runs on them.

use super::TOGETHER;
use crate::ops::number::{Mask, Number, SQRT_HALF};
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Mul, Neg, Sub};

/// Numbers. These and [`Words`] come up only in functions that are compiled for AVX-512, on processors that have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sixteen(pub(super) __m512);

/// Words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words(pub(super) __m512i);

impl Mask for u16 {
    #[inline(always)]
    fn any(self) -> bool {
        self != 0
    }
}

/// Operators of two, each an instruction.
macro_rules! operators {
    ($($of:ident $operator:ident $name:ident $instruction:ident)*) => {$(
        impl $operator for $of {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                // SAFETY: the processor has AVX-512, where numbers and words of these types come up.
                Self(unsafe { $instruction(self.0, other.0) })
            }
        }
    )*};
}

operators! {
    Sixteen Add add _mm512_add_ps
    Sixteen Sub sub _mm512_sub_ps
    Sixteen Mul mul _mm512_mul_ps
    Words Add add _mm512_add_epi32
    Words Sub sub _mm512_sub_epi32
    Words BitAnd bitand _mm512_and_si512
    Words BitOr bitor _mm512_or_si512
}

impl From<f32> for Sixteen {
    #[inline(always)]
    fn from(x: f32) -> Self {
        // SAFETY: the processor has AVX-512, where numbers of this type come up.
        Self(unsafe { _mm512_set1_ps(x) })
    }
}

impl Neg for Sixteen {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_xor_ps(self.0, _mm512_set1_ps(-0.0)) })
    }
}

impl Number for Sixteen {
    type Mask = u16;

    #[inline(always)]
    fn above(self, other: Self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn at_least(self, other: Self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self.0, other.0) }
    }

    #[inline(always)]
    fn pick(mask: u16, yes: Self, no: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
    }

    // The instructions give their second number where neither is the lesser.
    #[inline(always)]
    fn up_to(self, most: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_min_ps(most.0, self.0) })
    }

    #[inline(always)]
    fn no_less(self, least: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_max_ps(least.0, self.0) })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }

    #[inline(always)]
    fn inverse(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_div_ps(_mm512_set1_ps(1.0), self.0) })
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let bits = self.bits() - Words::all(SQRT_HALF);
        let m = (bits & Words::all(0x007F_FFFF)) + Words::all(SQRT_HALF);
        // SAFETY: as above.
        (m.numbers(), Self(unsafe { _mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(bits.0)) }))
    }

    #[inline(always)]
    fn whole(self) -> (Self, Self) {
        // SAFETY: as above.
        let n = Words(unsafe { _mm512_cvttps_epi32(self.0) });
        // SAFETY: as above.
        let power = Words(unsafe { _mm512_slli_epi32::<23>((n + Words::all(1)).0) });
        (n.rounded(), power.numbers())
    }
}

impl Sixteen {
    /// Their bits.
    #[inline(always)]
    pub(super) fn bits(self) -> Words {
        // SAFETY: as above.
        Words(unsafe { _mm512_castps_si512(self.0) })
    }
}

impl Words {
    /// The same everywhere.
    #[inline(always)]
    pub(super) fn all(x: u32) -> Self {
        // SAFETY: the processor has AVX-512, where words of this type come up.
        Self(unsafe { _mm512_set1_epi32(x.cast_signed()) })
    }

    /// As they lie.
    #[inline(always)]
    pub(super) fn load(words: &[u32; TOGETHER]) -> Self {
        // SAFETY: sixteen words; as above.
        Self(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
    }

    /// One after another.
    #[inline(always)]
    pub(super) fn store(self, words: &mut [u32; TOGETHER]) {
        // SAFETY: sixteen words; as above.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) };
    }

    /// Itself where the mask says so, else 0.
    #[inline(always)]
    pub(super) fn only(self, mask: u16) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_mov_epi32(mask, self.0) })
    }

    /// `yes` where the mask says so, else `no`.
    #[inline(always)]
    pub(super) fn pick(mask: u16, yes: Self, no: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mask_blend_epi32(mask, no.0, yes.0) })
    }

    /// Whether it is larger.
    #[inline(always)]
    pub(super) fn above(self, other: Self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmpgt_epu32_mask(self.0, other.0) }
    }

    /// Whether it is the same.
    #[inline(always)]
    pub(super) fn is(self, other: Self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm512_cmpeq_epi32_mask(self.0, other.0) }
    }

    /// A quarter of it.
    #[inline(always)]
    pub(super) fn quarter(self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_srli_epi32::<2>(self.0) })
    }

    /// The numbers whose bits they are.
    #[inline(always)]
    pub(super) fn numbers(self) -> Sixteen {
        // SAFETY: as above.
        Sixteen(unsafe { _mm512_castsi512_ps(self.0) })
    }

    /// The numbers that they are as whole numbers, rounded.
    #[inline(always)]
    pub(super) fn rounded(self) -> Sixteen {
        // SAFETY: as above.
        Sixteen(unsafe { _mm512_cvtepu32_ps(self.0) })
    }
}
