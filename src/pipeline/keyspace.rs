//! The key table from the host's side: how full it may be, when it grows, which keys are forgotten.
//!
//! A table of several pages is as full as its fullest page: keys are spread by a seeded hash, so pages fill alike, but
//! nothing promises it. So the device says how many keys each page has, batches are no larger than what any page has
//! room for, and a page that is far fuller than the others calls for another seed.

use super::options::{Options, Query};
use super::programs::{EXPIRE_SLOTS_MAX, Programs};
use super::slots::Slots;
use crate::base::error::{Error, Result};
use crate::base::limits::{CHUNK_EVENTS, IDS_MAX, TABLE_PAGES_MAX, TABLE_SLOTS_MAX, word};
use crate::base::rng::SplitMix;
use crate::base::time::Ticks;
use crate::device::{Caps, ProgramId, Queue};
use crate::ops::batch::{self, OUT_FILL, OUT_FIXED, OUT_FREE, OUT_KEYS, OUT_PROBES};
use crate::ops::expire::{EXPIRE_BEFORE, EXPIRE_SLOT, EXPIRE_SLOTS};
use crate::ops::keys::{
    COUNTS_BASE, COUNTS_FILL, COUNTS_FREE, COUNTS_LIST, COUNTS_TAKEN, WALK_FROM, WALK_GROUPS,
    WALK_TO,
};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

mod records;

/// A probe sequence longer than this calls for another seed.
const PROBES_MAX: u32 = 512;
/// How often a table is rebuilt under other seeds before its pages are too full by more than bad luck.
const REBUILDS_MAX: usize = 16;
/// How many generations a time to live is told apart in.
const GENERATIONS: u64 = 8;
/// A generation before which they begin anew.
const GENERATION_MAX: u32 = 1 << 31;

/// The ids of a query's keys.
#[derive(Clone)]
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
    /// Slots of a page of the table.
    page_slots: usize,
    /// Keys in the fullest page as of the last batch that retired, when there are several.
    fullest: usize,
    seed: [u32; 4],
    rng: SplitMix,
    reseed: bool,
    generation: u32,
    ttl: Option<Ticks>,
    /// Keys make room for others when there are too many, and events of this generation so far.
    evict: bool,
    since: usize,
    /// Keys are to be forgotten as soon as nothing is in flight.
    due: bool,
    /// When each of the latest generations began.
    began: VecDeque<(u32, Ticks)>,
    /// How often the table was rebuilt.
    pub(super) rehashes: u64,
    /// Keys forgotten.
    pub(super) expired: u64,
}

impl Keyspace {
    pub(super) fn new(query: &Query, options: &Options, page_slots: usize) -> Self {
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
            page_slots,
            fullest: 0,
            seed: fresh(&mut rng),
            rng,
            reseed: false,
            generation: 1,
            ttl: query.ttl,
            evict: query.evict && query.dense.is_none(),
            since: 0,
            due: false,
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
        let quiet = bound > self.keys_max && self.in_flight > 0 || self.page_room() < events;
        self.dense.is_none() && (grows || quiet)
    }

    /// Whether the table has several pages.
    fn is_paged(&self) -> bool {
        self.slots > self.page_slots
    }

    /// New keys that the fullest page takes on top of what batches in flight may bring: some slots stay empty.
    fn page_room(&self) -> usize {
        if !self.is_paged() {
            return usize::MAX;
        }
        (self.page_slots - self.page_slots / 8).saturating_sub(self.fullest + self.in_flight)
    }

    /// The events, `room` at most, that a batch may have so that no page fills, whatever keys it brings: a page of a
    /// table that was just rebuilt has at least this much room.
    pub(super) fn largest(&self, room: usize) -> usize {
        let sure = self.page_slots / 8;
        let fits = if self.is_paged() { self.page_room().max(sure) } else { sure };
        if self.dense.is_some() { room } else { room.min(fits.max(1)) }
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
        let bound = (self.bound() + options.batch_events).max(options.keys).min(IDS_MAX);
        self.in_flight += events;
        self.since += events;
        if self.evict && self.since >= self.generation_events() {
            self.generation += 1;
            self.since = 0;
        }
        if bound > self.room {
            self.room = (bound + bound / 2).next_multiple_of(1024).min(IDS_MAX);
            programs.provide_records(queue, caps, self.room)?;
        }
        let slots = slots_for(self.high.max(options.keys), bound);
        if slots > self.slots || self.reseed {
            if self.reseed {
                self.seed = fresh(&mut self.rng);
                self.reseed = false;
            }
            self.rebuild(queue, caps, programs, slots.max(self.slots))?;
        }
        Ok(())
    }

