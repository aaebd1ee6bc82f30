//! How far a value lies from what its key's season makes likely: by the time of the day, of the week.
//!
//! Spec. Event time is cut in *slots* of equal length, counted from time 0; a *season* is a number of slots after which
//! things repeat. A query names up to four seasons, such as day and week; each key finds out which of them it has, if
//! any. Each value keeps for each season two models of what comes:
//!
//! * **Slots**: the mean of each slot.
//! * **Holt-Winters** (Winters 1960), additive: a level, a trend that is damped (Gardner and McKenzie 1985), and what
//!   each slot adds.
//!
//! Both are lines between nodes, one where each slot begins, so that nothing jumps from slot to slot. An event at `c`
//! of its slot lies between the nodes of this slot and of the next, with shares `1 - c` and `c`, in 256ths; the last
//! slot is followed by the first. A node has a weight, the sum of the shares that it learnt from; when an event comes
//! to a slot that the one before was not in, the weight of the next slot's node is taken 7/8, that of its own, too,
//! where the slot before was passed over: so a node remembers some eight seasons, by time and not by count. A node that
//! was never seen stands at the mean of the value's longest horizon (`ops::ewma`) and adds nothing.
//!
//! For one value, which counts from its origin, `d` being what the shortest horizon keeps over the gap and `w` its
//! weight:
//!
//! ```text
//! slots         r = x - (node of this slot, node of the next, by their shares)
//! Holt-Winters  t = trend * (1 - d) * horizon / 64;   r = x - (level + t + nodes, by their shares)
//! each node     weight += share;   mean += share / weight * r,   what it adds += share / weight * (1 - 1 / w) * r
//! then          level += t + r / w;   trend = trend * d + r / (4 w w max(gap, 1))
//! ```
//!
//! A residual `r` is held to +-10^12, and learnt up to four of its deviations, the root of the error below.
//!
//! **Which one speaks.** A season is *known* at an event that lies a whole season behind the first one, between nodes
//! that were seen. There three models compete: both of these, and that there is no season, which is Holt-Winters
//! without nodes. Each model's residuals have three horizons of their own (`ops::ewma`), where a level that has moved
//! shows, and for each horizon the mean square of their distances to its mean, over the longest horizon, where a square
//! counts up to 64 times that mean, from 16 known events on. The least of the three is the model's *error*. A model
//! speaks for the value after 32 known events, when its error is below three quarters of that without a season, the one
//! with the least share of that: its residual's distance is the value's then, and what it expects, too. Else, and where
//! the season is not known, it is the distance from the value's own horizons. So where there is no season, or no longer
//! one, nothing is lost.
//!
//! The *level* that decides is that of distances (`ops::decide`), `l`; the dense score is `l / (1 + l)`.
//!
//! State for each key: for each value and season 47 words, and three for each slot: 5 KB for a day and a week in slots
//! of half an hour. Cost for each event: for each value a division of the time, and for each of its seasons three
//! distances, two nodes read and written.

use super::batch;
use super::decide;
use super::detector::{Apart, Judge, Learnt, Level, Moment, out_of_range};
use super::ewma::{
    Distance, HORIZONS, SETTLED, TRACK, Track, VALUE_MAX, held, near_zero, positive,
};
use super::math::inverse;
use super::nodes::{Nodes, get, kept, put};
use super::number::Number;
use super::period::{self, LONGEST_MAX, LONGEST_MIN, Period};
use super::score::{BINDS, LEVEL_FIRST, ScoreParams, scores_wgsl};
use super::state::{WEIGHT_MAX, track_misfit, within};
use super::walk;
use crate::base::error::Result;
use crate::base::time::Ticks;
use crate::plan::Kernel;

/// The kernel `ops::score` with seasons.
pub static SEASON: Kernel = Kernel {
    name: "season",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("period.wgsl", "season.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        let season = Season::unpacked([p.shape0, p.shape1, p.shape2, p.shape3]);
        walk::score(args, Seasons(season));
    },
};

/// Seasons that a query may name.
pub const SEASONS: usize = 4;
/// Most slots of a season.
pub const SLOTS_MAX: u32 = 4096;
/// The longest slot, in ticks.
pub const SLOT_MAX: Ticks = 1 << SLOT_BITS;

