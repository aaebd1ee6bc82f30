//! Key records in the host's hands, while the device is quiet: whose they are, which keys go, which come from outside.
//!
//! All of this is rare, so it reads and writes the records themselves and needs no kernel.

use super::super::options::Options;
use super::super::programs::Programs;
use super::{Keyspace, aged_before, list_room};
use crate::base::error::{Error, Result};
use crate::base::limits::word;
use crate::base::time::Ticks;
use crate::device::{Caps, Queue};
use crate::ops::batch::{hi, join, lo};
use crate::ops::keys::{COUNTS_BASE, COUNTS_FILL, COUNTS_FREE, COUNTS_LIST, COUNTS_TAKEN, hash};
use std::collections::{BTreeMap, HashMap};

/// Records read at a time.
const PIECE: usize = 1 << 15;
/// The share of all keys that makes room when there are too many: one in so many.
const EVICTED: usize = 8;

/// The key of a record.
fn key_of(record: &[u32]) -> u64 {
    if record.len() == 4 { join(record[0], record[1]) } else { record[0].into() }
}

/// The generation of a record, 0 when its id is free.
fn generation(record: &mut [u32]) -> &mut u32 {
    &mut record[record.len() / 2]
}

impl Keyspace {
    /// Events of a generation, when keys make room for others: so few that a generation cannot bring much more than the
    /// share that goes at a time.
    pub(super) fn generation_events(&self) -> usize {
        (self.keys_max / EVICTED).max(1)
    }

    /// Visits the record of every id; those that `visit` says it changed are written back.
    fn visit(
        &self,
        queue: &mut dyn Queue,
        programs: &Programs,
        mut visit: impl FnMut(u32, &mut [u32]) -> bool,
    ) -> Result<()> {
        let (words, page) = (programs.record_words, programs.page_ids());
        let mut piece = vec![0; PIECE.min(self.high) * words];
        let mut id = 0;
        while id < self.high {
            let ids = PIECE.min(page - id % page).min(self.high - id);
            let piece = &mut piece[..ids * words];
            let (buffer, at) = (programs.buffers.records[id / page].id, id % page * words);
            queue.read(buffer, at, piece)?;
            let mut changed = false;
            for (i, record) in piece.chunks_exact_mut(words).enumerate() {
                changed |= visit(word(id + i), record);
            }
            if changed {
                queue.write(buffer, at, piece)?;
            }
            id += ids;
        }
        Ok(())
    }

    /// Each id that has a key, with it, ascending. A dense key is its id.
    pub(in super::super) fn list(
        &self,
        queue: &mut dyn Queue,
        programs: &Programs,
    ) -> Result<Vec<(u32, u64)>> {
        if let Some(dense) = self.dense {
            return Ok((0..dense).map(|id| (id, id.into())).collect());
        }
        let mut keys = Vec::with_capacity(self.held());
        self.visit(queue, programs, |id, record| {
            if *generation(record) != 0 {
                keys.push((id, key_of(record)));
            }
            false
        })?;
        Ok(keys)
    }

    /// The id of a key, if it has one. Nothing may be in flight.
    pub(in super::super) fn find(
        &self,
        queue: &mut dyn Queue,
        programs: &Programs,
        key: u64,
    ) -> Result<Option<u32>> {
        let [low, high] = [lo(key), hi(key)];
        if let Some(dense) = self.dense {
            return Ok((key < dense.into()).then_some(low));
        }
        let words = programs.record_words;
        if self.slots == 0 || words == 2 && high != 0 {
            return Ok(None);
        }
        let slots = self.slots.min(self.page_slots);
        let home = hash(&self.seed, low, high) as usize & (self.slots - 1);
        let (table, home) = (programs.buffers.table[home / slots].id, home % slots);
        let mut slot = vec![0; words];
        for i in 0..slots {
            queue.read(table, (home + i) % slots * words, &mut slot)?;
            if slot[0] == 0 {
                return Ok(None);
            }
            if slot[1] == low && (words == 2 || slot[2] == high) {
                return Ok(Some(slot[0] - 1));
            }
        }
        Ok(None)
    }

    /// Takes ids away from keys that have not been seen for their time to live, and where there are too many, from an
    /// eighth of them, those of the oldest generations. Returns them ascending; their rows are to be cleared before the
    /// next batch.
    pub(in super::super) fn forget(
        &mut self,
        queue: &mut dyn Queue,
        programs: &mut Programs,
        watermark: Option<Ticks>,
    ) -> Result<Vec<(u32, u64)>> {
        self.due = false;
        let mut before = match (self.ttl, watermark) {
            (Some(ttl), Some(watermark)) => aged_before(&mut self.began, ttl, watermark),
            _ => 0,
        };
        if self.evict && self.held() >= self.keys_max {
            before = before.max(self.before_of_oldest(queue, programs)?);
        }
        let mut free = self.free_list(queue, programs)?;
        let room = list_room(programs);
        let mut gone = Vec::new();
        // Long before generations run out they begin anew: who stays was seen just now.
        let anew = self.generation >= super::GENERATION_MAX;
        self.visit(queue, programs, |id, record| {
            let key = key_of(record);
            let generation = generation(record);
            let is_old = *generation != 0 && *generation < before;
            if is_old && free.len() < room {
                free.push(id);
                gone.push((id, key));
                *generation = 0;
                return true;
            }
            let renewed = anew && *generation != 0;
            *generation = if renewed { 1 } else { *generation };
            renewed
        })?;
        if anew {
            self.generation = 1;
            self.began.clear();
        }
        if gone.is_empty() {
            return Ok(gone);
        }
        self.write_free_list(queue, programs, &free)?;
        self.expired += gone.len() as u64;
        self.rehash(queue, programs)?;
        self.reseed |= self.is_uneven();
        Ok(gone)
    }

