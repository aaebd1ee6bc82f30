//! Scores of sixteen events of sixteen keys at a time: the scalar step of `ops::score`, side by side.
//!
//! A key's state is two lines of memory, so it is loaded as it lies and turned in registers until each word of it has a
//! register of sixteen keys; no processor is slow at that, as some are at gathers. The arithmetic is the scalar one
//! (`ops::number`). What is rare is left to the scalar step, which finds its state as it was: a key's first event,
//! missing values, peaks, and events of a key that has an earlier one among the sixteen.

use super::TOGETHER;
use super::sixteen::Sixteen;
use super::words::strided;
use crate::base::limits::{EVENT_BYTES_MAX, word};
use crate::ops::decide::{self, PRIOR, THRESHOLD, TRIALS_MAX};
use crate::ops::ewma::{self, Past, Track, VALUE_MAX};
use crate::ops::number::Number;
use crate::ops::score::{
    CLAMPED, Clock, LEVEL, LEVEL_FIRST, PEAKS, REST, RESTING, ROW, SEEN, SLOPE, SPACING,
    ScoreParams, TIME, TRACK_FIRST, TRIALS, USUAL, WARMING, state_words,
};
use std::arch::x86_64::*;

/// Words of the state of a key with one value.
const STATE: usize = state_words(1);
/// Words of it that are turned: the two lines but for the ring.
const TURNED: usize = SLOPE + 1;
/// Words of it that change: whole quarters of a line.
const CHANGED: usize = TRIALS + 1;
/// Fewer keys than this are not worth it.
const FEW: usize = TOGETHER / 2;

/// Sixteen words or numbers.
type Column = __m512i;

/// Scores those of sixteen events that it can and tells which; their rows and states are written. Events lie one after
/// another, their one value is an f32, and `keys` are the numbers of their keys' states.
#[inline]
pub(in crate::ops) fn score(
    p: &ScoreParams,
    events: &[u32],
    keys: &[u32; TOGETHER],
    states: &mut [u32],
    rows: &mut [[u32; ROW]; TOGETHER],
) -> u16 {
    let stride = p.stride as usize;
    assert!(stride <= EVENT_BYTES_MAX / 4 && events.len() >= TOGETHER * stride);
    let read = [p.time_word + 1, p.key_word + p.key_words.saturating_sub(1), word(p.value(0).0)];
    assert!(read.iter().all(|&word| word < p.stride));
    let states = states.as_chunks_mut::<STATE>().0;
    assert!(keys.iter().all(|&key| (key as usize) < states.len()));
    // SAFETY: callers have asked `available`; the asserts above are what `score_avx512` requires.
    unsafe { score_avx512(p, events, keys, states, rows) }
}

/// # Safety
/// The processor has the features; there are sixteen events with the words that `p` names; all `keys` have states.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512cd")]
unsafe fn score_avx512(
    p: &ScoreParams,
    events: &[u32],
    keys: &[u32; TOGETHER],
    states: &mut [[u32; STATE]],
    rows: &mut [[u32; ROW]; TOGETHER],
) -> u16 {
    // SAFETY: an array of sixteen words.
    let earlier = _mm512_conflict_epi32(unsafe { _mm512_loadu_si512(keys.as_ptr().cast()) });
    let alone = _mm512_testn_epi32_mask(earlier, earlier);
    if (alone.count_ones() as usize) < FEW {
        return 0;
    }
    // SAFETY: sixteen events, which have these words.
    let [time, time_high, value] = [p.time_word, p.time_word + 1, word(p.value(0).0)]
        .map(|at| unsafe { strided(events.as_ptr(), p.stride as usize, at as usize) });
    let nothing = _mm512_setzero_si512();
    let mut key = [nothing; 2];
    for (key, at) in key.iter_mut().zip(p.key_word..).take(p.key_words as usize) {
        // SAFETY: as above.
        *key = unsafe { strided(events.as_ptr(), p.stride as usize, at as usize) };
    }
    let base = states.as_mut_ptr();
    // SAFETY: all keys have states.
    let mut places = keys.map(|key| unsafe { base.add(key as usize).cast::<u32>() });
    // SAFETY: states are words enough.
    let mut state = unsafe { columns(&places) };

    let step = step(p, &mut state, [time, time_high], value);
    let done = alone & !step.odd;
    let mut nowhere = [0; STATE];
    for (lane, place) in places.iter_mut().enumerate() {
        if done >> lane & 1 == 0 {
            *place = nowhere.as_mut_ptr();
        }
    }
    // SAFETY: as above; what is not done has a place of its own.
    unsafe { put_back(&state, &places) };
    let [surprise, value, expected, variance] =
        [step.surprise, step.value, step.far.expected, step.far.variance]
            .map(|x| _mm512_castps_si512(x.0));
    let firsts = quarters([key[0], key[1], time, time_high]);
    let seconds = quarters([step.flags, surprise, value, expected]);
    let lasts = quarters([variance, state[SEEN], nothing, nothing]);
    for (i, ((first, second), last)) in firsts.iter().zip(&seconds).zip(&lasts).enumerate() {
        for (j, ((first, second), last)) in
            lanes(*first).iter().zip(lanes(*second)).zip(lanes(*last)).enumerate()
        {
            let row = rows[4 * j + i].as_mut_ptr();
            // SAFETY: a row is ten words.
            unsafe {
                _mm_storeu_si128(row.cast(), *first);
                _mm_storeu_si128(row.add(4).cast(), second);
                _mm_storel_epi64(row.add(8).cast(), last);
            }
        }
    }
    done
}

