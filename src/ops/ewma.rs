//! How far a value lies from what its key's past makes likely: exponentially weighted means over three horizons.
//!
//! Spec, for one value of one event. A horizon `h` keeps a weight `w`, a mean `m` and a sum of squares `s` of what
//! came before, where an event `steps` spacings ago counts `exp(-steps / h)`: decay goes by event time, not by count.
//! The three horizons are `h`, `h / 8` and `h / 64`. The value's distance is the largest of the three
//! `z^2 = (x - m)^2 / (s / w)`, at most 10^8; a horizon speaks from a weight of 8 on. Then each horizon learns the
//! value: `w' = w d + 1`, `m' = m + (x - m) / w'`, `s' = s d + (x - m)(x - m')` (West 1979), where a distance beyond
//! 8 deviations counts as 8 (Huber 1964), so that one outlier does not widen what is normal for long.
//!
//! Values count from the key's first one, its origin, so that a large offset costs no digits. They are held to
//! +-10^12; spreads below 10^-12 count as none. All is f32, in the order written here, on every device.
//!
//! After Roberts (1959), control charts by geometric moving averages.

use super::math::{exp, inverse};

/// Words of a value's state: its origin, then weight, mean and squares of the three horizons, the shortest first.
pub const TRACK: usize = 10;
/// The horizons.
pub const HORIZONS: usize = 3;
/// Values are held to this on either side.
pub const VALUE_MAX: f32 = 1e12;
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

/// What a value's past says of it.
#[derive(Debug, Clone, Copy)]
pub struct Distance {
    /// Squared, in deviations.
    pub z2: f32,
    /// In units of the value.
    pub off: f32,
    /// What was expected.
    pub expected: f32,
    /// The variance around it.
    pub variance: f32,
}

/// What remains of the past of the three horizons after so many spacings.
#[inline(always)]
pub fn decays(steps: f32, rate: f32) -> [f32; HORIZONS] {
    let eighth = |d: f32| {
        let d = d * d;
        let d = d * d;
        positive(d * d)
    };
    // Of what is 87 horizons ago nothing is left that counts, and `exp` goes no further.
    let past = steps * rate;
    let long = exp(-(if past > 87.0 { 87.0 } else { past }));
    let middle = eighth(long);
    [eighth(middle), middle, long]
}

/// Far below everything that matters is nothing: devices differ in what they do with subnormal numbers.
#[inline(always)]
pub fn positive(x: f32) -> f32 {
    if x < 1e-30 { 0.0 } else { x }
}

/// The same for numbers of either sign.
#[inline(always)]
pub fn near_zero(x: f32) -> f32 {
    if x < 1e-16 && x > -1e-16 { 0.0 } else { x }
}

/// `x`, from `-limit` to `limit`.
#[inline(always)]
pub fn held(x: f32, limit: f32) -> f32 {
    let x = if x > limit { limit } else { x };
    if x < -limit { -limit } else { x }
}

/// Adds a distance to weight, mean and squares.
#[inline(always)]
pub fn add(state: &mut [u32], at: usize, off: f32, decay: f32) {
    let [w, m, s] = [0, 1, 2].map(|i| f32::from_bits(state[at + i]));
    let w = w * decay + 1.0;
    let step = off * inverse(w);
    state[at] = w.to_bits();
    state[at + 1] = (m + step).to_bits();
    state[at + 2] = positive(s * decay + off * (off - step)).to_bits();
}

/// The distance of a value, which is then learnt. `state` is the key's, the value's own begins at `at`.
#[inline(always)]
pub fn distance(state: &mut [u32], at: usize, x: f32, decays: [f32; HORIZONS]) -> Distance {
    let first = state[at + 1] == 0;
    if first {
        state[at] = x.to_bits();
    }
    let origin = f32::from_bits(state[at]);
    let x = near_zero(x - origin);
    let mut far = Distance { z2: -1.0, off: 0.0, expected: 0.0, variance: 0.0 };
    for (i, decay) in decays.into_iter().enumerate() {
        let h = at + 1 + 3 * i;
        let [w, m, s] = [0, 1, 2].map(|i| f32::from_bits(state[h + i]));
        let mut off = near_zero(x - m);
        let variance = s * inverse(if w < 1.0 { 1.0 } else { w });
        let (square, floor) = (off * off, variance + VARIANCE_MIN);
        let mut z2 = 0.0;
        if w >= READY {
            z2 = if square >= Z2_MAX * floor { Z2_MAX } else { square * inverse(floor) };
        }
        if z2 > far.z2 {
            far = Distance { z2, off, expected: origin + m, variance };
        }
        if z2 > HUBER * HUBER && s > 0.0 && w >= SETTLED {
            off = held(off, HUBER * variance.sqrt());
        }
        add(state, h, off, decay);
    }
    far
}
