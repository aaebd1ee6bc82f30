//! Small models of the families whose results `families.py` had from the reference library, in `f64`.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

use super::model;
use pelton::base::rng::SplitMix;
use serde_json::Value;
use std::collections::BTreeMap;

/// A model, sequences of ids, and what it makes of them: vectors of length 1, or scores.
pub struct Recorded {
    pub name: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub ids: Vec<Vec<u32>>,
    pub results: Vec<Vec<f64>>,
}

impl Recorded {
    pub fn classifies(&self) -> bool {
        self.name.ends_with("ForSequenceClassification")
    }
}

/// What `families.py` draws, in the order of the tensors' names.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "24 bits")]
fn tensors(shapes: &Value, seed: u64) -> model::Tensors {
    let mut rng = SplitMix::new(seed);
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(shapes.clone()).expect("names and shapes");
    let filled = shapes.into_iter().map(|(name, shape)| {
        let norm = name.contains("LayerNorm.weight") || name.contains("layer_norm.weight");
        let middle = if norm { 1.0 } else { 0.0 };
        let spread = if shape.len() == 2 { 0.25 } else { 0.125 };
        let mut value = || {
            let unit = (rng.next_u64() >> 40) as f64 / f64::from(1 << 23) - 1.0;
            (middle + spread * unit) as f32
        };
        let values = (0..shape.iter().product()).map(|_| value()).collect();
        (name, (shape, values))
    });
    filled.collect()
}

/// All of them.
pub fn recorded() -> Vec<Recorded> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/encoder/families.json");
    let all = std::fs::read(path).expect("it is there");
    let all: Vec<Value> = serde_json::from_slice(&all).expect("it is JSON");
    let one = |item: Value| {
        let name = item["name"].as_str().expect("a name").to_owned();
        let tensors = tensors(&item["tensors"], item["seed"].as_u64().expect("a seed"));
        let mut files = model::files(&model::SMALL, 1);
        // As many tokens as the configuration says.
        files.remove("sentence_bert_config.json");
        if name.ends_with("ForSequenceClassification") {
            files.retain(|name, _| name == "tokenizer.json");
        }
        files.insert("config.json".into(), item["config"].to_string().into_bytes());
        files.insert("model.safetensors".into(), model::safetensors(&tensors));
        let ids = serde_json::from_value(item["ids"].clone()).expect("ids");
        let results = serde_json::from_value(item["results"].clone()).expect("numbers");
        Recorded { name, files, ids, results }
    };
    all.into_iter().map(one).collect()
}
