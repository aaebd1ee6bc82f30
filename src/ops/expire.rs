//! Forgets keys that have not been seen for their time to live.
//!
//! Spec: a key expires when the last batch that saw it ran in a generation before the header's, and no live slot
//! holds a row of it; its id then goes to the free list and its record is marked by generation 0. The table is
//! rebuilt afterwards. The host makes a new generation whenever event time has moved on by a share of the time to live.
//!
//! Cost per id: its generation, and one count for each live slot when that is old.

use super::fold::{row_at, slot_map};
use super::keys::{COUNTS_FREE, COUNTS_LIST, WALK_FROM, WALK_TO};
use super::merge::WALK_MAP_STRIDE;
use super::row::COUNT;
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

/// Header: the oldest generation that stays.
pub const EXPIRE_BEFORE: usize = 4;
/// Header: how many live slots follow.
pub const EXPIRE_SLOTS: usize = 5;
/// Header: the first live slot.
pub const EXPIRE_SLOT: usize = 6;
const _: () = assert!(EXPIRE_SLOT > WALK_MAP_STRIDE);

params! {
    /// What the expire kernel is told once.
    ExpireParams {
        /// Words of a key record.
        record_words: u32,
        /// The word of a record that holds the generation.
        seen_word: u32,
        /// Words of a row.
        row_words: u32,
        /// Padding.
        pad0: u32,
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
    let slots = &head[EXPIRE_SLOT..][..head[EXPIRE_SLOTS] as usize];
    for id in head[WALK_FROM]..head[WALK_TO] {
        let generation = &mut keys[id as usize * record_words + seen];
        let live = *generation >= head[EXPIRE_BEFORE]
            || *generation != 0
                && slots.iter().any(|&slot| {
                    let map = slot_map(map, slot, head[WALK_MAP_STRIDE] as usize);
                    rows[row_at(map, id, p.row_words as usize) + COUNT] != 0
                });
        if !live {
            *generation = 0;
            counts[COUNTS_LIST + counts[COUNTS_FREE] as usize] = id;
            counts[COUNTS_FREE] += 1;
        }
    }
}
