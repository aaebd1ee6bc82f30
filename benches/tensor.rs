//! T5: products, attention and MiniLM on a CUDA card, beside PyTorch on the same card.
//!
//! Products and attention are timed as steps of a plan: the time of one with many steps, less that of one with few.
//! MiniLM goes from token ids in host memory to vectors in host memory. `PELTON_TORCH` names a Python that has PyTorch
//! for CUDA and transformers (`benches/peers/torch`), which takes turns with ours; without it there is no peer.
//! `PELTON_MINILM` names the model's folder.

use pelton::base::rng::SplitMix;
use pelton::device::{Queue, QueueOptions};
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use pelton::ops::attention::{ATTENTION, AttentionParams};
use pelton::ops::gemm::{Activation, GEMM, GemmParams, gemm_grid};
use pelton::ops::low::pack_halves;
use pelton::ops::tokens::{Grids, TILE_GRID, token_grid, write_head};
use pelton::plan::{Grid, Memory, Plan, Role};
use pelton::{Device, Error, Result};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Rounds, in each of which both have their turn.
const ROUNDS: usize = 11;
/// Steps of the two plans whose times are compared.
const FEW: usize = 2;
const MANY: usize = 12;
/// Passes of MiniLM in a round, of which most counts.
const PASSES: usize = 200;

/// What is measured.
#[derive(Clone, Copy)]
enum Case {
    /// A product of square matrices of this side.
    Gemm(usize),
    /// A linear layer with GELU: tokens, depth, columns.
    Linear(usize, usize, usize),
    /// Attention: sequences, tokens of each, heads, and a head's size.
    Attention(usize, usize, usize, usize),
    /// MiniLM: texts and tokens of each; the time of a pass that so large a share of passes is below.
    Latency(usize, usize, f64),
    /// MiniLM: texts and tokens of each; texts a second.
    Throughput(usize, usize),
}

/// Ids, what they measure, and what ours is to be: a share of the peer's, or a figure where that is what is asked for.
const ROWS: [(&str, Case, Bound); 7] = [
    ("T5-gemm-4096", Case::Gemm(4096), Bound::OfPeer(0.8)),
    ("T5-gemm-8192", Case::Gemm(8192), Bound::OfPeer(0.8)),
    ("T5-inner", Case::Linear(4096, 384, 1536), Bound::OfPeer(1.0)),
    ("T5-attention", Case::Attention(32, 128, 12, 32), Bound::OfPeer(1.0)),
    ("T5-1x32-p50", Case::Latency(1, 32, 0.5), Bound::Figure(150.0)),
    ("T5-1x32-p99", Case::Latency(1, 32, 0.99), Bound::Figure(250.0)),
    ("T5-32x128", Case::Throughput(32, 128), Bound::Figure(60_000.0)),
];

#[derive(Clone, Copy)]
enum Bound {
    OfPeer(f64),
    Figure(f64),
}

impl Case {
    /// As `peers.py` knows it, once for each way that the peer has.
    fn peers(self) -> Vec<(&'static str, String)> {
        let minilm = |b, l| {
            [("eager", "PyTorch eager"), ("compiled", "PyTorch compiled, max-autotune")]
                .map(|(how, name)| (name, format!("minilm {b} {l} {how}")))
                .to_vec()
        };
        match self {
            Self::Gemm(n) => vec![("PyTorch, cuBLAS", format!("gemm {n}"))],
            Self::Linear(t, d, c) => {
                vec![("PyTorch, cuBLASLt and GELU", format!("linear {t} {d} {c}"))]
            }
            Self::Attention(b, l, h, s) => {
                vec![("PyTorch, attention", format!("attention {b} {l} {h} {s}"))]
            }
            Self::Latency(b, l, _) | Self::Throughput(b, l) => minilm(b, l),
        }
    }

