//! The scores of a serial device: it walks the events of a batch as they lie.
//!
//! The states of events ahead are fetched meanwhile. Where the processor has AVX-512 and events one f32 and no forests,
//! sixteen events of different keys go side by side (`ops::simd`), and what that leaves is scored one by one.

use super::batch::{self, ASIDE, OUT_ASIDE, OUT_FIXED};
use super::decide::{self, Judged};
use super::detector::{ByDistance, Judge};
use super::page::{ALONE, NO_BLOCK, Page, Slot, in_order, slot_map};
use super::row::Kind;
use super::score::{
    EXCESS, LEAST, LEVEL_FIRST, OUT_SCORED, PEAKS, ROW, SEEN, ScoreParams, key, row_words,
    state_words, step,
};
use super::simd::{self, Undecided};
use crate::base::limits::word;
use crate::plan::Args;

/// Events ahead of the one being scored whose states are fetched.
const AHEAD: usize = 12;

/// The same where events go sixteen at a time, in sixteens.
const PARTS_AHEAD: usize = 3;

/// Words of the state of a key with one value.
const STATE: usize = state_words(1);

/// Where the states of sixteen events lie, if each has one. Its alignment is that of a vector.
#[repr(align(64))]
struct Ahead {
    places: [u32; simd::TOGETHER],
    found: bool,
}

/// The slot that all events of the batch go to.
pub(super) fn slot(head: &[u32]) -> Slot {
    let at = head[batch::SPANS_AT] as usize;
    [head[at + 2], head[at + 3]]
}

/// The kernels that score.
pub(super) fn score<J: Judge>(args: Args<'_>, judge: J) {
    let p: ScoreParams = args.params();
    match (p.detector, p.values) {
        // One value alone, and no ensemble.
        (0, 1) if p.state_words as usize == state_words(1) => {
            score_as::<1, _>(args, &p, ByDistance);
        }
        _ => score_as::<0, _>(args, &p, judge),
    }
}

/// The walk of a serial device; `segments` are not looked at. `VALUES` is one where there is one and distances judge,
/// or 0 for what the parameters say.
fn score_as<const VALUES: usize, J: Judge>(args: Args<'_>, p: &ScoreParams, judge: J) {
    let (head, events) = (args.head, args.events);
    let [ids, _segments, map, states, out] = args.binds();
    let rows_at = OUT_FIXED + out[OUT_ASIDE] as usize;
    let (fixed, rows) = out.split_at_mut(rows_at);
    let page = Page { first: p.first_block, blocks: p.blocks };
    let mut walk = Walk { p, judge, page, states };
    let room = rows.len();
    let mut rows = rows;
    let alone = (p.first_block, p.blocks) == (0, ALONE);
    let plain = alone && p.value(0).1 == Kind::F32 && p.drift_threshold == 0.0;
    let side_by_side = VALUES == 1 && plain && simd::available();
    for chunk in batch::chunks(head) {
        let map = slot_map(map, slot(head));
        let events = batch::event_words(events, &chunk, p.stride as usize);
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        rows = if side_by_side {
            walk.side_by_side(map, events, ids, rows)
        } else {
            walk.events::<VALUES>(map, events, ids, rows)
        };
    }
    let words = room - rows.len();
    fixed[OUT_SCORED] = word(words / row_words(p.values as usize));
    fixed[0] = word(rows_at + words);
}

/// What a serial device walks with.
struct Walk<'a, J> {
    p: &'a ScoreParams,
    judge: J,
    page: Page,
    states: &'a mut [u32],
}

