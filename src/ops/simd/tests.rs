//! The vector loops against the scalar ones they stand in for, on processors that have them.

use super::*;
use crate::base::limits::BLOCK_IDS;
use crate::base::rng::SplitMix;
use crate::ops::batch::{self, ASIDE, DROPPED};
use crate::ops::keys::hash;
use crate::ops::page::{NO_BLOCK, row_at};
use crate::ops::row::{self, Kind, Layout};

fn word(rng: &mut SplitMix) -> u32 {
    batch::lo(rng.next_u64())
}

/// A table that was filled in the scalar way, and its keys.
fn filled(rng: &mut SplitMix, seed: [u32; 4], keys: usize) -> (Vec<[u32; 2]>, Vec<u32>) {
    let mut slots = vec![[0; 2]; (2 * keys).next_power_of_two()];
    let mask = slots.len() - 1;
    let keys: Vec<u32> = (0..keys).map(|_| word(rng)).collect();
    for (id, &key) in (0u32..).zip(&keys) {
        let mut at = hash(&seed, key, 0) as usize & mask;
        while slots[at][0] != 0 && slots[at][1] != key {
            at = (at + 1) & mask;
        }
        if slots[at][0] == 0 {
            slots[at] = [id + 1, key];
        }
    }
    (slots, keys)
}

#[test]
fn lookups_find_what_a_scalar_probe_finds() {
    if !available() {
        return;
    }
    let mut rng = SplitMix::new(1);
    let mut search = Search::new();
    for round in 0..400 {
        let seed = [0; 4].map(|_| word(&mut rng));
        let known = 1 + usize::try_from(rng.below(1000)).unwrap();
        let (slots, keys) = filled(&mut rng, seed, known);
        let stride = [1, 2, 4, 5, 8][round % 5];
        let key_word = round % stride;
        let events = usize::try_from(rng.below(PIECE as u64 + 1)).unwrap();
        let mut words: Vec<u32> = (0..events * stride).map(|_| word(&mut rng)).collect();
        for i in 0..events {
            // Two in three are known; 0 is what an empty slot's check holds.
            words[i * stride + key_word] = match rng.below(3) {
                0 => [0, word(&mut rng)][i % 2],
                _ => keys[usize::try_from(rng.below(known as u64)).unwrap()],
            };
        }
        let mut ids = vec![DROPPED; events];
        lookup(
            &Keys { words: &words, stride, key_word, slots: &slots, seed },
            &mut ids,
            &mut search,
        );
        let mut missed: Vec<usize> = search.missed.iter().collect();
        missed.sort_unstable();
        assert!(missed.windows(2).all(|pair| pair[0] < pair[1]), "each once");
        let mut near = 0;
        for i in 0..events {
            let key = words[i * stride + key_word];
            let mask = slots.len() - 1;
            let mut at = hash(&seed, key, 0) as usize & mask;
            while slots[at][0] != 0 && slots[at][1] != key {
                at = (at + 1) & mask;
            }
            if missed.binary_search(&i).is_ok() {
                near += usize::from(slots[at][0] != 0 && i < events / TOGETHER * TOGETHER);
            } else {
                assert_eq!(Some(ids[i]), slots[at][0].checked_sub(1), "round {round}, event {i}");
            }
        }
        // Those few that it leaves to the scalar loop aside.
        let found = near < TOGETHER / 2 + events / 20;
        assert!(found, "nearly all known keys are found: not {near} of {events}");
    }
}

#[test]
fn times_are_the_smallest_and_the_largest() {
    if !available() {
        return;
    }
    let mut rng = SplitMix::new(3);
    for round in 0..2000 {
        let stride = 2 + round % 7;
        let at = round / 7 % (stride - 1);
        let events = usize::try_from(rng.below(70)).unwrap();
        let mut words: Vec<u32> = (0..events * stride).map(|_| word(&mut rng)).collect();
        if round % 3 == 0 {
            // The upper words agree, so that the lower ones decide.
            words.iter_mut().skip(at + 1).step_by(stride).for_each(|high| *high = 7);
        }
        let all = words.chunks_exact(stride).map(|event| batch::join(event[at], event[at + 1]));
        let want = all.fold((u64::MAX, 0), |(lo, hi), t| (lo.min(t), hi.max(t)));
        assert_eq!(times(&words, stride, at), want, "{events} events of {stride} words, at {at}");
    }
}

/// Rows that something has been added to before.
fn some_rows(rng: &mut SplitMix, words: usize) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..words).map(|_| word(rng)).collect();
    // Counts stay below what a row takes.
    rows.iter_mut().step_by(4).for_each(|count| *count >>= 1);
    rows
}

