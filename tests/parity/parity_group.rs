//! Grouping by id: every device gives the order and the segments that a stable sort gives.

use crate::cuda_host::driver::cuda;
use crate::hand::{Piece, devices, head, run, whole};
use pelton::base::limits::KEYS_MAX;
use pelton::base::rng::SplitMix;
use pelton::device::{Device, Queue, QueueOptions};
use pelton::ops::batch::{ASIDE, CHUNKS, DROPPED};
use pelton::ops::group::{self, GROUPED, GroupOptions, LIST, SEGMENT, SEGMENTS};
use pelton::plan::{Memory, Plan, Role};
use std::ops::Range;

/// The order, and the segments in it.
type Grouped = (Vec<u32>, Vec<(u32, Range<usize>)>);

/// The spec, one event at a time.
fn spec(ids: &[u32], bound: usize, pieces: &[Piece]) -> Grouped {
    let named = pieces.iter().flat_map(|piece| piece.at..piece.at + piece.events);
    let mut order: Vec<usize> = named.filter(|&i| (ids[i] as usize) < bound).collect();
    order.sort_by_key(|&i| ids[i]);
    let mut segments: Vec<(u32, Range<usize>)> = Vec::new();
    for (at, &i) in order.iter().enumerate() {
        match segments.last_mut() {
            Some((id, range)) if *id == ids[i] => range.end = at + 1,
            _ => segments.push((ids[i], at..at + 1)),
        }
    }
    (order.iter().map(|&i| u32::try_from(i).unwrap()).collect(), segments)
}

/// A queue whose plan groups by `ids`, and its submits.
struct Bed {
    queue: Box<dyn Queue>,
    program: pelton::device::ProgramId,
    ids: pelton::plan::BufId,
    groups: group::Groups,
}

impl Bed {
    fn new(device: &Device, options: &GroupOptions, head_words: usize) -> Self {
        let mut memory = Memory::default();
        let ids = memory.buffer::<u32>("ids", Role::Scratch, options.events);
        let mut plan = Plan::new("group", head_words);
        let groups = group::record(&mut plan, &mut memory, ids, options);
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).unwrap();
        queue.alloc(&memory.buffers).unwrap();
        let program = queue.compile(&plan, &memory).unwrap();
        Self { queue, program, ids: ids.id, groups }
    }

    fn group(&mut self, head: &[u32], ids: &[u32]) -> Grouped {
        self.queue.write(self.ids, 0, ids).unwrap();
        run(&mut *self.queue, self.program, head, Vec::new());
        let mut words = [0; LIST];
        self.queue.read(self.groups.segments.id, 0, &mut words).unwrap();
        let mut order = vec![0; words[GROUPED] as usize];
        self.queue.read(self.groups.order.id, 0, &mut order).unwrap();
        let mut list = vec![0; LIST + SEGMENT * (words[SEGMENTS] as usize + 1)];
        self.queue.read(self.groups.segments.id, 0, &mut list).unwrap();
        (order, group::segments(&list).collect())
    }
}

fn check(device: &Device, what: &str, ids: &[u32], bound: usize, pieces: &[Piece]) {
    let head = head(device, &[ids.len()], pieces);
    let options = GroupOptions { events: ids.len(), chunks: head[CHUNKS] as usize, ids: bound };
    let found = Bed::new(device, &options, head.len()).group(&head, ids);
    let name = &device.caps().name;
    let expected = spec(ids, bound, pieces);
    assert_eq!(found.1, expected.1, "{name}: segments of {} ids {what}", ids.len());
    assert!(found.0 == expected.0, "{name}: order of {} ids {what}", ids.len());
}

