//! Linear layers of low precision on the processor: rows are rounded, then multiplied in tiles by the best instructions
//! that there are.
//!
//! A block of rows is rounded into memory of the thread, and all panels pass over it: a panel is read once a block from
//! where it lies and comes from the first cache afterwards. A tile is up to 14 rows by the 32 columns of a panel, whose
//! sums stay in registers from first to last k.
//!
//! Which instructions is decided once, by the processor: its *tier*. `PELTON_CPU_TIER` in the environment forces one:
//! `plain` (any processor, the reference) or `avx512` (AVX-512 with VNNI and BF16).

use super::super::gemm::PANEL;
use super::super::low::{Precision, bf16, encode};
use super::Wide;
use super::gemm::After;
use crate::base::error::{Error, Result};
use std::cell::RefCell;
use std::sync::OnceLock;

/// Rows of a tile, at most.
const TILE: usize = 14;
/// Rows that are rounded together.
const BLOCK: usize = 128;
/// What forces a tier.
const VARIABLE: &str = "PELTON_CPU_TIER";

/// Instructions for low precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Tier {
    /// Those that any processor has.
    Plain,
    /// AVX-512 with VNNI and BF16.
    Avx512,
}

/// All of them, best last.
const TIERS: [(&str, Tier); 2] = [("plain", Tier::Plain), ("avx512", Tier::Avx512)];

impl Tier {
    /// As it is asked for.
    pub(in crate::ops) fn name(self) -> &'static str {
        TIERS.into_iter().find(|(_, tier)| *tier == self).map_or("plain", |(name, _)| name)
    }

    /// Whether this processor has it.
    fn is_there(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                super::available()
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
                    && std::arch::is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 => false,
        }
    }

    /// What codes are xor-ed with: VNNI multiplies unsigned by signed ones, so inputs are moved up by 128.
    fn flip(self) -> u8 {
        if self == Self::Avx512 { 0x80 } else { 0 }
    }
}

/// The best tier, or that which was asked for.
fn choose(asked: Option<&str>) -> Result<Tier> {
    let there = || TIERS.into_iter().filter(|(_, tier)| tier.is_there());
    let Some(asked) = asked else {
        return Ok(there().next_back().map_or(Tier::Plain, |(_, tier)| tier));
    };
    if let Some((_, tier)) = there().find(|(name, _)| *name == asked) {
        return Ok(tier);
    }
    let names: Vec<&str> = there().map(|(name, _)| name).collect();
    let names = names.join(", ");
    Err(Error::invalid(format!(
        "{VARIABLE}: {asked:?} is none of what this processor has: {names}"
    )))
}

/// The tier that products run on.
///
/// # Errors
/// `Invalid` when the environment asks for one that is not there.
pub(in crate::ops) fn tier() -> Result<Tier> {
    static TIER: OnceLock<Result<Tier>> = OnceLock::new();
    let chosen = TIER.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(asked) => choose(Some(&asked.to_string_lossy())),
        None => choose(None),
    });
    chosen.clone()
}

/// A product of low precision, and what follows: see `ops::low`.
pub(in crate::ops) struct Low<'a> {
    /// Rows of `depth` values.
    pub(in crate::ops) a: &'a [f32],
    pub(in crate::ops) rows: usize,
    pub(in crate::ops) depth: usize,
    pub(in crate::ops) columns: usize,
    pub(in crate::ops) precision: Precision,
    pub(in crate::ops) panels: &'a [u32],
    /// Of the columns, for INT8.
    pub(in crate::ops) scales: &'a [f32],
    /// Of a row's values, for INT8.
    pub(in crate::ops) smooth: &'a [f32],
    pub(in crate::ops) after: After<'a>,
}

/// Multiplies; rows of the result lie one after another.
///
/// # Panics
/// When the environment asks for a tier that is not there; who can return errors asks [`tier`] before.
pub(in crate::ops) fn multiply_low(low: &Low<'_>, out: &mut [f32]) {
    let tier = tier().unwrap_or_else(|error| panic!("{error}"));
    multiply_on(tier, low, out);
}

/// The same on a tier that is there.
fn multiply_on(tier: Tier, low: &Low<'_>, out: &mut [f32]) {
    if low.rows == 0 || low.depth == 0 {
        return;
    }
    assert!(low.a.len() >= low.rows * low.depth, "rows of `a`");
    assert!(out.len() >= low.rows * low.columns, "rows of the result");
    assert!(low.panels.len() == low.precision.words(low.columns, low.depth), "panels");
    ROOM.with_borrow_mut(|room| {
        let lines = low.apart().div_ceil(64) * BLOCK.min(low.rows);
        if room.codes.len() < lines {
            room.codes.resize(lines, Line([0; 16]));
        }
        super::wide(Multiply { tier, low, room, out });
    });
}

thread_local! {
    /// A thread keeps it, so that a batch allocates nothing.
    static ROOM: RefCell<Room> = const { RefCell::new(Room { codes: Vec::new(), scales: [0.0; BLOCK] }) };
}

