//! What an encoder computes, one token at a time in `f64`, from the tensors as a model's paper names them.
//!
//! Devlin et al. 2018 (BERT) over Vaswani et al. 2017; the norm is behind the residual.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

use super::model::{Shape, Tensors};

type Row = Vec<f64>;

struct Spec<'a> {
    shape: &'a Shape,
    tensors: &'a Tensors,
}

impl Spec<'_> {
    fn tensor(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn row(&self, name: &str, i: usize) -> Row {
        let all = self.tensor(name);
        let hidden = self.shape.hidden;
        all[i * hidden..][..hidden].iter().map(|&x| f64::from(x)).collect()
    }

    fn linear(&self, name: &str, x: &Row) -> Row {
        let (w, b) = (self.tensor(&format!("{name}.weight")), self.tensor(&format!("{name}.bias")));
        let rows = w.chunks(x.len()).zip(b);
        rows.map(|(w, b)| {
            f64::from(*b) + w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
        })
        .collect()
    }

    fn norm(&self, name: &str, x: &Row) -> Row {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let (g, b) = (self.row(&format!("{name}.weight"), 0), self.row(&format!("{name}.bias"), 0));
        let scaled = x.iter().map(|x| (x - mean) / (variance + 1e-12).sqrt());
        scaled.zip(g).zip(b).map(|((x, g), b)| x * g + b).collect()
    }

    fn act(&self, x: f64) -> f64 {
        match self.shape.act {
            "gelu" => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
            _ => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                0.5 * x * (1.0 + u.tanh())
            }
        }
    }

    fn attend(&self, name: &str, x: &[Row]) -> Vec<Row> {
        let [q, k, v] = ["query", "key", "value"].map(|part| {
            x.iter().map(|x| self.linear(&format!("{name}.{part}"), x)).collect::<Vec<_>>()
        });
        let size = self.shape.hidden / self.shape.heads;
        let one = |i: usize| {
            let mut out = vec![0.0; self.shape.hidden];
            for from in (0..self.shape.hidden).step_by(size) {
                let dot = |j: usize| (from..from + size).map(|d| q[i][d] * k[j][d]).sum::<f64>();
                let weights: Vec<f64> =
                    (0..x.len()).map(|j| (dot(j) / (size as f64).sqrt()).exp()).collect();
                let all: f64 = weights.iter().sum();
                for (j, weight) in weights.iter().enumerate() {
                    for d in from..from + size {
                        out[d] += weight / all * v[j][d];
                    }
                }
            }
            out
        };
        (0..x.len()).map(one).collect()
    }
}

fn add(a: &Row, b: &Row) -> Row {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The error function by its series; the arguments here are small enough.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut all) = (x, x);
    for k in 1..200 {
        term *= -x * x / f64::from(k);
        all += term / f64::from(2 * k + 1);
    }
    all * 2.0 / std::f64::consts::PI.sqrt()
}

/// The embedding of a sequence of token ids.
pub fn embed(shape: &Shape, tensors: &Tensors, ids: &[u32]) -> Row {
    let spec = Spec { shape, tensors };
    let embedded = ids.iter().enumerate().map(|(place, &id)| {
        let word = spec.row("embeddings.word_embeddings.weight", id as usize);
        let place = spec.row("embeddings.position_embeddings.weight", place);
        let kind = spec.row("embeddings.token_type_embeddings.weight", 0);
        spec.norm("embeddings.LayerNorm", &add(&add(&word, &place), &kind))
    });
    let mut x: Vec<Row> = embedded.collect();
    for layer in 0..shape.layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let attended = spec.attend(&name("attention.self"), &x);
        for (x, context) in x.iter_mut().zip(&attended) {
            let out = spec.linear(&name("attention.output.dense"), context);
            let y = spec.norm(&name("attention.output.LayerNorm"), &add(&out, x));
            let mut inner = spec.linear(&name("intermediate.dense"), &y);
            inner.iter_mut().for_each(|x| *x = spec.act(*x));
            let out = spec.linear(&name("output.dense"), &inner);
            *x = spec.norm(&name("output.LayerNorm"), &add(&out, &y));
        }
    }
    let mut pooled = x[0].clone();
    if shape.mean {
        pooled = x.iter().fold(vec![0.0; shape.hidden], |sum, x| add(&sum, x));
        pooled.iter_mut().for_each(|sum| *sum /= x.len() as f64);
    }
    if shape.unit {
        let length = pooled.iter().map(|x| x * x).sum::<f64>().sqrt();
        pooled.iter_mut().for_each(|x| *x /= length);
    }
    pooled
}