/// Sets of ids with their bounds.
fn distributions(n: usize, rng: &mut SplitMix) -> Vec<(&'static str, Vec<u32>, usize)> {
    let mut below = |bound: u64| u32::try_from(rng.below(bound)).unwrap();
    let word = |i: usize| u32::try_from(i).unwrap();
    vec![
        ("all zero", vec![0; n], 1),
        ("all equal", vec![70_001; n], 70_002),
        ("all different, falling", (0..n).rev().map(word).collect(), n.max(1)),
        ("one digit", (0..n).map(|_| below(256)).collect(), 256),
        ("one more than a digit", (0..n).map(|_| below(257)).collect(), 257),
        ("of three digits", (0..n).map(|_| below(1 << 20)).collect(), 1 << 20),
        ("of all digits", (0..n).map(|_| below(KEYS_MAX as u64)).collect(), KEYS_MAX),
        // A share of 1 / (rank + 1), about, without floats.
        ("as Zipf has them", (0..n).map(|_| 0xFFFF / (below(0xFFFF) + 1)).collect(), 1 << 16),
        (
            "hostile",
            (0..n).map(|i| [DROPPED, ASIDE, 1000, 999, below(1 << 31), 1 << 31][i % 6]).collect(),
            1000,
        ),
        ("none of which takes part", vec![DROPPED; n], 1000),
    ]
}

fn groups_of_all_sizes(devices: impl IntoIterator<Item = Device>) {
    for device in devices {
        for n in [0, 1, 2, 255, 256, 257, 511, 4096, 65_536] {
            for (what, ids, bound) in distributions(n, &mut SplitMix::new(n as u64)) {
                check(&device, what, &ids, bound, &whole(&[n]));
            }
        }
    }
}

#[test]
fn groups_of_all_sizes_are_those_of_a_stable_sort() {
    groups_of_all_sizes(devices("groups_of_all_sizes_are_those_of_a_stable_sort"));
}

#[test]
fn cuda_groups_are_those_of_a_stable_sort() {
    groups_of_all_sizes(cuda("cuda_groups_are_those_of_a_stable_sort"));
}

fn a_million_events(devices: impl IntoIterator<Item = Device>) {
    let n = 1 << 20;
    for device in devices {
        for (what, ids, bound) in distributions(n, &mut SplitMix::new(3)) {
            if what.contains("three") || what.contains("Zipf") {
                check(&device, what, &ids, bound, &whole(&[n]));
            }
        }
    }
}

#[test]
fn a_million_events_are_grouped() {
    a_million_events(devices("a_million_events_are_grouped"));
}

#[test]
fn cuda_groups_a_million_events() {
    a_million_events(cuda("cuda_groups_a_million_events"));
}

fn events_without_a_chunk(devices: impl IntoIterator<Item = Device>) {
    for device in devices {
        let rng = &mut SplitMix::new(8);
        let ids: Vec<u32> = (0..3000).map(|_| u32::try_from(rng.below(300)).unwrap()).collect();
        let piece = |at, events| Piece { range: 0, at, events };
        for pieces in [
            &[piece(0, 1)][..],
            &[piece(2999, 1)],
            &[piece(3, 100), piece(200, 700), piece(1000, 256), piece(1300, 1), piece(1500, 1400)],
            &[],
        ] {
            check(&device, "in pieces", &ids, 300, pieces);
        }
    }
}

#[test]
fn events_that_no_chunk_names_are_in_no_group() {
    events_without_a_chunk(devices("events_that_no_chunk_names_are_in_no_group"));
}

#[test]
fn cuda_groups_no_event_without_a_chunk() {
    events_without_a_chunk(cuda("cuda_groups_no_event_without_a_chunk"));
}

fn one_batch_after_another(devices: impl IntoIterator<Item = Device>) {
    for device in devices {
        let head_of = |n| head(&device, &[n], &whole(&[n]));
        let longest = head_of(2000);
        let options = GroupOptions { events: 2000, chunks: 8, ids: 5000 };
        let mut bed = Bed::new(&device, &options, longest.len());
        for seed in 0..40 {
            let rng = &mut SplitMix::new(seed);
            let n = [0, 2000, 1, 1000][usize::try_from(seed % 4).unwrap()];
            let ids: Vec<u32> = (0..n).map(|_| u32::try_from(rng.below(6000)).unwrap()).collect();
            let found = bed.group(&head_of(n), &ids);
            assert!(found == spec(&ids, 5000, &whole(&[n])), "{} {seed}", device.caps().name);
        }
    }
}

#[test]
fn one_batch_leaves_nothing_to_the_next() {
    one_batch_after_another(devices("one_batch_leaves_nothing_to_the_next"));
}

#[test]
fn cuda_groups_one_batch_after_another() {
    one_batch_after_another(cuda("cuda_groups_one_batch_after_another"));
}