/// What sixteen events come to.
struct Step {
    /// Those whose state and row are not what the scalar step makes of them.
    odd: u16,
    flags: Column,
    surprise: Sixteen,
    value: Sixteen,
    far: ewma::Distance<Sixteen>,
}

/// The step of `ops::score`, for values that are numbers, keys that were seen and events that are no peaks.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512cd")]
#[inline]
fn step(p: &ScoreParams, state: &mut [Column; TURNED], time: [Column; 2], bits: Column) -> Step {
    let number = |column: Column| Sixteen(_mm512_castsi512_ps(column));
    let all = |x: u32| _mm512_set1_epi32(x.cast_signed());
    let seen = state[SEEN];
    let mut odd =
        _mm512_testn_epi32_mask(seen, seen) | _mm512_cmpeq_epi32_mask(seen, all(u32::MAX));

    // The clock.
    let last = [state[TIME], state[TIME + 1]];
    let moves = _mm512_cmpgt_epu32_mask(time[1], last[1])
        | (_mm512_cmpeq_epi32_mask(time[1], last[1]) & _mm512_cmpgt_epu32_mask(time[0], last[0]));
    let borrow = _mm512_cmplt_epu32_mask(time[0], last[0]);
    let high = _mm512_sub_epi32(time[1], last[1]);
    let high = _mm512_mask_sub_epi32(high, borrow, high, all(1));
    let [low, high] = [_mm512_sub_epi32(time[0], last[0]), high];
    let [low, high, count] = [low, high, seen].map(|x| Sixteen(_mm512_cvtepu32_ps(x)));
    let gap = high * Sixteen::from(4_294_967_296.0) + low;
    let mut clock = Clock { spacing: number(state[SPACING]), rest: number(state[REST]) };
    let steps = clock.advance(p, count, gap, moves);
    for (i, time) in time.into_iter().enumerate() {
        state[TIME + i] = _mm512_mask_blend_epi32(moves, state[TIME + i], time);
    }

    // The value.
    let exponent = all(0x7F80_0000);
    odd |= _mm512_cmpgt_epu32_mask(_mm512_and_si512(bits, all(0x7FFF_FFFF)), exponent);
    let value = number(_mm512_maskz_mov_epi32(_mm512_test_epi32_mask(bits, exponent), bits));
    let clamped = ewma::held(value, Sixteen::from(VALUE_MAX));
    let beyond = _mm512_cmp_ps_mask::<_CMP_NEQ_OQ>(clamped.0, value.0);
    let past = |at: usize| {
        let [weight, mean, squares] = [0, 1, 2].map(|i| number(state[at + i]));
        Past { weight, mean, squares }
    };
    let horizons = [1, 4, 7].map(|i| past(TRACK_FIRST + i));
    let mut level = past(LEVEL);
    let mut track = Track { origin: number(state[TRACK_FIRST]), horizons };
    let far = track.distance(clamped, ewma::decays(steps, p.rate));

    // The decision.
    let seen = _mm512_add_epi32(seen, all(1));
    let young = _mm512_cmple_epu32_mask(_mm512_srli_epi32::<2>(seen), all(p.warm));
    let warming = _mm512_cmple_epu32_mask(seen, all(p.warm))
        | (young & _mm512_cmplt_epu32_mask(state[PEAKS], all(PRIOR)))
        | Sixteen::from(ewma::SETTLED).above(track.horizons[1].weight);
    let decided = _mm512_cmpgt_epu32_mask(seen, all(LEVEL_FIRST));
    let before = level;
    let u = decide::standardise(&mut level, decide::level(far.z2));
    odd |= decided & u.above(Sixteen::from(THRESHOLD));
    let trials = _mm512_mask_add_epi32(state[TRIALS], decided, state[TRIALS], all(1));
    odd |= _mm512_cmpge_epu32_mask(trials, all(TRIALS_MAX));
    let surprise = Sixteen::pick(decided, number(state[SLOPE]) * u, Sixteen::from(0.0));
    let resting = decided & clock.rest.above(Sixteen::from(0.0));
    let flags = [(beyond, CLAMPED), (warming, WARMING), (resting, RESTING)];
    let flags = flags.into_iter().fold(all(USUAL), |flags, (which, flag)| {
        _mm512_mask_or_epi32(flags, which, flags, all(flag))
    });

    let mut put = |at: usize, x: Sixteen| state[at] = _mm512_castps_si512(x.0);
    put(SPACING, clock.spacing);
    put(REST, clock.rest);
    for (past, i) in track.horizons.iter().zip([1, 4, 7]) {
        put(TRACK_FIRST + i, past.weight);
        put(TRACK_FIRST + i + 1, past.mean);
        put(TRACK_FIRST + i + 2, past.squares);
    }
    put(LEVEL, Sixteen::pick(decided, level.weight, before.weight));
    put(LEVEL + 1, Sixteen::pick(decided, level.mean, before.mean));
    put(LEVEL + 2, Sixteen::pick(decided, level.squares, before.squares));
    (state[SEEN], state[TRIALS]) = (seen, trials);
    Step { odd, flags, surprise, value: clamped, far }
}

