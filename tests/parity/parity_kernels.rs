//! The window kernels, judged twice: the CPU twins by a naive spec, every other device by the CPU twins.
//!
//! Random scripts of batches, merges, fires, clears, growth and expiry run through plans made by hand. Ids, row order
//! and slots of the key table may differ between devices; nothing else may.

use crate::cuda_host::driver::cuda;
use crate::cuda_host::{self, SANITIZED, under_sanitizer};
use crate::kernels::bed::software;
use crate::windows::{Script, Seen, combinations, run, spec};
use pelton::Result;
use pelton::device::{Device, QueueOptions};
use pelton::ops::batch::{self, Chunk, Span};
use pelton::ops::row::{COUNT, FIXED, Layout};
use pelton::ops::{fold, keys, page};
use pelton::plan::{Grid, Memory, Plan, Role};
use pelton::ring::{LaneOptions, lane};

/// The scripts: each combination of parts, with several seeds.
fn scripts(rounds: u64) -> impl Iterator<Item = Script> {
    let combinations = combinations();
    (0..rounds).flat_map(move |round| {
        let of = move |(i, &parts): (usize, &u32)| Script::new(round * 1000 + i as u64, parts);
        combinations.iter().enumerate().map(of).collect::<Vec<_>>()
    })
}

/// Fails at the first thing that differs.
fn same(what: &str, script: &Script, left: &[Seen], right: &[Seen]) {
    assert_eq!(left.len(), right.len());
    for (i, (l, r)) in left.iter().zip(right).enumerate() {
        if l == r {
            continue;
        }
        let first = |l: &dyn std::fmt::Debug, r: &dyn std::fmt::Debug| {
            panic!("{what}, seed {}, {:?}, sight {i}:\n{l:x?}\n{r:x?}", script.seed, script.shape)
        };
        match (l, r) {
            (Seen::Fired(l), Seen::Fired(r)) if l.len() == r.len() => {
                let (l, r) = l.iter().zip(r).find(|(l, r)| l != r).unwrap();
                first(&l, &r);
            }
            (Seen::State(l, ..), Seen::State(r, ..)) if l.len() == r.len() && l != r => {
                let (l, r) = l.iter().zip(r).find(|(l, r)| l != r).unwrap();
                first(&l, &r);
            }
            _ => first(l, r),
        }
    }
}

#[test]
fn the_processor_does_what_the_spec_says() {
    let cpu = Device::cpu();
    for script in scripts(4) {
        let there = run::trace(&cpu, &script).expect("the processor is always there");
        let there = spec::without_exact(&script.shape, there);
        same("cpu and spec", &script, &there, &spec::trace(&script));
    }
}

#[test]
fn an_adapter_does_what_the_processor_does() {
    let Some(gpu) = software("parity_kernels") else { return };
    let cpu = Device::cpu();
    for script in scripts(2) {
        let here = run::trace(&cpu, &script).expect("the processor is always there");
        let there = run::trace(&gpu, &script).expect("the adapter works");
        same("adapter and cpu", &script, &there, &here);
    }
}

/// Ten orders of threads, the first by number; each with scripts of its own.
#[test]
fn the_cuda_kernels_do_what_the_processor_does() {
    let test = "the_cuda_kernels_do_what_the_processor_does";
    let cpu = Device::cpu();
    // Under the sanitizer two do.
    let orders = if std::env::var_os(SANITIZED).is_some() { 2 } else { 10 };
    for order in 0..orders {
        let Some(cuda) = cuda_host::device::open(test, order) else { return };
        for script in scripts(1).map(|s| Script::new(s.seed + order * 5000, s.shape.parts[0])) {
            let here = run::trace(&cpu, &script).expect("the processor is always there");
            let there = run::trace(&cuda, &script).expect("the kernels run");
            same("CUDA kernels and cpu", &script, &there, &here);
        }
    }
}

#[test]
fn the_cuda_kernels_stay_inside_their_memory() {
    let test = "the_cuda_kernels_stay_inside_their_memory";
    match under_sanitizer("parity_kernels::the_cuda_kernels_do_what_the_processor_does", "parity") {
        Some((passed, said)) => assert!(passed && said.contains("1 passed"), "{said}"),
        None => cuda_host::skip(test, "no AddressSanitizer"),
    }
}

