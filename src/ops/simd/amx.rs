//! Tiles of low precision by AMX: 32 rows by 32 columns at a time, four tiles of sums, two of inputs, two of weights.
//!
//! A panel's rows of 32 words are what AMX takes for weights as they lie, 16 rows of one half at a time. Stable Rust
//! has no intrinsics for it, so its instructions are written out; they are few. Nothing here was run yet, so the tier
//! is used only when it is asked for by name.

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
}

impl Tiles {
    /// # Safety
    /// AMX is [`available`].
    pub(super) unsafe fn new() -> Self {
        Self { rows: Cell::new(0) }
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

    /// 1 to 32 rows by panel `i`.
    #[inline(always)]
    pub(super) fn tile(&self, low: &Low<'_>, rows: Rows<'_>, i: usize, tile: &mut Tile) {
        let words = low.precision.panel_words(low.depth);
        let panel = &low.panels[i * words..][..words];
        let (count, apart) = (rows.scales.len(), rows.apart);
        let steps = apart / WIDTH;
        assert!((1..=2 * HALF).contains(&count) && rows.codes.len() >= count * apart, "whole rows");
        assert!(panel.len() >= steps * HALF * PANEL, "a whole panel");
        self.set_up(count);
        let mut sums = [[0u32; PANEL]; 2 * HALF];
        let from = (rows.codes.as_ptr(), panel.as_ptr().cast());
        // SAFETY: AMX is available; rows, panel and sums are as large as asserted, and the tiles set up for them.
        unsafe {
            match low.precision {
                Precision::Int8 => multiply::<true>(from, (count, apart), steps, &mut sums),
                _ => multiply::<false>(from, (count, apart), steps, &mut sums),
            }
        }
        for (row, (to, sums)) in tile[..count].iter_mut().zip(&sums).enumerate() {
            if low.precision != Precision::Int8 {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to = f32::from_bits(*sum));
                continue;
            }
            let scale = rows.scales[row];
            for ((to, &sum), of) in to.iter_mut().zip(sums).zip(&low.scales[i * PANEL..]) {
                #[allow(clippy::cast_precision_loss, reason = "rounded, as the spec says")]
                let sum = sum.cast_signed() as f32;
                *to = sum * (scale * of);
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

/// # Safety
/// AMX is available and set up for `count` rows; at the first pointer lie so many, `apart` bytes apart, of 64 bytes a
/// step; at the second lie 16 rows of 128 bytes a step.
#[inline(always)]
unsafe fn multiply<const INT8: bool>(
    (a, w): (*const u8, *const u8),
    (count, apart): (usize, usize),
    steps: usize,
    sums: &mut [[u32; PANEL]; 2 * HALF],
) {
    let to = sums.as_mut_ptr().cast::<u8>();
    let wide = PANEL * 4;
    // SAFETY: as promised. Rows behind the 16th are read and written only where there are some.
    unsafe {
        asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack));
        for step in 0..steps {
            let (a, w) = (a.add(step * WIDTH), w.add(step * HALF * wide));
            asm!(
                "tileloadd tmm4, [{a} + {apart}*1]",
                "tileloadd tmm6, [{w} + {wide}*1]",
                "tileloadd tmm7, [{v} + {wide}*1]",
                a = in(reg) a, apart = in(reg) apart, w = in(reg) w, v = in(reg) w.add(WIDTH),
                wide = in(reg) wide, options(nostack, readonly)
            );
            if INT8 {
                asm!(
                    "tdpbssd tmm0, tmm4, tmm6",
                    "tdpbssd tmm1, tmm4, tmm7",
                    options(nostack, nomem)
                );
            } else {
                asm!(
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    options(nostack, nomem)
                );
            }
            if count > HALF {
                let b = a.add(HALF * apart);
                asm!(
                    "tileloadd tmm5, [{b} + {apart}*1]",
                    b = in(reg) b, apart = in(reg) apart, options(nostack, readonly)
                );
                if INT8 {
                    asm!(
                        "tdpbssd tmm2, tmm5, tmm6",
                        "tdpbssd tmm3, tmm5, tmm7",
                        options(nostack, nomem)
                    );
                } else {
                    asm!(
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        options(nostack, nomem)
                    );
                }
            }
        }
        asm!(
            "tilestored [{to} + {wide}*1], tmm0",
            "tilestored [{right} + {wide}*1], tmm1",
            to = in(reg) to, right = in(reg) to.add(WIDTH), wide = in(reg) wide, options(nostack)
        );
        if count > HALF {
            let to = to.add(HALF * wide);
            asm!(
                "tilestored [{to} + {wide}*1], tmm2",
                "tilestored [{right} + {wide}*1], tmm3",
                to = in(reg) to, right = in(reg) to.add(WIDTH), wide = in(reg) wide, options(nostack)
            );
        }
    }
}
