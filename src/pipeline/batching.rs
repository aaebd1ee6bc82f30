//! How many events a batch may have, so that events stay within a latency target.
//!
//! The engine sends what is committed as soon as it can, so batches have the size that the load gives them, and a
//! target is a matter of their bound alone. An event is late for one of two reasons. Either its batch was with the
//! device for long: then batches are too large, and the bound is halved. Or it waited in its lane: then smaller batches
//! would only make the device slower, and the bound goes up as long as batches fill it. So a batch's own time is held
//! to half the target, and the other half is for waiting.
//!
//! Halving and small steps up are what makes many flows share a line; here they follow a device whose speed changes.
//! Everything is counted per batch; there is no clock in here.

use std::time::Duration;

/// The bound never goes below this, unless the user's own is smaller.
const CAP_LEAST: usize = 64;
/// Batches after which the bound is judged at the latest.
const PERIOD_BATCHES: u64 = 64;
/// Nanoseconds after which it is judged at the latest.
const PERIOD_NS: u64 = 100_000_000;
/// One event in so many may be over the target.
const OVER_SHARE: u64 = 100;
/// A step up is this part of the user's bound.
const STEPS: usize = 32;

/// The bound of batches, and what the running period has seen.
#[derive(Debug)]
pub(super) struct Batching {
    target_ns: Option<u64>,
    most: usize,
    cap: usize,
    /// Batches sent before the bound last changed say nothing about the present one.
    changed_ns: u64,
    /// When the first batch of the period was sent.
    began_ns: u64,
    batches: u64,
    full: u64,
    events: u64,
    /// Events over the target whose batch took more than half of it.
    slow: u64,
    /// Batches with such events. A single one is a hiccup and says nothing about size.
    slow_batches: u64,
}

impl Batching {
    /// Batches of up to `most` events, which is also where the bound begins.
    pub(super) fn new(target: Option<Duration>, most: usize) -> Self {
        let ns = |target: Duration| u64::try_from(target.as_nanos()).unwrap_or(u64::MAX);
        Self {
            target_ns: target.map(ns),
            most,
            cap: most,
            changed_ns: 0,
            began_ns: 0,
            batches: 0,
            full: 0,
            events: 0,
            slow: 0,
            slow_batches: 0,
        }
    }

    /// Events that the next batch may have.
    #[inline]
    pub(super) fn cap(&self) -> usize {
        self.cap
    }

    /// A batch of `size` events is back. `runs` are its events' commit times, with their numbers.
    pub(super) fn retired(
        &mut self,
        size: usize,
        (sent_ns, done_ns): (u64, u64),
        runs: impl Iterator<Item = (u64, u64)>,
    ) {
        let Some(target_ns) = self.target_ns else { return };
        if sent_ns < self.changed_ns {
            return;
        }
        if self.batches == 0 {
            self.began_ns = sent_ns;
        }
        let slow = done_ns.saturating_sub(sent_ns) > target_ns / 2;
        let before = self.slow;
        for (ns, events) in runs {
            self.events += events;
            self.slow += if slow && done_ns.saturating_sub(ns) > target_ns { events } else { 0 };
        }
        self.slow_batches += u64::from(self.slow > before);
        self.batches += 1;
        self.full += u64::from(size >= self.cap);
        if self.batches >= PERIOD_BATCHES || done_ns.saturating_sub(self.began_ns) >= PERIOD_NS {
            self.judge(done_ns);
        }
    }

