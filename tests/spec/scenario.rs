//! A query and a stream that suit each other, drawn together from one seed.

use super::streams::{KeyStyle, Numbers, Skew, Stream};
use super::windows::{SpecOutput, answer};
use super::{Action, Filter, KeyField, Mode, Query, Value, ValueField};
use pelton::base::rng::SplitMix;

/// One test case.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub query: Query,
    pub stream: Stream,
}

/// Where a stream lies in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Zero,
    /// The low word of the time wraps in the middle.
    Wrap,
    /// The last tenth of the events stands at `u64::MAX`.
    End,
    /// Milliseconds of this century, or anything.
    Now,
    /// Events exactly 2^32 ticks apart, all of them live.
    Aliases,
}

impl Scenario {
    /// Everything drawn from `seed`: 1 to 20,000 events.
    pub fn random(seed: u64) -> Self {
        let mut rng = SplitMix::new(seed ^ 0x5CEA_0000);
        let events = usize::try_from(log_uniform(&mut rng, 20_000)).expect("few events");
        Self::random_of(seed, events)
    }

    /// Everything but the number of events drawn from `seed`.
    pub fn random_of(seed: u64, events: usize) -> Self {
        let mut rng = SplitMix::new(seed);
        let places = [Place::Zero, Place::Wrap, Place::End, Place::Now, Place::Aliases];
        let place = pick(&mut rng, &places);
        let (size, slide) = shape(&mut rng, place);
        let mut query = Query {
            size,
            slide,
            disorder: bound(&mut rng, slide),
            lateness: bound(&mut rng, slide),
            horizon: u64::MAX,
            key: pick(&mut rng, &[KeyField::Wide, KeyField::Small]),
            dense: None,
            filter: filter(&mut rng),
            values: values(&mut rng),
        };
        if rng.below(2) == 0 {
            let reach = log_uniform(&mut rng, slide.saturating_mul(64));
            query.horizon = query.disorder.saturating_add(reach);
        }
        if place == Place::Aliases {
            query.lateness = 3 << 32;
            query.horizon = query.horizon.saturating_add(3 << 32);
        }
        let stream = stream(&mut rng, seed, events, place, &mut query);
        Self { query, stream }
    }

    /// A million events over a hundred windows, in the everyday manner: for speed.
    pub fn million(seed: u64) -> Self {
        let fixed = Mode::Fixed { fraction: 8 };
        let query = Query {
            size: 60_000,
            slide: 10_000,
            disorder: 2_000,
            lateness: 10_000,
            horizon: 3_600_000,
            key: KeyField::Wide,
            dense: None,
            filter: Filter::Everything,
            values: vec![
                Value { field: ValueField::Value, mode: Mode::Exact },
                Value { field: ValueField::Value, mode: fixed },
                Value { field: ValueField::Other, mode: fixed },
            ],
        };
        let stream = Stream {
            seed,
            events: 1_000_000,
            lanes: 4,
            keys: 1000,
            skew: Skew::Zipf(1.0),
            base: 1_800_000_000_000,
            span: 1_000_000,
            disorder: 2_000,
            too_late: (0.001, 60_000),
            beyond: 0.0001,
            horizon: query.horizon,
            specials: 0.001,
            ..Stream::default()
        };
        Self { query, stream }
    }

    pub fn actions(&self) -> Vec<Action> {
        self.stream.actions()
    }

    /// What the specification says.
    pub fn expected(&self) -> SpecOutput {
        answer(&self.query, &self.actions())
    }
}

/// Half of them tumbling, the others of up to 12 slices.
fn shape(rng: &mut SplitMix, place: Place) -> (u64, u64) {
    let slices = if rng.below(2) == 0 { 1 } else { 2 + rng.below(11) };
    let most = match place {
        Place::Aliases => 1 << 33,
        _ => pick(rng, &[16, 1000, 1 << 20, 1 << 34, u64::MAX / 16]),
    };
    let slide = log_uniform(rng, most).max(if slices == 1 { 1 } else { 2 });
    (slide * slices, slide)
}

/// A disorder or a lateness: none, less than a slide, or some slides.
fn bound(rng: &mut SplitMix, slide: u64) -> u64 {
    match rng.below(4) {
        0 => 0,
        1 => rng.below(slide),
        2 => slide.saturating_mul(1 + rng.below(4)),
        _ => rng.below(slide.saturating_mul(16)),
    }
}

