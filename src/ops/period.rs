//! After how many slots a value repeats, where nobody says so: a period that is found, followed and given up.
//!
//! Spec. Event time is cut in slots (`ops::season`). Of each slot the mean *place* of the value is kept: its distance
//! to the key's mean over the longest horizon (`ops::ewma`), which has learnt it, in 64ths of a deviation, rounded and
//! held to four deviations on either side, and counted from there: 0 to 512. So no offset and no scale shows, a trend
//! shows little, and no event counts for more than any other slot would. The mean is of the first 4096 events of the
//! slot, rounded; keeping begins when the longest horizon stands for sixteen numbers.
//!
//! An event of another slot *closes* the one before; one that lies up to `longest` slots behind it is not looked at. A
//! closed slot is compared with the one `lag` slots earlier, for each lag from 1 to `longest` where that one saw an
//! event: by how much their means differ goes to the *mean difference* `d` of the lag. Of `n` differences the last one
//! has a share of one by the largest power of two that is at most `n`, and at most 2^m, the least such power that is
//! not below `longest`, at least 2^8: so differences are forgotten after some three times as many slots as the longest
//! period has. A jump by more than `longest` slots forgets the slots, not the differences.
//!
//! With every eighth slot that is closed there is a *look* at the differences, as de Cheveigne and Kawahara (2002, YIN)
//! look at those of sounds. A lag is *known* after 64 differences and twice as many as it has slots, which takes three
//! periods; looks begin when the first sixteen lags are known. A known lag is a *dip* when its `d` is below
//! - a share of the mean over the known lags before it, and, up to lag 16, of that over the first sixteen: a half of it
//!   after 64 differences, 41/64 after 128, 11/16 from 256 on, four standard errors of noise and a margin; 7/8 for the
//!   period that there is, which so outlasts steps of the value;
//! - and where that mean, times the differences remembered, is at least 4096: what eight slots make that stand out as
//!   far as places go, so that a few spikes in a quiet value are no period.
//!
//! The first dip is the *candidate*, and gives way to a later one that is lower and at most `1 + lag / 16` slots behind
//! it, being the same dip, or has less than three quarters of its `d`: so a multiple of the period does not win, but a
//! week does over its days. Walks and trends differ the more the larger the lag, and have no dips.
//!
//! **What is made of it.** A candidate that differs from the period by at most `1 + period / 16` slots *corrects* it,
//! where its `d` is below 15/16 of the period's: the length changes, and not where in the period the value is. Another
//! candidate, or none, has to *persist*, up to such corrections, for as many slots as it has, none for as many as the
//! period, and at least 64: then it takes the period's place, and what was learnt of seasons begins anew, visibly
//! (`ops::season`). A new period begins where it is taken.
//!
//! After de Cheveigne and Kawahara (2002), YIN, a fundamental frequency estimator for speech and music; here all is
//! in whole numbers, forgets, and knows missing slots. State: 16 words, and two for each slot of the longest period.
//! Cost: for each event an addition; for each slot that saw one, ten operations a lag.

use super::profile;
use super::simd::{Wide, wide};

/// The longest period, in slots.
pub const LONGEST_MAX: u32 = 1024;
/// The shortest longest period: looks need so many lags.
pub const LONGEST_MIN: u32 = 16;

/// State: the open slot, the low word of its number.
pub const OPEN: usize = 0;
/// State: events of the open slot; 0 when there was none ever.
pub const COUNT: usize = 1;
/// State: the sum of their places.
pub const SUM: usize = 2;
/// State: where the open slot lies in the ring. The slot before lies next to it.
pub const AT: usize = 3;
/// State: slots closed since the last look.
pub const CLOSED: usize = 4;
/// State: the candidate of the last look, 0 for none.
pub const CANDIDATE: usize = 5;
/// State: looks in a row that had this candidate in place of the period.
pub const LOOKS: usize = 6;
/// State: the period in slots, 0 for none.
pub const PERIOD: usize = 7;
/// State: a slot at which the period begins.
pub const BEGIN: usize = 8;
/// State: how often a period was taken.
pub const FOUND: usize = 9;
/// State: the ring: for each of the latest slots one more than its mean place, 0 when it saw nothing.
pub const RING: usize = 16;

/// The largest place.
pub const PLACE_MAX: u32 = 512;
/// Events of a slot that count.
const COUNT_MAX: u32 = 4096;
/// Slots from one look to the next.
const LOOK: u32 = 8;
/// Bits of a lag's word that count its differences; above them is their mean, in 2048ths of a place.
const COUNTER: u32 = 11;
/// The most differences counted.
const DIFFERENCES_MAX: u32 = (1 << COUNTER) - 1;
/// The least memory for differences, as a power of two.
const MEMORY_MIN: u32 = 8;
/// Differences of a lag that is known.
const KNOWN: u32 = 64;
/// Lags whose mean the first ones are held to.
const FIRST: u32 = 16;
/// The share below which the period that there is goes on, in 64ths.
const KEEPS: u32 = 56;
/// What differences must amount to, in 64ths of a place.
const AMOUNT: u32 = 4096 * 64;
/// Slots for which a candidate must persist, at least.
const PERSISTS: u32 = 64;
/// How far before the slot where it is taken a period begins, in periods: events may come late.
const EARLIER: u32 = 8;

