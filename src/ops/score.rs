//! Scores each event by the past of its key: the detector (`ops::ewma`) and the decision (`ops::decide`) as one kernel.
//!
//! Spec, one event at a time: the events of a key are taken in the order of arrival. An event's time moves the key's
//! clock on by its gap to the latest time before, in units of the key's usual spacing; a time that does not move it on
//! is a gap of 0. Each of the event's values that is a number has its distance judged and learnt; the largest one goes
//! to the decision. With forests (`ops::forest`) it is the value of the largest isolation. An event without a number is
//! *missing*: it moves the clock and nothing else. One row comes out for each event that has an id.
//!
//! State lies in the rows of the slot that all events go to (`ops::page`), `state_words` for each key. Two lines of 64
//! bytes are touched for every event of a query with one value: the detector's (clock, rest, the first value's track)
//! and half of the next (level, counts); what follows only by peaks.
//!
//! A serial device walks the batch as it is. A parallel one needs the events grouped (`ops::group`): a thread takes a
//! key and walks its events, so a batch takes as long as its busiest key. Rows come in the order of the walk.
//!
//! Cost per event: its time and values, 8 bytes of order, the state read and written once per key and batch on a
//! parallel device, 40 bytes of row. About 200 operations.

use super::batch::{self, ASIDE, OUT_ASIDE, OUT_FIXED};
use super::decide::{self, PRIOR, RING_PEAKS, SLOPE_FIRST};
use super::ewma::{self, Distance, TRACK, Track, VALUE_MAX, held, near_zero};
use super::forest::{self, Isolation};
use super::group::{GROUPED, LIST, SEGMENT, SEGMENTS};
use super::math::{inverse, ticks};
use super::number::{Mask, Number};
use super::page::{Page, Slot, slot_map};
use super::row::Kind;
use super::simd;
use crate::base::limits::{VALUES_MAX, word};
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

params! {
    /// What the score kernel is told once.
    ScoreParams {
        /// Words of an event.
        stride: u32,
        /// The word of an event at which its time begins.
        time_word: u32,
        /// The word of an event at which its key begins.
        key_word: u32,
        /// Words of a key; 0 when there is none.
        key_words: u32,
        /// How many values there are.
        values: u32,
        /// Words of a key's state.
        state_words: u32,
        /// The first block of the page.
        first_block: u32,
        /// Blocks of the page, or `page::ALONE`.
        blocks: u32,
        /// For each value, two at a time, its word and its kind, 16 bits: see [`packed`].
        values01: u32,
        /// As above.
        values23: u32,
        /// As above.
        values45: u32,
        /// As above.
        values67: u32,
        /// Events that a key needs before it can alert.
        warm: u32,
        /// Whether alerts come for values above what was expected.
        up: u32,
        /// Whether alerts come for values below.
        down: u32,
        /// 1 on a serial device: the order is that of the batch, and `order` holds ids.
        serial: u32,
        /// One by the longest horizon, in spacings.
        rate: f32,
        /// Ticks between two events; 0 when each key's own are learnt.
        spacing: f32,
        /// Minus the logarithm of the rate of false alarms.
        asked: f32,
        /// How long alerts rest, in spacings.
        rest: f32,
        /// The least distance that alerts, in units of the value.
        least: f32,
        /// The least distance that alerts, as a share of what was expected.
        least_share: f32,
        /// Zero, which a compiler must not know: it keeps products from being fused with sums.
        zero: u32,
        /// Points of each sample of the forests; 0 when there are none.
        forest: u32,
    }
}

/// The score kernel, for queries without forests; [`FOREST`](super::forest::FOREST) is for those with. On a serial
/// device `order` is bound to the ids, and `segments` is not read.
pub static SCORE: Kernel = Kernel {
    name: "score",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: concat!(
        include_str!("../../shaders/window.wgsl"),
        include_str!("../../shaders/isolation.wgsl"),
        include_str!("../../shaders/scores.wgsl"),
        include_str!("../../shaders/score.wgsl")
    ),
    cpu: score,
};

