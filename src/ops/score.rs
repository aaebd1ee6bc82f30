//! Scores each event by the past of its key: the detector (`ops::ewma`) and the decision (`ops::decide`) as one kernel.
//!
//! Spec, one event at a time: the events of a key are taken in the order of arrival. An event's time moves the key's
//! clock on by its gap to the latest time before, in units of the key's usual spacing; a time that does not move it on
//! is a gap of 0. Each of the event's values that is a number has its distance judged and learnt; the largest one goes
//! to the decision. Where the query has a detector (`ops::detector`), it says which of the values stands out, and gives
//! the decision another level. An event without a number is *missing*: it moves the clock and nothing else. One row
//! comes out for each event that has an id.
//!
//! **Parts.** With several values a row ends in a word for each: how much of the event's score is its part, at least 0,
//! or -1 where it is missing. Parts are what their detector makes of a value by itself: the squared distance in
//! deviations (distances, seasons), the fourth power of the isolation (forests: of usual values it is a fifth of the
//! largest, and there may be seven of them), the squared distance of the value's stretch (profiles). Half-space trees
//! and projections, which judge all values together, say what each dimension did. Only the shares of the parts in their
//! sum mean anything: the reader gives each value its share of the score, so that these add up to it
//! ([`Score::attribution`](crate::Score::attribution)).
//!
//! State lies in the rows of the slot that all events go to (`ops::page`), `state_words` for each key. Of a query with
//! one value every event changes one line of 64 bytes (clock, the first value's track, level) and reads four words of
//! the next (rest, peaks); what follows is touched by peaks and alerts alone.
//!
//! A serial device walks the batch as it is. A parallel one needs the events grouped (`ops::group`): a thread takes a
//! key and walks its events, so a batch takes as long as its busiest key. Rows come in the order of the walk.
//!
//! Cost per event: its time and values, 8 bytes of order, the state read and written once per key and batch on a
//! parallel device, 40 bytes of row, 4 more a value where there are several. About 200 operations.

use super::batch;
use super::decide::{self, Judged, PRIOR, RING_PEAKS, SLOPE_FIRST, TRIALS_MAX};
use super::detector::{Apart, ByDistance, Detector, Judge, Learnt, Level, Moment};
use super::drift;
use super::ewma::{self, Distance, Spread, TRACK, Track, VALUE_MAX, held};
use super::group::{GROUPED, LIST, SEGMENT, SEGMENTS};
use super::math::{inverse, ticks};
use super::number::{Mask, Number};
use super::row::Kind;
use super::walk;
use crate::base::limits::{VALUES_MAX, word};
use crate::params;
use crate::plan::{Access, Bind, Kernel};

/// The source of a shader that scores, of these files beside those that all have.
macro_rules! scores_wgsl {
    ($($own:literal),+) => {
        concat!(
            include_str!("../../shaders/window.wgsl"),
            include_str!("../../shaders/state.wgsl"),
            include_str!("../../shaders/adwin.wgsl"),
            include_str!("../../shaders/decide.wgsl"),
            include_str!("../../shaders/scores.wgsl"),
            include_str!("../../shaders/point.wgsl"),
            $(include_str!(concat!("../../shaders/", $own))),+
        )
    };
}
pub(super) use scores_wgsl;

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
        /// Words of a key's state, of all detectors.
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
        /// On which side values alert: 1 above what was expected, 2 below, 3 on both.
        sides: u32,
        /// Words of a key's state, of this detector.
        own_words: u32,
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
        /// The share of chance in the surprise of a peak, to begin with; 0 where the key's own past alone decides.
        chance: f32,
        /// What chance makes of a level of one more, beyond those that it makes much of.
        chance_steep: f32,
        /// Which detector it is: the first word of [`Detector::shape`].
        detector: u32,
        /// The detector's numbers: the words behind.
        shape0: u32,
        /// As above.
        shape1: u32,
        /// As above.
        shape2: u32,
        /// As above.
        shape3: u32,
        /// Where in a key's state this detector's begins.
        state_at: u32,
        /// By how many deviations a level may be higher than it was and not drift; by a window, `ln(2 / delta)`.
        drift_delta: f32,
        /// The sum from which a key has drifted; 0 where no drift is looked for, below 0 where a window does.
        drift_threshold: f32,
    }
}

