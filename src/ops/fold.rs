//! Adds each event's value to the accumulator row of its key and slice.
//!
//! Spec, one event at a time: an event with id `k` goes to the rows of `k` in the slot of its span, or in all
//! slots of its chunk's spans; there its value is added as `ops::row` says. The order of events does not matter:
//! everything added is an integer or a maximum.
//!
//! A row is found through the block map (`ops::page`); events whose rows lie in another page are left to its step.
//!
//! Cost per event: 4 bytes of value, 4 of id, one row of 32 bytes read and written for sum, min and max.

use super::batch::{self, ASIDE, Chunk, SPAN};
use super::page::{ALONE, NO_SLOT, Page, Slot, in_order, row_at, slot_map};
use super::row::{
    self, ANY, EXTREMES, FIRST, FIXED, Kind, LAST, Layout, Place, USUAL, USUAL_SQUARES, with_parts,
};
use super::simd::{self, Source};
use crate::base::limits::BLOCK_IDS;
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

params! {
    /// What the row kernels are told once: where the value lies and how a row is laid out.
    RowParams {
        /// Words of an event.
        stride: u32,
        /// The word of an event at which its time begins.
        time_word: u32,
        /// The word of an event that holds the value.
        value_word: u32,
        /// How the value lies in that word: a `row::Kind`.
        kind: u32,
        /// Which parts a row has: `row::EXTREMES` and so on.
        parts: u32,
        /// Bits of the fixed point's fraction.
        fraction: u32,
        /// Words of a row.
        row_words: u32,
        /// 1 when first and last are kept by this kernel (serial devices), 0 when `ELECT` and `ENDS` do it.
        ends: u32,
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
    }
}

impl RowParams {
    /// The page of rows that the kernel binds.
    #[inline(always)]
    pub const fn page(&self) -> Page {
        Page { first: self.first_block, blocks: self.blocks }
    }
}

/// The fold kernel.
pub static FOLD: Kernel = Kernel {
    name: "fold",
    params: RowParams::FIELDS,
    events: true,
    binds: &[
        Bind { name: "ids", access: Access::Read },
        Bind { name: "map", access: Access::Read },
        Bind { name: "rows", access: Access::Write },
    ],
    wgsl: window_shader!("fold"),
    cpu: fold,
};

fn fold(args: Args<'_>) {
    let p: RowParams = args.params();
    // The vector loops know f32 values alone, and rows in the one page.
    let known = p.blocks == ALONE && (p.parts == 0 || p.kind == Kind::F32 as u32);
    with_parts!(if known { p.parts } else { ANY }, fold_as(args, &p));
}

/// Adds one event's value to its row. `WORDS` and `PARTS` are those of an f32's row, or 0 and [`ANY`].
#[inline(always)]
fn add<const WORDS: usize, const PARTS: u32>(
    rows: &mut [u32],
    at: usize,
    p: &RowParams,
    word: u32,
) {
    if PARTS == ANY {
        let layout = Layout::new(p.parts);
        let row = &mut rows[at..at + p.row_words as usize];
        row::add_value(row, &layout, p.parts, Kind::from_u32(p.kind), p.fraction, word);
    } else {
        let row: &mut [u32; WORDS] =
            (&mut rows[at..at + WORDS]).try_into().expect("of this length");
        row::add_value(row, &const { Layout::new(PARTS) }, PARTS, Kind::F32, p.fraction, word);
    }
}

/// Adds events that all go to one slot. Rows lie where `map` says; those of `near`, its beginning, from `base` on if
/// there is one.
#[inline(always)]
fn add_to_slot<const WORDS: usize, const PARTS: u32>(
    rows: &mut [u32],
    (map, near, base): (&[u32], &[u32], Option<u32>),
    p: &RowParams,
    words: &[u32],
    ids: &[u32],
) {
    let (stride, value) = (p.stride as usize, p.value_word as usize);
    let row_words = if PARTS == ANY { p.row_words as usize } else { WORDS };
    let one_by_one = |rows: &mut [u32], from: usize, to: usize| {
        for (event, &id) in words[from * stride..].chunks_exact(stride).zip(&ids[from..to]) {
            if id < ASIDE
                && let Some(at) = find::<PARTS>(map, id, row_words, p)
            {
                add::<WORDS, PARTS>(rows, at, p, event[value]);
            }
        }
    };
    let mut done = 0;
    if simd::adds(PARTS) && simd::available() {
        let scale = f32::from_bits((127 + p.fraction) << 23);
        let blocks = ids.as_chunks().0;
        let whole = blocks.len() * simd::TOGETHER;
        while done < whole {
            let (ids, words) = (&blocks[done / simd::TOGETHER..], &words[done * stride..]);
            done += add_together::<PARTS>(
                &Source { words, stride, value, ids, map: near, base, scale },
                rows,
            );
            if done < whole {
                let to = done + simd::TOGETHER;
                one_by_one(rows, done, to);
                done = to;
            }
        }
    }
    one_by_one(rows, done, ids.len());
}

