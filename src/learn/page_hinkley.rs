//! Page-Hinkley: sums of distances to the mean that stay near zero while the mean stays.
//!
//! Spec. With the mean `m` of all numbers so far, the latest included, each number `x` moves two sums,
//!
//! ```text
//! up = alpha up + (x - m) - delta        down = alpha down + (x - m) + delta
//! ```
//!
//! The mean has risen when `up` is more than `threshold` above the least it was, and has fallen when `down` is more
//! than that below the most it was. After a detection everything begins anew with the next number.
//!
//! After Page (1954), Continuous Inspection Schemes, and Hinkley (1971); the factor `alpha` and the defaults are those
//! of River (0.26.1), with which results agree number by number.

use super::learnable;
use crate::{Error, Result};

/// What [`PageHinkley`] is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageHinkleyOptions {
    /// Numbers before anything is detected: 30.
    pub warm_up: u64,
    /// Change of the mean that is let pass, in units of the numbers, 0 and more: 0.005.
    pub delta: f64,
    /// Sum from which a change is one, in units of the numbers, above 0: 50. It says how late and how rarely.
    pub threshold: f64,
    /// What remains of the sums from number to number, above 0 and at most 1: 0.9999.
    pub alpha: f64,
    /// Whether a rise is looked for: yes.
    pub up: bool,
    /// Whether a fall is: yes.
    pub down: bool,
}

impl Default for PageHinkleyOptions {
    fn default() -> Self {
        let alpha = 1.0 - 0.0001;
        Self { warm_up: 30, delta: 0.005, threshold: 50.0, alpha, up: true, down: true }
    }
}

/// A detector of a mean that moves, in a few words.
///
/// A NaN, an infinity, or a number beyond +-10^100 is counted in [`PageHinkley::ignored`] and changes nothing else.
///
/// ```
/// use pelton::learn::PageHinkley;
/// let mut test = PageHinkley::default();
/// // 1000 times 0 or 1 at random, then 4 to 7.
/// let noise = |i: u64| (i * 2_654_435_761 >> 16) % 4;
/// let number = |i| if i < 1000 { (noise(i) / 2) as f64 } else { 4.0 + noise(i) as f64 };
/// assert_eq!((0..2000).find(|&i| test.update(number(i))), Some(1009));
/// ```
#[derive(Debug, Clone)]
pub struct PageHinkley {
    options: PageHinkleyOptions,
    count: u64,
    mean: f64,
    up: f64,
    least: f64,
    down: f64,
    most: f64,
    drifted: bool,
    detections: u64,
    ignored: u64,
}

impl Default for PageHinkley {
    fn default() -> Self {
        Self::empty(PageHinkleyOptions::default())
    }
}

impl PageHinkley {
    /// A detector that has seen nothing; [`Error::Invalid`] names the option that is out of range.
    pub fn new(options: PageHinkleyOptions) -> Result<Self> {
        if !(options.delta >= 0.0 && learnable(options.delta)) {
            return Err(Error::out_of_range("delta", options.delta, "0 to 1e100"));
        }
        if !(options.threshold > 0.0 && learnable(options.threshold)) {
            return Err(Error::out_of_range(
                "threshold",
                options.threshold,
                "numbers above 0, to 1e100",
            ));
        }
        if !(options.alpha > 0.0 && options.alpha <= 1.0) {
            return Err(Error::out_of_range("alpha", options.alpha, "numbers above 0, to 1"));
        }
        Ok(Self::empty(options))
    }

    fn empty(options: PageHinkleyOptions) -> Self {
        Self {
            options,
            count: 0,
            mean: 0.0,
            up: 0.0,
            least: f64::INFINITY,
            down: 0.0,
            most: f64::NEG_INFINITY,
            drifted: false,
            detections: 0,
            ignored: 0,
        }
    }

    /// Takes a number; whether the mean has changed, in which case the next number is the first of a new past.
    pub fn update(&mut self, x: f64) -> bool {
        if !learnable(x) {
            self.ignored += 1;
            return false;
        }
        if self.drifted {
            let counts = (self.detections, self.ignored);
            *self = Self::empty(self.options);
            (self.detections, self.ignored) = counts;
        }
        let PageHinkleyOptions { warm_up, delta, threshold, alpha, up, down } = self.options;
        self.count += 1;
        self.mean += (x - self.mean) / self.count as f64;
        let off = x - self.mean;
        self.up = alpha * self.up + off - delta;
        self.down = alpha * self.down + off + delta;
        self.least = self.least.min(self.up);
        self.most = self.most.max(self.down);
        let rose = up && self.up - self.least > threshold;
        let fell = down && self.most - self.down > threshold;
        self.drifted = self.count >= warm_up && (rose || fell);
        self.detections += u64::from(self.drifted);
        self.drifted
    }

    /// The mean of all numbers since the last detection, that one included; 0 when there are none.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Numbers that the mean is of.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Changes found so far.
    pub fn detections(&self) -> u64 {
        self.detections
    }

    /// Numbers that were none to learn.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}
