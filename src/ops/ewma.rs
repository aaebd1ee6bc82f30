//! How far a value lies from what its key's past makes likely: exponentially weighted means over three horizons.
//!
//! Spec, for one value of one event. A horizon `h` keeps a weight `w`, a mean `m` and a variance `v` of what came
//! before, where an event `steps` spacings ago counts `d = exp(-steps / h)`: decay goes by event time, not by count.
//! The three horizons are `h`, `h / 8` and `h / 64`. The value's distance is the largest of the three
//! `z^2 = (x - m)^2 / v`, at most 10^8; a horizon speaks from a weight of 8 on. Then each horizon learns the value:
//! `w' = w d + 1`, `m' = m + (x - m) / w'`, `v' = v + ((x - m)(x - m') - v) / w'` (West 1979), where a distance
//! beyond 8 deviations counts as 8 (Huber 1964), so that one outlier does not widen what is normal for long.
//!
//! Values count from the key's first one, its origin, so that a large offset costs no digits. They are held to
//! +-10^12; spreads below 10^-12 count as none. All is f32, in the order written here, on every device.
//!
//! After Roberts (1959), control charts by geometric moving averages.

use super::math::{exp, inverse};
use super::number::{Mask, Number};

/// Words of a value's state: its origin, then weight, mean and variance of the three horizons, the shortest first.
pub const TRACK: usize = 10;
/// The horizons.
pub const HORIZONS: usize = 3;
/// Values are held to this on either side.
pub const VALUE_MAX: f32 = 1e12;
/// Values count from an origin: what lies no further from it.
pub(super) const OFF_MAX: f32 = 4.0 * VALUE_MAX;
/// The largest squared distance.
pub const Z2_MAX: f32 = 1e8;
/// The least variance.
const VARIANCE_MIN: f32 = 1e-24;
/// Deviations beyond which a distance is not learnt in full.
const HUBER: f32 = 8.0;
/// A horizon speaks from this weight on,
pub const READY: f32 = 8.0;
/// and has limits to what it learns from this one on.
pub const SETTLED: f32 = 16.0;

/// Mean and variance of what came before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread<N> {
    /// The mean.
    pub(super) mean: N,
    /// The variance around it.
    pub(super) variance: N,
}

/// What a horizon keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past<N> {
    /// How many events it stands for.
    pub(super) weight: N,
    /// Their spread.
    pub(super) spread: Spread<N>,
}

/// A value's past, over its three horizons.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track<N> {
    /// The key's first value.
    pub(super) origin: N,
    /// The shortest first; they count from the origin.
    pub(super) horizons: [Past<N>; HORIZONS],
}

/// What a value's past says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distance<N> {
    /// Squared, in deviations.
    pub(super) z2: N,
    /// In units of the value.
    pub(super) off: N,
    /// What was expected.
    pub(super) expected: N,
    /// The variance around it.
    pub(super) variance: N,
}

impl<N: Number> Distance<N> {
    /// Nearer than any.
    #[inline(always)]
    pub(super) fn none() -> Self {
        let zero = N::from(0.0);
        Self { z2: N::from(-1.0), off: zero, expected: zero, variance: zero }
    }
}

/// A share to the power of eight. What is below 10^-4 counts as that: of a weight nothing is left either way, and no
/// number is subnormal.
#[inline(always)]
fn eighth<N: Number>(x: N) -> N {
    let x = x.no_less(N::from(1e-4));
    let x = x * x;
    let x = x * x;
    x * x
}

/// What remains of the past of the three horizons after so many spacings.
#[inline(always)]
pub(super) fn decays<N: Number>(steps: N, rate: f32) -> [N; HORIZONS] {
    // Of what is 87 horizons ago nothing is left that counts, and `exp` goes no further.
    let past = steps * N::from(rate);
    let long = exp(-past.up_to(N::from(87.0)));
    let middle = eighth(long);
    [eighth(middle), middle, long]
}

/// Far below everything that matters is nothing: devices differ in what they do with subnormal numbers.
#[inline(always)]
pub(super) fn positive<N: Number>(x: N) -> N {
    N::pick(x.at_least(N::from(1e-30)), x, N::from(0.0))
}

