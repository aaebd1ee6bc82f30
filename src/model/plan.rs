//! An encoder as a plan: its steps recorded once for every size of batch.
//!
//! Five steps a layer and two around them: queries, keys and values in one product; attention; its output layer with
//! residual and norm; the inner layer with its activation; the outer layer with residual and norm. Grids stand in the
//! header, so the plan serves every number of tokens up to its most; they are those of a bucket, and a device that
//! fixes launch sizes keeps a graph for each bucket that comes.

use super::config::{Config, Pooling};
use super::layout::{LayerShape, Layout};
use super::quant::{Kept, LINEARS, Recipe};
use crate::base::limits::word;
use crate::ops::attention::{ATTENTION, AttentionParams};
use crate::ops::embed::{self, EMBED, EmbedParams};
use crate::ops::gemm::{
    Activation, GEMM, GEMM_NORM, GemmNormParams, GemmParams, PANEL, gemm_grid, gemm_norm_grid,
};
use crate::ops::low::Precision;
use crate::ops::pool::{POOL, PoolParams};
use crate::ops::tokens::{Grids, SEQUENCE_GRID, TILE_GRID, head_words, token_grid};
use crate::plan::{Buf, BufId, Grid, Memory, OUTPUT_HEAD, Plan, Role};

/// Results that come back with a batch at once; of larger batches the rest is fetched.
const EAGER_ROWS: usize = 16;
/// Steps of a layer.
pub(super) const LAYER_STEPS: usize = 5;

/// What an encoder's queue runs.
pub(super) struct Recorded {
    pub(super) plan: Plan,
    pub(super) memory: Memory,
    pub(super) grids: Grids,
    /// What a layer's products read, and how many values of it a token has.
    pub(super) inputs: [(BufId, usize); LINEARS],
}

/// The buffers between the steps.
#[derive(Clone, Copy)]
struct Between {
    x: Buf<f32>,
    y: Buf<f32>,
    qkv: Buf<f32>,
    context: Buf<f32>,
    inner: Buf<f32>,
}

/// Values of a result's row: a classifier's are filled up to whole panels.
pub(super) fn row(config: &Config) -> usize {
    config.labels.as_ref().map_or(config.hidden, |labels| labels.len().next_multiple_of(PANEL))
}

/// Records the plan for batches of up to so many tokens and sequences, over weights of these sizes in words.
pub(super) fn record(
    config: &Config,
    recipe: &Recipe,
    weights: &[usize],
    (tokens, sequences): (usize, usize),
) -> Recorded {
    let (hidden, inner) = (config.hidden, config.inner);
    let mut memory = Memory::default();
    let weights: Vec<Buf<f32>> =
        weights.iter().map(|&words| memory.buffer("weights", Role::Weights, words)).collect();
    let mut scratch = |name, values| memory.buffer(name, Role::Scratch, tokens * values);
    let between = Between {
        x: scratch("x", hidden),
        y: scratch("y", hidden),
        qkv: scratch("qkv", 3 * hidden),
        context: scratch("context", hidden),
        inner: scratch("inner", inner),
    };
    let values = row(config);
    let scores = config.labels.as_ref().map(|_| scratch("scores", values));
    let eager = OUTPUT_HEAD + EAGER_ROWS.min(sequences) * values;
    let role = Role::Output { eager };
    let out = memory.buffer::<u32>("results", role, OUTPUT_HEAD + sequences * values);
    let mut plan = Plan::new("encode", head_words(tokens, sequences));
    plan.output = Some(out.id);
    let shape = LayerShape::new(config);
    let (positions, types) = (config.places * hidden, config.types * hidden);
    let params = EmbedParams {
        hidden: word(hidden),
        vocab: word(config.vocab),
        places: word(config.places - config.places_before),
        places_at: word(config.places_before * hidden),
        types_at: word(positions),
        gamma_at: word(positions + types),
        beta_at: word(positions + types + hidden),
        eps: config.eps,
    };
    let binds = [weights[0].id, weights[1].id, between.x.id];
    plan.step(&EMBED, Grid::Head(token_grid(0)), params, &binds);
    for (layer, kept) in weights[2..].iter().zip(&recipe.layers) {
        let layer = Layer { layout: shape.layout(kept), kept, w: *layer };
        record_layer(config, &layer, &between, (weights[1], shape.bias_at()), &mut plan);
    }
    if let (Some(scores), Some(head)) = (scores, weights.get(2 + config.layers)) {
        record_head(config, &between, *head, scores, &mut plan);
    }
    let first = config.pooling == Pooling::First || scores.is_some();
    let params = PoolParams {
        hidden: word(values),
        first: u32::from(first),
        unit: u32::from(config.unit),
        pad0: 0,
    };
    plan.step(&POOL, Grid::Head(SEQUENCE_GRID), params, &[scores.unwrap_or(between.x).id, out.id]);
    let by_tokens = [
        embed::GRID,
        gemm_grid(3 * hidden),
        gemm_norm_grid(hidden),
        gemm_grid(inner),
        gemm_grid(hidden),
        gemm_grid(values),
    ];
    let Between { x, y, context, inner: wide, .. } = between;
    let inputs = [(x.id, hidden), (context.id, hidden), (y.id, hidden), (wide.id, inner)];
    Recorded { plan, memory, grids: Grids { by_tokens, by_tile: config.heads }, inputs }
}

