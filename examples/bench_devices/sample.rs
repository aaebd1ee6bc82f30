//! What was measured between two moments, and whether it had become steady.

use super::json::{Json, object};
use pelton::base::hist::Latency;
use std::collections::BTreeMap;

/// A latency's buckets: (nanoseconds, events), ascending, at most 128 for each doubling. Percentiles are
/// taken from these, so that a report's figures follow from its buckets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample(Vec<(u64, u64)>);

/// Up to the next number of eight significant bits: a report is to be read, and no clock is better than that.
fn rounded(ns: u64) -> u64 {
    let unit = 1u64 << ns.checked_ilog2().unwrap_or(0).saturating_sub(7);
    ns.div_ceil(unit) * unit
}

impl Sample {
    /// What `after` counted and `before` had not; both are of one growing histogram.
    pub(crate) fn between(before: &Latency, after: &Latency) -> Self {
        let before: BTreeMap<u64, u64> = before.buckets().collect();
        let mut new: Vec<(u64, u64)> = Vec::new();
        for (ns, events) in after.buckets() {
            let events = events - before.get(&ns).unwrap_or(&0);
            match new.last_mut() {
                _ if events == 0 => {}
                Some((last, sum)) if *last == rounded(ns) => *sum += events,
                _ => new.push((rounded(ns), events)),
            }
        }
        Self(new)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|&(_, events)| events).sum()
    }

    /// As [`Latency::quantile`]: `None` where fewer than ten events lie above.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of events times a share"
    )]
    pub(crate) fn quantile(&self, q: f64) -> Option<u64> {
        let count = self.count() as f64;
        if count * (1.0 - q) < 10.0 - 1e-6 {
            return None;
        }
        let rank = (count * q).ceil() as u64;
        let mut below = 0;
        let at = |&(_, events): &(u64, u64)| {
            below += events;
            below >= rank
        };
        let found = self.0.iter().position(at)?;
        Some(self.0[found].0)
    }

    /// The upper end of the last bucket.
    pub(crate) fn max(&self) -> Option<u64> {
        self.0.last().map(|&(ns, _)| ns)
    }

    /// Percentiles, their number of samples, and the raw buckets.
    pub(crate) fn json(&self) -> Json {
        let or_not = |ns: Option<u64>| ns.map_or_else(|| "n/a".into(), Json::from);
        let bucket = |&(ns, events): &(u64, u64)| Json::from(vec![ns, events]);
        object([
            ("count", self.count().into()),
            ("p50", or_not(self.quantile(0.5))),
            ("p99", or_not(self.quantile(0.99))),
            ("p999", or_not(self.quantile(0.999))),
            ("max", or_not(self.max())),
            ("buckets", Json::List(self.0.iter().map(bucket).collect())),
        ])
    }
}

/// A latency as people read it; `n/a` where there is none.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn people(ns: Option<f64>) -> String {
    match ns {
        None => "n/a".into(),
        Some(ns) if ns < 1e3 => format!("{ns:.0} ns"),
        Some(ns) if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        Some(ns) if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        Some(ns) => format!("{:.1} s", ns / 1e9),
    }
}

/// How far a slot of a steady run may lie from their mean.
pub(crate) const SPREAD_MAX: f64 = 0.03;
/// A trend this many standard deviations from none is one, by Mann and Kendall; 5 % of trendless runs are.
pub(crate) const TREND_MAX: f64 = 1.96;

/// Whether the slots of a run stayed where they were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steady {
    pub(crate) mean: f64,
    pub(crate) peak: f64,
    /// The farthest slot from the mean, as a share of it.
    pub(crate) spread: f64,
    /// The trend in standard deviations; above zero is faster and faster.
    pub(crate) trend: f64,
}

impl Steady {
    #[allow(clippy::cast_precision_loss, reason = "a handful of slots")]
    pub(crate) fn of(slots: &[f64]) -> Self {
        let n = slots.len() as f64;
        let mean = slots.iter().sum::<f64>() / n;
        let far = |slot: &f64| (slot / mean - 1.0).abs();
        let pairs = slots.iter().enumerate().flat_map(|(i, a)| {
            slots[i + 1..].iter().map(move |b| f64::from(i8::from(b > a) - i8::from(b < a)))
        });
        let ups: f64 = pairs.sum();
        let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let trend = if ups == 0.0 { 0.0 } else { (ups - ups.signum()) / deviation };
        let peak = slots.iter().copied().fold(0.0, f64::max);
        Self { mean, peak, spread: slots.iter().map(far).fold(0.0, f64::max), trend }
    }

    pub(crate) fn holds(&self) -> bool {
        self.mean > 0.0 && self.spread <= SPREAD_MAX && self.trend.abs() < TREND_MAX
    }

    /// The verdict, with its reason where it is a bad one.
    pub(crate) fn verdict(&self) -> String {
        let Self { spread, trend, .. } = self;
        if self.holds() {
            return "steady".into();
        }
        let percent = spread * 100.0;
        format!("NOT STEADY: slots within {percent:.1} % of the mean, trend {trend:.1} deviations")
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, Steady, people};
    use pelton::base::hist::Latency;

    #[test]
    fn warm_up_is_taken_off() {
        let mut latency = Latency::default();
        latency.record(1_000_000, 500);
        latency.record(100, 3);
        let before = latency.clone();
        latency.record(100, 1_000);
        latency.record(898, 15);
        latency.record(899, 5);
        let sample = Sample::between(&before, &latency);
        assert_eq!((sample.count(), sample.max()), (1_020, Some(900)));
        assert_eq!((sample.quantile(0.5), sample.quantile(0.99)), (Some(100), Some(900)));
        assert_eq!(sample.quantile(0.999), None, "one event lies above");
        assert_eq!(sample.json().text("p999"), Some("n/a"));
        let none = Sample::between(&latency, &latency);
        assert_eq!((none.count(), none.quantile(0.5), none.max()), (0, None, None));
    }

    #[test]
    fn trends_and_wobbles_are_seen() {
        assert!(Steady::of(&[100.0, 101.0, 99.5, 100.5, 99.0, 100.2]).holds());
        let rising: Vec<f64> = (0..10).map(|i| 100.0 + f64::from(i) * 0.1).collect();
        assert!(Steady::of(&rising).trend > 3.0 && !Steady::of(&rising).holds());
        let wobble = Steady::of(&[100.0, 120.0, 100.0, 120.0, 100.0, 120.0]);
        assert!(wobble.verdict().starts_with("NOT STEADY") && wobble.peak == 120.0);
        assert!(!Steady::of(&[0.0; 5]).holds(), "nothing is not steady");
    }

    #[test]
    fn latencies_read_well() {
        let read = [None, Some(999.0), Some(1_500.0), Some(2e6), Some(3e9)].map(people);
        assert_eq!(read, ["n/a", "999 ns", "1.5 us", "2.0 ms", "3.0 s"]);
    }
}
