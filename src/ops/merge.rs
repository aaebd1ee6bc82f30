//! Whole slots at a time: adding one to another, and emptying them.
//!
//! Spec: `MERGE` adds, for each id, the row of each source slot to the row of the destination; what hopping windows
//! share is made of it. `CLEAR` zeroes the rows of slots that no window needs any more. `ZERO` zeroes a buffer.
//!
//! Cost per id: one row read for each source, one read and written; a row written.

use super::fold::{RowParams, row_at, slot_map};
use super::keys::{WALK_FROM, WALK_TO};
use super::row::{self, Layout};
use crate::base::limits::BLOCK_IDS;
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

/// Header of the programs that walk over slots (after the words of any walk): entries of the block map per slot.
pub const WALK_MAP_STRIDE: usize = 3;
/// The destination slot, or [`NO_SLOT`].
pub const WALK_INTO: usize = 4;
/// How many slots follow.
pub const WALK_SLOTS: usize = 5;
/// The first of the slots.
pub const WALK_SLOT: usize = 6;
/// Slots that one header names, at most.
pub const WALK_SLOTS_MAX: usize = 10;
/// Words of such a header.
pub const WALK_WORDS: usize = WALK_SLOT + WALK_SLOTS_MAX;
/// No slot.
pub const NO_SLOT: u32 = u32::MAX;

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

/// The slots a header names.
pub fn slots(head: &[u32]) -> &[u32] {
    &head[WALK_SLOT..WALK_SLOT + head[WALK_SLOTS] as usize]
}

/// The ids of a walk, a block at a time: (first id, ids).
fn blocks(head: &[u32]) -> impl Iterator<Item = (u32, usize)> {
    let (from, to) = (head[WALK_FROM], head[WALK_TO]);
    (from..to).step_by(BLOCK_IDS).map(move |id| (id, BLOCK_IDS.min((to - id) as usize)))
}

fn merge(args: Args<'_>) {
    let p: RowParams = args.params();
    let head = args.head;
    let [map, rows] = args.binds();
    let (layout, words) = (Layout::new(p.parts), p.row_words as usize);
    let stride = head[WALK_MAP_STRIDE] as usize;
    let into = slot_map(map, head[WALK_INTO], stride);
    for &slot in slots(head) {
        let from = slot_map(map, slot, stride);
        for id in head[WALK_FROM]..head[WALK_TO] {
            let (a, b) = (row_at(into, id, words), row_at(from, id, words));
            let [a, b] =
                rows.get_disjoint_mut([a..a + words, b..b + words]).expect("slots are distinct");
            row::merge(a, b, &layout);
        }
    }
}

fn clear(args: Args<'_>) {
    let p: RowParams = args.params();
    let head = args.head;
    let [map, rows] = args.binds();
    let words = p.row_words as usize;
    for &slot in slots(head) {
        let map = slot_map(map, slot, head[WALK_MAP_STRIDE] as usize);
        for (id, ids) in blocks(head) {
            debug_assert!((id as usize).is_multiple_of(BLOCK_IDS), "slots are emptied from id 0");
            rows[row_at(map, id, words)..][..ids * words].fill(0);
        }
    }
}

fn zero(args: Args<'_>) {
    let p: ZeroParams = args.params();
    let [words] = args.binds();
    words[..p.words as usize].fill(0);
}
