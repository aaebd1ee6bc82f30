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
//! maximum, so a result depends on nothing outside its sequence. The softmax is divided by its sum last.
//!
//! In BF16 queries, keys and values come as numbers of BF16, and the exponentials, of which the largest is 1, are
//! rounded to BF16 before they meet the values, not before they are added up. Products of such numbers are exact in
//! `f32`, so all but tiles of AMX, whose sums have an order of their own, take the same steps as in F32.

use super::float::{change_and_sum, largest, pow2_neg};
use super::gemm::PANEL;
use super::low::{Precision, round_bf16};
use super::simd::{After, Low, Product, Tier, Wide, multiply, multiply_low, tier, wide};
use super::tokens::{encoder_shader, reads, sequences, weights, writes};
use crate::params;
use crate::plan::{Args, Kernel};
use std::cell::RefCell;
use std::ops::Range;

/// Queries that the processor takes at a time.
const QUERIES: usize = 32;
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
        /// A [`Precision`]: F32 or BF16.
        dtype: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
        /// Padding.
        pad2: u32,
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
    let low = Precision::from_word(p.dtype) == Precision::Bf16;
    let steps = match low {
        true if tier() == Ok(Tier::Amx) => Steps::Tiles,
        true => Steps::Rounded,
        false => Steps::F32,
    };
    ROOM.with_borrow_mut(|room| {
        for tokens in sequences(head) {
            room.make(tokens.len(), size);
            for h in 0..heads {
                let bias_at = p.bias_at as usize + h * BIAS_SPAN;
                let bias = (p.bias_at > 0).then(|| &w[bias_at..][..BIAS_SPAN]);
                let (width, at) = (heads * size, h * size);
                let one = OneHead { qkv, width, at, size, scale: p.scale, bias, steps };
                one.run(tokens.clone(), room, out);
            }
        }
    });
}

thread_local! {
    /// A thread keeps it, so that a batch allocates nothing.
    static ROOM: RefCell<Room> = RefCell::default();
}

/// How products are taken.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    /// In F32.
    F32,
    /// The same, of numbers of BF16.
    Rounded,
    /// By tiles of BF16.
    Tiles,
}

/// Memory of the keys and values of one head as panels, and of a few queries' scores.
#[derive(Default)]
struct Room {
    keys: Vec<u32>,
    values: Vec<u32>,
    scores: Vec<f32>,
    shares: Vec<f32>,
}

impl Room {
    fn make(&mut self, tokens: usize, size: usize) {
        let padded = tokens.next_multiple_of(PANEL);
        self.keys.clear();
        self.keys.resize(padded * size, 0);
        self.values.resize(padded * size, 0);
        self.scores.resize(QUERIES * padded, 0.0);
        self.shares.resize(QUERIES, 0.0);
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
    steps: Steps,
}

impl OneHead<'_> {
    /// The head's part of the queries (0), keys (1) or values (2) of a token.
    #[inline(always)]
    fn part(&self, which: usize, token: usize) -> &[f32] {
        &self.qkv[(3 * token + which) * self.width + self.at..][..self.size]
    }

    fn run(&self, tokens: Range<usize>, room: &mut Room, out: &mut [f32]) {
        let (size, count) = (self.size, tokens.len());
        let padded = count.next_multiple_of(PANEL);
        if self.steps == Steps::Tiles {
            wide(LayOut { of: self, tokens: tokens.clone(), room });
        } else {
            self.lay_out(tokens.clone(), room);
        }
        for first in tokens.clone().step_by(QUERIES) {
            let rows = QUERIES.min(tokens.end - first);
            let queries = (&self.qkv[3 * first * self.width + self.at..], 3 * self.width);
            let keys = &room.keys[..padded * size];
            self.multiply((rows, size, padded), queries, keys, (&mut room.scores, padded));
            wide(Softmax {
                scores: &mut room.scores[..rows * padded],
                shares: &mut room.shares,
                padded,
                count,
                scale: self.scale,
                bias: self.bias.map(|bias| (bias, first - tokens.start)),
                rounds: self.steps == Steps::Rounded,
            });
            let out = &mut out[first * self.width + self.at..];
            let to = (&mut out[..], self.width);
            self.multiply((rows, count, size), (&room.scores, padded), &room.values, to);
            wide(Share { out, apart: self.width, size, shares: &room.shares[..rows] });
        }
    }

    /// Multiplies rows of a depth by panels of so many columns; strides stand beside what they are of.
    fn multiply(
        &self,
        (rows, depth, columns): (usize, usize, usize),
        (a, a_stride): (&[f32], usize),
        panels: &[u32],
        (out, out_stride): (&mut [f32], usize),
    ) {
        let after = After::NONE;
        if self.steps == Steps::Tiles {
            let precision = Precision::Bf16;
            let panels = &panels[..precision.words(columns, depth)];
            let (scales, smooth) = (&[][..], &[][..]);
            let low = Low {
                a,
                a_stride,
                rows,
                depth,
                columns,
                precision,
                panels,
                scales,
                smooth,
                after,
                out_stride,
            };
            return multiply_low(&low, out);
        }
        let panels = &bytemuck::cast_slice(panels)[..columns * depth];
        multiply(&Product { a, a_stride, rows, depth, panels, after, out_stride }, out);
    }

