//! T4: MiniLM, one text of 32 tokens, on the software adapter, beside burn with its wgpu backend, in turns.
//!
//! Both run in this process on the same adapter, from token ids in host memory to the vector in host memory; results
//! are compared before anything is timed. What counts is CPU time of the whole process, which the adapter's threads are
//! part of: of time on the wall a shared machine leaves little to compare. PELTON_MINILM names the model's folder; the
//! adapter is Mesa's llvmpipe.

mod bert;
#[path = "../../windows/src/measure.rs"]
#[allow(dead_code, reason = "shared with the other peers")]
mod measure;

use bert::{Attention, Rival};
use measure::{Line, median, timed};
use pelton::Device;
use pelton::model::{Encoder, EncoderOptions, Model};
use std::path::PathBuf;
use std::time::Instant;

/// Rounds, in each of which both have their turn.
const ROUNDS: usize = 11;
/// Passes before anything is timed: burn compiles, fuses and tunes in them.
const WARM: usize = 8;
/// CPU seconds of a turn, about.
const TURN_SECONDS: f64 = 0.5;
/// What burn's time is to be, by ours.
const BOUND: f64 = 3.0;
/// Largest difference of an element of the two vectors.
const OFF_MAX: f32 = 1e-5;
const TOKENS: usize = 32;

/// Milliseconds of a pass: of this process's processors, and on the wall.
fn turn(passes: usize, mut pass: impl FnMut()) -> (f64, f64) {
    let begin = Instant::now();
    let (_, cpu) = timed(|| (0..passes).for_each(|_| pass()));
    let scale = 1e3 / passes as f64;
    (cpu * scale, begin.elapsed().as_secs_f64() * scale)
}

/// How many passes make a turn, after some that do not count.
fn passes(mut pass: impl FnMut()) -> usize {
    (0..WARM).for_each(|_| pass());
    let (ms, _) = turn(3, pass);
    ((TURN_SECONDS * 1e3 / ms) as usize).clamp(1, 200)
}

fn t4(id: &'static str) {
    let folder = std::env::var_os("PELTON_MINILM").map(PathBuf::from);
    let folder = folder.expect("PELTON_MINILM names the folder of all-MiniLM-L6-v2");
    let model = Model::load(&folder).expect("the model loads");
    let device = Device::named("wgpu:llvmpipe").unwrap_or_else(|error| panic!("{error}"));
    let mut encoder = Encoder::new(&model, &device, EncoderOptions::default()).expect("it fits");
    let ids: Vec<u32> = (0..TOKENS).map(|i| 1000 + (i * 37 % 20_000) as u32).collect();
    let rival = Rival::load(&folder, burn::tensor::Device::wgpu(burn::tensor::DeviceKind::Cpu));
    let own = encoder.embed_tokens(&[&ids]).expect("in range");
    let mut best: Option<(Attention, f64)> = None;
    for how in [Attention::Module, Attention::Products] {
        let theirs = rival.embed(&ids, how);
        let off = own.values().iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(theirs.len() == own.dim() && off < OFF_MAX, "{how:?}: the results differ by {off:e}");
        let pass = || _ = rival.embed(&ids, how);
        let count = passes(pass);
        let (ms, _) = turn(count, pass);
        eprintln!("{id}: burn with attention by {how:?}: {ms:.0} CPU ms, results within {off:.0e}");
        if best.is_none_or(|(_, least)| ms < least) {
            best = Some((how, ms));
        }
    }
    let (how, _) = best.expect("there are two");
    let mut own = || _ = encoder.embed_tokens(&[&ids]).expect("in range");
    let mut peer = || _ = rival.embed(&ids, how);
    let (own_passes, peer_passes) = (passes(&mut own), passes(&mut peer));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(turn(own_passes, &mut own));
        theirs.push(turn(peer_passes, &mut peer));
        eprintln!("{id} {round}: pelton {:.0} CPU ms, burn {:.0}", ours[round].0, theirs[round].0);
    }
    let by = |of: fn(&(f64, f64)) -> f64| {
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(own, peer)| of(peer) / of(own)).collect();
        median(&ratios)
    };
    let middle = |turns: &[(f64, f64)]| median(&turns.iter().map(|turn| turn.0).collect::<Vec<_>>());
    let (ratio, of_wall) = (by(|turn| turn.0), by(|turn| turn.1));
    Line {
        id,
        value: middle(&ours),
        unit: "CPU ms",
        peer: Some(("burn 0.22.0 with wgpu, fusion and autotune", middle(&theirs))),
        ratio: Some(ratio),
        bound: Some(format!("{BOUND} times as fast as the peer")),
        ok: Some(ratio >= BOUND),
        why: format!(
            "MiniLM F32, one text of {TOKENS} tokens, {} steps on {}; burn's attention by {how:?}; \
             on the wall {of_wall:.2} times",
            encoder.steps(),
            device.caps().name
        ),
        rounds: ROUNDS,
    }
    .print();
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("T4") => t4("T4"),
        _ => eprintln!("burn-peer T4"),
    }
}
