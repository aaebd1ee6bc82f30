//! The specification of keyed tumbling and hopping windows: naive, sequential, exact.
//!
//! Slice `j` is the ticks `[j·slide, (j+1)·slide)`. A window is named by its last slice `w` and covers
//! the `n = size / slide` slices up to `w`, fewer at the beginning of time. An event counts in each of its
//! windows that ended after (largest time accepted before it in its lane − disorder − lateness).
//! Nothing here knows about batches, devices, firing or tables.

use super::exact::ExactSum;
use super::{Action, Counters, Mode, Query, Reading, Reason, Row, Stats, Value, ValueField};
use pelton::base::limits::JUMP_EVENTS;
use std::collections::{BTreeMap, HashMap};

/// All that an engine must agree on.
#[derive(Debug, Clone, Default)]
pub struct SpecOutput {
    /// By key and by the number of the window's last slice.
    pub rows: BTreeMap<(u64, u64), Row>,
    /// A multiset: the order is that of the actions and means nothing.
    pub asides: Vec<(Reading, Reason)>,
    pub counters: Counters,
}

/// The answer to `query` over `actions`.
pub fn answer<'a>(query: &Query, actions: impl IntoIterator<Item = &'a Action>) -> SpecOutput {
    assert!(query.slide > 0 && query.size > 0 && query.size.is_multiple_of(query.slide));
    let mut spec = Windows {
        query,
        lanes: BTreeMap::new(),
        watermark: None,
        cells: HashMap::new(),
        out: SpecOutput::default(),
    };
    for action in actions {
        spec.act(action);
    }
    spec.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Active,
    Idle,
    Closed,
}

struct Lane {
    presence: Presence,
    /// M: the largest accepted time, or where the lane joined.
    max: Option<u64>,
    /// The consecutive events beyond the horizon: the time of the first, and how many.
    anchor: u64,
    run: u32,
    /// Events so far.
    position: u64,
}

/// What becomes of an event by its time alone.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Beyond,
    Late,
    /// Counts in its windows numbered `from` and above.
    Accepted {
        from: u64,
        jump: bool,
    },
}

/// The order of `first` and `last`: time, lane, position in the lane.
type Stamp = (u64, u32, u64);

struct Windows<'q> {
    query: &'q Query,
    lanes: BTreeMap<u32, Lane>,
    /// W: it never decides what counts, except where a lane joins or returns.
    watermark: Option<u64>,
    cells: HashMap<(u64, u64), Cell>,
    out: SpecOutput,
}

impl Windows<'_> {
    fn act(&mut self, action: &Action) {
        match *action {
            Action::Open(lane) => self.open(lane),
            Action::Event(lane, ref reading) => self.event(lane, reading),
            Action::Idle(lane) => self.leave(lane, Presence::Idle),
            Action::Advance(lane, at) => {
                let lane = self.active(lane);
                (lane.max, lane.run) = (lane.max.max(Some(at)), 0);
            }
            Action::Close(lane) => self.leave(lane, Presence::Closed),
        }
        self.raise_watermark();
    }

    fn open(&mut self, name: u32) {
        let max = joined(None, self.watermark, self.query.disorder);
        let lane = Lane { presence: Presence::Active, max, anchor: 0, run: 0, position: 0 };
        assert!(self.lanes.insert(name, lane).is_none(), "lane {name} opens once");
    }

    fn leave(&mut self, name: u32, presence: Presence) {
        let lane = self.lanes.get_mut(&name).expect("an open lane");
        assert!(lane.presence != Presence::Closed, "lane {name} is closed");
        lane.presence = presence;
    }

    /// A lane that has something to say, so that it is not idle any more.
    fn active(&mut self, name: u32) -> &mut Lane {
        let lane = self.lanes.get_mut(&name).expect("an open lane");
        match lane.presence {
            Presence::Active => {}
            Presence::Idle => lane.max = joined(lane.max, self.watermark, self.query.disorder),
            Presence::Closed => panic!("lane {name} is closed"),
        }
        lane.presence = Presence::Active;
        lane
    }

    fn event(&mut self, name: u32, reading: &Reading) {
        let query = self.query;
        let lane = self.active(name);
        let stamp = (reading.at, name, lane.position);
        lane.position += 1;
        match judge(query, lane, reading.at) {
            Verdict::Beyond => {
                self.out.counters.beyond += 1;
                self.out.asides.push((*reading, Reason::Beyond));
            }
            Verdict::Late => {
                self.out.counters.late += 1;
                self.out.asides.push((*reading, Reason::Late));
            }
            Verdict::Accepted { from, jump } => {
                self.out.counters.accepted += 1;
                self.out.counters.jumps += u64::from(jump);
                self.count(reading, stamp, from);
            }
        }
    }

    /// Counts an accepted event in its windows from `from` on, unless its key or the filter forbids.
    fn count(&mut self, reading: &Reading, stamp: Stamp, from: u64) {
        let query = self.query;
        if !query.filter.keeps(reading) {
            self.out.counters.filtered += 1;
            return;
        }
        let key = query.key.of(reading);
        if query.dense.is_some_and(|keys| key >= keys) {
            self.out.counters.bad_key += 1;
            self.out.asides.push((*reading, Reason::Key));
            return;
        }
        for window in windows_of(query, reading.at) {
            if window >= from {
                let cell = self.cells.entry((key, window)).or_insert_with(|| Cell::new(query));
                cell.add(query, reading, stamp);
            }
        }
    }

    /// The least (M − disorder) of the active lanes, once all of them have an M; it never falls.
    fn raise_watermark(&mut self) {
        let active = self.lanes.values().filter(|lane| lane.presence == Presence::Active);
        let mut least = None;
        for lane in active {
            let Some(max) = lane.max else { return };
            let at = max.saturating_sub(self.query.disorder);
            least = Some(least.map_or(at, |so_far: u64| so_far.min(at)));
        }
        self.watermark = self.watermark.max(least);
    }

    fn finish(self) -> SpecOutput {
        let mut out = self.out;
        for ((key, window), cell) in self.cells {
            out.rows.insert((key, window), cell.row(self.query, window));
        }
        out
    }
}

