//! Keys to dense ids, so that all keyed state is a plain array.
//!
//! Spec, one event at a time: the first event of a key gives it the next free id; every later one finds that
//! id. Dense keys are their own ids. Ids are never promised to be the same on two devices, results are.
//!
//! The table is open addressing with linear probing over slots of two words, four where keys have two: a tag (0: empty;
//! id + 1; or [`PENDING`] plus an event's index) and the key's words. It is kept at most half full by the host, which
//! grows it before it can fill. On a parallel device an unknown key is claimed by CAS of the claiming event's
//! index, so a thread that meets a claimed slot compares keys through that event and never waits. What stands in an
//! event's id meanwhile: the slot that it claimed ([`PENDING`]), or the event that did ([`batch::FOLLOW`]). `SETTLE`
//! gives claims their ids, marked as [`NEW`]; `RESOLVE` hands these on and writes the records of new keys. A serial
//! device settles at once.
//!
//! The table lies in *pages* of what one binding of the device holds, a power of two slots each; the key's hash says
//! which, and probing stays inside. Key records lie in pages of consecutive ids. `KEYS` and `SETTLE` have a step for
//! each page of the table and need no record, `RESOLVE` has one for each page of records and needs no table; a walk
//! over ids (`REHASH`, and those that fire and expire) stays inside one page of records. With one page of each the
//! steps are what they would be without any.
//!
//! Cost per event, key known: 4 or 8 bytes of key, 8 or 16 of table, 4 of id written.

use super::batch::{
    self, ASIDE, DROPPED, NEW, OUT_FILL, OUT_FIXED, OUT_FREE, OUT_KEYS, OUT_NEW, OUT_PROBES,
    PENDING,
};
use super::simd::{self, Search};
use crate::base::limits::{TABLE_PAGES_MAX, word};
use crate::params;
use crate::plan::{Access, Args, Bind, Kernel};

params! {
    /// What the key kernels are told once.
    KeysParams {
        /// Words of an event.
        stride: u32,
        /// The word of an event at which its key begins.
        key_word: u32,
        /// Words of a key: 1 or 2; 0 when there is no key and all events share id 0.
        key_words: u32,
        /// Words of a key record: key, generation seen, padding; 2 or 4.
        record_words: u32,
        /// 1 when ids already say which events a filter dropped.
        filtered: u32,
        /// 1 when the generation is stored with every event, not only with the first.
        expires: u32,
        /// The first slot of the table's page.
        first_slot: u32,
        /// Slots of a page of the table, a power of two; a table of one page may have fewer.
        page_slots: u32,
        /// The first id of the page of records.
        first_id: u32,
        /// Ids of a page of records.
        page_ids: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
    }
}

const fn read(name: &'static str) -> Bind {
    Bind { name, access: Access::Read }
}

const fn write(name: &'static str) -> Bind {
    Bind { name, access: Access::Write }
}

/// Finds or claims the id of each event's key.
pub static KEYS: Kernel = Kernel {
    name: "keys",
    params: KeysParams::FIELDS,
    events: true,
    binds: &[write("table"), write("ids"), write("counts"), write("out")],
    wgsl: window_shader!("keys"),
    cpu: keys,
};

/// The id of a dense key is the key; one out of range goes aside.
pub static DENSE: Kernel = Kernel {
    name: "dense",
    params: KeysParams::FIELDS,
    events: true,
    binds: &[write("ids"), write("out")],
    wgsl: window_shader!("dense"),
    cpu: dense,
};

/// Gives every claim its id. Serial devices have settled already.
pub static SETTLE: Kernel = Kernel {
    name: "settle",
    params: KeysParams::FIELDS,
    events: true,
    binds: &[write("table"), write("ids"), write("counts"), write("out")],
    wgsl: window_shader!("settle"),
    cpu: settle,
};

/// Gives every event of a new key its id, writes the records of new keys, and notes the generation of keys that expire.
pub static RESOLVE: Kernel = Kernel {
    name: "resolve",
    params: KeysParams::FIELDS,
    events: true,
    binds: &[write("records"), write("ids"), read("counts"), write("out")],
    wgsl: window_shader!("resolve"),
    cpu: resolve,
};

