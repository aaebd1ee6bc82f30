//! Attention of each token to all tokens of its own sequence, in both directions, over packed sequences.
//!
//! Spec, per sequence, head h and query i, in real numbers: `Σ_j softmax_j(scale · q_i · k_j) v_j`, over the tokens j
//! of the sequence. A row of `qkv` is the queries of all heads, then their keys, then their values; `out` has a row of
//! heads for each token. Heads have 32, 64 or 128 values.
//!
//! With a bias a score is `scale · q_i · k_j + bias_h(j - i)`. It lies in `w` as a table of [`BIAS_SPAN`] values for
//! each head, from distance -[`BIAS_REACH`] on; what is farther has the value at the end.
//!
//! Numbers: `f32`. Keys are taken in order from the sequence's first, on a GPU sixteen at a time with a running
//! maximum, so a result depends on nothing outside its sequence.

use super::float::{exp_neg, largest, sum};
use super::gemm::PANEL;
use super::simd::{After, Product, Wide, multiply, wide};
use super::tokens::{encoder_shader, reads, sequences, weights, writes};
use crate::params;
use crate::plan::{Args, Kernel};
use std::cell::RefCell;

/// Queries that the processor takes at a time.
const QUERIES: usize = 48;
/// Distances of which a table of bias tells keys before a query apart.
pub const BIAS_REACH: usize = 128;
/// Values of such a table for a head.
pub const BIAS_SPAN: usize = 2 * BIAS_REACH;

params! {
    /// What the attention kernel is told once.
    AttentionParams {
        /// Heads.
        heads: u32,
        /// Values of a head: 32, 64 or 128.
        head_size: u32,
        /// The factor of a score.
        scale: f32,
        /// Where the bias begins, in words of `w`; 0: there is none.
        bias_at: u32,
    }
}

/// Attention.
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    params: AttentionParams::FIELDS,
    events: false,
    binds: &[reads("qkv"), weights("w"), writes("out")],
    wgsl: encoder_shader!("attention"),
    cpu: attention,
};

fn attention(args: Args<'_>) {
    let p: AttentionParams = args.params();
    let (head, w) = (args.head, args.weights[0]);
    let w: &[f32] = bytemuck::cast_slice(w);
    let [qkv, out] = args.binds();
    let (qkv, out): (&[f32], &mut [f32]) =
        (bytemuck::cast_slice(qkv), bytemuck::cast_slice_mut(out));
    let (heads, size) = (p.heads as usize, p.head_size as usize);
    ROOM.with_borrow_mut(|room| {
        for tokens in sequences(head) {
            room.make(tokens.len(), size);
            for h in 0..heads {
                let bias_at = p.bias_at as usize + h * BIAS_SPAN;
                let bias = (p.bias_at > 0).then(|| &w[bias_at..][..BIAS_SPAN]);
                let (width, at) = (heads * size, h * size);
                let one = OneHead { qkv, width, at, size, scale: p.scale, bias };
                one.run(tokens.clone(), room, out);
            }
        }
    });
}

thread_local! {
    /// A thread keeps it, so that a batch allocates nothing.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Memory of the keys and values of one head as panels, and of a few queries' scores.
#[derive(Default)]
struct Room {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Room {
    fn make(&mut self, tokens: usize, size: usize) {
        let padded = tokens.next_multiple_of(PANEL);
        self.keys.clear();
        self.keys.resize(padded * size, 0.0);
        self.values.resize(tokens * size, 0.0);
        self.scores.resize(QUERIES * padded, 0.0);
    }
}

/// One head of all sequences.
struct OneHead<'a> {
    qkv: &'a [f32],
    /// Values of all heads.
    width: usize,
    /// Where the head begins among them.
    at: usize,
    size: usize,
    scale: f32,
    bias: Option<&'a [f32]>,
}

impl OneHead<'_> {
    /// The head's part of the queries (0), keys (1) or values (2) of a token.
    #[inline(always)]
    fn part(&self, which: usize, token: usize) -> &[f32] {
        &self.qkv[(3 * token + which) * self.width + self.at..][..self.size]
    }

    fn run(&self, tokens: std::ops::Range<usize>, room: &mut Room, out: &mut [f32]) {
        let (size, count) = (self.size, tokens.len());
        let padded = count.next_multiple_of(PANEL);
        for (j, token) in tokens.clone().enumerate() {
            let panel = &mut room.keys[j / PANEL * PANEL * size..][..PANEL * size];
            for (d, &x) in self.part(1, token).iter().enumerate() {
                panel[d * PANEL + j % PANEL] = x;
            }
            for (panel, values) in self.part(2, token).chunks_exact(PANEL).enumerate() {
                room.values[(panel * count + j) * PANEL..][..PANEL].copy_from_slice(values);
            }
        }
        for first in tokens.clone().step_by(QUERIES) {
            let rows = QUERIES.min(tokens.end - first);
            let plain = Product {
                a: &self.qkv[3 * first * self.width + self.at..],
                a_stride: 3 * self.width,
                rows,
                depth: size,
                panels: &room.keys[..padded * size],
                after: After::NONE,
                out_stride: padded,
            };
            multiply(&plain, &mut room.scores);
            wide(Softmax {
                scores: &mut room.scores[..rows * padded],
                padded,
                count,
                scale: self.scale,
                bias: self.bias.map(|bias| (bias, first - tokens.start)),
            });
            let weighed = Product {
                a: &room.scores,
                a_stride: padded,
                depth: count,
                panels: &room.values[..count * size],
                out_stride: self.width,
                ..plain
            };
            multiply(&weighed, &mut out[first * self.width + self.at..]);
        }
    }
}

/// Softmax of the first `count` of each `padded` scores.
struct Softmax<'a> {
    scores: &'a mut [f32],
    padded: usize,
    count: usize,
    scale: f32,
    /// A table, and the number of the first row's query in its sequence.
    bias: Option<(&'a [f32], usize)>,
}

/// Scores of a query, scaled, with their bias.
#[inline(always)]
fn add_bias(row: &mut [f32], scale: f32, bias: &[f32], query: usize) {
    let from = query.saturating_sub(BIAS_REACH).min(row.len());
    let to = (query + BIAS_REACH).min(row.len());
    row[..from].iter_mut().for_each(|x| *x = *x * scale + bias[0]);
    row[to..].iter_mut().for_each(|x| *x = *x * scale + bias[BIAS_SPAN - 1]);
    let near = &bias[from + BIAS_REACH - query..];
    row[from..to].iter_mut().zip(near).for_each(|(x, bias)| *x = *x * scale + bias);
}

impl Wide for Softmax<'_> {
    #[inline(always)]
    fn run(self) {
        for (i, row) in self.scores.chunks_exact_mut(self.padded).enumerate() {
            let row = &mut row[..self.count];
            let mut scale = self.scale;
            if let Some((bias, first)) = self.bias {
                add_bias(row, scale, bias, first + i);
                scale = 1.0;
            }
            let most = largest(row);
            row.iter_mut().for_each(|x| *x = exp_neg((*x - most) * scale));
            let share = 1.0 / sum(row, |x| x);
            row.iter_mut().for_each(|x| *x *= share);
        }
    }
}
