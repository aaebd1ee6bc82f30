//! Low precision: linear layers over weights of 16 and of 8 bits. The spec that every tier and every device keeps to.
//!
//! Only the products of `ops::gemm` know it, and those of attention (`ops::attention`) in a layer whose first product
//! is of BF16 or INT8: they are of BF16 then. Embeddings, norms, pooling, what is added and what lies between two
//! kernels stay `f32`, and so does a classifier.
//!
//! **F16.** Inputs and weights are rounded to eleven binary digits, ties to even. What is then below `2^-14`, the least
//! normal number of F16, becomes zero, since devices differ in what they make of smaller ones; what is then above
//! 65,504 becomes an infinity, so that a result that F16 cannot hold is no number rather than a wrong one; a NaN
//! becomes a quiet NaN. Products are exact in `f32`, and `f32` sums run over k in order: the same bits on every tier,
//! fused or not, and on devices without units for matrices. Weights that F16 cannot hold are refused.
//!
//! Units for matrices, which CUDA has, add sixteen products at a time in an order and with a rounding of their own, the
//! same wherever a row lies: a test allows `2^-16` of the sum of the products' sizes.
//!
//! **BF16.** Inputs and weights are rounded to the nearest of BF16, ties to even; an infinity stays one, a NaN becomes
//! a quiet NaN. Products and sums are `f32`. The order of a sum is the device's or the tier's own, and some flush what
//! is subnormal; within one of them it depends on nothing but k. So results differ between them by about as much as
//! sums of `f32` do: a test allows `2^-20` of the sum of the products' sizes.
//!
//! **INT8.** Codes are -127 to 127. Weights have a scale for each column, an input has one for each row, and each of an
//! input's values has a factor, `smooth[k]`, and the weights its inverse (Xiao et al. 2022, SmoothQuant). In `f32`,
//! every product and quotient rounded to nearest, no two fused:
//!
//! 1. `s[k] = x[k] · smooth[k]`, and `most` is the largest `|s[k]|` of the row;
//! 2. if `most` is not finite, the row's scale is NaN and its codes are 0, so that its results are NaN; if `most` is
//!    below `2^-100`, the scale is 0 and the codes are 0;
//! 3. otherwise `inverse = 127 / most`, `scale = most / 127`, `code[k] = s[k] · inverse`, rounded to nearest, ties to
//!    even;
//! 4. `sum[n] = Σ_k code[k] · w[n][k]` in `i32`, which is exact in any order: equal codes give equal sums on every tier
//!    and device, bit for bit;
//! 5. `y[n] = f32(sum[n]) · (scale · scales[n])`; then bias, activation and residual as for `f32`.
//!
//! Weights become codes by the same rules, each column a row, with `1 / smooth[k]` for `smooth[k]`.
//!
//! Panels have 32 columns as those of `f32`. For every two (F16, BF16) or four (INT8) values of k, a panel has a row of
//! 32 words, one a column, that hold them from the low end up. The depth is filled up with zeros to whole steps of 64
//! bytes: 32 or 64 values. For INT8 a last row of words is 128 times each column's sum, for processors that multiply
//! codes moved up by 128.

use super::float::ROUND;
use super::gemm::PANEL;
use crate::base::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The element type of linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u32)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32 = 0,
    /// Inputs and weights of 16 bits, up to 65,504; sums of 32.
    F16 = 1,
    /// Inputs and weights of 16 bits, with the exponents of `f32`; sums of 32.
    Bf16 = 2,
    /// Inputs and weights of 8 bits with scales; exact sums.
    Int8 = 3,
}

/// All of them.
pub const PRECISIONS: [Precision; 4] =
    [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8];

impl Precision {
    /// As a kernel's parameters say it.
    pub(super) fn from_word(word: u32) -> Self {
        match word {
            1 => Self::F16,
            2 => Self::Bf16,
            3 => Self::Int8,
            _ => Self::F32,
        }
    }

    /// Values of a row, those that fill its last step included.
    pub fn padded(self, depth: usize) -> usize {
        match self {
            Self::F32 => depth,
            Self::F16 | Self::Bf16 => depth.next_multiple_of(32),
            Self::Int8 => depth.next_multiple_of(64),
        }
    }

    /// Words of a panel.
    pub fn panel_words(self, depth: usize) -> usize {
        let padded = self.padded(depth);
        match self {
            Self::F32 => padded * PANEL,
            Self::F16 | Self::Bf16 => padded / 2 * PANEL,
            Self::Int8 => (padded / 4 + 1) * PANEL,
        }
    }

    /// Words of a matrix of so many columns, a multiple of 32.
    pub fn words(self, columns: usize, depth: usize) -> usize {
        columns.div_ceil(PANEL) * self.panel_words(depth)
    }

