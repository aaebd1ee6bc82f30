//! How a model's linear layers are kept, and what INT8 needs to know of their inputs.
//!
//! Factors of inputs come from calibration: the model runs in F32 over some texts, every product's inputs are looked
//! at, and for each product that exponent is taken whose factors make its result differ least. With the largest sizes
//! `x[k]` of the inputs and `w[k]` of the weights, `smooth[k] = w[k]^(1-α) / x[k]^α` (Xiao et al. 2022); α of 0 stands
//! for no factors. They are rounded to BF16, so that libraries which differ in a power's last digit give the same.

use super::files::{Inner, Model};
use super::layout::{LayerShape, linear_of};
use super::plan::{LAYER_STEPS, Recorded, record};
use super::samples;
use crate::base::error::Result;
use crate::device::{Device, ProgramId, Queue, QueueOptions};
use crate::ops::low::{Precision, product};
use crate::ops::tokens::write_head;
use crate::plan::BufId;

/// Products of a layer, in the order of the plan: queries, keys and values; attention's output; the inner layer; the
/// outer layer.
pub(super) const LINEARS: usize = 4;
/// Exponents that are tried.
const ALPHAS: [f64; 6] = [0.0, 0.3, 0.4, 0.5, 0.6, 0.7];
/// Sizes below count as this.
const SIZE_MIN: f32 = 1e-5;

/// How a product's weights are kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kept {
    F32,
    /// In 16 bits: F16 or BF16.
    Half(Precision),
    /// With a factor for each of an input's values.
    Int8 {
        smooth: Vec<f32>,
    },
}

impl Kept {
    pub(super) fn precision(&self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Half(precision) => *precision,
            Self::Int8 { .. } => Precision::Int8,
        }
    }
}

/// How all products of a model are kept, layer by layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) layers: Vec<[Kept; LINEARS]>,
}

impl Recipe {
    /// All products in F32.
    fn plain(model: &Inner) -> Self {
        Self { layers: vec![[const { Kept::F32 }; LINEARS]; model.config.layers] }
    }

    /// What the folder says: of one that was quantised the type of each product, of others F32.
    pub(super) fn stored(model: &Inner) -> Result<Self> {
        let mut recipe = Self::plain(model);
        if !model.tensors.quantised() {
            return Ok(recipe);
        }
        let shape = LayerShape::new(&model.config);
        for (layer, kept) in recipe.layers.iter_mut().enumerate() {
            let mut known = [false; LINEARS];
            for (tensor, of) in shape.layer() {
                let [_, depth] = of[..] else { continue };
                let (i, found) = (linear_of(tensor), shape.kept(model, layer, tensor, depth)?);
                if std::mem::replace(&mut known[i], true) && kept[i] != found {
                    let name = shape.name(model, layer, tensor);
                    let what =
                        "not of the type and with the factors of the query's: they are one product";
                    return Err(model.tensors.wrong(&name, what));
                }
                kept[i] = found;
            }
        }
        Ok(recipe)
    }

    /// All products at one precision; INT8 is calibrated on texts of ours.
    pub(super) fn new(model: &Model, precision: Precision) -> Result<Self> {
        let mut recipe = Self::plain(&model.inner);
        match precision {
            Precision::F32 => Ok(recipe),
            Precision::F16 | Precision::Bf16 => {
                let kept = recipe.layers.iter_mut().flatten();
                kept.for_each(|kept| *kept = Kept::Half(precision));
                Ok(recipe)
            }
            Precision::Int8 => {
                let mut layers = Vec::new();
                calibrate(model, &samples::sequences(model, samples::TEXTS), |_, linears| {
                    layers.push(linears.map(|linear| Kept::Int8 { smooth: linear.search().0 }));
                })?;
                Ok(Self { layers })
            }
        }
    }
}

/// A product under calibration.
pub(super) struct Linear {
    /// Rows of `depth` values.
    pub(super) inputs: Vec<f32>,
    /// Rows `[n][k]`.
    pub(super) weights: Vec<f32>,
    pub(super) depth: usize,
}

impl Linear {
    /// The best factors for INT8, and how far the result is off with them: the root of the mean square, relative.
    pub(super) fn search(&self) -> (Vec<f32>, f64) {
        let want = self.product(Precision::F32, &[]);
        let tried = ALPHAS.into_iter().map(|alpha| {
            let smooth = self.factors(alpha);
            let off = off(&want, &self.product(Precision::Int8, &smooth));
            (smooth, off)
        });
        tried.min_by(|(_, a), (_, b)| a.total_cmp(b)).expect("exponents are tried")
    }