    /// Rebuilds the table with so many slots, again and again until no page is too full: once, with few exceptions.
    fn rebuild(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        programs: &mut Programs,
        slots: usize,
    ) -> Result<()> {
        self.slots = slots;
        for times in 1..=REBUILDS_MAX {
            programs.provide_table(queue, caps, self.slots)?;
            self.rehash(queue, programs)?;
            if !self.is_paged() || self.fullest <= self.page_slots / 8 * 5 && self.page_room() > 0 {
                return Ok(());
            }
            self.seed = fresh(&mut self.rng);
            if times.is_multiple_of(4) && self.slots < TABLE_SLOTS_MAX {
                self.slots *= 2;
            }
        }
        Err(Error::unsupported(
            &caps.name,
            format!(
                "a page of the key table has {} keys in {} slots, whatever the seed: fewer keys, or a device with \
                 larger bindings",
                self.fullest, self.page_slots
            ),
        ))
    }

    /// Fills the table from the key records.
    fn rehash(&mut self, queue: &mut dyn Queue, programs: &mut Programs) -> Result<()> {
        let zero = programs.zero(queue)?;
        run(queue, zero, &[0])?;
        let mut fills = [0; TABLE_PAGES_MAX];
        queue.write(programs.buffers.counts.id, COUNTS_FILL, &fills)?;
        let mut head = [0; batch::FIXED];
        self.write_head(&mut head);
        for (ids, &program) in self.pages_of_records(programs).zip(&programs.paged.rehash) {
            walk(&mut head, ids);
            run(queue, program, &head)?;
        }
        if self.is_paged() {
            queue.read(programs.buffers.counts.id, COUNTS_FILL, &mut fills)?;
            self.fullest = fills.into_iter().max().unwrap_or(0) as usize;
        }
        self.rehashes += 1;
        Ok(())
    }

    /// The ids in use, page by page of their records.
    fn pages_of_records(&self, programs: &Programs) -> impl Iterator<Item = Range<u32>> + use<> {
        let (high, page) = (self.high, programs.page_ids());
        (0..high).step_by(page).map(move |from| word(from)..word(high.min(from + page)))
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

    /// Whether a page is far fuller than half, which is what all are together at most.
    fn is_uneven(&self) -> bool {
        self.is_paged() && self.fullest > self.page_slots / 4 * 3
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
            if self.is_paged() {
                self.fullest = self.fullest.max(out[OUT_FILL] as usize);
                self.reseed |= self.is_uneven();
            }
        }
    }

    /// Whether keys are to be forgotten, now that the watermark stands here: they may have become old enough, or there
    /// are too many. It stays so until it is done.
    pub(super) fn expiry_due(&mut self, watermark: Option<Ticks>) -> bool {
        let full = self.held() >= self.keys_max || self.generation >= GENERATION_MAX;
        self.due |= watermark.is_some_and(|watermark| self.ages(watermark)) || self.evict && full;
        self.due
    }

    /// Whether keys may have become old enough.
    fn ages(&mut self, watermark: Ticks) -> bool {
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
        self.due = false;
        let Some(ttl) = self.ttl.filter(|_| !programs.paged.expire.is_empty()) else {
            return Ok(());
        };
        let before = aged_before(&mut self.began, ttl, watermark);
        let live: Vec<u32> = slots.opened().collect();
        if live.len() > EXPIRE_SLOTS_MAX || before <= 1 {
            return Ok(());
        }
        let counts = programs.buffers.counts.id;
        let free_before = self.free_now(queue, programs)?;
        queue.write(counts, 0, &[self.ids_u32(), 0, 0, 0])?;
        let mut head = vec![0; EXPIRE_SLOT + 2 * live.len()];
        head[EXPIRE_BEFORE] = before;
        head[EXPIRE_SLOTS] = u32::try_from(live.len()).expect("limited");
        let named = head[EXPIRE_SLOT..].as_chunks_mut().0;
        for (words, slot) in named.iter_mut().zip(&live) {
            *words = slots.words(*slot);
        }
        for (ids, &program) in self.pages_of_records(programs).zip(&programs.paged.expire) {
            walk(&mut head, ids);
            run(queue, program, &head)?;
        }
        // Those that found no place on the list have not been forgotten.
        self.free = self.free_now(queue, programs)?.min(list_room(programs));
        queue.write(counts, COUNTS_FREE, &[word(self.free)])?;
        self.expired += self.free.saturating_sub(free_before) as u64;
        self.rehash(queue, programs)?;
        self.reseed |= self.is_uneven();
        Ok(())
    }

