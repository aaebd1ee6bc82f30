//! Linear layers of low precision on the processor: rows are rounded, then multiplied in tiles by the best instructions
//! that there are.
//!
//! A block of rows is rounded into memory of the thread, and all panels pass over it: a panel is read once a block from
//! where it lies and comes from the first cache afterwards. A tile is up to 14 rows, of AMX 32, by the 32 columns of
//! a panel, whose sums stay in registers from first to last k.
//!
//! Where the processor has no products of 16-bit numbers, rows stay `f32` when they are rounded, those of F16 times
//! `2^112`. Weights become `f32` by moving their bits, which leaves those of F16 at `2^-112` of their size. All of that
//! is exact, and so are the products.
//!
//! Which instructions they are is `simd::tier`'s matter; here is what any processor runs, the reference.

use super::super::gelu::Tails;
use super::super::gemm::PANEL;
use super::super::low::{Precision, encode, round_bf16, round_f16};
use super::Wide;
use super::gemm::{After, gelu_plain};
use super::tier::{Tier, tier};
use std::cell::RefCell;

/// Rows of a tile, at most.
pub(super) const TILE: usize = 32;
/// Rows whose sums fit the registers of AVX-512.
pub(super) const AVX512_ROWS: usize = 14;
/// Rows that are rounded together.
const BLOCK: usize = 256;
/// `2^112`: what a number's exponent says more in F16 than in `f32`.
const F16_UP: f32 = (1u128 << 112) as f32;
/// Bits of a word whose upper half is of F16, moved down by three places: its sign and what else stays.
pub(super) const F16_KEPT: u32 = 0x8fff_e000;

impl Tier {
    /// What codes are xor-ed with: VNNI multiplies unsigned by signed ones, so inputs are moved up by 128.
    fn flip(self) -> u8 {
        if self == Self::Avx512 { 0x80 } else { 0 }
    }

    /// Whether rounded rows of a precision stay `f32`.
    fn floats(self, precision: Precision) -> bool {
        match precision {
            Precision::F32 | Precision::F16 => true,
            Precision::Bf16 => matches!(self, Self::Plain | Self::Neon | Self::Avx2),
            Precision::Int8 => false,
        }
    }

    /// Rows of each tile of so many: about the same, since a last one of few would read the panel for little. AMX takes
    /// its full height.
    fn height(self, rows: usize) -> usize {
        match self {
            Self::Amx => TILE,
            _ => rows.div_ceil(rows.div_ceil(AVX512_ROWS)),
        }
    }
}

/// A product of low precision, and what follows: see `ops::low`.
pub(in crate::ops) struct Low<'a> {
    /// Rows of `depth` values, `a_stride` apart.
    pub(in crate::ops) a: &'a [f32],
    pub(in crate::ops) a_stride: usize,
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
    pub(in crate::ops) out_stride: usize,
}

