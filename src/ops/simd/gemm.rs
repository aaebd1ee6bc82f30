//! Matrix products of the processor: tiles of rows by a panel of 32 columns, held in registers from first to last.
//!
//! With AVX-512 a tile is twelve rows of two vectors, 24 accumulators of 32 registers; each value of `a` that is
//! loaded is used twice, each of the panel twelve times; AVX2 and NEON take such a tile in pieces of six rows of half
//! a panel. Elsewhere the same loops are left to the compiler. A sum runs over `k` in order in all of them; vectors
//! fuse product and addition, so all of them give the same bits.

use super::super::float::{relu, tanh};
use super::super::gelu::{self, BY_ERF, BY_TANH, Tails};
use super::super::gemm::{Activation, PANEL};
use super::super::low::round_bf16;
use super::Wide;
#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "aarch64")]
use super::neon;

/// Rows of a tile.
const TILE: usize = 12;
/// Rows that are taken through all panels together, so that they stay in the second cache.
const BLOCK: usize = 8 * TILE;

/// What is multiplied, and what follows.
pub(in crate::ops) struct Product<'a> {
    /// Rows, `a_stride` apart.
    pub(in crate::ops) a: &'a [f32],
    pub(in crate::ops) a_stride: usize,
    pub(in crate::ops) rows: usize,
    pub(in crate::ops) depth: usize,
    /// See `ops::gemm`.
    pub(in crate::ops) panels: &'a [f32],
    pub(in crate::ops) after: After<'a>,
    pub(in crate::ops) out_stride: usize,
}

/// What follows the sums, in this order.
#[derive(Clone, Copy)]
pub(in crate::ops) struct After<'a> {
    pub(in crate::ops) bias: Option<&'a [f32]>,
    pub(in crate::ops) activation: Activation,
    /// Rows lie as those of the result.
    pub(in crate::ops) residual: Option<&'a [f32]>,
}

impl After<'_> {
    /// Nothing.
    pub(in crate::ops) const NONE: Self =
        Self { bias: None, activation: Activation::None, residual: None };

    /// Finishes 32 sums of a row: those from `column` on, which go to `at` of the result, with a GELU of the tier.
    #[inline(always)]
    pub(super) fn finish(
        &self,
        (column, at): (usize, usize),
        sums: &[f32; PANEL],
        out: &mut [f32],
        gelu: impl Fn(&Tails, &mut [f32; PANEL]),
    ) {
        let of = |values: &[f32], at: usize| *values[at..].first_chunk::<PANEL>().expect("a panel");
        let to = out[at..].first_chunk_mut::<PANEL>().expect("a panel");
        *to = *sums;
        if let Some(bias) = self.bias {
            let bias = of(bias, column);
            to.iter_mut().zip(&bias).for_each(|(x, b)| *x += b);
        }
        match self.activation {
            Activation::None => {}
            Activation::GeluErf => gelu(&BY_ERF, to),
            Activation::GeluTanh => gelu(&BY_TANH, to),
            Activation::Relu => to.iter_mut().for_each(|x| *x = relu(*x)),
            Activation::Tanh => to.iter_mut().for_each(|x| *x = tanh(*x)),
            Activation::Bf16 => to.iter_mut().for_each(|x| *x = round_bf16(*x)),
        }
        if let Some(residual) = self.residual {
            let residual = of(residual, at);
            to.iter_mut().zip(&residual).for_each(|(x, r)| *x += r);
        }
    }
}

/// GELU for any processor.
#[inline(always)]
pub(super) fn gelu_plain(tails: &Tails, values: &mut [f32; PANEL]) {
    values.iter_mut().for_each(|x| *x = gelu::gelu(tails, *x));
}

type Tile = [[f32; PANEL]; TILE];

/// Multiplies; `out` takes as many columns as there are in the panels.
pub(in crate::ops) fn multiply(product: &Product<'_>, out: &mut [f32]) {
    let Product { a, a_stride, rows, depth, panels, out_stride, .. } = *product;
    if rows == 0 || depth == 0 {
        return;
    }
    assert!(a.len() >= (rows - 1) * a_stride + depth, "rows of `a`");
    assert!(out.len() >= (rows - 1) * out_stride + panels.len() / depth, "rows of the result");
    super::wide(Multiply(product, out));
}

