//! How salient the latest of a key's values is: what its stretch holds that its neighbours in frequency do not.
//!
//! Spec (Ren et al. 2019, Time-Series Anomaly Detection Service at Microsoft, after Hou and Zhang 2007, Saliency
//! Detection: A Spectral Residual Approach). The spectrum of a stretch (`ops::stretch`) is whitened: each of its
//! numbers is divided by the amplitude that is usual around its frequency, the geometric mean of its own and both its
//! neighbours'. Turned back, it is the *saliency map*. What is unusual about the stretch is the square of that map at
//! the latest number.
//!
//! A map is worst at its ends, so the stretch goes on a little: its five oldest numbers give way to five times an
//! estimate, `x5 + (x1 - x2) + (x1 - x3) / 2 + .. + (x1 - x6) / 5` with `x1` the number before the latest one, held as
//! numbers are: by the slopes between that number and five before it. The paper takes the latest number for `x1`; but
//! then a number out of place has five more than twice as far out behind it, and does not stand out beside them.
//!
//! With time counted from the latest number, modulo the window `n`, the map needs no turning back: at 0 it is the sum
//! over all frequencies. With `F` the spectrum, `l = ln(1 + |F|^2 4096 / n)`, what is below a 64th of a deviation
//! counting as that, and neighbours taken modulo `n`,
//!
//! ```text
//! s = sum of F(f) exp(-(l(f - 1) + l(f) + l(f + 1)) / 6)    q = s^2 4096 / n^2
//! ```
//!
//! Numbers are real, so frequencies up to half of `n` are enough, those between twice. `F(f)` is Horner's scheme in
//! `exp(-2 pi i f / n)`, the oldest number last but the estimates and the latest, in numbers of this table: `n / 2 + 1`
//! frequencies side by side, no sum of which depends on another. `q` is about one where phases are by chance.
//!
//! State for each key and value: a line of counts and means, then the numbers: 320 bytes for 64. Cost for each event
//! and value: all of it read, and `3 n^2` operations, 12,000 for 64 numbers.

use super::detector::out_of_range;
use super::ewma::{held, near_zero};
use super::math::{exp, inverse, ln};
use super::score::{BINDS, ScoreParams, scores_wgsl};
use super::simd::{Wide, wide};
use super::stretch::{self, ByExcess, Latest, NUMBER_MAX, STRANDS, Stretch, folded};
use super::walk;
use crate::base::error::Result;
use crate::plan::Kernel;

/// The kernel `ops::score` with spectral residuals.
pub static SPECTRAL: Kernel = Kernel {
    name: "spectral",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("together.wgsl", "stretch.wgsl", "spectral.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, ByExcess::new(Spectral { window: p.shape0 }));
    },
};

/// Shortest window.
pub const WINDOW_MIN: u32 = 32;
/// Longest window.
pub const WINDOW_MAX: u32 = 128;
/// How often the next number stands in a stretch.
const ESTIMATES: usize = 5;
/// Frequencies of the longest window, up to whole vectors.
const FREQUENCIES: usize = 80;
/// Cosines of a quarter turn in steps of a 128th turn.
const COSINES: [f32; 33] = [
    1.0,
    0.998_795_45,
    0.995_184_7,
    0.989_176_5,
    0.980_785_25,
    0.970_031_26,
    0.956_940_35,
    0.941_544_06,
    0.923_879_5,
    0.903_989_3,
    0.881_921_3,
    0.857_728_6,
    0.831_469_6,
    0.803_207_5,
    0.773_010_43,
    0.740_951_1,
    0.707_106_77,
    0.671_559,
    0.634_393_3,
    0.595_699_3,
    0.555_570_24,
    0.514_102_76,
    0.471_396_74,
    0.427_555_08,
    0.382_683_43,
    0.336_889_86,
    0.290_284_66,
    0.242_980_18,
    0.195_090_32,
    0.146_730_47,
    0.098_017_14,
    0.049_067_676,
    0.0,
];

/// Spectral residuals of the latest stretch of each value: how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spectral {
    /// Numbers of a stretch: 32, 64 or 128.
    pub window: u32,
}

impl Default for Spectral {
    fn default() -> Self {
        Self { window: 64 }
    }
}

impl Spectral {
    /// Words of a value's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        stretch::words(self.window, 0)
    }

    /// # Errors
    /// `Invalid` when the window is out of range.
    pub(super) fn check(self) -> Result<()> {
        if !self.window.is_power_of_two() || !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window) {
            return Err(out_of_range("window", self.window, "32, 64, 128"));
        }
        Ok(())
    }

    /// Keeps a scaled number; the excess of the stretch that it ends, where there is a past to judge by.
    pub fn excess(self, state: &mut [u32], number: f32) -> Option<f32> {
        stretch::excess(self, state, number)
    }
}

