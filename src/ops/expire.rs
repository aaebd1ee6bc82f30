//! Forgets keys that have not been seen for their time to live.
//!
//! Spec: a key expires when the last batch that saw it ran in a generation before the header's, and no live slot
//! holds a row of it; its id then goes to the free list and its record is marked by generation 0. The list is as long
//! as the buffer it lies in: when it is full, keys that have expired stay as they are for another time, though they
//! are counted with the others. The table is rebuilt afterwards. The host makes a new generation whenever event time
//! has moved on by a share of the time to live.
//!
//! Cost per id: its generation, and one count for each live slot when that is old.

use super::keys::{COUNTS_FREE, COUNTS_LIST};
use super::merge::blocks;
use super::page::{NO_BLOCK, Page, slot_map};
use super::row::COUNT;
use crate::base::limits::{BLOCK_IDS, word};
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

/// Header: the oldest generation that stays.
pub const EXPIRE_BEFORE: usize = 3;
/// Header: how many live slots follow.
pub const EXPIRE_SLOTS: usize = 5;
/// Header: the first live slot, of two words (see `ops::page`).
pub const EXPIRE_SLOT: usize = 6;

params! {
    /// What the expire kernel is told once.
    ExpireParams {
        /// Words of a key record.
        record_words: u32,
        /// The word of a record that holds the generation.
        seen_word: u32,
        /// Words of a row.
        row_words: u32,
        /// The first block of the page.
        first_block: u32,
        /// Blocks of the page, or `page::ALONE`.
        blocks: u32,
        /// The first id of the page of key records, in which the walk lies.
        first_id: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
    }
}

/// The expire kernel. `counts` has been reset by the host: base at the high-water mark, nothing free or taken.
pub static EXPIRE: Kernel = Kernel {
    name: "expire",
    params: ExpireParams::FIELDS,
    events: false,
    binds: &[
        Bind { name: "records", access: Access::Write },
        Bind { name: "counts", access: Access::Write },
        Bind { name: "map", access: Access::Read },
        Bind { name: "rows", access: Access::Read },
    ],
    wgsl: window_shader!("expire"),
    cpu: expire,
};

fn expire(args: Args<'_>) {
    let p: ExpireParams = args.params();
    let head = args.head;
    let [keys, counts, map, rows] = args.binds();
    let (record_words, seen) = (p.record_words as usize, p.seen_word as usize);
    let row_words = p.row_words as usize;
    let page = Page { first: p.first_block, blocks: p.blocks };
    let live: &[[u32; 2]] = head[EXPIRE_SLOT..][..2 * head[EXPIRE_SLOTS] as usize].as_chunks().0;
    for (block, ids) in blocks(head) {
        let entry = |slot: &[u32; 2]| slot_map(map, *slot).get(block).copied();
        let held = live.iter().filter_map(entry).find(|&block| block != NO_BLOCK);
        // All blocks of these ids lie in one page; the first page also takes ids that no live slot has a block for.
        if held.map_or(page.first != 0, |held| held.wrapping_sub(page.first) >= page.blocks) {
            continue;
        }
        for within in ids {
            let id = block * BLOCK_IDS + within;
            let generation = &mut keys[(id - p.first_id as usize) * record_words + seen];
            let is_live = *generation >= head[EXPIRE_BEFORE]
                || *generation != 0
                    && live.iter().any(|&slot| {
                        let block = page.block(slot_map(map, slot), block);
                        block.is_some_and(|rows_at| {
                            rows[(rows_at + within) * row_words + COUNT] != 0
                        })
                    });
            if is_live {
                continue;
            }
            let place = COUNTS_LIST + counts[COUNTS_FREE] as usize;
            counts[COUNTS_FREE] += 1;
            if let Some(place) = counts.get_mut(place) {
                *place = word(id);
                *generation = 0;
            }
        }
    }
}
