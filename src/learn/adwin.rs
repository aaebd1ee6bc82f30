//! ADWIN: a window that is as long as its numbers have one mean.
//!
//! Spec. The window holds the latest numbers. If it can be cut in two parts whose means differ by more than chance
//! allows, the older part is outdated: what is oldest is dropped until no such cut is left. With parts of `n0` and `n1`
//! numbers, a window of `n` with variance `v`, and a smallest part of `w`, chance allows
//!
//! ```text
//! m = 1 / (n0 - w + 1) + 1 / (n1 - w + 1)        d = ln(2 ln(n) / delta)
//! sqrt(2 m v d) + 2/3 m d
//! ```
//!
//! The numbers themselves are not kept, only sums: an exponential histogram. Row `r` of it holds at most `buckets`
//! buckets of `2^r` numbers each; when one more comes, the two oldest become one bucket of the row above. Cuts are
//! tried between buckets, every `clock` numbers. Dropping takes the oldest bucket.
//!
//! That is the paper's window. With `restart`, the default, it is emptied by the first number after a change, as River
//! does it (0.26.1), with which results agree number by number either way.
//!
//! After Bifet and Gavalda (2007), Learning from Time-Changing Data with Adaptive Windowing; variances of buckets after
//! Babcock et al. (2003).

use super::learnable;
use crate::{Error, Result};
use std::collections::VecDeque;

/// What [`Adwin`] is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdwinOptions {
    /// Bound of the probability of a false alarm at a check, above 0 and below 1: 0.002.
    pub delta: f64,
    /// Numbers from check to check, at least 1: 32.
    pub clock: u32,
    /// Buckets of a row, 2 to 1024: 5. More of them place cuts more finely.
    pub buckets: u32,
    /// Numbers of the shortest part that a cut may leave, at least 1: 5.
    pub shortest: u32,
    /// Numbers that the window holds before it is checked: 10.
    pub grace: u32,
    /// Whether the number after a change begins an empty window: yes. Otherwise what came since the change stays in it,
    /// and a large change can be found several times while the window is still adapting.
    pub restart: bool,
}

impl Default for AdwinOptions {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, buckets: 5, shortest: 5, grace: 10, restart: true }
    }
}

/// Sums of some numbers in a row.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    total: f64,
    /// Squares of their distances to their mean.
    squares: f64,
}

/// A window of numbers that drops its past when their mean changes.
///
/// A number costs a few additions, and every `clock` numbers a walk over the buckets. They are at most
/// `buckets * (1 + log2(width))` of 16 bytes: 1.7 KB for a million numbers. A NaN, an infinity, or a number beyond
/// +-10^100 is counted in [`Adwin::ignored`] and changes nothing else.
///
/// ```
/// use pelton::learn::Adwin;
/// let mut window = Adwin::default();
/// // 1000 times 0 or 1 at random, then 4 to 7.
/// let noise = |i: u64| (i * 2_654_435_761 >> 16) % 4;
/// let number = |i| if i < 1000 { (noise(i) / 2) as f64 } else { 4.0 + noise(i) as f64 };
/// let found = (0..2000).find(|&i| window.update(number(i)));
/// assert_eq!(found, Some(1023));
/// assert!(window.width() < 100 && window.mean() > 3.0);
/// ```
#[derive(Debug, Clone)]
pub struct Adwin {
    options: AdwinOptions,
    /// Row `r` holds buckets of `2^r` numbers, the oldest first.
    rows: Vec<VecDeque<Bucket>>,
    width: u64,
    total: f64,
    squares: f64,
    seen: u64,
    drifted: bool,
    detections: u64,
    ignored: u64,
}

impl Default for Adwin {
    fn default() -> Self {
        Self::empty(AdwinOptions::default())
    }
}

impl Adwin {
    /// An empty window; [`Error::Invalid`] names the option that is out of range.
    pub fn new(options: AdwinOptions) -> Result<Self> {
        if !(options.delta > 0.0 && options.delta < 1.0) {
            return Err(Error::out_of_range("delta", options.delta, "numbers above 0 and below 1"));
        }
        if options.clock == 0 {
            return Err(Error::out_of_range("clock", 0, "1 and more"));
        }
        if !(2..=1024).contains(&options.buckets) {
            return Err(Error::out_of_range("buckets", options.buckets, "2 to 1024"));
        }
        if options.shortest == 0 {
            return Err(Error::out_of_range("shortest", 0, "1 and more"));
        }
        Ok(Self::empty(options))
    }

