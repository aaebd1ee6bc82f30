//! Keys to ids: sixteen slots of the table at a time, and what is not in its first slot waits its turn.
//!
//! Most keys lie in the slot that their hash names. To follow the few others at once would let all lanes wait for
//! the slowest, and a branch guess how long; so they are put on a list, and the list is worked off sixteen at a
//! time as well, until all are found or have come to an empty slot.

use super::words::{lanes, strided};
use super::{Events, Keys, PIECE, Search, TOGETHER};
use crate::base::limits::{EVENT_BYTES_MAX, word};
use std::arch::x86_64::*;

/// Slots that are looked at before a key is left to the scalar loop.
const PROBES: i32 = 16;

/// Looks keys up: writes the ids found, and lists the other events as missed.
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
        let to = &mut self.events[self.len..][..TOGETHER];
        // SAFETY: sixteen words; what lies behind those added has no meaning.
        unsafe {
            let events = _mm512_maskz_compress_epi32(which, events);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), events);
        }
        self.len += which.count_ones() as usize;
    }
}

/// # Safety
/// The processor has the features; there are words for as many events as there are ids, at most `PIECE`; `key_word`
/// lies in an event of at most 4,096 bytes; the slots are a power of two, at most 2^30.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn lookup_avx512(keys: &Keys<'_>, ids: &mut [u32], search: &mut Search) {
    let Search { missed, waiting } = search;
    (missed.len, waiting.len) = (0, 0);
    let mask = _mm512_set1_epi32(i32::try_from(keys.slots.len() - 1).unwrap_or(i32::MAX));
    let whole = ids.len() / TOGETHER * TOGETHER;
    for first in (0..whole).step_by(TOGETHER) {
        // SAFETY: words of sixteen more events follow.
        let key = unsafe {
            let base = keys.words.as_ptr().add(first * keys.stride);
            strided(base, keys.stride, keys.key_word)
        };
        let slot = _mm512_and_si512(hash(keys.seed, key), mask);
        // SAFETY: each slot was masked to the number of slots.
        let probe = unsafe { probe(keys, key, slot, u16::MAX) };
        // SAFETY: sixteen more ids follow.
        unsafe {
            _mm512_mask_storeu_epi32(ids.as_mut_ptr().add(first).cast(), probe.hits, probe.ids);
        }
        waiting.push(!(probe.hits | probe.ends), lanes(1, first));
        if probe.ends != 0 {
            missed.push(probe.ends, lanes(1, first));
        }
    }
    for distance in 1..PROBES {
        let many = std::mem::take(&mut waiting.len);
        for first in (0..many).step_by(TOGETHER) {
            let live = u16::MAX >> (TOGETHER - (many - first).min(TOGETHER));
            // SAFETY: the list has room for sixteen more than it ever holds.
            let events = unsafe { _mm512_loadu_si512(waiting.events.as_ptr().add(first).cast()) };
            let stride = _mm512_set1_epi32(word(keys.stride).cast_signed());
            // SAFETY: live lanes number events, which have a word there.
            let key = unsafe {
                let (none, base) = (_mm512_setzero_si512(), keys.words.as_ptr().add(keys.key_word));
                let at = _mm512_mullo_epi32(events, stride);
                _mm512_mask_i32gather_epi32::<4>(none, live, at, base.cast())
            };
            let slot = _mm512_add_epi32(hash(keys.seed, key), _mm512_set1_epi32(distance));
            let slot = _mm512_and_si512(slot, mask);
            // SAFETY: each slot was masked to the number of slots.
            let probe = unsafe { probe(keys, key, slot, live) };
            // SAFETY: the numbers of live events are below the number of ids.
            unsafe {
                let ids = ids.as_mut_ptr().cast();
                _mm512_mask_i32scatter_epi32::<4>(ids, probe.hits, events, probe.ids);
            }
            missed.push(probe.ends, events);
            // No further than what has been read: nothing is written over.
            waiting.push(live & !(probe.hits | probe.ends), events);
        }
    }
    for event in waiting.iter() {
        missed.add(event, event + 1);
    }
    missed.add(whole, ids.len());
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

/// Compares sixteen slots with sixteen keys; only those `live`.
///
/// # Safety
/// The processor has the features; each live slot is less than the number of slots.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
#[inline]
unsafe fn probe(keys: &Keys<'_>, key: __m512i, slot: __m512i, live: u16) -> Probe {
    let base = keys.slots.as_ptr().cast::<i64>();
    let halves = [_mm512_castsi512_si256(slot), _mm512_extracti64x4_epi64::<1>(slot)];
    let [first, second] = live.to_le_bytes();
    let none = _mm512_setzero_si512();
    // SAFETY: each live index is less than the number of slots, and a slot is eight bytes.
    let (first, second) = unsafe {
        (
            _mm512_mask_i32gather_epi64::<8>(none, first, halves[0], base),
            _mm512_mask_i32gather_epi64::<8>(none, second, halves[1], base),
        )
    };
    // A slot is its tag, then its check.
    let tag = _mm512_permutex2var_epi32(first, lanes(2, 0), second);
    let check = _mm512_permutex2var_epi32(first, lanes(2, 1), second);
    let used = _mm512_test_epi32_mask(tag, tag);
    Probe {
        hits: _mm512_mask_cmpeq_epi32_mask(used & live, check, key),
        ends: live & !used,
        ids: _mm512_sub_epi32(tag, _mm512_set1_epi32(1)),
    }
}
