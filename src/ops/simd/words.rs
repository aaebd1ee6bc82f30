//! One word out of each of sixteen events: what the other loops begin with.

use crate::base::limits::word;
use std::arch::x86_64::*;

/// Has the line of a word fetched into the nearest cache, while something else is done.
#[inline(always)]
pub(in crate::ops) fn prefetch(words: &[u32], at: usize) {
    if at < words.len() {
        // SAFETY: the address lies inside the slice, and all that happens to it is that it comes nearer.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(words.as_ptr().add(at).cast()) };
    }
}

/// The numbers `first + i * step` for i in 0..16.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn lanes(step: usize, first: usize) -> __m512i {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let lanes = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(word(step).cast_signed()));
    _mm512_add_epi32(lanes, _mm512_set1_epi32(word(first).cast_signed()))
}

/// The words at `first + i * stride` for i in 0..16.
///
/// # Safety
/// The processor has the features; there are 16 * stride words at `base`, which fit 31 bits, and `first` is less than
/// `stride`.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
#[inline]
pub(super) unsafe fn strided(base: *const u32, stride: usize, first: usize) -> __m512i {
    let at = lanes(stride, first);
    if stride != 4 {
        // SAFETY: every index is less than 16 * stride.
        return unsafe { _mm512_i32gather_epi32::<4>(at, base.cast()) };
    }
    // Events of 16 bytes, the usual ones: four loads, then the wanted word out of each event.
    // SAFETY: 64 words were promised.
    let [a, b, c, d] = [0, 16, 32, 48].map(|i| unsafe { _mm512_loadu_si512(base.add(i).cast()) });
    // A permutation looks at the low five bits of an index: eight events in two registers.
    let low = _mm512_permutex2var_epi32(a, at, b);
    let high = _mm512_permutex2var_epi32(c, at, d);
    _mm512_mask_blend_epi32(0xFF00, low, high)
}
