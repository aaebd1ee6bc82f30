//! The hottest loops of the CPU for processors with AVX-512: eight or sixteen events at a time.
//!
//! A scalar loop spends its time on instructions, not on memory: comparing times, hashing, converting, and the
//! parts of a row one after another. These do that work side by side and leave to scalar code what is rare (a new
//! key, a value that is not finite). They give the same results bit for bit, and the scalar loops stay the
//! reference: tests run both. Other processors are not [`available`] and run the scalar loops alone.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "what these loops are given"))]

use super::row::{EXTREMES, FIXED, SQUARES};
#[cfg(not(target_arch = "x86_64"))]
use super::score::{ROW, ScoreParams};
use crate::base::limits::word;

#[cfg(target_arch = "x86_64")]
mod add;
#[cfg(all(feature = "model", target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(all(feature = "model", target_arch = "x86_64"))]
mod avx2;
#[cfg(all(feature = "model", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod gelu;
#[cfg(feature = "model")]
mod gemm;
#[cfg(target_arch = "x86_64")]
mod lookup;
#[cfg(feature = "model")]
mod low;
#[cfg(all(feature = "model", target_arch = "x86_64"))]
mod low_avx512;
#[cfg(all(feature = "model", target_arch = "aarch64"))]
mod neon;
#[cfg(target_arch = "x86_64")]
mod place;
#[cfg(target_arch = "x86_64")]
mod score;
#[cfg(target_arch = "x86_64")]
mod sixteen;
#[cfg(feature = "model")]
mod tier;
#[cfg(target_arch = "x86_64")]
mod times;
mod wide;
#[cfg(target_arch = "x86_64")]
mod words;

pub(super) use wide::{Wide, wide};
#[cfg(feature = "model")]
pub(super) use {
    gemm::{After, Product, multiply},
    low::{Low, multiply_low},
    tier::{Tier, tier},
};

#[cfg(target_arch = "x86_64")]
pub(crate) use times::times;
#[cfg(target_arch = "x86_64")]
pub(super) use {
    add::add,
    lookup::lookup,
    place::places,
    score::{score, tails},
    words::{below, prefetch},
};

/// Events that a step of these loops takes.
pub(super) const TOGETHER: usize = 16;

/// Events about which nothing is left but to decide (`ops::decide`); they are of different keys. To decide at once
/// would cost more than the decisions: a processor does not foresee which events are peaks, and waits to know.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Undecided {
    /// The numbers of their keys' states; [`Undecided::NONE`] behind them, up to [`TOGETHER`].
    pub(super) keys: [u32; 2 * TOGETHER],
    /// The numbers of their rows.
    pub(super) rows: [u32; 2 * TOGETHER],
    /// How far their levels lie from those before, in deviations, as bits,
    pub(super) u: [u32; 2 * TOGETHER],
    /// and how far their values lie from what was expected.
    pub(super) off: [u32; 2 * TOGETHER],
    /// How many there are; once [`TOGETHER`] or more, they are to be decided about.
    pub(super) len: usize,
}

impl Undecided {
    /// No key's state.
    const NONE: u32 = u32::MAX;

    /// None at all.
    pub(super) const fn new() -> Self {
        let zero = [0; 2 * TOGETHER];
        Self { keys: [Self::NONE; 2 * TOGETHER], rows: zero, u: zero, off: zero, len: 0 }
    }

    /// None is left.
    pub(super) fn clear(&mut self) {
        self.keys[..TOGETHER].fill(Self::NONE);
        self.len = 0;
    }
}

/// The places of the ones in a mask.
#[inline(always)]
pub(super) fn ones(mut mask: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then_some(mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        place
    })
}

/// Events that [`lookup`] takes at most: what is looked for further stays in the nearest cache.
pub(super) const PIECE: usize = 256;

/// Where the keys of a lookup lie.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The words of the events.
    pub(super) words: &'a [u32],
    /// Words of an event.
    pub(super) stride: usize,
    /// The word of an event that holds its one-word key.
    pub(super) key_word: usize,
    /// The table: tag and check of each slot; a power of two of them.
    pub(super) slots: &'a [[u32; 2]],
    /// The table's seed.
    pub(super) seed: [u32; 4],
}

