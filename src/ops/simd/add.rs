//! Values to rows: sixteen values are converted side by side, then each is added to its row at once.
//!
//! Words 4 to 7 of a row hold the extremes and the sum, or one of them. For a number of events they are laid out
//! beforehand as they lie in the row, so that one addition and one maximum are all that an event still needs.

use super::words::strided;
use super::{Source, TOGETHER, adds};
use crate::base::limits::{BLOCK_IDS, EVENT_BYTES_MAX, word};
use crate::ops::batch::ASIDE;
use crate::ops::row::{self, EXTREMES, FIXED, Layout, SQUARES};
use std::arch::x86_64::*;

/// Adds values to their rows and returns how many: all, or those before sixteen of which one is not finite, does not
/// fit the fixed point, or belongs to no row.
#[inline]
pub(in crate::ops) fn add<const PARTS: u32>(source: &Source<'_>, rows: &mut [u32]) -> usize {
    const { assert!(adds(PARTS)) };
    let events = source.ids.len() * TOGETHER;
    assert!(source.words.len() >= events * source.stride && source.value < source.stride);
    assert!(source.stride <= EVENT_BYTES_MAX / 4);
    // SAFETY: callers have asked `available`; the asserts above are what `add_avx512` requires.
    unsafe { add_avx512::<PARTS>(source, rows) }
}

/// # Safety
/// The processor has the features; there are words for as many events as there are ids, and `value` lies in one.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn add_avx512<const PARTS: u32>(s: &Source<'_>, rows: &mut [u32]) -> usize {
    let words = const { Layout::new(PARTS).words };
    let place = Placing::new(s, rows.len() / words);
    let scale = _mm512_set1_ps(s.scale);
    // What is added and what is compared, among the two halves and the four words. The compiler, did it know them,
    // would make a third operation of it.
    let (sums, maxima) = std::hint::black_box(match PARTS & (EXTREMES | FIXED) {
        EXTREMES => (0b00, 0b0011),
        FIXED => (0b01, 0b0000),
        _ => (0b10, 0b0011),
    });
    for (i, ids) in s.ids.iter().enumerate() {
        let first = i * TOGETHER;
        let Some(row_of) = place.rows_of(ids) else { return first };
        // SAFETY: words of sixteen more events follow.
        let bits = unsafe { strided(s.words.as_ptr().add(first * s.stride), s.stride, s.value) };
        let Some(fixed) = fixed_point(bits, scale) else { return first };
        // Through memory: taking them out of registers one by one would cost more than all the rest.
        let parts = std::hint::black_box(parts_of::<PARTS>(bits, fixed));
        for (j, parts) in parts.iter().enumerate() {
            for (i, part) in parts.iter().enumerate() {
                // SAFETY: the row was found to be below `rows`, and has eight words or more; a part is four.
                unsafe {
                    let row = rows.as_mut_ptr().add(row_of[4 * i + j] as usize * words);
                    *row.add(row::COUNT) = (*row.add(row::COUNT)).wrapping_add(1);
                    let (row, part) = (row.add(4).cast(), _mm_load_si128(part.0.as_ptr().cast()));
                    let old = _mm_loadu_si128(row);
                    let new = _mm_mask_add_epi64(old, sums, old, part);
                    _mm_storeu_si128(row, _mm_mask_max_epu32(new, maxima, old, part));
                }
            }
        }
        if PARTS & SQUARES != 0 {
            add_squares(rows, &row_of, fixed, const { &Layout::new(PARTS) });
        }
    }
    s.ids.len() * TOGETHER
}

/// How rows are found.
struct Placing<'a> {
    map: &'a [u32],
    base: Option<u32>,
    /// Ids are below this where `base` is known.
    ids: __m512i,
    /// Rows are below this.
    rows: __m512i,
}

impl<'a> Placing<'a> {
    #[target_feature(enable = "avx512f")]
    fn new(s: &Source<'a>, rows: usize) -> Self {
        let below = |n: usize| _mm512_set1_epi32(word(n.min(ASIDE as usize)).cast_signed());
        let room = rows.saturating_sub(s.base.unwrap_or(0) as usize);
        let ids = below(room.min(s.map.len() * BLOCK_IDS));
        Self { map: s.map, base: s.base, ids, rows: below(rows) }
    }