/// A line of the cache.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// A block's rows, rounded.
struct Room {
    codes: Vec<Line>,
    scales: [f32; BLOCK],
}

/// Rounded rows of a tile, and where they are multiplied into.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// Rows of as many bytes as a panel has for a column.
    codes: &'a [u8],
    /// The rows' scales, for INT8.
    scales: &'a [f32],
}

type Tile = [[f32; PANEL]; TILE];

struct Multiply<'a, 'b> {
    tier: Tier,
    low: &'a Low<'b>,
    room: &'a mut Room,
    out: &'a mut [f32],
}

impl Low<'_> {
    /// Bytes from one rounded row to the next.
    fn apart(&self) -> usize {
        let padded = self.precision.padded(self.depth);
        if self.precision == Precision::Int8 { padded } else { 2 * padded }
    }

    /// Rounds rows from `first` on.
    #[inline(always)]
    fn round(&self, tier: Tier, first: usize, codes: &mut [u8], scales: &mut [f32]) {
        let (depth, apart) = (self.depth, self.apart());
        let rows = &self.a[first * depth..][..codes.len() / apart * depth];
        if self.precision == Precision::Int8 {
            return encode(rows, (depth, apart, tier.flip()), self.smooth, codes, scales);
        }
        for (row, to) in rows.chunks_exact(depth).zip(codes.chunks_exact_mut(apart)) {
            let (to, rest) = bytemuck::cast_slice_mut::<u8, u16>(to).split_at_mut(depth);
            to.iter_mut().zip(row).for_each(|(to, &x)| *to = bf16(x));
            rest.fill(0);
        }
    }
}

impl Wide for Multiply<'_, '_> {
    #[inline(always)]
    fn run(self) {
        self.blocks(tile_plain);
    }

    /// # Safety
    /// The processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) {
        if self.tier != Tier::Avx512 {
            return self.run();
        }
        self.blocks(|low, rows, i, tile| {
            // SAFETY: the tier is there, so the processor has its instructions; `blocks` gives whole rows and panels.
            unsafe { avx512::tile(low, rows, i, tile) };
        });
    }
}

impl Multiply<'_, '_> {
    #[inline(always)]
    fn blocks(self, tile_of: impl Fn(&Low<'_>, Rows<'_>, usize, &mut Tile)) {
        let Self { tier, low, room, out } = self;
        let (apart, columns) = (low.apart(), low.columns);
        let mut tile: Tile = [[0.0; PANEL]; TILE];
        for first in (0..low.rows).step_by(BLOCK) {
            let count = BLOCK.min(low.rows - first);
            let codes = &mut bytemuck::cast_slice_mut(&mut room.codes)[..count * apart];
            low.round(tier, first, codes, &mut room.scales[..count]);
            // Tiles of one height, about: a last one of few rows would read the panel for little.
            let height = count.div_ceil(count.div_ceil(TILE));
            for i in 0..columns / PANEL {
                let codes = codes.chunks(height * apart);
                for (n, (codes, scales)) in
                    codes.zip(room.scales[..count].chunks(height)).enumerate()
                {
                    tile_of(low, Rows { codes, scales }, i, &mut tile);
                    for (j, sums) in tile[..scales.len()].iter().enumerate() {
                        let at = (first + n * height + j) * columns + i * PANEL;
                        out[at..at + PANEL].copy_from_slice(&low.after.finish(i * PANEL, at, sums));
                    }
                }
            }
        }
    }
}

/// A row by a panel at a time, for any processor.
#[inline(always)]
fn tile_plain(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
    let words = low.precision.panel_words(low.depth);
    let panel = low.panels[i * words..][..words].as_chunks::<PANEL>().0;
    let codes = rows.codes.chunks_exact(low.apart());
    for ((codes, scale), to) in codes.zip(rows.scales).zip(tile) {
        let codes: &[u32] = bytemuck::cast_slice(codes);
        if low.precision == Precision::Bf16 {
            *to = sums_bf16(codes, panel);
            continue;
        }
        let sums = sums_int8(codes, panel);
        for ((to, &sum), of) in to.iter_mut().zip(&sums).zip(&low.scales[i * PANEL..]) {
            #[allow(clippy::cast_precision_loss, reason = "rounded, as the spec says")]
            let sum = sum as f32;
            *to = sum * (scale * of);
        }
    }
}

#[inline(always)]
fn sums_bf16(codes: &[u32], panel: &[[u32; PANEL]]) -> [f32; PANEL] {
    let mut sums = [0.0; PANEL];
    let low = |word: u32| f32::from_bits(word << 16);
    let high = |word: u32| f32::from_bits(word & 0xffff_0000);
    for (&x, w) in codes.iter().zip(panel) {
        sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += low(x) * low(w));
        sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += high(x) * high(w));
    }
    sums
}