/// The same for numbers of either sign.
#[inline(always)]
pub(super) fn near_zero<N: Number>(x: N) -> N {
    N::pick(x.abs().at_least(N::from(1e-16)), x, N::from(0.0))
}

/// `x`, from `-limit` to `limit`.
#[inline(always)]
pub(super) fn held<N: Number>(x: N, limit: N) -> N {
    x.up_to(limit).no_less(-limit)
}

impl Spread<f32> {
    /// What a key's state holds at `at`.
    #[inline(always)]
    pub(super) fn read(state: &[u32], at: usize) -> Self {
        let [mean, variance] = [0, 1].map(|i| f32::from_bits(state[at + i]));
        Self { mean, variance }
    }

    /// Puts it back.
    #[inline(always)]
    pub(super) fn write(&self, state: &mut [u32], at: usize) {
        (state[at], state[at + 1]) = (self.mean.to_bits(), self.variance.to_bits());
    }
}

impl<N: Number> Spread<N> {
    /// Learns what lies `off` from the mean, with this share of the whole.
    #[inline(always)]
    pub(super) fn learn(&mut self, off: N, share: N) {
        let step = off * share;
        self.mean = self.mean + step;
        let square = off * (off - step);
        self.variance = positive(self.variance + (square - self.variance) * share);
    }
}

impl Track<f32> {
    /// What a key's state holds at `at`; the origin of a value that was never seen is `x`.
    #[inline(always)]
    pub(super) fn read(state: &[u32], at: usize, x: f32) -> Self {
        let origin = if state[at + 1] == 0 { x } else { f32::from_bits(state[at]) };
        let horizons = [1, 4, 7].map(|i| Past {
            weight: f32::from_bits(state[at + i]),
            spread: Spread::read(state, at + i + 1),
        });
        Self { origin, horizons }
    }

    /// Puts it back.
    #[inline(always)]
    pub(super) fn write(&self, state: &mut [u32], at: usize) {
        state[at] = self.origin.to_bits();
        for (past, i) in self.horizons.iter().zip([1, 4, 7]) {
            state[at + i] = past.weight.to_bits();
            past.spread.write(state, at + i + 1);
        }
    }
}

impl<N: Number> Track<N> {
    /// How far a value lies from its past; with what each horizon is to learn of it.
    #[inline(always)]
    pub(super) fn distance(&self, x: N) -> (Distance<N>, [N; HORIZONS]) {
        let k = N::from;
        let x = near_zero(x - self.origin);
        let (mut far, mut offs) = (Distance::none(), [x; HORIZONS]);
        for (i, (past, learnt)) in self.horizons.iter().zip(&mut offs).enumerate() {
            let Past { weight, spread: Spread { mean, variance } } = *past;
            let off = near_zero(x - mean);
            let (square, floor) = (off * off, variance + k(VARIANCE_MIN));
            let most = square.at_least(k(Z2_MAX) * floor);
            let z2 = N::pick(most, k(Z2_MAX), square * inverse(floor));
            let z2 = N::pick(weight.at_least(k(READY)), z2, k(0.0));
            if i == 0 {
                far = Distance { z2, off, expected: mean, variance };
            } else {
                let further = z2.above(far.z2);
                far.z2 = N::pick(further, z2, far.z2);
                far.off = N::pick(further, off, far.off);
                far.expected = N::pick(further, mean, far.expected);
                far.variance = N::pick(further, variance, far.variance);
            }
            let unusual =
                z2.above(k(HUBER * HUBER)) & variance.above(k(0.0)) & weight.at_least(k(SETTLED));
            *learnt = off;
            if unusual.any() {
                *learnt = N::pick(unusual, held(off, k(HUBER) * variance.sqrt()), off);
            }
        }
        far.expected = self.origin + far.expected;
        (far, offs)
    }

    /// Learns it.
    #[inline(always)]
    pub(super) fn learn(&mut self, offs: [N; HORIZONS], decays: [N; HORIZONS]) {
        for ((past, off), decay) in self.horizons.iter_mut().zip(offs).zip(decays) {
            past.weight = past.weight * decay + N::from(1.0);
            past.spread.learn(off, inverse(past.weight));
        }
    }
}
