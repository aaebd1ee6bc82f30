//! Scores of sixteen events of different keys side by side: the scalar step of `ops::score`.
//!
//! A key's state is a line of memory and some, so it is loaded as it lies, four words at a time, and turned in
//! registers until each word has a register of sixteen keys; no processor is slow at that, as some are at gathers. The
//! arithmetic is the scalar one (`ops::number`). Peaks wait until there are several to decide about, or until an event
//! of their key comes. What is rare is left to scalar code: a key's first event, missing values, and events of a key
//! that has an earlier one among them.
//!
//! What bounds this is how many operations there are, some nine hundred for sixteen events, more than how long they
//! wait for each other: shorter chains of as many operations gained a hundredth, and two registers side by side, which
//! have more to spill, lost a quarter. About half of the time is arithmetic; most of the rest turns states and rows.
//! To decide about each peak at once took a fifth of the time, little of it for the decision.

use super::sixteen::{Sixteen, Words};
use super::words::strided;
use super::{TOGETHER, Undecided, ones};
use crate::base::limits::{EVENT_BYTES_MAX, word};
use crate::ops::decide::{self, PRIOR, Peaks, THRESHOLD, TRIALS_MAX};
use crate::ops::ewma::{self, Distance, Past, Spread, Track, VALUE_MAX};
use crate::ops::number::Number;
use crate::ops::score::{
    CLAMPED, LEVEL, LEVEL_FIRST, PEAKS, REST, RESTING, ROW, SEEN, SLOPE, SPACING, ScoreParams,
    TIME, TRACK_FIRST, USUAL, WARMING, advance, left_of, state_words,
};
use std::arch::x86_64::*;

/// Words of the state of a key with one value.
const STATE: usize = state_words(1);
/// Fewer keys than this are not worth it.
const FEW: u32 = word(TOGETHER) / 2;

// What is loaded and put back together are quarters of lines: the clock, three of the track and the level, the rest.
const _: () = assert!(SEEN == 0 && TIME == 1 && SPACING == 3 && TRACK_FIRST == 4 && LEVEL == 14);
const _: () = assert!(REST == 16 && PEAKS == 18 && SLOPE == 19);

/// Where the states of sixteen keys lie. Its alignment is that of the vectors around it on the stack: without one so
/// aligned they lie across lines of memory, and take twice as long to come back.
#[repr(align(64))]
struct Places([*mut u32; TOGETHER]);

/// Scores events, those that it can; with the mask of those that are left as they are, or `None` where a key has an
/// event that is not decided about: then nothing is done. The events lie one after another, their one value is an f32,
/// and `keys` are the numbers of their keys' states; with their rows goes the number of the first.
#[inline]
pub(in crate::ops) fn score(
    p: &ScoreParams,
    events: &[u32],
    keys: &[u32; TOGETHER],
    states: &mut [u32],
    rows: (&mut [[u32; ROW]; TOGETHER], u32),
    undecided: &mut Undecided,
) -> Option<u16> {
    let stride = p.stride as usize;
    assert!(stride <= EVENT_BYTES_MAX / 4 && events.len() >= TOGETHER * stride);
    let read = [p.time_word + 1, p.key_word + p.key_words.saturating_sub(1), word(p.value(0).0)];
    assert!(read.iter().all(|&word| word < p.stride));
    let states = states.as_chunks_mut::<STATE>().0;
    assert!(keys.iter().all(|&key| (key as usize) < states.len()));
    assert!(undecided.len < TOGETHER);
    // SAFETY: callers have asked `available`; the asserts above are what `score_avx512` requires.
    unsafe { score_avx512(p, events, keys, states, rows, undecided) }
}

