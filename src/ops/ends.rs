//! First and last values on parallel devices: elect one event a row, then let the winners write.
//!
//! Spec: the first value of a row is that of the event smallest by (time, lane, sequence), the last that of the
//! largest; NaN takes no part. A row's end is seven words, too wide for one atomic, so `ELECT` finds by CAS the
//! event of this batch that wins the row, comparing times through the events themselves, and `ENDS` lets that one
//! event, and no other, compare itself with what the row holds and replace it. Inside a batch events lie in the
//! order of (lane, sequence), so their index breaks ties. Serial devices do all this inside `FOLD`.
//!
//! Cost per event and end: its time read once or twice, one CAS, the row's end read by one event a row.

use super::batch::{self, ASIDE, Chunk};
use super::fold::{RowParams, for_slots, place};
use super::page::slot_map;
use super::row::{END, END_ELECT, FIRST, Kind, LAST, set_end, takes_end};
use crate::plan::{Access, Args, Bind, EventWords, Kernel};

const BINDS: &[Bind] = &[
    Bind { name: "ids", access: Access::Read },
    Bind { name: "map", access: Access::Read },
    Bind { name: "rows", access: Access::Write },
];

/// Elects the batch's first and last event of each row.
pub static ELECT: Kernel = Kernel {
    name: "elect",
    params: RowParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: window_shader!("elect"),
    cpu: elect,
};

/// Lets the elected events replace what their rows hold.
pub static ENDS: Kernel = Kernel {
    name: "ends",
    params: RowParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: window_shader!("ends"),
    cpu: ends,
};

/// One event and one end of one row it goes to.
struct Candidate {
    chunk: Chunk,
    within: usize,
    time: u64,
    bits: u32,
    /// Where the end begins, in words of `rows`.
    end: usize,
    last: bool,
}

/// Calls `f` for every candidate of the batch, in order.
fn candidates(
    p: &RowParams,
    head: &[u32],
    events: &dyn EventWords,
    (ids, map): (&[u32], &[u32]),
    mut f: impl FnMut(&Candidate),
) {
    let (stride, kind) = (p.stride as usize, Kind::from_u32(p.kind));
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let spans = batch::spans(head, &chunk);
        for (within, event) in words.chunks_exact(stride).enumerate() {
            let id = ids[chunk.first as usize + within];
            let bits = kind.bits(event[p.value_word as usize]);
            if id >= ASIDE || kind.is_nan(bits) {
                continue;
            }
            let time = batch::join(event[p.time_word as usize], event[p.time_word as usize + 1]);
            for_slots(&chunk, spans, time, |slot| {
                let map = slot_map(map, slot);
                let Some(row) = p.page().row_at(map, id, p.row_words as usize) else { return };
                for (part, at, last) in [(FIRST, p.first, false), (LAST, p.last, true)] {
                    if p.parts & part != 0 {
                        let end = row + at as usize;
                        f(&Candidate { chunk, within, time, bits, end, last });
                    }
                }
            });
        }
    }
}

fn elect(args: Args<'_>) {
    let p: RowParams = args.params();
    let (head, events) = (args.head, args.events);
    let [ids, map, rows] = args.binds();
    // The time of an event by its index in the batch, through the chunk that holds it.
    let time_of = |index: u32| {
        let chunk = batch::chunks(head).find(|c| (c.first..c.first + c.events).contains(&index));
        let chunk = chunk.expect("an elected event lies in a chunk");
        let words = batch::event_words(events, &chunk, p.stride as usize);
        let at = (index - chunk.first) as usize * p.stride as usize + p.time_word as usize;
        batch::join(words[at], words[at + 1])
    };
    candidates(&p, head, events, (ids, map), |c| {
        let mine = c.chunk.first + u32::try_from(c.within).expect("a chunk's events fit");
        let elected = &mut rows[c.end + END_ELECT];
        let wins = match elected.checked_sub(1) {
            None => true,
            Some(there) if c.last => (c.time, mine) > (time_of(there), there),
            Some(there) => (c.time, mine) < (time_of(there), there),
        };
        if wins {
            *elected = mine + 1;
        }
    });
}

fn ends(args: Args<'_>) {
    let p: RowParams = args.params();
    let (head, events) = (args.head, args.events);
    let [ids, map, rows] = args.binds();
    candidates(&p, head, events, (ids, map), |c| {
        let mine = c.chunk.first + u32::try_from(c.within).expect("a chunk's events fit");
        let end = &mut rows[c.end..c.end + END];
        if end[END_ELECT] == mine + 1 {
            let place = place(&c.chunk, c.within, c.time);
            if takes_end(end, place, c.last) {
                set_end(end, place, c.bits);
            }
            end[END_ELECT] = 0;
        }
    });
}