    /// Ids on the free list of a device where nothing is in flight.
    fn free_now(&self, queue: &mut dyn Queue, programs: &Programs) -> Result<usize> {
        let mut counts = [0; COUNTS_FILL];
        queue.read(programs.buffers.counts.id, 0, &mut counts)?;
        Ok(counts[COUNTS_FREE].saturating_sub(counts[COUNTS_TAKEN]) as usize)
    }

    /// Copies keys and free ids to another home of the query, and makes a table of them there. Nothing may be in flight
    /// here. What comes back is what goes with that home.
    pub(super) fn moved(
        &self,
        (from, theirs): (&mut dyn Queue, &Programs),
        (queue, caps, programs): (&mut dyn Queue, &Caps, &mut Programs),
        piece: &mut [u32],
    ) -> Result<Self> {
        let mut there = Self { page_slots: programs.page_slots(), ..self.clone() };
        if self.dense.is_some() || self.slots == 0 {
            return Ok(there);
        }
        programs.provide_records(queue, caps, self.room)?;
        let words = programs.record_words;
        let pages = (theirs.page_ids(), programs.page_ids());
        let most = piece.len() / words;
        let mut id = 0;
        while id < self.high {
            let ids = most.min(pages.0 - id % pages.0).min(pages.1 - id % pages.1);
            let piece = &mut piece[..ids.min(self.high - id) * words];
            from.read(theirs.buffers.records[id / pages.0].id, id % pages.0 * words, piece)?;
            queue.write(programs.buffers.records[id / pages.1].id, id % pages.1 * words, piece)?;
            id += ids;
        }
        // Ids are handed out on from where they were, free ones first. What finds no place on a shorter list is found
        // when keys are forgotten next.
        let mut counts = [0; COUNTS_FILL];
        from.read(theirs.buffers.counts.id, 0, &mut counts)?;
        let (base, free, taken) = (counts[COUNTS_BASE], counts[COUNTS_FREE], counts[COUNTS_TAKEN]);
        there.free = (free.saturating_sub(taken) as usize).min(list_room(programs));
        let high = base + taken.saturating_sub(free);
        queue.write(programs.buffers.counts.id, 0, &[high, word(there.free), 0, 0])?;
        for at in (0..there.free).step_by(piece.len()) {
            let piece_len = piece.len().min(there.free - at);
            let piece = &mut piece[..piece_len];
            from.read(theirs.buffers.counts.id, COUNTS_LIST + taken as usize + at, piece)?;
            queue.write(programs.buffers.counts.id, COUNTS_LIST + at, piece)?;
        }
        let slots = self.slots.max(slots_for(self.high, self.bound()));
        there.rebuild(queue, caps, programs, slots)?;
        Ok(there)
    }

    /// Bytes of the table and the key records.
    pub(super) fn bytes(&self, programs: &Programs) -> u64 {
        ((self.slots + self.room) * programs.record_words) as u64 * 4
    }
}

/// The oldest generation that is not a time to live ago; older ones leave the list.
fn aged_before(began: &mut VecDeque<(u32, Ticks)>, ttl: Ticks, watermark: Ticks) -> u32 {
    // A generation is over when the next one begins.
    while began.get(1).is_some_and(|&(_, next)| watermark - next > ttl) {
        began.pop_front();
    }
    began.front().map_or(0, |&(generation, _)| generation)
}

/// Ids that the list of free ones takes.
fn list_room(programs: &Programs) -> usize {
    let counts = programs.memory.decl(programs.buffers.counts.id);
    counts.map_or(0, |decl| decl.words - COUNTS_LIST)
}

/// A table for so many keys there are and so many there can be: at most half full now, a quarter while it stays in a
/// cache, and not quite full even if every event in flight brings a new key.
fn slots_for(keys: usize, bound: usize) -> usize {
    let sparse = if keys <= 1 << 16 { 8 } else { 2 };
    (sparse * keys).max(bound + bound / 8).next_power_of_two().max(1024)
}

/// Names the ids of a walk in its header.
fn walk(head: &mut [u32], ids: Range<u32>) {
    (head[WALK_FROM], head[WALK_TO]) = (ids.start, ids.end);
    head[WALK_GROUPS] = (ids.end - ids.start).div_ceil(word(CHUNK_EVENTS));
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
