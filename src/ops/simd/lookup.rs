//! Keys to ids: hashes, compares and sorts sixteen events at a time, and lets nothing wait for the table.
//!
//! A piece of the batch is taken in three passes. The first hashes keys to slots, sixteen side by side. The second
//! copies those slots of the table next to each other, one plain load and store an event: loads that depend on nothing
//! are in flight together as many as the processor can hold, which is what a table beyond the nearest cache needs, and
//! no processor is slow at them, as some are at gathers. The third compares sixteen keys at once.
//!
//! Most keys lie in the slot that their hash names. To follow the few others at once would let all lanes wait for
//! the slowest, and a branch guess how long; so they are put on a list, and the list goes through the same passes,
//! one slot further each time, until it is too short to be worth it.

use super::words::{lanes, strided};
use super::{Events, Keys, PIECE, Search, TOGETHER, Waiting};
use crate::base::limits::EVENT_BYTES_MAX;
use std::arch::x86_64::*;

/// Slots that are looked at before a key is left to the scalar loop.
const PROBES: usize = 16;

/// Fewer keys than this are left to it, too.
const FEW: usize = TOGETHER / 2;

/// Looks keys up: writes the ids found, and lists the other events, whose ids have no meaning, as missed.
#[inline]
pub(in crate::ops) fn lookup(keys: &Keys<'_>, ids: &mut [u32], search: &mut Search) {
    assert!(ids.len() <= PIECE);
    assert!(keys.words.len() >= ids.len() * keys.stride && keys.key_word < keys.stride);
    assert!(keys.slots.len().is_power_of_two() && keys.slots.len() <= 1 << 30);
    assert!(keys.stride <= EVENT_BYTES_MAX / 4);
    // SAFETY: callers have asked `available`; the asserts above are what `lookup_avx512` requires.
    unsafe { lookup_avx512(keys, ids, search) };
}

impl Events {
    /// Adds those of sixteen events.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn push(&mut self, which: u16, events: __m512i) {
        // What lies behind those added has no meaning.
        store(&mut self.events[self.len..], _mm512_maskz_compress_epi32(which, events));
        self.len += which.count_ones() as usize;
    }
}

/// # Safety
/// The processor has the features; there are words for as many events as there are ids, at most `PIECE`; `key_word`
/// lies in an event of at most 4,096 bytes; the slots are a power of two, at most 2^30.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn lookup_avx512(keys: &Keys<'_>, ids: &mut [u32], search: &mut Search) {
    let Search { missed, waiting } = search;
    (missed.len, waiting.events.len) = (0, 0);
    let mask = _mm512_set1_epi32(i32::try_from(keys.slots.len() - 1).unwrap_or(i32::MAX));
    let whole = ids.len() / TOGETHER * TOGETHER;
    for first in (0..whole).step_by(TOGETHER) {
        // SAFETY: words of sixteen more events follow; the list has room for a piece.
        unsafe {
            let base = keys.words.as_ptr().add(first * keys.stride);
            let key = strided(base, keys.stride, keys.key_word);
            store(&mut waiting.keys[first..], key);
            store(&mut waiting.slots[first..], _mm512_and_si512(hash(keys.seed, key), mask));
        }
    }
    waiting.take(keys, whole);
    for first in (0..whole).step_by(TOGETHER) {
        let probe = waiting.compare(first);
        store(&mut ids[first..], probe.ids);
        let events = lanes(1, first);
        if probe.ends != 0 {
            missed.push(probe.ends, events);
        }
        waiting.keep(!(probe.hits | probe.ends), first, events);
    }
    for _ in 1..PROBES {
        let many = std::mem::take(&mut waiting.events.len);
        if many < FEW {
            waiting.events.len = many;
            break;
        }
        for first in (0..many).step_by(TOGETHER) {
            let slot = _mm512_add_epi32(load(&waiting.slots[first..]), _mm512_set1_epi32(1));
            store(&mut waiting.slots[first..], _mm512_and_si512(slot, mask));
        }
        waiting.take(keys, many);
        for first in (0..many).step_by(TOGETHER) {
            let live = u16::MAX >> (TOGETHER - (many - first).min(TOGETHER));
            let probe = waiting.compare(first);
            let events = load(&waiting.events.events[first..]);
            let (mut which, mut found) = ([0; TOGETHER], [0; TOGETHER]);
            store(&mut which, events);
            store(&mut found, probe.ids);
            // What is no hit is written again later.
            for (&event, &id) in which.iter().zip(&found).take(many - first) {
                ids[event as usize] = id;
            }
            missed.push(probe.ends & live, events);
            // No further than what has been read: nothing is written over.
            waiting.keep(live & !(probe.hits | probe.ends), first, events);
        }
    }
    for event in waiting.events.iter() {
        missed.add(event, event + 1);
    }
    missed.add(whole, ids.len());
}

