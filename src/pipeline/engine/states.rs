//! States of keys on their way out of the device and back: forgotten, copied, restored.

use super::super::scores::Scored;
use super::super::states::{Kind, States};
use super::Engine;
use crate::base::error::{Error, Result};
use crate::base::limits::BLOCK_IDS;
use crate::ops::label;

/// What a pipeline is asked to do between two batches; the answer goes back by the sender.
pub(in super::super) enum Errand {
    /// Copy the states of all keys.
    States(std::sync::mpsc::Sender<Result<States>>),
    /// Take these in.
    Restore(Box<States>, std::sync::mpsc::Sender<Result<()>>),
}

fn no_states() -> Error {
    Error::invalid("states: only Scores have them")
}

impl Errand {
    /// The answer of pipelines whose keys have no states.
    pub(in super::super) fn refuse(self) {
        // Who asked may have gone.
        match self {
            Self::States(answer) => drop(answer.send(Err(no_states()))),
            Self::Restore(_, answer) => drop(answer.send(Err(no_states()))),
        }
    }
}

impl Engine {
    /// Does what was asked. Only the device's own errors end the pipeline.
    pub(in super::super) fn run_errand(&mut self, errand: Errand) -> Result<()> {
        // Who asked may have gone.
        match errand {
            Errand::States(answer) => {
                let states = fatal(self.states())?;
                let _ = answer.send(states);
            }
            Errand::Restore(states, answer) => {
                let done = fatal(self.restore(&states))?;
                let _ = answer.send(done);
            }
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind> {
        let scores = self.query.scores.as_ref();
        scores.map(|scores| scores.kind).ok_or_else(no_states)
    }

    /// Copies the states of all keys that have one.
    pub(in super::super) fn states(&mut self) -> Result<States> {
        let mut states = States::new(self.kind()?);
        self.quiet()?;
        self.sync_slots()?;
        let keys = self.keys.list(&mut *self.queue, &self.programs)?;
        self.visit(keys.iter().map(|&(id, _)| id), |i, state| {
            if state.iter().any(|&word| word != 0) {
                states.push(keys[i].1, state);
            }
            false
        })?;
        Ok(states)
    }

    /// Takes states in: their keys go on from there, whatever was learnt of them here.
    pub(in super::super) fn restore(&mut self, states: &States) -> Result<()> {
        let kind = self.kind()?;
        if states.kind() != kind {
            return Err(Error::invalid(format!(
                "restore: states of {}, not of {kind}",
                states.kind()
            )));
        }
        if states.is_empty() {
            return Ok(());
        }
        self.quiet()?;
        let Self { keys, queue, caps, programs, options, places, .. } = self;
        let ids = keys.admit(&mut **queue, (caps, programs, options), states.keys())?;
        // The slot that all events go to has rows for all of them.
        let slot = places.slice(0);
        places.slots.count(slot, 0);
        places.slots.reserve(keys.bound(), keys.bound(), programs);
        self.sync_slots()?;
        // The last state of a key comes last.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&i| ids[i]);
        let all: Vec<&[u32]> = states.iter().map(|(_, state)| state).collect();
        self.visit(order.iter().map(|&i| ids[i]), |i, state| {
            state.copy_from_slice(all[order[i]]);
            true
        })
    }

    /// Forgets keys that are old or too many; their states go where the consumer of results finds them. Nothing may be
    /// in flight.
    pub(super) fn forget(&mut self) -> Result<()> {
        let mut states = States::new(self.kind()?);
        self.sync_slots()?;
        let Self { keys, queue, programs, .. } = self;
        let gone = keys.forget(&mut **queue, programs, self.watermark)?;
        if gone.is_empty() {
            return Ok(());
        }
        let room = self.outbox.room_for_states();
        let mut lost = 0;
        self.visit(gone.iter().map(|&(id, _)| id), |i, state| {
            if states.bytes() + 4 * state.len() <= room {
                states.push(gone[i].1, state);
            } else {
                lost += 1;
            }
            state.fill(0);
            true
        })?;
        self.stats.states_lost += lost;
        self.outbox.put_states(states);
        Ok(())
    }

    /// Takes in the labels at which lanes stand. Nothing may be in flight.
    pub(super) fn take_labels(&mut self) -> Result<bool> {
        let labels = self.lanes.take_labels();
        self.sync_slots()?;
        let rate = self.query.scores.as_ref().map_or(0.0, Scored::rate);
        let mut named = Vec::new();
        for label in labels.iter().filter(|_| self.query.scores.is_some()) {
            let id = self.keys.find(&mut *self.queue, &self.programs, label.key)?;
            named.extend(id.map(|id| (id, *label)));
        }
        // Those of a key stay in order.
        named.sort_by_key(|&(id, _)| id);
        let mut taken = 0;
        self.visit(named.iter().map(|&(id, _)| id), |i, state| {
            label::apply(state, rate, named[i].1.label);
            taken += 1;
            true
        })?;
        self.stats.labels += taken;
        self.stats.labels_unknown += labels.len() as u64 - taken;
        Ok(true)
    }

    /// Visits the states of these ids, which ascend, with their places among them; those that `visit` says it changed
    /// are written back. Keys without rows, since no batch has named any yet, are passed over.
    fn visit(
        &mut self,
        ids: impl Iterator<Item = u32>,
        mut visit: impl FnMut(usize, &mut [u32]) -> bool,
    ) -> Result<()> {
        let Some(&slot) = self.places.slices.get(&0) else { return Ok(()) };
        let ids: Vec<u32> = ids.collect();
        let column = |id: u32| id as usize / BLOCK_IDS;
        let (group, per_page) = (&self.programs.groups[0], self.programs.page_blocks());
        let words = group.layout.words;
        let mut rows = vec![0; group.block_words()];
        let mut at = 0;
        for together in ids.chunk_by(|&a, &b| column(a) == column(b)) {
            let block = self.places.slots.block(slot, column(together[0]));
            if let Some(block) = block.filter(|&block| self.programs.has_block(block)) {
                let (page, within) = (block as usize / per_page, block as usize % per_page);
                let (buffer, from) = (group.pages[page].id, within * rows.len());
                self.queue.read(buffer, from, &mut rows)?;
                let mut changed = false;
                for (i, &id) in together.iter().enumerate() {
                    let row = &mut rows[id as usize % BLOCK_IDS * words..][..words];
                    changed |= visit(at + i, row);
                }
                if changed {
                    self.queue.write(buffer, from, &rows)?;
                }
            }
            at += together.len();
        }
        Ok(())
    }
}

/// Sorts errors: those of the request are its answer, those of the device are the end.
fn fatal<T>(done: Result<T>) -> Result<Result<T>> {
    match done {
        Err(error @ (Error::DeviceLost { .. } | Error::Source { .. })) => Err(error),
        done => Ok(done),
    }
}
