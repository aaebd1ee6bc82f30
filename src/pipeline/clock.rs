//! Event time of one lane: which of its events are on time, late, or beyond the horizon.
//!
//! Lateness is a property of the lane's own sequence of events and of nothing else, so the same events are
//! late whatever the batches and the device. It is decided here, on the host, and almost always for a whole
//! run at once: the producer wrote the run's smallest and largest time into its note.

use super::options::Query;
use crate::base::limits::JUMP_EVENTS;
use crate::base::time::{Shape, Ticks};

/// What happens to one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes to its slice, for all of its windows.
    Slice(u64),
    /// It goes to each of these windows, named by their last slices: its slice is already spoken for.
    Windows(u64, u64),
    /// It is late for all of its windows.
    Late,
    /// It lies beyond the horizon.
    Beyond,
}

/// The rules that all lanes share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) shape: Shape,
    disorder: Ticks,
    lateness: Ticks,
    horizon: Ticks,
    /// Events are taken as they arrive, whatever their time.
    pub(super) arrival: bool,
}

impl Rules {
    pub(super) fn new(query: &Query) -> Self {
        let Query { shape, disorder, lateness, horizon, .. } = *query;
        let arrival = query.scores.is_some();
        Self { shape, disorder: if arrival { 0 } else { disorder }, lateness, horizon, arrival }
    }

    /// Those of events that wait until the watermark has passed them: each tick is a window of its own.
    pub(super) fn by_time(disorder: Ticks, horizon: Ticks) -> Self {
        let shape = Shape::new(1, 1).expect("windows of a tick");
        Self { shape, disorder, lateness: 0, horizon, arrival: false }
    }

    /// What ended at or before this takes no events any more, in a lane whose largest time is `max`.
    #[inline]
    fn cut(&self, max: Ticks) -> Ticks {
        max.saturating_sub(self.disorder).saturating_sub(self.lateness)
    }

    /// Slices that a watermark has passed, and slices whose windows take no event any more.
    pub(super) fn passed(&self, watermark: Ticks) -> (u64, u64) {
        (self.shape.ended(watermark), self.shape.ended(watermark.saturating_sub(self.lateness)))
    }
}

/// The slice found last: most times lie in the same one, and a comparison costs less than a division.
#[derive(Debug, Clone, Default)]
struct Recent {
    start: Ticks,
    /// The tick after it; 0 before anything was found.
    end: Ticks,
    slice: u64,
}

impl Recent {
    #[inline]
    fn slice_of(&mut self, t: Ticks, shape: Shape) -> u64 {
        if t < self.start || t >= self.end {
            let slice = shape.slice_of(t);
            let start = shape.slice_start(slice);
            *self = Self { start, end: start.saturating_add(shape.slide()), slice };
        }
        self.slice
    }
}

/// One lane's event time.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// The slice of the latest times, and that of the latest cut.
    now: Recent,
    cut: Recent,
    /// Largest accepted time; `None` before there is one.
    max: Option<Ticks>,
    /// The first of the events beyond the horizon that came in a row.
    anchor: Ticks,
    /// How many of them agree with it.
    agreeing: u32,
    /// Times the lane's time really jumped.
    pub(super) jumps: u64,
    /// `max` still is where the watermark put it when the lane joined or came back.
    put: bool,
    /// Events late while that was so.
    pub(super) late_after_join: u64,
}

impl Clock {
    /// The lane joins, or comes back from idleness, while the watermark stands at `watermark`.
    pub(super) fn join(&mut self, watermark: Ticks, rules: &Rules) {
        let now = watermark.saturating_add(rules.disorder);
        if self.max.is_none_or(|max| max < now) {
            (self.max, self.put) = (Some(now), true);
        }
    }

    /// The producer says that its time has come to `t`, as an accepted event would.
    pub(super) fn advance(&mut self, t: Ticks) {
        if self.max.is_none_or(|max| max < t) {
            (self.max, self.put) = (Some(t), false);
        }
        self.agreeing = 0;
    }

    /// The largest time accepted; `None` before there is one.
    pub(super) fn max(&self) -> Option<Ticks> {
        self.max
    }

    /// The lane's own watermark; `None` before its first event.
    pub(super) fn watermark(&self, rules: &Rules) -> Option<Ticks> {
        self.max.map(|max| max.saturating_sub(rules.disorder))
    }

    /// Judges a run by its smallest and largest time: the first and last slice its events lie in, when all of them
    /// go to their slices. `fired` windows have been fired; their slices take no events.
    #[inline]
    pub(super) fn whole(
        &mut self,
        lo: Ticks,
        hi: Ticks,
        fired: u128,
        rules: &Rules,
    ) -> Option<(u64, u64)> {
        let before = self.max?;
        let max = before.max(hi);
        let first = self.now.slice_of(lo, rules.shape);
        let on_time =
            first >= self.cut.slice_of(rules.cut(max), rules.shape) && u128::from(first) >= fired;
        if !on_time || hi > before.saturating_add(rules.horizon) || lo > hi {
            return None;
        }
        if max > before {
            (self.max, self.put) = (Some(max), false);
        }
        self.agreeing = 0;
        Some((first, self.now.slice_of(hi, rules.shape)))
    }