/// Multiplies; `out` takes `columns` values a row.
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
    assert!(low.a.len() >= (low.rows - 1) * low.a_stride + low.depth, "rows of `a`");
    assert!(out.len() >= (low.rows - 1) * low.out_stride + low.columns, "rows of the result");
    assert!(low.panels.len() == low.precision.words(low.columns, low.depth), "panels");
    // AMX has no tiles of F16, or hardly anywhere.
    let f16_on_amx = tier == Tier::Amx && low.precision == Precision::F16;
    let tier = if f16_on_amx { Tier::Avx512 } else { tier };
    ROOM.with_borrow_mut(|room| {
        let lines = low.apart(tier).div_ceil(64) * BLOCK.min(low.rows);
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
pub(super) struct Rows<'a> {
    /// Rows, so many bytes apart: for each of a panel's words one of codes or 16-bit numbers, or two `f32`.
    pub(super) codes: &'a [u8],
    pub(super) apart: usize,
    /// The rows' scales, for INT8; as many as there are rows.
    pub(super) scales: &'a [f32],
    /// Which tile of a block they are, and of how many.
    pub(super) number: usize,
    pub(super) tiles: usize,
}

pub(super) type Tile = [[f32; PANEL]; TILE];

struct Multiply<'a, 'b> {
    tier: Tier,
    low: &'a Low<'b>,
    room: &'a mut Room,
    out: &'a mut [f32],
}

impl Low<'_> {
    /// Bytes from one rounded row to the next.
    fn apart(&self, tier: Tier) -> usize {
        let padded = self.precision.padded(self.depth);
        let bytes = match self.precision {
            Precision::Int8 => padded,
            precision if tier.floats(precision) => 4 * padded,
            _ => 2 * padded,
        };
        // An odd number of lines: rows that a tile of AMX loads together lie in different parts of the cache.
        if tier == Tier::Amx { bytes | 64 } else { bytes }
    }

    /// The rows of a panel's words; of INT8 the last one is of sums.
    pub(super) fn panel(&self, i: usize) -> &[[u32; PANEL]] {
        let words = self.precision.panel_words(self.depth);
        self.panels[i * words..][..words].as_chunks::<PANEL>().0
    }

    /// Rows of a panel's words, but for the sums of INT8.
    pub(super) fn steps(&self) -> usize {
        let padded = self.precision.padded(self.depth);
        if self.precision == Precision::Int8 { padded / 4 } else { padded / 2 }
    }

    /// Does what follows upon a tile's sums, and writes the results.
    #[inline(always)]
    fn finish(
        &self,
        place: Place,
        tile: &Tile,
        out: &mut [f32],
        gelu: &impl Fn(&Tails, &mut [f32; PANEL]),
        row_begins: &impl Fn(),
    ) {
        let column = place.panel * PANEL;
        for (row, sums) in tile[..place.rows].iter().enumerate() {
            row_begins();
            let at = (place.first + row) * self.out_stride + column;
            self.after.finish((column, at), sums, out, gelu);
        }
    }

    /// Rounds rows from `first` on.
    #[inline(always)]
    fn round(&self, tier: Tier, first: usize, codes: &mut [u8], scales: &mut [f32]) {
        let (depth, apart) = (self.depth, self.apart(tier));
        for (i, codes) in codes.chunks_exact_mut(apart).enumerate() {
            let row = &self.a[(first + i) * self.a_stride..][..depth];
            match self.precision {
                Precision::Int8 => scales[i] = encode(row, tier.flip(), self.smooth, codes),
                #[cfg(target_arch = "x86_64")]
                Precision::Bf16 if !tier.floats(Precision::Bf16) => {
                    let (to, rest) = bytemuck::cast_slice_mut::<u8, u16>(codes).split_at_mut(depth);
                    // SAFETY: of the tiers those of AVX-512 keep no floats, and this one is there.
                    unsafe {
                        super::low_avx512::round(row, to);
                    }
                    rest.fill(0);
                }
                precision => {
                    let (to, rest) = bytemuck::cast_slice_mut::<u8, f32>(codes).split_at_mut(depth);
                    let all = to.iter_mut().zip(row);
                    match precision {
                        Precision::Bf16 => all.for_each(|(to, &x)| *to = round_bf16(x)),
                        _ => all.for_each(|(to, &x)| *to = round_f16(x) * F16_UP),
                    }
                    rest.fill(0.0);
                }
            }
        }
    }
}

impl Wide for Multiply<'_, '_> {
    #[inline(always)]
    fn run(self) {
        self.blocks(nothing, tile_plain, gelu_plain, || {});
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn run_neon(self) {
        if self.tier == Tier::Plain {
            return self.run();
        }
        let tile = |low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile| {
            // SAFETY: the tier is there; `blocks` gives whole rows and panels.
            unsafe { super::neon::tile(low, rows, i, tile) };
        };
        self.blocks(nothing, tile, super::gelu::neon, || {});
    }

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) {
        if self.tier == Tier::Plain {
            return self.run();
        }
        let tile = |low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile| {
            // SAFETY: promised by the caller; `blocks` gives whole rows and panels.
            unsafe { super::avx2::tile(low, rows, i, tile) };
        };
        // SAFETY: as before.
        let gelu =
            |tails: &Tails, values: &mut [f32; PANEL]| unsafe { super::gelu::avx2(tails, values) };
        self.blocks(nothing, tile, gelu, || {});
    }

