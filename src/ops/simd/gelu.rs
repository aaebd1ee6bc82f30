//! GELU of a panel's width of values by vectors that look numbers up in vectors, in the steps of `ops::gelu`.

use super::super::float::ROUND;
use super::super::gelu::{BY_UNIT, LAST, Tails};
use super::super::gemm::PANEL;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn avx512(tails: &Tails, values: &mut [f32; PANEL]) {
    for values in values.as_chunks_mut::<16>().0 {
        // SAFETY: the processor has the instructions; these are 16 values, as is each row of the table.
        unsafe {
            let x = _mm512_loadu_ps(values.as_ptr());
            let z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(BY_UNIT));
            // Of a NaN and another number this is the second.
            let z = _mm512_min_ps(z, _mm512_set1_ps(LAST));
            let shifted = _mm512_add_ps(z, _mm512_set1_ps(ROUND));
            let r = _mm512_sub_ps(z, _mm512_sub_ps(shifted, _mm512_set1_ps(ROUND)));
            // Only the four low bits count.
            let i = _mm512_castps_si512(shifted);
            let of =
                |power: usize| _mm512_permutexvar_ps(i, _mm512_loadu_ps(tails[power].as_ptr()));
            let mut tail = of(5);
            for power in (0..5).rev() {
                tail = _mm512_add_ps(_mm512_mul_ps(tail, r), of(power));
            }
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
            let share = _mm512_mask_sub_ps(tail, above, _mm512_set1_ps(1.0), tail);
            _mm512_storeu_ps(values.as_mut_ptr(), _mm512_mul_ps(x, share));
        }
    }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(tails: &Tails, values: &mut [f32; PANEL]) {
    for values in values.as_chunks_mut::<8>().0 {
        // SAFETY: the processor has the instructions; these are 8 values, as is each half of a row of the table.
        unsafe {
            let x = _mm256_loadu_ps(values.as_ptr());
            let z = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
            let z = _mm256_mul_ps(z, _mm256_set1_ps(BY_UNIT));
            // Of a NaN and another number this is the second.
            let z = _mm256_min_ps(z, _mm256_set1_ps(LAST));
            let shifted = _mm256_add_ps(z, _mm256_set1_ps(ROUND));
            let r = _mm256_sub_ps(z, _mm256_sub_ps(shifted, _mm256_set1_ps(ROUND)));
            // Only the three low bits count, and the fourth, moved to the sign, says which half.
            let i = _mm256_castps_si256(shifted);
            let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(i));
            let of = |power: usize| {
                let at = tails[power].as_ptr();
                let halves = [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))];
                let [low, high] = halves.map(|half| _mm256_permutevar8x32_ps(half, i));
                _mm256_blendv_ps(low, high, upper)
            };
            let mut tail = of(5);
            for power in (0..5).rev() {
                tail = _mm256_add_ps(_mm256_mul_ps(tail, r), of(power));
            }
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps());
            let rest = _mm256_sub_ps(_mm256_set1_ps(1.0), tail);
            let share = _mm256_blendv_ps(tail, rest, above);
            _mm256_storeu_ps(values.as_mut_ptr(), _mm256_mul_ps(x, share));
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline]
pub(super) fn neon(tails: &Tails, values: &mut [f32; PANEL]) {
    for values in values.as_chunks_mut::<4>().0 {
        // SAFETY: any processor of the kind has NEON; these are 4 values, and a row of the table is 16.
        unsafe {
            let x = vld1q_f32(values.as_ptr());
            let z = vmulq_f32(vabsq_f32(x), vdupq_n_f32(BY_UNIT));
            // Of a NaN and another number this is the number.
            let z = vminnmq_f32(z, vdupq_n_f32(LAST));
            let shifted = vaddq_f32(z, vdupq_n_f32(ROUND));
            let r = vsubq_f32(z, vsubq_f32(shifted, vdupq_n_f32(ROUND)));
            // Only the four low bits count; a number of the table is the four bytes from four times that on.
            let i = vandq_u32(vreinterpretq_u32_f32(shifted), vdupq_n_u32(15));
            let bytes = vaddq_u32(vmulq_n_u32(i, 0x0404_0404), vdupq_n_u32(0x0302_0100));
            let bytes = vreinterpretq_u8_u32(bytes);
            let of = |power: usize| {
                let row = vld1q_u8_x4(tails[power].as_ptr().cast());
                vreinterpretq_f32_u8(vqtbl4q_u8(row, bytes))
            };
            let mut tail = of(5);
            for power in (0..5).rev() {
                tail = vaddq_f32(vmulq_f32(tail, r), of(power));
            }
            let above = vcgtq_f32(x, vdupq_n_f32(0.0));
            let share = vbslq_f32(above, vsubq_f32(vdupq_n_f32(1.0), tail), tail);
            vst1q_f32(values.as_mut_ptr(), vmulq_f32(x, share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::gelu::{BY_ERF, BY_TANH, gelu};
    use super::*;

    #[test]
    fn vectors_take_the_steps_of_the_scalar_function() {
        let edges = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, 5.8];
        let many = (-2000..2000_i16).map(|i| f32::from(i) * 0.003_7);
        let values: Vec<f32> = edges.into_iter().chain(many).collect();
        for tails in [&BY_ERF, &BY_TANH] {
            for panel in values.as_chunks::<PANEL>().0 {
                let same = |found: [f32; PANEL]| {
                    let want = panel.map(|x| gelu(tails, x).to_bits());
                    let found = found.map(f32::to_bits);
                    let pairs = found.iter().zip(&want).zip(panel);
                    assert!(pairs.into_iter().all(|((a, b), x)| a == b || x.is_nan()), "{panel:?}");
                };
                let mut found = *panel;
                #[cfg(target_arch = "aarch64")]
                {
                    neon(tails, &mut found);
                    same(found);
                }
                #[cfg(target_arch = "x86_64")]
                if super::super::available() {
                    // SAFETY: the processor has AVX-512.
                    unsafe { avx512(tails, &mut found) };
                    same(found);
                }
                #[cfg(target_arch = "x86_64")]
                if super::super::wide::avx2_is_there() {
                    found = *panel;
                    // SAFETY: the processor has AVX2.
                    unsafe { avx2(tails, &mut found) };
                    same(found);
                }
            }
        }
    }
}
