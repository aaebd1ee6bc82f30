//! Ids to the rows that they have, sixteen at a time.

use super::TOGETHER;
use crate::base::limits::{BLOCK_IDS, word};
use crate::ops::batch::ASIDE;
use std::arch::x86_64::*;

/// Writes down the rows of ids, of which there are `rows`; false when one has no id or no block, or its row does not
/// exist. `base` is the row of id 0 if the blocks lie one after another; else rows are gathered, which is slow on some
/// processors. They are not returned: what is copied in parts and then loaded whole waits for every store before it.
#[inline]
pub(in crate::ops) fn places(
    map: &[u32],
    base: Option<u32>,
    ids: &[u32; TOGETHER],
    rows: usize,
    places: &mut [u32; TOGETHER],
) -> bool {
    // SAFETY: callers have asked `available`.
    unsafe { places_avx512(map, base, ids, rows, places) }
}

/// # Safety
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn places_avx512(
    map: &[u32],
    base: Option<u32>,
    ids: &[u32; TOGETHER],
    rows: usize,
    places: &mut [u32; TOGETHER],
) -> bool {
    let found = Placing::new(map, base, rows).rows_of(ids);
    if let Some(found) = found {
        // SAFETY: an array of sixteen words.
        unsafe { _mm512_storeu_si512(places.as_mut_ptr().cast(), found) };
    }
    found.is_some()
}

/// How rows are found.
pub(super) struct Placing<'a> {
    map: &'a [u32],
    base: Option<u32>,
    /// Ids are below this where `base` is known.
    ids: __m512i,
    /// Rows are below this.
    rows: __m512i,
}

impl<'a> Placing<'a> {
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn new(map: &'a [u32], base: Option<u32>, rows: usize) -> Self {
        let below = |n: usize| _mm512_set1_epi32(word(n.min(ASIDE as usize)).cast_signed());
        let room = rows.saturating_sub(base.unwrap_or(0) as usize);
        let ids = below(room.min(map.len() * BLOCK_IDS));
        Self { map, base, ids, rows: below(rows) }
    }

    /// The row of each event; `None` when one has no id or no block, or its row does not exist.
    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn rows_of(&self, ids: &[u32; TOGETHER]) -> Option<__m512i> {
        // SAFETY: an array of sixteen words.
        let ids = unsafe { _mm512_loadu_si512(ids.as_ptr().cast()) };
        let (row, there) = if let Some(base) = self.base {
            let there = _mm512_cmplt_epu32_mask(ids, self.ids);
            (_mm512_add_epi32(ids, _mm512_set1_epi32(base.cast_signed())), there)
        } else {
            let block = _mm512_srli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(ids);
            let blocks = _mm512_set1_epi32(i32::try_from(self.map.len()).unwrap_or(i32::MAX));
            let mapped = _mm512_cmplt_epu32_mask(block, blocks);
            let (none, map) = (_mm512_set1_epi32(-1), self.map.as_ptr().cast());
            // SAFETY: those indices are gathered that are less than the map's length.
            let block = unsafe { _mm512_mask_i32gather_epi32::<4>(none, mapped, block, map) };
            let within = const { word(BLOCK_IDS - 1).cast_signed() };
            let within = _mm512_and_si512(ids, _mm512_set1_epi32(within));
            let row = _mm512_slli_epi32::<{ BLOCK_IDS.trailing_zeros() }>(block);
            let row = _mm512_or_si512(row, within);
            (row, _mm512_mask_cmplt_epu32_mask(mapped, row, self.rows))
        };
        (there == u16::MAX).then_some(row)
    }
}
