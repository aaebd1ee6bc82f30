//! The real MiniLM as a stream, where its folder is given: each vector is that of a call, bit for bit.

use super::{Answers, assert_same, cuda_host, keep};
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use pelton::pipeline::texts::{TextPipeline, Texts};
use pelton::{Device, LaneOptions, Options};
use std::time::Duration;

/// Texts of every length up to one that is cut off.
fn texts() -> Vec<String> {
    let words =
        ["a", "fast", "jet", "turns", "the", "Wasserrad", "水車", "naïve", "!", "unwinnable"];
    let lengths = [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 300];
    let text = |n: usize| (0..n).map(|i| words[(i * i + n) % 10]).collect::<Vec<_>>().join(" ");
    lengths.into_iter().map(text).collect()
}

fn streams_what_a_call_gives(device: &Device, test: &str, most: usize, precision: Precision) {
    let Some(folder) = std::env::var_os("PELTON_MINILM") else {
        return cuda_host::skip(test, "PELTON_MINILM names no folder of all-MiniLM-L6-v2");
    };
    let model = Model::load(folder).expect("the model loads");
    let texts = &texts()[..most.min(13)];
    let encoder = EncoderOptions {
        batch_tokens: 512,
        precision: Some(precision),
        ..EncoderOptions::default()
    };
    let mut called = Encoder::new(&model, device, encoder.clone()).expect("it fits");
    let mut one = |text: &String| Ok(called.embed(&[text]).expect("a text").values().to_vec());
    let want: Answers = (0..).zip(texts.iter().map(&mut one)).collect();
    // Small lanes, a deadline that bounds batches, texts beside token ids: batches of many kinds.
    let options = Options {
        latency_target: Some(Duration::from_millis(20)),
        lane: LaneOptions { events: 16, ..LaneOptions::default() },
        ..Options::on(device.clone())
    };
    let asked = Texts { encoder, ..Texts::new(&model) };
    let pipeline = TextPipeline::start(asked, options).expect("it fits");
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (mut lane, model) = (pipeline.lane().expect("a lane"), &model);
            scope.spawn(move || {
                for (id, text) in (0..).zip(texts).skip(part).step_by(2) {
                    match id % 3 {
                        0 => lane.push_tokens(id, &model.tokens(text)).expect("it waits"),
                        _ => lane.push(id, text).expect("it waits"),
                    }
                }
            });
        }
        let mut answers = Answers::new();
        pipeline.drain(|vectors| keep(&mut answers, &vectors)).expect("it works");
        assert_eq!(answers.len(), texts.len());
        assert_same(&answers, &want, "the real model");
    });
}

#[test]
fn the_real_model_streams_what_a_call_gives() {
    let test = "the_real_model_streams_what_a_call_gives";
    for precision in [Precision::F32, Precision::F16, Precision::Bf16, Precision::Int8] {
        streams_what_a_call_gives(&Device::cpu(), test, 13, precision);
    }
}

#[test]
fn wgsl_streams_of_the_real_model_what_a_call_gives() {
    let test = "wgsl_streams_of_the_real_model_what_a_call_gives";
    match Device::named("wgpu:llvmpipe") {
        Ok(gpu) => streams_what_a_call_gives(&gpu, test, 7, Precision::F32),
        Err(error) => cuda_host::skip(test, &error.to_string().replace('\n', " ")),
    }
}
