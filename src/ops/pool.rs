//! A sequence's vectors to one: their mean or the first, at length 1 if that is asked for.
//!
//! Spec, per sequence, in real numbers: `x = mean over its tokens` or `x = its first token's`, then `x / |x|`; a vector
//! of zeros stays one. The output's words: [`OUTPUT_HEAD`], the first of which says how many words are used, then a
//! row for each sequence.
//!
//! Numbers: `f32`; tokens are added in order.

use super::float::sum;
use super::simd::{Wide, wide};
use super::tokens::{SEQUENCES, encoder_shader, reads, sequences, writes};
use crate::params;
use crate::plan::{Args, Kernel, OUTPUT_HEAD};

params! {
    /// What the pool kernel is told once.
    PoolParams {
        /// Values of a vector.
        hidden: u32,
        /// 1: the first token's vector; 0: the mean.
        first: u32,
        /// 1: at length 1.
        unit: u32,
        /// Padding.
        pad0: u32,
    }
}

/// A vector for each sequence.
pub static POOL: Kernel = Kernel {
    name: "pool",
    params: PoolParams::FIELDS,
    events: false,
    binds: &[reads("x"), writes("out")],
    wgsl: encoder_shader!("pool"),
    cpu: |args| wide(Pool(args)),
};

struct Pool<'a>(Args<'a>);

impl Wide for Pool<'_> {
    #[inline(always)]
    fn run(self) {
        let p: PoolParams = self.0.params();
        let head = self.0.head;
        let [x, out] = self.0.binds();
        let hidden = p.hidden as usize;
        out[0] = crate::base::limits::word(OUTPUT_HEAD) + head[SEQUENCES] * p.hidden;
        let x: &[f32] = bytemuck::cast_slice(x);
        let rows = bytemuck::cast_slice_mut::<u32, f32>(&mut out[OUTPUT_HEAD..]);
        for (out, mut tokens) in rows.chunks_exact_mut(hidden).zip(sequences(head)) {
            if p.first != 0 {
                tokens.end = tokens.start + 1;
            }
            #[allow(clippy::cast_precision_loss, reason = "sequences are short")]
            let share = 1.0 / tokens.len() as f32;
            out.fill(0.0);
            for token in tokens {
                let row = &x[token * hidden..][..hidden];
                out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            out.iter_mut().for_each(|x| *x *= share);
            let length = sum(out, |x| x * x).sqrt();
            if p.unit != 0 && length > 0.0 {
                let share = 1.0 / length;
                out.iter_mut().for_each(|x| *x *= share);
            }
        }
    }
}
