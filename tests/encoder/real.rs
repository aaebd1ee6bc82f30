//! The real MiniLM, where its folder is given, against embeddings computed in `f64` by the reference library.
//!
//! `PELTON_MINILM` names the folder; `test.sh` sets it where `tests/encoder/fetch.sh` has brought the files. The
//! expected values lie in `minilm/reference.json` under `PELTON_DATA`.

use super::cuda_host::skip;
use super::{Device, Encoder, EncoderOptions, OFF_MAX};
use pelton::model::{Model, Precision};
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

/// The model and what is expected of texts of up to so many tokens, where they are given.
fn load(test: &str, tokens_max: usize) -> Option<(Model, Vec<Item>)> {
    let Some(folder) = std::env::var_os("PELTON_MINILM") else {
        skip(test, "PELTON_MINILM names no folder of all-MiniLM-L6-v2");
        return None;
    };
    let Some(mut items) = items() else {
        skip(test, "PELTON_DATA holds no minilm/reference.json");
        return None;
    };
    items.retain(|item| item.ids.len() <= tokens_max);
    assert!(items.len() >= 4, "{} items", items.len());
    Some((Model::load(folder).expect("the model loads"), items))
}

/// Texts of up to so many tokens: their ids exactly, their embeddings within the gate, together and alone.
pub(crate) fn check(device: &Device, test: &str, tokens_max: usize) {
    let Some((model, items)) = load(test, tokens_max) else { return };
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

/// Texts of up to so many tokens at low precision: how far their directions are off, at most and on average.
pub(crate) fn check_low(
    device: &Device,
    test: &str,
    tokens_max: usize,
    (precision, most, average): (Precision, f64, f64),
) {
    let Some((model, items)) = load(test, tokens_max) else { return };
    let options = EncoderOptions { precision: Some(precision), ..EncoderOptions::default() };
    let mut encoder = Encoder::new(&model, device, options).expect("the model fits");
    let texts: Vec<&str> = items.iter().map(|item| &item.text[..]).collect();
    let found = encoder.embed(&texts).expect("texts are embedded");
    let gaps: Vec<f64> =
        found.rows().zip(&items).map(|(found, item)| gap(found, &item.embedding)).collect();
    let worst = gaps.iter().fold(0.0, |worst: f64, gap| worst.max(*gap));
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let name = &device.caps().name;
    println!("{name} {precision}: {} texts, gap {worst:.2e} at most, {mean:.2e}", items.len());
    assert!(worst <= most && mean <= average, "{precision}: {gaps:?}");
}

/// One minus the cosine of two vectors' angle.
pub(crate) fn gap(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
