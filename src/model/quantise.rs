//! A model made smaller once and for all: its linear layers in 16 or 8 bits, chosen product by product within a budget,
//! as a safetensors file that loads like any other.
//!
//! Half of the texts calibrate, the others judge. Without a budget all products get the type that was asked for. With
//! one, those whose results suffer most get a wider type, as few as keep the gap of every judging text within it:
//! instead of INT8 first BF16, and F32 where 16 bits do not do.
//!
//! Where the texts' classes are known, judging texts are classified in F32 and in the types that were chosen. A
//! classifier says the class whose output is largest, the first of equals. Embeddings say that of the nearest other
//! judging text by cosine, the first of equals.

use super::encoder::{Embeddings, Encoder, EncoderOptions};
use super::files::Model;
use super::layout::{LayerShape, linear_of, scales_of, smooth_of};
use super::quant::{Kept, LINEARS, Linear, Recipe, calibrate};
use super::safetensors::Stored;
use super::samples;
use crate::base::error::{Error, Result};
use crate::device::Device;
use crate::ops::low::{Precision, quantise as codes_of};
use std::collections::BTreeMap;

/// What the products of a layer are called in reports.
const PRODUCTS: [&str; LINEARS] = ["attention.self", "attention.output", "intermediate", "output"];
/// Texts that are used, at most: the first ones.
const TEXTS_MAX: usize = 512;
/// Nearest texts that are compared.
const NEIGHBOURS: usize = 3;

/// What a quantised model has to keep to, and what it is measured with.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuantiseOptions<'a> {
    /// Largest `1 - cosine` of any judging text, above 0; `None`: as it comes.
    pub budget: Option<f64>,
    /// Texts like those to come, eight at least, of which the first 512 are used; `None`: ours.
    pub texts: Option<&'a [&'a str]>,
    /// The class of each text: its place in [`Model::labels`], or, for a model of embeddings, any number that texts of
    /// a kind share.
    pub classes: Option<&'a [usize]>,
}

/// What [`quantise`] made.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// The bytes of `model.safetensors`; the other files of the folder stay as they are.
    pub safetensors: Vec<u8>,
    /// Every product of every layer, in order.
    pub products: Vec<Product>,
    /// Largest and mean `1 - cosine` between what a judging text becomes in F32 and what it becomes now.
    pub gap: (f64, f64),
    /// Of the three nearest judging texts of each, the share that is the same three; for a classifier the share of
    /// texts whose most likely class is the same.
    pub agreement: f64,
    /// Texts that judged.
    pub judged: usize,
    /// How many of them got their class, where [`QuantiseOptions::classes`] says what that is.
    pub accuracy: Option<Accuracy>,
}

/// Judging texts that got their class: a classifier's most likely one, or that of the nearest other judging text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accuracy {
    /// In F32.
    pub exact: usize,
    /// In the types that were chosen.
    pub found: usize,
    /// In F32 alone: `found` is `exact` without these and with those that are right now alone.
    pub lost: usize,
}

/// One product of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// The layer, from 0.
    pub layer: usize,
    /// Which of its products.
    pub name: &'static str,
    /// What it is kept in.
    pub precision: Precision,
    /// How far its result is off on the calibrating texts: the root of the mean square, relative.
    pub loss: f64,
}

/// A product's ways to be kept, narrowest first, each with its loss.
type Ways = Vec<(Kept, f64)>;

/// Chooses a type for each product of a model, `precision` or wider, so that no judging text's `1 - cosine` exceeds the
/// budget, and writes it down. Runs on the processor.
///
/// # Errors
/// `Invalid` for fewer than eight texts, a budget that is no number above 0, classes that are not those of the texts or
/// of the model, and a model that is quantised already; `Source` for F16 and a weight that it cannot hold.
pub fn quantise(
    model: &Model,
    precision: Precision,
    options: &QuantiseOptions<'_>,
) -> Result<Quantised> {
    if model.inner.tensors.quantised() {
        return Err(Error::invalid("the model is quantised already; start from its original"));
    }
    options.check(model)?;
    let budget = options.budget;
    let texts = options.texts.unwrap_or(samples::TEXTS);
    let texts = &texts[..texts.len().min(TEXTS_MAX)];
    let half = |odd: usize| -> Vec<&str> { texts.iter().skip(odd).step_by(2).copied().collect() };
    let ways = ways(model, precision, &samples::sequences(model, &half(0)))?;
    let judge = Judge::new(model, half(1))?;
    let (levels, found) = judge.choose(&ways, budget)?;
    let chosen = || ways.iter().zip(&levels).map(|(ways, &level)| &ways[level]);
    let products = chosen().enumerate().map(|(i, (kept, loss))| Product {
        layer: i / LINEARS,
        name: PRODUCTS[i % LINEARS],
        precision: kept.precision(),
        loss: *loss,
    });
    Ok(Quantised {
        products: products.collect(),
        safetensors: written(model, &recipe(&ways, &levels))?,
        gap: judge.gap(&found),
        agreement: judge.agreement(&found),
        judged: judge.texts.len(),
        accuracy: options.classes.map(|classes| {
            let classes = classes.iter().skip(1).step_by(2).copied();
            judge.accuracy(&found, &classes.take(judge.texts.len()).collect::<Vec<_>>())
        }),
    })
}

