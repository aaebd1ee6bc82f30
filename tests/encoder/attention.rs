//! Attention by itself, in F32 and in BF16, with a bias by distance and without, against the spec in `f64`.

use pelton::device::{Device, QueueOptions};
use pelton::ops::attention::{ATTENTION, AttentionParams, BIAS_REACH, BIAS_SPAN};
use pelton::ops::low::Precision;
use pelton::ops::tokens::{Grids, TILE_GRID, head_words, write_head};
use pelton::plan::{Grid, Memory, Plan, Role};

const HEADS: usize = 2;
const SIZE: usize = 32;
/// Values of a row of all heads.
const WIDTH: usize = HEADS * SIZE;
/// Words before the table.
const BEFORE: usize = 8;
const SCALE: f32 = 0.25;

/// Values from -1 to 1.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = pelton::base::rng::SplitMix::new(seed);
    (0..n).map(|_| rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn words(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The nearest of BF16.
fn round(x: f32) -> f32 {
    half::bf16::from_f32(x).to_f32()
}

/// One query of one head, of a sequence that begins at `start`; shares are rounded on their way to the values, or not.
fn spec(
    qkv: &[f32],
    bias: Option<&[f32]>,
    h: usize,
    (start, n): (usize, usize),
    (i, precision): (usize, Precision),
) -> Vec<f64> {
    let part = |which: usize, token: usize| {
        let row = &qkv[(3 * (start + token) + which) * WIDTH + h * SIZE..][..SIZE];
        row.iter().map(|&x| f64::from(x))
    };
    let score = |j: usize| {
        let dot: f64 = part(0, i).zip(part(1, j)).map(|(q, k)| q * k).sum();
        let near = (j + BIAS_REACH).saturating_sub(i).min(BIAS_SPAN - 1);
        let bias = bias.map_or(0.0, |bias| f64::from(bias[h * BIAS_SPAN + near]));
        f64::from(SCALE) * dot + bias
    };
    let scores: Vec<f64> = (0..n).map(score).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let all: f64 = weights.iter().sum();
    let mut out = vec![0.0; SIZE];
    for (j, &weight) in weights.iter().enumerate() {
        let rounded = f64::from(round(weight as f32));
        let weight = if precision == Precision::Bf16 { rounded } else { weight };
        out.iter_mut().zip(part(2, j)).for_each(|(out, v)| *out += weight / all * v);
    }
    out
}

/// Sequences of these lengths, with a bias or without, in a precision.
///
/// A GPU rounds shares by the largest score so far, not by the largest, so it is only about as far from the spec as
/// from what rounds nothing.
pub(crate) fn computes_what_the_spec_says(
    device: &Device,
    lengths: &[usize],
    (biased, precision): (bool, Precision),
) {
    let tokens: usize = lengths.iter().sum();
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
    let (mut qkv, bias) = (values(3 * tokens * WIDTH, 1), values(HEADS * BIAS_SPAN, 2));
    let most = match precision {
        Precision::Bf16 if device.caps().serial => 1e-4,
        Precision::Bf16 => 2e-3,
        _ => 2e-6,
    };
    if precision == Precision::Bf16 {
        qkv.iter_mut().for_each(|x| *x = round(*x));
    }
    let table = [vec![0.0; BEFORE], bias.iter().map(|x| 4.0 * x).collect()].concat();
    let weights = device.weights("table", &words(&table)).expect("it fits");
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).expect("a queue");
    queue.attach(std::slice::from_ref(&weights)).expect("of this device");
    let mut memory = Memory::default();
    let w = memory.buffer::<f32>("w", Role::Weights, weights.words());
    let from = memory.buffer::<f32>("qkv", Role::Scratch, qkv.len());
    let out = memory.buffer::<f32>("out", Role::Scratch, tokens * WIDTH);
    queue.alloc(&memory.buffers[1..]).expect("it fits");
    queue.write(from.id, 0, &words(&qkv)).expect("in range");
    let mut plan = Plan::new("attention", head_words(tokens, lengths.len()));
    let bias_at = if biased { BEFORE as u32 } else { 0 };
    let params = AttentionParams {
        heads: HEADS as u32,
        head_size: SIZE as u32,
        scale: SCALE,
        bias_at,
        dtype: precision as u32,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &[from.id, w.id, out.id]);
    let program = queue.compile(&plan, &memory).expect("a good plan");
    let mut head = Vec::new();
    write_head(&sequences, &Grids { by_tokens: [(1, 1); 6], by_tile: HEADS }, &mut head);
    queue.submit(program, &head, Vec::new()).expect("there is room");
    let mut found = vec![0; tokens * WIDTH];
    queue.read(out.id, 0, &mut found).expect("in range");
    let bias = biased.then_some(&table[BEFORE..]);
    let (mut start, mut unlike) = (0, 0);
    for &n in lengths {
        for (i, h) in (0..n).flat_map(|i| (0..HEADS).map(move |h| (i, h))) {
            let found = &found[(start + i) * WIDTH + h * SIZE..][..SIZE];
            let spec = |precision| spec(&qkv, bias, h, (start, n), (i, precision));
            for ((found, want), exact) in
                found.iter().zip(spec(precision)).zip(spec(Precision::F32))
            {
                let found = f64::from(f32::from_bits(*found));
                let off = (found - want).abs();
                assert!(
                    off <= most,
                    "{precision}, bias {biased}, query {i} of {n}, head {h}: {off:e}"
                );
                unlike += usize::from((found - exact).abs() > 2e-6);
            }
        }
        start += n;
    }
    assert_eq!(unlike > 0, precision == Precision::Bf16, "shares are rounded in BF16 alone");
}
