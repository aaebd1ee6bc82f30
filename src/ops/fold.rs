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
use super::page::{ALONE, NO_BLOCK, Page, Slot, row_at, slot_map};
use super::row::{self, EXACT, EXTREMES, FIRST, FIXED, Kind, LAST, Layout, Place};
use super::simd::{self, Converted, Source};
use crate::base::limits::{BLOCK_IDS, word};
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

/// Sum, minimum and maximum.
const USUAL: u32 = EXTREMES | FIXED;
/// The same over the whole range of an f32.
const USUAL_EXACT: u32 = EXTREMES | EXACT;
/// Parts or a kind that the compiler does not know.
const ANY: u32 = u32::MAX;

fn fold(args: Args<'_>) {
    let p: RowParams = args.params();
    let float = p.kind == Kind::F32 as u32;
    // The usual shapes get code of their own: the compiler sees their constants, and rows are in the one page.
    match (p.parts, float) {
        _ if p.blocks != ALONE => fold_as::<0, ANY>(args, &p),
        (0, _) => fold_as::<4, 0>(args, &p),
        (USUAL, true) => fold_as::<8, USUAL>(args, &p),
        (FIXED, true) => fold_as::<8, FIXED>(args, &p),
        (EXTREMES, true) => fold_as::<8, EXTREMES>(args, &p),
        (USUAL_EXACT, true) => fold_as::<24, USUAL_EXACT>(args, &p),
        (EXACT, true) => fold_as::<24, EXACT>(args, &p),
        _ => fold_as::<0, ANY>(args, &p),
    }
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

/// Adds events that all go to one slot.
#[inline(always)]
fn add_to_slot<const WORDS: usize, const PARTS: u32>(
    rows: &mut [u32],
    map: &[u32],
    p: &RowParams,
    words: &[u32],
    ids: &[u32],
) {
    let (stride, value) = (p.stride as usize, p.value_word as usize);
    let row_words = if PARTS == ANY { p.row_words as usize } else { WORDS };
    let (mut words, mut ids) = (words, ids);
    if PARTS != ANY && PARTS & EXACT == 0 && PARTS != 0 && simd::available() {
        let scale = f64::from_bits((1023 + u64::from(p.fraction)) << 52);
        let mut converted = Converted::default();
        let base = if map.len() <= ids.len() { in_order(map) } else { None };
        let (blocks, rest) = ids.as_chunks::<{ simd::TOGETHER }>();
        let (first, last) = words.split_at(blocks.len() * simd::TOGETHER * stride);
        for (ids, words) in blocks.iter().zip(first.chunks_exact(simd::TOGETHER * stride)) {
            let source = Source { words, stride, value, ids, map, base, scale };
            add_together::<WORDS, PARTS>(rows, &source, p, &mut converted);
        }
        (words, ids) = (last, rest);
    }
    for (event, &id) in words.chunks_exact(stride).zip(ids) {
        if id < ASIDE
            && let Some(at) = find::<PARTS>(map, id, row_words, p)
        {
            add::<WORDS, PARTS>(rows, at, p, event[value]);
        }
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

/// The row of id 0 when a slot's blocks lie one after another.
fn in_order(map: &[u32]) -> Option<u32> {
    let first = *map.first()?;
    let follows = |(i, &block): (u32, &u32)| block == first.wrapping_add(i) || block == NO_BLOCK;
    (first != NO_BLOCK && (0..).zip(map).all(follows)).then(|| first * word(BLOCK_IDS))
}

/// Converts sixteen values side by side, then adds them one by one.
#[inline(always)]
fn add_together<const WORDS: usize, const PARTS: u32>(
    rows: &mut [u32],
    source: &Source<'_>,
    p: &RowParams,
    converted: &mut Converted,
) {
    if !simd::convert(source, converted) {
        // A NaN, an infinity, a value outside the fixed point or an event set aside: one by one.
        for (event, &id) in source.words.chunks_exact(source.stride).zip(source.ids) {
            if id < ASIDE {
                add::<WORDS, PARTS>(rows, row_at(source.map, id, WORDS), p, event[source.value]);
            }
        }
        return;
    }
    let layout = const { Layout::new(PARTS) };
    let rows = rows.as_chunks_mut::<WORDS>().0;
    for i in 0..simd::TOGETHER {
        let row = &mut rows[converted.row[i] as usize];
        row[row::COUNT] = row[row::COUNT].wrapping_add(1);
        if PARTS & EXTREMES != 0 {
            let extremes = converted.extremes[i];
            row[layout.extremes] = row[layout.extremes].max(batch::lo(extremes));
            row[layout.extremes + 1] = row[layout.extremes + 1].max(batch::hi(extremes));
        }
        if PARTS & FIXED != 0 {
            row::add64(row, layout.fixed, i64::from(converted.fixed[i]).cast_unsigned());
        }
    }
}

#[inline(always)]
fn fold_as<const WORDS: usize, const PARTS: u32>(args: Args<'_>, p: &RowParams) {
    let (head, events) = (args.head, args.events);
    let [ids, map, rows] = args.binds();
    let (stride, value) = (p.stride as usize, p.value_word as usize);
    let words = if PARTS == ANY { p.row_words as usize } else { WORDS };
    let ends = p.ends != 0 && p.parts & (FIRST | LAST) != 0;
    for chunk in batch::chunks(head) {
        let event_words = batch::event_words(events, &chunk, stride);
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        let spans = batch::spans(head, &chunk);
        if spans.len() == 1 && !ends {
            let map = slot_map(map, batch::span_slot(&spans[0]));
            add_to_slot::<WORDS, PARTS>(rows, map, p, event_words, ids);
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
