//! The lanes as the engine sees them: what waits in them, how far their event time has come, what they lost.
//!
//! The watermark is the least of the lanes that are neither idle nor closed. It is brought up to date whenever one of
//! them stops counting, before it stops, so that windows which its events had closed do close.

use super::batch::AsideSink;
use super::clock::{Clock, Rules};
use crate::base::time::Ticks;
use crate::ops::label::Label;
use crate::ring::{Gap, LaneStats, Note, Tail};
use std::collections::VecDeque;

/// The mark by which a lane says that it has no events for now.
pub(super) const MARK_IDLE: u32 = 1;
/// The mark by which a lane says that its event time has come to the mark's first word, without an event.
pub(super) const MARK_ADVANCE: u32 = 2;
/// The marks by which a lane brings a label: the key of an alert, and the bits of its score.
const MARK_NORMAL: u32 = 3;
const MARK_ANOMALY: u32 = 4;
/// Gaps told apart; when more are remembered, the oldest grow together.
const GAPS_MAX: usize = 1 << 10;

/// What a label says, and of which key's alert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelled {
    pub(super) key: u64,
    pub(super) label: Label,
}

impl Labelled {
    /// The label that a mark brings.
    fn of(note: &Note) -> Option<Self> {
        let label = match note.mark? {
            MARK_NORMAL => Label::Normal { score: f64::from_bits(note.hi) },
            MARK_ANOMALY => Label::Anomaly,
            _ => return None,
        };
        Some(Self { key: note.lo, label })
    }

    /// The mark that brings it, with its two words.
    pub(super) const fn mark(self) -> (u32, u64, u64) {
        match self.label {
            Label::Normal { score } => (MARK_NORMAL, self.key, score.to_bits()),
            Label::Anomaly => (MARK_ANOMALY, self.key, 0),
        }
    }
}

/// A stretch of one lane's run that is to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The lane's number.
    pub(super) lane: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    /// The smallest and largest time, where they are known.
    pub(super) times: Option<(u64, u64)>,
    /// When the run was committed.
    pub(super) stamp_ns: u64,
}

/// Where the events of lanes go.
pub(super) trait Sink {
    /// Events taken since gathering began.
    fn events(&self) -> usize;

    /// Whether it takes events only of the lanes that hold the watermark back.
    fn is_full(&self) -> bool {
        false
    }

    /// Judges a stretch and takes what is on time; returns where it stopped.
    fn take(&mut self, part: &Part, from: (&mut Clock, &Tail), aside: AsideSink<'_>) -> u64;

    /// Has taken all that it will of a lane for now, these events.
    fn taken(&mut self, lane: u32, range: (u64, u64), tail: &mut Tail, aside: AsideSink<'_>);

    /// Takes a label from a lane whose clock stands at `at`; false where the lane has to wait for it to be taken in.
    fn label(&mut self, lane: u32, at: Option<Ticks>, label: Labelled) -> bool {
        let _ = (lane, at, label);
        false
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

    /// Takes committed runs, every lane its share; false when there was nothing to take.
    pub(super) fn gather(
        &mut self,
        sink: &mut impl Sink,
        room: usize,
        rules: &Rules,
        aside: AsideSink<'_>,
    ) -> bool {
        self.share_out(room);
        let mut progress = false;
        for index in 0..self.lanes.len() {
            if sink.is_full() && !self.is_behind(index, rules) {
                continue;
            }
            let until = (sink.events() + self.lanes[index].share).min(room);
            progress |= self.gather_from(index, sink, until, rules, aside);
        }
        progress
    }

    /// Whether the watermark waits for this lane.
    fn is_behind(&self, index: usize, rules: &Rules) -> bool {
        self.lanes[index].clock.watermark(rules) <= self.lowest(rules)
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

    /// Takes one lane's committed runs until there are so many events.
    fn gather_from(
        &mut self,
        index: usize,
        sink: &mut impl Sink,
        until: usize,
        rules: &Rules,
        aside: AsideSink<'_>,
    ) -> bool {
        self.lanes[index].tail.reclaim();
        let mut progress = false;
        let mut taken: Option<(u64, u64)> = None;
        let mut events = sink.events();
        loop {
            let lane = &mut self.lanes[index];
            let full = events >= until;
            let Some(note) =
                lane.rest.take().or_else(|| if full { None } else { lane.tail.next() })
            else {
                break;
            };
            if note.mark.is_some() {
                progress = true;
                if self.mark(index, note, sink, rules) {
                    continue;
                }
                break;
            }
            if full {
                lane.rest = Some(note);
                break;
            }
            self.wake(index, rules);
            let lane = &mut self.lanes[index];
            let (from, fits) = (note.from, (until - events) as u64);
            let to = note.to.min(from + fits);
            let (tail, clock) = (&lane.tail, &mut lane.clock);
            // A part of a run has extremes of its own: the time of an event that is gone, and was perhaps set aside,
            // must not move the lane's.
            let whole = to == note.to && !std::mem::take(&mut lane.cut);
            let times = whole.then_some((note.lo, note.hi));
            let part = Part { lane: lane.number, from, to, times, stamp_ns: note.stamp_ns };
            let at = sink.take(&part, (clock, tail), aside);
            if at > from {
                progress = true;
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
            sink.taken(lane.number, range, &mut lane.tail, aside);
        }
        while let Some(gap) = lane.tail.next_gap() {
            remember(&mut self.gaps, gap);
        }
        progress
    }

    /// Takes a mark in; false when the lane stands still at it.
    fn mark(&mut self, index: usize, note: Note, sink: &mut impl Sink, rules: &Rules) -> bool {
        if let Some(label) = Labelled::of(&note) {
            let lane = &mut self.lanes[index];
            let goes_on = sink.label(lane.number, lane.clock.max(), label);
            lane.rest = (!goes_on).then_some(note);
            return goes_on;
        }
        if note.mark == Some(MARK_IDLE) {
            self.raise(rules);
            self.lanes[index].idle = true;
        } else {
            self.wake(index, rules);
            self.lanes[index].clock.advance(note.lo);
        }
        true
    }

    /// A lane that was idle is back, at the watermark.
    fn wake(&mut self, index: usize, rules: &Rules) {
        let lane = &mut self.lanes[index];
        if std::mem::take(&mut lane.idle)
            && let Some(watermark) = self.watermark
        {
            lane.clock.join(watermark, rules);
        }
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

    /// The least watermark of the lanes that count; `None` when there is none, or one had no event yet.
    fn lowest(&self, rules: &Rules) -> Option<Ticks> {
        let active = self.lanes.iter().filter(|lane| !lane.idle);
        active.map(|lane| lane.clock.watermark(rules)).min().flatten()
    }

    /// Moves the watermark up to the least of the lanes that count; whether it moved. It waits for lanes that have had
    /// no event yet.
    pub(super) fn raise(&mut self, rules: &Rules) -> bool {
        let lowest = self.lowest(rules);
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