#[inline(always)]
fn sums_int8(codes: &[u32], panel: &[[u32; PANEL]]) -> [i32; PANEL] {
    let mut sums = [0; PANEL];
    for (&x, w) in codes.iter().zip(panel) {
        for byte in 0..4 {
            let of = |word: u32| (word << (24 - 8 * byte)).cast_signed() >> 24;
            sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += of(x) * of(w));
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{Low, PANEL, Precision, Rows, TILE, Tile};
    use std::arch::x86_64::*;

    /// # Safety
    /// The processor has the tier's instructions; there are 1 to 14 whole rows, and a panel `i`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
    pub(super) unsafe fn tile(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
        macro_rules! rows_of {
            ($($n:literal)*) => {
                match rows.scales.len() {
                    // SAFETY: as promised; a tile of M rows is taken for M rows.
                    $($n => unsafe { sums::<$n>(low, rows, i, tile) },)*
                    n => unreachable!("{n} rows"),
                }
            };
        }
        const _: () = assert!(TILE == 14, "all heights are there");
        rows_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }

    /// # Safety
    /// The processor has the tier's instructions; there are M whole rows, and a panel `i`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")]
    unsafe fn sums<const M: usize>(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
        let words = low.precision.panel_words(low.depth);
        let panel = low.panels[i * words..][..words].as_chunks::<PANEL>().0;
        let codes: &[u32] = bytemuck::cast_slice(rows.codes);
        let apart = low.apart() / 4;
        assert!(codes.len() >= M * apart && panel.len() >= apart, "whole rows and panels");
        let codes = codes.as_ptr();
        if low.precision == Precision::Bf16 {
            // SAFETY: as promised and asserted.
            return unsafe { bf16::<M>(codes, apart, &panel[..apart], tile) };
        }
        let scales = &low.scales[i * PANEL..][..PANEL];
        // SAFETY: as promised and asserted; a row of a panel and a panel's scales are 32 words.
        unsafe {
            let sums = int8::<M>(codes, apart, &panel[..apart]);
            let above = panel[apart].as_ptr();
            let above =
                [_mm512_loadu_si512(above.cast()), _mm512_loadu_si512(above.add(16).cast())];
            let of = [_mm512_loadu_ps(scales.as_ptr()), _mm512_loadu_ps(scales.as_ptr().add(16))];
            for ((to, sums), scale) in tile.iter_mut().zip(&sums).zip(rows.scales) {
                let scale = _mm512_set1_ps(*scale);
                for (half, &sum) in sums.iter().enumerate() {
                    let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, above[half]));
                    let y = _mm512_mul_ps(sum, _mm512_mul_ps(scale, of[half]));
                    _mm512_storeu_ps(to.as_mut_ptr().add(16 * half), y);
                }
            }
        }
    }

    /// # Safety
    /// The processor has the instructions; at `codes` lie M rows, `apart` words apart, of a word a row of the panel.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn int8<const M: usize>(
        codes: *const u32,
        apart: usize,
        panel: &[[u32; PANEL]],
    ) -> [[__m512i; 2]; M] {
        let mut sums = [[_mm512_setzero_si512(); 2]; M];
        for (k, w) in panel.iter().enumerate() {
            // SAFETY: a row of the panel is 32 words; row m has a word k, as promised.
            unsafe {
                let low = _mm512_loadu_si512(w.as_ptr().cast());
                let high = _mm512_loadu_si512(w.as_ptr().add(16).cast());
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32((*codes.add(m * apart + k)).cast_signed());
                    sums[0] = _mm512_dpbusd_epi32(sums[0], x, low);
                    sums[1] = _mm512_dpbusd_epi32(sums[1], x, high);
                }
            }
        }
        sums
    }

    /// # Safety
    /// As for `int8`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn bf16<const M: usize>(
        codes: *const u32,
        apart: usize,
        panel: &[[u32; PANEL]],
        tile: &mut Tile,
    ) {
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        for (k, w) in panel.iter().enumerate() {
            // SAFETY: a row of the panel is 32 words; row m has a word k, as promised. A word is two of BF16.
            unsafe {
                let words = |at: *const u32| {
                    std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast()))
                };
                let (low, high) = (words(w.as_ptr()), words(w.as_ptr().add(16)));
                for (m, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32((*codes.add(m * apart + k)).cast_signed());
                    let x = std::mem::transmute::<__m512i, __m512bh>(x);
                    sums[0] = _mm512_dpbf16_ps(sums[0], x, low);
                    sums[1] = _mm512_dpbf16_ps(sums[1], x, high);
                }
            }
        }
        for (to, sums) in tile.iter_mut().zip(&sums) {
            // SAFETY: a row of a tile is 32 values.
            unsafe {
                _mm512_storeu_ps(to.as_mut_ptr(), sums[0]);
                _mm512_storeu_ps(to.as_mut_ptr().add(16), sums[1]);
            }
        }
    }
}

#[cfg(test)]
#[path = "low_tests.rs"]
mod tests;