/// What the kernels that score bind.
pub(super) const BINDS: &[Bind] = &[
    Bind { name: "order", access: Access::Read },
    Bind { name: "segments", access: Access::Read },
    Bind { name: "map", access: Access::Read },
    Bind { name: "states", access: Access::Write },
    Bind { name: "out", access: Access::Write },
];

/// State: events with a number seen.
pub const SEEN: usize = 0;
/// State: the latest time, low word first.
pub const TIME: usize = 1;
/// State: the usual gap between two events, in ticks.
pub const SPACING: usize = 3;
/// State: spacings that alerts still rest.
pub const REST: usize = 4;
/// State: the surprise of the latest alert.
pub const PEAK: usize = 5;
/// State: the first value's track.
pub const TRACK_FIRST: usize = 6;
/// State: weight, mean and squares of the level.
pub const LEVEL: usize = 16;
/// State: events that the share of peaks counts.
pub const TRIALS: usize = 19;
/// State: peaks among them.
pub const PEAKS: usize = 20;
/// State: mean excess of peaks.
pub const EXCESS: usize = 21;
/// State: mean of half the lesser excess of two.
pub const LEAST: usize = 22;
/// State: slope of the logistic curve.
pub const SLOPE: usize = 23;
/// State: excesses of the latest peaks.
pub const RING: usize = 24;
/// State: tracks of further values.
pub const TRACKS: usize = RING + RING_PEAKS as usize;

/// Words of a key's state, in whole lines of 64 bytes.
pub const fn state_words(values: usize) -> usize {
    (TRACKS + (values - 1) * TRACK).next_multiple_of(16)
}

/// Words of a key's state with forests of so many points: they stand behind everything else.
pub const fn state_words_with(values: usize, points: u32) -> usize {
    state_words(values) + forest::forest_words(values, points).next_multiple_of(16)
}

/// Where a value's track begins.
#[inline(always)]
pub const fn track(value: usize) -> usize {
    if value == 0 { TRACK_FIRST } else { TRACKS + (value - 1) * TRACK }
}

/// Words of a row: key, time, flags, surprise, value, what was expected, its variance, events seen.
pub const ROW: usize = 10;
/// Output word: how many rows there are. They stand behind the list of events set aside.
pub const OUT_SCORED: usize = 5;

/// Flag of a row: the event is an alert.
pub const ALERT: u32 = 1;
/// Flag: its key has seen too little to alert.
pub const WARMING: u32 = 2;
/// Flag: its key rests after an alert.
pub const RESTING: u32 = 4;
/// Flag: it would be an alert but for a rule.
pub const RULED_OUT: u32 = 8;
/// Flag: none of its values is a number.
pub const MISSING: u32 = 16;
/// Flag: a value was held to +-10^12.
pub const CLAMPED: u32 = 32;
/// Flag: it is no peak; its surprise is the exponent of the logistic curve.
pub const USUAL: u32 = 64;
/// Bits of the flags above which the number of the value stands, of 3 bits.
pub const VALUE_SHIFT: u32 = 8;
/// Bits of the flags above which the coarse isolation stands, in units of 1/65,535.
pub const ISOLATION_SHIFT: u32 = 16;

/// A candidate is news to a resting key when its surprise is so many times that of the alert.
pub const AGAIN: f32 = 1.2;
/// Spacings that a gap counts for, at most.
const STEPS_MAX: f32 = 4096.0;
/// Events ahead of the one being scored whose states are fetched.
const AHEAD: usize = 12;
/// Events that a key needs before it has a level.
pub(super) const LEVEL_FIRST: u32 = 8;

/// Two values' words and kinds as one parameter: 12 bits of word, 4 of kind.
pub fn packed(values: [Option<(usize, Kind)>; 2]) -> u32 {
    let one = |v: Option<(usize, Kind)>| v.map_or(0, |(at, kind)| word(at) | (kind as u32) << 12);
    one(values[0]) | one(values[1]) << 16
}

