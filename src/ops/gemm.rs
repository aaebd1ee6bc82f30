//! Linear layers: rows of activations times a matrix of weights, and what follows, at once.
//!
//! Spec, per token t and column n, in real numbers: `y = bias[n] + Σ_k a[t][k] · w[n][k]`, then for [`GEMM`] the
//! activation, for [`GEMM_NORM`] `LayerNorm(y + residual[t])` over the row.
//!
//! Weights lie in *panels* of [`PANEL`] columns: panel `n / 32`, then k, then `n % 32`. A processor's vectors and a
//! warp's loads both take them so, and they are laid out once. Numbers: `f32`, or what `ops::low` says of lower
//! precision; every sum runs over k in order, whatever the batch, and is never split: a row's result depends on that
//! row alone.

use super::float::layer_norm;
use super::low::Precision;
use super::simd::{After, Low, Product, Wide, multiply, multiply_low, wide};
use super::tokens::{TOKENS, reads, weights, writes};
use crate::params;
use crate::plan::{Args, Kernel};

/// Columns of a panel.
pub const PANEL: usize = 32;
/// Tokens of a workgroup of [`GEMM`].
const ROWS_GROUP: usize = 32;
/// Columns of a workgroup of [`GEMM`].
const COLUMNS_GROUP: usize = 64;
/// Columns of [`GEMM_NORM`], at most: of a CUDA block's threads each holds four, of a workgroup's eight.
pub const NORM_COLUMNS_MAX: usize = 1024;

/// The source of a product's shader: what those of an encoder share, the sums, then its own file.
macro_rules! product_shader {
    ($name:literal) => {
        concat!(
            include_str!("../../shaders/encoder.wgsl"),
            include_str!("../../shaders/product.wgsl"),
            include_str!(concat!("../../shaders/", $name, ".wgsl"))
        )
    };
}

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Activation {
    /// Nothing.
    None = 0,
    /// GELU by the error function.
    GeluErf = 1,
    /// GELU by the hyperbolic tangent.
    GeluTanh = 2,
    /// `max(x, 0)`.
    Relu = 3,
    /// The hyperbolic tangent.
    Tanh = 4,
    /// The nearest of BF16, ties to even: for a kernel that multiplies in BF16.
    Bf16 = 5,
}

params! {
    /// What the gemm kernel is told once. Places are in words of `w`.
    GemmParams {
        /// Values of a row of `a`.
        depth: u32,
        /// Columns: a multiple of 32.
        columns: u32,
        /// Where the panels begin.
        panels_at: u32,
        /// Where the bias begins.
        bias_at: u32,
        /// An [`Activation`].
        activation: u32,
        /// A [`Precision`].
        dtype: u32,
        /// Where the columns' scales begin, of INT8.
        scales_at: u32,
        /// Where the factors of a row's values begin, of INT8.
        smooth_at: u32,
    }
}

params! {
    /// What the gemm_norm kernel is told once. Places are in words of `w`.
    GemmNormParams {
        /// Values of a row of `a`.
        depth: u32,
        /// Columns: a multiple of 32.
        columns: u32,
        /// Where the panels begin.
        panels_at: u32,
        /// Where the bias begins.
        bias_at: u32,
        /// Where the norm's factors begin.
        gamma_at: u32,
        /// Where the norm's offsets begin.
        beta_at: u32,
        /// What is added to a variance.
        eps: f32,
        /// A [`Precision`].
        dtype: u32,
        /// Where the columns' scales begin, of INT8.
        scales_at: u32,
        /// Where the factors of a row's values begin, of INT8.
        smooth_at: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
    }
}

/// A linear layer and its activation.
pub static GEMM: Kernel = Kernel {
    name: "gemm",
    params: GemmParams::FIELDS,
    events: false,
    binds: &[reads("a"), weights("w"), writes("out")],
    wgsl: product_shader!("gemm"),
    cpu: gemm,
};

/// A linear layer, what came before it added, normalised.
pub static GEMM_NORM: Kernel = Kernel {
    name: "gemm_norm",
    params: GemmNormParams::FIELDS,
    events: false,
    binds: &[reads("a"), weights("w"), reads("residual"), writes("out")],
    wgsl: product_shader!("gemm_norm"),
    cpu: gemm_norm,
};

/// The grid of [`GEMM`] for so many columns, as `tokens::Grids` takes it.
pub fn gemm_grid(columns: usize) -> (usize, usize) {
    (ROWS_GROUP, columns.div_ceil(COLUMNS_GROUP))
}

