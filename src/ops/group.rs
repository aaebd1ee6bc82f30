//! Events by id: the order in which each id's events stand together, and where each id's begin.
//!
//! Spec: the events that the header names and whose id is below the bound, sorted by id; events of one id
//! keep the order in which the header names them. Others (dropped, set aside, not named) are in no list.
//! The result depends on nothing else: every device gives the same words.
//!
//! A stable radix sort from the low digit up, 8 bits a pass, as many passes as ids have digits.
//! `GROUP_COUNT` counts the digits of each block of 256, `GROUP_SCAN` adds the counts up, one digit a
//! workgroup, and `GROUP_SCATTER` puts each element behind those before it; inside a block an element finds
//! its rank by counting bits in its digit's mask, which atomics fill in any order to the same effect. The
//! first pass reads the ids of the batch's chunks and leaves out those that take no part, later ones read
//! what the pass before wrote. `GROUP_MARK` and `GROUP_SEGMENTS` list where ids change. Nothing waits for
//! another workgroup. A serial device takes the whole batch as one block.
//!
//! Cost per event and pass: 4 bytes of id (8 after the first pass) read twice, 8 written, and 16 of counts
//! where blocks are of 256; then 16 read and 4 written for the order, 8 a segment. On a processor about 3
//! ns a pass, the rest included, and twice that for a million events of as many ids.

use super::batch::{self, DROPPED};
use crate::params;
use crate::plan::{Access, Args, Bind, Buf, BufId, Grid, Kernel, Memory, Plan, Role};
use std::ops::Range;

params! {
    /// What the grouping kernels are told once.
    GroupParams {
        /// One more than the highest id that takes part.
        ids: u32,
        /// The lowest bit of the pass's digit.
        shift: u32,
        /// 1 when the pass reads ids, 0 when it reads what the pass before wrote.
        first: u32,
        /// Counts to add up for each block: `DIGITS`, or 1 for those of segments.
        columns: u32,
    }
}

const fn read(name: &'static str) -> Bind {
    Bind { name, access: Access::Read }
}

const fn write(name: &'static str) -> Bind {
    Bind { name, access: Access::Write }
}

/// Counts each block's digits.
pub static GROUP_COUNT: Kernel = Kernel {
    name: "group_count",
    params: GroupParams::FIELDS,
    events: false,
    binds: &[read("ids"), read("pairs"), read("segments"), write("counts")],
    wgsl: include_str!("../../shaders/group_count.wgsl"),
    cpu: group_count,
};

/// Makes of each block's count of a digit the sum of those before it, and notes the sum of all.
pub static GROUP_SCAN: Kernel = Kernel {
    name: "group_scan",
    params: GroupParams::FIELDS,
    events: false,
    binds: &[write("counts"), write("segments")],
    wgsl: include_str!("../../shaders/group_scan.wgsl"),
    cpu: group_scan,
};

/// Moves each element to its place by this digit.
pub static GROUP_SCATTER: Kernel = Kernel {
    name: "group_scatter",
    params: GroupParams::FIELDS,
    events: false,
    binds: &[read("ids"), read("pairs"), read("counts"), write("segments"), write("sorted")],
    wgsl: include_str!("../../shaders/group_scatter.wgsl"),
    cpu: group_scatter,
};

/// Writes the order down and counts the segments that begin in each block.
pub static GROUP_MARK: Kernel = Kernel {
    name: "group_mark",
    params: GroupParams::FIELDS,
    events: false,
    binds: &[read("pairs"), read("segments"), write("order"), write("counts")],
    wgsl: include_str!("../../shaders/group_mark.wgsl"),
    cpu: group_mark,
};

/// Lists the segments.
pub static GROUP_SEGMENTS: Kernel = Kernel {
    name: "group_segments",
    params: GroupParams::FIELDS,
    events: false,
    binds: &[read("pairs"), read("counts"), write("segments")],
    wgsl: include_str!("../../shaders/group_segments.wgsl"),
    cpu: group_segments,
};

/// Values of a digit.
pub const DIGITS: usize = 256;
const DIGIT_BITS: u32 = DIGITS.ilog2();
/// `counts`: where the blocks' counts begin, behind the sums: those of one digit lie together.
const COUNTS: usize = DIGITS;

/// `segments`: how many there are.
pub const SEGMENTS: usize = 0;
/// `segments`: how many events are in them.
pub const GROUPED: usize = 1;
/// `segments`: where the list begins: id and index into the order of its first event. Behind the last one
/// stands `DROPPED` with the number of events, so that every segment ends where the next one begins.
pub const LIST: usize = 4;
/// Words of a segment.
pub const SEGMENT: usize = 2;

