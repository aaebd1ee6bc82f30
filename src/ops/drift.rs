//! Whether a key is another than it was, so that what was learnt of it says nothing any more.
//!
//! Spec. While a key stays as it was, the `u` of its events (`ops::decide`) is 0 on average, since the key's own level
//! standardises it. So of Page's test (Page 1954, Continuous Inspection Schemes; Hinkley 1971, who has the mean learnt,
//! as `learn::PageHinkley` does) one sum is left to keep:
//!
//! ```text
//! sum = max(0, sum + min(u, 4) - delta)
//! ```
//!
//! When it is above `threshold`, the key has *drifted*. Events whose key warms up do not count, and none counts more
//! than 4 deviations, so that it takes many events, not a large one.
//!
//! The event at which the sum passes the threshold is judged like any other, and its row is marked. Then all of the
//! state is zero: what follows is, to the bit, what a key that has just come would get, so it warms up, visibly. All
//! goes, because all was learnt of what is no more: spacing, tracks and level, peaks, rest, the bar of labels, and what
//! the detector keeps. A track that forgets by itself would keep the level high for its longest horizon, and a forest,
//! a profile or a season would go on comparing with the past.
//!
//! In an ensemble each member has its own sum, over its own level, and drifts alone: members take a batch one after
//! another, so what they decided together would depend on where batches end. The ensemble's rest and bar stay.
//!
//! It costs a word of state, which lies where lines of 64 bytes mostly end in nothing, and five operations an event.

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
pub struct Drift {
    /// By how many deviations the level may be higher than it was before that counts, from 0 to below 4.
    pub delta: f32,
    /// The sum of what counts from which a key has drifted, in deviations, 1 to a million: it says how late and how
    /// rarely. A key that is far off gets there in a quarter of as many events.
    pub threshold: f32,
}

impl Default for Drift {
    fn default() -> Self {
        Self { delta: 0.5, threshold: 250.0 }
    }
}

impl Drift {
    /// Whether there can be such a test.
    pub(crate) fn check(self) -> Result<()> {
        if !(0.0..STEP_MAX).contains(&self.delta) {
            return Err(Error::out_of_range("drift.delta", self.delta, "0 to below 4 deviations"));
        }
        if !(1.0..=THRESHOLD_MAX).contains(&self.threshold) {
            let accepted = "1 to 1,000,000 deviations";
            return Err(Error::out_of_range("drift.threshold", self.threshold, accepted));
        }
        Ok(())
    }
}

/// Whether a key that does not warm up has drifted, with an event whose level lies `u` deviations off.
#[inline(always)]
pub(super) fn has_drifted(state: &mut [u32], p: &ScoreParams, u: f32) -> bool {
    let sum = left_of(f32::from_bits(state[DRIFT]) + u.up_to(STEP_MAX), p.drift_delta);
    state[DRIFT] = sum.to_bits();
    sum > p.drift_threshold
}
