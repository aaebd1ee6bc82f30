//! Encoders beside their rivals, one JSON line for each claim, and the tokenizer beside its oracle.
//!
//! `encoder T3-f32-1x32` and `encoder T3-f32-32x128` time MiniLM on one core against candle, in turns; results are
//! compared before anything is timed. The other rows (`ROWS`) do the same at low precision, and with our instructions
//! held down to AVX2, against candle, ONNX Runtime and PyTorch (`low.rs`). `encoder tokens N [SEED]` compares token ids
//! with the library `tokenizers`, of the model and of the tests' small tokenizers: every character of Unicode alone and
//! between letters, then N random texts. `encoder record` writes the texts and ids that
//! `tests/encoders/wordpiece.rs` reads.
//! PELTON_MINILM names the model's folder.

mod candle;
mod low;
#[path = "../../windows/src/measure.rs"]
#[allow(dead_code, reason = "shared with the other peers")]
mod measure;
#[path = "../../../../tests/encoder/model.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod model;
#[path = "../../windows/src/python.rs"]
mod python;
mod tokens;

use candle::Rival;
use low::Row;
use measure::{Line, median, timed};
use pelton::Device;
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use std::path::PathBuf;

/// Rounds, in each of which both have their turn.
const ROUNDS: usize = 11;
/// CPU seconds of a turn, about.
const TURN_SECONDS: f64 = 0.15;

/// One text of 32 tokens, and 32 texts of 128.
const ONE: (usize, usize) = (1, 32);
const MANY: (usize, usize) = (32, 128);

/// What `low.rs` measures.
const ROWS: [Row; 14] = [
    row("T3-f16-1x32", Precision::F16, ONE, None),
    row("T3-f16-32x128", Precision::F16, MANY, None),
    row("T3-bf16-1x32", Precision::Bf16, ONE, Some(4.0)),
    row("T3-bf16-32x128", Precision::Bf16, MANY, Some(2.5)),
    row("T3-int8-1x32", Precision::Int8, ONE, Some(2.0)),
    row("T3-int8-32x128", Precision::Int8, MANY, Some(3.0)),
    row("T3-avx2-f32-1x32", Precision::F32, ONE, None),
    row("T3-avx2-f32-32x128", Precision::F32, MANY, None),
    row("T3-avx2-f16-1x32", Precision::F16, ONE, None),
    row("T3-avx2-f16-32x128", Precision::F16, MANY, None),
    row("T3-avx2-bf16-1x32", Precision::Bf16, ONE, None),
    row("T3-avx2-bf16-32x128", Precision::Bf16, MANY, None),
    row("T3-avx2-int8-1x32", Precision::Int8, ONE, None),
    row("T3-avx2-int8-32x128", Precision::Int8, MANY, None),
];

const fn row(id: &'static str, precision: Precision, shape: (usize, usize), bound: Option<f64>) -> Row {
    Row { id, precision, shape, bound }
}

/// Token ids of so many texts, all of one length.
fn ids(batch: usize, length: usize) -> Vec<u32> {
    (0..batch * length).map(|i| 1000 + (i * 37 % 20_000) as u32).collect()
}

fn folder() -> PathBuf {
    let folder = std::env::var_os("PELTON_MINILM").map(PathBuf::from);
    folder.expect("PELTON_MINILM names the folder of all-MiniLM-L6-v2")
}

/// So many sequences of so many tokens, on one core, in milliseconds of its time.
fn t3(id: &'static str, (batch, length): (usize, usize)) {
    let folder = folder();
    let model = Model::load(&folder).expect("the model loads");
    let options = EncoderOptions::default();
    let mut encoder = Encoder::new(&model, &Device::cpu(), options).expect("it fits");
    let rival = Rival::load(&folder);
    let ids = ids(batch, length);
    let sequences: Vec<&[u32]> = ids.chunks(length).collect();
    let (found, theirs) = (encoder.embed_tokens(&sequences).expect("in range"), rival.embed(&ids, length));
    let off = found.values().iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "the results differ by {off:e}");
    let mut own = || timed(|| encoder.embed_tokens(&sequences).expect("in range")).1;
    let peer = || timed(|| rival.embed(&ids, length)).1;
    let (own_runs, peer_runs) = (runs(own()), runs(peer()));
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push((0..own_runs).map(|_| own()).sum::<f64>() / own_runs as f64 * 1e3);
        others.push((0..peer_runs).map(|_| peer()).sum::<f64>() / peer_runs as f64 * 1e3);
        eprintln!("{id} {round}: pelton {:.2} ms, candle {:.2} ms", ours[round], others[round]);
    }
    let ratios: Vec<f64> = ours.iter().zip(&others).map(|(own, peer)| peer / own).collect();
    let ratio = median(&ratios);
    Line {
        id,
        value: median(&ours),
        unit: "CPU ms",
        peer: Some(("candle 0.11.1 with gemm x86-v4", median(&others))),
        ratio: Some(ratio),
        bound: Some("as fast as the peer".to_owned()),
        ok: Some(ratio >= 1.0),
        why: format!("MiniLM F32, {batch} texts of {length} tokens, one core; results within {off:.0e}"),
        rounds: ROUNDS,
    }
    .print();
}

fn runs(seconds: f64) -> usize {
    ((TURN_SECONDS / seconds) as usize).clamp(1, 100)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, or: u64| args.get(i).map_or(or, |text| text.parse().expect("a number"));
    match args.first().map_or("", String::as_str) {
        "T3-f32-1x32" => t3("T3-f32-1x32", ONE),
        "T3-f32-32x128" => t3("T3-f32-32x128", MANY),
        "tokens" => tokens::compare(number(1, 100_000), number(2, 1)),
        "record" => tokens::record(),
        id => match ROWS.iter().find(|row| row.id == id) {
            Some(row) => low::t3(row),
            None => eprintln!("encoder T3-[avx2-]{{f32,f16,bf16,int8}}-{{1x32,32x128}} | tokens N [SEED] | record"),
        },
    }
}