    /// The row of each event; `None` when one has no id or no block, or its row does not exist.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn rows_of(&self, ids: &[u32; TOGETHER]) -> Option<[u32; TOGETHER]> {
        // SAFETY: an array of sixteen words.
        let ids = unsafe { _mm512_loadu_si512(ids.as_ptr().cast()) };
        let (row, there) = if let Some(base) = self.base {
            let there = _mm512_cmplt_epu32_mask(ids, self.ids);
            (_mm512_add_epi32(ids, _mm512_set1_epi32(base.cast_signed())), there)
        } else {
            let block = _mm512_srli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(ids);
            let blocks = _mm512_set1_epi32(i32::try_from(self.map.len()).unwrap_or(i32::MAX));
            let mapped = _mm512_cmplt_epu32_mask(block, blocks);
            let (none, map) = (_mm512_set1_epi32(-1), self.map.as_ptr().cast());
            // SAFETY: those indices are gathered that are less than the map's length.
            let block = unsafe { _mm512_mask_i32gather_epi32::<4>(none, mapped, block, map) };
            let within = const { word(BLOCK_IDS - 1).cast_signed() };
            let within = _mm512_and_si512(ids, _mm512_set1_epi32(within));
            let row = _mm512_slli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(block);
            let row = _mm512_or_si512(row, within);
            (row, _mm512_mask_cmplt_epu32_mask(mapped, row, self.rows))
        };
        let mut out = [0; TOGETHER];
        // SAFETY: an array of sixteen words.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), row) };
        (there == u16::MAX).then_some(out)
    }
}

/// Sixteen values in fixed point; `None` when one does not fit, or hardly.
///
/// Multiplying an f32 by a power of two is exact, unless it gets so small that it rounds to zero afterwards anyway or
/// so large that it does not fit.
#[target_feature(enable = "avx512f")]
#[inline]
fn fixed_point(bits: __m512i, scale: __m512) -> Option<__m512i> {
    let x = _mm512_mul_ps(_mm512_castsi512_ps(bits), scale);
    let fits = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(x), _mm512_set1_ps(2_147_483_648.0));
    // Rounds to the nearest, ties to even, whatever mode the thread is in.
    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    (fits == u16::MAX).then(|| _mm512_cvt_roundps_epi32::<NEAREST>(x))
}

/// Words 4 to 7 of a row.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Part([u32; 4]);

/// What sixteen events add to words 4 to 7 of their rows; event `4 * i + j` is at `[j][i]`.
#[target_feature(enable = "avx512f")]
#[inline]
fn parts_of<const PARTS: u32>(bits: __m512i, fixed: __m512i) -> [[Part; 4]; 4] {
    let sign = _mm512_srai_epi32::<31>(bits);
    let ordered = _mm512_xor_si512(bits, _mm512_or_si512(sign, _mm512_set1_epi32(i32::MIN)));
    let inverted = _mm512_xor_si512(ordered, _mm512_set1_epi32(-1));
    let carry = _mm512_srai_epi32::<31>(fixed);
    // Pairs of words: in each quarter of a register two events, the others in the second register.
    let pairs = |low, high| [_mm512_unpacklo_epi32(low, high), _mm512_unpackhi_epi32(low, high)];
    let (extremes, fixed) = (pairs(inverted, ordered), pairs(fixed, carry));
    let none = [_mm512_setzero_si512(); 2];
    let (a, b) = match PARTS & (EXTREMES | FIXED) {
        EXTREMES => (extremes, none),
        FIXED => (fixed, none),
        _ => (extremes, fixed),
    };
    let quarters =
        [0, 1].map(|i| [_mm512_unpacklo_epi64(a[i], b[i]), _mm512_unpackhi_epi64(a[i], b[i])]);
    let mut out = [[Part([0; 4]); 4]; 4];
    for (out, events) in out.iter_mut().zip(quarters.as_flattened()) {
        // SAFETY: sixteen words.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), *events) };
    }
    out
}

/// Adds the squares, of 128 bits, one by one.
#[target_feature(enable = "avx512f")]
#[inline]
fn add_squares(rows: &mut [u32], row_of: &[u32; TOGETHER], fixed: __m512i, l: &Layout) {
    let mut x = [0i32; TOGETHER];
    // SAFETY: an array of sixteen numbers of 32 bits.
    unsafe { _mm512_storeu_si512(x.as_mut_ptr().cast(), fixed) };
    for (&row, &x) in row_of.iter().zip(&x) {
        let row = &mut rows[row as usize * l.words..][..l.words];
        let square = i64::from(x) * i64::from(x);
        row::add128(row, l.squares, u128::from(square.cast_unsigned()));
    }
}
