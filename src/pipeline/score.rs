//! How the answers of [`Scores`](crate::Scores) are read: one event's score.

use super::results::Rows;
use crate::base::time::Ticks;
use crate::ops::batch::join;
use crate::ops::score::{
    ALERT, CLAMPED, DETECTOR_SHIFT, DISMISSED, DRIFTED, ISOLATION_SHIFT, MISSING, RESTING, ROW,
    RULED_OUT, USUAL, VALUE_SHIFT, WARMING,
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
    /// with [`Detector::SubPca`](crate::Detector::SubPca) the same, d being how long what usual shapes leave over is by
    /// how long it usually is, and with [`Detector::Spectral`](crate::Detector::Spectral) how salient the value is.
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

    /// Whether its key has drifted ([`Scores::drift`](crate::Scores::drift)): it is another than it was, what was
    /// learnt of it is forgotten, and it warms up from its next event on. In an ensemble one detector has, and the
    /// others go on.
    pub fn drifted(&self) -> bool {
        self.is(DRIFTED)
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

    /// How much of [`Score::score`] each of [`Scores::values`](crate::Scores::values) stands for, in their order: at
    /// least 0, and adding up to it within a rounding, whatever the detector. Each value has the share that its *part*
    /// has in all parts (`ops::score`); that of a missing value is 0, and where no value stands out at all, those that
    /// there are have equal ones. With an ensemble they are the parts by [`Score::detector`]. The largest need not be
    /// that of [`Score::field`], which goes by distance alone where a detector judges more than that.
    ///
    /// ```
    /// # use pelton::{Device, Inline, Options, Pod, Scores, Zeroable, field};
    /// # #[repr(C)]
    /// # #[derive(Clone, Copy, Pod, Zeroable)]
    /// # struct Reading { at: u64, heat: f32, load: f32 }
    /// let values = vec![field!(Reading.heat).into(), field!(Reading.load).into()];
    /// let query = Scores { values, ..Scores::new(field!(Reading.at), field!(Reading.heat)) };
    /// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
    /// let mut lane = inline.lane()?;
    /// for at in 0..=1000u64 {
    ///     let noise = |of: u64| ((at * 2_654_435_761 + of) % 1000) as f32 / 1000.0;
    ///     let load = if at == 1000 { 9.0 } else { noise(500) };
    ///     lane.push(Reading { at, heat: noise(0), load }).expect("there is room");
    /// }
    /// inline.settle(|rows| {
    ///     let score = rows.scores().last().expect("a thousand");
    ///     let parts: Vec<f64> = score.attribution().collect();
    ///     assert!(parts[1] > 0.9 * score.score() && (parts[0] + parts[1] - score.score()).abs() < 1e-9);
    /// })?;
    /// # Ok::<(), pelton::Error>(())
    /// ```
    pub fn attribution(&self) -> impl ExactSizeIterator<Item = f64> {
        // One value alone has no part in words.
        let parts = if self.words.len() == ROW { &[0][..] } else { &self.words[ROW..] };
        let part = |&word: &u32| f64::from(f32::from_bits(word));
        let there = parts.iter().map(part).filter(|&part| part >= 0.0);
        let (count, all) = there.fold((0.0, 0.0), |(count, all), part| (count + 1.0, all + part));
        let score = self.score();
        parts.iter().map(part).map(move |part| match () {
            () if part < 0.0 => 0.0,
            () if all > 0.0 => score * (part / all),
            () => score / count,
        })
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

    /// Events of its key with a value so far, or since it drifted, this one included; beyond 2^32 - 1 a number within
    /// 2^17 below that.
    pub fn seen(&self) -> u64 {
        u64::from(self.words[9])
    }

    /// The words as the device wrote them, of several values with their parts: see `ops::score`.
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
        self.score_words().map(|words| Score { words })
    }
}