/// M of a lane that joins or returns.
fn joined(max: Option<u64>, watermark: Option<u64>, disorder: u64) -> Option<u64> {
    match watermark {
        Some(watermark) => Some(max.unwrap_or(0).max(watermark.saturating_add(disorder))),
        None => max,
    }
}

/// Horizon, then lateness; updates the lane.
fn judge(query: &Query, lane: &mut Lane, at: u64) -> Verdict {
    let mut jump = false;
    if lane.max.is_some_and(|max| at > max.saturating_add(query.horizon)) {
        if lane.run > 0 && at.abs_diff(lane.anchor) <= query.horizon {
            lane.run += 1;
        } else {
            (lane.anchor, lane.run) = (at, 1);
        }
        if lane.run < JUMP_EVENTS {
            return Verdict::Beyond;
        }
        jump = true;
    }
    lane.run = 0;
    let max = lane.max.unwrap_or(0);
    let cut = max.saturating_sub(query.disorder).saturating_sub(query.lateness);
    let ended = cut / query.slide;
    if windows_of(query, at).all(|window| window < ended) {
        return Verdict::Late;
    }
    lane.max = Some(max.max(at));
    Verdict::Accepted { from: ended, jump }
}

/// The windows that an event at `at` belongs to, each by its last slice.
fn windows_of(query: &Query, at: u64) -> impl Iterator<Item = u64> {
    let slice = at / query.slide;
    let slices = query.size / query.slide;
    (0..slices).map(move |i| slice.checked_add(i).expect("slide >= 2 unless tumbling"))
}

/// First tick of window `window`, and the tick after its last.
pub fn bounds(query: &Query, window: u64) -> (u64, u64) {
    let slices = i128::from(query.size / query.slide);
    let first = (i128::from(window) - slices + 1).max(0);
    let start = first * i128::from(query.slide);
    let end = (i128::from(window) + 1) * i128::from(query.slide);
    let ticks = |t: i128| u64::try_from(t.min(i128::from(u64::MAX))).expect("not negative");
    (ticks(start), ticks(end))
}

/// One (key, window) while it grows.
struct Cell {
    count: u64,
    values: Vec<Grown>,
}

impl Cell {
    fn new(query: &Query) -> Self {
        Self { count: 0, values: query.values.iter().map(|value| Grown::new(*value)).collect() }
    }

    fn add(&mut self, query: &Query, reading: &Reading, stamp: Stamp) {
        self.count += 1;
        for (grown, value) in self.values.iter_mut().zip(&query.values) {
            grown.add(*value, reading, stamp);
        }
    }

    fn row(&self, query: &Query, window: u64) -> Row {
        let (start, end) = bounds(query, window);
        let pairs = self.values.iter().zip(&query.values);
        let values = pairs.map(|(grown, value)| grown.stats(*value)).collect();
        Row { start, end, count: self.count, values }
    }
}

