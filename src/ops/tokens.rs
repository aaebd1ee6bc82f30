//! The header of a batch of packed tokens: sequences one after another, without padding.
//!
//! Every kernel of an encoder reads it. Its tables have the size of the batch, and where each begins stands in the
//! header, so a small batch has a small header. Each step's grid stands there, too: one program serves every size.
//! Grids are those of a *bucket*, the next powers of two of tokens and of sequences, so that a device that keeps
//! something for each combination of grids keeps few; what is beyond the batch leaves at once.

use crate::base::limits::word;
use crate::plan::{Access, Bind};

/// Header: how many tokens.
pub const TOKENS: usize = 0;
/// Header: how many sequences.
pub const SEQUENCES: usize = 1;
/// Header: how many tiles of queries.
pub const TILES: usize = 2;
/// Header: where the token ids begin.
pub const IDS_AT: usize = 3;
/// Header: where the tokens' positions within their sequences begin.
pub const PLACES_AT: usize = 4;
/// Header: where the sequences' first tokens begin, and the number of tokens behind them.
pub const STARTS_AT: usize = 5;
/// Header: where the tiles begin: for each its sequence, and its first query as a token.
pub const TILES_AT: usize = 6;
/// Header: the grids of steps, one word each.
pub const GRIDS: usize = 8;
/// Words before the tables.
pub const FIXED: usize = 16;

/// Queries that a workgroup takes at a time: those of one tile, which lie in one sequence.
pub const TILE_QUERIES: usize = 16;

/// The grids that a header says, by what they depend on.
#[derive(Debug, Clone, Copy)]
pub struct Grids {
    /// Workgroups for each rows of so many tokens: `(tokens in a row, workgroups for a row)`.
    pub by_tokens: [(usize, usize); 6],
    /// Workgroups for a tile.
    pub by_tile: usize,
}

/// Header: the grid of `by_tokens[i]`.
pub const fn token_grid(i: usize) -> usize {
    GRIDS + i
}
/// Header: the grid over tiles.
pub const TILE_GRID: usize = GRIDS + 6;
/// Header: the grid over sequences.
pub const SEQUENCE_GRID: usize = GRIDS + 7;

/// Words of a header for so many tokens and sequences, at most.
pub fn head_words(tokens: usize, sequences: usize) -> usize {
    let tiles = tokens / TILE_QUERIES + sequences;
    (FIXED + 2 * tokens + sequences + 1 + 2 * tiles).next_multiple_of(4)
}

/// Writes the header of a batch into `head`, which is emptied first.
///
/// # Panics
/// When a sequence is empty.
pub fn write_head<S: AsRef<[u32]>>(sequences: &[S], grids: &Grids, head: &mut Vec<u32>) {
    let ids = || sequences.iter().map(AsRef::as_ref);
    let tokens: usize = ids().map(<[u32]>::len).sum();
    head.clear();
    head.resize(FIXED, 0);
    head[TOKENS] = word(tokens);
    head[SEQUENCES] = word(sequences.len());
    head[IDS_AT] = word(head.len());
    head.extend(ids().flatten());
    head[PLACES_AT] = word(head.len());
    head.extend(ids().flat_map(|ids| 0..word(ids.len())));
    head[STARTS_AT] = word(head.len());
    let mut start = 0;
    for ids in ids() {
        assert!(!ids.is_empty(), "a sequence has a token at least");
        head.push(word(start));
        start += ids.len();
    }
    head.push(word(start));
    head[TILES_AT] = word(head.len());
    let mut start = 0;
    for (i, ids) in ids().enumerate() {
        let tiles = (start..start + ids.len()).step_by(TILE_QUERIES);
        head.extend(tiles.flat_map(|first| [word(i), word(first)]));
        start += ids.len();
    }
    let tiles = (head.len() - head[TILES_AT] as usize) / 2;
    head[TILES] = word(tiles);
    let (tokens, sequences) = (tokens.next_power_of_two(), sequences.len().next_power_of_two());
    let tiles = tokens.div_ceil(TILE_QUERIES) + sequences;
    for (i, (row, groups)) in grids.by_tokens.into_iter().enumerate() {
        head[token_grid(i)] = word(tokens.div_ceil(row.max(1)) * groups);
    }
    head[TILE_GRID] = word(tiles * grids.by_tile);
    head[SEQUENCE_GRID] = word(sequences);
}

/// The tokens of each sequence, from a header.
pub(super) fn sequences(head: &[u32]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let starts = &head[head[STARTS_AT] as usize..][..=head[SEQUENCES] as usize];
    starts.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
}

pub(super) const fn reads(name: &'static str) -> Bind {
    Bind { name, access: Access::Read }
}

pub(super) const fn writes(name: &'static str) -> Bind {
    Bind { name, access: Access::Write }
}

pub(super) const fn weights(name: &'static str) -> Bind {
    Bind { name, access: Access::Weights }
}

/// The source of an encoder kernel's shader: what all of them share, then its own file.
macro_rules! encoder_shader {
    ($name:literal) => {
        concat!(
            include_str!("../../shaders/encoder.wgsl"),
            include_str!(concat!("../../shaders/", $name, ".wgsl"))
        )
    };
}
pub(super) use encoder_shader;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_where_everything_is() {
        let (a, b): (Vec<u32>, Vec<u32>) = ((0..17).collect(), vec![9; 16]);
        let grids =
            Grids { by_tokens: [(8, 1), (32, 3), (1, 1), (64, 1), (33, 2), (1, 0)], by_tile: 12 };
        let mut head = vec![7; 3];
        write_head(&[&a[..], &b, &[4]], &grids, &mut head);
        assert!(head.len() <= head_words(34, 3));
        assert_eq!((head[TOKENS], head[SEQUENCES], head[TILES]), (34, 3, 4));
        assert_eq!(head[head[IDS_AT] as usize + 16..][..2], [16, 9]);
        assert_eq!(head[head[PLACES_AT] as usize + 16..][..2], [16, 0]);
        assert_eq!(sequences(&head).collect::<Vec<_>>(), [0..17, 17..33, 33..34]);
        assert_eq!(head[head[TILES_AT] as usize..], [0, 0, 0, 16, 1, 17, 2, 33]);
        assert_eq!(head[GRIDS..FIXED], [8, 6, 64, 1, 4, 0, 96, 4]);
    }
}