/// Fills an empty page of the table from a page of key records, and counts its keys, those for which it has no slot
/// included.
pub static REHASH: Kernel = Kernel {
    name: "rehash",
    params: KeysParams::FIELDS,
    events: false,
    binds: &[write("table"), read("records"), write("counts")],
    wgsl: window_shader!("rehash"),
    cpu: rehash,
};

/// `counts`: ids handed out before the free list was made.
pub const COUNTS_BASE: usize = 0;
/// `counts`: ids on the free list.
pub const COUNTS_FREE: usize = 1;
/// `counts`: ids handed out since, from the free list first.
pub const COUNTS_TAKEN: usize = 2;
/// `counts`: keys in each page of the table, where there are several.
pub const COUNTS_FILL: usize = 4;
/// `counts`: where the free list begins.
pub const COUNTS_LIST: usize = COUNTS_FILL + TABLE_PAGES_MAX;

/// Header of the programs that walk over ids: workgroups.
pub const WALK_GROUPS: usize = 0;
/// First id.
pub const WALK_FROM: usize = 1;
/// The id after the last.
pub const WALK_TO: usize = 2;

/// A keyed hash of a key's two words. The seed enters before each multiplication by a secret odd number, so keys
/// that collide under one seed are scattered by another.
#[inline(always)]
pub const fn hash(seed: &[u32], low: u32, high: u32) -> u32 {
    let mut x = (low ^ seed[0]).wrapping_mul(seed[2] | 1);
    x ^= x >> 15;
    x = (x ^ high ^ seed[1]).wrapping_mul(seed[3] | 1);
    x ^ x >> 16
}

/// The next free id.
#[inline]
fn take_id(counts: &mut [u32]) -> u32 {
    let (base, free, taken) = (counts[COUNTS_BASE], counts[COUNTS_FREE], counts[COUNTS_TAKEN]);
    counts[COUNTS_TAKEN] = taken + 1;
    if taken < free { counts[COUNTS_LIST + taken as usize] } else { base + taken - free }
}

/// One more than the highest id ever handed out.
#[inline]
fn high_water(counts: &[u32]) -> u32 {
    counts[COUNTS_BASE] + counts[COUNTS_TAKEN].saturating_sub(counts[COUNTS_FREE])
}

/// Ids on the free list.
#[inline]
fn free(counts: &[u32]) -> u32 {
    counts[COUNTS_FREE].saturating_sub(counts[COUNTS_TAKEN])
}

#[inline]
fn set_aside(out: &mut [u32], event: u32) {
    let n = out[batch::OUT_ASIDE];
    out[OUT_FIXED + n as usize] = event;
    out[batch::OUT_ASIDE] = n + 1;
    out[0] += 1;
}

#[allow(clippy::cast_possible_truncation, reason = "fixed small numbers")]
const OUT_FIXED_WORDS: u32 = OUT_FIXED as u32;

/// The page of the table that a kernel binds.
#[derive(Debug, Clone, Copy)]
struct TablePage {
    first: u32,
    /// Its slots minus one, and those of the whole table.
    mask: u32,
    whole: u32,
}

impl TablePage {
    fn of(head: &[u32], p: &KeysParams) -> Self {
        let whole = head[batch::TABLE_MASK];
        Self { first: p.first_slot, mask: whole.min(p.page_slots - 1), whole }
    }

    /// Whether there are others.
    fn has_others(self) -> bool {
        self.mask < self.whole
    }

    /// The slot in this page at which a key of this hash is looked for first; `None` when another page has it.
    #[inline(always)]
    fn home(self, hash: u32) -> Option<u32> {
        let slot = hash & self.whole;
        (slot & !self.mask == self.first).then_some(slot & self.mask)
    }

    /// Where `counts` has the number of its keys.
    fn fill(self) -> usize {
        COUNTS_FILL + (self.first / (self.mask + 1)) as usize
    }
}

fn keys(args: Args<'_>) {
    let p: KeysParams = args.params();
    let careful = p.filtered != 0 || TablePage::of(args.head, &p).has_others();
    match (p.key_words, careful) {
        (1, false) => keys_of::<1, 2, false>(args, &p),
        (1, true) => keys_of::<1, 2, true>(args, &p),
        (_, false) => keys_of::<2, 4, false>(args, &p),
        (_, true) => keys_of::<2, 4, true>(args, &p),
    }
}

