//! What a user asks for when each event is to be scored by the past of its key, and how the answers are read.

use super::options::{Key, NumberField, Query, ValueSpec, event_stride};
use super::states::Kind as StateKind;
use crate::base::error::{Error, Result};
use crate::base::field::Field;
use crate::base::limits::{VALUES_MAX, word};
use crate::base::time::{Shape, Ticks};
use crate::ops::detector::Detector;
use crate::ops::drift::Drift;
use crate::ops::ensemble::{self, Judges, Member};
use crate::ops::expr::Filter;
use crate::ops::page::ALONE;
use crate::ops::row::Kind;
use crate::ops::score::{ScoreParams, packed, row_words};

/// Anomaly scores of keyed events of type `E`, as they arrive.
///
/// Each event of a key is compared with what came before it: its distance from exponentially weighted means over three
/// horizons, in deviations (`ops::ewma`), becomes the probability of such a distance or a larger one in this key's own
/// past (`ops::decide`), and where that is below [`Scores::rate`], an alert. Every event gets a
/// [`Score`](crate::Score), through the same lanes, results and devices as [`Windows`](super::Windows). Values that are
/// NaN are missing, not anomalous.
///
/// The order is that of arrival, or of event time ([`Scores::order`]). Either way scores depend on neither batches nor
/// device: the processor and CUDA give the same bits, WGSL the same where the device divides correctly rounded, else
/// scores within 1e-5.
///
/// State takes 256 bytes a key with one value, 40 more for each further one, in whole lines of 64, and what the
/// [`Detector`] and [`Drift`] add. Keys stay unless [`Scores::ttl`] or [`Scores::evict`] says otherwise; what was
/// learnt of a forgotten key can be fetched ([`Results::forgotten`](super::Results::forgotten)) and brought back
/// ([`States`](super::States)).
///
/// ```
/// use pelton::{Device, Inline, Key, Options, Pod, Scores, Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Reading { at: u64, sensor: u32, value: f32 }
///
/// let query = Scores {
///     key: Key::hashed(field!(Reading.sensor)),
///     ..Scores::new(field!(Reading.at), field!(Reading.value))
/// };
/// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
/// let mut lane = inline.lane()?;
/// let mut alerts = Vec::new();
/// for at in 0..4000u64 {
///     let noise = (at * 2_654_435_761 % 1000) as f32 / 1000.0;
///     let value = if at == 3500 { 9.0 } else { noise };
///     lane.push(Reading { at, sensor: 7, value }).expect("it is emptied below");
///     inline.settle(|rows| alerts.extend(rows.scores().filter(|s| s.alert()).map(|s| s.time())))?;
/// }
/// assert_eq!(alerts, [3500]);
/// # Ok::<(), pelton::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Scores<E> {
    /// The event time, in ticks of your choice.
    pub time: Field<E, u64>,
    /// Whose past an event is compared with.
    pub key: Key<E>,
    /// The fields to score, 1 to 8. An event's score is that of its most unusual value;
    /// [`Score::attribution`](crate::Score::attribution) says how much of it each of them stands for.
    pub values: Vec<NumberField<E>>,
    /// Only events that pass are scored and learnt.
    pub filter: Option<Filter<E>>,
    /// How far back the longest of the three horizons reaches, in spacings (16 to 2^20); the others reach an eighth
    /// and a 64th as far.
    pub horizon: f32,
    /// Ticks between two events of a key; `None` learns each key's own. What is counted in spacings goes by event
    /// time: events twice as far apart as usual forget twice as much.
    pub spacing: Option<Ticks>,
    /// Events of a key before it can alert; four times as many where it has not seen ten unusual ones to judge by.
    pub warm_up: u32,
    /// The rate of false alarms to hold, per event: an event less probable than that in its key's past is an alert.
    /// At most 0.01.
    pub rate: f64,
    /// How long a key rests after an alert, in spacings: further events count as its repetitions, unless they are a
    /// fifth more surprising.
    pub rest: f32,
    /// Which side alerts.
    pub side: Side,
    /// The least distance from the expected value that alerts, in units of the value.
    pub least: f32,
    /// The least distance that alerts, as a share of the expected value.
    pub least_share: f32,
    /// What judges events beside their distances. All but [`Detector::Distances`] also give
    /// [`Score::isolation`](crate::Score::isolation).
    pub detector: Detector,
    /// Detectors beside it, three at most, each with its share of the false alarms: an *ensemble* (`ops::ensemble`). An
    /// event is as improbable as the member makes it that is the least likely to say so by chance, and
    /// [`Score::detector`](crate::Score::detector) names that member. Each member takes its own state and time.
    pub ensemble: Vec<Member>,
    /// When a key has drifted: is another than it was, and stays so. What was learnt of it is then forgotten, labels
    /// included, so that it warms up anew ([`Score::drifted`](crate::Score::drifted), `ops::drift`), instead of taking
    /// large distances for usual until the longest horizon has passed. `None` never forgets so.
    pub drift: Option<Drift>,
    /// Keys not seen for this long in event time are forgotten, an eighth of it later at most; `None` keeps them. Dense
    /// keys stay.
    pub ttl: Option<Ticks>,
    /// When [`Options::keys_max`](super::Options::keys_max) keys are held: forget an eighth of them, those not seen for
    /// the longest, rather than set the events of new keys aside. That bounds the bytes of state. Dense keys stay.
    pub evict: bool,
    /// In which order the events of a key are scored.
    pub order: Order,
}

