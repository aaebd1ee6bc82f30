//! Attention by itself, with a bias by distance and without, against the spec in `f64`.

use pelton::device::{Device, QueueOptions};
use pelton::ops::attention::{ATTENTION, AttentionParams, BIAS_REACH, BIAS_SPAN};
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

/// One query of one head, of a sequence that begins at `start`.
fn spec(
    qkv: &[f32],
    bias: Option<&[f32]>,
    h: usize,
    (start, n): (usize, usize),
    i: usize,
) -> Vec<f64> {
    let part = |which: usize, token: usize| {
        let row = &qkv[(3 * (start + token) + which) * WIDTH + h * SIZE..][..SIZE];
        row.iter().map(|&x| f64::from(x))
    };
    let weight = |j: usize| {
        let dot: f64 = part(0, i).zip(part(1, j)).map(|(q, k)| q * k).sum();
        let near = (j + BIAS_REACH).saturating_sub(i).min(BIAS_SPAN - 1);
        let bias = bias.map_or(0.0, |bias| f64::from(bias[h * BIAS_SPAN + near]));
        (f64::from(SCALE) * dot + bias).exp()
    };
    let weights: Vec<f64> = (0..n).map(weight).collect();
    let all: f64 = weights.iter().sum();
    let mut out = vec![0.0; SIZE];
    for (j, weight) in weights.iter().enumerate() {
        out.iter_mut().zip(part(2, j)).for_each(|(out, v)| *out += weight / all * v);
    }
    out
}

/// Sequences of these lengths, with a bias or without.
pub(crate) fn computes_what_the_spec_says(device: &Device, lengths: &[usize], biased: bool) {
    let tokens: usize = lengths.iter().sum();
    let sequences: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
    let (qkv, bias) = (values(3 * tokens * WIDTH, 1), values(HEADS * BIAS_SPAN, 2));
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
    let params =
        AttentionParams { heads: HEADS as u32, head_size: SIZE as u32, scale: SCALE, bias_at };
    plan.step(&ATTENTION, Grid::Head(TILE_GRID), params, &[from.id, w.id, out.id]);
    let program = queue.compile(&plan, &memory).expect("a good plan");
    let mut head = Vec::new();
    write_head(&sequences, &Grids { by_tokens: [(1, 1); 6], by_tile: HEADS }, &mut head);
    queue.submit(program, &head, Vec::new()).expect("there is room");
    let mut found = vec![0; tokens * WIDTH];
    queue.read(out.id, 0, &mut found).expect("in range");
    let bias = biased.then_some(&table[BEFORE..]);
    let mut start = 0;
    for &n in lengths {
        for (i, h) in (0..n).flat_map(|i| (0..HEADS).map(move |h| (i, h))) {
            let found = &found[(start + i) * WIDTH + h * SIZE..][..SIZE];
            let want = spec(&qkv, bias, h, (start, n), i);
            for (found, want) in found.iter().zip(want) {
                let off = (f64::from(f32::from_bits(*found)) - want).abs();
                assert!(off <= 2e-6, "bias {biased}, query {i} of {n}, head {h}: {off:e}");
            }
        }
        start += n;
    }
}
