//! ADWIN as a test for drift: a window of a key's latest levels, as long as they have one mean.
//!
//! Spec. The `u` of 32 events in a row (`ops::decide`, held to +-4) become one number, their mean, from 0 to 256 in
//! units of 1/32 of a deviation. Means, not single events, for what neighbours have in common shows in the variance of
//! their means: a key whose events follow from one another, or that has a season, is no key that changes. What is left
//! of 32 events has a window of its own.
//!
//! The window is an exponential histogram as in `learn::Adwin`: row `r` holds at most 4 buckets of `2^r` means each,
//! their sum and the sum of their squares; when one more comes, the two oldest of the row become one bucket of the row
//! above. The last of 7 rows drops them. So it reaches back over 508 means, 16,256 events: eight times as far as what
//! standardises levels, beyond which no change can be seen. Each bucket has a place that follows from how many came to
//! its row, and that from how many means came in all, which is the only count.
//!
//! With every mean, from the eleventh on, all cuts between buckets are tried. Where the newer part has `n1` of `n`
//! means and the older `n0`, their sums being `t1` and `t0`, and all of them a sum of `t` and one of squares of `s`, a
//! cut is one that chance does not make when
//!
//! ```text
//! d = ln(2 ln(n) / delta)        e = |t0 n1 - t1 n0| - 16/3 d n
//! e > 0   and   e^2 n > 2 d n0 n1 (n s - t^2)
//! ```
//!
//! This is the bound of the paper, `sqrt(2 m v d) + 2/3 m d` for a difference of two means, times `n0 n1`: the second
//! term is for numbers of a range of one, and `u` has 8 deviations, shared by the 32 of a mean: 8 units. So written,
//! it has no quotient and no root, which devices round differently. All sums are whole numbers and exact; of the rest
//! each product, difference and logarithm (`ops::math`) is rounded the same way everywhere. State is integer, and equal
//! byte for byte.
//!
//! A key whose window can be cut has drifted, which `ops::drift` takes from there: all of the state is zero. The paper
//! drops the older part alone. But tracks, peaks and detectors do not know which part they learnt what from, so that
//! the window would know better than what it is there for; River begins anew for the same reason.
//!
//! Cost: a line of 64 bytes an event, some forty words more for one in 32.
//!
//! After Bifet and Gavalda (2007), Learning from Time-Changing Data with Adaptive Windowing.

use super::drift::STEP_MAX;
use super::math::ln;
use super::number::Number;

/// Words of a window, which stand behind all else that a detector keeps of a key.
pub const WINDOW: usize = BUCKETS + ROWS * ROW_WORDS;

/// Events that make a mean.
pub const EVENTS: u32 = 32;
/// Means that a window must have more of before it is cut.
pub const GRACE: u32 = 10;
/// Rows of buckets.
pub const ROWS: usize = 7;
/// Buckets of a row.
pub const HELD: u32 = 4;

/// Word of a window: events that count for the next mean.
const COUNT: usize = 0;
/// Word: the sum of their `u + 4`, in units of 1/256.
const SUM: usize = 1;
/// Word: means that came; from 2^31 on it goes back by half.
const MEANS: usize = 2;
/// Where buckets begin: row by row four pairs of a sum and a sum of squares. The `i`th bucket of a row is pair `i % 4`.
const BUCKETS: usize = 8;
/// Words of a row.
const ROW_WORDS: usize = 2 * HELD as usize;
/// Means from which their number goes back.
const MEANS_MAX: u32 = 1 << 31;

/// The largest sum of one event, and of a mean.
const STEP_UNITS: u32 = 2048;
/// The largest mean.
const MEAN_MAX: u32 = 256;

/// Buckets that a row holds to which so many came.
#[inline(always)]
const fn held(came: u32) -> u32 {
    if came <= HELD { came } else { HELD - (came & 1) }
}

/// Buckets that came to the row above one to which so many came.
#[inline(always)]
const fn above(came: u32) -> u32 {
    came.saturating_sub(HELD).div_ceil(2)
}