/// What grouping makes room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOptions {
    /// Events of one batch, at most.
    pub events: usize,
    /// Chunks of one batch, at most; 1 for serial devices.
    pub chunks: usize,
    /// One more than the highest id: fewer ids may take fewer passes.
    pub ids: usize,
}

/// Where the result lies.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    /// Indices of events in the batch, sorted by id, in the batch's order within an id.
    pub order: Buf<u32>,
    /// The segments: see [`SEGMENTS`], [`GROUPED`] and [`LIST`].
    pub segments: Buf<u32>,
}

/// The segments in a buffer's words: each id, and where its events lie in the order.
pub fn segments(words: &[u32]) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
    let list = words[LIST..].as_chunks::<SEGMENT>().0;
    let count = words[SEGMENTS] as usize;
    list[..=count].windows(2).map(|pair| (pair[0][0], pair[0][1] as usize..pair[1][1] as usize))
}

/// Records the grouping of a batch's events by the ids that earlier steps have written.
///
/// ```
/// use pelton::device::{Device, QueueOptions};
/// use pelton::ops::{batch, group};
/// use pelton::plan::{Memory, Plan, Role};
///
/// let mut memory = Memory::default();
/// let ids = memory.buffer::<u32>("ids", Role::Scratch, 6);
/// let mut plan = Plan::new("example", 64);
/// let options = group::GroupOptions { events: 6, chunks: 1, ids: 10 };
/// let groups = group::record(&mut plan, &mut memory, ids, &options);
///
/// let mut queue = Device::cpu().queue(QueueOptions { in_flight: 1, outputs: 1 })?;
/// queue.alloc(&memory.buffers)?;
/// queue.write(ids.id, 0, &[9, 2, batch::DROPPED, 2, 9, 2])?;
/// let program = queue.compile(&plan, &memory)?;
///
/// let mut head = vec![0; batch::FIXED];
/// (head[batch::GROUPS], head[batch::CHUNKS], head[batch::EVENTS]) = (1, 1, 6);
/// let chunk = batch::Chunk {
///     first: 0, events: 6, spans_at: 0, spans: 0, all: false, lane: 0, seq: 0, range: 0, at: 0,
/// };
/// head.extend(chunk.words());
/// queue.submit(program, &head, Vec::new())?;
///
/// let (mut order, mut words) = ([0; 5], [0; 10]);
/// queue.read(groups.order.id, 0, &mut order)?;
/// queue.read(groups.segments.id, 0, &mut words)?;
/// assert_eq!(order, [1, 3, 5, 0, 4]);
/// assert_eq!(group::segments(&words).collect::<Vec<_>>(), [(2, 0..3), (9, 3..5)]);
/// # Ok::<(), pelton::Error>(())
/// ```
///
/// # Panics
/// When there are more ids than `limits::IDS_MAX`, or none.
pub fn record(
    plan: &mut Plan,
    memory: &mut Memory,
    ids: Buf<u32>,
    options: &GroupOptions,
) -> Groups {
    assert!((1..=crate::base::limits::IDS_MAX).contains(&options.ids), "1 to IDS_MAX ids");
    let bound = u32::try_from(options.ids).expect("IDS_MAX fits a word");
    let mut buffer = |name, words| memory.buffer::<u32>(name, Role::Scratch, words);
    let order = buffer("order", options.events);
    let segments = buffer("segments", LIST + SEGMENT * (options.events + 1));
    let counts = buffer("digit counts", COUNTS + DIGITS * options.chunks.max(1)).id;
    let [mut pairs, mut sorted] =
        ["pairs", "sorted"].map(|name| buffer(name, 2 * options.events).id);
    let (ids, list) = (ids.id, segments.id);
    let per_block = Grid::Head(batch::GROUPS);
    let mut step = |kernel, grid, params: GroupParams, binds: &[BufId]| {
        plan.step(kernel, grid, params, binds);
    };
    let bits = u32::BITS - (bound - 1).leading_zeros();
    let digits = u32::try_from(DIGITS).expect("small");
    let mut params = GroupParams { ids: bound, shift: 0, first: 1, columns: digits };
    for pass in 0..bits.div_ceil(DIGIT_BITS).max(1) {
        params = GroupParams { shift: pass * DIGIT_BITS, first: u32::from(pass == 0), ..params };
        step(&GROUP_COUNT, per_block, params, &[ids, pairs, list, counts]);
        step(&GROUP_SCAN, Grid::Groups(digits), params, &[counts, list]);
        step(&GROUP_SCATTER, per_block, params, &[ids, pairs, counts, list, sorted]);
        (pairs, sorted) = (sorted, pairs);
    }
    params.columns = 1;
    step(&GROUP_MARK, per_block, params, &[pairs, list, order.id, counts]);
    step(&GROUP_SCAN, Grid::Groups(1), params, &[counts, list]);
    step(&GROUP_SEGMENTS, per_block, params, &[pairs, counts, list]);
    Groups { order, segments }
}

