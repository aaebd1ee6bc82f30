//! Accumulator rows: what the windows keep for each key and slice, in words that add up in any order.
//!
//! Numeric contract. Nothing here depends on the order of events, so every device and every batch size gives the
//! same bits. Values are classified by their bits: a NaN is counted (`nan`) and kept out of everything else; an
//! infinity takes part in min, max, first and last, and is counted (`outside`) and kept out of sums, as is a
//! value that does not fit the fixed point. Min and max compare by `ordered` bits, so -0 lies below +0.
//!
//! A zeroed row is an empty row: maxima are kept as they are, minima inverted, so that both grow.
//!
//! | words | part | holds |
//! |---|---|---|
//! | 4 | always | count, nan, outside, fired (the count when the row was last emitted) |
//! | 2 | `EXTREMES` | inverted ordered minimum, ordered maximum |
//! | 2 | `FIXED` | sum of fixed-point values, 64 bits |
//! | 4 | `SQUARES` | sum of their squares, 128 bits |
//! | 18 | `EXACT` | nine 64-bit limbs, 32 bits apart, that sum any f32 exactly, in units of 2^-149 |
//! | 8 | `FIRST` | time (2), lane + 1 (0: none), sequence (2), value, elected event + 1, padding |
//! | 8 | `LAST` | the same |

use super::batch::{hi, join, lo};
use half::{bf16, f16};

/// Events counted, NaN among them.
pub const COUNT: usize = 0;
/// Events whose value is NaN.
pub const NAN: usize = 1;
/// Events whose value is in no sum: infinite, or outside the fixed point.
pub const OUTSIDE: usize = 2;
/// The count when this row was last emitted.
pub const FIRED: usize = 3;

/// Part: minimum and maximum.
pub const EXTREMES: u32 = 1;
/// Part: sum in fixed point.
pub const FIXED: u32 = 2;
/// Part: sum of squares in fixed point; needs [`FIXED`].
pub const SQUARES: u32 = 4;
/// Part: exact sum over the whole range of an f32.
pub const EXACT: u32 = 8;
/// Part: the first value by (time, lane, sequence).
pub const FIRST: u32 = 16;
/// Part: the last value by (time, lane, sequence).
pub const LAST: u32 = 32;

/// Limbs of an exact sum.
pub const LIMBS: usize = 9;
/// Words of a first or last value.
pub const END: usize = 8;
/// Word of an end: lane + 1, 0 when there is none.
pub const END_LANE: usize = 2;
/// Word of an end: its value's bits.
pub const END_VALUE: usize = 5;
/// Word of an end: the event of the running batch elected for it, + 1.
pub const END_ELECT: usize = 6;

/// Where the parts of a row lie; parts that are not there have offset 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Which parts there are.
    pub parts: u32,
    /// Words of a row, a multiple of four.
    pub words: usize,
    /// Offset of the extremes.
    pub extremes: usize,
    /// Offset of the fixed-point sum.
    pub fixed: usize,
    /// Offset of the squares.
    pub squares: usize,
    /// Offset of the limbs.
    pub exact: usize,
    /// Offset of the first value.
    pub first: usize,
    /// Offset of the last value.
    pub last: usize,
}

impl Layout {
    /// The layout of a row with these parts.
    pub const fn new(parts: u32) -> Self {
        assert!(parts & SQUARES == 0 || parts & FIXED != 0, "squares need the fixed-point sum");
        let mut l = Self {
            parts,
            words: 4,
            extremes: 0,
            fixed: 0,
            squares: 0,
            exact: 0,
            first: 0,
            last: 0,
        };
        let sizes = [2, 2, 4, 2 * LIMBS, END, END];
        let mut part = 0;
        while part < sizes.len() {
            if parts & (1 << part) != 0 {
                match part {
                    0 => l.extremes = l.words,
                    1 => l.fixed = l.words,
                    2 => l.squares = l.words,
                    3 => l.exact = l.words,
                    4 => l.first = l.words,
                    _ => l.last = l.words,
                }
                l.words += sizes[part];
            }
            part += 1;
        }
        l.words = l.words.next_multiple_of(4);
        l
    }
}

/// Sum, minimum and maximum.
pub const USUAL: u32 = EXTREMES | FIXED;
/// And the variance.
pub const USUAL_SQUARES: u32 = USUAL | SQUARES;
/// Sum, minimum and maximum over the whole range of an f32.
pub const USUAL_EXACT: u32 = EXTREMES | EXACT;
/// Parts that the compiler does not know.
pub const ANY: u32 = u32::MAX;

