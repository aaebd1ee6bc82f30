//! A model's weights as the kernels take them: buffers, and where in them each tensor begins.
//!
//! The word embeddings are one buffer, the other tables one, and each layer one, so that each fits a binding. Behind a
//! layer's tensors lie, for each of its products that is INT8, the scales of its columns and the factors of its inputs.

use super::config::Config;
use super::family::{BUCKETS, Family, bucket};
use super::files::Inner;
use super::quant::{Kept, LINEARS, Recipe};
use crate::base::error::Result;
use crate::base::limits::word;
use crate::device::{Device, Weights};
use crate::ops::attention::{BIAS_REACH, BIAS_SPAN};
use crate::ops::gemm::{PANEL, pack};
use crate::ops::low::{Precision, pack_halves, pack_int8, quantise, round_f16};
use bytemuck::allocation::cast_vec;

/// The shapes of a model's weights.
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
    pub(super) fn bias_at(&self) -> u32 {
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

    /// Columns and depth of a layer's products, in the order of the plan.
    pub(super) fn linears(&self) -> [(usize, usize); LINEARS] {
        let (hidden, inner) = (self.hidden, self.inner);
        [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]
    }

    /// Where the parts of a layer's weights begin.
    pub(super) fn layout(&self, kept: &[Kept; LINEARS]) -> Layout {
        let mut at = 0;
        let mut next = |words: usize| {
            let here = word(at);
            at += words;
            here
        };
        let tensors = self.layer().map(|(name, shape)| {
            let words = match shape[..] {
                [columns, depth] => kept[linear_of(name)].precision().words(columns, depth),
                _ => shape.iter().product(),
            };
            (name, next(words))
        });
        let (mut scales, mut smooth) = ([0; LINEARS], [0; LINEARS]);
        for (i, (columns, depth)) in self.linears().into_iter().enumerate() {
            if kept[i].precision() == Precision::Int8 {
                (scales[i], smooth[i]) = (next(columns), next(depth));
            }
        }
        Layout { tensors, scales, smooth }
    }

    /// Brings all weights to a device, buffer by buffer: none but the one under way is in the host's memory twice.
    pub(super) fn weights(
        &self,
        model: &Inner,
        recipe: &Recipe,
        device: &Device,
    ) -> Result<Vec<Weights>> {
        let upload = |piece: Result<(&'static str, Vec<u32>)>| {
            let (name, words) = piece?;
            device.weights(name, &words)
        };
        self.pieces(model, recipe).map(upload).collect()
    }

    /// The words of each buffer of weights: names for messages, and what is in it.
    fn pieces<'a>(
        &self,
        model: &'a Inner,
        recipe: &'a Recipe,
    ) -> impl Iterator<Item = Result<(&'static str, Vec<u32>)>> + use<'a> {
        let shape = *self;
        let tensor = |name: String, shape: &[usize]| {
            model.tensors.values(&format!("{}{name}", model.prefix), shape)
        };
        let embeddings =
            move |(name, shape): (&str, Vec<usize>)| tensor(format!("embeddings.{name}"), &shape);
        let words = move || {
            let words = shape.embeddings().swap_remove(0);
            Ok(("word embeddings", cast_vec(embeddings(words)?)))
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
            Ok(("embedding tables", cast_vec(all)))
        };
        let layer = move |(layer, kept)| Ok(("a layer", shape.layer_words(model, layer, kept)?));
        let embeddings = [words()].into_iter().chain([tables()]);
        let layers = recipe.layers.iter().enumerate().map(layer);
        let head = model.config.labels.iter().map(move |labels| shape.head(model, labels.len()));
        embeddings.chain(layers).chain(head)
    }

    /// A layer's weights as `layout` has them.
    fn layer_words(&self, model: &Inner, layer: usize, kept: &[Kept; LINEARS]) -> Result<Vec<u32>> {
        let mut all: Vec<u32> = Vec::new();
        let mut of_columns: [Vec<f32>; LINEARS] = Default::default();
        for (name, shape) in self.layer() {
            let [columns, depth] = shape[..] else {
                all.extend(cast_vec::<f32, u32>(self.tensor(model, layer, name, &shape)?));
                continue;
            };
            let linear = linear_of(name);
            if let Some((codes, scales)) = self.codes(model, layer, name, &shape)? {
                all.extend(pack_int8(&codes, columns, depth));
                of_columns[linear].extend(scales);
                continue;
            }
            let values = self.tensor(model, layer, name, &shape)?;
            match &kept[linear] {
                Kept::F32 => all.extend(cast_vec::<f32, u32>(pack(&values, columns, depth))),
                Kept::Half(precision) => {
                    self.fits(model, (layer, name), &values, *precision)?;
                    all.extend(pack_halves(&values, columns, depth, *precision));
                }
                Kept::Int8 { smooth } => {
                    let (codes, scales) = quantise(&values, depth, smooth);
                    all.extend(pack_int8(&codes, columns, depth));
                    of_columns[linear].extend(scales);
                }
            }
        }
        for (kept, scales) in kept.iter().zip(of_columns) {
            if let Kept::Int8 { smooth } = kept {
                all.extend(scales.iter().chain(smooth).map(|x| x.to_bits()));
            }
        }
        Ok(all)
    }

    /// The values of a layer's tensor.
    pub(super) fn tensor(
        &self,
        model: &Inner,
        layer: usize,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>> {
        model.tensors.values(&self.name(model, layer, name), shape)
    }

    /// Refuses values that have no 16-bit number near them.
    fn fits(
        &self,
        model: &Inner,
        (layer, tensor): (usize, &str),
        values: &[f32],
        precision: Precision,
    ) -> Result<()> {
        let fits = |x: f32| precision != Precision::F16 || round_f16(x).is_finite();
        match values.iter().find(|x| !fits(**x)) {
            Some(x) => {
                let what = format!("{x} is more than F16 holds, 65504; bf16 and int8 hold it");
                Err(model.tensors.wrong(&self.name(model, layer, tensor), what))
            }
            None => Ok(()),
        }
    }

    /// What the file calls a layer's tensor.
    pub(super) fn name(&self, model: &Inner, layer: usize, name: &str) -> String {
        format!("{}{}", model.prefix, self.family.layer(layer, name))
    }

    /// Codes and scales of a matrix that the file has as such.
    fn codes(
        &self,
        model: &Inner,
        layer: usize,
        name: &str,
        shape: &[usize],
    ) -> Result<Option<(Vec<i8>, Vec<f32>)>> {
        let name = self.name(model, layer, name);
        let Some(codes) = model.tensors.codes(&name, shape)? else { return Ok(None) };
        Ok(Some((codes, model.tensors.values(&scales_of(&name), &shape[..1])?)))
    }

    /// How the file keeps a matrix.
    pub(super) fn kept(
        &self,
        model: &Inner,
        layer: usize,
        name: &str,
        depth: usize,
    ) -> Result<Kept> {
        let name = self.name(model, layer, name);
        Ok(match model.tensors.precision(&name) {
            Precision::F32 => Kept::F32,
            half @ (Precision::F16 | Precision::Bf16) => Kept::Half(half),
            Precision::Int8 => {
                Kept::Int8 { smooth: model.tensors.values(&smooth_of(&name), &[depth])? }
            }
        })
    }

    /// A classifier: two layers, the second filled up to whole panels.
    fn head(&self, model: &Inner, labels: usize) -> Result<(&'static str, Vec<u32>)> {
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
        Ok(("the classifier", cast_vec(all)))
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

/// The tensor with the scales of a matrix of codes.
pub(super) fn scales_of(name: &str) -> String {
    format!("{name}.scales")
}

/// The tensor with the factors of what a matrix of codes is multiplied with.
pub(super) fn smooth_of(name: &str) -> String {
    format!("{name}.smooth")
}

/// Which of a layer's products a matrix belongs to.
pub(super) fn linear_of(tensor: &str) -> usize {
    match tensor {
        "attention.output.dense.weight" => 1,
        "intermediate.dense.weight" => 2,
        "output.dense.weight" => 3,
        _ => 0,
    }
}

/// Where the parts of a layer's weights begin, in words: its tensors, then scales and factors of its products.
pub(super) struct Layout {
    tensors: [(&'static str, u32); 16],
    pub(super) scales: [u32; LINEARS],
    pub(super) smooth: [u32; LINEARS],
}

impl Layout {
    pub(super) fn at(&self, name: &str) -> u32 {
        let found = self.tensors.iter().find(|(tensor, _)| *tensor == name);
        found.expect("a layer has it").1
    }
}