/// The first sixteen words.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &[u32]) -> __m512i {
    let words = &words[..TOGETHER];
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Replaces the first sixteen words.
#[target_feature(enable = "avx512f")]
#[inline]
fn store(words: &mut [u32], new: __m512i) {
    let words = &mut words[..TOGETHER];
    // SAFETY: sixteen words.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), new) };
}

/// `keys::hash` of one-word keys.
#[target_feature(enable = "avx512f")]
#[inline]
fn hash(seed: [u32; 4], key: __m512i) -> __m512i {
    let seed = seed.map(u32::cast_signed);
    let mut x = _mm512_xor_si512(key, _mm512_set1_epi32(seed[0]));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(seed[2] | 1));
    x = _mm512_xor_si512(x, _mm512_srli_epi32::<15>(x));
    x = _mm512_xor_si512(x, _mm512_set1_epi32(seed[1]));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(seed[3] | 1));
    _mm512_xor_si512(x, _mm512_srli_epi32::<16>(x))
}

/// What sixteen slots hold.
struct Probe {
    /// Which hold the key.
    hits: u16,
    /// Which hold none.
    ends: u16,
    /// The ids of those hit.
    ids: __m512i,
}

impl Waiting {
    /// Copies the slots of the first `many` out of the table.
    #[inline(always)]
    fn take(&mut self, keys: &Keys<'_>, many: usize) {
        for (held, &slot) in self.held.iter_mut().zip(&self.slots[..many]) {
            debug_assert!((slot as usize) < keys.slots.len());
            // SAFETY: each slot was masked to the number of slots.
            *held = unsafe { *keys.slots.get_unchecked(slot as usize) };
        }
    }

    /// Compares sixteen keys, from `first` on, with what their slots hold.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn compare(&self, first: usize) -> Probe {
        let key = load(&self.keys[first..]);
        let held = self.held[first..][..TOGETHER].as_flattened();
        let (low, high) = (load(held), load(&held[TOGETHER..]));
        // A slot is its tag, then its check.
        let tag = _mm512_permutex2var_epi32(low, lanes(2, 0), high);
        let check = _mm512_permutex2var_epi32(low, lanes(2, 1), high);
        let used = _mm512_test_epi32_mask(tag, tag);
        Probe {
            hits: _mm512_mask_cmpeq_epi32_mask(used, check, key),
            ends: !used,
            ids: _mm512_sub_epi32(tag, _mm512_set1_epi32(1)),
        }
    }

    /// Keeps those of sixteen events, from `first` on, on the list.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn keep(&mut self, which: u16, first: usize, events: __m512i) {
        let to = self.events.len;
        let (key, slot) = (load(&self.keys[first..]), load(&self.slots[first..]));
        store(&mut self.keys[to..], _mm512_maskz_compress_epi32(which, key));
        store(&mut self.slots[to..], _mm512_maskz_compress_epi32(which, slot));
        self.events.push(which, events);
    }
}