    /// # Safety
    /// The processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) {
        // SAFETY: promised by the caller.
        let gelu = |tails: &Tails, values: &mut [f32; PANEL]| unsafe {
            super::gelu::avx512(tails, values);
        };
        match self.tier {
            Tier::Plain => return self.run(),
            // SAFETY: the tier is there.
            Tier::Avx2 => return unsafe { self.run_avx2() },
            #[cfg(target_os = "linux")]
            Tier::Amx => {
                // SAFETY: the tier is there, so AMX is.
                let tiles = unsafe { super::amx::Tiles::new() };
                let begin = |low: &Low<'_>, rows: Rows<'_>, i| tiles.begin(low, rows, i);
                let end = |low: &Low<'_>, rows: Rows<'_>, i, tile: &mut Tile| {
                    tiles.end(low, rows, i, tile);
                };
                return self.blocks(begin, end, gelu, || tiles.fetch());
            }
            _ => {}
        }
        let tile = |low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile| {
            // SAFETY: the tier is there, so the processor has its instructions; `blocks` gives whole rows and panels.
            unsafe { super::low_avx512::tile(low, rows, i, tile) };
        };
        self.blocks(nothing, tile, gelu, || {});
    }
}

/// What begins a tile where nothing goes on in the background.
#[inline(always)]
fn nothing(_: &Low<'_>, _: Rows<'_>, _: usize) {}

/// Where a tile's sums belong: rows of the result from the first on, so many, of a panel.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    rows: usize,
    panel: usize,
}

impl Multiply<'_, '_> {
    /// A tile is begun, what follows upon the one before is done meanwhile, row by row, then it is ended.
    #[inline(always)]
    fn blocks(
        self,
        begin: impl Fn(&Low<'_>, Rows<'_>, usize),
        end: impl Fn(&Low<'_>, Rows<'_>, usize, &mut Tile),
        gelu: impl Fn(&Tails, &mut [f32; PANEL]),
        row_begins: impl Fn(),
    ) {
        let Self { tier, low, room, out } = self;
        let apart = low.apart(tier);
        let mut tile: Tile = [[0.0; PANEL]; TILE];
        let mut before = Place { first: 0, rows: 0, panel: 0 };
        for first in (0..low.rows).step_by(BLOCK) {
            let count = BLOCK.min(low.rows - first);
            let codes = &mut bytemuck::cast_slice_mut(&mut room.codes)[..count * apart];
            low.round(tier, first, codes, &mut room.scales[..count]);
            let height = tier.height(count);
            let tiles = count.div_ceil(height);
            for panel in 0..low.columns / PANEL {
                let codes = codes.chunks(height * apart);
                let scales = room.scales[..count].chunks(height);
                for (number, (codes, scales)) in codes.zip(scales).enumerate() {
                    let rows = Rows { codes, apart, scales, number, tiles };
                    begin(low, rows, panel);
                    low.finish(before, &tile, out, &gelu, &row_begins);
                    end(low, rows, panel, &mut tile);
                    before = Place { first: first + number * height, rows: scales.len(), panel };
                }
            }
        }
        low.finish(before, &tile, out, &gelu, &row_begins);
    }
}

/// A row by a panel at a time, for any processor.
#[inline(always)]
fn tile_plain(low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
    let panel = low.panel(i);
    let codes = rows.codes.chunks_exact(rows.apart);
    for ((codes, scale), to) in codes.zip(rows.scales).zip(tile) {
        if low.precision != Precision::Int8 {
            let row = bytemuck::cast_slice(codes);
            let bf16 = |word| f32::from_bits(word & 0xffff_0000);
            let f16 =
                |word: u32| f32::from_bits((word.cast_signed() >> 3).cast_unsigned() & F16_KEPT);
            *to = match low.precision {
                Precision::Bf16 => sums_halves(row, panel, bf16),
                _ => sums_halves(row, panel, f16),
            };
            continue;
        }
        let sums = sums_int8(bytemuck::cast_slice(codes), panel);
        for ((to, &sum), of) in to.iter_mut().zip(&sums).zip(&low.scales[i * PANEL..]) {
            #[allow(clippy::cast_precision_loss, reason = "rounded, as the spec says")]
            let sum = sum as f32;
            *to = sum * (scale * of);
        }
    }
}

/// `upper` says what the upper half of a word is.
#[inline(always)]
fn sums_halves(
    row: &[[f32; 2]],
    panel: &[[u32; PANEL]],
    upper: impl Fn(u32) -> f32,
) -> [f32; PANEL] {
    let mut sums = [0.0; PANEL];
    for (&[x, y], w) in row.iter().zip(panel) {
        sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += x * upper(w << 16));
        sums.iter_mut().zip(w).for_each(|(sum, &w)| *sum += y * upper(w));
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

#[cfg(test)]
#[path = "low_tests.rs"]
mod tests;
