//! Whether a key is another than it was, so that what was learnt of it says nothing any more.
//!
//! Spec. While a key stays as it was, the `u` of its events (`ops::decide`) is 0 on average, since the key's own level
//! standardises it. There are two tests for that, of which a query takes one. For both an event counts 4 deviations at
//! most, so that it takes many events, not a large one, and events whose key warms up do not count.
//!
//! **Page's test** (Page 1954, Continuous Inspection Schemes; Hinkley 1971, who has the mean learnt, as
//! `learn::PageHinkley` does), of which one sum is left to keep:
//!
//! ```text
//! sum = max(0, sum + min(u, 4) - delta)
//! ```
//!
//! When it is above `threshold`, the key has *drifted*. It costs a word of state, which lies where lines of 64 bytes
//! mostly end in nothing, and five operations an event.
//!
//! **ADWIN**, `ops::adwin`: a window of the latest `u`, in which no two parts may differ. It takes four lines of state
//! for each detector, which only queries that ask for it have, and notices changes that are smaller, and sooner.
//!
//! With the defaults, of 101 keys of Gaussian values the median of events until a change is found (and how many keys
//! are, where not all), as `./bench.sh A2-drift` prints it:
//!
//! | change | Page's test | ADWIN |
//! |---|---|---|
//! | mean up by 1 deviation | never | 454 (94) |
//! | mean up by 3, by 12 | 129, 72 | 66, 54 |
//! | deviation times 2 | never | 229 |
//! | deviation times 3 | never (20) | 115 |
//! | deviation halved | never | never |
//!
//! The event at which a test finds the change is judged like any other, and its row is marked. Then all of the
//! state is zero: what follows is, to the bit, what a key that has just come would get, so it warms up, visibly. All
//! goes, because all was learnt of what is no more: spacing, tracks and level, peaks, rest, the bar of labels, and what
//! the detector keeps. A track that forgets by itself would keep the level high for its longest horizon, and a forest,
//! a profile or a season would go on comparing with the past.
//!
//! In an ensemble each member has its own test, over its own level, and drifts alone: members take a batch one after
//! another, so what they decided together would depend on where batches end. The ensemble's rest and bar stay.

use super::adwin;
use super::number::Number;
use super::score::{DRIFT, ScoreParams, left_of};
use crate::base::error::{Error, Result};

/// Deviations that an event counts for, at most.
pub const STEP_MAX: f32 = 4.0;
/// The largest threshold.
pub const THRESHOLD_MAX: f32 = 1e6;

/// When a key has drifted ([`Scores::drift`](crate::Scores::drift)).
///
/// ```
/// use pelton::{Device, Drift, Inline, Options, Pod, Scores, Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Reading { at: u64, sensor: u32, value: f32 }
///
/// let query = Scores {
///     drift: Some(Drift::default()),
///     ..Scores::new(field!(Reading.at), field!(Reading.value))
/// };
/// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
/// let mut lane = inline.lane()?;
/// for at in 0..5000u64 {
///     // From event 4000 on it is elsewhere for good.
///     let level = if at < 4000 { 0.0 } else { 50.0 };
///     let value = level + (at * 2_654_435_761 % 1000) as f32 / 1000.0;
///     lane.push(Reading { at, sensor: 7, value }).expect("there is room");
/// }
/// let mut drifted = Vec::new();
/// inline.settle(|rows| drifted.extend(rows.scores().filter(|s| s.drifted()).map(|s| s.time())))?;
/// assert!(drifted.len() == 1 && (4020..4200).contains(&drifted[0]), "{drifted:?}");
/// assert_eq!(inline.stats().drifts, 1);
/// # Ok::<(), pelton::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drift {
    /// Page's test: events more unusual than they were, for long. It takes no state to speak of.
    Page {
        /// By how many deviations the level may be higher than it was before that counts, from 0 to below 4: 0.5.
        delta: f32,
        /// The sum of what counts from which a key has drifted, in deviations, 1 to a million: 250. It says how late
        /// and how rarely. A key that is far off gets there in a quarter of as many events.
        threshold: f32,
    },
    /// ADWIN: any two parts of the key's latest 16,256 events, in groups of 32, that differ by more than chance. It
    /// takes 256 bytes a key and detector, and notices changes sooner, smaller ones, and in variance, too.
    Adwin {
        /// Bound of the probability of a false alarm at a check, one in 32 events, from 1e-30 to a half: 1e-5.
        delta: f32,
    },
}

impl Default for Drift {
    fn default() -> Self {
        Self::page()
    }
}

impl Drift {
    /// Page's test with the numbers named there.
    pub const fn page() -> Self {
        Self::Page { delta: 0.5, threshold: 250.0 }
    }

    /// ADWIN with the number named there.
    pub const fn adwin() -> Self {
        Self::Adwin { delta: 1e-5 }
    }

    /// Whether there can be such a test.
    pub(crate) fn check(self) -> Result<()> {
        let (delta, threshold) = match self {
            Self::Page { delta, threshold } => (delta, threshold),
            Self::Adwin { delta } if (1e-30..=0.5).contains(&delta) => return Ok(()),
            Self::Adwin { delta } => {
                return Err(Error::out_of_range("drift.delta", delta, "1e-30 to 0.5 for ADWIN"));
            }
        };
        if !(0.0..STEP_MAX).contains(&delta) {
            return Err(Error::out_of_range("drift.delta", delta, "0 to below 4 deviations"));
        }
        if !(1.0..=THRESHOLD_MAX).contains(&threshold) {
            let accepted = "1 to 1,000,000 deviations";
            return Err(Error::out_of_range("drift.threshold", threshold, accepted));
        }
        Ok(())
    }

    /// As parameters: `drift_delta` and `drift_threshold`.
    pub fn packed(self) -> [f32; 2] {
        match self {
            Self::Page { delta, threshold } => [delta, threshold],
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            Self::Adwin { delta } => [(2.0 / f64::from(delta)).ln() as f32, -1.0],
        }
    }
}

/// Words of a window that detectors have in their state, with such a threshold.
#[inline(always)]
pub const fn window_words(threshold: f32) -> usize {
    if threshold < 0.0 { adwin::WINDOW } else { 0 }
}

/// Whether a key that does not warm up has drifted, with an event whose level lies `u` deviations off.
#[inline(always)]
pub(super) fn has_drifted(state: &mut [u32], window: &mut [u32], p: &ScoreParams, u: f32) -> bool {
    if p.drift_threshold < 0.0 {
        return adwin::has_changed(window, u, p.drift_delta);
    }
    let sum = left_of(f32::from_bits(state[DRIFT]) + u.up_to(STEP_MAX), p.drift_delta);
    state[DRIFT] = sum.to_bits();
    sum > p.drift_threshold
}
