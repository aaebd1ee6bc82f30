//! The vector loops against the scalar ones they stand in for, on processors that have them.

use super::*;
use crate::base::limits::BLOCK_IDS;
use crate::base::rng::SplitMix;
use crate::ops::batch::{self, ASIDE, DROPPED};
use crate::ops::keys::hash;
use crate::ops::row::Kind;

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
    for round in 0..400 {
        let seed = [0; 4].map(|_| word(&mut rng));
        let known = 1 + usize::try_from(rng.below(1000)).unwrap();
        let (slots, keys) = filled(&mut rng, seed, known);
        let stride = [1, 2, 4, 5, 8][round % 5];
        let key_word = round % stride;
        let mut words: Vec<u32> = (0..TOGETHER * stride).map(|_| word(&mut rng)).collect();
        for i in 0..TOGETHER {
            // Two in three are known; 0 is what an empty slot's check holds.
            words[i * stride + key_word] = match rng.below(3) {
                0 => [0, word(&mut rng)][i % 2],
                _ => keys[usize::try_from(rng.below(known as u64)).unwrap()],
            };
        }
        let mut ids = [DROPPED; TOGETHER];
        let found =
            lookup(&Keys { words: &words, stride, key_word, slots: &slots, seed }, &mut ids);
        let mut hits = 0;
        for i in 0..TOGETHER {
            let key = words[i * stride + key_word];
            let mask = slots.len() - 1;
            let mut at = hash(&seed, key, 0) as usize & mask;
            while slots[at][0] != 0 && slots[at][1] != key {
                at = (at + 1) & mask;
            }
            let want = slots[at][0].checked_sub(1);
            if found >> i & 1 == 1 {
                assert_eq!(Some(ids[i]), want, "round {round}, event {i}");
                hits += 1;
            } else {
                assert_eq!(ids[i], DROPPED, "what was not found is left alone");
            }
        }
        let near = words.iter().skip(key_word).step_by(stride).filter(|k| keys.contains(k)).count();
        assert!(hits * 2 >= near, "nearly all known keys lie near home: {hits} of {near}");
    }
}

#[test]
fn conversions_are_those_of_a_scalar_row() {
    if !available() {
        return;
    }
    let mut rng = SplitMix::new(2);
    let mut usual = 0;
    for round in 0..20_000 {
        let stride = [1, 2, 4, 6][round % 4];
        let value = round % stride;
        let fraction = u32::try_from(rng.below(32)).unwrap();
        let wild = round % 3 == 0;
        let words: Vec<u32> = (0..TOGETHER * stride)
            .map(|_| {
                if wild { word(&mut rng) } else { (rng.below(4001) as f32 / 7.0 - 250.0).to_bits() }
            })
            .collect();
        let blocks = 1 + u32::try_from(rng.below(5)).unwrap();
        let first = u32::try_from(rng.below(9)).unwrap();
        let straight = rng.below(2) == 0;
        let map: Vec<u32> =
            (0..blocks).map(|b| first + if straight { b } else { 3 * (blocks - b) }).collect();
        let ids = [0; TOGETHER].map(|_: u32| match rng.below(if wild { 60 } else { u64::MAX }) {
            0 => ASIDE,
            1 => DROPPED,
            n => u32::try_from(n % (u64::from(blocks) * BLOCK_IDS as u64)).unwrap(),
        });
        let base = straight.then(|| first * crate::base::limits::word(BLOCK_IDS));
        let scale = f64::from_bits((1023 + u64::from(fraction)) << 52);
        let source = Source { words: &words, stride, value, ids: &ids, map: &map, base, scale };
        let mut out = Converted::default();
        let fits = |i: usize| {
            let bits = words[i * stride + value];
            ids[i] < ASIDE && !Kind::F32.is_nan(bits) && Kind::F32.fixed(bits, fraction).is_some()
        };
        let all = (0..TOGETHER).all(fits);
        assert_eq!(convert(&source, &mut out), all, "round {round}");
        for i in (0..TOGETHER).filter(|_| all) {
            let bits = words[i * stride + value];
            let ordered = Kind::F32.ordered(bits);
            assert_eq!(Some(out.fixed[i]), Kind::F32.fixed(bits, fraction));
            assert_eq!(out.extremes[i], batch::join(!ordered, ordered));
            let block = map[ids[i] as usize / BLOCK_IDS] as usize;
            assert_eq!(out.row[i] as usize, block * BLOCK_IDS + ids[i] as usize % BLOCK_IDS);
        }
        usual += usize::from(all);
    }
    assert!(usual > 5000, "most ordinary values take the fast way: {usual}");
}
