//! Attention of each token to all tokens of its own sequence, in both directions, over packed sequences.
//!
//! Spec, per sequence, head h and query i, in real numbers: `Σ_j softmax_j(scale · q_i · k_j) v_j`, over the tokens j
//! of the sequence. A row of `qkv` is the queries of all heads, then their keys, then their values; `out` has a row of
//! heads for each token. Heads have 32, 64 or 128 values.
//!
//! Numbers: `f32`. Keys are taken in order from the sequence's first, on a GPU sixteen at a time with a running
//! maximum, so a result depends on nothing outside its sequence.

use super::float::{exp_neg, largest, sum};
use super::gemm::PANEL;
use super::simd::{After, Product, Wide, multiply, wide};
use super::tokens::{encoder_shader, reads, sequences, writes};
use crate::params;
use crate::plan::{Args, Kernel};
use std::cell::RefCell;

/// Queries that the processor takes at a time.
const QUERIES: usize = 48;

params! {
    /// What the attention kernel is told once.
    AttentionParams {
        /// Heads.
        heads: u32,
        /// Values of a head: 32, 64 or 128.
        head_size: u32,
        /// The factor of a score.
        scale: f32,
        /// Padding.
        pad0: u32,
    }
}

/// Attention.
pub static ATTENTION: Kernel = Kernel {
    name: "attention",
    params: AttentionParams::FIELDS,
    events: false,
    binds: &[reads("qkv"), writes("out")],
    wgsl: encoder_shader!("attention"),
    cpu: attention,
};

fn attention(args: Args<'_>) {
    let p: AttentionParams = args.params();
    let head = args.head;
    let [qkv, out] = args.binds();
    let (qkv, out): (&[f32], &mut [f32]) =
        (bytemuck::cast_slice(qkv), bytemuck::cast_slice_mut(out));
    let (heads, size) = (p.heads as usize, p.head_size as usize);
    ROOM.with_borrow_mut(|room| {
        for tokens in sequences(head) {
            room.make(tokens.len(), size);
            for h in 0..heads {
                let one = OneHead { qkv, width: heads * size, at: h * size, size, scale: p.scale };
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
}

impl Wide for Softmax<'_> {
    #[inline(always)]
    fn run(self) {
        for row in self.scores.chunks_exact_mut(self.padded) {
            let row = &mut row[..self.count];
            let most = largest(row);
            row.iter_mut().for_each(|x| *x = exp_neg((*x - most) * self.scale));
            let share = 1.0 / sum(row, |x| x);
            row.iter_mut().for_each(|x| *x *= share);
        }
    }
}