    /// The bits of the nearest of this precision's 16-bit numbers: BF16 or F16.
    pub(crate) fn half(self, x: f32) -> u16 {
        if self == Self::F16 { f16(x) } else { bf16(x) }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = PRECISIONS.into_iter().find(|precision| precision.to_string() == text);
        found.ok_or_else(|| Error::invalid(format!("{text:?} is none of f32, f16, bf16, int8")))
    }
}

/// The instructions that the processor's products run on: the best of `plain`, `neon`, `avx2`, `avx512` and `amx`, or
/// what `PELTON_CPU_TIER` in the environment says.
///
/// # Errors
/// `Invalid` when the environment names one that the processor has not, with those that it has.
pub fn tier() -> Result<&'static str> {
    super::simd::tier().map(super::simd::Tier::name)
}

/// Below this a row counts as zeros: the inverse of what is much smaller would be infinite.
const LEAST: f32 = 1.0 / (1u128 << 100) as f32;

/// A row's scale and its inverse, from the bits of its largest size; bits order sizes, infinities and NaN on top.
#[inline(always)]
pub(super) fn row_scale(most_bits: u32) -> (f32, f32) {
    let most = f32::from_bits(most_bits);
    if !most.is_finite() {
        (f32::NAN, 0.0)
    } else if most < LEAST {
        (0.0, 0.0)
    } else {
        (most / 127.0, 127.0 / most)
    }
}

/// The code of a value that is -127 to 127, or about.
#[inline(always)]
pub(super) fn code(x: f32) -> i8 {
    (x + ROUND).to_bits().to_le_bytes()[0].cast_signed()
}

/// The bits of the nearest BF16.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the high half")]
pub(crate) fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    ((if x.is_nan() { quiet } else { rounded }) >> 16) as u16
}

/// Sizes of F16, as bits of `f32`: the least that is no zero, and the first that is too large.
const F16_SIZES: std::ops::Range<u32> = 0x3880_0000..0x4780_0000;

/// The nearest of F16, as an `f32`.
#[inline(always)]
pub(crate) fn round_f16(x: f32) -> f32 {
    let bits = x.to_bits();
    let size = bits & 0x7fff_ffff;
    let rounded = (size + 0xfff + ((size >> 13) & 1)) & !0x1fff;
    let rounded = if rounded < F16_SIZES.start { 0 } else { rounded };
    let rounded = if rounded < F16_SIZES.end { rounded } else { f32::INFINITY.to_bits() };
    let rounded = if x.is_nan() { f32::NAN.to_bits() } else { rounded };
    f32::from_bits(bits & 0x8000_0000 | rounded)
}

/// The bits of the nearest F16.
#[allow(clippy::cast_possible_truncation, reason = "16 bits")]
pub(crate) fn f16(x: f32) -> u16 {
    let bits = round_f16(x).to_bits();
    let size = bits & 0x7fff_ffff;
    let size = match size {
        0 => 0,
        _ if F16_SIZES.contains(&size) => (size - (112 << 23)) >> 13,
        // An infinity, or NaN with its highest digit.
        _ => 0x7c00 | (size >> 13) & 0x3ff,
    };
    (bits >> 16 & 0x8000 | size) as u16
}

/// The nearest of BF16, as an `f32`.
#[inline(always)]
pub(super) fn round_bf16(x: f32) -> f32 {
    f32::from_bits(u32::from(bf16(x)) << 16)
}

/// Codes of a row's values, each times its factor, into a row that is zero behind them; `flip` is xor-ed with each. Its
/// scale comes back.
#[inline(always)]
pub(super) fn encode(row: &[f32], flip: u8, smooth: &[f32], codes: &mut [u8]) -> f32 {
    let smooth = &smooth[..row.len()];
    let sizes = row.iter().zip(smooth).map(|(x, s)| (x * s).to_bits() & 0x7fff_ffff);
    let most = sizes.fold(0, u32::max);
    let (scale, inverse) = row_scale(most);
    if inverse == 0.0 {
        // Neither NaN nor infinity may meet the rounding.
        codes.fill(flip);
        return scale;
    }
    for ((x, s), to) in row.iter().zip(smooth).zip(&mut codes[..]) {
        *to = code(x * s * inverse).cast_unsigned() ^ flip;
    }
    scale
}

/// Codes and scales of a matrix of rows `[n][k]`, one scale a row, for inputs that have these factors.
pub fn quantise(w: &[f32], depth: usize, smooth: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let inverse: Vec<f32> = smooth.iter().map(|s| 1.0 / s).collect();
    let (mut codes, mut scales) = (vec![0; w.len()], vec![0.0; w.len() / depth]);
    for ((row, codes), scale) in
        w.chunks_exact(depth).zip(codes.chunks_exact_mut(depth)).zip(&mut scales)
    {
        *scale = encode(row, 0, &inverse, codes);
    }
    (codes.into_iter().map(u8::cast_signed).collect(), scales)
}

