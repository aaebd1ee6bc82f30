//! Tiles by AVX2 with FMA: half a panel at a time, six rows of two vectors of sums, or four for INT8.
//!
//! Numbers of 16 bits become `f32` as they are read. Codes are multiplied as sizes by what takes both signs: two
//! products of 127 by 127 fit 16 bits, so nothing is cut off.

use super::super::gemm::PANEL;
use super::super::low::Precision;
use super::low::{F16_KEPT, Low, Rows};
use std::arch::x86_64::*;

/// Columns that are taken together: two vectors.
const HALF: usize = PANEL / 2;
/// Rows whose sums fit the registers; INT8 needs more of them for other things.
const ROWS: usize = 6;
const CODE_ROWS: usize = 4;

/// What the words of a panel are, as [`floats`] is told.
pub(super) const F32: u32 = Precision::F32 as u32;
const F16: u32 = Precision::F16 as u32;
const BF16: u32 = Precision::Bf16 as u32;

/// # Safety
/// The processor has AVX2 and FMA; there are whole rows, and a panel `i`.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut [[f32; PANEL]]) {
    let panel = &low.panel(i)[..low.steps()];
    let (count, apart) = (rows.scales.len(), rows.apart / 4);
    assert!(rows.codes.len() >= count * rows.apart && tile.len() >= count, "whole rows");
    // SAFETY: as promised and asserted; rounded rows begin at lines of the cache and are filled up to whole ones.
    unsafe {
        match low.precision {
            Precision::Int8 => {
                let codes = bytemuck::cast_slice(rows.codes);
                let of = &low.scales[i * PANEL..][..PANEL];
                codes_by_panel((codes, apart), panel, (rows.scales, of), tile);
            }
            Precision::Bf16 => {
                floats::<BF16>((rows.codes.as_ptr().cast(), apart, count), panel, tile);
            }
            _ => floats::<F16>((rows.codes.as_ptr().cast(), apart, count), panel, tile),
        }
    }
}

/// Rows of `f32` by a panel.
///
/// # Safety
/// The processor has AVX2 and FMA; at `a` lie so many rows, so many values apart, of as many values as the panel has;
/// the tile has as many rows.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn floats<const KIND: u32>(
    (a, apart, rows): (*const f32, usize, usize),
    panel: &[[u32; PANEL]],
    tile: &mut [[f32; PANEL]],
) {
    for (first, tile) in (0..rows).step_by(ROWS).zip(tile.chunks_mut(ROWS)) {
        for column in [0, HALF] {
            // SAFETY: as promised; M rows are taken for M rows.
            unsafe {
                let a = a.add(first * apart);
                match rows - first {
                    1 => float_sums::<KIND, 1>(a, apart, panel, column, tile),
                    2 => float_sums::<KIND, 2>(a, apart, panel, column, tile),
                    3 => float_sums::<KIND, 3>(a, apart, panel, column, tile),
                    4 => float_sums::<KIND, 4>(a, apart, panel, column, tile),
                    5 => float_sums::<KIND, 5>(a, apart, panel, column, tile),
                    _ => float_sums::<KIND, ROWS>(a, apart, panel, column, tile),
                }
            }
        }
    }
}

/// # Safety
/// As for [`floats`], of M rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn float_sums<const KIND: u32, const M: usize>(
    a: *const f32,
    apart: usize,
    panel: &[[u32; PANEL]],
    column: usize,
    tile: &mut [[f32; PANEL]],
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    let mut add = |k: usize, w: [__m256; 2]| {
        for (m, sums) in sums.iter_mut().enumerate() {
            // SAFETY: row m has a value k, as promised.
            let x = _mm256_set1_ps(unsafe { *a.add(m * apart + k) });
            sums[0] = _mm256_fmadd_ps(x, w[0], sums[0]);
            sums[1] = _mm256_fmadd_ps(x, w[1], sums[1]);
        }
    };
    for (step, w) in panel.iter().enumerate() {
        // SAFETY: half a row of a panel is 16 words.
        let words = unsafe {
            let at = w[column..].as_ptr();
            [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(8).cast())]
        };
        if KIND == F32 {
            add(step, [_mm256_castsi256_ps(words[0]), _mm256_castsi256_ps(words[1])]);
        } else {
            let low = [_mm256_slli_epi32::<16>(words[0]), _mm256_slli_epi32::<16>(words[1])];
            add(2 * step, [upper::<KIND>(low[0]), upper::<KIND>(low[1])]);
            add(2 * step + 1, [upper::<KIND>(words[0]), upper::<KIND>(words[1])]);
        }
    }
    for (to, sums) in tile.iter_mut().zip(&sums) {
        let to = &mut to[column..][..HALF];
        // SAFETY: these are 16 values.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), sums[1]);
        }
    }
}