/// State of a value and season: whether there was an event.
pub const STARTED: usize = 0;
/// State: the number of the first slot, its low word.
pub const FIRST: usize = 1;
/// State: the number of the latest event's slot.
pub const LATEST: usize = 2;
/// State: how many known events the errors stand for.
pub const WEIGHT: usize = 3;
/// State: for each model the mean squares of its residuals, the shortest horizon first.
pub const ERRORS: usize = 4;
/// State: level and trend per spacing, without a season and of Holt-Winters.
pub const HOLT: usize = ERRORS + MODELS * HORIZONS;
/// State: for each model the track of its residuals.
pub const TRACKS: usize = HOLT + 4;
/// State: the nodes.
pub const NODES: usize = TRACKS + MODELS * TRACK;
/// Words of a node: its weight, its mean, and what it adds to the level.
pub const NODE: usize = 3;

/// Means are held to this on either side.
pub const MEAN_MAX: f32 = 4.0 * VALUE_MAX;
/// Bits of the longest slot; above them, packed, stands the longest period.
const SLOT_BITS: u32 = 52;
/// Models: a level and a trend without a season; slots; Holt-Winters.
const MODELS: usize = 3;
/// Deviations up to which a residual is learnt.
const LEARNT: f32 = 4.0;
/// Errors learn squares up to so many times their mean.
const SQUARES: f32 = 64.0;
/// Known events before a season speaks.
const KNOWN_FIRST: f32 = 32.0;
/// The share of the error of the values themselves below which a season speaks.
const BETTER: f32 = 0.75;

/// The seasons that keys may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Season {
    /// Ticks of a slot, 1 to 2^52: what a season distinguishes.
    pub slot: Ticks,
    /// Up to four seasons, each in slots, 2 to 4096; 0 for none. A key's season is the one that predicts it best, and
    /// none when none does.
    pub seasons: [u32; SEASONS],
    /// A season that each value finds by itself (`ops::period`), up to so many slots, 16 to 1024; 0 for none.
    pub longest: u32,
}

impl Season {
    /// One season of known length, cut in so many slots; `period` rounded down to whole ticks a slot.
    pub const fn of(period: Ticks, slots: u32) -> Self {
        Self { slot: period / slots as u64, seasons: [slots, 0, 0, 0], longest: 0 }
    }

    /// A day or a week, whichever a key has, in slots of half an hour; `second` is the ticks of a second. 5 KB a value.
    pub const fn days(second: Ticks) -> Self {
        Self { slot: 1800 * second, seasons: [48, 336, 0, 0], longest: 0 }
    }

    /// A season of a length that nobody names, of up to `longest` slots of `slot` ticks: each value of each key finds
    /// its own, within five seasons or so, follows it, and gives it up ([`States::seasons`](crate::States::seasons)).
    /// 20 bytes a slot and value.
    ///
    /// ```
    /// use pelton::base::rng::SplitMix;
    /// use pelton::{Detector, Device, Inline, Options, Pod, Scores, Season, Zeroable, field};
    /// #[repr(C)]
    /// #[derive(Clone, Copy, Pod, Zeroable)]
    /// struct Reading { at: u64, sensor: u32, value: f32 }
    ///
    /// let query = Scores {
    ///     detector: Detector::Season(Season::learnt(60, 100)), // minutes, of up to a hundred
    ///     ..Scores::new(field!(Reading.at), field!(Reading.value))
    /// };
    /// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
    /// let (mut lane, mut rng) = (inline.lane()?, SplitMix::new(1));
    /// for i in 0..4000u64 {
    ///     // A shift of 37 minutes, told of every twenty seconds.
    ///     let noise = rng.unit() as f32;
    ///     let value = if i / 3 % 37 < 12 { 20.0 } else { 5.0 } + noise;
    ///     lane.push(Reading { at: 20 * i, sensor: 0, value }).expect("there is room");
    /// }
    /// inline.settle(|_| ())?;
    /// let (key, value, period) = inline.states()?.seasons().next().expect("a key");
    /// assert_eq!((key, value, period.slots, period.found), (0, 0, Some(37), 1));
    /// # Ok::<(), pelton::Error>(())
    /// ```
    pub const fn learnt(slot: Ticks, longest: u32) -> Self {
        Self { slot, seasons: [0; SEASONS], longest }
    }