/// Calls `f::<WORDS, PARTS>(args)` for rows of these parts. The usual rows get code of their own, in which the compiler
/// sees their constants; for all others `WORDS` is 0 and `PARTS` is [`ANY`].
macro_rules! with_parts {
    ($parts:expr, $f:ident($($arg:expr),*)) => {
        match $parts {
            0 => $f::<4, 0>($($arg),*),
            $crate::ops::row::USUAL => $f::<8, { $crate::ops::row::USUAL }>($($arg),*),
            $crate::ops::row::USUAL_SQUARES => {
                $f::<12, { $crate::ops::row::USUAL_SQUARES }>($($arg),*)
            }
            $crate::ops::row::FIXED => $f::<8, { $crate::ops::row::FIXED }>($($arg),*),
            $crate::ops::row::EXTREMES => $f::<8, { $crate::ops::row::EXTREMES }>($($arg),*),
            $crate::ops::row::USUAL_EXACT => {
                $f::<24, { $crate::ops::row::USUAL_EXACT }>($($arg),*)
            }
            $crate::ops::row::EXACT => $f::<24, { $crate::ops::row::EXACT }>($($arg),*),
            _ => $f::<0, { $crate::ops::row::ANY }>($($arg),*),
        }
    };
}
pub(super) use with_parts;

/// How a value lies in an event's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The word is an f32.
    F32 = 0,
    /// The lower half is an f16.
    F16Lower = 1,
    /// The upper half is an f16.
    F16Upper = 2,
    /// The lower half is a bf16.
    Bf16Lower = 3,
    /// The upper half is a bf16.
    Bf16Upper = 4,
    /// The word is an i32.
    I32 = 5,
}

impl Kind {
    /// The kind from its number.
    pub const fn from_u32(n: u32) -> Self {
        match n {
            0 => Self::F32,
            1 => Self::F16Lower,
            2 => Self::F16Upper,
            3 => Self::Bf16Lower,
            4 => Self::Bf16Upper,
            _ => Self::I32,
        }
    }

    /// The bits of the value in this word: those of an f32, or of an i32.
    #[inline(always)]
    pub fn bits(self, word: u32) -> u32 {
        let half = |upper: bool| {
            u16::try_from(if upper { word >> 16 } else { word & 0xFFFF }).unwrap_or(0)
        };
        match self {
            Self::F32 | Self::I32 => word,
            Self::F16Lower => f16::from_bits(half(false)).to_f32_const().to_bits(),
            Self::F16Upper => f16::from_bits(half(true)).to_f32_const().to_bits(),
            Self::Bf16Lower => bf16::from_bits(half(false)).to_f32_const().to_bits(),
            Self::Bf16Upper => bf16::from_bits(half(true)).to_f32_const().to_bits(),
        }
    }

    /// Whether these bits are not a number.
    #[inline(always)]
    pub const fn is_nan(self, bits: u32) -> bool {
        !matches!(self, Self::I32) && bits & 0x7FFF_FFFF > 0x7F80_0000
    }

    /// An integer that sorts as the value does.
    #[inline(always)]
    pub const fn ordered(self, bits: u32) -> u32 {
        match self {
            Self::I32 => bits ^ 0x8000_0000,
            _ if bits >> 31 == 1 => !bits,
            _ => bits | 0x8000_0000,
        }
    }

    /// The value that [`Self::ordered`] made this integer of.
    pub fn unordered(self, ordered: u32) -> f64 {
        match self {
            Self::I32 => f64::from((ordered ^ 0x8000_0000).cast_signed()),
            _ if ordered >> 31 == 1 => f64::from(f32::from_bits(ordered & 0x7FFF_FFFF)),
            _ => f64::from(f32::from_bits(!ordered)),
        }
    }

    /// The value of these bits.
    pub fn value(self, bits: u32) -> f64 {
        match self {
            Self::I32 => f64::from(bits.cast_signed()),
            _ => f64::from(f32::from_bits(bits)),
        }
    }

