//! One word out of each of sixteen events: what the other loops begin with; and whether it is an id.

use super::TOGETHER;
use crate::base::limits::{EVENT_BYTES_MAX, word};
use std::arch::x86_64::*;

/// Has the line of a word fetched into the nearest cache, while something else is done.
#[inline(always)]
pub(in crate::ops) fn prefetch(words: &[u32], at: usize) {
    // SAFETY: all that happens to what lies there is that it comes nearer; where nothing does, nothing happens.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(words.as_ptr().wrapping_add(at).cast()) };
}

/// The numbers `first + i * step` for i in 0..16.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn lanes(step: usize, first: usize) -> __m512i {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let lanes = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(word(step).cast_signed()));
    _mm512_add_epi32(lanes, _mm512_set1_epi32(word(first).cast_signed()))
}

/// Copies one word of each event, `word`, while sixteen in a row are all below `end`; returns how many it copied.
#[inline]
pub(in crate::ops) fn below(
    words: &[u32],
    stride: usize,
    word: usize,
    end: u32,
    copies: &mut [u32],
) -> usize {
    assert!(words.len() >= copies.len() * stride && word < stride && stride <= EVENT_BYTES_MAX / 4);
    // SAFETY: callers have asked `available`; the assert above is what `below_avx512` requires.
    unsafe { below_avx512(words, stride, word, end, copies) }
}

/// # Safety
/// The processor has the features; there are words for as many events as there are copies, sixteen events are less than
/// 2^31 words, and `word` lies in one.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn below_avx512(
    words: &[u32],
    stride: usize,
    at: usize,
    end: u32,
    copies: &mut [u32],
) -> usize {
    let end = _mm512_set1_epi32(end.cast_signed());
    let (sixteens, mut done) = (copies.as_chunks_mut::<TOGETHER>().0, 0);
    for copies in sixteens {
        // SAFETY: words of sixteen more events follow.
        let found = unsafe { strided(words.as_ptr().add(done * stride), stride, at) };
        if _mm512_cmplt_epu32_mask(found, end) != u16::MAX {
            break;
        }
        // SAFETY: an array of sixteen words.
        unsafe { _mm512_storeu_si512(copies.as_mut_ptr().cast(), found) };
        done += TOGETHER;
    }
    done
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
