//! The smallest and the largest event time of a run.

use super::TOGETHER;
use super::words::lanes;
use crate::base::limits::EVENT_BYTES_MAX;
use crate::ops::batch;
use std::arch::x86_64::*;

/// The smallest and the largest of the 64-bit times at `word` of each event; (`u64::MAX`, 0) of none.
#[inline]
pub(crate) fn times(words: &[u32], stride: usize, word: usize) -> (u64, u64) {
    assert!(
        word + 1 < stride && stride <= EVENT_BYTES_MAX / 4 && words.len().is_multiple_of(stride)
    );
    // SAFETY: callers have asked `available`; the assert above is what `times_avx512` requires.
    unsafe { times_avx512(words, stride, word) }
}

/// # Safety
/// The processor has the features; the words are whole events of `stride` words, two of which lie at `word`, and
/// sixteen events are less than 2^31 words.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn times_avx512(words: &[u32], stride: usize, word: usize) -> (u64, u64) {
    let mut lo = [_mm512_set1_epi64(-1); 2];
    let mut hi = [_mm512_setzero_si512(); 2];
    let mut sixteens = words.chunks_exact(TOGETHER * stride);
    for events in &mut sixteens {
        let base = events.as_ptr();
        if stride == 4 && word.is_multiple_of(2) {
            // Events of 16 bytes, the usual ones: four in a register, where every other number is a time.
            let time = 0b0101_0101 << (word / 2);
            for (i, at) in [0, 16, 32, 48].into_iter().enumerate() {
                // SAFETY: sixteen events are 64 words.
                let t = unsafe { _mm512_loadu_si512(base.add(at).cast()) };
                lo[i % 2] = _mm512_mask_min_epu64(lo[i % 2], time, lo[i % 2], t);
                hi[i % 2] = _mm512_mask_max_epu64(hi[i % 2], time, hi[i % 2], t);
            }
        } else {
            for i in 0..2 {
                let at = _mm512_castsi512_si256(lanes(stride, 8 * i * stride + word));
                // SAFETY: every index, and the one after it, is less than 16 * stride.
                let t = unsafe { _mm512_i32gather_epi64::<4>(at, base.cast()) };
                lo[i] = _mm512_min_epu64(lo[i], t);
                hi[i] = _mm512_max_epu64(hi[i], t);
            }
        }
    }
    let mut least = _mm512_reduce_min_epu64(_mm512_min_epu64(lo[0], lo[1]));
    let mut most = _mm512_reduce_max_epu64(_mm512_max_epu64(hi[0], hi[1]));
    for event in sixteens.remainder().chunks_exact(stride) {
        let t = batch::join(event[word], event[word + 1]);
        (least, most) = (least.min(t), most.max(t));
    }
    (least, most)
}
