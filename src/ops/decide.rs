//! From distances to probabilities and alerts: the decision stage.
//!
//! Spec, for one event whose distance is `z2`, in the order written here:
//!
//! 1. **Level**: `l = ln(1 + z2 / 5)`. Squares make Gaussian tails exponential, the logarithm tames heavy ones. With
//!    another detector it is that detector's.
//! 2. **Standardiser**: `u = (l - m) / sd` by the key's own mean and deviation of the level, over 2048 events. The
//!    `n`-th level has a share of `1 / (2048 (1 - exp(-n / 2048)))` in them: that of the latest among all when each
//!    event is forgotten at that rate.
//! 3. **Tail**: an event with `u > 3` is a *peak*. Excesses of peaks over 3 follow a generalised Pareto distribution
//!    (Pickands 1975; SPOT, Siffer et al. 2017), fitted by probability-weighted moments (Hosking and Wallis 1987):
//!    `a0 = E[y]` is their mean, `a1 = E[min(y, y')] / 2` that of the lesser of two peaks. Each peak is compared with
//!    those 25 to 32 peaks before it: neighbours resemble each other and would make the tail look short. The mean
//!    begins as one peak of 1, the shape as ten peaks of an exponential tail; `xi` is kept from -0.5 to 0.75.
//!    What few peaks say is uncertain, and the probability is that of the next excess by all that they may mean
//!    (the predictive distribution, Aitchison 1975). With `N` peaks, those ten among them, it is
//!    `(S(xi' - 2 / sqrt N) + 4 S(xi') + S(xi' + 2 / sqrt N)) / 6`, where `S` is the tail of that mean and of a shape
//!    held from -0.5 to 0.9: the Gauss-Hermite mean over a normal `xi` of variance `4 / (3 N)`, that of the moments'
//!    estimate where the tail is exponential, which does not depend on the mean then. `xi' = xi + 2 / N`: the
//!    predictive tail of an exponential one whose mean `N` peaks tell is Pareto's with a shape of `1 / N`; as much
//!    again is for the threshold, which lies by an estimated mean and deviation, too.
//!    Where a fitted tail ends, the logarithm of its probability goes on along its tangent.
//! 4. **Surprise**: `-ln p`. For a peak `p` is the share of peaks times the tail beyond its excess; for others the
//!    logistic curve through one half at `u = 0` and the share of peaks at 3.
//!    With forests a peak's surprise is a mean of this one and of what chance makes of the level,
//!    `4.6 l + 10 max(0, l - 1.3)`: about what it is for independent values (4.5 `l` to 7 `l` at probabilities from
//!    0.01 to 0.0001, measured). After `n` peaks chance has a share of `0.75 * 400 / (400 + n)`: it speaks where a
//!    key's own past has little to say, and falls silent as that grows. A mean of surprises is a geometric mean of
//!    probabilities (Vovk and Wang 2020). With half-space trees, where chance makes more of most levels (3.9 to 11
//!    times, measured), it is `4.6 l` with a share that begins at a half.
//! 5. **Rules**: a peak with `p` below the asked rate is a candidate, unless the key warms up (too few events, or, by
//!    distances alone, fewer than ten peaks in four times as many), the distance has the unwatched sign, or it is below
//!    the floors.
//! 6. **Rest**: after an alert, candidates count as its repetitions for the rest period, unless their surprise is a
//!    fifth larger than that of the alert.
//! 7. **Labels**: what would be an alert and is up to the key's bar, while that holds, is dismissed (`ops::label`).
//!
//! Then level and peak are learnt. The share of peaks is one among *trials*, the events that had a level. There are
//! 2^18 at most: both counts are halved then, so that the tail follows a slow change. So trials follow from the number
//! of events seen, and are kept nowhere.

use super::ewma::{Spread, held, near_zero};
use super::label;
use super::math::{exp, inverse, ln};
use super::number::Number;
use super::score::{
    AGAIN, ALERT, DISMISSED, EXCESS, LEAST, PEAK, PEAKS, REST, RESTING, RING, RULED_OUT, SLOPE,
    ScoreParams, USUAL, WARMING,
};

/// Standard deviations of the level from which an event is a peak.
pub const THRESHOLD: f32 = 3.0;
/// Peaks kept to compare others with.
pub const RING_PEAKS: u32 = 32;
/// How many of them each is compared with.
pub const COMPARED: u32 = 8;
/// Peaks of an exponential tail that its shape begins with; also those that a key must have seen.
pub const PRIOR: u32 = 10;
/// A fourth of them: what half the lesser excess of two is, by the mean, where the tail is exponential.
const QUARTER_PRIOR: f32 = PRIOR as f32 / 4.0;
/// The largest shape that a tail is taken for.
const XI_MAX: f32 = 0.9;
/// The largest exponent that is taken.
pub(super) const EXPONENT_MAX: f32 = 80.0;
/// The largest excess learnt in full.
const EXCESS_MAX: f32 = 16.0;
/// Events after which counts are halved.
pub const TRIALS_MAX: u32 = 1 << 18;
/// The share of an event in mean and deviation of the level, after many.
const SHARE: f32 = 1.0 / 2048.0;
/// Levels before the first that is judged by them.
const LEVELS_FIRST: f32 = 8.0;