    /// The figure of seconds a pass, and its unit.
    fn figure(self, seconds: f64) -> (f64, &'static str) {
        #[allow(clippy::cast_precision_loss, reason = "counts are far smaller than 2^52")]
        let teraflops = |products: usize| (2 * products) as f64 / seconds / 1e12;
        match self {
            Self::Gemm(n) => (teraflops(n * n * n), "TFLOP/s"),
            Self::Linear(t, d, c) => (teraflops(t * d * c), "TFLOP/s"),
            Self::Attention(b, l, h, s) => (teraflops(2 * b * h * l * l * s), "TFLOP/s"),
            Self::Latency(..) => (seconds * 1e6, "us"),
            #[allow(clippy::cast_precision_loss, reason = "a small count")]
            Self::Throughput(b, _) => (b as f64 / seconds, "texts/s"),
        }
    }

    /// One figure of a round's passes.
    fn of_round(self, mut seconds: Vec<f64>) -> f64 {
        seconds.sort_by(f64::total_cmp);
        let share = if let Self::Latency(_, _, share) = self { share } else { 0.5 };
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the place of a percentile among a few hundred"
        )]
        let at = ((seconds.len() - 1) as f64 * share).ceil() as usize;
        self.figure(seconds[at]).0
    }

    /// How it is measured.
    fn how(self) -> &'static str {
        match self {
            Self::Gemm(_) => "BF16, steps of one plan",
            Self::Linear(..) => "BF16, with bias and GELU, steps of one plan",
            Self::Attention(..) => "F32, the peer's in BF16, steps of one plan",
            Self::Latency(..) | Self::Throughput(..) => "MiniLM in F16, ids to vectors",
        }
    }

    fn passes(self) -> usize {
        if matches!(self, Self::Latency(..) | Self::Throughput(..)) { PASSES } else { 1 }
    }
}

/// Seconds of so many passes, each.
type Passes = Box<dyn FnMut(usize) -> Result<Vec<f64>>>;