impl<J: Judge> Walk<'_, J> {
    /// Has the state at `at` fetched.
    #[inline(always)]
    fn fetch(&self, at: usize) {
        simd::prefetch(self.states, at);
        simd::prefetch(self.states, at + 16);
    }

    /// Scores events one by one; returns the words that are left of the rows.
    #[inline(always)]
    fn events<'r, const VALUES: usize>(
        &mut self,
        map: &[u32],
        events: &[u32],
        ids: &[u32],
        mut rows: &'r mut [u32],
    ) -> &'r mut [u32] {
        let p = self.p;
        let (words, of) = match VALUES {
            0 => {
                let at = p.state_at as usize;
                (p.state_words as usize, at..at + p.own_words as usize)
            }
            _ => (state_words(1), 0..state_words(1)),
        };
        let several = row_words(if VALUES == 0 { p.values as usize } else { VALUES }) - ROW;
        for (i, (event, &id)) in events.chunks_exact(p.stride as usize).zip(ids).enumerate() {
            if let Some(&ahead) = ids.get(i + AHEAD)
                && let Some(at) = self.page.row_at(map, ahead, words)
            {
                self.fetch(at + of.start);
            }
            if id >= ASIDE {
                continue;
            }
            let (row, behind) = rows.split_first_chunk_mut().expect("room for every event");
            let parts;
            (parts, rows) = behind.split_at_mut(several);
            let Some(at) = self.page.row_at(map, id, words) else { continue };
            [row[0], row[1]] = key(p, event);
            let state = &mut self.states[at..at + words][of.clone()];
            step::<VALUES, _>(state, p, &mut self.judge, event, (row, parts));
        }
        rows
    }

    /// The same for events of one f32, [`simd::TOGETHER`] side by side where they are of different keys.
    fn side_by_side<'r>(
        &mut self,
        map: &[u32],
        events: &[u32],
        ids: &[u32],
        rows: &'r mut [u32],
    ) -> &'r mut [u32] {
        let stride = self.p.stride as usize;
        let keys = self.states.len() / STATE;
        let (parts, rest) = ids.as_chunks();
        let mut events = events.chunks_exact(simd::TOGETHER * stride);
        let mut undecided = Undecided::new();
        // Blocks that all lie one after another, as far as there are any: no look at the map for each event.
        let used = map.iter().rposition(|&block| block != NO_BLOCK).map_or(0, |last| last + 1);
        let whole = map.len() <= ids.len() / 4 && !map[..used].contains(&NO_BLOCK);
        let base = if whole { in_order(&map[..used]) } else { None };
        let near = if base.is_some() { &map[..used] } else { map };
        let mut ahead = [const { Ahead { places: [0; _], found: false } }; PARTS_AHEAD + 1];
        let find = |walk: &Self, ahead: &mut Ahead, part: usize| {
            let ids = parts.get(part);
            ahead.found =
                ids.is_some_and(|ids| simd::places(near, base, ids, keys, &mut ahead.places));
            for &place in ahead.places.iter().filter(|_| ahead.found) {
                walk.fetch(place as usize * STATE);
            }
        };
        for (part, ahead) in ahead.iter_mut().enumerate().take(PARTS_AHEAD) {
            find(self, ahead, part);
        }
        // Where the rows of the events at hand begin.
        let mut at = 0;
        for (i, ids) in parts.iter().enumerate() {
            let events = events.next().expect("an event for each id");
            find(self, &mut ahead[(i + PARTS_AHEAD) % (PARTS_AHEAD + 1)], i + PARTS_AHEAD);
            let Ahead { places, found } = &ahead[i % (PARTS_AHEAD + 1)];
            if *found {
                self.together((events, places), rows, at, &mut undecided);
                at += simd::TOGETHER * ROW;
            } else {
                self.decide(rows, &mut undecided);
                let room = rows.len();
                at = room - self.events::<1>(map, events, ids, &mut rows[at..]).len();
            }
        }
        self.decide(rows, &mut undecided);
        self.events::<1>(map, events.remainder(), rest, &mut rows[at..])
    }

    /// Scores events side by side whose states are known; their rows begin at `at`.
    #[inline(always)]
    fn together(
        &mut self,
        (events, places): (&[u32], &[u32; simd::TOGETHER]),
        rows: &mut [u32],
        at: usize,
        undecided: &mut Undecided,
    ) {
        let p = self.p;
        let mut left = None;
        while left.is_none() {
            let row = rows[at..].as_chunks_mut().0.first_chunk_mut().expect("room for every event");
            left = simd::score(p, events, places, self.states, (row, word(at / ROW)), undecided);
            if left.is_none() || undecided.len >= simd::TOGETHER {
                self.decide(rows, undecided);
            }
        }
        for lane in simd::ones(left.unwrap_or(0)) {
            if undecided.keys[..undecided.len].contains(&places[lane]) {
                self.decide(rows, undecided);
            }
            let state = &mut self.states[places[lane] as usize * STATE..][..STATE];
            let event = &events[lane * p.stride as usize..];
            let row: &mut [u32; ROW] = rows[at + lane * ROW..].first_chunk_mut().expect("a row");
            [row[0], row[1]] = key(p, event);
            step::<1, _>(state, p, &mut ByDistance, event, (row, &mut []));
        }
    }

    /// Decides about what is undecided.
    fn decide(&mut self, rows: &mut [u32], undecided: &mut Undecided) {
        const ONES: usize = simd::TOGETHER;
        let mut from = 0;
        while from < undecided.len {
            let these = from..undecided.len.min(from + ONES);
            let (mut peaks, mut trials) = ([[0; ONES]; 3], [0; ONES]);
            for (i, these) in these.clone().enumerate() {
                let state = &self.states[undecided.keys[these] as usize * STATE..][..STATE];
                for (words, at) in peaks.iter_mut().zip([PEAKS, EXCESS, LEAST]) {
                    words[i] = state[at];
                }
                trials[i] = decide::trials(levels_before(state[SEEN]));
            }
            let u = undecided.u[from..].first_chunk().expect("room for so many");
            let by_past = simd::tails(&peaks, u, &trials);
            for (i, by_past) in these.zip(by_past) {
                let [u, off] = [undecided.u[i], undecided.off[i]].map(f32::from_bits);
                let state = &mut self.states[undecided.keys[i] as usize * STATE..][..STATE];
                let row = &mut rows[undecided.rows[i] as usize * ROW..][..ROW];
                let event = Judged { level: 0.0, u, off, expected: f32::from_bits(row[7]) };
                let known = (levels_before(state[SEEN]), row[4]);
                let by_past = f32::from_bits(by_past);
                let (surprise, flags) = decide::decide_by(state, self.p, &event, by_past, known);
                (row[4], row[5]) = (flags, surprise.to_bits());
            }
            from += ONES;
        }
        undecided.clear();
    }
}

/// Levels of a key before its latest event, which it had.
#[inline(always)]
fn levels_before(seen: u32) -> u32 {
    seen - LEVEL_FIRST - 1
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
