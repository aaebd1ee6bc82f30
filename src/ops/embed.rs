//! Token ids to vectors: the sum of word, position and type embedding, normalised.
//!
//! Spec, per token, in real numbers: `LayerNorm(words[id] + positions[place] + types[0])`. An id or a place beyond its
//! table takes the last row: the host has refused them before.
//!
//! Numbers: `f32`; sums of a row in a fixed order, so a token's vector depends on nothing but the token and its place.

use super::float::layer_norm;
use super::simd::{Wide, wide};
use super::tokens::{self, IDS_AT, PLACES_AT, TOKENS, encoder_shader, weights, writes};
use crate::params;
use crate::plan::{Args, Kernel};

/// Tokens of a workgroup.
pub const TOKENS_GROUP: usize = 8;

params! {
    /// What the embed kernel is told once. Places in `tables` are in words.
    EmbedParams {
        /// Values of a vector.
        hidden: u32,
        /// Rows of `words`.
        vocab: u32,
        /// Rows of positions.
        places: u32,
        /// Where positions begin in `tables`.
        places_at: u32,
        /// Where the type's row begins.
        types_at: u32,
        /// Where the norm's factors begin.
        gamma_at: u32,
        /// Where the norm's offsets begin.
        beta_at: u32,
        /// What is added to a variance.
        eps: f32,
    }
}

/// Tokens to vectors.
pub static EMBED: Kernel = Kernel {
    name: "embed",
    params: EmbedParams::FIELDS,
    events: false,
    binds: &[weights("words"), weights("tables"), writes("out")],
    wgsl: encoder_shader!("embed"),
    cpu: |args| wide(Embed(args)),
};

struct Embed<'a>(Args<'a>);

impl Wide for Embed<'_> {
    #[inline(always)]
    fn run(self) {
        let p: EmbedParams = self.0.params();
        let (head, weights) = (self.0.head, self.0.weights);
        let [out] = self.0.binds();
        let (words, tables): (&[f32], &[f32]) =
            (bytemuck::cast_slice(weights[0]), bytemuck::cast_slice(weights[1]));
        let hidden = p.hidden as usize;
        let row = |at: u32| &tables[at as usize..][..hidden];
        let (gamma, beta) = (row(p.gamma_at), row(p.beta_at));
        let ids = &head[head[IDS_AT] as usize..][..head[TOKENS] as usize];
        let places = &head[head[PLACES_AT] as usize..];
        let rows = bytemuck::cast_slice_mut::<u32, f32>(out).chunks_exact_mut(hidden);
        for ((out, &id), &place) in rows.zip(ids).zip(places) {
            let of_word = &words[id.min(p.vocab - 1) as usize * hidden..][..hidden];
            let of_place = row(p.places_at + place.min(p.places - 1) * p.hidden);
            let parts = of_word.iter().zip(of_place).zip(row(p.types_at));
            for (x, ((word, place), of_type)) in out.iter_mut().zip(parts) {
                *x = word + place + of_type;
            }
            layer_norm(out, gamma, beta, p.eps);
        }
    }
}

/// The grid of this kernel, as [`tokens::Grids`] takes it.
pub const GRID: (usize, usize) = (TOKENS_GROUP, 1);

const _: () = assert!(tokens::TILE_QUERIES.is_multiple_of(TOKENS_GROUP));