    /// Words of a key's state for so many values, in whole lines of 64 bytes.
    pub const fn words(self, values: usize) -> usize {
        (values * self.value_words()).next_multiple_of(16)
    }

    /// Words of one value.
    pub const fn value_words(self) -> usize {
        self.named_words() + period::words(self.longest) + season_words(self.longest)
    }

    /// Words of its named seasons.
    const fn named_words(self) -> usize {
        let [a, b, c, d] = self.seasons;
        season_words(a) + season_words(b) + season_words(c) + season_words(d)
    }

    /// As parameters.
    pub const fn packed(self) -> [u32; 4] {
        let [a, b, c, d] = self.seasons;
        let high = batch::hi(self.slot) | self.longest << (SLOT_BITS - 31);
        [batch::lo(self.slot), high, a | b << 16, c | d << 16]
    }

    /// From what [`Season::packed`] made.
    pub const fn unpacked([low, high, ab, cd]: [u32; 4]) -> Self {
        let seasons = [ab & 0xFFFF, ab >> 16, cd & 0xFFFF, cd >> 16];
        let longest = high >> (SLOT_BITS - 31);
        Self { slot: batch::join(low, high - (longest << (SLOT_BITS - 31))), seasons, longest }
    }

    /// Whether there can be such seasons.
    pub(super) fn check(self) -> Result<()> {
        if !(1..=SLOT_MAX).contains(&self.slot) {
            return Err(out_of_range("slot", self.slot, "1 to 2^52 ticks"));
        }
        let is_wrong = |&slots: &u32| slots != 0 && !(2..=SLOTS_MAX).contains(&slots);
        if let Some(slots) = self.seasons.into_iter().find(is_wrong) {
            return Err(out_of_range("seasons", slots, "2 to 4,096 slots, or 0 for none"));
        }
        if self.longest != 0 && !(LONGEST_MIN..=LONGEST_MAX).contains(&self.longest) {
            let accepted = "16 to 1,024 slots, or 0 for named seasons alone";
            return Err(out_of_range("longest", self.longest, accepted));
        }
        if self.seasons == [0; SEASONS] && self.longest == 0 {
            let accepted = "at least one that is not 0, or a longest one to be found";
            return Err(out_of_range("seasons", "none", accepted));
        }
        Ok(())
    }

    /// What each value of a key has found by itself; none where it looks for nothing.
    pub(crate) fn found(self, own: &[u32], values: usize) -> impl Iterator<Item = Period> {
        let at = self.named_words();
        let values = if self.longest == 0 { 0 } else { values };
        let each = own.chunks_exact(self.value_words().max(1)).take(values);
        each.map(move |state| period::period(&state[at..]))
    }

    /// The named seasons of a value that there are, with their state in its.
    fn states(self, own: &mut [u32]) -> impl Iterator<Item = (u32, &mut [u32])> {
        let mut rest = own;
        self.seasons.into_iter().filter(|&slots| slots > 0).map(move |slots| {
            let (state, behind) = std::mem::take(&mut rest).split_at_mut(season_words(slots));
            rest = behind;
            (slots, state)
        })
    }

    /// The first word of a key's seasons that no stream of so many values leads to.
    pub(super) fn misfit(self, own: &[u32], values: usize) -> Option<usize> {
        let mut at = 0;
        for value in 0..values {
            for slots in self.seasons.into_iter().filter(|&slots| slots > 0) {
                if let Some(wrong) = season_misfit(&own[at..][..season_words(slots)]) {
                    return Some(at + wrong);
                }
                at += season_words(slots);
            }
            if self.longest > 0 {
                let (finder, season) = own[at..].split_at(period::words(self.longest));
                let season = &season[..season_words(self.longest)];
                let wrong = period::misfit(finder, self.longest)
                    .or_else(|| season_misfit(season).map(|wrong| finder.len() + wrong));
                if let Some(wrong) = wrong {
                    return Some(at + wrong);
                }
            }
            at = (value + 1) * self.value_words();
        }
        None
    }
}

