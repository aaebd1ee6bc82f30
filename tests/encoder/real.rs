//! The real MiniLM, where its folder is given, against embeddings computed in `f64` by the reference library.
//!
//! `PELTON_MINILM` names the folder; `test.sh` sets it where `tests/encoder/fetch.sh` has brought the files. The
//! expected values lie in `minilm/reference.json` under `PELTON_DATA`.

use super::cuda_host::skip;
use super::{Device, Encoder, EncoderOptions, OFF_MAX};
use pelton::model::Model;
use serde_json::Value;
use std::path::PathBuf;

/// What was expected of a text.
struct Item {
    text: String,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

fn items() -> Option<Vec<Item>> {
    let path = PathBuf::from(std::env::var_os("PELTON_DATA")?).join("minilm/reference.json");
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).expect("it is JSON");
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("numbers")).collect()
    };
    let item = |item: &Value| Item {
        text: item["text"].as_str().expect("a text").to_owned(),
        ids: numbers(&item["token_ids"]).iter().map(|&id| id as u32).collect(),
        embedding: numbers(&item["embedding"]).iter().map(|&x| x as f32).collect(),
    };
    Some(value["items"].as_array().expect("a list").iter().map(item).collect())
}

/// Texts of up to so many tokens: their ids exactly, their embeddings within the gate, together and alone.
pub(crate) fn check(device: &Device, test: &str, tokens_max: usize) {
    let Some(folder) = std::env::var_os("PELTON_MINILM") else {
        return skip(test, "PELTON_MINILM names no folder of all-MiniLM-L6-v2");
    };
    let Some(mut items) = items() else {
        return skip(test, "PELTON_DATA holds no minilm/reference.json");
    };
    items.retain(|item| item.ids.len() <= tokens_max);
    assert!(items.len() >= 4, "{} items", items.len());
    let model = Model::load(folder).expect("the model loads");
    assert_eq!((model.dim(), model.tokens_max()), (384, 256));
    let mut encoder =
        Encoder::new(&model, device, EncoderOptions::default()).expect("the model fits");
    assert!(encoder.steps() <= 32, "{} dispatches", encoder.steps());
    let texts: Vec<&str> = items.iter().map(|item| &item.text[..]).collect();
    for (text, item) in texts.iter().zip(&items) {
        assert_eq!(model.tokens(text), item.ids, "{text:?}");
    }
    let found = encoder.embed(&texts).expect("texts are embedded");
    let mut worst: f64 = 0.0;
    for (found, item) in found.rows().zip(&items) {
        for (found, want) in found.iter().zip(&item.embedding) {
            worst = worst.max((f64::from(*found) - f64::from(*want)).abs());
        }
    }
    println!("{}: {} texts, largest error {worst:.2e}", device.caps().name, items.len());
    assert!(worst <= OFF_MAX, "{worst:e}");
    let alone = encoder.embed(&texts[..1]).expect("texts are embedded");
    assert_eq!(alone[0], found[0], "alone as among others");
}