/// # Safety
/// The processor has the features; there are sixteen events with the words that `p` names; all `keys` have states; of
/// `undecided` there are fewer than sixteen.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512cd")]
unsafe fn score_avx512(
    p: &ScoreParams,
    events: &[u32],
    keys: &[u32; TOGETHER],
    states: &mut [[u32; STATE]],
    (rows, first_row): (&mut [[u32; ROW]; TOGETHER], u32),
    undecided: &mut Undecided,
) -> Option<u16> {
    let all = Words::all;
    let numbers = Words::load(keys);
    if is_one_of(numbers, undecided.keys.first_chunk().expect("so many")) {
        return None;
    }
    let repeated = !Words(_mm512_conflict_epi32(numbers.0)).is(all(0));
    if repeated.count_ones() > FEW {
        return Some(u16::MAX);
    }
    // SAFETY: all events have this word.
    let of_events =
        |at: u32| unsafe { Words(strided(events.as_ptr(), p.stride as usize, at as usize)) };
    let value = of_events(word(p.value(0).0));
    let time = [of_events(p.time_word), of_events(p.time_word + 1)];
    let base = states.as_mut_ptr();
    // SAFETY: all keys have states.
    let mut places = Places(keys.map(|key| unsafe { base.add(key as usize).cast::<u32>() }));
    // SAFETY: as before.
    let mut state = unsafe { State::read(&places) };

    let step = step(p, &mut state, time, value);
    let learnt = !repeated & !step.odd;
    // What is not learnt has a place of its own, a line.
    let mut nowhere = [0; TOGETHER];
    for lane in ones(!learnt) {
        places.0[lane] = nowhere.as_mut_ptr();
    }
    // SAFETY: as above.
    unsafe { put_line(&state, &places) };
    if step.rested & learnt != 0 {
        let mut rest = [0; TOGETHER];
        state.rest[0].store(&mut rest);
        for lane in ones(step.rested & learnt) {
            // SAFETY: a word of a state.
            unsafe { *places.0[lane].add(REST) = rest[lane] };
        }
    }
    // SAFETY: fewer than sixteen wait.
    unsafe { wait(undecided, learnt & step.judged, numbers, first_row, &step) };
    let key = [1, 2].map(|words| p.key_words >= words);
    let key = [
        if key[0] { of_events(p.key_word) } else { all(0) },
        if key[1] { of_events(p.key_word + 1) } else { all(0) },
    ];
    let row = rows.as_mut_ptr().cast::<u32>();
    let [surprise, value] = [step.surprise, step.value].map(Sixteen::bits);
    let [expected, variance] = [step.far.expected, step.far.variance].map(Sixteen::bits);
    // SAFETY: a row is ten words.
    unsafe {
        put([key[0], key[1], time[0], time[1]], |lane| row.add(lane * ROW));
        put([step.flags, surprise, value, expected], |lane| row.add(lane * ROW + 4));
        put_two([variance, state.clock[0]], |lane| row.add(lane * ROW + 8));
    }
    Some(!learnt)
}

/// Whether one of the words is one of the others.
#[target_feature(enable = "avx512f")]
#[inline]
fn is_one_of(words: Words, others: &[u32; TOGETHER]) -> bool {
    let mut found = 0;
    for &other in others {
        found |= words.is(Words::all(other));
    }
    found != 0
}

/// Puts events down that wait for a decision: no branch, which would be foretold wrong too often.
///
/// # Safety
/// Fewer than sixteen wait.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn wait(undecided: &mut Undecided, judged: u16, keys: Words, first_row: u32, step: &Step) {
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let rows = Words(lanes) + Words::all(first_row);
    let at = undecided.len;
    let put = |place: &mut [u32; 2 * TOGETHER], words: Words, none: u32| {
        let packed = _mm512_mask_compress_epi32(Words::all(none).0, judged, words.0);
        // SAFETY: there is room for sixteen from here on.
        unsafe { _mm512_storeu_si512(place.as_mut_ptr().add(at).cast(), packed) };
    };
    put(&mut undecided.keys, keys, Undecided::NONE);
    put(&mut undecided.rows, rows, 0);
    put(&mut undecided.u, step.u.bits(), 0);
    put(&mut undecided.off, step.far.off.bits(), 0);
    undecided.len = at + judged.count_ones() as usize;
}

/// The surprise that peaks are to their keys ([`decide::tail`]), as bits, of sixteen: how many peaks their keys had,
/// the mean excess and that of half the lesser one; how far they lie, and among how many trials.
pub(in crate::ops) fn tails(
    peaks: &[[u32; TOGETHER]; 3],
    u: &[u32; TOGETHER],
    trials: &[u32; TOGETHER],
) -> [u32; TOGETHER] {
    // SAFETY: callers have asked `available`.
    unsafe { tails_avx512(peaks, u, trials) }
}

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn tails_avx512(
    [count, excess, least]: &[[u32; TOGETHER]; 3],
    u: &[u32; TOGETHER],
    trials: &[u32; TOGETHER],
) -> [u32; TOGETHER] {
    let (excess, least) = (Words::load(excess).numbers(), Words::load(least).numbers());
    let peaks = Peaks { count: Words::load(count).rounded(), excess, least };
    let beyond = Words::load(u).numbers() - Sixteen::from(THRESHOLD);
    let mut surprise = [0; TOGETHER];
    decide::tail(&peaks, beyond, Words::load(trials).rounded()).bits().store(&mut surprise);
    surprise
}