#[test]
fn cuda_does_what_the_processor_does() {
    let Some(cuda) = cuda("parity_kernels::cuda_does_what_the_processor_does") else { return };
    for script in scripts(4) {
        let here = run::trace(&Device::cpu(), &script).expect("the processor is always there");
        let there = run::trace(&cuda, &script).expect("the device works");
        same("CUDA and cpu", &script, &there, &here);
    }
}

#[test]
fn cuda_latency_does_what_the_processor_does() {
    let test = "parity_kernels::cuda_latency_does_what_the_processor_does";
    let Some(device) = cuda_host::driver::cuda(test) else { return };
    let device = cuda_host::latency::latency(&device);
    for script in scripts(4) {
        let here = run::trace(&Device::cpu(), &script).expect("the processor is always there");
        let there = run::trace(&device, &script).expect("the device works");
        same("the latency mode and cpu", &script, &there, &here);
    }
}

/// Counts and sums of three keys, every event a chunk of its own.
fn one_event_a_chunk(device: &Device, events: u32) -> Result<Vec<(u32, u32)>> {
    let (n, layout) = (events as usize, Layout::new(FIXED));
    let words = |n: usize| u32::try_from(n).unwrap();
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
    let mut m = Memory::default();
    let ids = m.buffer::<u32>("ids", Role::Scratch, n).id;
    let map = m.buffer::<u32>("map", Role::State, 4).id;
    let rows = m.buffer::<u32>("rows", Role::State, 1024 * layout.words).id;
    let out = m.buffer::<u32>("out", Role::Output { eager: 8 }, batch::OUT_FIXED + n).id;
    queue.alloc(&m.buffers)?;
    let span = Span { start: 0, slot: [0, 1] };
    let spans_at = batch::FIXED + n * batch::CHUNK;
    let mut plan = Plan::new("one event a chunk", spans_at + batch::SPAN);
    (plan.events_max, plan.stride, plan.output) = (n, 4, Some(out));
    let mut p: keys::KeysParams = pelton::Zeroable::zeroed();
    (p.stride, p.key_word, p.key_words) = (4, 2, 1);
    plan.step(&keys::DENSE, Grid::Head(batch::GROUPS), p, &[ids, out]);
    let mut p: fold::RowParams = pelton::Zeroable::zeroed();
    (p.stride, p.value_word, p.kind, p.parts) = (4, 3, 5, FIXED);
    (p.row_words, p.fixed, p.blocks) = (words(layout.words), words(layout.fixed), page::ALONE);
    plan.step(&fold::FOLD, Grid::Head(batch::GROUPS), p, &[ids, map, rows]);
    let program = queue.compile(&plan, &m)?;
    let (mut lane, mut tail) =
        lane::<[u32; 4]>(&LaneOptions { events: n, ..LaneOptions::default() })?;
    let mut run = lane.write(n).expect("the lane is empty");
    run.iter_mut().zip(0..).for_each(|(event, i)| *event = [0, 0, i % 3, i / 3 % 100]);
    run.commit(n, 0, 0);
    let note = tail.next().expect("a run was committed");
    let mut head = vec![0; batch::FIXED];
    (head[batch::GROUPS], head[batch::CHUNKS], head[batch::EVENTS]) = (events, events, events);
    (head[batch::SPANS_AT], head[batch::DENSE_KEYS]) = (words(spans_at), 3);
    let whole = Chunk {
        first: 0,
        events: 1,
        spans_at: 0,
        spans: 1,
        all: false,
        lane: 0,
        seq: 0,
        range: 0,
        at: 0,
    };
    (0..events).for_each(|i| head.extend(Chunk { first: i, at: i, ..whole }.words()));
    head.extend(span.words());
    queue.submit(program, &head, vec![tail.lease(note.from, note.to)])?;
    while queue.poll()?.is_none() {
        std::thread::yield_now();
    }
    let mut held = vec![0; 3 * layout.words];
    queue.read(rows, 0, &mut held)?;
    Ok(held.chunks_exact(layout.words).map(|row| (row[COUNT], row[layout.fixed])).collect())
}

#[test]
fn grids_of_more_groups_than_an_axis_has() {
    let Some(gpu) = software("parity_kernels, large grids") else { return };
    let events = 65_535 + 600;
    let here = one_event_a_chunk(&Device::cpu(), events).expect("the processor is always there");
    assert_eq!(here.iter().map(|&(count, _)| count).sum::<u32>(), events);
    assert_eq!(one_event_a_chunk(&gpu, events).expect("the adapter works"), here);
}
