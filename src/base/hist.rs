//! Latency histograms: lossless to three digits over nanoseconds to minutes.

use hdrhistogram::Histogram;
use std::fmt;

/// Longest latency told apart: ten minutes. Longer ones count as that.
const NS_MAX: u64 = 600_000_000_000;

/// A histogram of latencies in nanoseconds, with every event counted.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, NS_MAX, 3).expect("constant bounds are valid"))
    }
}

impl Latency {
    /// Counts `events` that took `ns` each.
    #[inline]
    pub fn record(&mut self, ns: u64, events: u64) {
        self.0.saturating_record_n(ns.max(1), events);
    }

    /// Adds everything `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both histograms have the same bounds");
    }

    /// Events counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that a share `q` in `[0, 1]` of the events did not exceed; `None` where fewer than ten
    /// events lie above it, because such a figure would be noise.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        #[allow(clippy::cast_precision_loss, reason = "a count of events, compared to ten")]
        let above = self.count() as f64 * (1.0 - q);
        (above >= 10.0).then(|| self.0.value_at_quantile(q))
    }

    /// The longest latency seen, 0 when nothing was.
    pub fn max(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.max() }
    }

    /// The raw buckets: (latency in ns, events), ascending, empty ones left out.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value()))
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latency({self})")
    }
}

/// One rung of the latency ladder: `n= p50= p99= p999= max=` in ns; `n/a` where the sample is too small.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={}", self.count())?;
        for (name, q) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            match self.quantile(q) {
                Some(ns) => write!(f, " {name}={ns}")?,
                None => write!(f, " {name}=n/a")?,
            }
        }
        write!(f, " max={}", self.max())
    }
}

#[cfg(test)]
mod tests {
    use super::Latency;

    #[test]
    fn ladder_names_what_it_cannot_know() {
        let mut latency = Latency::default();
        assert_eq!(latency.to_string(), "n=0 p50=n/a p99=n/a p999=n/a max=0");
        latency.record(1000, 100);
        assert!(latency.to_string().starts_with("n=100 p50=1000 p99=n/a p999=n/a max=100"));
    }

    #[test]
    fn zero_and_overlong_are_counted() {
        let mut latency = Latency::default();
        latency.record(0, 1);
        latency.record(u64::MAX, 1);
        assert_eq!(latency.count(), 2);
        assert!(latency.max() >= super::NS_MAX);
    }
}