#[inline(always)]
fn get(state: &[u32], at: usize) -> f32 {
    f32::from_bits(state[at])
}

/// Events that the share of peaks counts, of so many that had a level.
#[inline(always)]
pub(super) const fn trials(levels: u32) -> u32 {
    const HALF: u32 = TRIALS_MAX / 2;
    if levels < TRIALS_MAX { levels } else { HALF + levels % HALF }
}

/// The share of peaks among all events, one in forty before there were any.
#[inline(always)]
fn share<N: Number>(peaks: N, trials: N) -> N {
    (peaks + N::from(0.5)) * inverse(trials + N::from(20.0))
}

/// What chance makes of a level of one.
const BY_CHANCE: f32 = 4.6;
/// The level beyond which chance makes more of it.
const BEYOND_CHANCE: f32 = 1.3;
/// Peaks after which chance has half the share that it begins with.
const CHANCE_PEAKS: f32 = 400.0;

/// The slope of the logistic curve before there was a peak: ln(39) / 3.
pub const SLOPE_FIRST: f32 = 1.221_187_2;

/// What is decided about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    /// The level.
    pub(super) level: f32,
    /// How far it lies from those before it, in deviations.
    pub(super) u: f32,
    /// How far the value lies from what was expected.
    pub(super) off: f32,
    /// What was expected.
    pub(super) expected: f32,
}

/// The level of a distance.
#[inline(always)]
pub(super) fn level<N: Number>(z2: N) -> N {
    ln(N::from(1.0) + z2 * N::from(0.2))
}

/// How far a level lies from those before it, `count` of them, in deviations; it is then learnt.
#[inline(always)]
pub(super) fn standardise<N: Number>(past: &mut Spread<N>, level: N, count: N) -> N {
    let k = N::from;
    let off = near_zero(level - past.mean);
    let deviation = past.variance.sqrt();
    let u = held(off * inverse(deviation + k(1e-6)), k(1e6));
    let known = count.at_least(k(LEVELS_FIRST));
    let limit = k(8.0) * deviation + k(1e-3);
    let age = ((count + k(1.0)) * k(SHARE)).up_to(k(16.0));
    let share = k(SHARE) * inverse(k(1.0) - exp(-age));
    past.learn(N::pick(known, held(off, limit), off), share);
    N::pick(known, u, k(0.0))
}

/// What a key's peaks were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peaks<N> {
    /// How many.
    pub(super) count: N,
    /// Their mean excess.
    pub(super) excess: N,
    /// The mean of half the lesser excess of two.
    pub(super) least: N,
}

/// How surprising an event is whose level lies `u` deviations off, as minus the logarithm of a probability for a peak,
/// else as the exponent of the logistic curve; with its flags. `levels` of its key came before.
#[inline(always)]
pub(super) fn decide(
    state: &mut [u32],
    p: &ScoreParams,
    event: &Judged,
    levels: u32,
    flags: u32,
) -> (f32, u32) {
    let excess = event.u - THRESHOLD;
    let mut surprise = 0.0;
    if excess > 0.0 {
        let (excesses, least) = (get(state, EXCESS), get(state, LEAST));
        let peaks = Peaks { count: state[PEAKS] as f32, excess: excesses, least };
        surprise = tail(&peaks, excess, trials(levels) as f32);
    }
    decide_by(state, p, event, surprise, (levels, flags))
}

/// The same, where for a peak the surprise that its key's past makes of it is known: [`tail`].
#[inline(always)]
pub(super) fn decide_by(
    state: &mut [u32],
    p: &ScoreParams,
    event: &Judged,
    by_past: f32,
    (levels, flags): (u32, u32),
) -> (f32, u32) {
    let mut flags = flags;
    let excess = event.u - THRESHOLD;
    let mut surprise = get(state, SLOPE) * event.u;
    if excess > 0.0 {
        surprise = by_past;
        if p.chance > 0.0 {
            let known = state[PEAKS] as f32;
            let share = p.chance * (CHANCE_PEAKS * inverse(CHANCE_PEAKS + known));
            surprise = (1.0 - share) * surprise + share * by_chance(event.level, p.chance_steep);
        }
        let (distance, expected) = (event.off.abs(), event.expected.abs());
        let watched = p.sides & if event.off > 0.0 { 1 } else { 2 };
        let ruled = watched == 0 || distance < p.least || distance < p.least_share * expected;
        if surprise > p.asked && ruled {
            flags |= RULED_OUT;
        }
    } else {
        flags |= USUAL;
    }
    learn(state, excess, trials(levels) + 1);
    (surprise, announce(state, p, surprise, flags))
}

/// What chance makes of a level of independent values, as minus the logarithm of a probability.
#[inline(always)]
fn by_chance(level: f32, steep: f32) -> f32 {
    let beyond = level - BEYOND_CHANCE;
    BY_CHANCE * level + steep * if beyond > 0.0 { beyond } else { 0.0 }
}

