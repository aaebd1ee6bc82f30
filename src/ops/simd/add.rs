//! Values to rows: sixteen values are converted side by side, then each is added to its row at once.
//!
//! Words 4 to 7 of a row hold the extremes and the sum, or one of them. A piece of the batch is taken in two passes:
//! the first lays out what each event adds as it lies in the row, the second adds it. With a one for the count before
//! it that is half a line, as the row is, and one addition and one maximum are all that an event still needs; and
//! since nothing is computed meanwhile, many rows are on their way at a time.

use super::place::Placing;
use super::words::strided;
use super::{PIECE, Source, TOGETHER, adds};
use crate::base::limits::EVENT_BYTES_MAX;
use crate::ops::row::{self, EXTREMES, FIXED, Layout, SQUARES};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

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
    let place = Placing::new(s.map, s.base, rows.len() / words);
    let scale = _mm512_set1_ps(s.scale);
    // What is added and what is compared, among the four halves and the eight words. The compiler, did it know them,
    // would make a third operation of it.
    let (sums, maxima) = std::hint::black_box(match PARTS & (EXTREMES | FIXED) {
        EXTREMES => (0b0001, 0b0011_0000),
        FIXED => (0b0101, 0b0000_0000),
        _ => (0b1001, 0b0011_0000),
    });
    // A row's count takes no carry to the word behind it.
    const { assert!(row::COUNT == 0) };
    let one = _mm256_setr_epi32(1, 0, 0, 0, 0, 0, 0, 0);
    let mut piece = Piece::<PARTS>::new();
    let mut done = 0;
    for sixteens in s.ids.chunks(PIECE / TOGETHER) {
        piece.laid = 0;
        for ids in sixteens {
            let Some(row_of) = place.rows_of(ids) else { break };
            // SAFETY: words of sixteen more events follow.
            let bits = unsafe {
                strided(s.words.as_ptr().add((done + piece.laid) * s.stride), s.stride, s.value)
            };
            let Some(fixed) = fixed_point(bits, scale) else { break };
            piece.lay_out(row_of, bits, fixed);
        }
        for (row, part) in piece.laid_out() {
            // SAFETY: the row was found to be below `rows`, and has eight words or more; a part is four.
            unsafe {
                let row = rows.as_mut_ptr().add(*row as usize * words).cast();
                let part = _mm_load_si128(part.0.as_ptr().cast());
                let part = _mm256_inserti128_si256::<1>(one, part);
                let old = _mm256_loadu_si256(row);
                let new = _mm256_mask_add_epi64(old, sums, old, part);
                _mm256_storeu_si256(row, _mm256_mask_max_epu32(new, maxima, old, part));
            }
        }
        if PARTS & SQUARES != 0 {
            for (row, fixed) in piece.squares() {
                let row = &mut rows[*row as usize * words..][..words];
                let square = i64::from(*fixed) * i64::from(*fixed);
                let at = const { Layout::new(PARTS).squares };
                row::add128(row, at, u128::from(square.cast_unsigned()));
            }
        }
        done += piece.laid;
        if piece.laid < sixteens.len() * TOGETHER {
            break;
        }
    }
    done
}

/// What a piece's events add to words 4 to 7 of their rows, and which rows these are, in one order.
struct Piece<const PARTS: u32> {
    rows: [MaybeUninit<u32>; PIECE],
    parts: [MaybeUninit<Part>; PIECE],
    /// The values in fixed point, where there are squares.
    fixed: [MaybeUninit<i32>; PIECE],
    /// How many of each are there.
    laid: usize,
}

/// Words 4 to 7 of a row.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Part([u32; 4]);

impl<const PARTS: u32> Piece<PARTS> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            rows: [MaybeUninit::uninit(); PIECE],
            parts: [MaybeUninit::uninit(); PIECE],
            fixed: [MaybeUninit::uninit(); PIECE],
            laid: 0,
        }
    }

    /// Rows and parts.
    #[inline(always)]
    fn laid_out(&self) -> impl Iterator<Item = (&u32, &Part)> {
        let (rows, parts) = (&self.rows[..self.laid], &self.parts[..self.laid]);
        // SAFETY: `lay_out` wrote all that it counted.
        let (rows, parts) = unsafe { (rows.assume_init_ref(), parts.assume_init_ref()) };
        rows.iter().zip(parts)
    }

    /// Rows and values; none where there are no squares.
    #[inline(always)]
    fn squares(&self) -> impl Iterator<Item = (&u32, &i32)> {
        let n = if PARTS & SQUARES != 0 { self.laid } else { 0 };
        let (rows, fixed) = (&self.rows[..n], &self.fixed[..n]);
        // SAFETY: as above; with squares it wrote the values, too.
        let (rows, fixed) = unsafe { (rows.assume_init_ref(), fixed.assume_init_ref()) };
        rows.iter().zip(fixed)
    }

    /// Lays sixteen more events out. What lies in a quarter of a register stays together: first come events 0,
    /// 4, 8 and 12, then 1, 5, 9 and 13, and so on.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn lay_out(&mut self, row_of: __m512i, bits: __m512i, fixed: __m512i) {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let sign = _mm512_srai_epi32::<31>(bits);
        let ordered = _mm512_xor_si512(bits, _mm512_or_si512(sign, _mm512_set1_epi32(i32::MIN)));
        let inverted = _mm512_xor_si512(ordered, _mm512_set1_epi32(-1));
        let carry = _mm512_srai_epi32::<31>(fixed);
        // Pairs of words: in each quarter of a register two events, the others in the second register.
        let pairs =
            |low, high| [_mm512_unpacklo_epi32(low, high), _mm512_unpackhi_epi32(low, high)];
        let (extremes, sums) = (pairs(inverted, ordered), pairs(fixed, carry));
        let none = [_mm512_setzero_si512(); 2];
        let (a, b) = match PARTS & (EXTREMES | FIXED) {
            EXTREMES => (extremes, none),
            FIXED => (sums, none),
            _ => (extremes, sums),
        };
        let quarters =
            [0, 1].map(|i| [_mm512_unpacklo_epi64(a[i], b[i]), _mm512_unpackhi_epi64(a[i], b[i])]);
        let at = self.laid;
        let parts = &mut self.parts[at..at + TOGETHER];
        let (rows, values) =
            (&mut self.rows[at..at + TOGETHER], &mut self.fixed[at..at + TOGETHER]);
        // SAFETY: sixteen parts, rows and values.
        unsafe {
            let rows_in_order = _mm512_permutexvar_epi32(order, row_of);
            _mm512_storeu_si512(rows.as_mut_ptr().cast(), rows_in_order);
            for (i, events) in quarters.as_flattened().iter().enumerate() {
                _mm512_storeu_si512(parts.as_mut_ptr().add(4 * i).cast(), *events);
            }
            if PARTS & SQUARES != 0 {
                let fixed = _mm512_permutexvar_epi32(order, fixed);
                _mm512_storeu_si512(values.as_mut_ptr().cast(), fixed);
            }
        }
        self.laid = at + TOGETHER;
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