struct Multiply<'a, 'b>(&'a Product<'a>, &'b mut [f32]);

impl Wide for Multiply<'_, '_> {
    #[inline(always)]
    fn run(self) {
        self.blocks(tile_plain, gelu_plain);
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn run_neon(self) {
        let tile = |p: &Product<'_>, row: usize, rows, panel: &[f32], tile: &mut Tile| {
            let a = (p.a[row * p.a_stride..].as_ptr(), p.a_stride, rows);
            let panel = bytemuck::cast_slice::<f32, u32>(panel).as_chunks().0;
            // SAFETY: `multiply` has asserted that the rows are there.
            unsafe { neon::floats::<{ neon::F32 }>(a, panel, tile) };
        };
        self.blocks(tile, super::gelu::neon);
    }

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) {
        let tile = |p: &Product<'_>, row: usize, rows, panel: &[f32], tile: &mut Tile| {
            let a = (p.a[row * p.a_stride..].as_ptr(), p.a_stride, rows);
            let panel = bytemuck::cast_slice::<f32, u32>(panel).as_chunks().0;
            // SAFETY: promised by the caller; `multiply` has asserted that the rows are there.
            unsafe { avx2::floats::<{ avx2::F32 }>(a, panel, tile) };
        };
        // SAFETY: as before.
        self.blocks(tile, |tails, values| unsafe { super::gelu::avx2(tails, values) });
    }

    /// # Safety
    /// The processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) {
        let tile = |p: &Product<'_>, row, rows, panel: &[f32], tile: &mut Tile| {
            // SAFETY: promised by the caller; `multiply` has asserted that the rows are there.
            unsafe { avx512::tile(p, row, rows, panel, tile) };
        };
        // SAFETY: as before.
        self.blocks(tile, |tails, values| unsafe { super::gelu::avx512(tails, values) });
    }
}