/// The score kernel, for queries that go by distances alone; each other detector has a kernel of its own, because of
/// what a parallel device pays for code that it does not run: registers. On a serial device `order` is bound to the
/// ids, and `segments` is not read.
pub static SCORE: Kernel = Kernel {
    name: "score",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("score.wgsl"),
    cpu: |args| walk::score(args, ByDistance),
};

/// What the kernels that score bind.
pub(super) const BINDS: &[Bind] = &[
    Bind { name: "order", access: Access::Read },
    Bind { name: "segments", access: Access::Read },
    Bind { name: "map", access: Access::Read },
    Bind { name: "states", access: Access::Write },
    Bind { name: "out", access: Access::Write },
];

/// State: events with a number seen; from 2^32 on it goes back by 2^17 each time, as trials do (`ops::decide`).
pub const SEEN: usize = 0;
/// State: the latest time, low word first.
pub const TIME: usize = 1;
/// State: the usual gap between two events, in ticks.
pub const SPACING: usize = 3;
/// State: the first value's track.
pub const TRACK_FIRST: usize = 4;
/// State: mean and variance of the level.
pub const LEVEL: usize = 14;
/// State: spacings that alerts still rest.
pub const REST: usize = 16;
/// State: the surprise of the latest alert.
pub const PEAK: usize = 17;
/// State: peaks that the share of peaks counts.
pub const PEAKS: usize = 18;
/// State: slope of the logistic curve.
pub const SLOPE: usize = 19;
/// State: mean excess of peaks.
pub const EXCESS: usize = 20;
/// State: mean of half the lesser excess of two.
pub const LEAST: usize = 21;
/// State: excesses of the latest peaks.
pub const RING: usize = 22;
/// State: up to which surprise candidates are dismissed, by a label (`ops::label`).
pub const BAR: usize = RING + RING_PEAKS as usize;
/// State: events seen when the bar was raised.
pub const BAR_SEEN: usize = BAR + 1;
/// State: the sum of the test for drift (`ops::drift`).
pub const DRIFT: usize = BAR_SEEN + 1;
/// State: tracks of further values.
pub const TRACKS: usize = DRIFT + 1;

/// Words of a key's state, in whole lines of 64 bytes.
pub const fn state_words(values: usize) -> usize {
    (TRACKS + (values - 1) * TRACK).next_multiple_of(16)
}

/// Words of a key's state with that of its detector, behind which only the window of `ops::adwin` stands.
pub const fn state_words_with(values: usize, detector: Detector) -> usize {
    state_words(values) + detector.words(values)
}

/// Where a value's track begins.
#[inline(always)]
pub const fn track(value: usize) -> usize {
    if value == 0 { TRACK_FIRST } else { TRACKS + (value - 1) * TRACK }
}

/// Words of a row, parts aside: key, time, flags, surprise, value, what was expected, its variance, events seen.
pub const ROW: usize = 10;

/// Words of a row of so many values, with a part for each of several.
pub const fn row_words(values: usize) -> usize {
    if values == 1 { ROW } else { ROW + values }
}

/// The part of a missing value.
pub const NO_PART: f32 = -1.0;
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
/// Flag: it would be an alert, but a label said that its like is normal.
pub const DISMISSED: u32 = 128;
/// Flag: its key has drifted, and what was learnt of it is forgotten (`ops::drift`).
pub const DRIFTED: u32 = 1 << 14;
/// Bits of the flags above which the number of the value stands, of 3 bits.
pub const VALUE_SHIFT: u32 = 8;
/// Bits of the flags above which the number of the detector stands, of 3 bits (`ops::ensemble`).
pub const DETECTOR_SHIFT: u32 = 11;
/// Bits of the flags above which the coarse isolation stands, in units of 1/65,535.
pub const ISOLATION_SHIFT: u32 = 16;

