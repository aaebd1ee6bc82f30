//! Encoders at low precision: how far off they are, the same bytes on every tier, and no neighbours there either.

use super::model::{SHAPES, Shape, TOKENS_MAX, files, sequences, tensors};
use super::{borrowed, knows_no_neighbours_at, open, open_at, real, small, spec};
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use pelton::{Device, ops};
use std::process::Command;

/// Precisions under test, and how far off their directions may be: at most, and on average. Of the real model.
const GATES: [(Precision, f64, f64); 2] =
    [(Precision::Bf16, 5e-4, 5e-4), (Precision::Int8, 1e-2, 2.5e-3)];

/// Random models of some shapes against the spec, which rounds nothing.
fn is_about_what_the_spec_says(device: &Device, shapes: &[Shape], more: usize) {
    for (seed, shape) in (1..).zip(shapes) {
        let model = Model::from_files(files(shape, seed)).expect("a good folder");
        let ids = sequences(&[1, 2, 16, 33, TOKENS_MAX], more, seed);
        let tensors = tensors(shape, seed);
        let want: Vec<Vec<f32>> = ids
            .iter()
            .map(|ids| spec::embed(shape, &tensors, ids).iter().map(|x| *x as f32).collect())
            .collect();
        for (precision, most, _) in GATES {
            let mut encoder = open_at(&model, device, TOKENS_MAX + 20, precision);
            let found = encoder.embed_tokens(&borrowed(&ids)).expect("ids in range");
            let mut worst: f64 = 0.0;
            for (found, want) in found.rows().zip(&want) {
                worst = worst.max(real::gap(found, want));
            }
            println!("{precision} {shape:?}: gap {worst:.2e}");
            // Random weights have no outliers, so the gate is narrower than the real model's.
            assert!(worst <= most / 10.0, "{precision} {shape:?}: {worst:e}");
            let exact = open(&model, device, 0).embed_tokens(&borrowed(&ids)).expect("in range");
            assert_ne!(exact, found, "low precision is not what F32 is");
        }
    }
}

#[test]
fn the_processor_is_about_what_the_spec_says() {
    is_about_what_the_spec_says(&Device::cpu(), &SHAPES, 20);
}

#[test]
fn the_processor_knows_no_neighbours_at_low_precision() {
    let (model, ids) = small();
    for (precision, ..) in GATES {
        let batches = [TOKENS_MAX, 131, 8192];
        knows_no_neighbours_at(&Device::cpu(), (&model, precision), &ids, &batches);
    }
}

#[test]
fn workers_have_the_precision_of_the_first() {
    let (model, ids) = small();
    let mut first = open_at(&model, &Device::cpu(), 512, Precision::Int8);
    let mut worker = first.worker().expect("it fits");
    let ids = borrowed(&ids);
    assert_eq!(first.embed_tokens(&ids), worker.embed_tokens(&ids));
}

#[test]
fn the_real_model_is_within_its_gates_at_low_precision() {
    let test = "the_real_model_is_within_its_gates_at_low_precision";
    for gate in GATES {
        real::check_low(&Device::cpu(), test, usize::MAX, gate);
    }
}

/// What runs in a process of its own, since a tier is chosen once: prints the bits of INT8 embeddings, or the error.
#[test]
fn child_prints_embeddings() {
    if std::env::var_os("PELTON_CPU_TIER").is_none() {
        return;
    }
    let (model, ids) = small();
    let options = EncoderOptions { precision: Precision::Int8, ..EncoderOptions::default() };
    match Encoder::new(&model, &Device::cpu(), options) {
        Ok(mut encoder) => {
            let found = encoder.embed_tokens(&borrowed(&ids)).expect("ids in range");
            let bits: Vec<u32> = found.values().iter().map(|x| x.to_bits()).collect();
            println!("tier {}: {bits:x?}", ops::low::tier().expect("it is there"));
        }
        Err(error) => println!("tier none: {error}"),
    }
}

/// What the child prints behind `tier`.
fn on_tier(tier: &str) -> String {
    let out = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "low::child_prints_embeddings", "--nocapture"])
        .env("PELTON_CPU_TIER", tier)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = text.split("tier ").nth(1).and_then(|line| line.lines().next());
    found.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn int8_is_the_same_on_every_tier() {
    let (best, plain) = (ops::low::tier().expect("one is there"), on_tier("plain"));
    let (found, want) = (on_tier(best), plain.strip_prefix("plain: ").expect("as asked for"));
    assert!(want.len() > 1000);
    assert_eq!(found.strip_prefix(&format!("{best}: ")), Some(want));
}

#[test]
fn a_tier_that_is_not_there_is_an_error() {
    let found = on_tier("magic");
    let says =
        "none: invalid: PELTON_CPU_TIER: \"magic\" is none of what this processor has: plain";
    assert!(found.starts_with(says), "{found}");
}