/// The grid of [`GEMM_NORM`]: of a CUDA block a thread has four rows and four columns, the block as many rows as that
/// leaves. Where a workgroup has more rows, the last ones find nothing to do.
pub fn gemm_norm_grid(columns: usize) -> (usize, usize) {
    (4 * (256 / (columns / 4)), 1)
}

/// Lays a matrix of rows `[n][k]` out in panels; `columns` beyond it are zero.
pub fn pack(w: &[f32], columns: usize, depth: usize) -> Vec<f32> {
    let mut panels = vec![0.0; columns.next_multiple_of(PANEL) * depth];
    for (n, row) in w.chunks_exact(depth).enumerate() {
        let panel = &mut panels[n / PANEL * PANEL * depth..];
        for (k, &x) in row.iter().enumerate() {
            panel[k * PANEL + n % PANEL] = x;
        }
    }
    panels
}

/// A linear layer as its parameters say it.
struct Linear<'a> {
    w: &'a [u32],
    rows: usize,
    depth: u32,
    columns: u32,
    panels_at: u32,
    dtype: u32,
    scales_at: u32,
    smooth_at: u32,
    after: After<'a>,
}

impl Linear<'_> {
    fn run(&self, a: &[u32], out: &mut [f32]) {
        let (depth, columns) = (self.depth as usize, self.columns as usize);
        let precision = Precision::from_word(self.dtype);
        let panels = &self.w[self.panels_at as usize..][..precision.words(columns, depth)];
        let a: &[f32] = bytemuck::cast_slice(a);
        let (rows, after) = (self.rows, self.after);
        if precision == Precision::F32 {
            let panels = bytemuck::cast_slice(panels);
            let (a_stride, out_stride) = (depth, columns);
            return multiply(&Product { a, a_stride, rows, depth, panels, after, out_stride }, out);
        }
        let of = |at: u32, values: usize| match precision {
            Precision::Int8 => bytemuck::cast_slice(&self.w[at as usize..][..values]),
            _ => &[],
        };
        let (scales, smooth) = (of(self.scales_at, columns), of(self.smooth_at, depth));
        multiply_low(
            &Low {
                a,
                a_stride: depth,
                rows,
                depth,
                columns,
                precision,
                panels,
                scales,
                smooth,
                after,
                out_stride: columns,
            },
            out,
        );
    }
}

/// Values of weights.
fn values(w: &[u32], at: u32, count: u32) -> &[f32] {
    bytemuck::cast_slice(&w[at as usize..][..count as usize])
}

fn gemm(args: Args<'_>) {
    let p: GemmParams = args.params();
    let (rows, w) = (args.head[TOKENS] as usize, args.weights[0]);
    let [a, out] = args.binds();
    let activation = match p.activation {
        1 => Activation::GeluErf,
        2 => Activation::GeluTanh,
        3 => Activation::Relu,
        4 => Activation::Tanh,
        5 => Activation::Bf16,
        _ => Activation::None,
    };
    let bias = Some(values(w, p.bias_at, p.columns));
    let GemmParams { depth, columns, panels_at, dtype, scales_at, smooth_at, .. } = p;
    let after = After { bias, activation, residual: None };
    Linear { w, rows, depth, columns, panels_at, dtype, scales_at, smooth_at, after }
        .run(a, bytemuck::cast_slice_mut(out));
}

fn gemm_norm(args: Args<'_>) {
    let p: GemmNormParams = args.params();
    let (rows, w) = (args.head[TOKENS] as usize, args.weights[0]);
    let [a, residual, out] = args.binds();
    let out: &mut [f32] = bytemuck::cast_slice_mut(out);
    let bias = Some(values(w, p.bias_at, p.columns));
    let residual = Some(bytemuck::cast_slice(residual));
    let GemmNormParams { depth, columns, panels_at, dtype, scales_at, smooth_at, .. } = p;
    let after = After { bias, activation: Activation::None, residual };
    Linear { w, rows, depth, columns, panels_at, dtype, scales_at, smooth_at, after }.run(a, out);
    let of = |at| values(w, at, columns);
    let out = &mut out[..rows * columns as usize];
    wide(Norm { out, gamma: of(p.gamma_at), beta: of(p.beta_at), eps: p.eps });
}

struct Norm<'a> {
    out: &'a mut [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f32,
}

impl Wide for Norm<'_> {
    #[inline(always)]
    fn run(self) {
        for row in self.out.chunks_exact_mut(self.gamma.len()) {
            layer_norm(row, self.gamma, self.beta, self.eps);
        }
    }
}