    /// The value times `2^fraction`, to the nearest integer, ties to even, where that fits an i32.
    /// An i32 is taken as it is.
    #[inline(always)]
    pub fn fixed(self, bits: u32, fraction: u32) -> Option<i32> {
        if self == Self::I32 {
            return Some(bits.cast_signed());
        }
        // Exact steps only: f32 to f64, times a power of two, and the one rounding that adding 1.5 * 2^52 makes.
        // The shaders do the same by shifting the significand; a test holds both to one answer.
        let scale = f64::from_bits((1023 + u64::from(fraction)) << 52);
        let x = f64::from(f32::from_bits(bits)) * scale;
        let fits = (-2_147_483_648.5..2_147_483_647.5).contains(&x);
        fits.then(|| lo((x + 6_755_399_441_055_744.0).to_bits()).cast_signed())
    }
}

/// Largest number of fraction bits of the fixed point.
pub const FRACTION_MAX: u32 = 31;

#[inline(always)]
fn load(row: &[u32], at: usize) -> u64 {
    join(row[at], row[at + 1])
}

#[inline(always)]
fn store(row: &mut [u32], at: usize, x: u64) {
    row[at] = lo(x);
    row[at + 1] = hi(x);
}

/// Adds to a 64-bit sum.
#[inline(always)]
pub fn add64(row: &mut [u32], at: usize, x: u64) {
    let sum = load(row, at).wrapping_add(x);
    store(row, at, sum);
}

/// Adds to a 128-bit sum.
#[inline(always)]
pub fn add128(row: &mut [u32], at: usize, x: u128) {
    let (low, high) = (load(row, at), load(row, at + 2));
    let sum = (u128::from(low) | u128::from(high) << 64).wrapping_add(x);
    #[allow(clippy::cast_possible_truncation, reason = "split into halves")]
    let (low, high) = (sum as u64, (sum >> 64) as u64);
    store(row, at, low);
    store(row, at + 2, high);
}

/// Adds a finite f32 to the limbs of an exact sum.
#[inline(always)]
pub fn add_exact(row: &mut [u32], at: usize, bits: u32) {
    let exponent = bits >> 23 & 0xFF;
    let significand = bits & 0x7F_FFFF | u32::from(exponent > 0) << 23;
    let place = exponent.max(1) - 1;
    let shifted = u64::from(significand) << (place & 31);
    let limb = at + 2 * (place >> 5) as usize;
    let (low, high) = (u64::from(lo(shifted)), u64::from(hi(shifted)));
    if bits >> 31 == 0 {
        add64(row, limb, low);
        add64(row, limb + 2, high);
    } else {
        add64(row, limb, low.wrapping_neg());
        add64(row, limb + 2, high.wrapping_neg());
    }
}

/// Adds one event's value to a row; the ends are not touched.
#[inline(always)]
pub fn add_value(row: &mut [u32], l: &Layout, parts: u32, kind: Kind, fraction: u32, word: u32) {
    row[COUNT] = row[COUNT].wrapping_add(1);
    if parts == 0 {
        return;
    }
    let bits = kind.bits(word);
    if kind.is_nan(bits) {
        row[NAN] = row[NAN].wrapping_add(1);
        return;
    }
    if parts & EXTREMES != 0 {
        let ordered = kind.ordered(bits);
        row[l.extremes] = row[l.extremes].max(!ordered);
        row[l.extremes + 1] = row[l.extremes + 1].max(ordered);
    }
    if parts & FIXED != 0 {
        match kind.fixed(bits, fraction) {
            Some(x) => {
                add64(row, l.fixed, i64::from(x).cast_unsigned());
                if parts & SQUARES != 0 {
                    let square = i64::from(x) * i64::from(x);
                    add128(row, l.squares, u128::from(square.cast_unsigned()));
                }
            }
            None => row[OUTSIDE] = row[OUTSIDE].wrapping_add(1),
        }
    }
    if parts & EXACT != 0 {
        if bits & 0x7F80_0000 == 0x7F80_0000 {
            row[OUTSIDE] = row[OUTSIDE].wrapping_add(1);
        } else {
            add_exact(row, l.exact, bits);
        }
    }
}

/// Where an event stands among others: by time, then lane, then sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Event time.
    pub time: u64,
    /// Lane + 1.
    pub lane: u32,
    /// Sequence number in the lane.
    pub seq: u64,
}

/// The place of an end; `None` when it is empty.
#[inline(always)]
pub fn end_place(end: &[u32]) -> Option<Place> {
    (end[END_LANE] != 0).then(|| Place {
        time: load(end, 0),
        lane: end[END_LANE],
        seq: load(end, 3),
    })
}

/// Writes an end.
#[inline(always)]
pub fn set_end(end: &mut [u32], place: Place, bits: u32) {
    store(end, 0, place.time);
    end[END_LANE] = place.lane;
    store(end, 3, place.seq);
    end[END_VALUE] = bits;
}