impl Stretch for Spectral {
    fn window(self) -> u32 {
        self.window
    }

    fn learnt(self) -> usize {
        0
    }

    fn learnt_max(self) -> f32 {
        0.0
    }

    /// As if nothing were divided: then each of `n` frequencies is at most `n` times the largest number.
    fn unusual_max(self) -> f32 {
        let root = 64.0 * NUMBER_MAX * self.window as f32;
        root * root
    }

    fn unusual(self, latest: &Latest<'_>, _: &mut [u32]) -> f32 {
        let mut salient = 0.0;
        wide(Map { latest, salient: &mut salient });
        let by_window = inverse(self.window as f32);
        near_zero(salient * salient * (4096.0 * by_window * by_window))
    }
}

/// Works out the saliency map at the latest number.
struct Map<'a> {
    latest: &'a Latest<'a>,
    salient: &'a mut f32,
}

impl Wide for Map<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { latest, salient } = self;
        let window = latest.ring.len();
        let mut numbers = [0.0f32; WINDOW_MAX as usize];
        let numbers = &mut numbers[..window];
        latest.copy_to(numbers);
        let estimate = estimate(numbers);
        // In Horner's order: from the number before the latest one back, the estimates, the latest one.
        numbers[window - ESTIMATES..].fill(estimate);
        numbers.rotate_left(1);
        let half = window / 2;
        let (mut real, mut imaginary) = ([0.0f32; FREQUENCIES], [0.0f32; FREQUENCIES]);
        let (mut cosines, mut sines) = ([0.0f32; FREQUENCIES], [0.0f32; FREQUENCIES]);
        let turns = cosines.iter_mut().zip(&mut sines).take(half + 1);
        for ((cosine, sine), step) in turns.zip((0..).step_by(128 / window)) {
            (*cosine, *sine) = turn(step);
        }
        let up_to = (half + 1).next_multiple_of(16);
        for &number in &*numbers {
            let turns = cosines[..up_to].iter().zip(&sines[..up_to]);
            let sums = real[..up_to].iter_mut().zip(&mut imaginary[..up_to]);
            for ((re, im), (&cosine, &sine)) in sums.zip(turns) {
                let turned = *re * cosine + *im * sine;
                *im = *im * cosine - *re * sine;
                *re = turned + number;
            }
        }
        *salient = whitened(&real[..=half], &imaginary[..=half], window);
    }
}

/// The sum over all frequencies of a spectrum divided by what is usual around each.
#[inline(always)]
fn whitened(real: &[f32], imaginary: &[f32], window: usize) -> f32 {
    let half = window / 2;
    let scale = 4096.0 * inverse(window as f32);
    // With a place below the first and one behind the last for their neighbours.
    let mut logs = [0.0f32; FREQUENCIES];
    for (log, (&re, &im)) in logs[1..].iter_mut().zip(real.iter().zip(imaginary)) {
        let (re, im) = (near_zero(re), near_zero(im));
        *log = ln(1.0 + (re * re + im * im) * scale);
    }
    (logs[0], logs[half + 2]) = (logs[2], logs[half]);
    let mut strands = [0.0f32; STRANDS];
    for (f, (&re, near)) in real.iter().zip(logs.windows(3)).enumerate() {
        let share = exp((near[0] + near[1] + near[2]) * (-1.0 / 6.0));
        let times = if f == 0 || f == half { 1.0 } else { 2.0 };
        strands[f % STRANDS] += near_zero(re) * share * times;
    }
    folded(&strands)
}

/// Cosine and sine of so many 128ths of a turn, up to half of one.
#[inline(always)]
fn turn(step: usize) -> (f32, f32) {
    let quarter = COSINES.len() - 1;
    let cosine = if step > quarter { -COSINES[2 * quarter - step] } else { COSINES[step] };
    (cosine, COSINES[step.abs_diff(quarter)])
}

/// What follows a stretch with the latest number first, by those before it.
#[inline(always)]
fn estimate(numbers: &[f32]) -> f32 {
    let mut sum = 0.0;
    for (i, by) in [1.0, 0.5, 1.0 / 3.0, 0.25, 0.2].into_iter().enumerate() {
        sum += (numbers[1] - numbers[i + 2]) * by;
    }
    near_zero(held(numbers[5] + sum, NUMBER_MAX))
}