    fn judge(&mut self, now_ns: u64) {
        let least = CAP_LEAST.min(self.most);
        let hiccup = self.slow_batches == 1 && self.batches >= 8;
        let cap = if self.slow * OVER_SHARE > self.events && !hiccup {
            (self.cap / 2).max(least)
        } else if 2 * self.full > self.batches {
            (self.cap + (self.most / STEPS).max(1)).min(self.most)
        } else {
            self.cap
        };
        if cap != self.cap {
            (self.cap, self.changed_ns) = (cap, now_ns);
        }
        (self.batches, self.full, self.events) = (0, 0, 0);
        (self.slow, self.slow_batches) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A device that takes `fixed + each * events`, always busy: batches are full, and each event waits for the batch
    /// before its own and then `backlog_ns` more.
    struct Load {
        now_ns: u64,
        fixed: u64,
        each: u64,
        backlog_ns: u64,
    }

    impl Load {
        fn run(&mut self, batching: &mut Batching, batches: u64) {
            for _ in 0..batches {
                let size = batching.cap();
                let took = self.fixed + self.each * size as u64;
                let sent = self.now_ns;
                self.now_ns += took;
                let committed = sent.saturating_sub(took + self.backlog_ns);
                batching.retired(size, (sent, self.now_ns), [(committed, size as u64)].into_iter());
            }
        }
    }

    fn load(each: u64) -> Load {
        Load { now_ns: 1 << 40, fixed: 10_000, each, backlog_ns: 0 }
    }

    #[test]
    fn without_a_target_nothing_changes() {
        let mut batching = Batching::new(None, 5000);
        load(1 << 20).run(&mut batching, 1000);
        assert_eq!(batching.cap(), 5000);
    }

    #[test]
    fn it_falls_by_halves_and_comes_back_by_steps() {
        let mut batching = Batching::new(Some(Duration::from_millis(2)), 1 << 14);
        let mut load = load(1000);
        load.run(&mut batching, 7);
        assert_eq!(batching.cap(), 1 << 13, "100 ms are over after seven batches of 16 ms");
        load.run(&mut batching, 2000);
        // A thousand events take a millisecond, half the target; steps are 512.
        assert!((500..=1536).contains(&batching.cap()), "{}", batching.cap());
        load.each = 10;
        load.run(&mut batching, 64 * 33);
        assert_eq!(batching.cap(), 1 << 14);
    }

    #[test]
    fn a_backlog_does_not_make_batches_smaller() {
        let mut batching = Batching::new(Some(Duration::from_millis(2)), 1 << 14);
        let mut load = Load { backlog_ns: 500 * MS, ..load(10) };
        load.run(&mut batching, 1000);
        assert_eq!(batching.cap(), 1 << 14, "the device is fast, the lanes are full");
        load.each = 1000;
        load.run(&mut batching, 3000);
        let cap = batching.cap();
        assert!((500..=1536).contains(&cap), "no spiral down while the backlog lasts: {cap}");
    }

    #[test]
    fn one_in_a_hundred_may_be_late_and_small_batches_raise_nothing() {
        let mut batching = Batching::new(Some(Duration::from_millis(2)), 1 << 10);
        let mut batch = |n: u64, took: u64, (size, events): (usize, u64)| {
            batching.retired(size, (n * MS, n * MS + took), [(n * MS, events)].into_iter());
            batching.cap()
        };
        for n in 1..=1000 {
            // Half a percent of each period's events.
            let (took, events) = if n % 64 == 0 { (5 * MS, 30) } else { (MS, 100) };
            assert_eq!(batch(n, took, (1024, events)), 1024);
        }
        (1001..=1200).for_each(|n| _ = batch(n, 3 * MS, (1, 100)));
        let cap = batch(2000, MS, (1, 100));
        assert!((64..=256).contains(&cap), "{cap}");
        assert!((2001..=3000).all(|n| batch(n, MS, (10, 100)) == cap), "they were not full");
    }

    #[test]
    fn it_stays_in_bounds() {
        for (most, least) in [(1 << 14, 64), (1000, 64), (10, 10), (1, 1)] {
            let mut batching = Batching::new(Some(Duration::from_nanos(1)), most);
            load(1_000_000).run(&mut batching, 5000);
            assert_eq!(batching.cap(), least);
            batching.target_ns = Some(u64::MAX);
            load(1).run(&mut batching, 64 * 100);
            assert_eq!(batching.cap(), least, "sent before the last change");
            Load { now_ns: 1 << 50, ..load(1) }.run(&mut batching, 64 * 100);
            assert_eq!(batching.cap(), most);
        }
    }
}