/// The first word of a season that is out of range.
fn season_misfit(state: &[u32]) -> Option<usize> {
    let node = |at: usize| {
        within(state, at, 0.0, WEIGHT_MAX)
            .or_else(|| (at + 1..at + NODE).find_map(|at| within(state, at, -MEAN_MAX, MEAN_MAX)))
    };
    (state[STARTED] > 1)
        .then_some(STARTED)
        .or_else(|| within(state, WEIGHT, 0.0, WEIGHT_MAX))
        .or_else(|| (ERRORS..HOLT).find_map(|at| within(state, at, 0.0, MEAN_MAX * MEAN_MAX)))
        .or_else(|| (HOLT..TRACKS).find_map(|at| within(state, at, -MEAN_MAX, MEAN_MAX)))
        .or_else(|| (0..MODELS).find_map(|model| track_misfit(state, TRACKS + model * TRACK)))
        .or_else(|| (NODES..state.len()).step_by(NODE).find_map(node))
}

/// Words of a value's season.
pub const fn season_words(slots: u32) -> usize {
    if slots == 0 { 0 } else { NODES + NODE * slots as usize }
}

/// Seasons on a serial device.
struct Seasons(Season);

impl Judge for Seasons {
    fn value(
        &mut self,
        own: &mut [u32],
        p: &ScoreParams,
        learnt: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart {
        let Self(season) = *self;
        let place = place(learnt.moment.time, season.slot);
        let each = season.value_words();
        let own = &mut own[learnt.value * each..][..each];
        let (named, own) = own.split_at_mut(season.named_words());
        let mut least = BETTER;
        let mut judge = |state: &mut [u32], turn: [u32; 2]| {
            if let Some((share, far)) = learn(state, turn, (place, p), learnt, least) {
                (least, *found) = (share, far);
            }
        };
        for (slots, state) in season.states(named) {
            judge(state, [slots, batch::lo(place.slot % u64::from(slots))]);
        }
        if season.longest > 0 {
            let (finder, state) = own.split_at_mut(period::words(season.longest));
            find(finder, state, (season.longest, place), learnt);
            if let Some(turn) = period::turn(finder, batch::lo(place.slot)) {
                judge(state, turn);
            }
        }
        Apart { by: found.z2, dense: 0.0, part: found.z2 }
    }

    fn level(
        &mut self,
        _: &mut [u32],
        _: &ScoreParams,
        (far, _): (&Distance<f32>, Apart),
        seen: u32,
        _: &mut [u32],
    ) -> Level {
        let level = decide::level(far.z2);
        let dense = level * inverse(1.0 + level);
        let levels = seen.saturating_sub(LEVEL_FIRST + 1);
        Level { known: seen > LEVEL_FIRST, levels, level, dense }
    }
}

/// Where a time lies among slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The slot, counted from time 0.
    pub slot: u64,
    /// How far into it, in 256ths.
    pub part: u32,
}

/// Where a time lies among slots of this many ticks.
#[inline(always)]
pub fn place(time: u64, slot: Ticks) -> Place {
    Place { slot: time / slot, part: batch::lo(((time % slot) << 8) / slot) }
}

/// Looks for a value's period of up to `longest` slots; what its season has learnt goes when it is another one.
fn find(
    finder: &mut [u32],
    state: &mut [u32],
    (longest, here): (u32, Place),
    &Learnt { x, track, .. }: &Learnt<'_>,
) {
    let [_, _, past] = track.horizons;
    if finder[period::COUNT] > 0 || past.weight >= SETTLED {
        let off = near_zero(x - track.origin) - past.spread.mean;
        let place = period::place(off, past.spread.variance);
        if period::learn(finder, longest, batch::lo(here.slot), place) {
            state.fill(0);
        }
    }
}

