//! Accumulator slots: which slice or window owns which, and which blocks of rows they own.
//!
//! A slot is a place for one row of every key. It has blocks only for the ids that its events can have: a batch in
//! flight may bring as many new keys as it has events, so the slots it names have rows for all of those. A slot that
//! closes keeps its blocks for the next window, whose part of the map is then written already. What is kept so, or was
//! made for keys that did not come, is given back when others need it.

use super::blocks::Blocks;
use super::fire::Named;
use super::map::{Map, Part};
use super::programs::Programs;
use crate::base::error::{Error, Result};
use crate::base::limits::{BLOCK_IDS, CHUNK_EVENTS, word};
use crate::device::{Caps, Queue};
use crate::ops::keys::{WALK_FROM, WALK_GROUPS, WALK_TO};
use crate::ops::merge::{WALK_INTO, WALK_SLOT, WALK_SLOTS, WALK_WORDS};
use crate::ops::page::{self, NO_BLOCK, NO_SLOT};

/// One slot.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Its blocks, by id / `BLOCK_IDS`; their rows are empty while it is closed.
    blocks: Vec<u32>,
    part: Part,
    /// Events it has taken, of all keys together.
    events: u64,
    open: bool,
    /// Whether the batch under construction names it.
    named: bool,
}

/// All slots of a query.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    blocks: Blocks,
    map: Map,
    /// Slots in use.
    open: usize,
    /// Blocks that a slot can need: those of all ids there can be, without the batch under construction and with it.
    most: [usize; 2],
    /// Slots that the batch under construction names, and the most that one ever did.
    named: Vec<u32>,
    named_max: usize,
    /// Whether some page had too few blocks, so that all must be laid out anew.
    crowded: bool,
}

impl Slots {
    /// None, on a device whose pages hold so many blocks.
    pub(super) fn new(per_page: usize) -> Self {
        Self { blocks: Blocks::new(per_page), ..Self::default() }
    }