/// In which order the events of a key are scored. A key's past is what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// As they arrive, at once: a key's events must come through one lane, else how they interleave, and so the scores,
    /// depend on the batches.
    #[default]
    Arrival,
    /// By event time, then by lane in the order of opening, then by place in the lane. Events wait until the watermark,
    /// which is that of [`Windows`](super::Windows), has passed their time; so scores depend on what each lane brings
    /// alone, also where a key's events come through several lanes. Late events and those beyond the horizon are set
    /// aside. On the host it costs a copy of each event and a place in a heap, 60 to 80 ns an event. A lane that has
    /// nothing to send holds all others up until it says so ([`Feed::idle`](super::Feed::idle),
    /// [`Feed::advance`](super::Feed::advance)).
    EventTime {
        /// How far an event may lie behind the largest time before it in its lane, in ticks, and still be on time.
        disorder: Ticks,
        /// How far an event may lie ahead of the largest time before it in its lane, in ticks; see
        /// [`Windows::horizon`](super::Windows::horizon).
        horizon: Ticks,
    },
}

impl Order {
    /// By event time, where events lie this many ticks behind at most.
    pub const fn event_time(disorder: Ticks) -> Self {
        Self::EventTime { disorder, horizon: Ticks::MAX }
    }
}

/// On which side of the expected value events alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Side {
    /// Both.
    #[default]
    Both,
    /// Only values above what was expected.
    Above,
    /// Only values below.
    Below,
}

impl<E> Scores<E> {
    /// Scores of one value, unkeyed, at one false alarm in 10,000 events.
    pub fn new(time: Field<E, u64>, value: impl Into<NumberField<E>>) -> Self {
        Self {
            time,
            key: Key::none(),
            values: vec![value.into()],
            filter: None,
            horizon: 2048.0,
            spacing: None,
            warm_up: 256,
            rate: 1e-4,
            rest: 128.0,
            side: Side::Both,
            least: 0.0,
            least_share: 0.0,
            detector: Detector::Distances,
            ensemble: Vec::new(),
            drift: None,
            ttl: None,
            evict: false,
            order: Order::Arrival,
        }
    }
}

/// What a pipeline can be asked: [`Windows`](super::Windows) or [`Scores`].
pub trait Ask<E>: sealed::Ask {}

pub(super) mod sealed {
    use super::{Query, Result};
    /// The question in the terms of the engine.
    pub trait Ask {
        #[allow(private_interfaces, reason = "nobody outside can name this trait")]
        fn query(&self) -> Result<Query>;
    }
}

impl<E: bytemuck::Pod> Ask<E> for Scores<E> {}

/// Checks how many values there are.
pub(super) fn check_values(values: usize) -> Result<()> {
    if (1..=VALUES_MAX).contains(&values) {
        return Ok(());
    }
    Err(Error::out_of_range("values", values, "1 to 8 fields"))
}

impl<E: bytemuck::Pod> Scores<E> {
    fn check(&self) -> Result<()> {
        check_values(self.values.len())?;
        self.detector.check()?;
        ensemble::check(&self.ensemble)?;
        self.drift.map_or(Ok(()), Drift::check)?;
        if !(16.0..=1_048_576.0).contains(&self.horizon) {
            return Err(Error::out_of_range("horizon", self.horizon, "16 to 2^20 spacings"));
        }
        if self.ttl == Some(0) {
            return Err(Error::out_of_range("ttl", 0, "ticks, or None to keep keys"));
        }
        if self.spacing == Some(0) {
            return Err(Error::out_of_range("spacing", 0, "ticks, or None to learn it"));
        }
        if !(1e-30..=0.01).contains(&self.rate) {
            return Err(Error::out_of_range("rate", self.rate, "1e-30 to 0.01 an event"));
        }
        for (name, value) in
            [("rest", self.rest), ("least", self.least), ("least_share", self.least_share)]
        {
            if !(0.0..=1e12).contains(&value) {
                return Err(Error::out_of_range(name, value, "0 to 1e12"));
            }
        }
        Ok(())
    }
}