/// Words of a value's state.
pub const fn words(longest: u32) -> usize {
    if longest == 0 { 0 } else { RING + 2 * longest as usize }
}

/// The place of a number `off` the mean, by the variance around it.
#[inline(always)]
pub fn place(off: f32, variance: f32) -> u32 {
    const LEAST: u32 = profile::PLACE_MAX / 2 - PLACE_MAX / 2;
    profile::place(off, variance).clamp(LEAST, LEAST + PLACE_MAX) - LEAST
}

/// The period that a value has, and how often one was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its length in slots; `None` while the value has none.
    pub slots: Option<u32>,
    /// How often a period was taken so far: one more each time that another one was found.
    pub found: u32,
}

/// What a state says.
pub const fn period(state: &[u32]) -> Period {
    let slots = if state[PERIOD] == 0 { None } else { Some(state[PERIOD]) };
    Period { slots, found: state[FOUND] }
}

/// The period at a slot, and the number of the slot in it.
#[inline(always)]
pub fn turn(state: &[u32], slot: u32) -> Option<[u32; 2]> {
    let period = state[PERIOD];
    (period > 0).then(|| [period, slot.wrapping_sub(state[BEGIN]) % period])
}

/// Learns the place of an event in a slot; whether the period is another than before, or none any more.
pub fn learn(state: &mut [u32], longest: u32, slot: u32, place: u32) -> bool {
    let open = state[OPEN];
    let mut changed = false;
    if state[COUNT] == 0 || slot != open {
        if state[COUNT] != 0 {
            if open.wrapping_sub(slot) <= longest {
                return false;
            }
            changed = close(state, longest, slot);
            move_on(state, longest, slot.wrapping_sub(open));
        }
        (state[OPEN], state[COUNT], state[SUM]) = (slot, 0, 0);
    }
    if state[COUNT] < COUNT_MAX {
        state[COUNT] += 1;
        state[SUM] += place;
    }
    changed
}

/// Closes the open slot, `slot` being the one that is next to be open.
fn close(state: &mut [u32], longest: u32, slot: u32) -> bool {
    let mean = (state[SUM] + state[COUNT] / 2) / state[COUNT] + 1;
    let (head, rest) = state.split_at_mut(RING);
    let (ring, lags) = rest.split_at_mut(longest as usize);
    let at = head[AT] as usize;
    let memory = memory(longest);
    let (before, from) = ring.split_at(at + 1);
    let (near, far) = lags.split_at_mut(from.len());
    wide(Differ { mean, memory, past: from, lags: near });
    wide(Differ { mean, memory, past: before, lags: far });
    ring[at] = mean;
    head[CLOSED] += 1;
    if head[CLOSED] < LOOK {
        return false;
    }
    head[CLOSED] = 0;
    let candidate = look(lags, memory, head[PERIOD]);
    follow(head, lags, slot, candidate)
}

/// Differences are remembered up to a share of one by two to the power of this.
fn memory(longest: u32) -> u32 {
    (u32::BITS - (longest - 1).leading_zeros()).max(MEMORY_MIN)
}

/// Learns by how much a slot differs from some before it, by their lags.
struct Differ<'a> {
    mean: u32,
    memory: u32,
    past: &'a [u32],
    lags: &'a mut [u32],
}

impl Wide for Differ<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { mean, memory, past, lags } = self;
        for (lag, &past) in lags.iter_mut().zip(past) {
            let count = *lag & DIFFERENCES_MAX;
            let count = if count < DIFFERENCES_MAX { count + 1 } else { count };
            // The exponent of a whole number as a float is that of the power of two.
            let power = ((count.cast_signed() as f32).to_bits() >> 23) - 127;
            let power = if power < memory { power } else { memory };
            let was = (*lag >> COUNTER).cast_signed();
            let off = (past.abs_diff(mean) << COUNTER).cast_signed() - was;
            let learnt = was + ((off + ((1 << power) >> 1)) >> power);
            let word = learnt.cast_unsigned() << COUNTER | count;
            *lag = if past == 0 { *lag } else { word };
        }
    }
}

/// A lag's mean difference in 64ths of a place, and how many differences there were.
#[inline(always)]
const fn difference(word: u32) -> (u32, u32) {
    (word >> (COUNTER + 5), word & DIFFERENCES_MAX)
}

