//! An encoder as a plan: its weights laid out for the kernels, its steps recorded once for every size of batch.
//!
//! Five steps a layer and two around them: queries, keys and values in one product; attention; its output layer with
//! residual and norm; the inner layer with its activation; the outer layer with residual and norm. Grids stand in the
//! header, so the plan serves every number of tokens up to its most; they are those of a bucket, and a device that
//! fixes launch sizes keeps a graph for each bucket that comes.

use super::config::{Config, Pooling};
use super::files::Inner;
use crate::base::error::Result;
use crate::base::limits::word;
use crate::ops::attention::{ATTENTION, AttentionParams};
use crate::ops::embed::{self, EMBED, EmbedParams};
use crate::ops::gemm::{
    GEMM, GEMM_NORM, GemmNormParams, GemmParams, gemm_grid, gemm_norm_grid, pack,
};
use crate::ops::pool::{POOL, PoolParams};
use crate::ops::tokens::{Grids, SEQUENCE_GRID, TILE_GRID, head_words, token_grid};
use crate::plan::{Buf, Grid, Memory, OUTPUT_HEAD, Plan, Role};

/// Results that come back with a batch at once; of larger batches the rest is fetched.
const EAGER_ROWS: usize = 16;

/// Where the parts of the weights begin, in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerShape {
    hidden: usize,
    inner: usize,
    vocab: usize,
    places: usize,
    types: usize,
}

impl LayerShape {
    pub(super) fn new(config: &Config) -> Self {
        let Config { hidden, inner, vocab, places, types, .. } = *config;
        Self { hidden, inner, vocab, places, types }
    }