/// Whether an event at `place` takes the end's place.
#[inline(always)]
pub fn takes_end(end: &[u32], place: Place, last: bool) -> bool {
    match end_place(end) {
        None => true,
        Some(there) if last => place > there,
        Some(there) => place < there,
    }
}

/// Offers one event to the row's first and last value.
#[inline(always)]
pub fn add_ends(row: &mut [u32], l: &Layout, parts: u32, place: Place, bits: u32) {
    for (part, at, last) in [(FIRST, l.first, false), (LAST, l.last, true)] {
        if parts & part != 0 && takes_end(&row[at..at + END], place, last) {
            set_end(&mut row[at..at + END], place, bits);
        }
    }
}

/// Adds all that `from` holds to `into`, `fired` aside.
#[inline(always)]
pub fn merge(into: &mut [u32], from: &[u32], l: &Layout) {
    if from[COUNT] == 0 {
        return;
    }
    for word in [COUNT, NAN, OUTSIDE] {
        into[word] = into[word].wrapping_add(from[word]);
    }
    if l.parts & EXTREMES != 0 {
        for at in [l.extremes, l.extremes + 1] {
            into[at] = into[at].max(from[at]);
        }
    }
    if l.parts & FIXED != 0 {
        add64(into, l.fixed, load(from, l.fixed));
    }
    if l.parts & SQUARES != 0 {
        let x = u128::from(load(from, l.squares)) | u128::from(load(from, l.squares + 2)) << 64;
        add128(into, l.squares, x);
    }
    if l.parts & EXACT != 0 {
        for limb in 0..LIMBS {
            add64(into, l.exact + 2 * limb, load(from, l.exact + 2 * limb));
        }
    }
    for (part, at, last) in [(FIRST, l.first, false), (LAST, l.last, true)] {
        if l.parts & part != 0
            && let Some(place) = end_place(&from[at..at + END])
            && takes_end(&into[at..at + END], place, last)
        {
            into[at..at + END_ELECT].copy_from_slice(&from[at..at + END_ELECT]);
        }
    }
}

/// The sum that these limbs hold, rounded once to the nearest f64, ties to even.
///
/// Source of the representation: U. Kulisch's long accumulator, cut to the range of an f32.
pub fn exact_sum(limbs: &[u32]) -> f64 {
    // Carry the overlapping signed limbs into plain 32-bit digits, least significant first.
    let mut digits = [0u32; LIMBS + 2];
    let mut carry = 0i128;
    for (k, digit) in digits.iter_mut().enumerate() {
        let limb = if k < LIMBS { load(limbs, 2 * k).cast_signed() } else { 0 };
        let sum = carry + i128::from(limb);
        *digit = u32::try_from(sum & 0xFFFF_FFFF).expect("masked to 32 bits");
        carry = sum >> 32;
    }
    let negative = carry < 0;
    if negative {
        let mut borrow = true;
        for digit in &mut digits {
            let (d, b) = (!*digit).overflowing_add(u32::from(borrow));
            (*digit, borrow) = (d, b);
        }
    }
    let Some(top) = digits.iter().rposition(|&d| d != 0) else { return 0.0 };
    // The 96 bits from the top digit down hold 65 significant ones or all there are; what lies below only
    // breaks ties, so it is folded into the lowest bit.
    let digit = |k: usize| top.checked_sub(k).map_or(0, |i| u128::from(digits[i]));
    let mut head = digit(0) << 64 | digit(1) << 32 | digit(2);
    let below = top.checked_sub(3).is_some_and(|i| digits[..=i].iter().any(|&d| d != 0));
    head |= u128::from(below);
    #[allow(clippy::cast_precision_loss, reason = "this is the one rounding")]
    let rounded = head as f64;
    let exponent = 32 * (i32::try_from(top).expect("few digits") - 2) - 149;
    let magnitude = scale(rounded, exponent);
    if negative { -magnitude } else { magnitude }
}

/// `x * 2^exponent` where the result is a normal f64.
fn scale(x: f64, exponent: i32) -> f64 {
    let power =
        |e: i32| f64::from_bits(u64::try_from(1023 + e).expect("a normal power of two") << 52);
    x * power(exponent / 2) * power(exponent - exponent / 2)
}

#[cfg(test)]
#[path = "row_tests.rs"]
#[allow(clippy::cast_possible_truncation, reason = "random bits are cut to size")]
mod tests;
