//! How the answers of [`Scores`](crate::Scores) are read: one event's score.

use super::results::Rows;
use crate::base::time::Ticks;
use crate::ops::batch::join;
use crate::ops::score::{
    ALERT, CLAMPED, DETECTOR_SHIFT, DISMISSED, ISOLATION_SHIFT, MISSING, RESTING, ROW, RULED_OUT,
    USUAL, VALUE_SHIFT, WARMING,
};
use std::fmt;

/// One event's score.
#[derive(Clone, Copy)]
pub struct Score<'a> {
    words: &'a [u32],
}

impl Score<'_> {
    fn number(&self, at: usize) -> f64 {
        f64::from(f32::from_bits(self.words[at]))
    }

    fn is(&self, flag: u32) -> bool {
        self.words[4] & flag != 0
    }

    /// The event's key; 0 when there is none.
    pub fn key(&self) -> u64 {
        join(self.words[0], self.words[1])
    }

    /// The event's time.
    pub fn time(&self) -> Ticks {
        join(self.words[2], self.words[3])
    }

    /// Minus the natural logarithm of [`Score::tail`].
    fn surprise(&self) -> f64 {
        let x = self.number(5);
        match () {
            () if self.is(MISSING) => 0.0,
            // ln(1 + e^x); what is no peak has an exponent of a few units at most.
            () if self.is(USUAL) => x.exp().ln_1p(),
            () => x,
        }
    }

    /// How anomalous the event is: minus the decimal logarithm of [`Score::tail`], 0 when it is missing. It has no
    /// upper end and compares across keys.
    pub fn score(&self) -> f64 {
        self.surprise() / std::f64::consts::LN_10
    }

    /// The probability of such an event or a more anomalous one in its key's past.
    pub fn tail(&self) -> f64 {
        (-self.surprise()).exp()
    }

    /// The dense score, from 0 to 1, by [`Scores::detector`](crate::Scores::detector). With
    /// [`Detector::Forest`](crate::Detector::Forest) how soon random cuts set the event apart from its key's past, 1 /
    /// (1 + depth), at most a half; with [`Detector::HalfSpaces`](crate::Detector::HalfSpaces) and
    /// [`Detector::Loda`](crate::Detector::Loda) how few events were around it, 1 where none was; with
    /// [`Detector::Season`](crate::Detector::Season) l / (1 + l), l being the level of its distance; with
    /// [`Detector::Profile`](crate::Detector::Profile) d / (1 + d), d being the distance to the nearest stretch before;
    /// with [`Detector::Art`](crate::Detector::Art) the distance to the nearest category by the largest there could be.
    /// 0 with [`Detector::Distances`](crate::Detector::Distances), and before there is a past. It varies little from
    /// event to event and stays up while an anomaly lasts: the score to rank events of a key by, where [`Score::score`]
    /// is the one to alert by.
    pub fn isolation(&self) -> f64 {
        f64::from(self.words[4] >> ISOLATION_SHIFT) / 65535.0
    }

    /// Whether it is an alert.
    pub fn alert(&self) -> bool {
        self.is(ALERT)
    }

    /// Whether its key has seen too little to alert, or long ago.
    pub fn warming(&self) -> bool {
        self.is(WARMING)
    }

    /// Whether its key rests after an alert that this event does not clearly exceed.
    pub fn resting(&self) -> bool {
        self.is(RESTING)
    }

    /// Whether it is improbable enough, and a rule (side, floor) keeps it from being an alert.
    pub fn ruled_out(&self) -> bool {
        self.is(RULED_OUT)
    }

    /// Whether it would be an alert, had not a [label](super::Feed::feedback) said that its like is normal.
    pub fn dismissed(&self) -> bool {
        self.is(DISMISSED)
    }

    /// Whether none of its values is a number.
    pub fn missing(&self) -> bool {
        self.is(MISSING)
    }

    /// Whether a value beyond 10^12, an infinity for one, was taken as 10^12.
    pub fn clamped(&self) -> bool {
        self.is(CLAMPED)
    }

    /// Which of [`Scores::values`](crate::Scores::values) is the most unusual: the one that explains the score.
    pub fn field(&self) -> usize {
        (self.words[4] >> VALUE_SHIFT & 7) as usize
    }

    /// Which detector found it the most improbable: 0 for [`Scores::detector`](crate::Scores::detector), then those of
    /// [`Scores::ensemble`](crate::Scores::ensemble).
    pub fn detector(&self) -> usize {
        (self.words[4] >> DETECTOR_SHIFT & 7) as usize
    }

    /// That value, 0 when it is missing.
    pub fn value(&self) -> f64 {
        self.number(6)
    }

    /// What was expected of it.
    pub fn expected(&self) -> f64 {
        self.number(7)
    }

    /// The standard deviation around what was expected.
    pub fn deviation(&self) -> f64 {
        self.number(8).sqrt()
    }

    /// Where values within so many deviations lie.
    pub fn band(&self, deviations: f64) -> std::ops::RangeInclusive<f64> {
        let half = deviations * self.deviation();
        self.expected() - half..=self.expected() + half
    }

    /// Events of its key with a value so far, this one included; beyond 2^32 - 1 a number within 2^17 below that.
    pub fn seen(&self) -> u64 {
        u64::from(self.words[9])
    }

    /// The words as the device wrote them: see `ops::score`.
    pub fn words(&self) -> &[u32] {
        self.words
    }
}

impl fmt::Debug for Score<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alert = if self.alert() { ", alert" } else { "" };
        write!(
            f,
            "Score(key {}, time {}, value {}, score {:.2}{alert})",
            self.key(),
            self.time(),
            self.value(),
            self.score()
        )
    }
}

impl Rows {
    /// The scores of a batch of events: each key's in order, keys in no particular one. Empty for windows.
    pub fn scores(&self) -> impl ExactSizeIterator<Item = Score<'_>> {
        self.score_words().chunks_exact(ROW).map(|words| Score { words })
    }
}