/// Numbers of events of a piece, in no order.
pub(super) struct Events {
    events: [u32; PIECE + TOGETHER],
    len: usize,
}

impl Events {
    const NONE: Self = Self { events: [0; PIECE + TOGETHER], len: 0 };

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.events[..self.len].iter().map(|&event| event as usize)
    }

    /// Adds the events from `from` to before `to`.
    fn add(&mut self, from: usize, to: usize) {
        for (place, event) in self.events[self.len..].iter_mut().zip(from..to) {
            *place = word(event);
        }
        self.len += to - from;
    }
}

/// What a [`lookup`] writes down.
pub(super) struct Search {
    /// Events that it did not find.
    pub(super) missed: Events,
    /// Events that it goes on looking for.
    waiting: Waiting,
}

/// Keys that are looked for, and where: a piece at first, then those of it that were not in their slot.
struct Waiting {
    events: Events,
    keys: [u32; PIECE + TOGETHER],
    slots: [u32; PIECE + TOGETHER],
    /// What the table holds in these slots.
    held: [[u32; 2]; PIECE],
}

impl Search {
    pub(super) fn new() -> Self {
        let none = [0; PIECE + TOGETHER];
        let held = [[0; 2]; PIECE];
        let waiting = Waiting { events: Events::NONE, keys: none, slots: none, held };
        Self { missed: Events::NONE, waiting }
    }

    /// Finds none of `events`.
    pub(super) fn miss_all(&mut self, events: usize) {
        self.missed.len = 0;
        self.missed.add(0, events);
    }
}

/// Where the values, ids and blocks of additions lie.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The words of the events.
    pub(super) words: &'a [u32],
    /// Words of an event.
    pub(super) stride: usize,
    /// The word of an event that holds its f32.
    pub(super) value: usize,
    /// The events' ids.
    pub(super) ids: &'a [[u32; TOGETHER]],
    /// The slot's part of the block map.
    pub(super) map: &'a [u32],
    /// The row of id 0, when the slot's blocks lie one after another.
    pub(super) base: Option<u32>,
    /// `2^fraction`.
    pub(super) scale: f32,
}

/// Whether [`add`] knows rows of these parts, of f32 values.
pub(super) const fn adds(parts: u32) -> bool {
    matches!(parts, EXTREMES | FIXED) || parts & !SQUARES == EXTREMES | FIXED
}

/// Whether this processor runs these loops.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    let available = std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512cd");
    #[cfg(not(target_arch = "x86_64"))]
    let available = false;
    available
}

/// Does nothing.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn prefetch(_words: &[u32], _at: usize) {}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn lookup(_keys: &Keys<'_>, _ids: &mut [u32], _search: &mut Search) {}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn add<const PARTS: u32>(_source: &Source<'_>, _rows: &mut [u32]) -> usize {
    0
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn below(
    _words: &[u32],
    _stride: usize,
    _word: usize,
    _end: u32,
    _copies: &mut [u32],
) -> usize {
    0
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn score(
    _p: &ScoreParams,
    _events: &[u32],
    _keys: &[u32; TOGETHER],
    _states: &mut [u32],
    _rows: (&mut [[u32; ROW]; TOGETHER], u32),
    _undecided: &mut Undecided,
) -> Option<u16> {
    None
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn tails(
    _peaks: &[[u32; TOGETHER]; 3],
    _u: &[u32; TOGETHER],
    _trials: &[u32; TOGETHER],
) -> [u32; TOGETHER] {
    [0; TOGETHER]
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn places(
    _map: &[u32],
    _base: Option<u32>,
    _ids: &[u32; TOGETHER],
    _rows: usize,
    _places: &mut [u32; TOGETHER],
) -> bool {
    false
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn times(_words: &[u32], _stride: usize, _word: usize) -> (u64, u64) {
    (u64::MAX, 0)
}

#[cfg(all(test, target_arch = "x86_64"))]
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
mod tests;