    /// Opens an empty slot.
    pub(super) fn open(&mut self) -> u32 {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            word(self.slots.len() - 1)
        });
        self.slots[slot as usize].open = true;
        self.open += 1;
        slot
    }

    /// Closes a slot whose rows have been cleared on the device.
    pub(super) fn close(&mut self, slot: u32) {
        let s = &mut self.slots[slot as usize];
        (s.open, s.events) = (false, 0);
        self.free_slots.push(slot);
        self.open -= 1;
    }

    /// Makes sure that the slots which the batch names have rows for all ids there can be with it; others need them for
    /// those there can be without it.
    pub(super) fn reserve(&mut self, without: usize, with: usize, programs: &Programs) {
        self.most = [without, with].map(|ids| ids.div_ceil(BLOCK_IDS));
        let blocks = self.most[1];
        self.named_max = self.named_max.max(self.named.len());
        let lacks = |&slot: &u32| blocks.saturating_sub(self.slots[slot as usize].blocks.len());
        let lacking: usize = self.named.iter().map(lacks).sum();
        if lacking > self.blocks.free() + programs.blocks_free(self.blocks.used()) {
            self.reclaim();
        }
        for i in 0..self.named.len() {
            self.give(self.named[i], blocks);
        }
        for slot in self.named.drain(..) {
            self.slots[slot as usize].named = false;
        }
        self.most[0] = blocks;
    }

    /// Makes sure that the slot which takes others in has blocks wherever they have rows; one more than the highest id
    /// that any of them has.
    pub(super) fn combine(&mut self, (into, slots): Named) -> usize {
        let all = slots.into_iter().flatten().chain(into);
        let blocks = all.map(|slot| self.slots[slot as usize].blocks.len()).max().unwrap_or(0);
        let blocks = blocks.min(self.most[0]);
        if let Some(into) = into {
            self.give(into, blocks);
        }
        blocks * BLOCK_IDS
    }

    /// The header of a walk over the ids `[from, to)` of these slots.
    pub(super) fn walk(
        &self,
        (into, slots): Named,
        (from, to): (usize, usize),
    ) -> [u32; WALK_WORDS] {
        let mut head = [0; WALK_WORDS];
        head[WALK_GROUPS] = word((to - from).div_ceil(CHUNK_EVENTS));
        (head[WALK_FROM], head[WALK_TO]) = (word(from), word(to));
        let into = into.map_or(NO_SLOT, |slot| self.words(slot));
        head[WALK_INTO..WALK_INTO + 2].copy_from_slice(&into);
        for slot in slots.into_iter().flatten() {
            let at = WALK_SLOT + 2 * head[WALK_SLOTS] as usize;
            head[at..at + 2].copy_from_slice(&self.words(slot));
            head[WALK_SLOTS] += 1;
        }
        head
    }

    /// Takes back what closed slots kept, and what lies beyond all keys that there can be: what was in flight brought
    /// fewer than it could have.
    fn reclaim(&mut self) {
        for s in &mut self.slots {
            let keep = if s.open { self.most[usize::from(s.named)].min(s.blocks.len()) } else { 0 };
            if s.blocks.len() > keep {
                self.blocks.give(&s.blocks[keep..]);
                s.blocks.truncate(keep);
                self.map.put(&mut s.part, keep, &s.blocks);
            }
        }
    }

    fn give(&mut self, slot: u32, blocks: usize) {
        let have = self.slots[slot as usize].blocks.len();
        for column in have..blocks {
            let block = self.blocks.take(column, self.open).or_else(|| {
                self.reclaim();
                self.blocks.take(column, self.open)
            });
            self.crowded |= block.is_none();
            self.slots[slot as usize].blocks.push(block.unwrap_or(NO_BLOCK));
        }
        if blocks > have {
            let s = &mut self.slots[slot as usize];
            self.map.put(&mut s.part, have, &s.blocks);
        }
    }

    /// Counts events of the batch under construction into a slot.
    pub(super) fn count(&mut self, slot: u32, events: u64) {
        let s = &mut self.slots[slot as usize];
        s.events += events;
        if !s.named {
            s.named = true;
            self.named.push(slot);
        }
    }

    /// Events a slot has taken.
    pub(super) fn events(&self, slot: u32) -> u64 {
        self.slots[slot as usize].events
    }

    /// The slot as headers name it.
    pub(super) fn words(&self, slot: u32) -> page::Slot {
        let s = &self.slots[slot as usize];
        [word(s.part.at), word(s.blocks.len())]
    }

    /// The block of a slot that has the rows of these ids, by id / `BLOCK_IDS`.
    pub(super) fn block(&self, slot: u32, column: usize) -> Option<u32> {
        let block = self.slots[slot as usize].blocks.get(column).copied();
        block.filter(|&block| block != NO_BLOCK)
    }

    /// The events, `room` at most, that a batch may have so that rows for the keys it could bring, of which `new` are
    /// not known yet, fit one binding for as many slots as a batch is known to name.
    pub(super) fn largest(
        &self,
        room: usize,
        new: impl Fn(usize) -> usize,
        caps: &Caps,
        programs: &Programs,
    ) -> usize {
        let slots = self.named_max + 4;
        let fit = |room| {
            let blocks = slots * new(room).div_ceil(BLOCK_IDS);
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

    /// Bytes of all rows and of the map.
    pub(super) fn bytes(&self, programs: &Programs) -> u64 {
        (programs.rows_words() + self.map.words()) as u64 * 4
    }

    /// Whether a page has too few blocks for the slots there are.
    pub(super) const fn crowded(&self) -> bool {
        self.crowded
    }

    /// The same slots with their blocks laid out in pages of so many, for a device that knows nothing yet; and which
    /// block becomes which, in the order of ours.
    pub(super) fn laid_out(
        &self,
        per_page: usize,
        device: &str,
    ) -> Result<(Self, Vec<(u32, u32)>)> {
        let mut there = Self {
            blocks: Blocks::new(per_page),
            map: Map::default(),
            crowded: false,
            ..self.clone()
        };
        let mut moves = Vec::new();
        for s in there.slots.iter_mut().filter(|s| s.open) {
            for (column, block) in s.blocks.iter_mut().enumerate() {
                let Some(new) = there.blocks.take(column, self.open) else {
                    return Err(Error::unsupported(
                        device,
                        format!(
                            "{} windows or slices are open, one binding has rows for {per_page} of them: a shorter \
                             lateness or disorder, fewer slices in a window, or another device",
                            self.open
                        ),
                    ));
                };
                if *block != NO_BLOCK {
                    moves.push((*block, new));
                }
                *block = new;
            }
            s.part = Part::default();
            there.map.put(&mut s.part, 0, &s.blocks);
        }
        for s in there.slots.iter_mut().filter(|s| !s.open) {
            (s.part, s.blocks) = (Part::default(), Vec::new());
        }
        moves.sort_unstable();
        Ok((there, moves))
    }

    /// Brings the device's rows and block map up to date.
    pub(super) fn sync(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        programs: &mut Programs,
    ) -> Result<()> {
        programs.provide(queue, caps, self.blocks.used())?;
        self.map.sync(queue, caps, programs)
    }
}