impl ScoreParams {
    /// The word and kind of a value.
    #[inline(always)]
    pub(super) fn value(&self, i: usize) -> (usize, Kind) {
        let pairs = [self.values01, self.values23, self.values45, self.values67];
        let packed = pairs[i / 2] >> (16 * (i % 2));
        ((packed & 0xFFF) as usize, Kind::from_u32(packed >> 12 & 15))
    }
}

/// A value's word as a number, subnormal ones as 0; `None` for a NaN.
#[inline(always)]
fn number(kind: Kind, word: u32) -> Option<f32> {
    let bits = kind.bits(word);
    if kind == Kind::I32 {
        return Some(bits.cast_signed() as f32);
    }
    if bits & 0x7FFF_FFFF > 0x7F80_0000 {
        return None;
    }
    Some(f32::from_bits(if bits & 0x7F80_0000 == 0 { 0 } else { bits }))
}

/// What a key's clock keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock<N> {
    /// The usual gap between two events, in ticks.
    pub(super) spacing: N,
    /// Spacings that alerts still rest.
    pub(super) rest: N,
}

impl<N: Number> Clock<N> {
    /// Moves it on by `gap` ticks, which are more than 0 where `moves` says so, after `seen` events; returns by how many
    /// spacings.
    #[inline(always)]
    pub(super) fn advance(&mut self, p: &ScoreParams, seen: N, gap: N, moves: N::Mask) -> N {
        let k = N::from;
        let mut steps = k(0.0);
        if moves.any() {
            let old = self.spacing;
            let share = inverse(seen).from_up(k(1.0 / 64.0));
            let heard = N::pick(old.above(k(0.0)), gap.up_to(k(8.0) * old), gap);
            self.spacing = N::pick(moves, old + (heard - old) * share, old);
            let spacing = if p.spacing > 0.0 { k(p.spacing) } else { self.spacing };
            steps = N::pick(moves, (gap * inverse(spacing)).up_to(k(STEPS_MAX)), steps);
        }
        let rest = self.rest - steps;
        self.rest = N::pick(rest.above(k(0.0)), rest, k(0.0));
        steps
    }
}

/// Moves a key's clock on; returns by how many spacings.
#[inline(always)]
fn advance(state: &mut [u32], p: &ScoreParams, time: u64) -> f32 {
    let seen = state[SEEN];
    let last = batch::join(state[TIME], state[TIME + 1]);
    if seen == 0 {
        state[SLOPE] = SLOPE_FIRST.to_bits();
    }
    let later = time > last;
    if seen == 0 || later {
        (state[TIME], state[TIME + 1]) = (batch::lo(time), batch::hi(time));
    }
    let moves = seen != 0 && later;
    let gap = if moves { ticks(time - last) } else { 0.0 };
    let [spacing, rest] = [SPACING, REST].map(|at| f32::from_bits(state[at]));
    let mut clock = Clock { spacing, rest };
    let steps = clock.advance(p, seen as f32, gap, moves);
    (state[SPACING], state[REST]) = (clock.spacing.to_bits(), clock.rest.to_bits());
    steps
}

/// The isolation of a value that its track has learnt, by the key's forests, which learn it in turn.
fn isolation(state: &mut [u32], p: &ScoreParams, value: usize, x: f32) -> Isolation {
    let values = p.values as usize;
    let [origin, short, middle] = [0, 2, 5].map(|i| f32::from_bits(state[track(value) + i]));
    let forest = &mut state[state_words(values)..];
    forest::isolation(forest, value, p.forest, [near_zero(x - origin), short, middle])
}