/// One value field of one cell while it grows. Every f32, f16, bf16 and i32 is an f64.
struct Grown {
    nan: u64,
    outside: u64,
    /// Values inside: neither NaN nor outside.
    inside: u64,
    min: Option<f64>,
    max: Option<f64>,
    first: Option<(Stamp, f64)>,
    last: Option<(Stamp, f64)>,
    total: Total,
}

enum Total {
    Exact(Box<ExactSum>),
    Fixed { sum: i128, squares: i128 },
}

impl Grown {
    fn new(value: Value) -> Self {
        let total = match mode_of(value) {
            Mode::Exact => Total::Exact(Box::default()),
            Mode::Fixed { .. } => Total::Fixed { sum: 0, squares: 0 },
        };
        let (min, max, first, last) = (None, None, None, None);
        Self { nan: 0, outside: 0, inside: 0, min, max, first, last, total }
    }

    fn add(&mut self, value: Value, reading: &Reading, stamp: Stamp) {
        let number = number_of(value.field, reading);
        if number.is_nan() {
            self.nan += 1;
            return;
        }
        // `total_cmp` has -0 < +0.
        if self.min.is_none_or(|min| number.total_cmp(&min).is_lt()) {
            self.min = Some(number);
        }
        if self.max.is_none_or(|max| number.total_cmp(&max).is_gt()) {
            self.max = Some(number);
        }
        if self.first.is_none_or(|(first, _)| stamp < first) {
            self.first = Some((stamp, number));
        }
        if self.last.is_none_or(|(last, _)| stamp > last) {
            self.last = Some((stamp, number));
        }
        let taken = match (&mut self.total, mode_of(value)) {
            (Total::Fixed { sum, squares }, Mode::Fixed { fraction }) => {
                let fixed = fixed_point(number, fraction);
                *sum += fixed.unwrap_or(0);
                *squares += fixed.unwrap_or(0).pow(2);
                fixed.is_some()
            }
            (Total::Exact(sum), _) if number.is_finite() => {
                #[allow(clippy::cast_possible_truncation, reason = "it came from an f32")]
                sum.add(number as f32);
                true
            }
            _ => false,
        };
        if taken {
            self.inside += 1;
        } else {
            self.outside += 1;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "the rounding is part of the specification")]
    fn stats(&self, value: Value) -> Stats {
        let inside = self.inside as f64;
        let mut stats = Stats {
            nan: self.nan,
            outside: self.outside,
            min: self.min.unwrap_or(f64::NAN),
            max: self.max.unwrap_or(f64::NAN),
            sum: f64::NAN,
            mean: f64::NAN,
            variance: f64::NAN,
            sample_variance: f64::NAN,
            first: self.first.map_or(f64::NAN, |(_, number)| number),
            last: self.last.map_or(f64::NAN, |(_, number)| number),
        };
        if self.inside == 0 {
            return stats;
        }
        match (&self.total, mode_of(value)) {
            (Total::Fixed { sum, squares }, Mode::Fixed { fraction }) => {
                let unit = 0.5f64.powi(i32::try_from(fraction).expect("a small number"));
                let spread = i128::from(self.inside) * squares - sum * sum;
                stats.sum = *sum as f64 * unit;
                stats.variance = spread as f64 / (inside * inside) * (unit * unit);
                stats.sample_variance = spread as f64 / (inside * (inside - 1.0)) * (unit * unit);
            }
            (Total::Exact(sum), _) => stats.sum = sum.round(),
            (Total::Fixed { .. }, Mode::Exact) => unreachable!("fixed totals have a fraction"),
        }
        stats.mean = stats.sum / inside;
        stats
    }
}

/// Integers are in fixed point already.
fn mode_of(value: Value) -> Mode {
    match value.field {
        ValueField::Other => Mode::Fixed { fraction: 0 },
        _ => value.mode,
    }
}

fn number_of(field: ValueField, reading: &Reading) -> f64 {
    match field {
        ValueField::Value => f64::from(reading.value),
        ValueField::Other => f64::from(reading.other),
        ValueField::Half => f64::from(reading.half.to_f32()),
        ValueField::Brain => f64::from(reading.brain.to_f32()),
    }
}

/// `number · 2^fraction` rounded half to even, if that is an i32. The product is exact in an f64.
fn fixed_point(number: f64, fraction: u32) -> Option<i128> {
    let power = i32::try_from(fraction).expect("a small number");
    let rounded = (number * 2f64.powi(power)).round_ties_even();
    let inside = (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&rounded);
    #[allow(clippy::cast_possible_truncation, reason = "an integer in the range of an i32")]
    inside.then_some(rounded as i128)
}