/// A candidate is news to a resting key when its surprise is so many times that of the alert.
pub const AGAIN: f32 = 1.2;
/// Spacings that a gap counts for, at most.
const STEPS_MAX: f32 = 4096.0;
/// What follows upon the highest number of events seen.
pub(super) const SEEN_AGAIN: u32 = u32::MAX - TRIALS_MAX / 2 + 1;
/// Events that a key needs before it has a level.
pub(super) const LEVEL_FIRST: u32 = 8;

/// Two values' words and kinds as one parameter: 12 bits of word, 4 of kind.
pub fn packed(values: [Option<(usize, Kind)>; 2]) -> u32 {
    let one = |v: Option<(usize, Kind)>| v.map_or(0, |(at, kind)| word(at) | (kind as u32) << 12);
    one(values[0]) | one(values[1]) << 16
}

impl ScoreParams {
    /// The detector that these are of.
    ///
    /// # Panics
    /// When they are of none.
    pub fn judged_by(&self) -> Detector {
        let shape = [self.detector, self.shape0, self.shape1, self.shape2, self.shape3];
        Detector::from_shape(shape).expect("parameters of a detector")
    }

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

/// Moves a key's clock on by `gap` ticks, which are more than 0 where `moves` says so, after `seen` events; returns by
/// how many spacings.
#[inline(always)]
pub(super) fn advance<N: Number>(
    spacing: &mut N,
    p: &ScoreParams,
    seen: N,
    gap: N,
    moves: N::Mask,
) -> N {
    let k = N::from;
    if !moves.any() {
        return k(0.0);
    }
    let old = *spacing;
    let share = inverse(seen).no_less(k(1.0 / 64.0));
    let heard = N::pick(old.above(k(0.0)), gap.up_to(k(8.0) * old), gap);
    *spacing = N::pick(moves, old + (heard - old) * share, old);
    let usual = if p.spacing > 0.0 { k(p.spacing) } else { *spacing };
    N::pick(moves, (gap * inverse(usual)).up_to(k(STEPS_MAX)), k(0.0))
}

/// What of a number is left, at least 0, once so much is taken: of a rest by spacings, of a surprise by a discount.
#[inline(always)]
pub(super) fn left_of<N: Number>(all: N, taken: N) -> N {
    let left = all - taken;
    N::pick(left.above(N::from(0.0)), left, N::from(0.0))
}

/// Moves a key's clock on; returns by how many spacings.
#[inline(always)]
pub(super) fn clock(state: &mut [u32], p: &ScoreParams, time: u64) -> f32 {
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
    let [mut spacing, rest] = [SPACING, REST].map(|at| f32::from_bits(state[at]));
    let steps = advance(&mut spacing, p, seen as f32, gap, moves);
    (state[SPACING], state[REST]) = (spacing.to_bits(), left_of(rest, steps).to_bits());
    steps
}

/// What is decided about an event of this level, which is learnt: its surprise and flags.
#[inline(always)]
fn decided(
    (state, window): (&mut [u32], &mut [u32]),
    p: &ScoreParams,
    far: &Distance<f32>,
    &Level { level, levels, .. }: &Level,
    flags: u32,
) -> (f32, u32) {
    let mut past = Spread::read(state, LEVEL);
    let u = decide::standardise(&mut past, level, levels as f32);
    past.write(state, LEVEL);
    let event = Judged { level, u, off: far.off, expected: far.expected };
    let looked_for = p.drift_threshold != 0.0 && flags & WARMING == 0;
    let drifted = looked_for && drift::has_drifted(state, window, p, u);
    decide::decide(state, p, &event, levels, if drifted { flags | DRIFTED } else { flags })
}

/// Scores one event and learns it. `row` is what comes out, its key aside, and `parts` what stands behind it. `VALUES`
/// are those of the query, one alone and by its distance, or 0 for what the parameters say.
#[inline(always)]
pub(super) fn step<const VALUES: usize, J: Judge>(
    state: &mut [u32],
    p: &ScoreParams,
    judge: &mut J,
    event: &[u32],
    (row, parts): (&mut [u32; ROW], &mut [u32]),
) {
    let time = batch::join(event[p.time_word as usize], event[p.time_word as usize + 1]);
    let values = if VALUES == 0 { p.values as usize } else { VALUES };
    let (state, own) = state.split_at_mut(state_words(values));
    // Nothing but one value's state is left of what has no window.
    let window = if VALUES == 0 { drift::window_words(p.drift_threshold) } else { 0 };
    let (own, window) = own.split_at_mut(own.len() - window);
    let steps = clock(state, p, time);
    let moment = Moment { time, steps, decays: ewma::decays(steps, p.rate) };
    let mut far = Distance::<f32>::none();
    let (mut flags, mut value, mut most) = (MISSING | USUAL, 0.0, 0);
    let mut apart = Apart { by: -1.0, dense: 0.0, part: 0.0 };
    for i in 0..values {
        let (at, kind) = p.value(i);
        let Some(x) = number(kind, event[at]) else {
            judge.missing(own, i);
            put_part(parts, i, NO_PART);
            continue;
        };
        let clamped = held(x, VALUE_MAX);
        flags |= if clamped == x { 0 } else { CLAMPED };
        let mut track = Track::read(state, track(i), clamped);
        let (mut found, offs) = track.distance(clamped);
        track.learn(offs, moment.decays);
        track.write(state, self::track(i));
        let learnt = Learnt { value: i, x: clamped, track: &track, moment: &moment };
        let stands = judge.value(own, p, &learnt, &mut found);
        put_part(parts, i, stands.part);
        if stands.by > apart.by {
            (apart, far, value, most) = (stands, found, clamped, i);
        }
        flags &= !MISSING;
    }
    let (mut surprise, mut dense) = (0.0, 0.0);
    if flags & MISSING == 0 {
        flags |= word(most) << VALUE_SHIFT;
        let seen = state[SEEN].checked_add(1).unwrap_or(SEEN_AGAIN);
        state[SEEN] = seen;
        let judged = judge.level(own, p, (&far, apart), seen, parts);
        dense = judged.dense;
        let middle = f32::from_bits(state[track(most) + 4]);
        let few = p.chance == 0.0 && state[PEAKS] < PRIOR && seen / 4 <= p.warm;
        if seen <= p.warm || few || !judged.known || middle < ewma::SETTLED {
            flags |= WARMING;
        }
        if judged.known {
            (surprise, flags) = decided((state, window), p, &far, &judged, flags & !USUAL);
        }
    }
    if VALUES == 0 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1")]
        let share = (dense * 65535.0) as u32;
        flags |= share << ISOLATION_SHIFT;
    }
    (row[2], row[3]) = (batch::lo(time), batch::hi(time));
    (row[4], row[5], row[6]) = (flags, surprise.to_bits(), value.to_bits());
    (row[7], row[8]) = (far.expected.to_bits(), far.variance.to_bits());
    row[9] = state[SEEN];
    if flags & DRIFTED != 0 {
        [state, own, window].into_iter().for_each(|words| words.fill(0));
    }
}

/// Puts down the part of a value, where there are several.
#[inline(always)]
fn put_part(parts: &mut [u32], value: usize, part: f32) {
    if let Some(word) = parts.get_mut(value) {
        *word = part.to_bits();
    }
}

/// Adds to the part of a value that is not missing.
#[inline(always)]
pub(super) fn add_part(parts: &mut [u32], value: usize, more: f32) {
    let part = f32::from_bits(parts[value]);
    if part >= 0.0 {
        parts[value] = (part + more).to_bits();
    }
}

/// One event's key.
#[inline(always)]
pub(super) fn key(p: &ScoreParams, event: &[u32]) -> [u32; 2] {
    let at = p.key_word as usize;
    [if p.key_words == 0 { 0 } else { event[at] }, if p.key_words == 2 { event[at + 1] } else { 0 }]
}

const _: () =
    assert!(SEGMENTS == 0 && GROUPED == 1 && LIST == 4 && SEGMENT == 2, "as the twins say");
const _: () = assert!(VALUES_MAX == 8, "as many as the parameters hold");
const _: () = assert!(TRACK_FIRST + TRACK == LEVEL && REST == 16, "one line");
