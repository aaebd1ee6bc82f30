//! Closes a window: combines its slots key by key and hands the rows to the host.
//!
//! Spec: for each id, the window's row is the sum of its rows in the slots named, and in the destination slot if
//! there is one; a slot without a block for the id counts for nothing, and the destination has one wherever a source
//! has. The row is emitted when its count differs from the count it was last emitted with (0 if never); the
//! destination, where there is one, then holds the combined row and that count. Row order is not promised.
//!
//! Firing is resumable because a walk covers a range of ids no longer than the output has room for rows: the host
//! goes on with the next range. A range lies in one page of key records, which is why a walk is one program for each of
//! those pages. One step fires one value's rows; the first (`lead`) decides which ids are emitted
//! and where, those of further values follow it.
//!
//! Cost per id: one row read for each slot; per row emitted its words written.

use super::keys::WALK_FROM;
use super::merge::{WALK_SLOTS_MAX, blocks, into, slots};
use super::page::{Page, slot_map};
use super::row::{self, ANY, COUNT, FIRED, Layout, with_parts};
use crate::base::limits::{BLOCK_IDS, word};
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

params! {
    /// What firing one value's rows is told once.
    FireParams {
        /// Which parts a row has.
        parts: u32,
        /// Words of a row.
        row_words: u32,
        /// Words of an emitted row, keys and all values together.
        out_words: u32,
        /// Where this value's words begin in an emitted row.
        out_at: u32,
        /// 1 for the value that decides what is emitted.
        lead: u32,
        /// Words of a key; 0 when the id is the key.
        key_words: u32,
        /// Words of a key record.
        record_words: u32,
        /// Offset of the extremes in a row.
        extremes: u32,
        /// Offset of the fixed-point sum.
        fixed: u32,
        /// Offset of the squares.
        squares: u32,
        /// Offset of the exact sum.
        exact: u32,
        /// Offset of the first value.
        first: u32,
        /// Offset of the last value.
        last: u32,
        /// The first block of the page.
        first_block: u32,
        /// Blocks of the page, or `page::ALONE`.
        blocks: u32,
        /// The first id of the page of key records.
        first_id: u32,
    }
}

/// The fire kernel.
pub static FIRE: Kernel = Kernel {
    name: "fire",
    params: FireParams::FIELDS,
    events: false,
    binds: &[
        Bind { name: "records", access: Access::Read },
        Bind { name: "map", access: Access::Read },
        Bind { name: "rows", access: Access::Write },
        Bind { name: "emitted", access: Access::Write },
        Bind { name: "out", access: Access::Write },
    ],
    wgsl: window_shader!("fire"),
    cpu: fire,
};

/// Words of the output before its first row: words in use, rows, padding.
pub const FIRE_FIXED: usize = 4;
/// Output word: how many rows there are.
pub const FIRE_ROWS: usize = 1;
/// Words of an emitted row before its values: the key, low word first.
pub const FIRE_KEY: usize = 2;

/// Words of the largest row.
const ROW_MAX: usize = Layout::new(63).words;

fn fire(args: Args<'_>) {
    let p: FireParams = args.params();
    with_parts!(p.parts, fire_as(args, &p));
}

fn fire_as<const WORDS: usize, const PARTS: u32>(args: Args<'_>, p: &FireParams) {
    let head = args.head;
    let [keys, map, rows, emitted, out] = args.binds();
    let any = PARTS == ANY;
    let words = if any { p.row_words as usize } else { WORDS };
    let layout = if any { Layout::new(p.parts) } else { const { Layout::new(PARTS) } };
    let page = Page { first: p.first_block, blocks: p.blocks };
    let into = slot_map(map, into(head));
    let (mut row, mut count) = ([0u32; ROW_MAX], out[FIRE_ROWS]);
    let mut from = [0; WALK_SLOTS_MAX];
    for (block, ids) in blocks(head) {
        let mut sources = 0;
        for at in slots(head).iter().filter_map(|&slot| page.block(slot_map(map, slot), block)) {
            from[sources] = at;
            sources += 1;
        }
        let into = page.block(into, block);
        if sources == 0 && into.is_none() {
            continue;
        }
        for within in ids {
            let id = block * BLOCK_IDS + within;
            let place = &mut emitted[id - head[WALK_FROM] as usize];
            if p.lead == 0 && *place == 0 {
                continue;
            }
            let row = &mut row[..words];
            row.fill(0);
            for at in &from[..sources] {
                row::merge(row, &rows[(at + within) * words..][..words], &layout);
            }
            let into = into.map(|at| &mut rows[(at + within) * words..][..words]);
            let mut fired = 0;
            if let Some(into) = &into {
                row::merge(row, into, &layout);
                fired = into[FIRED];
            }
            if p.lead != 0 {
                if row[COUNT] == fired {
                    *place = 0;
                    continue;
                }
                count += 1;
                *place = count;
            }
            if let Some(into) = into {
                into.copy_from_slice(row);
                into[FIRED] = row[COUNT];
            }
            let to = FIRE_FIXED + (*place as usize - 1) * p.out_words as usize;
            if p.lead != 0 {
                let record = (id - p.first_id as usize) * p.record_words as usize;
                out[to] = if p.key_words == 0 { word(id) } else { keys[record] };
                out[to + 1] = if p.key_words == 2 { keys[record + 1] } else { 0 };
            }
            out[to + p.out_at as usize..][..words].copy_from_slice(row);
        }
    }
    out[FIRE_ROWS] = count;
    if p.lead != 0 {
        out[0] = word(FIRE_FIXED) + count * p.out_words;
    }
}