    fn empty(options: AdwinOptions) -> Self {
        Self {
            options,
            rows: vec![VecDeque::new()],
            width: 0,
            total: 0.0,
            squares: 0.0,
            seen: 0,
            drifted: false,
            detections: 0,
            ignored: 0,
        }
    }

    /// Takes a number; whether the mean has changed, in which case the window now begins after the change.
    pub fn update(&mut self, x: f64) -> bool {
        if !learnable(x) {
            self.ignored += 1;
            return false;
        }
        if self.drifted && self.options.restart {
            let counts = (self.detections, self.ignored);
            *self = Self::empty(self.options);
            (self.detections, self.ignored) = counts;
        }
        self.drifted = false;
        self.insert(x);
        self.seen += 1;
        if !self.seen.is_multiple_of(self.options.clock.into())
            || self.width <= self.options.grace.into()
        {
            return false;
        }
        while self.has_cut() {
            self.drop_oldest();
            self.drifted = true;
        }
        self.detections += u64::from(self.drifted);
        self.drifted
    }

    /// Numbers in the window.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// Their mean; 0 when there are none.
    pub fn mean(&self) -> f64 {
        if self.width == 0 { 0.0 } else { self.total / self.width as f64 }
    }

    /// Their variance, by their number; 0 when there are none.
    pub fn variance(&self) -> f64 {
        if self.width == 0 { 0.0 } else { self.squares / self.width as f64 }
    }

    /// Changes found so far.
    pub fn detections(&self) -> u64 {
        self.detections
    }

    /// Numbers that were none to learn.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Buckets held, of 16 bytes each: at most `buckets * (1 + log2(width))`.
    pub fn buckets(&self) -> usize {
        self.rows.iter().map(VecDeque::len).sum()
    }

    fn insert(&mut self, x: f64) {
        self.rows[0].push_back(Bucket { total: x, squares: 0.0 });
        self.width += 1;
        if self.width > 1 {
            let (before, now) = ((self.width - 1) as f64, self.width as f64);
            let off = x - self.total / before;
            self.squares += before * off * off / now;
        }
        self.total += x;
        self.compress();
    }

    /// Merges the two oldest buckets of each row that is too full.
    fn compress(&mut self) {
        for row in 0.. {
            if self.rows[row].len() <= self.options.buckets as usize {
                return;
            }
            let mut oldest = self.rows[row].drain(..2);
            let (Some(a), Some(b)) = (oldest.next(), oldest.next()) else { return };
            drop(oldest);
            let n = size(row);
            let off = a.total / n - b.total / n;
            let squares = a.squares + b.squares + n * n * off * off / (n + n);
            if row + 1 == self.rows.len() {
                self.rows.push(VecDeque::new());
            }
            self.rows[row + 1].push_back(Bucket { total: a.total + b.total, squares });
        }
    }

    /// Whether the window has two parts whose means differ by more than chance.
    fn has_cut(&self) -> bool {
        let n = self.width as f64;
        let (variance, shortest) = (self.variance(), f64::from(self.options.shortest));
        let chance = (2.0 * n.ln() / self.options.delta).ln();
        let (mut n0, mut n1, mut u0, mut u1) = (0.0, n, 0.0, self.total);
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for bucket in buckets {
                n0 += size(row);
                n1 -= size(row);
                u0 += bucket.total;
                u1 -= bucket.total;
                if n0 < shortest || n1 < shortest {
                    continue;
                }
                let m = 1.0 / (n0 - shortest + 1.0) + 1.0 / (n1 - shortest + 1.0);
                let allowed = (2.0 * m * variance * chance).sqrt() + 2.0 / 3.0 * chance * m;
                if (u0 / n0 - u1 / n1).abs() > allowed {
                    return true;
                }
            }
        }
        false
    }

    fn drop_oldest(&mut self) {
        let row = self.rows.len() - 1;
        let Some(gone) = self.rows[row].pop_front() else { return };
        let n = size(row);
        self.width -= 1 << row;
        self.total -= gone.total;
        let left = self.width as f64;
        let off = gone.total / n - self.total / left;
        self.squares -= gone.squares + n * left * off * off / (n + left);
        if self.rows[row].is_empty() && row > 0 {
            self.rows.pop();
        }
    }
}

/// Numbers of a bucket of a row.
fn size(row: usize) -> f64 {
    (1u64 << row) as f64
}
