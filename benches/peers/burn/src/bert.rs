//! MiniLM as a user of burn would write it for speed: one product for query, key and value, burn's own layer norm, GELU
//! and attention, mean pooling, length 1.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::SafeTensors;
use std::path::Path;

const HIDDEN: usize = 384;
const HEADS: usize = 12;
const HEAD: usize = HIDDEN / HEADS;
const LAYERS: usize = 6;
const EPSILON: f64 = 1e-12;

/// How attention is computed: both are burn's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attention {
    /// `burn::tensor::module::attention`.
    Module,
    /// Two products with a softmax between them.
    Products,
}

struct Product {
    /// Inputs by outputs.
    weight: Tensor<2>,
    bias: Tensor<1>,
}

struct Norm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
}

struct Layer {
    all: Product,
    out: Product,
    first: Norm,
    wide: Product,
    narrow: Product,
    second: Norm,
}

pub struct Rival {
    device: Device,
    words: Tensor<2>,
    /// A position's vector and that of the only kind of token, added once and for all.
    places: Tensor<2>,
    norm: Norm,
    layers: Vec<Layer>,
}

/// The tensors of a file.
struct Weights<'a> {
    file: SafeTensors<'a>,
    device: &'a Device,
}

impl Weights<'_> {
    fn values(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let tensor = self.file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(tensor.dtype(), safetensors::Dtype::F32, "{name}");
        let (words, _) = tensor.data().as_chunks();
        (words.iter().map(|word| f32::from_le_bytes(*word)).collect(), tensor.shape().to_vec())
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (values, shape) = self.values(name);
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }

    /// Products side by side, as one; the file has them outputs by inputs.
    fn product(&self, names: &[String]) -> Product {
        let (mut values, mut bias) = (Vec::new(), Vec::new());
        let mut depth = 0;
        for name in names {
            let (matrix, shape) = self.values(&format!("{name}.weight"));
            values.extend(matrix);
            bias.extend(self.values(&format!("{name}.bias")).0);
            depth = shape[1];
        }
        let columns = bias.len();
        let turned = (0..depth * columns).map(|i| values[i % columns * depth + i / columns]).collect::<Vec<f32>>();
        let weight = Tensor::from_data(TensorData::new(turned, [depth, columns]), self.device);
        Product { weight, bias: Tensor::from_data(TensorData::new(bias, [columns]), self.device) }
    }

    fn norm(&self, name: &str) -> Norm {
        Norm { gamma: self.tensor(&format!("{name}.weight")), beta: self.tensor(&format!("{name}.bias")) }
    }

    fn layer(&self, i: usize) -> Layer {
        let name = |part: &str| format!("encoder.layer.{i}.{part}");
        Layer {
            all: self.product(&["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")))),
            out: self.product(&[name("attention.output.dense")]),
            first: self.norm(&name("attention.output.LayerNorm")),
            wide: self.product(&[name("intermediate.dense")]),
            narrow: self.product(&[name("output.dense")]),
            second: self.norm(&name("output.LayerNorm")),
        }
    }
}

impl Product {
    fn of(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

impl Norm {
    fn of(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), EPSILON)
    }
}

impl Layer {
    fn of(&self, x: Tensor<2>, how: Attention) -> Tensor<2> {
        let tokens = x.dims()[0];
        let all = self.all.of(x.clone());
        // Heads by tokens by their values.
        let part = |i: usize| {
            let part = all.clone().narrow(1, i * HIDDEN, HIDDEN);
            part.reshape([1, tokens, HEADS, HEAD]).swap_dims(1, 2)
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let context = match how {
            Attention::Module => attention(query, key, value, None, None, Default::default()),
            Attention::Products => {
                let scale = (HEAD as f64).sqrt().recip();
                softmax(query.matmul(key.swap_dims(2, 3)) * scale, 3).matmul(value)
            }
        };
        let context = context.swap_dims(1, 2).reshape([tokens, HIDDEN]);
        let x = self.first.of(self.out.of(context) + x);
        self.second.of(self.narrow.of(gelu(self.wide.of(x.clone()))) + x)
    }
}

impl Rival {
    pub fn load(folder: &Path, device: Device) -> Self {
        let bytes = std::fs::read(folder.join("model.safetensors")).expect("it can be read");
        let file = SafeTensors::deserialize(&bytes).expect("it is safetensors");
        let weights = Weights { file, device: &device };
        let kind = weights.tensor::<2>("embeddings.token_type_embeddings.weight").narrow(0, 0, 1);
        let places = weights.tensor::<2>("embeddings.position_embeddings.weight") + kind;
        Self {
            words: weights.tensor("embeddings.word_embeddings.weight"),
            places,
            norm: weights.norm("embeddings.LayerNorm"),
            layers: (0..LAYERS).map(|i| weights.layer(i)).collect(),
            device,
        }
    }

    /// The embedding of one text's tokens, in host memory.
    pub fn embed(&self, ids: &[u32], how: Attention) -> Vec<f32> {
        let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        let tokens = ids.len();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [tokens]), &self.device);
        let x = self.words.clone().select(0, ids) + self.places.clone().narrow(0, 0, tokens);
        let x = self.layers.iter().fold(self.norm.of(x), |x, layer| layer.of(x, how));
        let mean = x.mean_dim(0);
        let length = mean.clone().square().sum_dim(1).sqrt();
        (mean / length).into_data().try_into_vec().expect("they are f32")
    }
}
