//! Mistakes planted in the CUDA kernels, one at a time: the parity list finds each of them, in some order of threads.
//!
//! `cargo test --test planted cuda -- --nocapture` shows what was planted and how it was found. What it cannot show:
//! a mistake that needs two blocks at the same time, because blocks take turns.

use crate::cuda_host::device::of;
use crate::cuda_host::planted::{find, plant};
use crate::cuda_host::{Plant, WINDOWS};
use crate::hand::{head, run, whole};
use crate::windows::{Script, combinations, run::trace};
use pelton::base::rng::SplitMix;
use pelton::device::{Device, QueueOptions};
use pelton::ops::batch::CHUNKS;
use pelton::ops::group::{self, GroupOptions};
use pelton::plan::{Memory, Plan, Role};

/// What is planted; each stands there once.
const PLANTS: &[(&str, Plant<'_>)] = &[
    (
        "a missing barrier: rows are sent before all events are in",
        plant(
            "kernels/fold.cu",
            "        __syncthreads();\n        if (speaker == threadIdx.x) {",
            "        if (speaker == threadIdx.x) {",
        ),
    ),
    (
        "a missing barrier: events are added before sums are zeroed",
        plant(
            "kernels/fold.cu",
            "        __syncthreads();\n        const uint32_t speaker",
            "        const uint32_t speaker",
        ),
    ),
    (
        "a missing barrier: warps' sums are read before they are written",
        plant(
            "kernels/prelude.cuh",
            "    __syncthreads();\n    uint32_t before = 0;",
            "    uint32_t before = 0;",
        ),
    ),
    (
        "a divergent barrier: threads without a claim have left",
        plant(
            "kernels/settle.cu",
            "    uint32_t all;\n",
            "    uint32_t all;\n    if (!claimed) {\n        return;\n    }\n",
        ),
    ),
    (
        "a wrong shuffle width",
        plant("kernels/prelude.cuh", "(ALL_LANES, mine, step)", "(ALL_LANES, mine, step, 16)"),
    ),
    (
        "a wrong mask",
        plant(
            "kernels/prelude.cuh",
            "__ballot_sync(ALL_LANES, yes)",
            "__ballot_sync(0xffffu, yes)",
        ),
    ),
    (
        "shared memory that nobody zeroed",
        plant("kernels/group_count.cu", "    found[threadIdx.x] = 0;\n", ""),
    ),
    (
        "an index one too high",
        plant(
            "kernels/group_mark.cu",
            "if (at < segments[GROUPED])",
            "if (at <= segments[GROUPED])",
        ),
    ),
    (
        "a span that begins one tick late",
        plant("kernels/window.cuh", "head[at + 1]) <= time", "head[at + 1]) < time"),
    ),
    (
        "a lost carry",
        plant("kernels/fold.cu", "carry = old + low_of(x) < old;", "carry = 0; (void)old;"),
    ),
    (
        "a lost carry into the high half of a sum of squares",
        plant("kernels/fold.cu", " + (old + x < old));", "); (void)old;"),
    ),
    (
        "a claimed slot taken for every key",
        plant("kernels/keys.cu", "tag & ~PENDING) == key;", "tag & ~PENDING) == key || true;"),
    ),
    (
        "a tie that the wrong event wins",
        plant("kernels/elect.cu", "&& me < there)) != last", "&& me > there)) != last"),
    ),
    (
        "an election that is not over",
        plant("kernels/ends.cu", "    rows[end + END_ELECT] = 0;\n", ""),
    ),
    (
        "a walk that goes one id too far",
        plant("kernels/fire.cu", "here = id < head[WALK_TO]", "here = id <= head[WALK_TO]"),
    ),
    (
        "a row of the next page",
        plant("kernels/window.cuh", "here < p.blocks ?", "here <= p.blocks ?"),
    ),
    (
        "a key that the next page of the table has, too",
        plant("kernels/window.cuh", "& ~mask) == first;", "& ~mask) - first <= mask + 1;"),
    ),
    (
        "a claim of the next page of the table",
        plant("kernels/settle.cu", "slot <= page.mask;", "slot <= page.mask + 1;"),
    ),
    (
        "a record of the next page",
        plant("kernels/resolve.cu", "(here >= p.page_ids)", "(here > p.page_ids)"),
    ),
    (
        "keys of records that begin with the page, not with the walk",
        plant("kernels/fire.cu", "(id - p.first_id) * p.record_words", "id * p.record_words"),
    ),
    (
        "a new key that stays marked",
        plant("kernels/resolve.cu", "        }\n        ids[event] = id;\n", "        }\n"),
    ),
    (
        "two pages that forget the same id",
        plant("kernels/expire.cu", "bool ours = p.first_block == 0;", "bool ours = true;"),
    ),
    (
        "ids of other pages that are not emitted",
        plant("kernels/fire.cu", "head[WALK_TO] && firing.is_here()", "head[WALK_TO]"),
    ),
];

/// Whether a device does what the processor does, in windows and in groups.
fn is_right(device: &Device) -> bool {
    let cpu = Device::cpu();
    let scripts = combinations().into_iter().zip(0..).map(|(parts, seed)| Script::new(seed, parts));
    let windows = scripts.step_by(3).all(|script| {
        let right = trace(&cpu, &script).expect("the processor is always there");
        trace(device, &script).expect("the kernels run") == right
    });
    windows && groups(device) == groups(&cpu)
}

/// The order and segments of a few thousand events.
fn groups(device: &Device) -> (Vec<u32>, Vec<u32>) {
    let n = 3000;
    let rng = &mut SplitMix::new(7);
    let ids: Vec<u32> = (0..n).map(|_| u32::try_from(rng.below(5000)).unwrap()).collect();
    let head = head(device, &[n], &whole(&[n]));
    let mut memory = Memory::default();
    let buffer = memory.buffer::<u32>("ids", Role::Scratch, n);
    let mut plan = Plan::new("group", head.len());
    let options = GroupOptions { events: n, chunks: head[CHUNKS] as usize, ids: 5000 };
    let groups = group::record(&mut plan, &mut memory, buffer, &options);
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).unwrap();
    queue.alloc(&memory.buffers).unwrap();
    let program = queue.compile(&plan, &memory).unwrap();
    queue.write(buffer.id, 0, &ids).unwrap();
    run(&mut *queue, program, &head, Vec::new());
    let (mut order, mut segments) = (vec![0; n], vec![0; 4000]);
    queue.read(groups.order.id, 0, &mut order).unwrap();
    queue.read(groups.segments.id, 0, &mut segments).unwrap();
    (order, segments)
}

#[test]
fn planted_mistakes_are_found() {
    find(&WINDOWS, of, "planted_mistakes_are_found", PLANTS, 0..10, |device, _| is_right(device));
}
