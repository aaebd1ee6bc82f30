//! Sixteen numbers side by side, for what is generic over [`Number`].

use crate::ops::number::{Mask, Number, SQRT_HALF};
use std::arch::x86_64::*;
use std::ops::{Add, Mul, Neg, Sub};

/// Sixteen f32. They come up only in functions that are compiled for AVX-512, on processors that have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sixteen(pub(super) __m512);

impl Mask for u16 {
    #[inline(always)]
    fn any(self) -> bool {
        self != 0
    }
}

impl From<f32> for Sixteen {
    #[inline(always)]
    fn from(x: f32) -> Self {
        // SAFETY: the processor has AVX-512, where numbers of this type come up.
        Self(unsafe { _mm512_set1_ps(x) })
    }
}

/// Operators, each an instruction.
macro_rules! operators {
    ($($operator:ident $name:ident $instruction:ident)*) => {$(
        impl $operator for Sixteen {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                // SAFETY: the processor has AVX-512, where numbers of this type come up.
                Self(unsafe { $instruction(self.0, other.0) })
            }
        }
    )*};
}

operators! {
    Add add _mm512_add_ps
    Sub sub _mm512_sub_ps
    Mul mul _mm512_mul_ps
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
    fn from_up(self, least: Self) -> Self {
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
        // SAFETY: as above.
        unsafe {
            let half = _mm512_set1_epi32(SQRT_HALF.cast_signed());
            let bits = _mm512_sub_epi32(_mm512_castps_si512(self.0), half);
            let m = _mm512_and_si512(bits, _mm512_set1_epi32(0x007F_FFFF));
            let m = _mm512_castsi512_ps(_mm512_add_epi32(m, half));
            (Self(m), Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(bits))))
        }
    }

    #[inline(always)]
    fn whole(self) -> (Self, Self) {
        // SAFETY: as above.
        unsafe {
            let n = _mm512_cvttps_epi32(self.0);
            let power = _mm512_slli_epi32::<23>(_mm512_add_epi32(n, _mm512_set1_epi32(1)));
            (Self(_mm512_cvtepi32_ps(n)), Self(_mm512_castsi512_ps(power)))
        }
    }
}