impl Multiply<'_, '_> {
    #[inline(always)]
    fn blocks(
        self,
        tile_of: impl Fn(&Product<'_>, usize, usize, &[f32], &mut Tile),
        gelu: impl Fn(&Tails, &mut [f32; PANEL]),
    ) {
        let Self(p, out) = self;
        let mut tile: Tile = [[0.0; PANEL]; TILE];
        for block in (0..p.rows).step_by(BLOCK) {
            let end = p.rows.min(block + BLOCK);
            for (i, panel) in p.panels.chunks_exact(PANEL * p.depth).enumerate() {
                for row in (block..end).step_by(TILE) {
                    let rows = TILE.min(end - row);
                    tile_of(p, row, rows, panel, &mut tile);
                    for (j, sums) in tile[..rows].iter().enumerate() {
                        let at = (row + j) * p.out_stride + i * PANEL;
                        p.after.finish((i * PANEL, at), sums, out, &gelu);
                    }
                }
            }
        }
    }
}

/// Two rows by a panel at a time, for any processor.
#[inline(always)]
fn tile_plain(p: &Product<'_>, row: usize, rows: usize, panel: &[f32], tile: &mut Tile) {
    let a = |row: usize| &p.a[row * p.a_stride..][..p.depth];
    for (i, pair) in tile[..rows].chunks_mut(2).enumerate() {
        let first = row + 2 * i;
        let second = first + pair.len() - 1;
        let mut sums = [[0.0; PANEL]; 2];
        let steps = panel.as_chunks::<PANEL>().0.iter().zip(a(first)).zip(a(second));
        for ((w, x), y) in steps {
            for (j, w) in w.iter().enumerate() {
                sums[0][j] += x * w;
                sums[1][j] += y * w;
            }
        }
        pair.iter_mut().zip(sums).for_each(|(to, sums)| *to = sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{PANEL, Product, TILE, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// The processor has AVX-512; `rows` rows of `a` lie from `row` on, 12 at most; the panel has `depth` steps.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn tile(
        p: &Product<'_>,
        row: usize,
        rows: usize,
        panel: &[f32],
        tile: &mut Tile,
    ) {
        let a = p.a[row * p.a_stride..].as_ptr();
        // SAFETY: as promised; a tile of M rows is taken for M rows.
        unsafe {
            match rows {
                TILE => sums::<TILE>(a, p.a_stride, panel, tile),
                11 => sums::<11>(a, p.a_stride, panel, tile),
                10 => sums::<10>(a, p.a_stride, panel, tile),
                9 => sums::<9>(a, p.a_stride, panel, tile),
                8 => sums::<8>(a, p.a_stride, panel, tile),
                7 => sums::<7>(a, p.a_stride, panel, tile),
                6 => sums::<6>(a, p.a_stride, panel, tile),
                5 => sums::<5>(a, p.a_stride, panel, tile),
                4 => sums::<4>(a, p.a_stride, panel, tile),
                3 => sums::<3>(a, p.a_stride, panel, tile),
                2 => sums::<2>(a, p.a_stride, panel, tile),
                _ => sums::<1>(a, p.a_stride, panel, tile),
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512; at `a` lie M rows, `stride` apart, of as many values as the panel has steps.
    #[target_feature(enable = "avx512f")]
    unsafe fn sums<const M: usize>(a: *const f32, stride: usize, panel: &[f32], tile: &mut Tile) {
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        for (k, w) in panel.as_chunks::<PANEL>().0.iter().enumerate() {
            // SAFETY: a step of the panel is 32 values; row m has a value k, as promised.
            unsafe {
                let low = _mm512_loadu_ps(w.as_ptr());
                let high = _mm512_loadu_ps(w.as_ptr().add(16));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(m * stride + k));
                    sums[0] = _mm512_fmadd_ps(x, low, sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, high, sums[1]);
                }
            }
        }
        for (to, sums) in tile.iter_mut().zip(sums) {
            // SAFETY: a row of a tile is 32 values.
            unsafe {
                _mm512_storeu_ps(to.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(to.as_mut_ptr().add(16), sums[1]);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    #[cfg(target_arch = "x86_64")]
    use super::super::tier::Tier;
    use super::*;
    use crate::base::rng::SplitMix;

    #[test]
    fn every_tier_multiplies_and_rows_do_not_know_of_each_other() {
        let mut rng = SplitMix::new(3);
        let mut random = |n: usize| -> Vec<f32> {
            (0..n).map(|_| rng.below(2001) as f32 * 1e-3 - 1.0).collect()
        };
        for (rows, depth, columns) in [(1, 1, 32), (13, 7, 64), (100, 96, 32), (203, 33, 96)] {
            let (a, w) = (random(rows * depth), random(columns * depth));
            let panels = super::super::super::gemm::pack(&w, columns, depth);
            let (bias, residual) = (random(columns), random(rows * columns));
            let product = |a, rows, activation| Product {
                a,
                a_stride: depth,
                rows,
                depth,
                panels: &panels,
                after: After { bias: Some(&bias), activation, residual: Some(&residual) },
                out_stride: columns,
            };
            let (mut plain, mut best) = (vec![0.0; rows * columns], vec![0.0; rows * columns]);
            Multiply(&product(&a, rows, Activation::GeluErf), &mut plain).run();
            multiply(&product(&a, rows, Activation::GeluErf), &mut best);
            #[cfg(target_arch = "x86_64")]
            if Tier::Avx2.is_there() {
                let mut narrow = vec![0.0; rows * columns];
                // SAFETY: the processor has AVX2 and FMA.
                unsafe {
                    Multiply(&product(&a, rows, Activation::GeluErf), &mut narrow).run_avx2();
                };
                assert_eq!(narrow, best, "both fuse: {rows} {depth} {columns}");
            }
            let off = plain.iter().zip(&best).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{rows} {depth} {columns}: {off:e}");
            multiply(&product(&a, rows, Activation::None), &mut plain);
            for (t, row) in plain.chunks(columns).enumerate() {
                for (n, x) in row.iter().enumerate() {
                    let terms = a[t * depth..][..depth].iter().zip(&w[n * depth..]);
                    let sum: f64 = terms.map(|(a, w)| f64::from(*a) * f64::from(*w)).sum();
                    let off = sum + f64::from(bias[n] + residual[t * columns + n]) - f64::from(*x);
                    assert!(off.abs() < 1e-5, "{rows} {depth} {columns}, {t} {n}: {off:e}");
                }
            }
            let last = rows - 1;
            let mut alone = vec![0.0; columns];
            let mut of_last = product(&a[last * depth..], 1, Activation::None);
            of_last.after.residual = Some(&residual[last * columns..]);
            multiply(&of_last, &mut alone);
            assert_eq!(alone, plain[last * columns..], "a row alone is the row among others");
        }
    }

    /// Those of any processor with vectors: found on one with AVX-512, and the same with AVX2 and NEON.
    #[test]
    fn vectors_of_all_widths_give_the_same_bytes() {
        #[cfg(not(target_arch = "aarch64"))]
        if super::super::wide::vectors() == super::super::wide::Vectors::Plain {
            return;
        }
        let (rows, depth, columns) = (29, 70, 64);
        let mut rng = SplitMix::new(11);
        let mut random = |n: usize| -> Vec<f32> {
            (0..n).map(|_| rng.below(2001) as f32 * 1e-3 - 1.0).collect()
        };
        let (a, w) = (random(rows * depth), random(columns * depth));
        let panels = super::super::super::gemm::pack(&w, columns, depth);
        let (bias, residual) = (random(columns), random(rows * columns));
        let activation = Activation::GeluErf;
        let after = After { bias: Some(&bias), activation, residual: Some(&residual) };
        let (a_stride, out_stride) = (depth, columns);
        let mut out = vec![0.0; rows * columns];
        multiply(
            &Product { a: &a, a_stride, rows, depth, panels: &panels, after, out_stride },
            &mut out,
        );
        let digest = out.iter().fold(0xCBF2_9CE4_8422_2325, |digest: u64, x| {
            (digest ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01B3)
        });
        assert_eq!(digest, 0x9DF2_4E95_B3FA_E868, "{digest:#x}");
    }
}