/// The words of sixteen states that every event looks at; the first four quarters are a line.
struct State {
    /// Events seen, time and spacing.
    clock: [Words; 4],
    /// Origin, and weight, mean and variance of the short horizon.
    first: [Words; 4],
    /// Those of the middle horizon, and the weight of the long one.
    second: [Words; 4],
    /// Mean and variance of the long horizon, and those of the level.
    third: [Words; 4],
    /// What is left to rest, the latest alert's surprise, peaks and slope.
    rest: [Words; 4],
}

impl State {
    /// # Safety
    /// There is a state at each place.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn read(places: &Places) -> Self {
        // SAFETY: states are words enough.
        unsafe {
            Self {
                clock: columns(places, SEEN),
                first: columns(places, TRACK_FIRST),
                second: columns(places, TRACK_FIRST + 4),
                third: columns(places, TRACK_FIRST + 8),
                rest: columns(places, REST),
            }
        }
    }
}

/// What events come to.
struct Step {
    /// Those whose state and row are not what the scalar step makes of them.
    odd: u16,
    /// Those that are to be decided about.
    judged: u16,
    /// Those whose keys rested.
    rested: u16,
    flags: Words,
    surprise: Sixteen,
    value: Sixteen,
    u: Sixteen,
    far: Distance<Sixteen>,
}

/// The step of `ops::score`, for values that are numbers, keys that were seen and events that are no peaks.
#[inline(always)]
fn step(p: &ScoreParams, state: &mut State, time: [Words; 2], value: Words) -> Step {
    let (all, zero) = (Words::all, Sixteen::from(0.0));

    // The clock.
    let [before, last, last_high, spacing] = state.clock;
    let moves = time[1].above(last_high) | (time[1].is(last_high) & time[0].above(last));
    let borrow = all(1).only(last.above(time[0]));
    let [low, high] = [time[0] - last, time[1] - last_high - borrow].map(Words::rounded);
    let gap = high * Sixteen::from(4_294_967_296.0) + low;
    let mut spacing = spacing.numbers();
    let steps = advance(&mut spacing, p, before.rounded(), gap, moves);
    let seen = before + all(1);
    let last = Words::pick(moves, time[0], last);
    let last_high = Words::pick(moves, time[1], last_high);
    state.clock = [seen, last, last_high, spacing.bits()];
    let rest = state.rest[0].numbers();
    let left = left_of(rest, steps);
    state.rest[0] = left.bits();

    // The value; subnormal ones are 0.
    let missing = (value & all(0x7FFF_FFFF)).above(all(0x7F80_0000));
    let odd = missing | before.is(all(0)) | before.is(all(u32::MAX));
    let subnormal = (value & all(0x7F80_0000)).is(all(0));
    let value = value.only(!subnormal).numbers();
    let clamped = ewma::held(value, Sixteen::from(VALUE_MAX));
    let beyond = !clamped.bits().is(value.bits());
    let past = |weight, mean, variance| Past { weight, spread: Spread { mean, variance } };
    let [origin, w0, m0, v0] = state.first.map(Words::numbers);
    let [w1, m1, v1, w2] = state.second.map(Words::numbers);
    let [m2, v2, mean, variance] = state.third.map(Words::numbers);
    let horizons = [past(w0, m0, v0), past(w1, m1, v1), past(w2, m2, v2)];
    let mut track = Track { origin, horizons };
    let (far, offs) = track.distance(clamped);

    // The decision.
    let warm = all(p.warm);
    let young = !seen.quarter().above(warm) & all(PRIOR).above(state.rest[2]);
    let decided = seen.above(all(LEVEL_FIRST));
    let levels = seen - all(LEVEL_FIRST + 1);
    let mut spread = Spread { mean, variance };
    // Two long chains that do not need each other: a processor runs them at a time when they stand together.
    let (level, decays) = (decide::level(far.z2), ewma::decays(steps, p.rate));
    let u = decide::standardise(&mut spread, level, levels.rounded());
    // Peaks, and where they are counted anew.
    let half = ((levels + all(1)) & all(TRIALS_MAX / 2 - 1)).is(all(0));
    let judged = decided & (u.above(Sixteen::from(THRESHOLD)) | half);
    let mean = Sixteen::pick(decided, spread.mean, mean);
    let variance = Sixteen::pick(decided, spread.variance, variance);
    track.learn(offs, decays);
    let [short, middle, long] = track.horizons;
    let words = [origin, short.weight, short.spread.mean, short.spread.variance];
    state.first = words.map(Sixteen::bits);
    let words = [middle.weight, middle.spread.mean, middle.spread.variance, long.weight];
    state.second = words.map(Sixteen::bits);
    state.third = [long.spread.mean, long.spread.variance, mean, variance].map(Sixteen::bits);
    let settled = middle.weight.at_least(Sixteen::from(ewma::SETTLED));
    let warming = !seen.above(warm) | young | !settled;
    let surprise = Sixteen::pick(decided, state.rest[3].numbers() * u, zero);
    let usual = all(USUAL) | all(RESTING).only(decided & left.above(zero));
    let flags = all(CLAMPED).only(beyond) | all(WARMING).only(warming) | usual.only(!judged);
    Step { odd, judged, rested: rest.above(zero), flags, surprise, value: clamped, u, far }
}