/// The flags of an event that is this surprising, those given and whether it alerts: rest, labels and rules.
#[inline(always)]
pub(super) fn announce(state: &mut [u32], p: &ScoreParams, surprise: f32, flags: u32) -> u32 {
    let mut flags = flags;
    let peak = flags & USUAL == 0;
    if get(state, REST) > 0.0 && !(peak && surprise > AGAIN * get(state, PEAK)) {
        flags |= RESTING;
    }
    if peak && surprise > p.asked && flags & (WARMING | RULED_OUT | RESTING) == 0 {
        if label::is_dismissed(state, p.rate, surprise) {
            flags |= DISMISSED;
        } else {
            flags |= ALERT;
            state[REST] = p.rest.to_bits();
            state[PEAK] = surprise.to_bits();
        }
    }
    flags
}

/// Minus the logarithm of the probability of this excess or a larger one, as so few peaks predict it.
#[inline(always)]
pub(super) fn tail<N: Number>(peaks: &Peaks<N>, excess: N, trials: N) -> N {
    let k = N::from;
    let n = peaks.count;
    let all = inverse(n + k(PRIOR as f32));
    let mean = (peaks.excess * n + k(1.0)) * inverse(n + k(1.0));
    let least = (peaks.least * n + k(QUARTER_PRIOR) * mean) * all;
    let spread = (mean - k(2.0) * least).no_less(k(0.02) * mean);
    let xi = held_to(k(2.0) - mean * inverse(spread), 0.75) + k(2.0) * all;
    let aside = k(2.0) * all.sqrt();
    let usual = pareto(excess, mean, held_to(xi, XI_MAX));
    let light = pareto(excess, mean, held_to(xi - aside, XI_MAX));
    let heavy = pareto(excess, mean, held_to(xi + aside, XI_MAX));
    // Of probabilities the largest is taken out, so that none is too small for a number.
    let largest = light.up_to(usual).up_to(heavy);
    let sum = part(largest - light) + k(4.0) * part(largest - usual) + part(largest - heavy);
    largest - ln(sum * k(1.0 / 6.0)) - ln(share(n, trials))
}

/// A probability, of its logarithm.
#[inline(always)]
fn part<N: Number>(logarithm: N) -> N {
    exp(held(logarithm, N::from(EXPONENT_MAX)))
}

/// A shape, from -0.5 to `most`.
#[inline(always)]
fn held_to<N: Number>(xi: N, most: f32) -> N {
    xi.no_less(N::from(-0.5)).up_to(N::from(most))
}

/// Minus the logarithm of the probability of this excess or a larger one among those of a generalised Pareto
/// distribution.
#[inline(always)]
fn pareto<N: Number>(excess: N, mean: N, xi: N) -> N {
    let k = N::from;
    let y = excess * inverse(mean * (k(1.0) - xi));
    let (at, per) = (k(1.0) + xi * y, inverse(xi));
    // Beyond a quarter along the tangent, so that no end makes all alike that lies beyond it.
    let tangent = -(k(1.386_294_4) * per) + (y + k(0.75) * per) * k(4.0);
    let curve = N::pick(at.at_least(k(0.25)), ln(at) * per, tangent);
    let exponential = xi.at_least(k(-1e-3)) & k(1e-3).at_least(xi);
    N::pick(exponential, y, curve)
}

#[inline(always)]
fn learn(state: &mut [u32], excess: f32, trials: u32) {
    if excess > 0.0 {
        learn_peak(state, if excess > EXCESS_MAX { EXCESS_MAX } else { excess }, trials);
    }
    // Never so few peaks that the ring were looked at as if it were not full.
    if trials >= TRIALS_MAX && state[PEAKS] >= 64 {
        state[PEAKS] /= 2;
    }
}

fn learn_peak(state: &mut [u32], excess: f32, trials: u32) {
    let peaks = state[PEAKS];
    let compared = if peaks < COMPARED { peaks } else { COMPARED };
    let mut sum = 0.0;
    for i in 0..compared {
        // The oldest of a full ring, the first ones before.
        let at = if peaks < RING_PEAKS { i } else { (peaks + i) % RING_PEAKS };
        let other = get(state, RING + at as usize);
        sum += if other < excess { other } else { excess };
    }
    let n = peaks as f32;
    let mean = get(state, EXCESS);
    state[EXCESS] = (mean + (excess - mean) * inverse(n + 1.0)).to_bits();
    if compared > 0 {
        let (lesser, least) = (0.5 * sum * inverse(compared as f32), get(state, LEAST));
        state[LEAST] = (least + (lesser - least) * inverse(n)).to_bits();
    }
    state[RING + (peaks % RING_PEAKS) as usize] = excess.to_bits();
    state[PEAKS] = peaks + 1;
    let odds = inverse(share((peaks + 1) as f32, trials as f32)) - 1.0;
    state[SLOPE] = (ln(odds) * (1.0 / THRESHOLD)).to_bits();
}