    /// How far the result is off at a precision.
    pub(super) fn loss(&self, precision: Precision, smooth: &[f32]) -> f64 {
        off(&self.product(Precision::F32, &[]), &self.product(precision, smooth))
    }

    fn product(&self, precision: Precision, smooth: &[f32]) -> Vec<f32> {
        product(&self.inputs, &self.weights, self.depth, precision, smooth)
    }

    fn factors(&self, alpha: f64) -> Vec<f32> {
        if alpha == 0.0 {
            return vec![1.0; self.depth];
        }
        let sizes = |rows: &[f32]| {
            let mut most = vec![SIZE_MIN; self.depth];
            for row in rows.chunks_exact(self.depth) {
                most.iter_mut().zip(row).for_each(|(most, x)| *most = most.max(x.abs()));
            }
            most
        };
        let (x, w) = (sizes(&self.inputs), sizes(&self.weights));
        let factor = |(x, w): (&f32, &f32)| {
            let factor = f64::from(*w).powf(1.0 - alpha) / f64::from(*x).powf(alpha);
            half::bf16::from_f64(factor).to_f32()
        };
        x.iter().zip(&w).map(factor).collect()
    }
}

/// How far a result is off: the root of the mean square, relative.
fn off(want: &[f32], found: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let all: f64 = want.iter().map(|x| square(*x)).sum();
    let off: f64 = want.iter().zip(found).map(|(want, found)| square(want - found)).sum();
    (off / all.max(f64::MIN_POSITIVE)).sqrt()
}

/// Runs a model in F32 over sequences on the processor, and hands over each layer's products with what they read.
pub(super) fn calibrate(
    model: &Model,
    sequences: &[Vec<u32>],
    mut layer: impl FnMut(usize, [Linear; LINEARS]),
) -> Result<()> {
    let config = &model.inner.config;
    let shape = LayerShape::new(config);
    let recipe = Recipe::new(model, Precision::F32)?;
    let device = Device::cpu();
    let weights = shape.weights(&model.inner, &recipe, &device)?;
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let words: Vec<usize> = weights.iter().map(crate::device::Weights::words).collect();
    let recorded = record(config, &recipe, &words, (tokens, sequences.len()));
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
    queue.attach(&weights)?;
    queue.alloc(&recorded.memory.buffers[weights.len()..])?;
    let mut head = Vec::new();
    write_head(sequences, &recorded.grids, &mut head);
    let mut run = Run { queue, recorded, tokens };
    run.steps(0..1, &head)?;
    for i in 0..config.layers {
        let inputs = run.recorded.inputs;
        let first = run.read(inputs[0])?;
        let steps = 1 + i * LAYER_STEPS..1 + (i + 1) * LAYER_STEPS;
        run.steps(steps, &head)?;
        let read = [first, run.read(inputs[1])?, run.read(inputs[2])?, run.read(inputs[3])?];
        let mut matrices: [Vec<f32>; LINEARS] = Default::default();
        for (name, of) in shape.layer() {
            if of.len() == 2 {
                matrices[linear_of(name)].extend(shape.tensor(&model.inner, i, name, &of)?);
            }
        }
        let mut parts = read.into_iter().zip(matrices).zip(shape.linears());
        layer(
            i,
            std::array::from_fn(|_| {
                let ((inputs, weights), (_, depth)) = parts.next().expect("four products");
                Linear { inputs, weights, depth }
            }),
        );
    }
    Ok(())
}

/// A plan that runs in parts.
struct Run {
    queue: Box<dyn Queue>,
    recorded: Recorded,
    tokens: usize,
}

impl Run {
    fn steps(&mut self, steps: std::ops::Range<usize>, head: &[u32]) -> Result<()> {
        let mut plan = self.recorded.plan.clone();
        (plan.steps, plan.output) = (plan.steps[steps].to_vec(), None);
        let program: ProgramId = self.queue.compile(&plan, &self.recorded.memory)?;
        self.queue.submit(program, head, Vec::new())?;
        self.queue.poll().map(|_| ())
    }

    /// A buffer's rows of so many values.
    fn read(&mut self, (buffer, values): (BufId, usize)) -> Result<Vec<f32>> {
        let mut words = vec![0; self.tokens * values];
        self.queue.read(buffer, 0, &mut words)?;
        Ok(bytemuck::allocation::cast_vec(words))
    }
}
