//! Tiles of low precision by AMX: 32 rows by 32 columns at a time, four tiles of sums, two of inputs, two of weights.
//!
//! A panel's rows of 32 words are what AMX takes for weights as they lie, 16 rows of one half at a time. Stable Rust
//! has no intrinsics for it, so its instructions are written out; they are few. While a panel is multiplied the next
//! one is fetched: its rows lie too far apart for a processor to foresee them, and tiles wait for what they load.

use super::super::gemm::PANEL;
use super::super::low::Precision;
use super::low::{Low, Rows, Tile};
use std::arch::asm;
use std::cell::Cell;
use std::ffi::c_long;

/// Rows of a tile register.
const HALF: usize = 16;
/// Bytes of a row of a tile register.
const WIDTH: usize = 64;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Whether the processor has tiles of INT8 and BF16 and the system lets this process use them; asks for that.
pub(super) fn available() -> bool {
    const SYS_ARCH_PRCTL: c_long = 158;
    const ARCH_REQ_XCOMP_PERM: c_long = 0x1023;
    const XFEATURE_XTILEDATA: c_long = 18;
    // Leaf 7 says AMX-BF16, AMX-TILE and AMX-INT8 in these bits.
    const NEEDED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    if std::arch::x86_64::__cpuid(0).eax < 7 {
        return false;
    }
    if std::arch::x86_64::__cpuid_count(7, 0).edx & NEEDED != NEEDED {
        return false;
    }
    // SAFETY: the call reads no memory; a system that does not know it says so.
    unsafe { syscall(SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start: u8,
    zero: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// The tile registers of this thread, for as long as a product runs.
pub(super) struct Tiles {
    /// Rows that they are set up for.
    rows: Cell<usize>,
    /// What is still to be fetched of the next panel, and how many lines of the cache for each row that is finished.
    next: Cell<(*const u8, usize)>,
}

impl Tiles {
    /// # Safety
    /// AMX is [`available`].
    pub(super) unsafe fn new() -> Self {
        Self { rows: Cell::new(0), next: Cell::new((std::ptr::null(), 0)) }
    }

    /// Sets up tiles 0, 1 and 4 for the first 16 rows, 2, 3 and 5 for those behind, 6 and 7 for weights.
    fn set_up(&self, rows: usize) {
        if self.rows.replace(rows) == rows {
            return;
        }
        let first = u8::try_from(rows.min(HALF)).expect("16 at most");
        // A tile has a row at least; what is beyond the rows is not looked at.
        let behind = u8::try_from(rows.saturating_sub(HALF).max(1)).expect("16 at most");
        let mut config =
            Config { palette: 1, start: 0, zero: [0; 14], bytes: [0; 16], rows: [0; 16] };
        let heights = [first, first, behind, behind, first, behind, 16, 16];
        config.rows[..8].copy_from_slice(&heights);
        config.bytes[..8].fill(64);
        // SAFETY: AMX is available, as `new` was promised; the configuration is 64 bytes of its first palette.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack)) };
    }

    /// Begins to multiply 1 to 32 rows by panel `i`; nothing waits for the sums yet.
    #[inline(always)]
    pub(super) fn begin(&self, low: &Low<'_>, rows: Rows<'_>, i: usize) {
        let words = low.precision.panel_words(low.depth);
        let panel = &low.panels[i * words..][..words];
        let (count, apart) = (rows.scales.len(), rows.apart);
        let steps = low.steps() / HALF;
        assert!((1..=2 * HALF).contains(&count) && rows.codes.len() >= count * apart, "whole rows");
        assert!(apart >= steps * WIDTH && panel.len() >= steps * HALF * PANEL, "whole steps");
        self.set_up(count);
        // Each tile of rows fetches its share of the panel that comes next: a half while it multiplies, and a half
        // while the rows before are finished. More at once would have to wait.
        let lines = HALF.div_ceil(rows.tiles);
        let next = panel.as_ptr().wrapping_add(words + 2 * rows.number * steps * lines * HALF);
        let later = next.wrapping_add(steps * lines * HALF);
        self.next.set((later.cast(), (steps * lines).div_ceil(2 * HALF)));
        let from = Source {
            rows: (rows.codes.as_ptr(), apart, count),
            panel: panel.as_ptr().cast(),
            next: next.cast(),
            lines,
        };
        // SAFETY: AMX is available; rows and panel are as large as asserted, and the tiles set up for them.
        unsafe {
            match low.precision {
                Precision::Int8 => multiply::<true>(&from, steps),
                _ => multiply::<false>(&from, steps),
            }
        }
    }

    /// Fetches more of the next panel: called for each row that is finished.
    #[inline(always)]
    pub(super) fn fetch(&self) {
        let (next, lines) = self.next.get();
        self.next.set((fetch(next, lines), lines));
    }

    /// The sums of what was begun last, with these arguments.
    #[inline(always)]
    pub(super) fn end(&self, low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
        let count = rows.scales.len();
        assert!(self.rows.get() == count, "as it was begun");
        // SAFETY: AMX is available, and the tiles set up for so many rows, 32 at most.
        unsafe { store(tile, count) };
        if low.precision != Precision::Int8 {
            return;
        }
        for (sums, scale) in tile.iter_mut().zip(rows.scales) {
            for (sum, of) in sums.iter_mut().zip(&low.scales[i * PANEL..]) {
                #[allow(clippy::cast_precision_loss, reason = "rounded, as the spec says")]
                let exact = sum.to_bits().cast_signed() as f32;
                *sum = exact * (scale * of);
            }
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if self.rows.get() > 0 {
            // SAFETY: AMX is available; the registers are not used any more.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }
}

/// What a tile is multiplied from.
struct Source {
    /// Rows, how far apart they are, and how many.
    rows: (*const u8, usize, usize),
    /// 16 rows of 128 bytes a step.
    panel: *const u8,
    /// What to fetch, so many lines of the cache a step.
    next: *const u8,
    lines: usize,
}

/// Multiplies into the first four tiles.
///
/// # Safety
/// AMX is available and set up for the rows, which are as long as the steps, 64 bytes each, as is the panel.
#[inline(always)]
unsafe fn multiply<const INT8: bool>(from: &Source, steps: usize) {
    let (a, apart, count) = from.rows;
    let wide = PANEL * 4;
    let mut next = from.next;
    // SAFETY: as promised. Rows behind the 16th are read only where there are some. Nothing is read from
    // lines that are fetched, and fetching harms nothing wherever they are.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack));
        for step in 0..steps {
            next = fetch(next, from.lines);
            let (a, w) = (a.add(step * WIDTH), from.panel.add(step * HALF * wide));
            macro_rules! step {
                ($dot:literal) => {
                    asm!(
                        "tileloadd tmm4, [{a} + {apart}*1]",
                        "tileloadd tmm6, [{w} + {wide}*1]",
                        concat!($dot, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm7, [{v} + {wide}*1]",
                        concat!($dot, " tmm1, tmm4, tmm7"),
                        a = in(reg) a, apart = in(reg) apart, w = in(reg) w, v = in(reg) w.add(WIDTH),
                        wide = in(reg) wide, options(nostack, readonly)
                    );
                    if count > HALF {
                        asm!(
                            "tileloadd tmm5, [{b} + {apart}*1]",
                            concat!($dot, " tmm2, tmm5, tmm6"),
                            concat!($dot, " tmm3, tmm5, tmm7"),
                            b = in(reg) a.add(HALF * apart), apart = in(reg) apart,
                            options(nostack, readonly)
                        );
                    }
                };
            }
            if INT8 {
                step!("tdpbssd");
            } else {
                step!("tdpbf16ps");
            }
        }
    }
}

/// Fetches so many lines of the cache into the second one; returns where the next ones are.
#[inline(always)]
fn fetch(mut at: *const u8, lines: usize) -> *const u8 {
    for _ in 0..lines {
        // SAFETY: nothing is read, and fetching harms nothing wherever it is.
        unsafe { asm!("prefetcht1 [{}]", in(reg) at, options(nostack, readonly)) };
        at = at.wrapping_add(WIDTH);
    }
    at
}

/// Writes the sums of so many rows; those of INT8 are integers, as bits.
///
/// # Safety
/// AMX is available and set up for so many rows, 32 at most.
#[inline(always)]
unsafe fn store(tile: &mut Tile, count: usize) {
    let to = tile.as_mut_ptr().cast::<u8>();
    let wide = PANEL * 4;
    // SAFETY: as promised: a tile is 32 rows of 128 bytes.
    unsafe {
        asm!(
            "tilestored [{to} + {wide}*1], tmm0",
            "tilestored [{to} + {wide}*1 + 64], tmm1",
            to = in(reg) to, wide = in(reg) wide, options(nostack)
        );
        if count > HALF {
            asm!(
                "tilestored [{to} + {wide}*1], tmm2",
                "tilestored [{to} + {wide}*1 + 64], tmm3",
                to = in(reg) to.add(HALF * wide), wide = in(reg) wide, options(nostack)
            );
        }
    }
}
