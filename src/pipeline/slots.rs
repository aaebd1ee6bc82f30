//! Accumulator slots: which slice or window owns which, and which blocks of rows they own.
//!
//! A slot is a place for one row of every key. Its rows lie in blocks of 1,024 ids, and the block map says
//! which, so that slots come and go and keys grow without a row being moved.

use super::programs::Programs;
use crate::base::error::Result;
use crate::base::limits::{BLOCK_IDS, CHUNK_EVENTS};
use crate::device::{Caps, Queue};
use crate::ops::fold::NO_BLOCK;

/// One open slot.
#[derive(Debug, Default)]
struct Slot {
    /// Its blocks, by id / `BLOCK_IDS`.
    blocks: Vec<u32>,
    /// Events it has taken, of all keys together.
    events: u64,
    open: bool,
}

/// All slots of a query.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    free_blocks: Vec<u32>,
    blocks: u32,
    /// Blocks that the rows buffers have room for.
    room: usize,
    /// Entries of the map for each slot.
    stride: usize,
    /// Slots in use.
    open: usize,
    /// Slots opened since the device was told, and the most there ever were.
    new: usize,
    new_max: usize,
    /// Ids that every open slot has blocks for, at least.
    ids: usize,
    /// Whether the device's map is out of date.
    changed: bool,
    words: Vec<u32>,
}

impl Slots {
    /// Opens an empty slot.
    pub(super) fn open(&mut self) -> u32 {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("few slots")
        });
        let blocks = self.ids.div_ceil(BLOCK_IDS);
        self.slots[slot as usize].open = true;
        (self.open, self.new) = (self.open + 1, self.new + 1);
        self.changed = true;
        self.give(slot, blocks);
        slot
    }

    /// Closes a slot whose rows have been cleared on the device.
    pub(super) fn close(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        // The last is given out first: so that the next slot has them in this order again, which is cheaper to walk.
        self.free_blocks.extend(s.blocks.drain(..).rev());
        (s.open, s.events) = (false, 0);
        self.free_slots.push(slot);
        self.open -= 1;
        self.changed = true;
    }

    /// Makes sure that every open slot has rows for `ids` keys.
    pub(super) fn reserve(&mut self, ids: usize) {
        let had = self.ids;
        // It may fall: what is in flight could have brought more new keys than it did. Slots opened from now on are
        // that much smaller.
        self.ids = ids.max(1).next_multiple_of(BLOCK_IDS);
        if self.ids <= had {
            return;
        }
        let blocks = self.ids / BLOCK_IDS;
        for slot in 0..self.slots.len() {
            if self.slots[slot].open {
                self.give(u32::try_from(slot).expect("few slots"), blocks);
            }
        }
    }

    fn give(&mut self, slot: u32, blocks: usize) {
        let have = self.slots[slot as usize].blocks.len();
        for _ in have..blocks {
            let block = self.free_blocks.pop().unwrap_or_else(|| {
                self.blocks += 1;
                self.blocks - 1
            });
            self.slots[slot as usize].blocks.push(block);
            self.changed = true;
        }
    }

    /// Counts events into a slot and says how many it has taken.
    pub(super) fn count(&mut self, slot: u32, events: u64) -> u64 {
        let taken = &mut self.slots[slot as usize].events;
        *taken += events;
        *taken
    }

    /// Events a slot has taken.
    pub(super) fn events(&self, slot: u32) -> u64 {
        self.slots[slot as usize].events
    }

    /// The events, `room` at most, that a batch may have so that rows for all keys it could bring, `bound` of them in
    /// all, fit one binding for every open slot and as many more as a batch is known to open.
    pub(super) fn largest(
        &self,
        room: usize,
        bound: impl Fn(usize) -> usize,
        caps: &Caps,
        programs: &Programs,
    ) -> usize {
        let slots = self.open + self.new_max + 4;
        let fit = |room| {
            let blocks = slots * bound(room).div_ceil(BLOCK_IDS);
            blocks.saturating_mul(programs.block_words()) <= caps.bind_words_max
        };
        let mut room = room;
        while room > CHUNK_EVENTS && !fit(room) {
            room /= 2;
        }
        room
    }

    /// The slots in use.
    pub(super) fn opened(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.slots).filter(|(_, s)| s.open).map(|(i, _)| i)
    }

    /// Entries of the block map for each slot.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Words of all rows and of the map.
    pub(super) fn bytes(&self, programs: &Programs) -> u64 {
        let words: usize = programs.groups.iter().map(|g| g.layout.words).sum();
        (self.room * BLOCK_IDS * words + self.words.len()) as u64 * 4
    }

    /// Brings the device's rows and block map up to date.
    pub(super) fn sync(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        programs: &mut Programs,
    ) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        (self.new_max, self.new) = (self.new_max.max(self.new), 0);
        let blocks = self.blocks as usize;
        if blocks > self.room {
            // Half as much again, so that growing costs a constant share.
            let mut room = (blocks + blocks / 2).max(4);
            let words_max = programs.block_words();
            if room * words_max > caps.bind_words_max {
                room = (caps.bind_words_max / words_max).max(blocks);
            }
            for g in 0..programs.groups.len() {
                let (id, words) = (programs.groups[g].rows.id, programs.groups[g].layout.words);
                programs.resize(queue, caps, id, room * BLOCK_IDS * words)?;
            }
            self.room = room;
        }
        self.stride = self.ids.div_ceil(BLOCK_IDS).max(self.stride).next_power_of_two();
        self.words.clear();
        self.words.resize(self.slots.len() * self.stride, NO_BLOCK);
        for (slot, map) in self.slots.iter().zip(self.words.chunks_exact_mut(self.stride)) {
            map[..slot.blocks.len()].copy_from_slice(&slot.blocks);
        }
        let map = programs.map.id;
        let have = programs.memory.decl(map).map_or(0, |d| d.words);
        if self.words.len() > have {
            programs.resize(queue, caps, map, self.words.len().next_power_of_two().max(4))?;
        }
        queue.write(map, 0, &self.words)?;
        self.changed = false;
        Ok(())
    }
}