/// A page of the table, as one batch's lookups see it.
struct Table<'a, const SLOT: usize> {
    slots: &'a mut [[u32; SLOT]],
    counts: &'a mut [u32],
    page: TablePage,
    frozen: bool,
    probes_max: u32,
    new: u32,
}

impl<const SLOT: usize> Table<'_, SLOT> {
    /// The id of a key that is looked for from slot `home` on, marked when it is new; `None` when there is no room for
    /// new ones.
    #[inline(always)]
    fn find<const WORDS: usize>(&mut self, home: u32, low: u32, high: u32) -> Option<u32> {
        let mut slot = home;
        loop {
            // The page has a power of two slots and the mask is one less, so the index is always inside. One of them
            // is empty: the host sees to it.
            let held = self.slots[slot as usize];
            if held[0] == 0 {
                return self.insert::<WORDS>(slot, low, high);
            }
            if held[1] == low && (WORDS == 1 || held[2] == high) {
                return Some(held[0] - 1);
            }
            slot = (slot + 1) & self.page.mask;
            self.probes_max = self.probes_max.max(slot.wrapping_sub(home) & self.page.mask);
        }
    }

    #[cold]
    fn insert<const WORDS: usize>(&mut self, slot: u32, low: u32, high: u32) -> Option<u32> {
        if self.frozen {
            return None;
        }
        let id = take_id(self.counts);
        let slot = &mut self.slots[slot as usize];
        (slot[0], slot[1]) = (id + 1, low);
        if WORDS == 2 {
            slot[2] = high;
        }
        self.counts[self.page.fill()] += 1;
        self.new += 1;
        Some(id | NEW)
    }
}

#[inline(always)]
fn keys_of<const WORDS: usize, const SLOT: usize, const CAREFUL: bool>(
    args: Args<'_>,
    p: &KeysParams,
) {
    let (head, events) = (args.head, args.events);
    let [table, ids, counts, out] = args.binds();
    let (stride, key_word) = (p.stride as usize, p.key_word as usize);
    let page = TablePage::of(head, p);
    let seed = [0, 1, 2, 3].map(|i| head[batch::SEED + i]);
    let mut table = Table::<SLOT> {
        slots: &mut table.as_chunks_mut().0[..=page.mask as usize],
        counts,
        page,
        frozen: head[batch::FROZEN] != 0,
        probes_max: out[OUT_PROBES],
        new: 0,
    };
    if p.first_slot == 0 {
        out[0] += OUT_FIXED_WORDS;
    }
    let wide = simd::available();
    let mut search = Search::new();
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        let pieces = ids.chunks_mut(simd::PIECE).zip(words.chunks(simd::PIECE * stride));
        for (first, (ids, words)) in (chunk.first..).step_by(simd::PIECE).zip(pieces) {
            if WORDS == 1 && !CAREFUL && wide {
                let slots = table.slots.as_flattened().as_chunks().0;
                let keys = simd::Keys { words, stride, key_word, slots, seed };
                simd::lookup(&keys, ids, &mut search);
            } else {
                search.miss_all(ids.len());
            }
            for i in search.missed.iter() {
                let (id, event) = (&mut ids[i], &words[i * stride..][..stride]);
                if CAREFUL && p.filtered != 0 && *id == DROPPED {
                    continue;
                }
                let high = if WORDS == 2 { event[key_word + 1] } else { 0 };
                let hash = hash(&seed, event[key_word], high);
                let home = if CAREFUL { page.home(hash) } else { Some(hash & page.mask) };
                let Some(home) = home else { continue };
                if let Some(found) = table.find::<WORDS>(home, event[key_word], high) {
                    *id = found;
                } else {
                    *id = ASIDE;
                    set_aside(out, first + word(i));
                }
            }
        }
    }
    out[OUT_PROBES] = table.probes_max;
    out[OUT_NEW] += table.new;
    out[OUT_FILL] = out[OUT_FILL].max(table.counts[page.fill()]);
}

