//! The key table from the host's side: how full it may be, when it grows, which keys are forgotten.

use super::options::{Options, Query};
use super::programs::{EXPIRE_SLOTS_MAX, Programs};
use super::slots::Slots;
use crate::base::error::Result;
use crate::base::limits::{CHUNK_EVENTS, KEYS_MAX, word};
use crate::base::rng::SplitMix;
use crate::base::time::Ticks;
use crate::device::{Caps, ProgramId, Queue};
use crate::ops::batch::{self, OUT_FIXED, OUT_FREE, OUT_KEYS, OUT_PROBES};
use crate::ops::expire::{EXPIRE_BEFORE, EXPIRE_SLOT, EXPIRE_SLOTS};
use crate::ops::keys::{COUNTS_FREE, COUNTS_LIST, COUNTS_TAKEN, WALK_FROM, WALK_GROUPS, WALK_TO};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// A probe sequence longer than this calls for another seed.
const PROBES_MAX: u32 = 512;
/// How many generations a time to live is told apart in.
const GENERATIONS: u64 = 8;

/// The ids of a query's keys.
pub(super) struct Keyspace {
    dense: Option<u32>,
    /// Ids handed out as of the last batch that retired: one more than the highest.
    high: usize,
    /// Ids among them that are free again, as of then.
    free: usize,
    /// Events of batches in flight, each of which could bring a new key.
    in_flight: usize,
    keys_max: usize,
    /// Ids that key records are there for.
    room: usize,
    slots: usize,
    seed: [u32; 4],
    rng: SplitMix,
    reseed: bool,
    generation: u32,
    ttl: Option<Ticks>,
    /// When each of the latest generations began.
    began: VecDeque<(u32, Ticks)>,
    /// How often the table was rebuilt.
    pub(super) rehashes: u64,
    /// Keys forgotten.
    pub(super) expired: u64,
}

