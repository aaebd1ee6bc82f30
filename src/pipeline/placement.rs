//! Which of two devices a query is better off on, from what its batches take on each.
//!
//! A batch costs a fixed time and a time per event. Both are fitted to what was measured, by size: small batches and
//! large ones each have their say, however rare they are. The query should move when over a whole period the other
//! device would have needed far less for the very same batches. It does not move back and forth: the margin is wide,
//! and a second must have passed since the last move. There is no clock in here.

/// Powers of four that sizes of batches are told apart by.
const CLASSES: usize = 11;
/// A new measurement's share in its class.
const SHARE: f64 = 0.125;
/// How many times the other device's cost justifies a move.
const MARGIN: f64 = 1.5;
/// Batches after which a period ends at the latest, and those it needs.
const PERIOD_BATCHES: u64 = 64;
const BATCHES_LEAST: u64 = 8;
/// Nanoseconds after which it may end.
const PERIOD_NS: u64 = 100_000_000;
/// Nanoseconds between two moves.
const REST_NS: u64 = 1_000_000_000;

/// What batches take on a device, in nanoseconds, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Of any batch.
    pub batch_ns: f64,
    /// Of each event in it.
    pub event_ns: f64,
}

/// Measurements of one device: for each class of sizes, what they were and took.
#[derive(Debug, Clone, Default)]
pub(super) struct Estimate {
    classes: [Option<(f64, f64)>; CLASSES],
}

impl Estimate {
    /// A batch of `size` events took `ns`.
    pub(super) fn record(&mut self, size: usize, ns: u64) {
        let class = (size.max(1).ilog2() as usize / 2).min(CLASSES - 1);
        let (size, ns) = (size as f64, (ns as f64).max(1.0));
        let seen = self.classes[class].get_or_insert((size, ns));
        seen.0 += SHARE * (size - seen.0);
        seen.1 += SHARE * (ns - seen.1);
    }

    /// The line through the classes that has the least relative error, nowhere below zero; `None` before there are
    /// measurements.
    pub(super) fn cost(&self) -> Option<Cost> {
        let (mut w, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(size, ns) in self.classes.iter().flatten() {
            let weight = 1.0 / (ns * ns);
            w += weight;
            x += weight * size;
            y += weight * ns;
            xx += weight * size * size;
            xy += weight * size * ns;
        }
        if w == 0.0 {
            return None;
        }
        let spread = w * xx - x * x;
        let slope = if spread > 1e-9 * w * xx { (w * xy - x * y) / spread } else { 0.0 };
        let slope = slope.max(0.0);
        let fixed = (y - slope * x) / w;
        Some(if fixed < 0.0 {
            Cost { batch_ns: 0.0, event_ns: xy / xx }
        } else {
            Cost { batch_ns: fixed, event_ns: slope }
        })
    }
}

/// What is known of both devices, and what the running period has seen.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) here: Estimate,
    pub(super) there: Estimate,
    /// When the device was last seen done with something.
    free_ns: u64,
    moved_ns: Option<u64>,
    began_ns: u64,
    batches: u64,
    events: u64,
    took_ns: u64,
}

impl Placement {
    /// The other device's costs as known at the start.
    pub(super) fn new(there: Estimate) -> Self {
        Self { there, ..Self::default() }
    }

    /// The device is done with something else than events.
    #[inline]
    pub(super) fn worked(&mut self, done_ns: u64) {
        self.free_ns = self.free_ns.max(done_ns);
    }

    /// A batch of `size` events is back; whether the query should move. What it took counts from when the device was
    /// done with what came before it.
    pub(super) fn retired(&mut self, size: usize, (sent_ns, done_ns): (u64, u64)) -> bool {
        let took = done_ns.saturating_sub(sent_ns.max(self.free_ns));
        self.worked(done_ns);
        self.here.record(size, took);
        if self.batches == 0 {
            self.began_ns = sent_ns;
        }
        self.batches += 1;
        self.events += size as u64;
        self.took_ns += took;
        let long = done_ns.saturating_sub(self.began_ns) >= PERIOD_NS;
        if self.batches < PERIOD_BATCHES && !(long && self.batches >= BATCHES_LEAST) {
            return false;
        }
        let (batches, events) = (self.batches as f64, self.events as f64);
        let took = self.took_ns as f64;
        (self.batches, self.events, self.took_ns) = (0, 0, 0);
        let rested = self.moved_ns.is_none_or(|at| done_ns.saturating_sub(at) >= REST_NS);
        let other = self.there.cost().map(|c| c.batch_ns * batches + c.event_ns * events);
        rested && other.is_some_and(|other| took > MARGIN * other)
    }

