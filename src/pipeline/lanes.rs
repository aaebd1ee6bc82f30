//! The lanes as the engine sees them: what waits in them, how far their event time has come, what they lost.
//!
//! The watermark is the least of the lanes that are neither idle nor closed. It is brought up to date whenever one of
//! them stops counting, before it stops, so that windows which its events had closed do close.

use super::batch::{AsideSink, Batch, Judging, Places, Stamp};
use super::clock::{Clock, Rules};
use crate::base::time::Ticks;
use crate::ops::label::Label;
use crate::ring::{Gap, LaneStats, Note, Tail};
use std::collections::VecDeque;

/// The mark by which a lane says that it has no events for now.
pub(super) const MARK_IDLE: u32 = 1;
/// The mark by which a lane says that its event time has come to the mark's first word, without an event.
pub(super) const MARK_ADVANCE: u32 = 2;
/// The marks by which a lane brings a label: the key of an alert, and its time.
const MARK_NORMAL: u32 = 3;
const MARK_ANOMALY: u32 = 4;
/// Gaps told apart; when more are remembered, the oldest grow together.
const GAPS_MAX: usize = 1 << 10;

/// The mark of a label.
pub(super) const fn mark_of(label: Label) -> u32 {
    match label {
        Label::Normal => MARK_NORMAL,
        Label::Anomaly => MARK_ANOMALY,
    }
}

/// What a label says, and of which alert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelled {
    pub(super) key: u64,
    pub(super) time: Ticks,
    pub(super) label: Label,
}

impl Labelled {
    /// The label that a mark brings.
    fn of(note: &Note) -> Option<Self> {
        let label = match note.mark? {
            MARK_NORMAL => Label::Normal,
            MARK_ANOMALY => Label::Anomaly,
            _ => return None,
        };
        Some(Self { key: note.lo, time: note.hi, label })
    }
}

/// One lane.
struct Lane {
    tail: Tail,
    number: u32,
    clock: Clock,
    /// A run that did not fit the last batch, from where it goes on.
    rest: Option<Note>,
    /// Events in front of `rest` were taken, so its extremes may be theirs.
    cut: bool,
    idle: bool,
    /// Events of the next batch that it may fill.
    share: usize,
}

/// All lanes of a pipeline.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    opened: u32,
    /// Which lane is served first where not all can be.
    turn: usize,
    /// The least of the lanes' own; it never falls.
    pub(super) watermark: Option<Ticks>,
    gaps: VecDeque<Gap>,
    /// What lanes that are gone had counted.
    gone: Counts,
}

/// What lanes count, added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) dropped: u64,
    pub(super) rejected: u64,
    pub(super) jumps: u64,
    pub(super) late_after_join: u64,
}

impl Counts {
    fn add(&mut self, lane: &Lane) {
        let LaneStats { dropped_newest, dropped_oldest, rejected, .. } = lane.tail.stats();
        self.dropped += dropped_newest + dropped_oldest;
        self.rejected += rejected;
        self.jumps += lane.clock.jumps;
        self.late_after_join += lane.clock.late_after_join;
    }
}