fn filter(rng: &mut SplitMix) -> Filter {
    match rng.below(6) {
        0 => Filter::OtherAtLeast(pick(rng, &[0, 100, -1, i32::MIN, i32::MAX])),
        1 => Filter::ValueBelow(pick(rng, &[128.0, 0.0, -0.0, f32::INFINITY])),
        _ => Filter::Everything,
    }
}

/// None to eight values, mostly few.
fn values(rng: &mut SplitMix) -> Vec<Value> {
    let most = pick(rng, &[1, 3, 4, 8]);
    let fields = [ValueField::Value, ValueField::Other, ValueField::Half, ValueField::Brain];
    let one = |rng: &mut SplitMix| {
        let field = pick(rng, &fields);
        let fraction = pick(rng, &[0, 1, 8, 16, 24]);
        let exact = rng.below(2) == 0 && field != ValueField::Other;
        let integer = field == ValueField::Other;
        let fixed = Mode::Fixed { fraction: if integer { 0 } else { fraction } };
        Value { field, mode: if exact { Mode::Exact } else { fixed } }
    };
    (0..rng.below(most + 1)).map(|_| one(rng)).collect()
}

fn stream(rng: &mut SplitMix, seed: u64, events: usize, place: Place, query: &mut Query) -> Stream {
    let slices = log_uniform(rng, 1000);
    let span = query.slide.saturating_mul(slices).min(u64::MAX / 2);
    let span = if place == Place::Aliases { span.min(1 << 36) } else { span };
    let base = match place {
        Place::Zero => 0,
        Place::Wrap => (1u64 << 32).saturating_sub(span / 2),
        Place::End => u64::MAX - span / 10 * 9,
        Place::Now => pick(rng, &[1_800_000_000_000, 1 << 62, rng.clone().next_u64() >> 1]),
        Place::Aliases => 3 << 32,
    };
    let keys = usize::try_from(log_uniform(rng, 2000)).expect("few keys");
    let key_style = pick(rng, &[KeyStyle::Ranks, KeyStyle::Twins, KeyStyle::Scattered]);
    if key_style == KeyStyle::Ranks && rng.below(2) == 0 {
        query.dense = Some(keys as u64);
    }
    let depth = query.disorder.saturating_add(query.lateness).saturating_add(query.size);
    let bounded = query.horizon != u64::MAX;
    let numbers = [
        Numbers::Quarters,
        Numbers::Ties { fraction: pick(rng, &[0, 1, 8, 16]) },
        Numbers::Wide,
        Numbers::Bits,
    ];
    Stream {
        seed: SplitMix::at(seed, 1),
        events,
        lanes: 1 + u32::try_from(rng.below(4)).expect("four at most"),
        keys,
        skew: pick(rng, &[Skew::Uniform, Skew::Zipf(1.0), Skew::Zipf(1.5)]),
        key_style,
        bad_keys: if query.dense.is_some() { pick(rng, &[0.0, 0.02, 0.2]) } else { 0.0 },
        base,
        span,
        disorder: pick(rng, &[0, query.disorder / 2, query.disorder, query.disorder, depth / 2]),
        lag: pick(rng, &[0, 0, query.slide / 3, query.slide]),
        too_late: (pick(rng, &[0.0, 0.01, 0.2]), depth),
        beyond: if bounded { pick(rng, &[0.0, 0.01, 0.3]) } else { 0.0 },
        horizon: query.horizon,
        jumps: if bounded { pick(rng, &[0, 1, 3]) } else { 0 },
        idles: pick(rng, &[0, 1, 4]),
        advances: pick(rng, &[0.0, 0.0, 0.001, 0.05]),
        all_idle: rng.below(8) == 0,
        joins: rng.below(2) == 0,
        aliases: if place == Place::Aliases { 0.3 } else { 0.0 },
        specials: pick(rng, &[0.0, 0.01, 0.3]),
        numbers: pick(rng, &numbers),
    }
}

fn pick<T: Copy>(rng: &mut SplitMix, from: &[T]) -> T {
    from[usize::try_from(rng.below(from.len() as u64)).expect("an index")]
}

/// 1 to `most`: every power of two is about as likely.
fn log_uniform(rng: &mut SplitMix, most: u64) -> u64 {
    let bits = rng.below(u64::from(most.ilog2()) + 1);
    ((1 << bits) + rng.below(1 << bits)).min(most)
}