fn adds_as_a_scalar_row<const PARTS: u32>(rng: &mut SplitMix) {
    let layout = Layout::new(PARTS);
    let mut usual = 0;
    for round in 0..1000 {
        let stride = [1, 2, 4, 6][round % 4];
        let value = round % stride;
        let fraction = u32::try_from(rng.below(32)).unwrap();
        let wild = round % 3 == 0;
        let sixteens = usize::try_from(rng.below(5)).unwrap();
        let words: Vec<u32> = (0..TOGETHER * sixteens * stride)
            .map(|_| match rng.below(40) {
                0 if wild => word(rng),
                1 => (-1.0f32 / 3.0 * (rng.below(1 << 20) as f32)).to_bits() & 0x80FF_FFFF,
                _ => ((rng.below(4001) as f32 / 7.0 - 250.0) / (1u64 << fraction) as f32).to_bits(),
            })
            .collect();
        let blocks = 1 + u32::try_from(rng.below(5)).unwrap();
        let first = u32::try_from(rng.below(9)).unwrap();
        let straight = rng.below(2) == 0;
        let mut map: Vec<u32> =
            (0..blocks).map(|b| first + if straight { b } else { 3 * (blocks - b) }).collect();
        if wild && !straight {
            map[0] = NO_BLOCK;
        }
        let few = rng.below(2) == 0;
        let ids: Vec<[u32; TOGETHER]> = (0..sixteens)
            .map(|_| {
                [0; TOGETHER].map(|_| match rng.below(if wild { 60 } else { u64::MAX }) {
                    0 => ASIDE,
                    1 => DROPPED,
                    n if few => u32::try_from(n % 5).unwrap(),
                    n => u32::try_from(n % (u64::from(blocks) * BLOCK_IDS as u64)).unwrap(),
                })
            })
            .collect();
        let base = straight.then(|| first * crate::base::limits::word(BLOCK_IDS));
        let scale = f32::from_bits((127 + fraction) << 23);
        let source = Source { words: &words, stride, value, ids: &ids, map: &map, base, scale };
        let mut rows = some_rows(rng, 30 * BLOCK_IDS * layout.words);
        let mut want = rows.clone();
        let added = add::<PARTS>(&source, &mut rows);
        let fits = |i: usize| {
            let (bits, id) = (words[i * stride + value], ids[i / TOGETHER][i % TOGETHER]);
            id < ASIDE
                && map[id as usize / BLOCK_IDS] != NO_BLOCK
                && Kind::F32.fixed(bits, fraction).is_some()
        };
        let ordinary = (0..sixteens).take_while(|s| (0..TOGETHER).all(|i| fits(s * TOGETHER + i)));
        assert_eq!(added, ordinary.count() * TOGETHER, "round {round}");
        for i in 0..added {
            let at = row_at(&map, ids[i / TOGETHER][i % TOGETHER], layout.words);
            let row = &mut want[at..at + layout.words];
            row::add_value(row, &layout, PARTS, Kind::F32, fraction, words[i * stride + value]);
        }
        assert!(rows == want, "round {round}: {added} events");
        usual += added;
    }
    assert!(usual > 7_000, "most ordinary values take the fast way: {usual}");
}

#[test]
fn additions_are_those_of_a_scalar_row() {
    if !available() {
        return;
    }
    let mut rng = SplitMix::new(2);
    adds_as_a_scalar_row::<EXTREMES>(&mut rng);
    adds_as_a_scalar_row::<FIXED>(&mut rng);
    adds_as_a_scalar_row::<{ EXTREMES | FIXED }>(&mut rng);
    adds_as_a_scalar_row::<{ EXTREMES | FIXED | SQUARES }>(&mut rng);
}

#[test]
fn words_below_an_end_are_copied_up_to_the_first_sixteen_with_another() {
    if !available() {
        return;
    }
    let mut rng = SplitMix::new(6);
    for round in 0..300 {
        let stride = [1, 2, 4, 5, 8][round % 5];
        let events = usize::try_from(rng.below(200)).unwrap();
        let mut words: Vec<u32> = (0..events * stride).map(|_| word(&mut rng) % 100).collect();
        let at = round % stride;
        let odd = usize::try_from(rng.below(200)).unwrap();
        if odd < events {
            words[odd * stride + at] = [100, u32::MAX, 1 << 31][round % 3];
        }
        let mut copies = vec![7; events];
        let done = below(&words, stride, at, 100, &mut copies);
        assert_eq!(done, odd.min(events) / TOGETHER * TOGETHER, "round {round}");
        for (i, &copy) in copies.iter().enumerate() {
            assert_eq!(copy, if i < done { words[i * stride + at] } else { 7 });
        }
    }
}