/// Learns a value's event by one of its seasons, with `state`, at a turn: how many slots it has, and the number of the
/// event's. Where it speaks, with less than `least` of the error, the share and the distance.
fn learn(
    state: &mut [u32],
    turn: [u32; 2],
    (place, p): (Place, &ScoreParams),
    &Learnt { x, track, moment, .. }: &Learnt<'_>,
    least: f32,
) -> Option<(f32, Distance<f32>)> {
    let nodes = Nodes::arrive(state, turn, place);
    let [short, _, long] = &track.horizons;
    let (x, unseen) = (near_zero(x - track.origin), long.spread.mean);
    let gain = inverse(short.weight);
    let levels = [HOLT, HOLT + 2].map(|at| level(state, at, p, moment));
    let by_slots = nodes.mean(state, 1, unseen);
    let expected = [levels[0], by_slots, levels[1] + nodes.mean(state, 2, 0.0)];
    let residuals = expected.map(|expected| held(near_zero(x - expected), VALUE_MAX));

    let errors = [0, 1, 2].map(|model| error(state, model));
    let weight = get(state, WEIGHT);
    let mut learnt = residuals;
    for (residual, error) in learnt.iter_mut().zip(errors) {
        if weight >= SETTLED && error > 0.0 {
            *residual = held(*residual, LEARNT * error.sqrt());
        }
    }
    nodes.learn(state, learnt[1], learnt[2] * (1.0 - gain), unseen);
    follow(state, HOLT, levels[0], learnt[0] * gain, gain, moment);
    follow(state, HOLT + 2, levels[1], learnt[2] * gain, gain, moment);
    if !nodes.known {
        return None;
    }
    put(state, WEIGHT, weight * moment.decays[2] + 1.0);
    let distances =
        [0, 1, 2].map(|model| judge_model(state, model, residuals[model], moment, weight));
    let mut best = None;
    let mut least = least;
    for model in [1, 2] {
        if weight >= KNOWN_FIRST && errors[model] < BETTER * errors[0] {
            let share = errors[model] * inverse(errors[0]);
            if share < least {
                let mut far = distances[model];
                far.expected = track.origin + (expected[model] + far.expected);
                (least, best) = (share, Some((share, far)));
            }
        }
    }
    best
}

/// The level to be expected after a gap, by level and trend at `at`.
fn level(state: &[u32], at: usize, p: &ScoreParams, moment: &Moment) -> f32 {
    let drift = get(state, at + 1) * (1.0 - moment.decays[0]);
    get(state, at) + drift * inverse(64.0 * p.rate)
}

/// Level and trend at `at` follow a level that was expected, and turned out to be `step` off.
fn follow(state: &mut [u32], at: usize, level: f32, step: f32, gain: f32, moment: &Moment) {
    let turn = 0.25 * (step * gain) * inverse(moment.steps.no_less(1.0));
    put(state, at, kept(level + step));
    put(state, at + 1, kept(get(state, at + 1) * moment.decays[0] + turn));
}

/// How far a model's residual lies from those before it, in its own horizons; they and its errors learn it. `weight` is
/// that of the errors before.
fn judge_model(
    state: &mut [u32],
    model: usize,
    residual: f32,
    moment: &Moment,
    weight: f32,
) -> Distance<f32> {
    let at = TRACKS + model * TRACK;
    let mut track = Track::read(state, at, residual);
    let off = near_zero(residual - track.origin);
    let share = inverse(get(state, WEIGHT));
    for (at, past) in (ERRORS + HORIZONS * model..).zip(&track.horizons) {
        let off = near_zero(off - past.spread.mean);
        let (mean, square) = (get(state, at), off * off);
        let most = SQUARES * mean;
        let square = if weight >= SETTLED && mean > 0.0 { square.up_to(most) } else { square };
        put(state, at, positive(mean + (square - mean) * share));
    }
    let (far, offs) = track.distance(residual);
    track.learn(offs, moment.decays);
    track.write(state, at);
    far
}

/// The error of a model: the least of its horizons.
#[inline(always)]
fn error(state: &[u32], model: usize) -> f32 {
    let at = ERRORS + HORIZONS * model;
    get(state, at + 2).up_to(get(state, at + 1)).up_to(get(state, at))
}
