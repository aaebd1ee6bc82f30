//! Tiles of low precision by AVX-512 with VNNI and BF16: up to 14 rows by the 32 columns of a panel.

use super::super::gemm::PANEL;
use super::super::low::Precision;
use super::low::{AVX512_ROWS, F16_KEPT, Low, Rows, Tile};
use std::arch::x86_64::*;

/// # Safety
/// The processor has the tier's instructions; there are 1 to 14 whole rows, and a panel `i`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
pub(super) unsafe fn tile(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
    macro_rules! rows_of {
        ($($n:literal)*) => {
            match rows.scales.len() {
                // SAFETY: as promised; a tile of M rows is taken for M rows.
                $($n => unsafe { sums::<$n>(low, rows, i, tile) },)*
                n => unreachable!("{n} rows"),
            }
        };
    }
    const _: () = assert!(AVX512_ROWS == 14, "all heights are there");
    rows_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Rounds a row to BF16; what is subnormal becomes zero.
///
/// # Safety
/// The processor has the tier's instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn round(row: &[f32], to: &mut [u16]) {
    assert!(to.len() == row.len(), "a row");
    for at in (0..row.len()).step_by(16) {
        let some = !0 >> (16 - (row.len() - at).min(16));
        // SAFETY: of 16 values those in the mask are there.
        unsafe {
            let x = _mm512_maskz_loadu_ps(some, row.as_ptr().add(at));
            let halves = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x));
            _mm256_mask_storeu_epi16(to.as_mut_ptr().add(at).cast(), some, halves);
        }
    }
}

/// # Safety
/// The processor has the tier's instructions; there are M whole rows, and a panel `i`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
unsafe fn sums<const M: usize>(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
    let panel = low.panel(i);
    let codes: &[u32] = bytemuck::cast_slice(rows.codes);
    let apart = rows.apart / 4;
    assert!(codes.len() >= M * apart && panel.len() >= low.steps(), "whole rows and panels");
    let (codes, steps) = (codes.as_ptr(), &panel[..low.steps()]);
    // SAFETY: as promised and asserted.
    unsafe {
        match low.precision {
            Precision::Int8 => {}
            Precision::Bf16 => return bf16::<M>(codes, apart, steps, tile),
            Precision::F16 | Precision::F32 => {
                return f16::<M>(codes.cast(), apart, steps, tile);
            }
        }
    }
    let scales = &low.scales[i * PANEL..][..PANEL];
    // SAFETY: as promised and asserted; a row of a panel and a panel's scales are 32 words.
    unsafe {
        let sums = int8::<M>(codes, apart, steps);
        let above = panel[low.steps()].as_ptr();
        let above = [_mm512_loadu_si512(above.cast()), _mm512_loadu_si512(above.add(16).cast())];
        let of = [_mm512_loadu_ps(scales.as_ptr()), _mm512_loadu_ps(scales.as_ptr().add(16))];
        for ((to, sums), scale) in tile.iter_mut().zip(&sums).zip(rows.scales) {
            let scale = _mm512_set1_ps(*scale);
            for (half, &sum) in sums.iter().enumerate() {
                let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, above[half]));
                let y = _mm512_mul_ps(sum, _mm512_mul_ps(scale, of[half]));
                _mm512_storeu_ps(to.as_mut_ptr().add(16 * half), y);
            }
        }
    }
}

/// # Safety
/// The processor has the instructions; at `codes` lie M rows, `apart` words apart, of a word a row of the panel.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn int8<const M: usize>(
    codes: *const u32,
    apart: usize,
    panel: &[[u32; PANEL]],
) -> [[__m512i; 2]; M] {
    let mut sums = [[_mm512_setzero_si512(); 2]; M];
    for (k, w) in panel.iter().enumerate() {
        // SAFETY: a row of the panel is 32 words; row m has a word k, as promised.
        unsafe {
            let low = _mm512_loadu_si512(w.as_ptr().cast());
            let high = _mm512_loadu_si512(w.as_ptr().add(16).cast());
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32((*codes.add(m * apart + k)).cast_signed());
                sums[0] = _mm512_dpbusd_epi32(sums[0], x, low);
                sums[1] = _mm512_dpbusd_epi32(sums[1], x, high);
            }
        }
    }
    sums
}

/// # Safety
/// As for `int8`.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16<const M: usize>(
    codes: *const u32,
    apart: usize,
    panel: &[[u32; PANEL]],
    tile: &mut Tile,
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    for (k, w) in panel.iter().enumerate() {
        // SAFETY: a row of the panel is 32 words; row m has a word k, as promised. A word is two of BF16.
        unsafe {
            let words = |at: *const u32| {
                std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast()))
            };
            let (low, high) = (words(w.as_ptr()), words(w.as_ptr().add(16)));
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = _mm512_set1_epi32((*codes.add(m * apart + k)).cast_signed());
                let x = std::mem::transmute::<__m512i, __m512bh>(x);
                sums[0] = _mm512_dpbf16_ps(sums[0], x, low);
                sums[1] = _mm512_dpbf16_ps(sums[1], x, high);
            }
        }
    }
    store(tile, &sums);
}

/// # Safety
/// The processor has the instructions; at `row` lie M rows, `apart` values apart, of two values a row of the panel.
#[target_feature(enable = "avx512f")]
unsafe fn f16<const M: usize>(
    row: *const f32,
    apart: usize,
    panel: &[[u32; PANEL]],
    tile: &mut Tile,
) {
    let kept = _mm512_set1_epi32(F16_KEPT.cast_signed());
    let upper = |words| _mm512_castsi512_ps(_mm512_and_si512(_mm512_srai_epi32::<3>(words), kept));
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    for (step, w) in panel.iter().enumerate() {
        // SAFETY: a row of the panel is 32 words; a row has two values for it, as promised.
        unsafe {
            let words = [0, 16].map(|at| _mm512_loadu_si512(w.as_ptr().add(at).cast()));
            let first = words.map(|words| upper(_mm512_slli_epi32::<16>(words)));
            let second = words.map(upper);
            for (k, w) in [first, second].into_iter().enumerate() {
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*row.add(m * apart + 2 * step + k));
                    sums[0] = _mm512_fmadd_ps(x, w[0], sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, w[1], sums[1]);
                }
            }
        }
    }
    store(tile, &sums);
}

#[target_feature(enable = "avx512f")]
fn store(tile: &mut Tile, sums: &[[__m512; 2]]) {
    for (to, sums) in tile.iter_mut().zip(sums) {
        // SAFETY: a row of a tile is 32 values.
        unsafe {
            _mm512_storeu_ps(to.as_mut_ptr(), sums[0]);
            _mm512_storeu_ps(to.as_mut_ptr().add(16), sums[1]);
        }
    }
}