/// Random numbers about 0.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit")]
fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = SplitMix::new(seed);
    (0..n).map(|_| rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn word(n: usize) -> u32 {
    u32::try_from(n).expect("sizes are small")
}

/// Bits of numbers, as buffers hold them.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Runs a program with this header once and waits.
fn run(queue: &mut dyn Queue, program: pelton::device::ProgramId, head: &[u32]) -> Result<f64> {
    let begin = Instant::now();
    queue.submit(program, head, Vec::new())?;
    queue.flush()?;
    while queue.poll()?.is_none() {
        std::hint::spin_loop();
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// One step over and over: `record` adds it to a plan.
fn of_steps(
    mut queue: Box<dyn Queue>,
    memory: &Memory,
    head: Vec<u32>,
    record: impl Fn(&mut Plan),
) -> Result<Passes> {
    let mut programs = Vec::new();
    for steps in [FEW, MANY] {
        let mut plan = Plan::new("steps", head.len());
        (0..steps).for_each(|_| record(&mut plan));
        let program = queue.compile(&plan, memory)?;
        run(&mut *queue, program, &head)?;
        programs.push(program);
    }
    Ok(Box::new(move |n| {
        let mut pass = || {
            let few = run(&mut *queue, programs[0], &head)?;
            let many = run(&mut *queue, programs[1], &head)?;
            #[allow(clippy::cast_precision_loss, reason = "ten")]
            Ok((many - few) / (MANY - FEW) as f64)
        };
        (0..n).map(|_| pass()).collect()
    }))
}

/// A product of random numbers in BF16.
fn product(
    device: &Device,
    (tokens, depth, columns): (usize, usize, usize),
    activation: Activation,
) -> Result<Passes> {
    let mut words = pack_halves(&random(1, columns * depth), columns, depth, Precision::Bf16);
    let bias_at = word(words.len());
    words.extend(bits(&random(2, columns)));
    let weights = device.weights("weights", &words)?;
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
    let mut memory = Memory::default();
    let w = memory.buffer::<u32>("w", Role::Weights, words.len());
    let a = memory.buffer::<f32>("a", Role::Scratch, tokens * depth);
    let out = memory.buffer::<f32>("out", Role::Scratch, tokens * columns);
    queue.attach(&[weights])?;
    queue.alloc(&memory.buffers[1..])?;
    queue.write(a.id, 0, &bits(&random(3, tokens * depth)))?;
    let params = GemmParams {
        depth: word(depth),
        columns: word(columns),
        panels_at: 0,
        bias_at,
        activation: activation as u32,
        dtype: Precision::Bf16 as u32,
        scales_at: 0,
        smooth_at: 0,
    };
    let grids = Grids { by_tokens: [gemm_grid(columns); 6], by_tile: 1 };
    let mut head = Vec::new();
    write_head(&[vec![0; tokens]], &grids, &mut head);
    let grid = Grid::Head(token_grid(0));
    of_steps(queue, &memory, head, |plan| {
        plan.step(&GEMM, grid, params, &[a.id, w.id, out.id]);
    })
}

fn attention(
    device: &Device,
    (batch, length, heads, size): (usize, usize, usize, usize),
) -> Result<Passes> {
    let (tokens, hidden) = (batch * length, heads * size);
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
    let mut memory = Memory::default();
    let w = memory.buffer::<u32>("w", Role::Weights, 4);
    let qkv = memory.buffer::<f32>("qkv", Role::Scratch, 3 * tokens * hidden);
    let out = memory.buffer::<f32>("out", Role::Scratch, tokens * hidden);
    queue.attach(&[device.weights("weights", &[0; 4])?])?;
    queue.alloc(&memory.buffers[1..])?;
    queue.write(qkv.id, 0, &bits(&random(4, 3 * tokens * hidden)))?;
    #[allow(clippy::cast_precision_loss, reason = "a small size")]
    let scale = 1.0 / (size as f32).sqrt();
    let params = AttentionParams {
        heads: word(heads),
        head_size: word(size),
        scale,
        bias_at: 0,
        dtype: Precision::F32 as u32,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let grids = Grids { by_tokens: [(1, 1); 6], by_tile: heads };
    let mut head = Vec::new();
    write_head(&vec![vec![0; length]; batch], &grids, &mut head);
    of_steps(queue, &memory, head, |plan| {
        plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &[qkv.id, w.id, out.id]);
    })
}

fn minilm(device: &Device, batch: usize, length: usize) -> Result<Passes> {
    let folder = std::env::var_os("PELTON_MINILM").map(PathBuf::from).ok_or_else(|| {
        Error::invalid("PELTON_MINILM names no folder; tests/encoder/fetch.sh --install fetches it")
    })?;
    let options = EncoderOptions { precision: Some(Precision::F16), ..EncoderOptions::default() };
    let mut encoder = Encoder::new(&Model::load(folder)?, device, options)?;
    let ids: Vec<u32> = (0..batch * length).map(|i| word(1000 + i * 37 % 20_000)).collect();
    Ok(Box::new(move |n| {
        let texts: Vec<&[u32]> = ids.chunks(length).collect();
        let mut pass = || {
            let begin = Instant::now();
            encoder.embed_tokens(&texts)?;
            Ok(begin.elapsed().as_secs_f64())
        };
        (0..n).map(|_| pass()).collect()
    }))
}

/// The peer's process; it ends when its input does.
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts it; with the version that it says.
    fn start(case: &str) -> Result<Option<(Self, String)>> {
        let Some(python) = std::env::var_os("PELTON_TORCH") else { return Ok(None) };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/torch/peers.py");
        let failed = |error: std::io::Error| Error::source(script, error.to_string());
        let mut child = Command::new(python)
            .arg(script)
            .args(case.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let nothing = || Error::source(script, "it says nothing");
        let output = BufReader::new(child.stdout.take().ok_or_else(nothing)?);
        let mut worker = Self { input: child.stdin.take(), child, output };
        let version = worker.line()?;
        Ok(Some((worker, version)))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        match read {
            Ok(bytes) if bytes > 0 => Ok(line.trim().to_owned()),
            _ => Err(Error::source("benches/peers/torch/peers.py", "it ended; see what it wrote")),
        }
    }

    fn passes(&mut self, n: usize) -> Result<Vec<f64>> {
        if let Some(input) = &mut self.input {
            writeln!(input, "{n}").map_err(|error| Error::source("peers.py", error.to_string()))?;
        }
        let line = self.line()?;
        let seconds = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>();
        seconds.map_err(|_| Error::source("peers.py", line))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Measures a row and prints it.
fn print(device: &Device, (id, case, bound): (&str, Case, Bound)) -> Result<()> {
    let mut own = match case {
        Case::Gemm(n) => product(device, (n, n, n), Activation::None),
        Case::Linear(t, d, c) => product(device, (t, d, c), Activation::GeluErf),
        Case::Attention(b, l, h, s) => attention(device, (b, l, h, s)),
        Case::Latency(b, l, _) | Case::Throughput(b, l) => minilm(device, b, l),
    }?;
    let mut peers = Vec::new();
    for (name, args) in case.peers() {
        if let Some((worker, version)) = Worker::start(&args)? {
            peers.push((name, version, worker, Vec::new()));
        }
    }
    own(case.passes())?;
    let mut ours = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(case.of_round(own(case.passes())?));
        for (_, _, worker, theirs) in &mut peers {
            theirs.push(case.of_round(worker.passes(case.passes())?));
        }
    }
    let (value, unit) = (median(ours), case.figure(1.0).1);
    let less_is_more = matches!(case, Case::Latency(..));
    let ratio = |theirs: f64| if less_is_more { theirs / value } else { value / theirs };
    let mut peers: Vec<(&str, String, f64)> = peers
        .into_iter()
        .map(|(name, version, _, theirs)| (name, version, median(theirs)))
        .collect();
    // The best of them comes first.
    peers.sort_by(|a, b| ratio(a.2).total_cmp(&ratio(b.2)));
    let others: String =
        peers.iter().map(|(name, _, theirs)| format!("; {name} {theirs:.2} {unit}")).collect();
    let best = peers.first();
    let share = best.map(|best| ratio(best.2));
    let (limit, ok) = match bound {
        Bound::OfPeer(least) => (least, share.map(|share| share >= least)),
        Bound::Figure(most) if less_is_more => (most, Some(value <= most)),
        Bound::Figure(least) => (least, Some(value >= least)),
    };
    let or_null = |x: Option<String>| x.unwrap_or_else(|| "null".to_owned());
    println!(
        "{{\"id\":\"{id}\",\"value\":{value:.3},\"unit\":\"{unit}\",\"peer\":{},\"version\":{},\"peer_value\":{},\
         \"ratio\":{},\"bound\":{limit},\"ok\":{},\"why\":\"{}{others}\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        or_null(best.map(|best| format!("\"{}\"", best.0))),
        or_null(best.map(|best| format!("\"{}\"", best.1))),
        or_null(best.map(|best| format!("{:.3}", best.2))),
        or_null(share.map(|share| format!("{share:.3}"))),
        or_null(ok.map(|ok| ok.to_string())),
        case.how(),
        device.caps().name.replace(['"', '\\'], "")
    );
    Ok(())
}

/// `tensor [ID]`: that row, or all whose ids begin so.
fn main() {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("T5")).unwrap_or_default();
    let device = match Device::named("cuda") {
        Ok(device) => device,
        Err(error) => return eprintln!("SKIP T5: {error}"),
    };
    for row in ROWS.into_iter().filter(|(id, ..)| id.starts_with(&wanted)) {
        // One row's failure is no reason to know nothing of the others.
        if let Err(error) = print(&device, row) {
            eprintln!("{}: {error}", row.0);
        }
    }
}
