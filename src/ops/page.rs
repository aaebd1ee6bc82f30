//! Where rows lie: how a kernel finds the row of an id in a slot.
//!
//! The rows of [`BLOCK_IDS`] consecutive ids of one slot lie together, in a *block*. A slot is a part of the block
//! map: one entry, the number of a block, for each [`BLOCK_IDS`] ids. So slots come and go and keys grow without a row
//! being moved, and a slot takes memory for the ids it is used for, not for all there are.
//!
//! Blocks lie in *pages*, each a buffer of what one binding of the device holds. A kernel binds one page and leaves
//! alone what is not in it; with several pages there is a step for each. All blocks of one id lie in one page, so
//! kernels that combine the rows of an id never need two.

use crate::base::limits::{BLOCK_IDS, word};

/// An entry of the block map that has no block.
pub const NO_BLOCK: u32 = u32::MAX;
/// The blocks of a page that is the only one: all there are.
pub const ALONE: u32 = u32::MAX;

/// A slot as headers name it: where its part of the block map begins, and how many entries that has.
pub type Slot = [u32; 2];
/// No slot: it has no block for any id.
pub const NO_SLOT: Slot = [0, 0];

/// A slot's part of the block map.
#[inline(always)]
pub fn slot_map(map: &[u32], [at, blocks]: Slot) -> &[u32] {
    &map[at as usize..][..blocks as usize]
}

/// Where the row of `id` begins, in words, given its slot's part of the block map, when there is one page only.
#[inline(always)]
pub fn row_at(map: &[u32], id: u32, row_words: usize) -> usize {
    let (block, within) = (id as usize / BLOCK_IDS, id as usize % BLOCK_IDS);
    (map[block] as usize * BLOCK_IDS + within) * row_words
}

/// The row of id 0 when a slot's blocks lie one after another.
pub(super) fn in_order(map: &[u32]) -> Option<u32> {
    let first = *map.first()?;
    let follows = |(i, &block): (u32, &u32)| block == first.wrapping_add(i) || block == NO_BLOCK;
    (first != NO_BLOCK && (0..).zip(map).all(follows)).then(|| first * word(BLOCK_IDS))
}

/// The page that a kernel binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its first block.
    pub first: u32,
    /// Its blocks, or [`ALONE`].
    pub blocks: u32,
}

impl Page {
    /// The rows of one block of a slot, by their place in this page; `None` when the block lies in another page or the
    /// slot has none for these ids.
    #[inline(always)]
    pub fn block(self, map: &[u32], block: usize) -> Option<usize> {
        let block = map.get(block)?.wrapping_sub(self.first);
        (block < self.blocks).then_some(block as usize * BLOCK_IDS)
    }

    /// Where the row of `id` begins, in words of this page.
    #[inline(always)]
    pub fn row_at(self, map: &[u32], id: u32, row_words: usize) -> Option<usize> {
        let rows = self.block(map, id as usize / BLOCK_IDS)?;
        Some((rows + id as usize % BLOCK_IDS) * row_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_in_one_page_or_in_none() {
        let map = [9, 3, 4, NO_BLOCK, 7];
        let part = slot_map(&map, [1, 3]);
        let ids = word(BLOCK_IDS);
        let pages = [Page { first: 0, blocks: 4 }, Page { first: 4, blocks: 4 }];
        for (id, want) in [
            (0, [Some(3 * BLOCK_IDS * 8), None]),
            (ids - 1, [Some((4 * BLOCK_IDS - 1) * 8), None]),
            (ids + 2, [None, Some(16)]),
            (2 * ids, [None, None]),
            (3 * ids, [None, None]),
        ] {
            assert_eq!(pages.map(|page| page.row_at(part, id, 8)), want, "id {id}");
        }
        let alone = Page { first: 0, blocks: ALONE };
        assert_eq!(alone.row_at(part, ids + 2, 8), Some(row_at(part, ids + 2, 8)));
        assert_eq!(alone.row_at(part, 2 * ids, 8), None);
    }
}
