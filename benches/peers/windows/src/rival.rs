//! The loop to beat: what a programmer would write for this one query and nothing else.
//!
//! An open-addressing hash from u32 keys to dense ids, two live windows, a watermark advanced every 1,024
//! events, a late check and a 64-bit division for each event, sums in f64. Nothing is checked that the data
//! keep by themselves: it knows the number of keys beforehand, and that `u32::MAX` is none of them.

use crate::events::Columns;
use crate::peers::Digest;

const LIVE: usize = 2;
/// Events between two moves of the watermark.
const STEP: usize = 1_024;
const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Row {
    sum: f64,
    count: u64,
    min: f32,
    max: f32,
}

const NOTHING: Row = Row { sum: 0.0, count: 0, min: f32::INFINITY, max: f32::NEG_INFINITY };

/// Ids by key, in the order in which keys come.
struct Ids {
    keys: Vec<u32>,
    ids: Vec<u32>,
    mask: usize,
    next: u32,
}

impl Ids {
    fn new(keys: usize) -> Self {
        let slots = (keys * 4).next_power_of_two();
        Self { keys: vec![EMPTY; slots], ids: vec![0; slots], mask: slots - 1, next: 0 }
    }

    #[inline(always)]
    fn find(&mut self, key: u32) -> u32 {
        let mut slot = (key.wrapping_mul(0x9E37_79B1) >> 7) as usize & self.mask;
        loop {
            // SAFETY: the mask is one less than the length of both.
            let there = unsafe { *self.keys.get_unchecked(slot) };
            if there == key {
                break;
            }
            if there == EMPTY {
                self.keys[slot] = key;
                self.ids[slot] = self.next;
                self.next += 1;
                break;
            }
            slot = (slot + 1) & self.mask;
        }
        // SAFETY: as above.
        unsafe { *self.ids.get_unchecked(slot) }
    }
}

fn flush(rows: &mut [Row], digest: &mut Digest) {
    for row in rows.iter_mut().filter(|row| row.count != 0) {
        digest.add(row.count, row.sum, row.min.into(), row.max.into());
        *row = NOTHING;
    }
}

/// The digest of windows of `size` milliseconds over events whose keys are at most `keys` different ones, and
/// how many events were late.
pub fn hash_and_watermark(
    events: Columns<'_>,
    keys: usize,
    size: i64,
    disorder: i64,
) -> (Digest, u64) {
    let at: &[i64] = bytemuck::cast_slice(events.at);
    let mut ids = Ids::new(keys);
    let mut live: [Vec<Row>; LIVE] = std::array::from_fn(|_| vec![NOTHING; keys]);
    let (mut digest, mut late) = (Digest::default(), 0);
    let (mut watermark, mut max) = (i64::MIN, i64::MIN);
    let mut fired = at.first().map_or(0, |t| t.div_euclid(size));
    let steps = at.chunks(STEP).zip(events.key.chunks(STEP)).zip(events.value.chunks(STEP));
    for ((at, key), value) in steps {
        for ((&t, &key), &value) in at.iter().zip(key).zip(value) {
            let window = t.div_euclid(size);
            max = max.max(t);
            if t < watermark && window < fired {
                late += 1;
                continue;
            }
            while window >= fired + LIVE as i64 {
                flush(&mut live[fired as usize % LIVE], &mut digest);
                fired += 1;
            }
            let id = ids.find(key);
            // SAFETY: there are at most `keys` ids, each below `keys`; the index is below LIVE.
            let row = unsafe {
                live.get_unchecked_mut(window as usize % LIVE).get_unchecked_mut(id as usize)
            };
            row.sum += f64::from(value);
            row.count += 1;
            row.min = if value < row.min { value } else { row.min };
            row.max = if value > row.max { value } else { row.max };
        }
        watermark = max - disorder;
        while (fired + 1) * size <= watermark {
            flush(&mut live[fired as usize % LIVE], &mut digest);
            fired += 1;
        }
    }
    live.iter_mut().for_each(|rows| flush(rows, &mut digest));
    (digest, late)
}
