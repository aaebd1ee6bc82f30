//! MiniLM at low precision beside what its users would run: ONNX Runtime in FP32 and INT8, PyTorch in BF16, candle.
//!
//! Rivals in Python are processes that wait to be asked for so many passes and say how much CPU time one took, so that
//! all take turns. Before anything is timed, every result's direction is compared with ours in F32.

use crate::candle::Rival;
use crate::measure::{Line, median, timed};
use crate::python::{package, python};
use crate::{ROUNDS, folder, ids, runs};
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use pelton::{Device, ops};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Rivals in Python, as `peers.py` knows them, and the type that they multiply in.
const PYTHON: [(&str, &str, Precision); 3] = [
    ("onnx-fp32", "ONNX Runtime 1.23.2 FP32", Precision::F32),
    ("onnx-int8", "ONNX Runtime 1.23.2 INT8 (dynamic, per channel)", Precision::Int8),
    ("torch-bf16", "PyTorch 2.15.0 BF16", Precision::Bf16),
];
/// Largest `1 - cosine` of a rival's first vector that counts as the same model.
const GAP_MAX: f64 = 0.1;

/// Seconds of CPU time for so many passes.
type Passes = Box<dyn FnMut(usize) -> f64>;

struct Peer {
    name: &'static str,
    precision: Precision,
    first: Vec<f32>,
    passes: Passes,
    times: Vec<f64>,
}

/// A rival's process; it ends when its input does.
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(python: &std::path::Path, engine: &str, (batch, length): (usize, usize)) -> Option<(Self, Vec<f32>)> {
        let mut child = Command::new(python)
            .arg(package().join("peers.py"))
            .args([engine, &batch.to_string(), &length.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take()?));
        let mut worker = Self { child, input, output };
        let first = serde_json::from_str(&worker.line()?).ok()?;
        Some((worker, first))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).ok()?;
        (read > 0).then_some(line)
    }

    fn seconds(&mut self, passes: usize) -> f64 {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{passes}").expect("it listens");
        self.line().and_then(|line| line.trim().parse().ok()).expect("it answers with a number")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

fn peers(ids: &[u32], shape: (usize, usize)) -> Vec<Peer> {
    let candle = Rival::load(&folder());
    let own = ids.to_vec();
    let first = candle.embed(&own, shape.1)[..384].to_vec();
    let passes: Passes = Box::new(move |n| timed(|| (0..n).for_each(|_| _ = candle.embed(&own, shape.1))).1);
    let mut all =
        vec![Peer { name: "candle 0.11.1 F32", precision: Precision::F32, first, passes, times: Vec::new() }];
    let python = python().unwrap_or_else(|error| panic!("the environment of the rivals: {error}"));
    for (engine, name, precision) in PYTHON {
        match Worker::start(&python, engine, shape) {
            Some((mut worker, first)) => {
                let passes: Passes = Box::new(move |n| worker.seconds(n));
                all.push(Peer { name, precision, first, passes, times: Vec::new() });
            }
            None => panic!("{engine} does not run"),
        }
    }
    all
}

fn gap(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// What is measured: so many texts of so many tokens at a precision.
pub struct Row {
    pub id: &'static str,
    pub precision: Precision,
    pub shape: (usize, usize),
    /// What the best rival's time is to be, by ours, on a core with AMX; none where there is no such goal.
    pub bound: Option<f64>,
}

fn bits(precision: Precision) -> u32 {
    match precision {
        Precision::F32 => 32,
        Precision::F16 | Precision::Bf16 => 16,
        Precision::Int8 => 8,
    }
}

/// Measures a row on one core, in milliseconds of its time. Rivals of fewer bits than ours are shown and do not count;
/// none is forced to instructions older than the processor has, whatever we are.
pub fn t3(&Row { id, precision, shape, bound }: &Row) {
    let tier = ops::low::tier().unwrap_or_else(|error| panic!("{error}"));
    assert!(!id.contains("avx2") || tier == "avx2", "PELTON_CPU_TIER=avx2 is missing, as bench.sh sets it");
    let model = Model::load(folder()).expect("the model loads");
    let open = |precision| {
        let options = EncoderOptions { precision: Some(precision), ..EncoderOptions::default() };
        Encoder::new(&model, &Device::cpu(), options).expect("it fits")
    };
    let ids = ids(shape.0, shape.1);
    let sequences: Vec<&[u32]> = ids.chunks(shape.1).collect();
    let exact = open(Precision::F32).embed_tokens(&sequences[..1]).expect("in range");
    let mut encoder = open(precision);
    let first = encoder.embed_tokens(&sequences[..1]).expect("in range");
    let mut peers = peers(&ids, shape);
    let mut why = format!("MiniLM, {} texts of {} tokens, one core, ", shape.0, shape.1);
    why += &format!("tier {tier}, 1 - cosine {:.0e}", gap(&exact[0], &first[0]));
    let mut own = |n| timed(|| (0..n).for_each(|_| _ = encoder.embed_tokens(&sequences).expect("in range"))).1;
    own(1);
    let own_runs = runs(own(1));
    let mut peer_runs = Vec::new();
    for peer in &mut peers {
        assert!(gap(&exact[0], &peer.first) < GAP_MAX, "{}: another model", peer.name);
        (peer.passes)(1);
        peer_runs.push(runs((peer.passes)(1)));
    }
    let mut ours = Vec::new();
    for round in 0..ROUNDS {
        ours.push(own(own_runs) / own_runs as f64 * 1e3);
        let mut text = format!("{id} {round}: pelton {:.2} ms", ours[round]);
        for (peer, &runs) in peers.iter_mut().zip(&peer_runs) {
            peer.times.push((peer.passes)(runs) / runs as f64 * 1e3);
            text += &format!(", {} {:.2}", peer.name, peer.times[round]);
        }
        eprintln!("{text}");
    }
    for peer in &peers {
        why += &format!("; {} {:.2} ms, {:.0e}", peer.name, median(&peer.times), gap(&exact[0], &peer.first));
    }
    let counts = peers.iter().filter(|peer| bits(peer.precision) >= bits(precision));
    let best = counts.min_by(|a, b| median(&a.times).total_cmp(&median(&b.times))).expect("candle is there");
    let ratios: Vec<f64> = ours.iter().zip(&best.times).map(|(own, peer)| peer / own).collect();
    let ratio = median(&ratios);
    let amx = tier == "amx";
    if bound.is_some() && !amx {
        why += "; the bound is for a core with AMX, which this one has not";
    }
    Line {
        id,
        value: median(&ours),
        unit: "CPU ms",
        peer: Some((best.name, median(&best.times))),
        ratio: Some(ratio),
        bound: bound.map(|bound| format!("{bound} times as fast as the best peer, with AMX")),
        ok: bound.filter(|_| amx).map(|bound| ratio >= bound),
        why,
        rounds: ROUNDS,
    }
    .print();
}
