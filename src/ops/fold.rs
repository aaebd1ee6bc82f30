//! Adds each event's value to the accumulator row of its key and slice.
//!
//! Spec, one event at a time: an event with id `k` goes to the rows of `k` in the slot of its span, or in all
//! slots of its chunk's spans; there its value is added as `ops::row` says. The order of events does not matter:
//! everything added is an integer or a maximum.
//!
//! A row is found through the block map: the rows of 1,024 consecutive ids of one slot lie together, so slots
//! come and go and keys grow without moving a row.
//!
//! Cost per event: 4 bytes of value, 4 of id, one row of 32 bytes read and written for sum, min and max.

use super::batch::{self, ASIDE, Chunk, SPAN};
use super::row::{self, EXACT, EXTREMES, FIRST, FIXED, Kind, LAST, Layout, Place};
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
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
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

/// Where the row of `id` begins, in words, given its slot's part of the block map.
#[inline(always)]
pub fn row_at(map: &[u32], id: u32, row_words: usize) -> usize {
    let (block, within) = (id as usize / BLOCK_IDS, id as usize % BLOCK_IDS);
    (map[block] as usize * BLOCK_IDS + within) * row_words
}

/// A slot's part of the block map.
#[inline(always)]
pub fn slot_map(map: &[u32], slot: u32, stride: usize) -> &[u32] {
    &map[slot as usize * stride..][..stride]
}

/// Sum, minimum and maximum.
const USUAL: u32 = EXTREMES | FIXED;
/// The same over the whole range of an f32.
const USUAL_EXACT: u32 = EXTREMES | EXACT;

fn fold(args: Args<'_>) {
    let p: RowParams = args.params();
    let kind = Kind::from_u32(p.kind);
    // The usual shapes get code of their own: the compiler sees their constants.
    match (p.parts, kind) {
        (0, _) => fold_as::<4>(args, &p, 0, Kind::F32),
        (USUAL, Kind::F32) => fold_as::<8>(args, &p, USUAL, Kind::F32),
        (FIXED, Kind::F32) => fold_as::<8>(args, &p, FIXED, Kind::F32),
        (EXTREMES, Kind::F32) => fold_as::<8>(args, &p, EXTREMES, Kind::F32),
        (USUAL_EXACT, Kind::F32) => fold_as::<24>(args, &p, USUAL_EXACT, Kind::F32),
        (EXACT, Kind::F32) => fold_as::<24>(args, &p, EXACT, Kind::F32),
        (parts, kind) => fold_as::<0>(args, &p, parts, kind),
    }
}

/// What [`fold_as`] adds an event with.
struct Rows<'a> {
    rows: &'a mut [u32],
    layout: Layout,
    parts: u32,
    kind: Kind,
    fraction: u32,
}

impl Rows<'_> {
    /// Adds one value to the row that begins at `at`. `WORDS` is the row's size where it is known.
    #[inline(always)]
    fn add<const WORDS: usize>(&mut self, at: usize, word: u32, place: Option<Place>) {
        let words = if WORDS == 0 { self.layout.words } else { WORDS };
        let row = &mut self.rows[at..at + words];
        row::add_value(row, &self.layout, self.parts, self.kind, self.fraction, word);
        if let Some(place) = place {
            let bits = self.kind.bits(word);
            if !self.kind.is_nan(bits) {
                row::add_ends(row, &self.layout, self.parts, place, bits);
            }
        }
    }
}

#[inline(always)]
fn fold_as<const WORDS: usize>(args: Args<'_>, p: &RowParams, parts: u32, kind: Kind) {
    let (head, events) = (args.head, args.events);
    let [ids, map, rows] = args.binds();
    let (stride, value) = (p.stride as usize, p.value_word as usize);
    let map_stride = head[batch::MAP_STRIDE] as usize;
    let layout = Layout::new(parts);
    let words = if WORDS == 0 { layout.words } else { WORDS };
    debug_assert_eq!(words, p.row_words as usize, "the plan and the kernel lay rows out alike");
    let ends = p.ends != 0 && parts & (FIRST | LAST) != 0;
    let mut rows = Rows { rows, layout, parts, kind, fraction: p.fraction };
    for chunk in batch::chunks(head) {
        let event_words = batch::event_words(events, &chunk, stride);
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        let spans = batch::spans(head, &chunk);
        if spans.len() == 1 && !ends {
            let map = slot_map(map, spans[0][2], map_stride);
            for (event, &id) in event_words.chunks_exact(stride).zip(ids) {
                if id < ASIDE {
                    rows.add::<WORDS>(row_at(map, id, words), event[value], None);
                }
            }
            continue;
        }
        for (i, (event, &id)) in event_words.chunks_exact(stride).zip(ids).enumerate() {
            if id >= ASIDE {
                continue;
            }
            let time = batch::join(event[p.time_word as usize], event[p.time_word as usize + 1]);
            let place = ends.then(|| place(&chunk, i, time));
            for_slots(&chunk, spans, time, |slot| {
                let map = slot_map(map, slot, map_stride);
                rows.add::<WORDS>(row_at(map, id, words), event[value], place);
            });
        }
    }
}

/// Where the chunk's `i`-th event stands among others.
#[inline(always)]
pub fn place(chunk: &Chunk, i: usize, time: u64) -> Place {
    Place { time, lane: chunk.lane + 1, seq: chunk.seq + i as u64 }
}

/// Calls `f` for each slot an event at `time` goes to.
#[inline(always)]
pub fn for_slots(chunk: &Chunk, spans: &[[u32; SPAN]], time: u64, mut f: impl FnMut(u32)) {
    if chunk.all {
        spans.iter().for_each(|span| f(span[2]));
    } else {
        f(batch::slot_at(spans, time));
    }
}