/// Takes in an event whose level lies `u` deviations off; whether the window can now be cut. `scale` is
/// `ln(2 / delta)`.
#[inline(always)]
pub(super) fn has_changed(window: &mut [u32], u: f32, scale: f32) -> bool {
    let u = u.up_to(STEP_MAX).no_less(-STEP_MAX);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2048")]
    let units = ((u + STEP_MAX) * 256.0 + 0.5) as u32;
    let (count, sum) = (window[COUNT] + 1, window[SUM] + units);
    if count < EVENTS {
        (window[COUNT], window[SUM]) = (count, sum);
        return false;
    }
    (window[COUNT], window[SUM]) = (0, 0);
    insert(window, (sum + 128) >> 8);
    has_cut(window, scale)
}

/// Takes in a mean.
///
/// # Panics
/// When the window has fewer than [`WINDOW`] words.
pub fn insert(window: &mut [u32], mean: u32) {
    let mut came = window[MEANS];
    window[MEANS] = if came + 1 == MEANS_MAX { MEANS_MAX / 2 } else { came + 1 };
    let mut bucket = [mean, mean * mean];
    for row in window[BUCKETS..WINDOW].chunks_exact_mut(ROW_WORDS) {
        let full = held(came) == HELD;
        // Of a full row the oldest bucket is where the new one goes, and the next one behind it.
        let [at, next] = [came, came + 1].map(|i| 2 * (i % HELD) as usize);
        let older = [row[at] + row[next], row[at + 1] + row[next + 1]];
        [row[at], row[at + 1]] = bucket;
        if !full {
            return;
        }
        (bucket, came) = (older, above(came));
    }
}

/// The buckets of a window, the newest first: how many means, their sum and that of their squares.
fn buckets(window: &[u32]) -> impl Iterator<Item = [u32; 3]> {
    let rows = window[BUCKETS..WINDOW].chunks_exact(ROW_WORDS);
    let came = std::iter::successors(Some(window[MEANS]), |&came| Some(above(came)));
    (0..).zip(rows.zip(came)).flat_map(|(r, (row, came))| {
        (came - held(came)..came).rev().map(move |i| {
            let at = 2 * (i % HELD) as usize;
            [1 << r, row[at], row[at + 1]]
        })
    })
}

/// Means in a window.
///
/// # Panics
/// When it has fewer than [`WINDOW`] words.
pub fn width(window: &[u32]) -> u32 {
    buckets(window).map(|[n, ..]| n).sum()
}

/// Whether a window has two parts whose means differ by more than chance. `scale` is `ln(2 / delta)`.
///
/// # Panics
/// When it has fewer than [`WINDOW`] words.
pub fn has_cut(window: &[u32], scale: f32) -> bool {
    let add = |[n, t, s]: [u32; 3], [m, u, r]: [u32; 3]| [n + m, t + u, s + r];
    let [n, t, s] = buckets(window).fold([0; 3], add);
    if n <= GRACE {
        return false;
    }
    let width = n as f32;
    let d = scale + ln(ln(width));
    // Below 2^32, though neither term is.
    let spread = n.wrapping_mul(s).wrapping_sub(t.wrapping_mul(t)) as f32;
    let chance = 2.0 * d * spread;
    let range = d * (16.0 / 3.0) * width;
    let [mut n1, mut t1] = [0; 2];
    for [size, total, _] in buckets(window) {
        (n1, t1) = (n1 + size, t1 + total);
        let n0 = n - n1;
        let apart = ((t - t1) * n1).abs_diff(t1 * n0);
        let e = apart as f32 - range;
        if e > 0.0 && e * e * width > chance * (n0 * n1) as f32 {
            return true;
        }
    }
    false
}

/// The first word of a window that no stream leads to; `None` also where there is no window.
pub(super) fn misfit(window: &[u32]) -> Option<usize> {
    if window.is_empty() {
        return None;
    }
    let count = window[COUNT];
    let head =
        [(COUNT, EVENTS - 1), (SUM, count.saturating_mul(STEP_UNITS)), (MEANS, MEANS_MAX - 1)];
    let spare = (MEANS + 1..BUCKETS).map(|at| (at, 0));
    let most = |at: usize| {
        let size = 1 << ((at - BUCKETS) / ROW_WORDS);
        size * if at.is_multiple_of(2) { MEAN_MAX } else { MEAN_MAX * MEAN_MAX }
    };
    let buckets = (BUCKETS..WINDOW).map(|at| (at, most(at)));
    let mut words = head.into_iter().chain(spare).chain(buckets);
    words.find(|&(at, most)| window[at] > most).map(|(at, _)| at)
}

const _: () = assert!(WINDOW == 64, "four lines");
