//! Keys to dense ids, so that all keyed state is a plain array.
//!
//! Spec, one event at a time: the first event of a key gives it the next free id; every later one finds that
//! id. Dense keys are their own ids. Ids are never promised to be the same on two devices, results are.
//!
//! The table is open addressing with linear probing over slots of two words: a tag (0: empty; id + 1; or
//! [`PENDING`] plus an event's index) and the key's low word. It is kept at most half full by the host, which
//! grows it before it can fill. On a parallel device an unknown key is claimed by CAS of the claiming event's
//! index, so a thread that meets a claimed slot compares keys through that event and never waits; `SETTLE` then
//! gives the claims their ids and `RESOLVE` replaces slots by ids. A serial device settles at once.
//!
//! Cost per event, key known: 4 bytes of key, 8 of table, 4 of id written.

use super::batch::{self, ASIDE, DROPPED, OUT_FIXED, OUT_FREE, OUT_KEYS, OUT_PROBES, PENDING};
use super::simd::{self, Search};
use crate::base::limits::word;
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
    binds: &[write("table"), write("records"), write("ids"), write("counts"), write("out")],
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
    binds: &[write("table"), write("records"), read("ids"), write("counts")],
    wgsl: window_shader!("settle"),
    cpu: settle,
};

/// Replaces claimed slots by ids.
pub static RESOLVE: Kernel = Kernel {
    name: "resolve",
    params: KeysParams::FIELDS,
    events: false,
    binds: &[read("table"), write("records"), write("ids"), read("counts"), write("out")],
    wgsl: window_shader!("resolve"),
    cpu: resolve,
};

/// Fills an empty table from the key records.
pub static REHASH: Kernel = Kernel {
    name: "rehash",
    params: KeysParams::FIELDS,
    events: false,
    binds: &[write("table"), read("records")],
    wgsl: window_shader!("rehash"),
    cpu: rehash,
};

/// `counts`: ids handed out before the free list was made.
pub const COUNTS_BASE: usize = 0;
/// `counts`: ids on the free list.
pub const COUNTS_FREE: usize = 1;
/// `counts`: ids handed out since, from the free list first.
pub const COUNTS_TAKEN: usize = 2;
/// `counts`: where the free list begins.
pub const COUNTS_LIST: usize = 4;

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

fn keys(args: Args<'_>) {
    let p: KeysParams = args.params();
    match (p.key_words, p.filtered | p.expires) {
        (1, 0) => keys_of::<1, false>(args, &p),
        (1, _) => keys_of::<1, true>(args, &p),
        (_, 0) => keys_of::<2, false>(args, &p),
        (_, _) => keys_of::<2, true>(args, &p),
    }
}

/// The table and the records, as one batch's lookups see them.
struct Table<'a> {
    slots: &'a mut [[u32; 2]],
    keys: &'a mut [u32],
    counts: &'a mut [u32],
    seed: [u32; 4],
    mask: u32,
    generation: u32,
    record_words: usize,
    frozen: bool,
    probes_max: u32,
}

impl Table<'_> {
    /// The id of a key, a new one if need be; `None` when there is no room for new ones.
    #[inline(always)]
    fn find<const WORDS: usize>(&mut self, low: u32, high: u32) -> Option<u32> {
        let home = hash(&self.seed, low, high) & self.mask;
        let mut slot = home;
        loop {
            // The table has a power of two slots and the mask is one less, so the index is always inside.
            let [tag, check] = self.slots[slot as usize];
            if tag == 0 {
                return self.insert::<WORDS>(slot, low, high);
            }
            if check == low {
                let id = tag - 1;
                if WORDS == 1 || self.keys[id as usize * self.record_words + 1] == high {
                    return Some(id);
                }
            }
            slot = (slot + 1) & self.mask;
            self.probes_max = self.probes_max.max(slot.wrapping_sub(home) & self.mask);
        }
    }

    #[cold]
    fn insert<const WORDS: usize>(&mut self, slot: u32, low: u32, high: u32) -> Option<u32> {
        if self.frozen {
            return None;
        }
        let id = take_id(self.counts);
        let record = &mut self.keys[id as usize * self.record_words..][..self.record_words];
        record[0] = low;
        if WORDS == 2 {
            record[1] = high;
        }
        record[WORDS] = self.generation;
        self.slots[slot as usize] = [id + 1, low];
        Some(id)
    }
}