    /// Names and shapes of the tensors before the first layer.
    pub(super) fn embeddings(&self) -> [(&'static str, Vec<usize>); 5] {
        let hidden = self.hidden;
        [
            ("word_embeddings.weight", vec![self.vocab, hidden]),
            ("position_embeddings.weight", vec![self.places, hidden]),
            ("token_type_embeddings.weight", vec![self.types, hidden]),
            ("LayerNorm.weight", vec![hidden]),
            ("LayerNorm.bias", vec![hidden]),
        ]
    }

    /// Names and shapes of a layer's tensors, in the order in which they are laid out.
    pub(super) fn layer(&self) -> [(&'static str, Vec<usize>); 16] {
        let (hidden, inner) = (self.hidden, self.inner);
        let square = || vec![hidden, hidden];
        [
            ("attention.self.query.weight", square()),
            ("attention.self.key.weight", square()),
            ("attention.self.value.weight", square()),
            ("attention.self.query.bias", vec![hidden]),
            ("attention.self.key.bias", vec![hidden]),
            ("attention.self.value.bias", vec![hidden]),
            ("attention.output.dense.weight", square()),
            ("attention.output.dense.bias", vec![hidden]),
            ("attention.output.LayerNorm.weight", vec![hidden]),
            ("attention.output.LayerNorm.bias", vec![hidden]),
            ("intermediate.dense.weight", vec![inner, hidden]),
            ("intermediate.dense.bias", vec![inner]),
            ("output.dense.weight", vec![hidden, inner]),
            ("output.dense.bias", vec![hidden]),
            ("output.LayerNorm.weight", vec![hidden]),
            ("output.LayerNorm.bias", vec![hidden]),
        ]
    }

    /// Where a layer's tensor begins.
    fn at(&self, name: &str) -> u32 {
        let before = self.layer().into_iter().take_while(|(tensor, _)| *tensor != name);
        word(before.map(|(_, shape)| shape.iter().product::<usize>()).sum())
    }

    /// The words of a buffer of weights: names for messages, and what is in it.
    pub(super) fn pieces(
        &self,
        model: &Inner,
    ) -> impl Iterator<Item = Result<(&'static str, Vec<f32>)>> {
        let shape = *self;
        let tensor = |name: String, shape: &[usize]| {
            model.tensors.values(&format!("{}{name}", model.prefix), shape)
        };
        let embeddings =
            move |(name, shape): (&str, Vec<usize>)| tensor(format!("embeddings.{name}"), &shape);
        let words = move || {
            let [words, ..] = shape.embeddings();
            Ok(("word embeddings", embeddings(words)?))
        };
        let tables = move || {
            let [_, rest @ ..] = shape.embeddings();
            let all = rest.into_iter().map(embeddings).collect::<Result<Vec<_>>>()?;
            Ok(("embedding tables", all.concat()))
        };
        let layer = move |layer: usize| {
            let mut all = Vec::new();
            for (name, shape) in shape.layer() {
                let values = tensor(format!("encoder.layer.{layer}.{name}"), &shape)?;
                match shape[..] {
                    [columns, depth] => all.extend(pack(&values, columns, depth)),
                    _ => all.extend(values),
                }
            }
            Ok(("a layer", all))
        };
        let embeddings = [words()].into_iter().chain([tables()]);
        embeddings.chain((0..model.config.layers).map(layer))
    }
}

/// What an encoder's queue runs.
pub(super) struct Recorded {
    pub(super) plan: Plan,
    pub(super) memory: Memory,
    pub(super) grids: Grids,
}

/// The buffers between the steps.
struct Between {
    x: Buf<f32>,
    y: Buf<f32>,
    qkv: Buf<f32>,
    context: Buf<f32>,
    inner: Buf<f32>,
}

/// Records the plan for batches of up to so many tokens and sequences, over weights of these sizes in words.
pub(super) fn record(
    config: &Config,
    weights: &[usize],
    tokens: usize,
    sequences: usize,
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
    let eager = OUTPUT_HEAD + EAGER_ROWS.min(sequences) * hidden;
    let role = Role::Output { eager };
    let out = memory.buffer::<u32>("embeddings", role, OUTPUT_HEAD + sequences * hidden);
    let mut plan = Plan::new("encode", head_words(tokens, sequences));
    plan.output = Some(out.id);
    let shape = LayerShape::new(config);
    let [_, positions, types, ..] = shape.embeddings().map(|(_, s)| s.iter().product::<usize>());
    let params = EmbedParams {
        hidden: word(hidden),
        vocab: word(config.vocab),
        places: word(config.places),
        places_at: 0,
        types_at: word(positions),
        gamma_at: word(positions + types),
        beta_at: word(positions + types + hidden),
        eps: config.eps,
    };
    let binds = [weights[0].id, weights[1].id, between.x.id];
    plan.step(&EMBED, Grid::Head(token_grid(0)), params, &binds);
    for layer in &weights[2..] {
        record_layer(config, &shape, &between, *layer, &mut plan);
    }
    let params = PoolParams {
        hidden: word(hidden),
        first: u32::from(config.pooling == Pooling::First),
        unit: u32::from(config.unit),
        pad0: 0,
    };
    plan.step(&POOL, Grid::Head(SEQUENCE_GRID), params, &[between.x.id, out.id]);
    let by_tokens =
        [embed::GRID, gemm_grid(3 * hidden), gemm_norm_grid(hidden), gemm_grid(inner), (1, 0)];
    Recorded { plan, memory, grids: Grids { by_tokens, by_tile: config.heads } }
}

fn record_layer(config: &Config, shape: &LayerShape, b: &Between, w: Buf<f32>, plan: &mut Plan) {
    let (hidden, inner) = (config.hidden, config.inner);
    let gemm = |depth, columns, weight: &str, bias: &str, activation| GemmParams {
        depth: word(depth),
        columns: word(columns),
        panels_at: shape.at(weight),
        bias_at: shape.at(bias),
        activation,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let norm = |depth, part: &str| GemmNormParams {
        depth: word(depth),
        columns: word(hidden),
        panels_at: shape.at(&format!("{part}.dense.weight")),
        bias_at: shape.at(&format!("{part}.dense.bias")),
        gamma_at: shape.at(&format!("{part}.LayerNorm.weight")),
        beta_at: shape.at(&format!("{part}.LayerNorm.bias")),
        eps: config.eps,
        pad0: 0,
    };
    let grid = |i| Grid::Head(token_grid(i));
    let attention = "attention.self.query";
    let (weight, bias) = (format!("{attention}.weight"), format!("{attention}.bias"));
    let params = gemm(hidden, 3 * hidden, &weight, &bias, 0);
    plan.step(&GEMM, grid(1), params, &[b.x.id, w.id, b.qkv.id]);
    #[allow(clippy::cast_precision_loss, reason = "128 at most")]
    let scale = 1.0 / ((hidden / config.heads) as f32).sqrt();
    let params = AttentionParams {
        heads: word(config.heads),
        head_size: word(hidden / config.heads),
        scale,
        pad0: 0,
    };
    plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &[b.qkv.id, b.context.id]);
    let params = norm(hidden, "attention.output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.context.id, w.id, b.x.id, b.y.id]);
    let (weight, bias) = ("intermediate.dense.weight", "intermediate.dense.bias");
    let params = gemm(hidden, inner, weight, bias, config.activation as u32);
    plan.step(&GEMM, grid(3), params, &[b.y.id, w.id, b.inner.id]);
    let params = norm(inner, "output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.inner.id, w.id, b.y.id, b.x.id]);
}