/// Turns four columns by 4 x 4 words: a quarter of each register then holds four words of one lane. The `j`-th quarter
/// of the `i`-th is that of lane `4 j + i`.
#[target_feature(enable = "avx512f")]
#[inline]
fn quarters([a, b, c, d]: [Column; 4]) -> [Column; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The quarters of a register.
#[target_feature(enable = "avx512f")]
#[inline]
fn lanes(x: Column) -> [__m128i; 4] {
    [
        _mm512_castsi512_si128(x),
        _mm512_extracti32x4_epi32::<1>(x),
        _mm512_extracti32x4_epi32::<2>(x),
        _mm512_extracti32x4_epi32::<3>(x),
    ]
}

/// Sixteen states, word by word.
///
/// # Safety
/// There are words of a state at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn columns(places: &[*mut u32; TOGETHER]) -> [Column; TURNED] {
    let mut all = [_mm512_setzero_si512(); TURNED];
    for (at, four) in (0..TURNED).step_by(4).zip(all.as_chunks_mut::<4>().0) {
        // SAFETY: so many words lie there.
        let quarter = |lane: usize| unsafe { _mm_loadu_si128(places[lane].add(at).cast()) };
        *four = quarters([0, 1, 2, 3].map(|i| {
            let low =
                _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(quarter(i)), quarter(i + 4));
            let high = _mm256_inserti128_si256::<1>(
                _mm256_castsi128_si256(quarter(i + 8)),
                quarter(i + 12),
            );
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }));
    }
    all
}

/// Puts back what changes of sixteen states.
///
/// # Safety
/// There are words of a state at each place.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn put_back(state: &[Column; TURNED], places: &[*mut u32; TOGETHER]) {
    let fours = state.as_chunks::<4>().0;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| quarters(fours[i]));
    for i in 0..4 {
        let (ab, cd) = (
            _mm512_shuffle_i32x4::<0b01_00_01_00>(a[i], b[i]),
            _mm512_shuffle_i32x4::<0b01_00_01_00>(c[i], d[i]),
        );
        let (ab_high, cd_high) = (
            _mm512_shuffle_i32x4::<0b11_10_11_10>(a[i], b[i]),
            _mm512_shuffle_i32x4::<0b11_10_11_10>(c[i], d[i]),
        );
        let lines = [
            _mm512_shuffle_i32x4::<0b10_00_10_00>(ab, cd),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(ab, cd),
            _mm512_shuffle_i32x4::<0b10_00_10_00>(ab_high, cd_high),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(ab_high, cd_high),
        ];
        for (j, line) in lines.into_iter().enumerate() {
            // SAFETY: a state begins with a line.
            unsafe { _mm512_storeu_si512(places[4 * j + i].cast(), line) };
        }
    }
    for (at, four) in (16..CHANGED).step_by(4).zip(&fours[4..]) {
        for (i, quarter) in quarters(*four).into_iter().enumerate() {
            for (j, words) in lanes(quarter).into_iter().enumerate() {
                // SAFETY: more words follow that line.
                unsafe { _mm_storeu_si128(places[4 * j + i].add(at).cast(), words) };
            }
        }
    }
}
