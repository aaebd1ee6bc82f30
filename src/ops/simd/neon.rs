//! Tiles by NEON: half a panel at a time, six rows of four vectors of sums.
//!
//! The loops are those of `avx2`. Numbers of 16 bits become `f32` as they are read. Codes are multiplied four at a time
//! by SDOT, which Rust has no function for yet.

use super::super::gemm::PANEL;
use super::super::low::Precision;
use super::low::{F16_KEPT, Low, Rows};
use std::arch::aarch64::*;
use std::arch::asm;

/// Columns that are taken together: four vectors.
const HALF: usize = PANEL / 2;
const VECTORS: usize = HALF / 4;
/// Rows whose sums fit the registers.
const ROWS: usize = 6;

/// What the words of a panel are, as [`floats`] is told.
pub(super) const F32: u32 = Precision::F32 as u32;
const F16: u32 = Precision::F16 as u32;
const BF16: u32 = Precision::Bf16 as u32;

/// An expression in which `$m` is so many rows, [`ROWS`] at most.
macro_rules! by_rows {
    ($rows:expr, |$m:ident| $sums:expr) => {
        by_rows!($rows, |$m| $sums, 1 2 3 4 5)
    };
    ($rows:expr, |$m:ident| $sums:expr, $($n:literal)*) => {
        match $rows {
            $($n => { const $m: usize = $n; $sums })*
            _ => { const $m: usize = ROWS; $sums }
        }
    };
}

/// # Safety
/// The processor has the tier's instructions; there are whole rows, and a panel `i`.
#[target_feature(enable = "neon,dotprod")]
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
/// At `a` lie so many rows, so many values apart, of as many values as the panel has; the tile has as many rows.
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
                by_rows!(rows - first, |M| float_sums::<KIND, M>(a, apart, panel, column, tile));
            }
        }
    }
}

/// # Safety
/// As for [`floats`], of M rows.
unsafe fn float_sums<const KIND: u32, const M: usize>(
    a: *const f32,
    apart: usize,
    panel: &[[u32; PANEL]],
    column: usize,
    tile: &mut [[f32; PANEL]],
) {
    // SAFETY: any processor of the kind has NEON; half a row of a panel and of a tile are 16 words; row m has a value
    // k, as promised.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); VECTORS]; M];
        let mut add = |k: usize, w: [float32x4_t; VECTORS]| {
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = vdupq_n_f32(*a.add(m * apart + k));
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = vfmaq_f32(*sum, w, x);
                }
            }
        };
        for (step, w) in panel.iter().enumerate() {
            let words = half(w, column);
            if KIND == F32 {
                add(step, words.map(|words| vreinterpretq_f32_u32(words)));
            } else {
                add(2 * step, words.map(|words| upper::<KIND>(vshlq_n_u32::<16>(words))));
                add(2 * step + 1, words.map(upper::<KIND>));
            }
        }
        for (to, sums) in tile.iter_mut().zip(&sums) {
            for (to, sum) in to[column..][..HALF].as_chunks_mut::<4>().0.iter_mut().zip(sums) {
                vst1q_f32(to.as_mut_ptr(), *sum);
            }
        }
    }
}

/// Half a row of a panel.
#[inline(always)]
fn half(row: &[u32; PANEL], column: usize) -> [uint32x4_t; VECTORS] {
    let words: &[u32; HALF] = row[column..].first_chunk().expect("half a row");
    // SAFETY: these are 16 words.
    unsafe { [0, 4, 8, 12].map(|at| vld1q_u32(words.as_ptr().add(at))) }
}

/// What the upper halves of words are, of F16 times `2^-112`.
#[inline(always)]
fn upper<const KIND: u32>(words: uint32x4_t) -> float32x4_t {
    // SAFETY: any processor of the kind has NEON.
    unsafe {
        vreinterpretq_f32_u32(if KIND == F16 {
            let moved = vshrq_n_s32::<3>(vreinterpretq_s32_u32(words));
            vandq_u32(vreinterpretq_u32_s32(moved), vdupq_n_u32(F16_KEPT))
        } else {
            vandq_u32(words, vdupq_n_u32(!0 << 16))
        })
    }
}

/// Rows of codes by a panel, times the scales of rows and columns.
///
/// # Safety
/// The processor has SDOT; `codes` are rows, so many words apart, of as many words as the panel has, as many rows as
/// scales; the tile has as many.
#[target_feature(enable = "neon,dotprod")]
unsafe fn codes_by_panel(
    (codes, apart): (&[u32], usize),
    panel: &[[u32; PANEL]],
    (scales, of): (&[f32], &[f32]),
    tile: &mut [[f32; PANEL]],
) {
    let rows = codes.chunks(ROWS * apart).zip(scales.chunks(ROWS));
    for ((codes, scales), tile) in rows.zip(tile.chunks_mut(ROWS)) {
        let codes = codes.as_ptr();
        for column in [0, HALF] {
            // SAFETY: as promised; M rows are taken for M rows.
            unsafe {
                let sums = by_rows!(scales.len(), |M| code_sums::<M>(codes, apart, panel, column));
                for ((to, sums), scale) in tile.iter_mut().zip(&sums).zip(scales) {
                    for (sum, at) in sums.iter().zip((column..).step_by(4)) {
                        let of = vld1q_f32(of[at..at + 4].as_ptr());
                        let y = vmulq_f32(vcvtq_f32_s32(*sum), vmulq_n_f32(of, *scale));
                        vst1q_f32(to[at..at + 4].as_mut_ptr(), y);
                    }
                }
            }
        }
    }
}

/// # Safety
/// The processor has SDOT; at `codes` lie M rows, so many words apart, of as many words as the panel has.
#[target_feature(enable = "neon,dotprod")]
unsafe fn code_sums<const M: usize>(
    codes: *const u32,
    apart: usize,
    panel: &[[u32; PANEL]],
    column: usize,
) -> [[int32x4_t; VECTORS]; ROWS] {
    let mut sums = [[vdupq_n_s32(0); VECTORS]; ROWS];
    for (k, w) in panel.iter().enumerate() {
        let words = half(w, column);
        for (m, sums) in sums[..M].iter_mut().enumerate() {
            // SAFETY: row m has a word k, as promised.
            let x = vdupq_n_u32(unsafe { *codes.add(m * apart + k) });
            for (sum, w) in sums.iter_mut().zip(words) {
                // SAFETY: the processor has SDOT; to each sum it adds four products of signed bytes, and does no more.
                unsafe {
                    asm!(
                        "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                        sum = inout(vreg) *sum,
                        w = in(vreg) w,
                        x = in(vreg) x,
                        options(pure, nomem, nostack, preserves_flags)
                    );
                }
            }
        }
    }
    sums
}