/// Scores one event and learns it. `row` is what comes out, its key aside.
#[inline(always)]
fn step<const VALUES: usize>(
    state: &mut [u32],
    p: &ScoreParams,
    event: &[u32],
    row: &mut [u32; ROW],
) {
    let time = batch::join(event[p.time_word as usize], event[p.time_word as usize + 1]);
    let steps = advance(state, p, time);
    let decays = ewma::decays(steps, p.rate);
    let mut far = Distance::<f32>::none();
    let (mut flags, mut value, mut most) = (MISSING, 0.0, 0);
    let points = if VALUES == 0 { p.forest } else { 0 };
    let mut apart = Isolation { fine: -1.0, coarse: 0.0 };
    for i in 0..if VALUES == 0 { p.values as usize } else { VALUES } {
        let (at, kind) = p.value(i);
        let Some(x) = number(kind, event[at]) else { continue };
        let clamped = held(x, VALUE_MAX);
        flags |= if clamped == x { 0 } else { CLAMPED };
        let mut past = Track::read(state, track(i), clamped);
        let found = past.distance(clamped, decays);
        past.write(state, track(i));
        if points > 0 {
            let isolation = isolation(state, p, i, clamped);
            if isolation.fine > apart.fine {
                (apart, far, value, most) = (isolation, found, clamped, i);
            }
        } else if found.z2 > far.z2 {
            (far, value, most) = (found, clamped, i);
        }
        flags &= !MISSING;
    }
    let mut surprise = 0.0;
    if flags & MISSING == 0 {
        flags |= word(most) << VALUE_SHIFT;
        let seen = state[SEEN].saturating_add(1);
        state[SEEN] = seen;
        let middle = f32::from_bits(state[track(most) + 4]);
        let few = points == 0 && state[PEAKS] < PRIOR && seen / 4 <= p.warm;
        if seen <= p.warm || few || middle < ewma::SETTLED {
            flags |= WARMING;
        }
        if seen > LEVEL_FIRST {
            let level = match points {
                0 => decide::level(far.z2),
                _ => apart.fine * points.trailing_zeros() as f32,
            };
            (surprise, flags) = decide::decide(state, p, &far, level, flags);
        } else {
            flags |= USUAL;
        }
    } else {
        flags |= USUAL;
    }
    if points > 0 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a half at most"
        )]
        let share = (apart.coarse * 65535.0) as u32;
        flags |= share << ISOLATION_SHIFT;
    }
    (row[2], row[3]) = (batch::lo(time), batch::hi(time));
    (row[4], row[5], row[6]) = (flags, surprise.to_bits(), value.to_bits());
    (row[7], row[8]) = (far.expected.to_bits(), far.variance.to_bits());
    row[9] = state[SEEN];
}

/// The slot that all events of the batch go to.
fn slot(head: &[u32]) -> Slot {
    let at = head[batch::SPANS_AT] as usize;
    [head[at + 2], head[at + 3]]
}

/// One event's key.
#[inline(always)]
fn key(p: &ScoreParams, event: &[u32]) -> [u32; 2] {
    let at = p.key_word as usize;
    [if p.key_words == 0 { 0 } else { event[at] }, if p.key_words == 2 { event[at + 1] } else { 0 }]
}

fn score(args: Args<'_>) {
    let p: ScoreParams = args.params();
    match p.values {
        1 => score_as::<1>(args, &p),
        _ => score_as::<0>(args, &p),
    }
}

/// The kernel `forest`.
pub(super) fn score_with_forests(args: Args<'_>) {
    let p: ScoreParams = args.params();
    score_as::<0>(args, &p);
}

/// The walk of a serial device; `segments` are not looked at. `VALUES` of them without forests, or 0 for what the
/// parameters say.
fn score_as<const VALUES: usize>(args: Args<'_>, p: &ScoreParams) {
    debug_assert!(p.serial == 1, "the processor walks batches as they are");
    let (head, events) = (args.head, args.events);
    let [ids, _segments, map, states, out] = args.binds();
    let rows_at = OUT_FIXED + out[OUT_ASIDE] as usize;
    let (fixed, rows) = out.split_at_mut(rows_at);
    let mut walk = Walk { p, page: Page { first: p.first_block, blocks: p.blocks }, states };
    let mut rows = rows.as_chunks_mut::<ROW>().0;
    let room = rows.len();
    let side_by_side = VALUES == 1 && p.value(0).1 == Kind::F32 && simd::available();
    for chunk in batch::chunks(head) {
        let map = slot_map(map, slot(head));
        let events = batch::event_words(events, &chunk, p.stride as usize);
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        rows = if side_by_side {
            walk.sixteens(map, events, ids, rows)
        } else {
            walk.events::<VALUES>(map, events, ids, rows)
        };
    }
    let count = word(room - rows.len());
    fixed[OUT_SCORED] = count;
    fixed[0] = word(rows_at) + count * word(ROW);
}

