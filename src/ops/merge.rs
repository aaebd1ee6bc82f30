//! Whole slots at a time: adding one to another, and emptying them.
//!
//! Spec: `MERGE` adds, for each id, the row of each source slot to the row of the destination, which has a block
//! wherever a source has one; what hopping windows share is made of it. `CLEAR` zeroes all blocks of slots that no
//! window needs any more. `ZERO` zeroes a buffer.
//!
//! Cost per id: one row read for each source, one read and written; a row written.

use super::fold::RowParams;
use super::keys::{WALK_FROM, WALK_TO};
use super::page::{Slot, slot_map};
use super::row::{self, ANY, Layout, with_parts};
use crate::base::limits::BLOCK_IDS;
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};
use std::ops::Range;

/// Header of the programs that walk over slots (after the words of any walk): the destination slot, of two words (see
/// `ops::page`), or `NO_SLOT`.
pub const WALK_INTO: usize = 3;
/// How many slots follow.
pub const WALK_SLOTS: usize = 5;
/// The first of the slots, of two words each.
pub const WALK_SLOT: usize = 6;
/// Slots that one header names, at most.
pub const WALK_SLOTS_MAX: usize = 10;
/// Words of such a header.
pub const WALK_WORDS: usize = WALK_SLOT + 2 * WALK_SLOTS_MAX;

const BINDS: &[Bind] =
    &[Bind { name: "map", access: Access::Read }, Bind { name: "rows", access: Access::Write }];

/// Adds slots to a slot.
pub static MERGE: Kernel = Kernel {
    name: "merge",
    params: RowParams::FIELDS,
    events: false,
    binds: BINDS,
    wgsl: window_shader!("merge"),
    cpu: merge,
};

/// Empties slots.
pub static CLEAR: Kernel = Kernel {
    name: "clear",
    params: RowParams::FIELDS,
    events: false,
    binds: BINDS,
    wgsl: window_shader!("clear"),
    cpu: clear,
};

params! {
    /// How much a `ZERO` step zeroes.
    ZeroParams {
        /// Words, from the buffer's first.
        words: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
        /// Padding.
        pad2: u32,
    }
}

/// Zeroes a buffer, four words a thread.
pub static ZERO: Kernel = Kernel {
    name: "zero",
    params: ZeroParams::FIELDS,
    events: false,
    binds: &[Bind { name: "words", access: Access::Write }],
    wgsl: window_shader!("zero"),
    cpu: zero,
};

/// The destination slot of a header.
pub fn into(head: &[u32]) -> Slot {
    [head[WALK_INTO], head[WALK_INTO + 1]]
}

/// The slots a header names.
pub fn slots(head: &[u32]) -> &[Slot] {
    head[WALK_SLOT..][..2 * head[WALK_SLOTS] as usize].as_chunks().0
}

/// The ids of a walk by their blocks: which entry of a slot's map, and which of its ids.
pub fn blocks(head: &[u32]) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
    let (from, to) = (head[WALK_FROM] as usize, head[WALK_TO] as usize);
    (from / BLOCK_IDS..to.div_ceil(BLOCK_IDS)).map(move |block| {
        let first = block * BLOCK_IDS;
        (block, from.saturating_sub(first)..BLOCK_IDS.min(to - first))
    })
}

fn merge(args: Args<'_>) {
    let p: RowParams = args.params();
    with_parts!(p.parts, merge_as(args, &p));
}

fn merge_as<const WORDS: usize, const PARTS: u32>(args: Args<'_>, p: &RowParams) {
    let head = args.head;
    let [map, rows] = args.binds();
    let any = PARTS == ANY;
    let words = if any { p.row_words as usize } else { WORDS };
    let layout = if any { Layout::new(p.parts) } else { const { Layout::new(PARTS) } };
    let into = slot_map(map, into(head));
    for &slot in slots(head) {
        let from = slot_map(map, slot);
        for (block, ids) in blocks(head) {
            let page = p.page();
            let (Some(a), Some(b)) = (page.block(into, block), page.block(from, block)) else {
                continue;
            };
            for id in ids {
                let (a, b) = ((a + id) * words, (b + id) * words);
                let [a, b] = rows
                    .get_disjoint_mut([a..a + words, b..b + words])
                    .expect("slots are distinct");
                row::merge(a, b, &layout);
            }
        }
    }
}

fn clear(args: Args<'_>) {
    let p: RowParams = args.params();
    let head = args.head;
    let [map, rows] = args.binds();
    let words = p.row_words as usize;
    for &slot in slots(head) {
        let map = slot_map(map, slot);
        for first in blocks(head).filter_map(|(block, _)| p.page().block(map, block)) {
            rows[first * words..][..BLOCK_IDS * words].fill(0);
        }
    }
}

fn zero(args: Args<'_>) {
    let p: ZeroParams = args.params();
    let [words] = args.binds();
    words[..p.words as usize].fill(0);
}