/// Whether a lag is known.
#[inline(always)]
fn is_known(lag: u32, count: u32) -> bool {
    count >= KNOWN.max((2 * lag).min(DIFFERENCES_MAX))
}

/// The share of what is before it that a dip must be below, in 64ths, after two to the power of `power` differences.
const fn most(power: u32) -> u32 {
    match power {
        ..=6 => 32,
        7 => 41,
        _ => 44,
    }
}

/// The candidate for the period, 0 for none.
fn look(lags: &[u32], memory: u32, period: u32) -> u32 {
    let mut first = 0;
    for (lag, &word) in (1..=FIRST).zip(lags) {
        let (mean, count) = difference(word);
        if !is_known(lag, count) {
            return 0;
        }
        first += mean;
    }
    let (mut sum, mut known, mut best, mut least) = (0, 0, 0, 0);
    for (lag, &word) in (1..).zip(lags) {
        let (mean, count) = difference(word);
        if !is_known(lag, count) {
            continue;
        }
        let power = count.ilog2().min(memory + 1);
        let share = if lag == period { KEEPS } else { most(power) };
        // Up to 2^15 for a mean, 2^10 for lags and 2^6 for shares.
        let is_dip = lag > 1
            && mean * known * 64 < share * sum
            && (lag > FIRST || mean * FIRST * 64 < share * first)
            && sum >= known * (AMOUNT >> power);
        let same = mean < least && lag - best <= 1 + best / 16;
        if is_dip && (best == 0 || same || 4 * mean < 3 * least) {
            (best, least) = (lag, mean);
        }
        (sum, known) = (sum + mean, known + 1);
    }
    best
}

/// Whether a candidate is another one, corrected.
fn is_near(candidate: u32, other: u32) -> bool {
    candidate == other || candidate > 0 && other > 0 && candidate.abs_diff(other) <= 1 + other / 16
}

/// Makes of a candidate what is to be made of it at `slot`; whether the period is another one now.
fn follow(head: &mut [u32], lags: &[u32], slot: u32, candidate: u32) -> bool {
    let period = head[PERIOD];
    if is_near(candidate, period) {
        let of = |lag: u32| difference(lags[lag as usize - 1]).0;
        if candidate != period && 16 * of(candidate) < 15 * of(period) {
            let number = slot.wrapping_sub(head[BEGIN]) % period % candidate;
            begin(head, candidate, slot.wrapping_sub(number));
        }
        (head[CANDIDATE], head[LOOKS]) = (head[PERIOD], 0);
        return false;
    }
    let again = head[LOOKS] > 0 && is_near(candidate, head[CANDIDATE]);
    head[LOOKS] = if again { head[LOOKS] + 1 } else { 1 };
    head[CANDIDATE] = candidate;
    let persists = PERSISTS.max(if candidate == 0 { period } else { candidate });
    if head[LOOKS] * LOOK < persists {
        return false;
    }
    begin(head, candidate, slot);
    head[LOOKS] = 0;
    head[FOUND] = head[FOUND].wrapping_add(u32::from(candidate > 0));
    true
}

/// A period that begins at a slot.
fn begin(head: &mut [u32], period: u32, slot: u32) {
    (head[PERIOD], head[BEGIN]) = (period, slot.wrapping_sub(EARLIER * period));
}

/// Moves the ring on by so many slots; those between saw nothing.
fn move_on(state: &mut [u32], longest: u32, slots: u32) {
    let ring = RING..RING + longest as usize;
    if slots > longest {
        state[ring].fill(0);
        return;
    }
    for _ in 1..slots {
        step(state, longest);
        let at = RING + state[AT] as usize;
        state[at] = 0;
    }
    step(state, longest);
}

/// Moves on by one slot.
fn step(state: &mut [u32], longest: u32) {
    state[AT] = if state[AT] == 0 { longest - 1 } else { state[AT] - 1 };
}

/// The first word of a value's state that no stream leads to.
pub(super) fn misfit(state: &[u32], longest: u32) -> Option<usize> {
    let ring = RING + longest as usize;
    let means_max = PLACE_MAX << (2 * COUNTER) | DIFFERENCES_MAX;
    let most = |at| match at {
        COUNT => COUNT_MAX,
        SUM => state[COUNT] * PLACE_MAX,
        AT => longest - 1,
        CLOSED => LOOK - 1,
        CANDIDATE | PERIOD => longest,
        LOOKS => LONGEST_MAX / LOOK,
        OPEN | BEGIN | FOUND => u32::MAX,
        _ if at < RING => 0,
        _ if at < ring => PLACE_MAX + 1,
        _ => means_max,
    };
    (0..words(longest)).find(|&at| state[at] > most(at))
}