impl QuantiseOptions<'_> {
    /// Whether they can be met.
    fn check(&self, model: &Model) -> Result<()> {
        if let Some(budget) = self.budget
            && !(budget > 0.0 && budget.is_finite())
        {
            return Err(Error::invalid(format!("budget: {budget} is no number above 0")));
        }
        let count = self.texts.map_or(samples::TEXTS.len(), <[&str]>::len);
        if count < 8 {
            let what = format!("{count} texts; half of them judge, so 8 are needed");
            return Err(Error::invalid(what));
        }
        let Some(classes) = self.classes else { return Ok(()) };
        if self.texts.is_none() {
            return Err(Error::invalid("classes: give the texts that they are of, too"));
        }
        if classes.len() != count {
            let what = format!("classes: {} for {count} texts, not one for each", classes.len());
            return Err(Error::invalid(what));
        }
        let known = model.labels().map_or(usize::MAX, <[String]>::len);
        match classes.iter().position(|class| *class >= known) {
            None => Ok(()),
            Some(i) => Err(Error::invalid(format!(
                "classes: {} of text {i}; the model has 0 to {}",
                classes[i],
                known - 1
            ))),
        }
    }
}

/// The ways to keep each product.
fn ways(model: &Model, precision: Precision, sequences: &[Vec<u32>]) -> Result<Vec<Ways>> {
    let mut all = Vec::new();
    calibrate(model, sequences, |_, linears| {
        all.extend(linears.iter().map(|linear| ways_of(linear, precision)));
    })?;
    Ok(all)
}

fn ways_of(linear: &Linear, precision: Precision) -> Ways {
    let mut ways = Vec::new();
    if precision == Precision::Int8 {
        let (smooth, loss) = linear.search();
        ways.push((Kept::Int8 { smooth }, loss));
    }
    let half = match precision {
        Precision::F32 => None,
        Precision::F16 => Some(Precision::F16),
        Precision::Bf16 | Precision::Int8 => Some(Precision::Bf16),
    };
    ways.extend(half.map(|half| (Kept::Half(half), linear.loss(half, &[]))));
    ways.push((Kept::F32, 0.0));
    ways
}

/// The recipe that takes of each product's ways the one that `levels` says.
fn recipe(ways: &[Ways], levels: &[usize]) -> Recipe {
    let kept: Vec<Kept> = ways.iter().zip(levels).map(|(ways, &i)| ways[i].0.clone()).collect();
    Recipe { layers: kept.as_chunks().0.to_vec() }
}

/// Texts, and what they become in F32.
struct Judge<'a> {
    model: &'a Model,
    texts: Vec<&'a str>,
    exact: Embeddings,
}

impl<'a> Judge<'a> {
    fn new(model: &'a Model, texts: Vec<&'a str>) -> Result<Self> {
        let exact = run(model, Recipe::new(model, Precision::F32)?, &texts)?;
        Ok(Self { model, texts, exact })
    }

    /// Takes the wider way for as few products as the budget allows, those with the largest loss first.
    fn choose(&self, ways: &[Ways], budget: Option<f64>) -> Result<(Vec<usize>, Embeddings)> {
        let mut levels = vec![0; ways.len()];
        let mut found = run(self.model, recipe(ways, &levels), &self.texts)?;
        let most = ways.iter().map(Vec::len).min().unwrap_or(1);
        let Some(budget) = budget else { return Ok((levels, found)) };
        for level in 1..most {
            if self.gap(&found).0 <= budget {
                break;
            }
            let mut order: Vec<usize> = (0..ways.len()).collect();
            let loss = |i: usize| ways[i][level - 1].1;
            order.sort_by(|a, b| loss(*b).total_cmp(&loss(*a)));
            let widened = |count: usize| {
                let mut levels = levels.clone();
                order[..count].iter().for_each(|&i| levels[i] = level);
                levels
            };
            // The gap shrinks with the number, about: a search that halves it needs a handful of runs.
            let (mut few, mut many) = (0, ways.len());
            while few < many {
                let count = few.midpoint(many);
                let tried = run(self.model, recipe(ways, &widened(count)), &self.texts)?;
                if self.gap(&tried).0 <= budget { many = count } else { few = count + 1 }
            }
            levels = widened(few.min(ways.len()));
            found = run(self.model, recipe(ways, &levels), &self.texts)?;
        }
        Ok((levels, found))
    }