#[inline(always)]
fn keys_of<const WORDS: usize, const CAREFUL: bool>(args: Args<'_>, p: &KeysParams) {
    let (head, events) = (args.head, args.events);
    let [table, keys, ids, counts, out] = args.binds();
    let (stride, key_word) = (p.stride as usize, p.key_word as usize);
    let mask = head[batch::TABLE_MASK];
    let mut table = Table {
        slots: &mut table.as_chunks_mut::<2>().0[..=mask as usize],
        keys,
        counts,
        seed: [0, 1, 2, 3].map(|i| head[batch::SEED + i]),
        mask,
        generation: head[batch::GENERATION],
        record_words: p.record_words as usize,
        frozen: head[batch::FROZEN] != 0,
        probes_max: 0,
    };
    out[0] += OUT_FIXED_WORDS;
    let wide = simd::available();
    let mut search = Search::new();
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        let pieces = ids.chunks_mut(simd::PIECE).zip(words.chunks(simd::PIECE * stride));
        for (first, (ids, words)) in (chunk.first..).step_by(simd::PIECE).zip(pieces) {
            if WORDS == 1 && !CAREFUL && wide {
                let (slots, seed) = (&*table.slots, table.seed);
                simd::lookup(
                    &simd::Keys { words, stride, key_word, slots, seed },
                    ids,
                    &mut search,
                );
            } else {
                search.miss_all(ids.len());
            }
            for i in search.missed.iter() {
                let (id, event) = (&mut ids[i], &words[i * stride..][..stride]);
                if CAREFUL && p.filtered != 0 && *id == DROPPED {
                    continue;
                }
                let high = if WORDS == 2 { event[key_word + 1] } else { 0 };
                if let Some(found) = table.find::<WORDS>(event[key_word], high) {
                    *id = found;
                    if CAREFUL && p.expires != 0 {
                        table.keys[found as usize * table.record_words + WORDS] = table.generation;
                    }
                } else {
                    *id = ASIDE;
                    set_aside(out, first + word(i));
                }
            }
        }
    }
    out[OUT_KEYS] = high_water(table.counts);
    out[OUT_FREE] = free(table.counts);
    out[OUT_PROBES] = table.probes_max;
}

fn dense(args: Args<'_>) {
    let p: KeysParams = args.params();
    let (head, events) = (args.head, args.events);
    let [ids, out] = args.binds();
    let (stride, key_word) = (p.stride as usize, p.key_word as usize);
    let keys = head[batch::DENSE_KEYS];
    out[0] += OUT_FIXED_WORDS;
    out[OUT_KEYS] = keys;
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        for (i, (event, id)) in words.chunks_exact(stride).zip(ids.iter_mut()).enumerate() {
            if p.filtered != 0 && *id == DROPPED {
                continue;
            }
            let low = if p.key_words == 0 { 0 } else { event[key_word] };
            let high = if p.key_words == 2 { event[key_word + 1] } else { 0 };
            *id = if high == 0 && low < keys { low } else { ASIDE };
            if *id == ASIDE {
                set_aside(out, chunk.first + u32::try_from(i).expect("a chunk's events fit"));
            }
        }
    }
}

/// The twin of a kernel that has work only where lookups ran in parallel.
fn settle(args: Args<'_>) {
    let head = args.head;
    let [_table, _keys, ids, _counts] = args.binds();
    for chunk in batch::chunks(head) {
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        debug_assert!(
            ids.iter().all(|&id| id & PENDING == 0 || id >= ASIDE),
            "serial lookups settle at once"
        );
    }
}

/// As for [`settle`].
fn resolve(args: Args<'_>) {
    let [_table, _keys, _ids, counts, out] = args.binds();
    out[OUT_KEYS] = high_water(counts);
    out[OUT_FREE] = free(counts);
}

fn rehash(args: Args<'_>) {
    let p: KeysParams = args.params();
    let head = args.head;
    let [table, keys] = args.binds();
    let mask = head[batch::TABLE_MASK];
    let slots = &mut table.as_chunks_mut::<2>().0[..=mask as usize];
    let seed = [0, 1, 2, 3].map(|i| head[batch::SEED + i]);
    for id in head[WALK_FROM]..head[WALK_TO] {
        let record = &keys[id as usize * p.record_words as usize..][..p.record_words as usize];
        if record[p.key_words as usize] == 0 {
            continue; // Expired: no generation is 0.
        }
        let high = if p.key_words == 2 { record[1] } else { 0 };
        let mut slot = hash(&seed, record[0], high) & mask;
        while slots[slot as usize][0] != 0 {
            slot = (slot + 1) & mask;
        }
        slots[slot as usize] = [id + 1, record[0]];
    }
}
