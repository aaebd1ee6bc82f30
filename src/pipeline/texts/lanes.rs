//! The lanes of a text pipeline: one event of each in turn, so that a busy one cannot starve the others.

use crate::ring::{Note, Payload, Records, Tail};

/// Where an event comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) id: u64,
    pub(super) lane: u32,
    pub(super) stamp_ns: u64,
}

struct TextLane {
    tail: Tail,
    number: u32,
    /// The run that is being taken, from where it goes on; its first word is the number of records left.
    rest: Option<Note>,
}

impl TextLane {
    /// Hands over the next event; false when there is none now.
    fn next(&mut self, take: &mut impl FnMut(Origin, Payload<'_>)) -> bool {
        while self.rest.is_none() {
            let Some(note) = self.tail.next() else { return false };
            if note.lo == 0 {
                self.tail.skip(note.from, note.to);
            } else {
                self.rest = Some(note);
            }
        }
        let Some(note) = &mut self.rest else { return false };
        let (words, _) = self.tail.words(note.from, note.to);
        let mut records = Records::new(words);
        if let Some(record) = records.next() {
            let origin = Origin { id: record.id, lane: self.number, stamp_ns: note.stamp_ns };
            take(origin, record.payload);
        }
        let at = note.to - records.left() as u64;
        self.tail.skip(note.from, at);
        (note.from, note.lo) = (at, note.lo - 1);
        self.rest.take_if(|note| note.lo == 0);
        true
    }
}

/// All lanes of a text pipeline.
#[derive(Default)]
pub(super) struct TextLanes {
    lanes: Vec<TextLane>,
    opened: u32,
    /// Whose turn it is.
    turn: usize,
    /// What lanes that are gone had counted: events dropped, and handed back.
    gone: (u64, u64),
}

impl TextLanes {
    pub(super) fn open(&mut self, tail: Tail) {
        self.lanes.push(TextLane { tail, number: self.opened, rest: None });
        self.opened += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn tails(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.lanes.iter_mut().map(|lane| &mut lane.tail)
    }

    /// Hands over the next event of the lane whose turn it is, or of the next that has one; false when none has.
    pub(super) fn next(&mut self, mut take: impl FnMut(Origin, Payload<'_>)) -> bool {
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            if self.lanes[self.turn].next(&mut take) {
                return true;
            }
        }
        false
    }

    /// Gives the memory of events taken back to their producers.
    pub(super) fn reclaim(&mut self) {
        for lane in &mut self.lanes {
            lane.tail.reclaim();
        }
    }

    /// Drops the oldest runs of lanes whose producers ask for that.
    pub(super) fn shed(&mut self) {
        for lane in &mut self.lanes {
            if lane.tail.asked() {
                if let Some(rest) = lane.rest.take() {
                    lane.tail.drop_taken(rest);
                }
                while lane.tail.drop_oldest().is_some() {}
            }
            // They are counted; there are no windows to show them.
            while lane.tail.next_gap().is_some() {}
        }
    }

    /// Lets go of lanes that are closed and empty; whether there were any.
    pub(super) fn close(&mut self) -> bool {
        let before = self.lanes.len();
        let gone = &mut self.gone;
        self.lanes.retain(|lane| {
            let over = lane.rest.is_none() && lane.tail.closed();
            if over {
                add(gone, lane);
            }
            !over
        });
        self.lanes.len() < before
    }

    /// Drops all lanes: their producers are told that nobody will make room any more.
    pub(super) fn abandon(&mut self) {
        self.lanes.iter().for_each(|lane| add(&mut self.gone, lane));
        self.lanes.clear();
    }

    /// Events that lanes dropped, and that producers were handed back.
    pub(super) fn counts(&self) -> (u64, u64) {
        let mut counts = self.gone;
        self.lanes.iter().for_each(|lane| add(&mut counts, lane));
        counts
    }
}

fn add(counts: &mut (u64, u64), lane: &TextLane) {
    let stats = lane.tail.stats();
    counts.0 += stats.dropped_newest + stats.dropped_oldest;
    counts.1 += stats.rejected;
}