/// What a serial device walks with.
struct Walk<'a> {
    p: &'a ScoreParams,
    page: Page,
    states: &'a mut [u32],
}

impl Walk<'_> {
    /// Has the state at `at` fetched.
    #[inline(always)]
    fn fetch(&self, at: usize) {
        simd::prefetch(self.states, at);
        simd::prefetch(self.states, at + 16);
    }

    /// Scores events one by one; returns the rows that are left.
    #[inline(always)]
    fn events<'r, const VALUES: usize>(
        &mut self,
        map: &[u32],
        events: &[u32],
        ids: &[u32],
        rows: &'r mut [[u32; ROW]],
    ) -> &'r mut [[u32; ROW]] {
        let p = self.p;
        let words = if VALUES == 0 { p.state_words as usize } else { state_words(VALUES.max(1)) };
        let mut rows = rows.iter_mut();
        for (i, (event, &id)) in events.chunks_exact(p.stride as usize).zip(ids).enumerate() {
            if let Some(&ahead) = ids.get(i + AHEAD)
                && let Some(at) = self.page.row_at(map, ahead, words)
            {
                self.fetch(at);
            }
            if id >= ASIDE {
                continue;
            }
            let row = rows.next().expect("room for every event");
            let Some(at) = self.page.row_at(map, id, words) else { continue };
            [row[0], row[1]] = key(p, event);
            step::<VALUES>(&mut self.states[at..at + words], p, event, row);
        }
        rows.into_slice()
    }

    /// The same for events of one f32, sixteen side by side where they are of as many keys.
    fn sixteens<'r>(
        &mut self,
        map: &[u32],
        events: &[u32],
        ids: &[u32],
        mut rows: &'r mut [[u32; ROW]],
    ) -> &'r mut [[u32; ROW]] {
        let (p, page) = (self.p, self.page);
        let stride = p.stride as usize;
        let places = |ids: &[u32; simd::TOGETHER]| {
            let mut places = [0; simd::TOGETHER];
            for (place, &id) in places.iter_mut().zip(ids) {
                *place = word(page.row_at(map, id, 1).filter(|_| id < ASIDE)?);
            }
            Some(places)
        };
        let (sixteens, rest) = ids.as_chunks();
        let mut ahead = [sixteens.first().and_then(places), sixteens.get(1).and_then(places)];
        let mut events = events;
        for (i, ids) in sixteens.iter().enumerate() {
            let next = sixteens.get(i + 2).and_then(places);
            for &place in next.iter().flatten() {
                self.fetch(place as usize * state_words(1));
            }
            let now = ahead[0];
            ahead = [ahead[1], next];
            let (here, behind) = events.split_at(simd::TOGETHER * stride);
            events = behind;
            let Some(places) = now else {
                rows = self.events::<1>(map, here, ids, rows);
                continue;
            };
            let (row, behind) = rows.split_first_chunk_mut().expect("room for every event");
            rows = behind;
            let done = simd::score(p, here, &places, self.states, row);
            let mut left = !done;
            while left != 0 {
                let lane = left.trailing_zeros() as usize;
                let at = places[lane] as usize * state_words(1);
                let (state, event) =
                    (&mut self.states[at..at + state_words(1)], &here[lane * stride..]);
                [row[lane][0], row[lane][1]] = key(p, event);
                step::<1>(state, p, event, &mut row[lane]);
                left &= left - 1;
            }
        }
        self.events::<1>(map, events, rest, rows)
    }
}

const _: () =
    assert!(SEGMENTS == 0 && GROUPED == 1 && LIST == 4 && SEGMENT == 2, "as the twins say");
const _: () = assert!(VALUES_MAX == 8, "as many as the parameters hold");
const _: () = assert!(TRACK_FIRST + TRACK == LEVEL, "one line");

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