/// What the upper halves of words are, of F16 times `2^-112`.
#[target_feature(enable = "avx2")]
#[inline]
fn upper<const KIND: u32>(words: __m256i) -> __m256 {
    _mm256_castsi256_ps(if KIND == F16 {
        let kept = _mm256_set1_epi32(F16_KEPT.cast_signed());
        _mm256_and_si256(_mm256_srai_epi32::<3>(words), kept)
    } else {
        _mm256_and_si256(words, _mm256_set1_epi32(!0 << 16))
    })
}

/// Rows of codes by a panel, times the scales of rows and columns.
///
/// # Safety
/// The processor has AVX2; `codes` are rows, so many words apart, of as many words as the panel has, as many rows as
/// scales; the tile has as many.
#[target_feature(enable = "avx2,fma")]
unsafe fn codes_by_panel(
    (codes, apart): (&[u32], usize),
    panel: &[[u32; PANEL]],
    (scales, of): (&[f32], &[f32]),
    tile: &mut [[f32; PANEL]],
) {
    let rows = codes.chunks(CODE_ROWS * apart).zip(scales.chunks(CODE_ROWS));
    for ((codes, scales), tile) in rows.zip(tile.chunks_mut(CODE_ROWS)) {
        let codes = codes.as_ptr();
        for column in [0, HALF] {
            // SAFETY: as promised; M rows are taken for M rows.
            unsafe {
                let sums = match scales.len() {
                    1 => code_sums::<1>(codes, apart, panel, column),
                    2 => code_sums::<2>(codes, apart, panel, column),
                    3 => code_sums::<3>(codes, apart, panel, column),
                    _ => code_sums::<CODE_ROWS>(codes, apart, panel, column),
                };
                for ((to, sums), scale) in tile.iter_mut().zip(&sums).zip(scales) {
                    let scale = _mm256_set1_ps(*scale);
                    for (sum, at) in sums.iter().zip([column, column + 8]) {
                        let of = _mm256_loadu_ps(of[at..at + 8].as_ptr());
                        let y = _mm256_mul_ps(_mm256_cvtepi32_ps(*sum), _mm256_mul_ps(scale, of));
                        _mm256_storeu_ps(to[at..at + 8].as_mut_ptr(), y);
                    }
                }
            }
        }
    }
}

/// # Safety
/// The processor has AVX2; at `codes` lie M rows, so many words apart, of as many words as the panel has.
#[target_feature(enable = "avx2")]
unsafe fn code_sums<const M: usize>(
    codes: *const u32,
    apart: usize,
    panel: &[[u32; PANEL]],
    column: usize,
) -> [[__m256i; 2]; CODE_ROWS] {
    let mut sums = [[_mm256_setzero_si256(); 2]; CODE_ROWS];
    let ones = _mm256_set1_epi16(1);
    for (k, w) in panel.iter().enumerate() {
        // SAFETY: half a row of a panel is 16 words; row m has a word k, as promised.
        unsafe {
            let at = w[column..].as_ptr();
            let words = [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(8).cast())];
            for (m, sums) in sums[..M].iter_mut().enumerate() {
                let x = _mm256_set1_epi32((*codes.add(m * apart + k)).cast_signed());
                let size = _mm256_abs_epi8(x);
                for (sum, words) in sums.iter_mut().zip(words) {
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(words, x));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    sums
}
