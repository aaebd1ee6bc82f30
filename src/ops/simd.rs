//! The two hottest loops of the CPU twins for processors with AVX-512: eight or sixteen events at a time.
//!
//! A scalar loop spends its time on instructions, not on memory: hashing, comparing, converting. These do that
//! work side by side and leave to scalar code what is rare (a key displaced far, a value that is not finite) and
//! what must go one by one (adding to rows). They give the same results bit for bit, and the scalar loops stay the
//! reference: tests run both. Everywhere else, and on other processors, callers get `None` and use those.

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{convert, lookup};

/// Events that one call converts.
pub(super) const TOGETHER: usize = 16;

/// Values ready to be added: what [`convert`] makes of sixteen events.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Converted {
    /// Inverted ordered bits, then ordered bits, as one number: what extremes are compared with.
    pub(super) extremes: [u64; TOGETHER],
    /// The fixed point.
    pub(super) fixed: [i32; TOGETHER],
    /// The index of each event's row.
    pub(super) row: [u32; TOGETHER],
}

impl Default for Converted {
    fn default() -> Self {
        Self { extremes: [0; TOGETHER], fixed: [0; TOGETHER], row: [0; TOGETHER] }
    }
}

/// Where the values, ids and blocks of a conversion lie.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The words of sixteen events.
    pub(super) words: &'a [u32],
    /// Words of an event.
    pub(super) stride: usize,
    /// The word of an event that holds its f32.
    pub(super) value: usize,
    /// The events' ids.
    pub(super) ids: &'a [u32; TOGETHER],
    /// The slot's part of the block map.
    pub(super) map: &'a [u32],
    /// The row of id 0, when the slot's blocks lie one after another.
    pub(super) base: Option<u32>,
    /// `2^fraction`.
    pub(super) scale: f64,
}

/// Where the keys of a lookup lie.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The words of sixteen events.
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

/// Whether this processor runs these loops.
pub(super) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    let available = std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    let available = false;
    available
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn lookup(_keys: &Keys<'_>, _ids: &mut [u32; TOGETHER]) -> u16 {
    0
}