impl Keyspace {
    pub(super) fn new(query: &Query, options: &Options) -> Self {
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(query.stride));
        let mut rng = SplitMix::new(seed);
        Self {
            dense: query.dense,
            high: query.dense.unwrap_or(0) as usize,
            free: 0,
            in_flight: 0,
            keys_max: options.keys_max,
            room: 0,
            slots: 0,
            seed: fresh(&mut rng),
            rng,
            reseed: false,
            generation: 1,
            ttl: query.ttl,
            began: VecDeque::new(),
            rehashes: 0,
            expired: 0,
        }
    }

    /// Keys held.
    pub(super) fn held(&self) -> usize {
        self.high - self.free
    }

    /// Ids handed out as far as is known.
    pub(super) fn known(&self) -> usize {
        self.high
    }

    /// Ids there can be once everything in flight has retired.
    pub(super) fn bound(&self) -> usize {
        if self.dense.is_some() { self.high } else { self.high + self.in_flight }
    }

    /// Ids there can be once a batch of up to `events` has retired too.
    pub(super) fn bound_after(&self, events: usize) -> usize {
        if self.dense.is_some() { self.high } else { self.bound() + events }
    }

    /// Whether a batch of up to `events` needs a quiet device: because the table is about to be rebuilt, or because
    /// only then is it known whether new keys still fit.
    pub(super) fn needs_quiet(&self, events: usize) -> bool {
        let bound = self.bound() + events;
        let grows = bound > self.room || slots_for(self.high, bound) > self.slots || self.reseed;
        self.dense.is_none() && (grows || bound > self.keys_max && self.in_flight > 0)
    }

    /// Makes room for a batch of any size and counts this one's `events` as in flight.
    pub(super) fn reserve(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        programs: &mut Programs,
        options: &Options,
        events: usize,
    ) -> Result<()> {
        if self.dense.is_some() {
            return Ok(());
        }
        let bound = (self.bound() + options.batch_events).max(options.keys).min(KEYS_MAX);
        self.in_flight += events;
        if bound > self.room {
            let room = (bound + bound / 2).next_multiple_of(1024);
            programs.resize(queue, caps, programs.buffers.keys.id, room * programs.record_words)?;
            if programs.paged.expire.is_some() {
                programs.resize(queue, caps, programs.buffers.counts.id, COUNTS_LIST + room)?;
            }
            self.room = room;
        }
        let slots = slots_for(self.high.max(options.keys), bound);
        if slots > self.slots || self.reseed {
            if slots > self.slots {
                programs.resize(queue, caps, programs.buffers.table.id, 2 * slots)?;
                self.slots = slots;
            }
            if self.reseed {
                self.seed = fresh(&mut self.rng);
                self.reseed = false;
            }
            self.rehash(queue, programs)?;
        }
        Ok(())
    }

    /// Rebuilds the table from the key records.
    fn rehash(&mut self, queue: &mut dyn Queue, programs: &mut Programs) -> Result<()> {
        let zero = programs.zero(queue)?;
        run(queue, zero, &[0])?;
        let mut head = [0; batch::FIXED];
        self.write_head(&mut head);
        head[WALK_FROM] = 0;
        head[WALK_TO] = self.ids_u32();
        head[WALK_GROUPS] = head[WALK_TO].div_ceil(word(CHUNK_EVENTS));
        run(queue, programs.rehash.expect("hashed keys"), &head)?;
        self.rehashes += 1;
        Ok(())
    }

    fn ids_u32(&self) -> u32 {
        u32::try_from(self.high).expect("KEYS_MAX fits")
    }

    /// The words of an ingest header that the key kernels read.
    pub(super) fn write_head(&self, head: &mut [u32]) {
        head[batch::TABLE_MASK] =
            u32::try_from(self.slots.saturating_sub(1)).expect("a table's slots fit");
        head[batch::SEED..batch::SEED + 4].copy_from_slice(&self.seed);
        head[batch::FROZEN] = u32::from(self.dense.is_none() && self.held() >= self.keys_max);
        head[batch::GENERATION] = self.generation;
        head[batch::DENSE_KEYS] = self.dense.unwrap_or(0);
        head[batch::IDS_KNOWN] = self.ids_u32();
    }

    /// A batch of `events` has retired and reported `out`: nothing when no event reached a kernel.
    pub(super) fn retired(&mut self, events: usize, out: &[u32]) {
        if self.dense.is_some() {
            return;
        }
        self.in_flight -= events;
        if out.len() >= OUT_FIXED {
            self.high = self.high.max(out[OUT_KEYS] as usize);
            self.free = out[OUT_FREE] as usize;
            self.reseed |= out[OUT_PROBES] > PROBES_MAX;
        }
    }

    /// Whether keys may have become old enough to be forgotten, now that the watermark stands here.
    pub(super) fn expiry_due(&mut self, watermark: Ticks) -> bool {
        let Some(ttl) = self.ttl else { return false };
        let Some(&(_, latest)) = self.began.back() else {
            self.began.push_back((self.generation, watermark));
            return false;
        };
        if watermark - latest < (ttl / GENERATIONS).max(1) {
            return false;
        }
        self.generation += 1;
        self.began.push_back((self.generation, watermark));
        self.began.front().is_some_and(|&(_, first)| watermark - first > ttl)
    }

    /// Forgets keys last seen in a generation that ended more than a time to live ago. Nothing may be in flight.
    pub(super) fn expire(
        &mut self,
        queue: &mut dyn Queue,
        programs: &mut Programs,
        slots: &Slots,
        watermark: Ticks,
    ) -> Result<()> {
        let (Some(ttl), Some(program)) = (self.ttl, programs.paged.expire) else { return Ok(()) };
        // A generation is over when the next one begins.
        let over =
            |w: &VecDeque<(u32, Ticks)>| w.get(1).is_some_and(|&(_, next)| watermark - next > ttl);
        while over(&self.began) {
            self.began.pop_front();
        }
        let live: Vec<u32> = slots.opened().collect();
        let before = self.began.front().map_or(0, |&(generation, _)| generation);
        if live.len() > EXPIRE_SLOTS_MAX || before <= 1 {
            return Ok(());
        }
        let mut counts = [0; COUNTS_LIST];
        queue.read(programs.buffers.counts.id, 0, &mut counts)?;
        let free_before = counts[COUNTS_FREE].saturating_sub(counts[COUNTS_TAKEN]);
        queue.write(programs.buffers.counts.id, 0, &[self.ids_u32(), 0, 0, 0])?;
        let mut head = vec![0; EXPIRE_SLOT + 2 * live.len()];
        head[WALK_TO] = self.ids_u32();
        head[WALK_GROUPS] = head[WALK_TO].div_ceil(word(CHUNK_EVENTS));
        head[EXPIRE_BEFORE] = before;
        head[EXPIRE_SLOTS] = u32::try_from(live.len()).expect("limited");
        let named = head[EXPIRE_SLOT..].as_chunks_mut().0;
        for (words, slot) in named.iter_mut().zip(&live) {
            *words = slots.words(*slot);
        }
        run(queue, program, &head)?;
        queue.read(programs.buffers.counts.id, 0, &mut counts)?;
        self.expired += u64::from(counts[COUNTS_FREE].saturating_sub(free_before));
        self.free = counts[COUNTS_FREE] as usize;
        self.rehash(queue, programs)
    }

    /// Bytes of the table and the key records.
    pub(super) fn bytes(&self, programs: &Programs) -> u64 {
        (2 * self.slots + self.room * programs.record_words) as u64 * 4
    }
}

/// A table for so many keys there are and so many there can be: at most half full now, a quarter while it stays in a
/// cache, and not quite full even if every event in flight brings a new key.
fn slots_for(keys: usize, bound: usize) -> usize {
    let sparse = if keys <= 1 << 16 { 8 } else { 2 };
    (sparse * keys).max(bound + bound / 8).next_power_of_two().max(1024)
}

fn fresh(rng: &mut SplitMix) -> [u32; 4] {
    [0; 4].map(|_| batch::lo(rng.next_u64()))
}

/// Runs a rare program to its end. Nothing else may be in flight.
fn run(queue: &mut dyn Queue, program: ProgramId, head: &[u32]) -> Result<()> {
    let ticket = queue.submit(program, head, Vec::new())?;
    queue.flush()?;
    loop {
        match queue.poll()? {
            Some(done) if done.ticket == ticket => return Ok(()),
            Some(_) => debug_assert!(false, "a rare program runs alone"),
            None => std::thread::yield_now(),
        }
    }
}