    /// The generation before which the keys lie that have to go, so that there is room.
    fn before_of_oldest(&self, queue: &mut dyn Queue, programs: &Programs) -> Result<u32> {
        let mut keys_of = BTreeMap::new();
        self.visit(queue, programs, |_, record| {
            *keys_of.entry(*generation(record)).or_insert(0) += 1;
            false
        })?;
        keys_of.remove(&0);
        let mut too_many = self.held() - self.keys_max + self.generation_events();
        let mut before = 0;
        for (generation, keys) in keys_of {
            if too_many == 0 {
                break;
            }
            before = generation + 1;
            too_many = too_many.saturating_sub(keys);
        }
        Ok(before)
    }

    /// The ids that are free.
    fn free_list(&self, queue: &mut dyn Queue, programs: &Programs) -> Result<Vec<u32>> {
        let counts = programs.buffers.counts.id;
        let mut head = [0; COUNTS_FILL];
        queue.read(counts, 0, &mut head)?;
        let taken = head[COUNTS_TAKEN].min(head[COUNTS_FREE]) as usize;
        let mut free = vec![0; head[COUNTS_FREE] as usize - taken];
        if !free.is_empty() {
            queue.read(counts, COUNTS_LIST + taken, &mut free)?;
        }
        Ok(free)
    }

    fn write_free_list(
        &mut self,
        queue: &mut dyn Queue,
        programs: &Programs,
        free: &[u32],
    ) -> Result<()> {
        let counts = programs.buffers.counts.id;
        let mut head = [0; COUNTS_FILL];
        (head[COUNTS_BASE], head[COUNTS_FREE]) = (self.ids_u32(), word(free.len()));
        queue.write(counts, 0, &head)?;
        if !free.is_empty() {
            queue.write(counts, COUNTS_LIST, free)?;
        }
        self.free = free.len();
        Ok(())
    }

    /// Sees to it that these keys have ids, and returns them in their order. Nothing changes when there is no room.
    pub(in super::super) fn admit(
        &mut self,
        queue: &mut dyn Queue,
        (caps, programs, options): (&Caps, &mut Programs, &Options),
        keys: &[u64],
    ) -> Result<Vec<u32>> {
        let past = match self.dense {
            Some(dense) => dense.into(),
            None if programs.record_words == 2 => 1 << 32,
            None => u128::from(u64::MAX) + 1,
        };
        if let Some(key) = keys.iter().find(|&&key| u128::from(key) >= past) {
            let (key, accepted) = (format_args!("key {key}"), format_args!("keys below {past}"));
            return Err(Error::out_of_range("restore", key, accepted));
        }
        if self.dense.is_some() {
            return Ok(keys.iter().map(|&key| lo(key)).collect());
        }
        let mut ids: HashMap<u64, Option<u32>> = keys.iter().map(|&key| (key, None)).collect();
        // Where keys make room for others, those that come now are the last to go.
        self.generation += u32::from(self.evict);
        let now = self.generation;
        self.visit(queue, programs, |id, record| {
            let key = key_of(record);
            let generation = generation(record);
            let Some(known) = ids.get_mut(&key).filter(|_| *generation != 0) else { return false };
            *known = Some(id);
            *generation = now;
            true
        })?;
        let new = ids.values().filter(|id| id.is_none()).count();
        if !self.evict && self.held() + new > self.keys_max {
            let (held, most) = (self.held(), self.keys_max);
            return Err(Error::invalid(format!(
                "restore: {new} new keys on top of {held}; Options::keys_max is {most}"
            )));
        }
        if new > 0 {
            self.reserve(queue, caps, programs, options, new)?;
            self.in_flight -= new;
            self.insert(queue, programs, keys, &mut ids)?;
        }
        Ok(keys.iter().map(|key| ids[key].expect("every key has an id by now")).collect())
    }

    /// Gives ids to those keys that have none.
    fn insert(
        &mut self,
        queue: &mut dyn Queue,
        programs: &mut Programs,
        keys: &[u64],
        ids: &mut HashMap<u64, Option<u32>>,
    ) -> Result<()> {
        let mut free = self.free_list(queue, programs)?;
        let mut key_at = HashMap::new();
        for key in keys {
            let id = ids.get_mut(key).expect("all are there");
            if id.is_none() {
                let next = free.pop().unwrap_or_else(|| {
                    self.high += 1;
                    word(self.high - 1)
                });
                *id = Some(next);
                key_at.insert(next, *key);
            }
        }
        let now = self.generation;
        self.visit(queue, programs, |id, record| {
            let Some(&key) = key_at.get(&id) else { return false };
            record[0] = lo(key);
            if record.len() == 4 {
                record[1] = hi(key);
            }
            *generation(record) = now;
            true
        })?;
        self.write_free_list(queue, programs, &free)?;
        self.rehash(queue, programs)?;
        self.reseed |= self.is_uneven();
        Ok(())
    }
}