fn dense(args: Args<'_>) {
    let p: KeysParams = args.params();
    let (head, events) = (args.head, args.events);
    let [ids, out] = args.binds();
    let (stride, key_word) = (p.stride as usize, p.key_word as usize);
    let keys = head[batch::DENSE_KEYS];
    out[0] += OUT_FIXED_WORDS;
    out[OUT_KEYS] = keys;
    let side_by_side = p.filtered == 0 && p.key_words == 1 && simd::available();
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        let mut done = 0;
        while done < ids.len() {
            if side_by_side {
                done +=
                    simd::below(&words[done * stride..], stride, key_word, keys, &mut ids[done..]);
            }
            let to = if side_by_side { ids.len().min(done + simd::TOGETHER) } else { ids.len() };
            for i in done..to {
                if p.filtered != 0 && ids[i] == DROPPED {
                    continue;
                }
                let event = &words[i * stride..][..stride];
                let low = if p.key_words == 0 { 0 } else { event[key_word] };
                let high = if p.key_words == 2 { event[key_word + 1] } else { 0 };
                ids[i] = if high == 0 && low < keys { low } else { ASIDE };
                if ids[i] == ASIDE {
                    set_aside(out, chunk.first + u32::try_from(i).expect("a chunk's events fit"));
                }
            }
            done = to;
        }
    }
}

/// The twin of a kernel that has work only where lookups ran in parallel.
fn settle(args: Args<'_>) {
    let head = args.head;
    let [_table, ids, _counts, _out] = args.binds();
    for chunk in batch::chunks(head) {
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        debug_assert!(
            ids.iter().all(|&id| id & PENDING == 0 || id >= ASIDE),
            "serial lookups settle at once"
        );
    }
}

/// The record of an id in the page that a kernel binds; `None` when another page has it.
#[inline(always)]
fn record_of<'a>(records: &'a mut [u32], p: &KeysParams, id: u32) -> Option<&'a mut [u32]> {
    let here = id.wrapping_sub(p.first_id);
    let words = p.record_words as usize;
    (here < p.page_ids).then(|| &mut records[here as usize * words..][..words])
}

fn resolve(args: Args<'_>) {
    let p: KeysParams = args.params();
    let (head, events) = (args.head, args.events);
    let [records, ids, counts, out] = args.binds();
    out[OUT_KEYS] = high_water(counts);
    out[OUT_FREE] = free(counts);
    if out[OUT_NEW] == 0 && p.expires == 0 {
        return;
    }
    let (stride, key_words) = (p.stride as usize, p.key_words as usize);
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        for (event, id) in words.chunks_exact(stride).zip(ids) {
            let is_new = *id & NEW != 0;
            if *id >= ASIDE || !(is_new || p.expires != 0) {
                continue;
            }
            let Some(record) = record_of(records, &p, *id & !NEW) else { continue };
            if is_new {
                *id &= !NEW;
                record[..key_words].copy_from_slice(&event[p.key_word as usize..][..key_words]);
            }
            record[key_words] = head[batch::GENERATION];
        }
    }
}

fn rehash(args: Args<'_>) {
    let p: KeysParams = args.params();
    let head = args.head;
    let [table, records, counts] = args.binds();
    let page = TablePage::of(head, &p);
    let (key_words, slot_words) = (p.key_words as usize, 2 * p.key_words as usize);
    let seed = [0, 1, 2, 3].map(|i| head[batch::SEED + i]);
    for id in head[WALK_FROM]..head[WALK_TO] {
        let Some(record) = record_of(records, &p, id) else { continue };
        if record[key_words] == 0 {
            continue; // Expired: no generation is 0.
        }
        let high = if key_words == 2 { record[1] } else { 0 };
        let Some(mut slot) = page.home(hash(&seed, record[0], high)) else { continue };
        let fill = &mut counts[page.fill()];
        *fill += 1;
        if *fill > page.mask {
            continue; // The host looks at the number, and sees that keys are missing.
        }
        while table[slot as usize * slot_words] != 0 {
            slot = (slot + 1) & page.mask;
        }
        let slot = &mut table[slot as usize * slot_words..][..slot_words];
        slot[0] = id + 1;
        slot[1..=key_words].copy_from_slice(&record[..key_words]);
    }
}