    /// Largest and mean gap.
    fn gap(&self, found: &Embeddings) -> (f64, f64) {
        let gaps: Vec<f64> =
            self.exact.rows().zip(found.rows()).map(|(a, b)| 1.0 - cosine(a, b)).collect();
        #[allow(clippy::cast_precision_loss, reason = "few texts")]
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        (gaps.into_iter().fold(0.0, f64::max), mean)
    }

    #[allow(clippy::cast_precision_loss, reason = "few texts")]
    fn agreement(&self, found: &Embeddings) -> f64 {
        let count = self.texts.len();
        if self.model.labels().is_some() {
            let same = self.exact.rows().zip(found.rows()).filter(|(a, b)| top(a) == top(b));
            return same.count() as f64 / count as f64;
        }
        let of = (0..count).map(|i| {
            let (exact, found) = (nearest(&self.exact, i), nearest(found, i));
            let (exact, found) = (&exact[..NEIGHBOURS], &found[..NEIGHBOURS]);
            exact.iter().filter(|j| found.contains(j)).count() as f64 / NEIGHBOURS as f64
        });
        of.sum::<f64>() / count as f64
    }

    /// Texts that get their class: `classes` are those of the judging texts.
    fn accuracy(&self, found: &Embeddings, classes: &[usize]) -> Accuracy {
        let labelled = self.model.labels().is_some();
        let right = |all: &Embeddings, i: usize| {
            let said = if labelled { top(&all[i]) } else { classes[nearest(all, i)[0]] };
            said == classes[i]
        };
        let mut all = Accuracy { exact: 0, found: 0, lost: 0 };
        for i in 0..classes.len() {
            let (before, now) = (right(&self.exact, i), right(found, i));
            all.exact += usize::from(before);
            all.found += usize::from(now);
            all.lost += usize::from(before && !now);
        }
        all
    }
}

/// The place of the largest, the first of equals.
fn top(row: &[f32]) -> usize {
    let better = |best, now| if row[now] > row[best] { now } else { best };
    (0..row.len()).fold(0, better)
}

/// All other vectors, the nearest by cosine first, and of equals the first.
fn nearest(all: &Embeddings, i: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..all.len()).filter(|j| *j != i).collect();
    let near: Vec<f64> = all.rows().map(|row| cosine(&all[i], row)).collect();
    order.sort_by(|a, b| near[*b].total_cmp(&near[*a]));
    order
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

fn run(model: &Model, recipe: Recipe, texts: &[&str]) -> Result<Embeddings> {
    let options = EncoderOptions::default();
    let outputs = options.in_flight;
    let mut encoder = Encoder::with_recipe(model, &Device::cpu(), recipe, (options, outputs))?;
    if model.labels().is_some() { encoder.classify(texts) } else { encoder.embed(texts) }
}

/// The model's file with its matrices as the recipe has them.
fn written(model: &Model, recipe: &Recipe) -> Result<Vec<u8>> {
    let inner = &model.inner;
    let shape = LayerShape::new(&inner.config);
    let mut changed = BTreeMap::new();
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
    for (layer, kept) in recipe.layers.iter().enumerate() {
        for (tensor, of) in shape.layer() {
            let [columns, depth] = of[..] else { continue };
            let name = shape.name(inner, layer, tensor);
            let values = shape.tensor(inner, layer, tensor, &of)?;
            let matrix = |dtype, bytes| Stored { dtype, shape: of.clone(), bytes };
            let stored = match &kept[linear_of(tensor)] {
                Kept::F32 => matrix("F32", floats(&values)),
                Kept::Half(half) => {
                    let dtype = if *half == Precision::F16 { "F16" } else { "BF16" };
                    matrix(dtype, values.iter().flat_map(|x| half.half(*x).to_le_bytes()).collect())
                }
                Kept::Int8 { smooth } => {
                    let (codes, scales) = codes_of(&values, depth, smooth);
                    let row = |values: &[f32]| Stored {
                        dtype: "F32",
                        shape: vec![values.len()],
                        bytes: floats(values),
                    };
                    debug_assert_eq!(scales.len(), columns);
                    changed.insert(scales_of(&name), row(&scales));
                    changed.insert(smooth_of(&name), row(smooth));
                    matrix("I8", codes.iter().map(|code| code.cast_unsigned()).collect())
                }
            };
            changed.insert(name, stored);
        }
    }
    Ok(inner.tensors.write(&changed))
}