    /// Lays keys and values out in panels of F32.
    fn lay_out(&self, tokens: Range<usize>, room: &mut Room) {
        let (size, count) = (self.size, tokens.len());
        let keys: &mut [f32] = bytemuck::cast_slice_mut(&mut room.keys);
        let all: &mut [f32] = bytemuck::cast_slice_mut(&mut room.values);
        for (j, token) in tokens.enumerate() {
            let panel = &mut keys[j / PANEL * PANEL * size..][..PANEL * size];
            for (d, &x) in self.part(1, token).iter().enumerate() {
                panel[d * PANEL + j % PANEL] = x;
            }
            for (panel, values) in self.part(2, token).chunks_exact(PANEL).enumerate() {
                all[(panel * count + j) * PANEL..][..PANEL].copy_from_slice(values);
            }
        }
    }
}

/// Lays keys and values out in panels of BF16, which they are numbers of: two to a word, of keys the ones side by side,
/// of values those of two tokens.
struct LayOut<'a, 'b> {
    of: &'a OneHead<'b>,
    tokens: Range<usize>,
    room: &'a mut Room,
}

impl Wide for LayOut<'_, '_> {
    #[inline(always)]
    fn run(self) {
        let Self { of, tokens, room } = self;
        let size = of.size;
        let panel_words = tokens.len().next_multiple_of(PANEL) / 2 * PANEL;
        let pairs = tokens.len().div_ceil(2);
        for (j, token) in tokens.clone().enumerate() {
            let panel = &mut room.keys[j / PANEL * PANEL * size / 2..][..PANEL * size / 2];
            for (d, pair) in of.part(1, token).as_chunks::<2>().0.iter().enumerate() {
                panel[d * PANEL + j % PANEL] = word_of(pair[0], pair[1]);
            }
        }
        let last = tokens.end - 1;
        for (j, token) in tokens.step_by(2).enumerate() {
            let (values, behind) = (of.part(2, token), of.part(2, (token + 1).min(last)));
            let kept = if token == last { 0x0000_ffff } else { !0 };
            for panel in 0..size / PANEL {
                let to = &mut room.values[panel * panel_words + j * PANEL..][..PANEL];
                let from = values[panel * PANEL..].iter().zip(&behind[panel * PANEL..]);
                for (to, (&x, &y)) in to.iter_mut().zip(from) {
                    *to = word_of(x, y) & kept;
                }
            }
        }
        // Shares of none are zero, and what they meet must be a number.
        for panel in room.values[..size / PANEL * panel_words].chunks_exact_mut(panel_words) {
            panel[pairs * PANEL..].fill(0);
        }
    }
}

/// Multiplies rows of so many values by their shares.
struct Share<'a> {
    out: &'a mut [f32],
    apart: usize,
    size: usize,
    shares: &'a [f32],
}

impl Wide for Share<'_> {
    #[inline(always)]
    fn run(self) {
        for (i, share) in self.shares.iter().enumerate() {
            let row = &mut self.out[i * self.apart..][..self.size];
            row.iter_mut().for_each(|x| *x *= share);
        }
    }
}

/// Two numbers of BF16 as a word.
#[inline(always)]
fn word_of(low: f32, high: f32) -> u32 {
    low.to_bits() >> 16 | high.to_bits() & 0xffff_0000
}

/// `exp` of the first `count` of each `padded` scores, by the largest, and one by their sum for each row.
struct Softmax<'a> {
    scores: &'a mut [f32],
    shares: &'a mut [f32],
    padded: usize,
    count: usize,
    scale: f32,
    /// A table, and the number of the first row's query in its sequence.
    bias: Option<(&'a [f32], usize)>,
    /// Whether they are rounded to BF16 once they have been added up.
    rounds: bool,
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
        let rows = self.scores.chunks_exact_mut(self.padded).zip(self.shares);
        for (i, (row, share)) in rows.enumerate() {
            let row = &mut row[..self.count];
            let mut scale = self.scale;
            if let Some((bias, first)) = self.bias {
                add_bias(row, scale, bias, first + i);
                scale = 1.0;
            }
            let (most, scale) = (largest(row), scale * std::f32::consts::LOG2_E);
            *share = 1.0 / change_and_sum(row, |x| pow2_neg((x - most) * scale));
            if self.rounds {
                row.iter_mut().for_each(|x| *x = round_bf16(*x));
            }
        }
    }
}
