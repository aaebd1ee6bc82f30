//! Events side by side against the same events one by one: the same states and rows, bit for bit.

use super::*;
use crate::base::limits::BLOCK_IDS;
use crate::base::rng::SplitMix;
use crate::ops::batch::DROPPED;
use crate::ops::score::{ALERT, SEEN, USUAL, packed};

fn pick(rng: &mut SplitMix, n: u32) -> u32 {
    batch::lo(rng.below(n.into()))
}

/// Parameters of events of `stride` words: time, key and value at its end.
fn params(rng: &mut SplitMix, stride: usize, key_words: u32) -> ScoreParams {
    let words = [None, None];
    let spacing = if pick(rng, 2) == 0 { 0.0 } else { 10.0 };
    ScoreParams {
        stride: word(stride),
        time_word: 0,
        key_word: 2,
        key_words,
        values: 1,
        state_words: word(state_words(1)),
        first_block: 0,
        blocks: ALONE,
        values01: packed([Some((stride - 1, Kind::F32)), None]),
        values23: packed(words),
        values45: packed(words),
        values67: packed(words),
        warm: [0, 20, 300][pick(rng, 3) as usize],
        sides: 1 + 2 * pick(rng, 2),
        own_words: word(state_words(1)),
        rate: [1.0 / 16.0, 1.0 / 2048.0][pick(rng, 2) as usize],
        spacing,
        asked: 7.0,
        rest: 50.0,
        least: 0.0,
        least_share: 0.0,
        zero: 0,
        chance: 0.0,
        chance_steep: 0.0,
        detector: 0,
        shape0: 0,
        shape1: 0,
        shape2: 0,
        shape3: 0,
        state_at: 0,
        drift_delta: 0.0,
        drift_threshold: 0.0,
    }
}

/// An event's value: mostly near zero, now and then far off, odd, or none.
fn value(rng: &mut SplitMix) -> u32 {
    let odd = [f32::NAN, f32::INFINITY, -1e30, 1e-40, -0.0, 7.0, 1e12, 1e13, -f32::NAN];
    match pick(rng, 200) {
        0 => batch::lo(rng.next_u64()),
        1..4 => odd[pick(rng, word(odd.len())) as usize].to_bits(),
        4..10 => (pick(rng, 200) as f32 - 100.0).to_bits(),
        _ => (0..6).map(|_| pick(rng, 1000) as f32 * 1e-3 - 0.5).sum::<f32>().to_bits(),
    }
}

/// States as they are after many events: those counts that are near an end.
fn grow_old(states: &mut [u32], rng: &mut SplitMix) {
    for state in states.chunks_exact_mut(state_words(1)).filter(|state| state[SEEN] != 0) {
        match pick(rng, 8) {
            0 => state[SEEN] = u32::MAX - pick(rng, 3),
            1 => state[SEEN] = decide::TRIALS_MAX + LEVEL_FIRST - pick(rng, 3),
            2 => state[SEEN] = decide::TRIALS_MAX / 2 * 3 + LEVEL_FIRST - pick(rng, 3),
            _ => {}
        }
    }
}

#[test]
fn side_by_side_is_one_by_one() {
    if !simd::available() {
        return;
    }
    let mut rng = SplitMix::new(5);
    let (mut alerts, mut peaks) = (0, 0);
    for round in 0..60 {
        let keys = [1, 3, 30, 200, 5000][round % 5];
        let (stride, key_words) = [(4, 1), (4, 0), (5, 2), (7, 1)][round % 4];
        let p = params(&mut rng, stride, key_words);
        // Blocks in no order, one after another, and with gaps, where some keys have no state.
        let mut map: Vec<u32> = (0..5000 / word(BLOCK_IDS) + 1).collect();
        match round % 3 {
            0 => map.reverse(),
            1 if keys < 5000 => map[1..].iter_mut().step_by(2).for_each(|block| *block = NO_BLOCK),
            _ => map.extend([NO_BLOCK; 3]),
        }
        let page = Page { first: 0, blocks: ALONE };
        let mut one = vec![0; map.len() * BLOCK_IDS * state_words(1)];
        let mut other = one.clone();
        let mut time = rng.next_u64() >> [0, 32, 40][round % 3];
        for part in 0..200 {
            let n = [1, 15, 16, 100, 333][pick(&mut rng, 5) as usize];
            let mut ids: Vec<u32> = (0..n).map(|_| pick(&mut rng, keys)).collect();
            if part % 4 == 0 {
                ids[n / 2] = [ASIDE, DROPPED, 1 << 20][pick(&mut rng, 3) as usize];
            }
            let mut events = vec![0; n * stride];
            for (event, &id) in events.chunks_exact_mut(stride).zip(&ids) {
                time = time.saturating_add(
                    [0, 1, 9, 10, 11, 1 << 34]
                        [pick(&mut rng, 6) as usize % if part % 9 == 0 { 6 } else { 5 }],
                );
                let at = if pick(&mut rng, 50) == 0 { rng.next_u64() } else { time };
                let at = if part % 7 == 0 { at } else { time };
                (event[0], event[1]) = (batch::lo(at), batch::hi(at));
                (event[2], event[stride - 1]) = (id, value(&mut rng));
            }
            if part == 150 {
                grow_old(&mut one, &mut rng);
                other.copy_from_slice(&one);
            }
            let (mut rows, mut other_rows) = (vec![[0; ROW]; n], vec![[0; ROW]; n]);
            let mut walk = Walk { p: &p, judge: ByDistance, page, states: &mut one };
            let left = walk.events::<1>(&map, &events, &ids, rows.as_flattened_mut()).len();
            let mut walk = Walk { p: &p, judge: ByDistance, page, states: &mut other };
            let other_left =
                walk.side_by_side(&map, &events, &ids, other_rows.as_flattened_mut()).len();
            assert_eq!(left, other_left, "as many rows");
            for (i, (row, other)) in rows.iter().zip(&other_rows).enumerate() {
                assert_eq!(row, other, "round {round}, part {part}, row {i}");
            }
            assert!(one == other, "round {round}, part {part}: states");
            alerts += rows.iter().filter(|row| row[4] & ALERT != 0).count();
            peaks += rows.iter().filter(|row| row[4] & USUAL == 0).count();
        }
    }
    assert!(alerts > 100 && peaks > 1000, "{alerts} alerts, {peaks} peaks");
}