    /// Judges one event.
    pub(super) fn judge(&mut self, t: Ticks, fired: u128, rules: &Rules) -> Verdict {
        if let Some(max) = self.max
            && t > max.saturating_add(rules.horizon)
        {
            let agrees = self.agreeing > 0 && t.abs_diff(self.anchor) <= rules.horizon;
            if !agrees {
                self.anchor = t;
            }
            self.agreeing = if agrees { self.agreeing + 1 } else { 1 };
            if self.agreeing < JUMP_EVENTS {
                return Verdict::Beyond;
            }
            self.jumps += 1;
        }
        self.agreeing = 0;
        let ended = self.max.map_or(0, |max| self.cut.slice_of(rules.cut(max), rules.shape));
        let slice = self.now.slice_of(t, rules.shape);
        let last = slice + (rules.shape.slices() - 1);
        if last < ended {
            self.late_after_join += u64::from(self.put);
            return Verdict::Late;
        }
        if self.max.is_none_or(|max| max < t) {
            (self.max, self.put) = (Some(t), false);
        }
        let tumbling = rules.shape.slices() == 1;
        if tumbling || slice >= ended && u128::from(slice) >= fired {
            Verdict::Slice(slice)
        } else {
            Verdict::Windows(slice.max(ended), last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(size: u64, slide: u64, disorder: u64, lateness: u64, horizon: u64) -> Rules {
        Rules {
            shape: Shape::new(size, slide).unwrap(),
            disorder,
            lateness,
            horizon,
            arrival: false,
        }
    }

    #[test]
    fn lateness_is_judged_by_what_came_before() {
        let (mut clock, r) = (Clock::default(), rules(10, 10, 5, 0, u64::MAX));
        assert_eq!(clock.judge(14, 0, &r), Verdict::Slice(1));
        assert_eq!(
            clock.judge(9, 0, &r),
            Verdict::Slice(0),
            "9 lies in the window that ends at 10 > 14 - 5"
        );
        assert_eq!(clock.judge(15, 0, &r), Verdict::Slice(1));
        assert_eq!(clock.judge(9, 0, &r), Verdict::Late, "10 <= 15 - 5");
        assert_eq!(clock.judge(10, 0, &r), Verdict::Slice(1));
    }

    #[test]
    fn an_event_late_for_some_windows_goes_to_the_others() {
        let (mut clock, r) = (Clock::default(), rules(30, 10, 0, 0, u64::MAX));
        assert_eq!(clock.judge(25, 0, &r), Verdict::Slice(2));
        assert_eq!(
            clock.judge(5, 0, &r),
            Verdict::Windows(2, 2),
            "windows ending at 10 and 20 are over"
        );
        assert_eq!(clock.judge(19, 0, &r), Verdict::Windows(2, 3));
        assert_eq!(clock.judge(30, 0, &r), Verdict::Slice(3));
        assert_eq!(clock.judge(5, 0, &r), Verdict::Late);
    }

    #[test]
    fn the_horizon_gives_way_to_a_real_jump_only() {
        let (mut clock, r) = (Clock::default(), rules(10, 10, 0, 0, 100));
        clock.judge(0, 0, &r);
        for _ in 0..10 {
            assert_eq!(clock.judge(u64::MAX, 0, &r), Verdict::Beyond);
            assert_eq!(clock.judge(5000, 0, &r), Verdict::Beyond, "these two never agree");
        }
        assert_eq!(clock.judge(1, 0, &r), Verdict::Slice(0));
        for i in 0..31 {
            assert_eq!(clock.judge(5000 + i, 0, &r), Verdict::Beyond);
        }
        assert_eq!(clock.judge(5031, 0, &r), Verdict::Slice(503));
        assert_eq!((clock.jumps, clock.judge(1, 0, &r)), (1, Verdict::Late));
    }

    #[test]
    fn late_because_of_where_the_lane_joined_is_counted() {
        let (mut clock, r) = (Clock::default(), rules(10, 10, 0, 0, u64::MAX));
        clock.join(30, &r);
        assert_eq!(clock.judge(29, 0, &r), Verdict::Late);
        assert_eq!(clock.judge(30, 0, &r), Verdict::Slice(3));
        assert_eq!(clock.judge(28, 0, &r), Verdict::Late, "30 is where the watermark put it");
        assert_eq!(clock.judge(31, 0, &r), Verdict::Slice(3));
        assert_eq!(clock.judge(27, 0, &r), Verdict::Late, "31 is its own");
        assert_eq!(clock.late_after_join, 2);
    }

    #[test]
    fn a_run_is_judged_whole_only_when_each_event_would_be() {
        let r = rules(10, 10, 5, 0, 100);
        let mut clock = Clock::default();
        assert_eq!(clock.whole(0, 5, 0, &r), None, "the first event of a lane sets its clock");
        clock.judge(20, 0, &r);
        assert_eq!(clock.whole(12, 24, 0, &r), Some((1, 2)));
        assert_eq!(clock.whole(12, 25, 0, &r), None, "12 would be late after 25");
        assert_eq!(clock.whole(30, 125, 0, &r), None, "125 lies beyond the horizon of 24");
        assert_eq!(clock.whole(30, 40, 4, &r), None, "slice 3 has been fired");
        assert_eq!(
            clock.whole(7, 3, 0, &r),
            None,
            "a producer's note may lie; it is then not believed"
        );
    }
}