/// Turns four registers by 4 x 4 words: a quarter of each then holds four words of one lane. The `j`-th quarter of the
/// `i`-th is that of lane `4 j + i`.
#[target_feature(enable = "avx512f")]
#[inline]
fn turn([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Writes four words of each lane.
///
/// # Safety
/// There is room for four words at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn put(words: [Words; 4], place: impl Fn(usize) -> *mut u32) {
    for (i, &turned) in turn(words.map(|word| word.0)).iter().enumerate() {
        // SAFETY: as promised.
        unsafe {
            _mm_storeu_si128(place(i).cast(), _mm512_castsi512_si128(turned));
            _mm_storeu_si128(place(i + 4).cast(), _mm512_extracti32x4_epi32::<1>(turned));
            _mm_storeu_si128(place(i + 8).cast(), _mm512_extracti32x4_epi32::<2>(turned));
            _mm_storeu_si128(place(i + 12).cast(), _mm512_extracti32x4_epi32::<3>(turned));
        }
    }
}

/// Writes two words of each lane.
///
/// # Safety
/// There is room for two words at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn put_two(words: [Words; 2], place: impl Fn(usize) -> *mut u32) {
    let [a, b] = words.map(|word| word.0);
    let turned = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
    for (i, &turned) in turned.iter().enumerate() {
        let quarters = [
            _mm512_castsi512_si128(turned),
            _mm512_extracti32x4_epi32::<1>(turned),
            _mm512_extracti32x4_epi32::<2>(turned),
            _mm512_extracti32x4_epi32::<3>(turned),
        ];
        for (j, &quarter) in quarters.iter().enumerate() {
            let lane = 4 * j + 2 * i;
            // SAFETY: as promised.
            unsafe {
                _mm_storel_epi64(place(lane).cast(), quarter);
                _mm_storeh_pd(place(lane + 1).cast(), _mm_castsi128_pd(quarter));
            }
        }
    }
}

/// Four words of states, from `at` on.
///
/// # Safety
/// There are words of a state at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn columns(places: &Places, at: usize) -> [Words; 4] {
    // SAFETY: so many words lie there.
    let part = |lane: usize| unsafe { _mm_loadu_si128(places.0[lane].add(at).cast()) };
    let half = |lane: usize| {
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(part(lane)), part(lane + 4))
    };
    let row = |i: usize| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half(i)), half(i + 8));
    turn([row(0), row(1), row(2), row(3)]).map(Words)
}

/// Puts the first line of states back: what changes with every event.
///
/// # Safety
/// There is a line at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn put_line(state: &State, places: &Places) {
    let quarter = |words: [Words; 4]| turn(words.map(|word| word.0));
    let (a, b) = (quarter(state.clock), quarter(state.first));
    let (c, d) = (quarter(state.second), quarter(state.third));
    for i in 0..4 {
        let low = |a, b| _mm512_shuffle_i32x4::<0b01_00_01_00>(a, b);
        let high = |a, b| _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b);
        let even = |a, b| _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
        let odd = |a, b| _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
        let (ab, cd) = (low(a[i], b[i]), low(c[i], d[i]));
        let (ab_high, cd_high) = (high(a[i], b[i]), high(c[i], d[i]));
        // SAFETY: as promised.
        unsafe {
            _mm512_storeu_si512(places.0[i].cast(), even(ab, cd));
            _mm512_storeu_si512(places.0[i + 4].cast(), odd(ab, cd));
            _mm512_storeu_si512(places.0[i + 8].cast(), even(ab_high, cd_high));
            _mm512_storeu_si512(places.0[i + 12].cast(), odd(ab_high, cd_high));
        }
    }
}