/// Lays codes of rows `[n][k]` out in panels; `columns` beyond them are zero.
pub fn pack_int8(codes: &[i8], columns: usize, depth: usize) -> Vec<u32> {
    let words = Precision::Int8.panel_words(depth);
    let mut panels = vec![0u32; Precision::Int8.words(columns, depth)];
    for (n, row) in codes.chunks_exact(depth).enumerate() {
        let panel = &mut panels[n / PANEL * words..][..words];
        let mut sum = 0i32;
        for (k, &code) in row.iter().enumerate() {
            panel[k / 4 * PANEL + n % PANEL] |= u32::from(code.cast_unsigned()) << (k % 4 * 8);
            sum += i32::from(code);
        }
        panel[words - PANEL + n % PANEL] = (128 * sum).cast_unsigned();
    }
    panels
}

/// Lays a matrix of rows `[n][k]` out in panels of F16 or BF16; `columns` beyond it are zero.
pub fn pack_halves(w: &[f32], columns: usize, depth: usize, precision: Precision) -> Vec<u32> {
    let words = precision.panel_words(depth);
    let mut panels = vec![0u32; precision.words(columns, depth)];
    for (n, row) in w.chunks_exact(depth).enumerate() {
        let panel = &mut panels[n / PANEL * words..][..words];
        for (k, &x) in row.iter().enumerate() {
            panel[k / 2 * PANEL + n % PANEL] |= u32::from(precision.half(x)) << (k % 2 * 16);
        }
    }
    panels
}

