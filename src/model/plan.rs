//! An encoder as a plan: its weights laid out for the kernels, its steps recorded once for every size of batch.
//!
//! Five steps a layer and two around them: queries, keys and values in one product; attention; its output layer with
//! residual and norm; the inner layer with its activation; the outer layer with residual and norm. Grids stand in the
//! header, so the plan serves every number of tokens up to its most; they are those of a bucket, and a device that
//! fixes launch sizes keeps a graph for each bucket that comes.

use super::config::{Config, Pooling};
use super::family::{BUCKETS, Family, bucket};
use super::files::Inner;
use crate::base::error::Result;
use crate::base::limits::word;
use crate::ops::attention::{ATTENTION, AttentionParams, BIAS_REACH, BIAS_SPAN};
use crate::ops::embed::{self, EMBED, EmbedParams};
use crate::ops::gemm::{
    Activation, GEMM, GEMM_NORM, GemmNormParams, GemmParams, PANEL, gemm_grid, gemm_norm_grid, pack,
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
    heads: usize,
    family: Family,
}

impl LayerShape {
    pub(super) fn new(config: &Config) -> Self {
        let Config { hidden, inner, vocab, places, types, heads, family, .. } = *config;
        Self { hidden, inner, vocab, places, types, heads, family }
    }

    /// Names and shapes of the tensors before the first layer.
    pub(super) fn embeddings(&self) -> Vec<(&'static str, Vec<usize>)> {
        let hidden = self.hidden;
        let mut all = vec![
            ("word_embeddings.weight", vec![self.vocab, hidden]),
            ("position_embeddings.weight", vec![self.places, hidden]),
            ("token_type_embeddings.weight", vec![self.types, hidden]),
            ("LayerNorm.weight", vec![hidden]),
            ("LayerNorm.bias", vec![hidden]),
        ];
        if !self.family.has_types() {
            all.remove(2);
        }
        all
    }

    /// Name and shape of the bias by distance that all layers share.
    pub(super) fn bias(&self) -> Option<(&'static str, Vec<usize>)> {
        let shape = vec![BUCKETS, self.heads];
        (self.family == Family::MpNet).then_some(("encoder.relative_attention_bias.weight", shape))
    }

    /// Where the bias begins in the buffer of tables, behind the norm; 0: there is none.
    fn bias_at(&self) -> u32 {
        let at = (self.places + self.types + 2) * self.hidden;
        if self.family == Family::MpNet { word(at) } else { 0 }
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
            let words = shape.embeddings().swap_remove(0);
            Ok(("word embeddings", embeddings(words)?))
        };
        let tables = move || {
            let mut all = Vec::new();
            for named in shape.embeddings().into_iter().skip(1) {
                all.extend(embeddings(named)?);
            }
            if !shape.family.has_types() {
                // A type of zeros, between positions and norm.
                let at = shape.places * shape.hidden;
                all.splice(at..at, std::iter::repeat_n(0.0, shape.hidden));
            }
            if let Some((name, of)) = shape.bias() {
                all.extend(by_distance(&tensor(name.into(), &of)?, shape.heads));
            }
            Ok(("embedding tables", all))
        };
        let family = self.family;
        let layer = move |layer: usize| {
            let mut all = Vec::new();
            for (name, shape) in shape.layer() {
                let values = tensor(family.layer(layer, name), &shape)?;
                match shape[..] {
                    [columns, depth] => all.extend(pack(&values, columns, depth)),
                    _ => all.extend(values),
                }
            }
            Ok(("a layer", all))
        };
        let embeddings = [words()].into_iter().chain([tables()]);
        let layers = (0..model.config.layers).map(layer);
        let head = model.config.labels.iter().map(move |labels| shape.head(model, labels.len()));
        embeddings.chain(layers).chain(head)
    }

    /// A classifier: two layers, the second filled up to whole panels.
    fn head(&self, model: &Inner, labels: usize) -> Result<(&'static str, Vec<f32>)> {
        let mut all = Vec::new();
        for (name, shape) in self.family.head(self.hidden, labels) {
            let mut values = model.tensors.values(&name, &shape)?;
            match shape[..] {
                [columns, depth] => all.extend(pack(&values, columns, depth)),
                _ => {
                    values.resize(values.len().next_multiple_of(PANEL), 0.0);
                    all.extend(values);
                }
            }
        }
        Ok(("the classifier", all))
    }
}

/// A bias by distance as attention takes it: for each head a value for every distance in reach.
fn by_distance(rows: &[f32], heads: usize) -> impl Iterator<Item = f32> + '_ {
    let reach = isize::try_from(BIAS_REACH).expect("small");
    let distances = -reach..isize::try_from(BIAS_SPAN).expect("small") - reach;
    (0..heads).flat_map(move |head| {
        distances.clone().map(move |distance| rows[bucket(distance) * heads + head])
    })
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

/// Values of a result's row: a classifier's are filled up to whole panels.
pub(super) fn row(config: &Config) -> usize {
    config.labels.as_ref().map_or(config.hidden, |labels| labels.len().next_multiple_of(PANEL))
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
    for layer in &weights[2..2 + config.layers] {
        record_layer(config, &shape, &between, (weights[1], *layer), &mut plan);
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
    Recorded { plan, memory, grids: Grids { by_tokens, by_tile: config.heads } }
}

fn record_layer(
    config: &Config,
    shape: &LayerShape,
    b: &Between,
    (tables, w): (Buf<f32>, Buf<f32>),
    plan: &mut Plan,
) {
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
        bias_at: shape.bias_at(),
    };
    let binds = [b.qkv.id, tables.id, b.context.id];
    plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &binds);
    let params = norm(hidden, "attention.output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.context.id, w.id, b.x.id, b.y.id]);
    let (weight, bias) = ("intermediate.dense.weight", "intermediate.dense.bias");
    let params = gemm(hidden, inner, weight, bias, config.activation as u32);
    plan.step(&GEMM, grid(3), params, &[b.y.id, w.id, b.inner.id]);
    let params = norm(inner, "output");
    plan.step(&GEMM_NORM, grid(2), params, &[b.inner.id, w.id, b.y.id, b.x.id]);
}

/// A classifier over every token's vector, though only each first one's is used: that is a twelfth of one
/// layer's work, and needs no kernel of its own.
fn record_head(config: &Config, b: &Between, w: Buf<f32>, scores: Buf<f32>, plan: &mut Plan) {
    let (hidden, columns) = (config.hidden, row(config));
    let gemm = |columns, panels_at: usize, activation: Activation| GemmParams {
        depth: word(hidden),
        columns: word(columns),
        panels_at: word(panels_at),
        bias_at: word(panels_at + columns * hidden),
        activation: activation as u32,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let params = gemm(hidden, 0, config.family.head_activation());
    plan.step(&GEMM, Grid::Head(token_grid(4)), params, &[b.x.id, w.id, b.y.id]);
    let params = gemm(columns, (hidden + 1) * hidden, Activation::None);
    plan.step(&GEMM, Grid::Head(token_grid(5)), params, &[b.y.id, w.id, scores.id]);
}