/// [`simd::add`] for the parts that it knows.
#[inline(always)]
fn add_together<const PARTS: u32>(source: &Source<'_>, rows: &mut [u32]) -> usize {
    match PARTS {
        FIXED => simd::add::<FIXED>(source, rows),
        EXTREMES => simd::add::<EXTREMES>(source, rows),
        USUAL => simd::add::<USUAL>(source, rows),
        USUAL_SQUARES => simd::add::<USUAL_SQUARES>(source, rows),
        _ => 0,
    }
}

/// Where the row of `id` begins, if it lies in this page.
#[inline(always)]
fn find<const PARTS: u32>(map: &[u32], id: u32, row_words: usize, p: &RowParams) -> Option<usize> {
    if PARTS == ANY {
        p.page().row_at(map, id, row_words)
    } else {
        Some(row_at(map, id, row_words))
    }
}

#[inline(always)]
fn fold_as<const WORDS: usize, const PARTS: u32>(args: Args<'_>, p: &RowParams) {
    let (head, events) = (args.head, args.events);
    let [ids, map, rows] = args.binds();
    let (stride, value) = (p.stride as usize, p.value_word as usize);
    let words = if PARTS == ANY { p.row_words as usize } else { WORDS };
    let many = head[batch::EVENTS] as usize;
    let known = (head[batch::IDS_KNOWN] as usize).div_ceil(BLOCK_IDS);
    let ends = p.ends != 0 && p.parts & (FIRST | LAST) != 0;
    // The chunks before mostly went to the same slot.
    let mut latest = (NO_SLOT, None);
    for chunk in batch::chunks(head) {
        let event_words = batch::event_words(events, &chunk, stride);
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        let spans = batch::spans(head, &chunk);
        if spans.len() == 1 && !ends {
            let slot = batch::span_slot(&spans[0]);
            let map = slot_map(map, slot);
            let near = &map[..known.min(map.len())];
            if latest.0 != slot {
                latest = (slot, if near.len() <= many { in_order(near) } else { None });
            }
            let near = if latest.1.is_some() { near } else { map };
            add_to_slot::<WORDS, PARTS>(rows, (map, near, latest.1), p, event_words, ids);
            continue;
        }
        for (i, (event, &id)) in event_words.chunks_exact(stride).zip(ids).enumerate() {
            if id >= ASIDE {
                continue;
            }
            let time = batch::join(event[p.time_word as usize], event[p.time_word as usize + 1]);
            for_slots(&chunk, spans, time, |slot| {
                let Some(at) = find::<PARTS>(slot_map(map, slot), id, words, p) else { return };
                add::<WORDS, PARTS>(rows, at, p, event[value]);
                if PARTS == ANY && ends {
                    add_ends(&mut rows[at..at + words], p, place(&chunk, i, time), event[value]);
                }
            });
        }
    }
}

/// Offers one event to its row's first and last value.
fn add_ends(row: &mut [u32], p: &RowParams, place: Place, word: u32) {
    let kind = Kind::from_u32(p.kind);
    let bits = kind.bits(word);
    if !kind.is_nan(bits) {
        row::add_ends(row, &Layout::new(p.parts), p.parts, place, bits);
    }
}

/// Where the chunk's `i`-th event stands among others.
#[inline(always)]
pub fn place(chunk: &Chunk, i: usize, time: u64) -> Place {
    Place { time, lane: chunk.lane + 1, seq: chunk.seq + i as u64 }
}

/// Calls `f` for each slot an event at `time` goes to.
#[inline(always)]
pub fn for_slots(chunk: &Chunk, spans: &[[u32; SPAN]], time: u64, mut f: impl FnMut(Slot)) {
    if chunk.all {
        spans.iter().for_each(|span| f(batch::span_slot(span)));
    } else {
        f(batch::slot_at(spans, time));
    }
}