/// Never called: [`available`] says no.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn convert(_source: &Source<'_>, _out: &mut Converted) -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Converted, Keys, Source, TOGETHER};
    use crate::base::limits::{BLOCK_IDS, word};
    use crate::ops::batch::ASIDE;
    use std::arch::x86_64::*;

    /// Looks sixteen keys up in their first two slots: writes the ids found and returns them as a set of bits.
    #[inline]
    pub(in crate::ops) fn lookup(keys: &Keys<'_>, ids: &mut [u32; TOGETHER]) -> u16 {
        assert!(keys.words.len() >= TOGETHER * keys.stride && keys.key_word < keys.stride);
        assert!(keys.slots.len().is_power_of_two() && keys.slots.len() <= 1 << 30);
        // SAFETY: callers have asked `available`; the asserts above are what `lookup_avx512` requires.
        unsafe { lookup_avx512(keys, ids) }
    }

    /// Converts sixteen values; false, with nothing of use in `out`, when one of them is not finite, does not fit the
    /// fixed point, or belongs to no id.
    #[inline]
    pub(in crate::ops) fn convert(source: &Source<'_>, out: &mut Converted) -> bool {
        assert!(source.words.len() >= TOGETHER * source.stride && source.value < source.stride);
        // SAFETY: callers have asked `available`; the assert above is what `convert_avx512` requires.
        unsafe { convert_avx512(source, out) }
    }

    /// The words at `first + i * stride` for i in 0..16.
    ///
    /// # Safety
    /// The processor has the features; there are 16 * stride words, and `first` is less than `stride`.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    #[inline]
    unsafe fn strided(words: &[u32], stride: usize, first: usize) -> __m512i {
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "events are small"
        )]
        let (step, first) = (_mm512_set1_epi32(stride as i32), _mm512_set1_epi32(first as i32));
        let at = _mm512_add_epi32(_mm512_mullo_epi32(lanes, step), first);
        let base = words.as_ptr();
        if stride != 4 {
            // SAFETY: every index is less than 16 * stride.
            return unsafe { _mm512_i32gather_epi32::<4>(at, base.cast()) };
        }
        // Events of 16 bytes, the usual ones: four loads, then the wanted word out of each event.
        // SAFETY: 64 words were promised.
        let [a, b, c, d] =
            [0, 16, 32, 48].map(|i| unsafe { _mm512_loadu_si512(base.add(i).cast()) });
        // A permutation looks at the low five bits of an index: eight events in two registers.
        let low = _mm512_permutex2var_epi32(a, at, b);
        let high = _mm512_permutex2var_epi32(c, at, d);
        _mm512_mask_blend_epi32(0xFF00, low, high)
    }

    /// # Safety
    /// The processor has the features; there are words for sixteen events; the slots are a power of two, at most 2^30.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    unsafe fn lookup_avx512(keys: &Keys<'_>, ids: &mut [u32; TOGETHER]) -> u16 {
        let seed = keys.seed.map(u32::cast_signed);
        // SAFETY: as this function requires.
        let low = unsafe { strided(keys.words, keys.stride, keys.key_word) };
        // `keys::hash`, sixteen times.
        let mut x = _mm512_xor_si512(low, _mm512_set1_epi32(seed[0]));
        x = _mm512_mullo_epi32(x, _mm512_set1_epi32(seed[2] | 1));
        x = _mm512_xor_si512(x, _mm512_srli_epi32::<15>(x));
        x = _mm512_xor_si512(x, _mm512_set1_epi32(seed[1]));
        x = _mm512_mullo_epi32(x, _mm512_set1_epi32(seed[3] | 1));
        x = _mm512_xor_si512(x, _mm512_srli_epi32::<16>(x));
        let mask = i32::try_from(keys.slots.len() - 1).unwrap_or(i32::MAX);
        let mask = _mm512_set1_epi32(mask);
        let mut home = _mm512_and_si512(x, mask);
        let mut found = 0u16;
        for _ in 0..4 {
            // SAFETY: `home` was masked to the number of slots, eight bytes each.
            let hits = unsafe { probe(keys, low, home, !found, ids) };
            found |= hits;
            if found == u16::MAX {
                break;
            }
            home = _mm512_and_si512(_mm512_add_epi32(home, _mm512_set1_epi32(1)), mask);
        }
        found
    }

    /// Compares the slots at `home` for the events of `wanted`; writes the ids found, returns which.
    ///
    /// # Safety
    /// As for [`lookup_avx512`]; each `home` is less than the number of slots.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    #[inline]
    unsafe fn probe(
        keys: &Keys<'_>,
        low: __m512i,
        home: __m512i,
        wanted: u16,
        ids: &mut [u32; 16],
    ) -> u16 {
        let base = keys.slots.as_ptr().cast::<i64>();
        let halves = [
            (_mm512_castsi512_si256(home), _mm512_castsi512_si256(low), wanted.to_le_bytes()[0]),
            (
                _mm512_extracti64x4_epi64::<1>(home),
                _mm512_extracti64x4_epi64::<1>(low),
                wanted.to_le_bytes()[1],
            ),
        ];
        let mut hits = [0u8; 2];
        for (half, (home, low, wanted)) in halves.into_iter().enumerate() {
            let none = _mm512_setzero_si512();
            // SAFETY: each index is less than the number of slots, and a slot is eight bytes.
            let slots = unsafe { _mm512_mask_i32gather_epi64::<8>(none, wanted, home, base) };
            // A slot is its tag, then its check: as a little-endian number the check is the upper half.
            let check = _mm512_cvtepi64_epi32(_mm512_srli_epi64::<32>(slots));
            let tag = _mm512_cvtepi64_epi32(slots);
            let same = _mm256_cmpeq_epi32_mask(check, low);
            let used = _mm256_test_epi32_mask(tag, tag);
            let hit = same & used & wanted;
            let id = _mm256_sub_epi32(tag, _mm256_set1_epi32(1));
            // SAFETY: eight words from `8 * half` on lie inside the sixteen.
            unsafe { _mm256_mask_storeu_epi32(ids.as_mut_ptr().add(8 * half).cast(), hit, id) };
            hits[half] = hit;
        }
        u16::from_le_bytes(hits)
    }

    /// # Safety
    /// The processor has the features; there are words for sixteen events and `value` lies in one.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    unsafe fn convert_avx512(s: &Source<'_>, out: &mut Converted) -> bool {
        // SAFETY: an array of sixteen words.
        let ids = unsafe { _mm512_loadu_si512(s.ids.as_ptr().cast()) };
        let inside = _mm512_cmplt_epu32_mask(ids, _mm512_set1_epi32(ASIDE.cast_signed()));
        let block = _mm512_srli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(ids);
        let blocks = i32::try_from(s.map.len()).unwrap_or(0);
        let mapped = _mm512_cmplt_epu32_mask(block, _mm512_set1_epi32(blocks));
        if inside & mapped != u16::MAX {
            return false;
        }
        let row = if let Some(base) = s.base {
            _mm512_add_epi32(ids, _mm512_set1_epi32(base.cast_signed()))
        } else {
            // SAFETY: every index was just found to be less than the map's length.
            let block = unsafe { _mm512_i32gather_epi32::<4>(block, s.map.as_ptr().cast()) };
            let within = _mm512_and_si512(
                ids,
                _mm512_set1_epi32(const { word(BLOCK_IDS - 1).cast_signed() }),
            );
            _mm512_or_si512(_mm512_slli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(block), within)
        };
        // SAFETY: as this function requires.
        let bits = unsafe { strided(s.words, s.stride, s.value) };
        let sign = _mm512_srai_epi32::<31>(bits);
        let flip = _mm512_or_si512(sign, _mm512_set1_epi32(i32::MIN));
        let ordered = _mm512_xor_si512(bits, flip);
        let inverted = _mm512_xor_si512(ordered, _mm512_set1_epi32(-1));
        let floats = _mm512_castsi512_ps(bits);
        let halves = [_mm512_castps512_ps256(floats), _mm512_extractf32x8_ps::<1>(floats)];
        let mut usual = u8::MAX;
        for (half, floats) in halves.into_iter().enumerate() {
            let x = _mm512_mul_pd(_mm512_cvtps_pd(floats), _mm512_set1_pd(s.scale));
            let below = _mm512_cmp_pd_mask::<_CMP_LT_OQ>(x, _mm512_set1_pd(2_147_483_647.5));
            let above = _mm512_cmp_pd_mask::<_CMP_GE_OQ>(x, _mm512_set1_pd(-2_147_483_648.5));
            usual &= below & above;
            // Rounds to the nearest, ties to even, whatever mode the thread is in.
            let fixed =
                _mm512_cvt_roundpd_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
            let low = if half == 0 {
                _mm512_castsi512_si256(inverted)
            } else {
                _mm512_extracti64x4_epi64::<1>(inverted)
            };
            let high = if half == 0 {
                _mm512_castsi512_si256(ordered)
            } else {
                _mm512_extracti64x4_epi64::<1>(ordered)
            };
            let pair = _mm512_slli_epi64::<32>(_mm512_cvtepu32_epi64(high));
            let pair = _mm512_or_si512(pair, _mm512_cvtepu32_epi64(low));
            // SAFETY: eight elements from `8 * half` on lie inside the arrays of sixteen.
            unsafe {
                _mm512_storeu_si512(out.extremes.as_mut_ptr().add(8 * half).cast(), pair);
                _mm256_storeu_si256(out.fixed.as_mut_ptr().add(8 * half).cast(), fixed);
            }
        }
        // SAFETY: an array of sixteen words.
        unsafe { _mm512_storeu_si512(out.row.as_mut_ptr().cast(), row) };
        usual == u8::MAX
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
#[path = "simd_tests.rs"]
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
mod tests;