impl<E: bytemuck::Pod> sealed::Ask for Scores<E> {
    #[allow(private_interfaces, reason = "nobody outside can name this trait")]
    fn query(&self) -> Result<Query> {
        let stride = event_stride::<E>()?;
        self.check()?;
        self.key.check()?;
        let values = self.values.iter().map(NumberField::place).collect::<Result<Vec<_>>>()?;
        let pair = |i: usize| packed([values.get(i).copied(), values.get(i + 1).copied()]);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let asked = -self.rate.ln() as f32;
        let judges = Judges::new(self.detector, &self.ensemble, self.drift);
        let [drift_delta, drift_threshold] = self.drift.map_or([0.0; 2], Drift::packed);
        let params = ScoreParams {
            stride: word(stride),
            time_word: word(self.time.column().word()),
            key_word: word(self.key.column.map_or(0, |c| c.word())),
            key_words: word(self.key.column.map_or(0, |c| c.dtype.bytes() / 4)),
            values: word(values.len()),
            state_words: word(judges.words(values.len())),
            first_block: 0,
            blocks: ALONE,
            values01: pair(0),
            values23: pair(2),
            values45: pair(4),
            values67: pair(6),
            warm: self.warm_up,
            sides: match self.side {
                Side::Above => 1,
                Side::Below => 2,
                Side::Both => 3,
            },
            own_words: 0,
            rate: 1.0 / self.horizon,
            spacing: self.spacing.map_or(0.0, crate::ops::math::ticks),
            asked,
            rest: self.rest,
            least: self.least,
            least_share: self.least_share,
            zero: 0,
            chance: 0.0,
            chance_steep: 0.0,
            detector: 0,
            shape0: 0,
            shape1: 0,
            shape2: 0,
            shape3: 0,
            state_at: 0,
            drift_delta,
            drift_threshold,
        };
        Ok(Query {
            stride,
            time: self.time.column(),
            key: self.key.column,
            dense: self.key.dense,
            // One window over all of time, which never fires: its rows are the keys' states.
            shape: Shape::new(u64::MAX, u64::MAX)?,
            values: vec![ValueSpec { word: 0, kind: Kind::F32, parts: 0, fraction: 0 }],
            filter: self.filter.as_ref().map(Filter::compile).transpose()?,
            disorder: 0,
            lateness: 0,
            horizon: Ticks::MAX,
            ttl: self.ttl,
            evict: self.evict,
            order: self.order,
            windows: None,
            scores: Some(Scored::new(params, judges, &self.ensemble)),
        })
    }
}

/// How events are scored, in the terms of the kernels.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    /// What states are of.
    pub(super) kind: StateKind,
    /// What each detector is told.
    pub(super) members: Vec<ScoreParams>,
    /// What takes in the rows of each detector but the first.
    pub(super) joins: Vec<ScoreParams>,
}

impl Scored {
    fn new(common: ScoreParams, judges: Judges, further: &[Member]) -> Self {
        let member = |(at, own, detector): (usize, usize, Detector)| {
            let [shape, shape0, shape1, shape2, shape3] = detector.shape();
            let [chance, chance_steep] = detector.chance();
            let state_at = word(at);
            ScoreParams {
                chance,
                chance_steep,
                detector: shape,
                shape0,
                shape1,
                shape2,
                shape3,
                state_at,
                own_words: word(own),
                ..common
            }
        };
        let discount = |share: f32| (-share.ln()).to_bits();
        let left = 1.0 - further.iter().map(|member| member.share).sum::<f32>();
        let join = |(i, member): (usize, &Member)| ScoreParams {
            shape0: if i == 0 { discount(left) } else { 0 },
            shape1: discount(member.share),
            shape2: word(i + 1),
            shape3: u32::from(i + 1 == further.len()),
            ..common
        };
        let values = common.values;
        Self {
            kind: StateKind { values, judges },
            members: judges.places(values as usize).map(member).collect(),
            joins: further.iter().enumerate().map(join).collect(),
        }
    }

    /// Words of a key's state.
    pub(super) fn state_words(&self) -> usize {
        self.members[0].state_words as usize
    }

    /// Words of an event's row.
    pub(super) fn row_words(&self) -> usize {
        row_words(self.kind.values as usize)
    }

    /// Whether keys may drift.
    pub(super) fn may_drift(&self) -> bool {
        self.members[0].drift_threshold != 0.0
    }

    /// One by the longest horizon, in spacings.
    pub(super) fn rate(&self) -> f32 {
        self.members[0].rate
    }
}