    /// The query has moved; `back` when to the device that was the other one.
    pub(super) fn moved(&mut self, now_ns: u64, back: bool) {
        let here = if back { std::mem::take(&mut self.there) } else { Estimate::default() };
        let there = std::mem::replace(&mut self.here, here);
        let here = std::mem::take(&mut self.here);
        *self = Self { here, there, moved_ns: Some(now_ns), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 0.02 * b.abs().max(1.0)
    }

    fn line(fixed: u64, each: u64, sizes: &[usize]) -> Estimate {
        let mut estimate = Estimate::default();
        for _ in 0..50 {
            for &size in sizes {
                estimate.record(size, fixed + each * size as u64);
            }
        }
        estimate
    }

    #[test]
    fn a_line_is_found_again() {
        for (fixed, each) in [(50_000, 1), (100, 20), (0, 7), (1000, 0)] {
            let cost = line(fixed, each, &[1, 64, 4096]).cost().expect("measured");
            assert!(near(cost.batch_ns, fixed as f64), "{fixed} {each}: {cost:?}");
            assert!(near(cost.event_ns, each as f64), "{fixed} {each}: {cost:?}");
        }
        assert_eq!(Estimate::default().cost(), None);
    }

    #[test]
    fn one_size_says_what_that_size_takes() {
        let cost = line(1000, 3, &[500]).cost().expect("measured");
        assert!(near(cost.batch_ns + 500.0 * cost.event_ns, 2500.0), "{cost:?}");
    }

    #[test]
    fn costs_are_never_below_zero_and_follow_a_change() {
        let mut estimate = Estimate::default();
        estimate.record(1, 1000);
        estimate.record(4096, 10);
        let cost = estimate.cost().expect("measured");
        assert!(cost.batch_ns >= 0.0 && cost.event_ns >= 0.0, "{cost:?}");
        estimate.record(1, 1);
        (0..100).for_each(|_| [1, 4096].iter().for_each(|&n| estimate.record(n, 10 * n as u64)));
        let cost = estimate.cost().expect("measured");
        assert!(near(cost.event_ns, 10.0), "{cost:?}");
    }

    /// Batches of this size, each taking so long, one after the other: after how many it wants to move.
    fn wants(p: &mut Placement, from: u64, batches: u64, size: usize, took: u64) -> Option<u64> {
        (0..batches).find(|i| p.retired(size, (from + i * took, from + (i + 1) * took)))
    }

    #[test]
    fn it_moves_for_a_wide_margin_only() {
        let there = || line(50_000, 1, &[1, 64, 4096]);
        let mut p = Placement::new(there());
        assert_eq!(wants(&mut p, 1, 1000, 1, 70_000), None);
        let mut p = Placement::new(there());
        assert_eq!(
            wants(&mut p, 1 << 40, 1000, 4096, 80_000),
            None,
            "less than half as much again"
        );
        let mut p = Placement::new(there());
        assert_eq!(wants(&mut p, 1 << 40, 1000, 4096, 90_000), Some(63));
        let mut p = Placement::new(there());
        assert_eq!(
            wants(&mut p, 1 << 40, 10, 4096, 50_000_000),
            Some(7),
            "slow batches, few of them"
        );
        assert_eq!(wants(&mut Placement::default(), 1 << 40, 1000, 1, 1 << 30), None);
    }

    #[test]
    fn it_rests_after_a_move_and_remembers_the_device_it_left() {
        let mut p = Placement::new(line(100, 1, &[1, 64, 4096]));
        assert_eq!(wants(&mut p, 1 << 40, 64, 64, 1 << 20), Some(63));
        let now = (1 << 40) + (64 << 20);
        p.moved(now, true);
        let (here, there) = (p.here.cost().expect("known"), p.there.cost().expect("known"));
        assert!(near(here.event_ns, 1.0) && near(there.batch_ns, f64::from(1 << 20)));
        // Now this one turns out to be worse still.
        let moves = wants(&mut p, now, 1000, 64, 2 << 20).expect("after a rest");
        assert!((moves + 1) * (2 << 20) >= REST_NS, "{moves}");
        p.moved(now, false);
        assert_eq!(p.here.cost(), None, "nothing is known of a third device");
    }

    #[test]
    fn what_came_before_a_batch_is_not_its_cost() {
        let mut p = Placement::default();
        p.worked(1000);
        p.retired(1, (100, 1010));
        p.retired(1, (100, 1020));
        assert!(near(p.here.cost().expect("measured").batch_ns, 10.0));
    }
}