/// Rows of `a` times a matrix of rows `[n][k]`, whole panels of them, on the processor: what calibration compares.
pub(crate) fn product(
    a: &[f32],
    w: &[f32],
    depth: usize,
    precision: Precision,
    smooth: &[f32],
) -> Vec<f32> {
    use super::simd::{After, Low, Product, multiply, multiply_low};
    let (rows, columns, after) = (a.len() / depth, w.len() / depth, After::NONE);
    let mut out = vec![0.0; rows * columns];
    let (panels, scales) = match precision {
        Precision::F32 => {
            let panels = &super::gemm::pack(w, columns, depth)[..];
            let (a_stride, out_stride) = (depth, columns);
            multiply(&Product { a, a_stride, rows, depth, panels, after, out_stride }, &mut out);
            return out;
        }
        Precision::F16 | Precision::Bf16 => (pack_halves(w, columns, depth, precision), Vec::new()),
        Precision::Int8 => {
            let (codes, scales) = quantise(w, depth, smooth);
            (pack_int8(&codes, columns, depth), scales)
        }
    };
    let (panels, scales) = (&panels[..], &scales[..]);
    let (a_stride, out_stride) = (depth, columns);
    let low = Low {
        a,
        a_stride,
        rows,
        depth,
        columns,
        precision,
        panels,
        scales,
        smooth,
        after,
        out_stride,
    };
    multiply_low(&low, &mut out);
    out
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::base::rng::SplitMix;

    #[test]
    fn bf16_is_the_nearest_ties_to_even_and_nan_stays_nan() {
        let mut rng = SplitMix::new(1);
        let edges = [0, 1, 0x7f80_0000, 0x7f80_0001, 0x7f7f_ffff, 0x3f80_8000, 0x3f81_8000, !0];
        let random = std::iter::repeat_with(|| (rng.next_u64() >> 32) as u32).take(100_000);
        for bits in edges.into_iter().chain(random) {
            let x = f32::from_bits(bits);
            assert_eq!(bf16(x), half::bf16::from_f32(x).to_bits(), "{bits:x}");
        }
    }

    #[test]
    fn f16_is_the_nearest_of_the_normal_numbers() {
        let mut rng = SplitMix::new(2);
        // 2^-14 and what rounds to it, 65,504 and what rounds above it, ties, infinities and NaN.
        let edges = [
            0,
            1,
            0x3880_0000,
            0x387f_f000,
            0x387f_efff,
            0x477f_e000,
            0x477f_efff,
            0x477f_f000,
            0x4780_0000,
            0x7f7f_ffff,
            0x7f80_0000,
            0x7f80_0001,
            0x3f80_1000,
            0x3f80_3000,
            !0,
        ];
        let random = std::iter::repeat_with(|| (rng.next_u64() >> 32) as u32).take(100_000);
        let near = (0..100_000).map(|i| 0x3800_0000 + i * 2801);
        for bits in edges.into_iter().chain(near).chain(random) {
            for bits in [bits, bits ^ 0x8000_0000] {
                let x = f32::from_bits(bits);
                let want = half::f16::from_f32(x);
                // The largest that the format's own rounding leaves below 2^-14 in eleven digits becomes zero.
                let tiny =
                    want.to_f32().abs() < 2f32.powi(-14) || x.abs() < f32::from_bits(0x387f_f000);
                let want = if tiny { half::f16::from_f32(0.0f32.copysign(x)) } else { want };
                let found = half::f16::from_bits(f16(x));
                if x.is_nan() {
                    assert!(found.is_nan() && round_f16(x).is_nan(), "{bits:x}");
                    continue;
                }
                assert_eq!(
                    (found.to_bits(), found.to_f32()),
                    (want.to_bits(), round_f16(x)),
                    "{bits:x}"
                );
            }
        }
    }

    #[test]
    fn codes_are_rounded_to_nearest_ties_to_even() {
        for i in -1270..=1270_i16 {
            let x = f32::from(i) / 10.0;
            assert_eq!(f32::from(code(x)), x.round_ties_even(), "{x}");
        }
        assert_eq!([code(0.5), code(1.5), code(-2.5), code(127.0)], [0, 2, -2, 127]);
    }

    #[test]
    fn rows_of_every_kind_have_codes() {
        let smooth = [1.0, 2.0, 0.5, 1.0];
        let rows = [
            [1.0, -2.0, 8.0, 0.0],
            [0.0; 4],
            [f32::NAN, 1.0, 1.0, 1.0],
            [1.0, f32::NEG_INFINITY, 1.0, 1.0],
            [1.0, f32::MAX, 1.0, 1.0],
            [f32::MAX, 0.0, 0.0, -1.0],
            [1e-37, 0.0, 0.0, -1e-38],
            [-0.0, 1e-20, -2e-20, 0.0],
        ]
        .concat();
        let (mut codes, mut scales) = ([0; 32], [0.0; 8]);
        for ((row, codes), scale) in rows.chunks(4).zip(codes.chunks_mut(4)).zip(&mut scales) {
            *scale = encode(row, 0, &smooth, codes);
        }
        let codes = codes.map(u8::cast_signed);
        assert_eq!(codes[..4], [32, -127, 127, 0], "of 1, -4, 4 and 0; 31.75 rounds to 32");
        assert_eq!(scales[0], 4.0 / 127.0);
        assert_eq!((codes[4..20].iter().all(|code| *code == 0), scales[1]), (true, 0.0));
        assert!(scales[2..5].iter().all(|scale| scale.is_nan()), "NaN, infinity, overflow");
        assert_eq!((&codes[20..24], scales[5]), (&[127, 0, 0, 0][..], f32::MAX / 127.0));
        assert_eq!((&codes[24..28], scales[6]), (&[0; 4][..], 0.0));
        assert_eq!(codes[28..], [0, 127, -64, 0], "-63.5 is a tie");
        let mut flipped = [0; 8];
        for (row, flipped) in rows[..8].chunks(4).zip(flipped.chunks_mut(4)) {
            encode(row, 0x80, &smooth, flipped);
        }
        assert_eq!(flipped, [160, 1, 255, 128, 128, 128, 128, 128]);
    }

    #[test]
    fn panels_hold_each_value_once() {
        for (columns, depth) in [(32, 32), (64, 96), (32, 1), (33, 70)] {
            let codes: Vec<i8> = (0..columns * depth).map(|i| (i * 7 % 255) as i8).collect();
            let panels = pack_int8(&codes, columns, depth);
            assert_eq!(panels.len(), Precision::Int8.words(columns, depth));
            let values: Vec<f32> = codes.iter().map(|&code| f32::from(code)).collect();
            let halves = pack_halves(&values, columns, depth, Precision::Bf16);
            for (n, row) in codes.chunks(depth).enumerate() {
                let panel = &panels[n / 32 * Precision::Int8.panel_words(depth)..];
                let half = &halves[n / 32 * Precision::Bf16.panel_words(depth)..];
                for (k, &code) in row.iter().enumerate() {
                    let word = panel[k / 4 * 32 + n % 32];
                    assert_eq!(word.to_le_bytes()[k % 4].cast_signed(), code);
                    let bits = half[k / 2 * 32 + n % 32] >> (k % 2 * 16) << 16;
                    assert_eq!(f32::from_bits(bits), f32::from(code));
                }
                let sum: i32 = row.iter().map(|&code| i32::from(code)).sum();
                let at = depth.next_multiple_of(64) / 4 * 32 + n % 32;
                assert_eq!(panel[at].cast_signed(), 128 * sum);
            }
        }
    }

    #[test]
    fn precisions_have_names() {
        for precision in PRECISIONS {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            assert_eq!(Precision::from_word(precision as u32), precision);
        }
        let error = "f64".parse::<Precision>().expect_err("not built").to_string();
        assert_eq!(error, "invalid: \"f64\" is none of f32, f16, bf16, int8");
    }
}