impl Lanes {
    /// Takes in a lane. It joins at the watermark.
    pub(super) fn open(&mut self, tail: Tail, rules: &Rules) {
        let mut clock = Clock::default();
        if let Some(watermark) = self.watermark {
            clock.join(watermark, rules);
        }
        let number = self.opened;
        self.opened += 1;
        self.lanes.push(Lane {
            tail,
            number,
            clock,
            rest: None,
            cut: false,
            idle: false,
            share: 0,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The consumer ends, for arming and disarming.
    pub(super) fn tails(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.lanes.iter_mut().map(|lane| &mut lane.tail)
    }

    /// Drops all lanes: their producers are told that nobody will make room any more.
    pub(super) fn abandon(&mut self) {
        self.lanes.iter().for_each(|lane| self.gone.add(lane));
        self.lanes.clear();
    }

    /// What all lanes have counted so far.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.gone;
        self.lanes.iter().for_each(|lane| counts.add(lane));
        counts
    }

    /// Drops the oldest runs of lanes whose producers ask for that. Their memory comes free whatever the device
    /// does; a batch under way keeps what it holds.
    pub(super) fn shed(&mut self) {
        for lane in &mut self.lanes {
            if !lane.tail.asked() {
                continue;
            }
            if let Some(rest) = lane.rest.take_if(|rest| rest.mark.is_none()) {
                lane.tail.drop_taken(rest);
            }
            while lane.rest.is_none()
                && let Some(note) = lane.tail.drop_oldest()
            {
                lane.rest = note.mark.map(|_| note);
            }
            while let Some(gap) = lane.tail.next_gap() {
                remember(&mut self.gaps, gap);
            }
        }
    }

    /// Whether a lane stands at a label: all that came before it has been taken.
    pub(super) fn at_label(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| lane.rest.as_ref().is_some_and(|note| Labelled::of(note).is_some()))
    }

    /// Takes the labels at which lanes stand, lane by lane.
    pub(super) fn take_labels(&mut self) -> Vec<Labelled> {
        let mut labels = Vec::new();
        for lane in &mut self.lanes {
            while let Some(label) = lane.rest.as_ref().and_then(Labelled::of) {
                labels.push(label);
                lane.rest = lane.tail.next();
                lane.cut = false;
            }
        }
        labels
    }

    /// Takes committed runs into the batch, every lane its share; false when there was nothing to take.
    pub(super) fn gather(
        &mut self,
        batch: &mut Batch,
        room: usize,
        (places, judging): (&mut Places, &Judging<'_>),
        aside: AsideSink<'_>,
    ) -> bool {
        self.share_out(room);
        let mut progress = false;
        for index in 0..self.lanes.len() {
            let until = (batch.events + self.lanes[index].share).min(room);
            progress |= self.gather_from(index, batch, until, (&mut *places, judging), aside);
        }
        progress
    }

    /// Gives every lane a share of the room, so that a busy one cannot starve the others. Batches keep the order of the
    /// lanes, because `first` and `last` go by it.
    fn share_out(&mut self, room: usize) {
        let waiting = |lane: &Lane| {
            let rest = lane.rest.map_or(0, |note| note.to - note.from);
            lane.tail.backlog().saturating_add(rest)
        };
        let all: u64 = self.lanes.iter().map(waiting).fold(0, u64::saturating_add);
        if self.lanes.len() < 2 || all <= room as u64 {
            self.lanes.iter_mut().for_each(|lane| lane.share = room);
            return;
        }
        let fair = room / self.lanes.len();
        let mut left = room;
        for lane in &mut self.lanes {
            lane.share = usize::try_from(waiting(lane)).unwrap_or(fair).min(fair);
            left -= lane.share;
        }
        let lanes = self.lanes.len();
        self.turn = (self.turn + 1) % lanes;
        for i in 0..lanes {
            let lane = &mut self.lanes[(self.turn + i) % lanes];
            let more = waiting(lane) - lane.share as u64;
            let more = usize::try_from(more).unwrap_or(left).min(left);
            lane.share += more;
            left -= more;
        }
    }

    /// Takes one lane's committed runs into the batch until it has so many events.
    fn gather_from(
        &mut self,
        index: usize,
        batch: &mut Batch,
        until: usize,
        (places, judging): (&mut Places, &Judging<'_>),
        aside: AsideSink<'_>,
    ) -> bool {
        let rules = judging.rules;
        self.lanes[index].tail.reclaim();
        let mut progress = false;
        let mut taken: Option<(u64, u64)> = None;
        let mut events = batch.events;
        loop {
            let lane = &mut self.lanes[index];
            let full = events >= until;
            let Some(note) =
                lane.rest.take().or_else(|| if full { None } else { lane.tail.next() })
            else {
                break;
            };
            if note.mark == Some(MARK_IDLE) {
                progress = true;
                self.raise(rules);
                self.lanes[index].idle = true;
                continue;
            }
            let is_label = Labelled::of(&note).is_some();
            if full && note.mark.is_none() || is_label {
                progress |= is_label;
                lane.rest = Some(note);
                break;
            }
            if std::mem::take(&mut lane.idle)
                && let Some(watermark) = self.watermark
            {
                lane.clock.join(watermark, rules);
            }
            if note.mark == Some(MARK_ADVANCE) {
                progress = true;
                lane.clock.advance(note.lo);
                continue;
            }
            let (from, fits) = (note.from, (until - events) as u64);
            let to = note.to.min(from + fits);
            let (tail, clock) = (&lane.tail, &mut lane.clock);
            // A part of a run has extremes of its own: the time of an event that is gone, and was perhaps set aside,
            // must not move the lane's.
            let whole = to == note.to && !std::mem::take(&mut lane.cut);
            let times = if whole { (note.lo, note.hi) } else { judging.times(tail, from, to) };
            let at = batch.judge((from, to), times, (clock, tail), judging, aside);
            if at > from {
                progress = true;
                batch.stamps.push(Stamp { ns: note.stamp_ns, events: at - from });
                taken = Some((taken.map_or(from, |(first, _)| first), at));
                events += usize::try_from(at - from).expect("a batch's events fit");
            }
            if at < note.to {
                lane.rest = Some(Note { from: at, ..note });
                lane.cut = true;
                break;
            }
        }
        let lane = &mut self.lanes[index];
        if let Some(range) = taken {
            batch.lease(lane.number, range, &mut lane.tail, (places, judging), aside);
        }
        while let Some(gap) = lane.tail.next_gap() {
            remember(&mut self.gaps, gap);
        }
        progress
    }

    /// Lets go of lanes that are closed and empty; whether there were any.
    pub(super) fn close(&mut self, rules: &Rules) -> bool {
        let over = |lane: &Lane| lane.rest.is_none() && lane.tail.closed();
        if !self.lanes.iter().any(over) {
            return false;
        }
        self.raise(rules);
        let gone = &mut self.gone;
        self.lanes.retain(|lane| {
            let over = over(lane);
            if over {
                gone.add(lane);
            }
            !over
        });
        true
    }

    /// Moves the watermark up to the least of the lanes that count; whether it moved. It waits for lanes that have had
    /// no event yet.
    pub(super) fn raise(&mut self, rules: &Rules) -> bool {
        let active = self.lanes.iter().filter(|lane| !lane.idle);
        let lowest = active.map(|lane| lane.clock.watermark(rules)).min().flatten();
        let higher = lowest > self.watermark;
        if higher {
            self.watermark = lowest;
        }
        higher
    }

    /// Events that lanes dropped and that may lie in `[start, end)`.
    pub(super) fn lost(&self, start: Ticks, end: Ticks) -> u64 {
        // Where ticks end, the last window takes in the last tick.
        let touches = |gap: &&Gap| (gap.lo < end || end == Ticks::MAX) && gap.hi >= start;
        self.gaps.iter().filter(touches).map(|gap| gap.events).sum()
    }

    /// Forgets gaps that lie before `start`: no window that may still fire begins earlier.
    pub(super) fn forget_gaps(&mut self, start: Ticks) {
        self.gaps.retain(|gap| gap.hi >= start);
    }
}

fn remember(gaps: &mut VecDeque<Gap>, gap: Gap) {
    if gaps.len() >= GAPS_MAX
        && let Some(old) = gaps.pop_front()
        && let Some(next) = gaps.front_mut()
    {
        (next.lo, next.hi) = (next.lo.min(old.lo), next.hi.max(old.hi));
        next.events += old.events;
    }
    gaps.push_back(gap);
}
