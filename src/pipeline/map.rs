//! The block map from the host's side: each slot's part of it, and what the device has yet to be told.
//!
//! Parts have room for a power of two entries and are recycled by their room. Only what has changed is written, so a
//! window that opens costs its own entries, however many windows and keys there are.

use super::programs::Programs;
use crate::base::error::Result;
use crate::device::{Caps, Queue};
use std::ops::Range;

/// Entries of the smallest part.
const ROOM_MIN: usize = 4;
/// Unchanged words between two changed ones that are cheaper to write than to leave out.
const GAP: usize = 256;

/// Where a slot's entries lie.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    pub(super) at: usize,
    room: usize,
}

/// The map as the device has it once it is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    words: Vec<u32>,
    /// Where parts that were given up begin, by the logarithm of their room.
    free: Vec<Vec<usize>>,
    changed: Vec<Range<usize>>,
}

impl Map {
    /// Makes a part say what `blocks` does, of which all before `from` was said before. It moves when it is too small,
    /// or far too large. What is in flight may still read it where it was: the device is told in order.
    pub(super) fn put(&mut self, part: &mut Part, from: usize, blocks: &[u32]) {
        let fits = (blocks.len()..=8 * blocks.len().max(ROOM_MIN)).contains(&part.room);
        let from = if fits { from } else { 0 };
        if !fits {
            self.give_up(part);
            *part = self.part(blocks.len().max(ROOM_MIN).next_power_of_two());
        }
        let range = part.at + from..part.at + blocks.len();
        self.words[range.clone()].copy_from_slice(&blocks[from..]);
        if !range.is_empty() {
            self.changed.push(range);
        }
    }

    /// Takes a part back.
    pub(super) fn give_up(&mut self, part: &mut Part) {
        let Part { at, room } = std::mem::take(part);
        if room > 0 {
            let class = room.ilog2() as usize;
            if self.free.len() <= class {
                self.free.resize_with(class + 1, Vec::new);
            }
            self.free[class].push(at);
        }
    }

    fn part(&mut self, room: usize) -> Part {
        let freed = self.free.get_mut(room.ilog2() as usize).and_then(Vec::pop);
        let at = freed.unwrap_or_else(|| {
            let end = self.words.len();
            self.words.resize(end + room, 0);
            end
        });
        Part { at, room }
    }

    /// Words of the map.
    pub(super) const fn words(&self) -> usize {
        self.words.len()
    }

    /// Tells the device what has changed.
    pub(super) fn sync(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        programs: &mut Programs,
    ) -> Result<()> {
        let map = programs.buffers.map.id;
        let have = programs.memory.decl(map).map_or(0, |d| d.words);
        if self.words.len() > have {
            let room = self.words.len().next_power_of_two().min(caps.bind_words_max / 4 * 4);
            programs.resize(queue, caps, map, room.max(self.words.len().next_multiple_of(4)))?;
        }
        self.changed.sort_unstable_by_key(|range| range.start);
        let mut ranges = self.changed.drain(..);
        let Some(mut range) = ranges.next() else { return Ok(()) };
        for next in ranges {
            if next.start <= range.end + GAP {
                range.end = range.end.max(next.end);
                continue;
            }
            queue.write(map, range.start, &self.words[range])?;
            range = next;
        }
        queue.write(map, range.start, &self.words[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SplitMix;

    /// Parts never overlap, and each says what was put.
    #[test]
    fn parts_say_what_was_put() {
        let mut rng = SplitMix::new(4);
        let (mut map, mut slots) = (Map::default(), vec![(Part::default(), Vec::new()); 20]);
        for round in 0..20_000u32 {
            let (part, blocks) = &mut slots[usize::try_from(rng.below(20)).expect("an index")];
            let bits = rng.below(8);
            let len = usize::try_from(rng.below(1 << bits)).expect("small");
            if rng.below(5) == 0 {
                map.give_up(part);
                blocks.clear();
            }
            let from = blocks.len().min(len);
            blocks.resize(len, round);
            map.put(part, from, blocks);
            for (part, blocks) in &slots {
                assert_eq!(map.words[part.at..][..blocks.len()], blocks[..]);
            }
        }
        assert!(map.words() < 20 * 8 * 256, "parts are recycled: {} words", map.words());
    }

    #[test]
    fn what_has_changed_is_marked_and_no_more() {
        let mut map = Map::default();
        let (mut one, mut two) = (Part::default(), Part::default());
        map.put(&mut one, 0, &[1, 2, 3]);
        map.put(&mut two, 0, &[9]);
        map.changed.clear();
        map.put(&mut one, 3, &[1, 2, 3, 4]);
        assert_eq!((map.changed.len(), &map.changed[0]), (1, &(one.at + 3..one.at + 4)));
        map.put(&mut one, 4, &[1, 2, 3, 4, 5]);
        assert_eq!(map.changed[1], one.at..one.at + 5, "it moved");
        map.put(&mut two, 1, &[9]);
        assert_eq!(map.changed.len(), 2, "nothing was put");
    }
}
