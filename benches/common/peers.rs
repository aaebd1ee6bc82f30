//! The events and the digest that every engine measured on tumbling windows is given and must print.
//!
//! Event `i` is a pure function of `i`, so that any language can make it without state: times in
//! milliseconds, 200,000 events per event-time second, 10,000 keys, values that are multiples of 0.25 in
//! [0, 255.75], so that sums in f64 do not depend on order.

use pelton::base::rng::SplitMix;

/// Keys are below this.
pub const KEYS: usize = 10_000;
/// Events per event-time second.
pub const RATE: u64 = 200_000;
/// Milliseconds in a window.
pub const WINDOW_MS: u64 = 10_000;
const SEED: u64 = 42;

/// Draws ranks `0..n` with probability proportional to `1 / (rank + 1)^s`, from 32 random bits.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// The cumulative distribution as fractions of 2^32, rounded down.
    thresholds: Vec<u32>,
}

impl Zipf {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks are small, and the cast of a floor within [0, 2^32) is exact"
    )]
    pub fn new(ranks: usize, s: f64) -> Self {
        let mut sum = 0.0;
        let running: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(s);
                sum
            })
            .collect();
        let whole = 4_294_967_296.0;
        let thresholds = running.iter().map(|c| (c / sum * whole).floor().min(whole - 1.0) as u32);
        Self { thresholds: thresholds.collect() }
    }

    /// The rank that `bits` fall on.
    pub fn rank(&self, bits: u32) -> usize {
        self.thresholds.partition_point(|t| *t <= bits).min(self.thresholds.len() - 1)
    }
}

/// How keys are drawn.
#[derive(Debug, Clone)]
pub enum Dist {
    Uniform,
    Zipf(Zipf),
}

impl Dist {
    /// Zipf with s = 1 over `KEYS`.
    pub fn zipf() -> Self {
        Self::Zipf(Zipf::new(KEYS, 1.0))
    }
}

/// Event `i`: its time in milliseconds, its key and its value.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the top word, a key below KEYS, ten bits"
)]
pub fn peers_event(i: u64, dist: &Dist) -> (u64, u32, f32) {
    let word = SplitMix::at(SEED, i);
    let high = (word >> 32) as u32;
    let key = match dist {
        Dist::Uniform => ((u64::from(high) * KEYS as u64) >> 32) as u32,
        Dist::Zipf(zipf) => zipf.rank(high) as u32,
    };
    (i * 1000 / RATE, key, (word & 1023) as f32 * 0.25)
}

/// An order-independent checksum of result rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Digest {
    pub rows: u64,
    pub count: u64,
    /// Sum of the rows' sums.
    pub sum: f64,
    /// Sum of the rows' minima.
    pub min: f64,
    /// Sum of the rows' maxima.
    pub max: f64,
}

impl Digest {
    /// The digest of the first 20,000,000 events in windows of `WINDOW_MS`.
    pub const ZIPF_20M: Self = Self {
        rows: 100_000,
        count: 20_000_000,
        sum: 2_557_458_729.5,
        min: 611_870.75,
        max: 24_960_343.0,
    };
    /// The same with uniform keys.
    pub const UNIFORM_20M: Self = Self {
        rows: 100_000,
        count: 20_000_000,
        sum: 2_557_458_729.5,
        min: 115_616.25,
        max: 25_459_275.5,
    };

    /// Takes one row in.
    pub fn add(&mut self, count: u64, sum: f64, min: f64, max: f64) {
        self.rows += 1;
        self.count += count;
        self.sum += sum;
        self.min += min;
        self.max += max;
    }

    /// The digest of the first `events` events in windows of `window_ms`, by a plain loop: times never
    /// go back, so one dense table a window is enough.
    pub fn of(events: u64, window_ms: u64, dist: &Dist) -> Self {
        let empty = (0u64, 0f64, f64::INFINITY, f64::NEG_INFINITY);
        let mut table = vec![empty; KEYS];
        let mut digest = Self::default();
        let mut window = 0;
        for i in 0..=events {
            let (at, key, value) = peers_event(i, dist);
            if at / window_ms != window || i == events {
                window = at / window_ms;
                for (count, sum, min, max) in &mut table {
                    if *count > 0 {
                        digest.add(*count, *sum, *min, *max);
                    }
                    (*count, *sum, *min, *max) = empty;
                }
            }
            let value = f64::from(value);
            let (count, sum, min, max) = &mut table[key as usize];
            (*count, *sum) = (*count + 1, *sum + value);
            (*min, *max) = (min.min(value), max.max(value));
        }
        digest
    }
}