/// Calls `f` with the id and index of every element of a pass, in order.
#[inline(always)]
fn each(
    p: &GroupParams,
    head: &[u32],
    ids: &[u32],
    pairs: &[u32],
    segments: &[u32],
    mut f: impl FnMut(u32, u32),
) {
    if p.first == 0 {
        return taken(pairs, segments).iter().for_each(|&[id, index]| f(id, index));
    }
    for chunk in batch::chunks(head) {
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        for (&id, index) in ids.iter().zip(chunk.first..) {
            if id < p.ids {
                f(id, index);
            }
        }
    }
}

/// The pairs of id and index that the pass before wrote.
#[inline(always)]
fn taken<'a>(pairs: &'a [u32], segments: &[u32]) -> &'a [[u32; 2]] {
    &pairs.as_chunks::<2>().0[..segments[GROUPED] as usize]
}

#[inline(always)]
const fn digit(id: u32, shift: u32) -> usize {
    (id >> shift) as usize % DIGITS
}

fn group_count(args: Args<'_>) {
    let p: GroupParams = args.params();
    let head = args.head;
    let [ids, pairs, segments, counts] = args.binds();
    // Two tables, so that events of one digit in a row do not wait for each other's count.
    let mut found = [[0; DIGITS]; 2];
    let count = |id, index| found[(index & 1) as usize][digit(id, p.shift)] += 1;
    each(&p, head, ids, pairs, segments, count);
    for (at, count) in counts[COUNTS..][..DIGITS].iter_mut().enumerate() {
        *count = found[0][at] + found[1][at];
    }
}

fn group_scan(args: Args<'_>) {
    let p: GroupParams = args.params();
    let empty = args.head[batch::CHUNKS] == 0;
    let [counts, segments] = args.binds();
    let (sums, blocks) = counts.split_at_mut(COUNTS);
    for (sum, block) in sums.iter_mut().zip(blocks).take(p.columns as usize) {
        // There is one block, and none before it.
        *sum = std::mem::take(block);
    }
    if p.columns == 1 {
        if empty {
            (sums[0], segments[GROUPED]) = (0, 0);
        }
        segments[SEGMENTS] = sums[0];
        let end = LIST + SEGMENT * sums[0] as usize;
        (segments[end], segments[end + 1]) = (DROPPED, segments[GROUPED]);
    }
}

fn group_scatter(args: Args<'_>) {
    let p: GroupParams = args.params();
    let head = args.head;
    let [ids, pairs, counts, segments, sorted] = args.binds();
    let sorted = sorted.as_chunks_mut::<2>().0;
    let mut total = 0;
    let mut next: [u32; DIGITS] = std::array::from_fn(|digit| {
        total += counts[digit];
        total - counts[digit]
    });
    if counts[..DIGITS].contains(&total) {
        // All have one digit, as high ones often are: they stay as they stand.
        let mut places = sorted.iter_mut();
        each(&p, head, ids, pairs, segments, |id, index| {
            *places.next().expect("as many as were counted") = [id, index];
        });
    } else {
        each(&p, head, ids, pairs, segments, |id, index| {
            let next = &mut next[digit(id, p.shift)];
            sorted[*next as usize] = [id, index];
            *next += 1;
        });
    }
    segments[GROUPED] = total;
}

fn group_mark(args: Args<'_>) {
    let [pairs, segments, order, counts] = args.binds();
    let pairs = taken(pairs, segments);
    for (order, &[_, index]) in order.iter_mut().zip(pairs) {
        *order = index;
    }
    let changes: u32 = pairs.windows(2).map(|w| u32::from(w[0][0] != w[1][0])).sum();
    counts[COUNTS] = changes + u32::from(!pairs.is_empty());
}

fn group_segments(args: Args<'_>) {
    let [pairs, _counts, segments] = args.binds();
    let pairs = taken(pairs, segments);
    let mut list = segments[LIST..].as_chunks_mut::<SEGMENT>().0.iter_mut();
    let mut last = DROPPED;
    for (&[id, _], first) in pairs.iter().zip(0..) {
        if id != last {
            *list.next().expect("room for a segment an event") = [id, first];
            last = id;
        }
    }
}