/// A layer's weights: where they lie, and as what.
struct Layer<'a> {
    layout: Layout,
    kept: &'a [Kept; LINEARS],
    w: Buf<f32>,
}

impl Layer<'_> {
    /// The parameters of the product that is the layer's `i`-th.
    fn gemm(
        &self,
        i: usize,
        depth: usize,
        columns: usize,
        names: [&str; 2],
        activation: u32,
    ) -> GemmParams {
        let [weight, bias] = names;
        GemmParams {
            depth: word(depth),
            columns: word(columns),
            panels_at: self.layout.at(weight),
            bias_at: self.layout.at(bias),
            activation,
            dtype: self.kept[i].precision() as u32,
            scales_at: self.layout.scales[i],
            smooth_at: self.layout.smooth[i],
        }
    }

    /// What attention multiplies in: see `ops::low`.
    fn attention(&self) -> Precision {
        match self.kept[0].precision() {
            Precision::F32 | Precision::F16 => Precision::F32,
            Precision::Bf16 | Precision::Int8 => Precision::Bf16,
        }
    }

    fn gemm_norm(&self, i: usize, depth: usize, config: &Config, part: &str) -> GemmNormParams {
        let at = |name: &str| self.layout.at(&format!("{part}.{name}"));
        GemmNormParams {
            depth: word(depth),
            columns: word(config.hidden),
            panels_at: at("dense.weight"),
            bias_at: at("dense.bias"),
            gamma_at: at("LayerNorm.weight"),
            beta_at: at("LayerNorm.bias"),
            eps: config.eps,
            dtype: self.kept[i].precision() as u32,
            scales_at: self.layout.scales[i],
            smooth_at: self.layout.smooth[i],
            pad0: 0,
            pad1: 0,
        }
    }
}

/// `tables` and `bias_at` are where attention finds its bias by distance.
fn record_layer(
    config: &Config,
    layer: &Layer<'_>,
    b: &Between,
    (tables, bias_at): (Buf<f32>, u32),
    plan: &mut Plan,
) {
    let (hidden, inner, w) = (config.hidden, config.inner, layer.w.id);
    let grid = |i| Grid::Head(token_grid(i));
    let names = ["attention.self.query.weight", "attention.self.query.bias"];
    let dtype = layer.attention();
    let rounded = if dtype == Precision::Bf16 { Activation::Bf16 } else { Activation::None };
    let params = layer.gemm(0, hidden, 3 * hidden, names, rounded as u32);
    plan.step(&GEMM, grid(1), params, &[b.x.id, w, b.qkv.id]);
    #[allow(clippy::cast_precision_loss, reason = "128 at most")]
    let scale = 1.0 / ((hidden / config.heads) as f32).sqrt();
    let params = AttentionParams {
        heads: word(config.heads),
        head_size: word(hidden / config.heads),
        scale,
        bias_at,
        dtype: dtype as u32,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let binds = [b.qkv.id, tables.id, b.context.id];
    plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &binds);
    let params = layer.gemm_norm(1, hidden, config, "attention.output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.context.id, w, b.x.id, b.y.id]);
    let names = ["intermediate.dense.weight", "intermediate.dense.bias"];
    let params = layer.gemm(2, hidden, inner, names, config.activation as u32);
    plan.step(&GEMM, grid(3), params, &[b.y.id, w, b.inner.id]);
    let params = layer.gemm_norm(3, inner, config, "output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.inner.id, w, b.y.id, b.x.id]);
}

/// A classifier over every token's vector, though only each first one's is used: that is a twelfth of one
/// layer's work, and needs no kernel of its own. It stays F32.
fn record_head(config: &Config, b: &Between, w: Buf<f32>, scores: Buf<f32>, plan: &mut Plan) {
    let (hidden, columns) = (config.hidden, row(config));
    let gemm = |columns, panels_at: usize, activation: Activation| GemmParams {
        depth: word(hidden),
        columns: word(columns),
        panels_at: word(panels_at),
        bias_at: word(panels_at + columns * hidden),
        activation: activation as u32,
        dtype: Precision::F32 as u32,
        scales_at: 0,
        smooth_at: 0,
    };
    let params = gemm(hidden, 0, config.family.head_activation());
    plan.step(&GEMM, Grid::Head(token_grid(4)), params, &[b.x.id, w.id, b.y.id]);
    let params = gemm(columns, (hidden + 1) * hidden, Activation::None);
    plan.step(&GEMM, Grid::Head(token_grid(5)), params, &[b.y.id, w.id, scores.id]);
}
