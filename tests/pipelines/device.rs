//! The seam's contract: the same plans give the same outputs and the same state on the processor and on an
//! adapter, whatever is in flight, and every refusal is a typed error.

use crate::cuda_host;
use crate::cuda_host::driver::over_stand_in;
use crate::kernels;
use crate::kernels::VISIT;
use crate::kernels::bed::{BINS, Bed, EVENTS_MAX, is_device_error, low};
use pelton::base::rng::SplitMix;
use pelton::device::fault::{Call, Failure, Fault, FaultScript};
use pelton::device::{Device, Output, QueueOptions};
use pelton::plan::{Access, Bind, Grid, Kernel, Memory, Plan, Role};
use pelton::{Error, Result};
use std::collections::VecDeque;

/// All that a stream of batches leaves behind.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    outputs: Vec<Option<Vec<u32>>>,
    bins: Vec<u32>,
    total: Vec<u32>,
    copy: Vec<u32>,
    seen: Vec<Vec<u32>>,
}

/// How a stream is run; only `seed` and `batches` may show in what comes out.
#[derive(Debug, Clone, Copy)]
struct Run {
    seed: u64,
    batches: u64,
    in_flight: usize,
    eager: usize,
    /// Outputs the consumer sits on.
    held: usize,
}

fn size(batch: u64, rng: &mut SplitMix) -> usize {
    const ODD: [usize; 8] = [0, 1, 255, 256, 257, EVENTS_MAX, 3, 0];
    match batch % 3 {
        0 => ODD[usize::try_from(rng.below(ODD.len() as u64)).unwrap()],
        _ => usize::try_from(rng.below(600)).unwrap(),
    }
}

fn stream(device: &Device, run: Run) -> Result<Trace> {
    let mut rng = SplitMix::new(run.seed);
    let mut bed = Bed::new(device, run.in_flight, run.in_flight + run.held, run.eager)?;
    let mut held: VecDeque<Output> = VecDeque::new();
    let (mut outputs, mut seen, mut tickets) = (Vec::new(), Vec::new(), 0);
    let mut take = |done: pelton::device::Done, held: &mut VecDeque<Output>| {
        tickets += 1;
        assert_eq!(done.ticket.0, tickets, "tickets retire in order");
        assert!(done.done_ns > 0 && done.done_ns <= pelton::base::clock::now_ns());
        // What was returned before must not change while newer batches run.
        outputs.push(done.output.as_deref().map(<[u32]>::to_vec));
        held.extend(done.output);
        while held.len() > run.held {
            held.pop_front();
        }
        let newest = outputs.len();
        let of_held = outputs.iter().rev().flatten().take(held.len());
        for (then, now) in of_held.zip(held.iter().rev()) {
            assert!(**now == then[..], "an output changed in the user's hands, batch {newest}");
        }
    };
    for batch in 0..run.batches {
        if batch % 7 == 6 {
            let head = [low(batch), 7, low(rng.next_u64()), 9];
            bed.submit(bed.silent, &head, |done| take(done, &mut held))?;
        } else {
            let n = size(batch, &mut rng);
            let head = bed.feed(n, &mut rng);
            bed.submit(bed.ingest, &head, |done| take(done, &mut held))?;
        }
        if batch % 13 == 5 {
            bed.queue.flush()?;
        }
        if batch % 29 == 28 {
            seen.push(bed.read(bed.total, 4)?);
            bed.queue.write(bed.total.id, 3, &[low(batch)])?;
            bed.queue.write(bed.bins.id, 0, &[low(batch); 3])?;
            let words = 8 + usize::try_from(batch).unwrap() * 4;
            bed.queue.resize(bed.copy.id, words)?;
            seen.push(bed.read(bed.copy, words)?);
            bed.queue.resize(bed.copy.id, 4)?;
        }
    }
    bed.drain(run.batches, |done| take(done, &mut held))?;
    assert!(bed.queue.poll()?.is_none(), "nothing is left");
    let (bins, total) = (bed.read(bed.bins, BINS)?, bed.read(bed.total, 4)?);
    let copy = bed.read(bed.copy, 4)?;
    Ok(Trace { outputs, bins, total, copy, seen })
}

#[test]
fn wgsl_computes_what_the_processor_computes() {
    let Some(gpu) = kernels::bed::software("wgsl_computes_what_the_processor_computes") else {
        return;
    };
    let cases = [(1, 1, 0), (4, 64, 3), (16, EVENTS_MAX + 2, 8), (3, 100_000, 1)];
    for (seed, (in_flight, eager, held)) in (1..).zip(cases) {
        let run = Run { seed, batches: 400, in_flight, eager, held };
        let here = stream(&Device::cpu(), run).expect("the processor does not fail");
        let there = stream(&gpu, run).expect("the adapter works");
        assert!(here == there, "{run:?}");
        let events: u32 = here.bins.iter().sum();
        assert!(events > 10_000, "the test is about events: {events}");
    }
}

#[test]
fn cuda_computes_what_the_processor_computes() {
    let Some(gpu) = over_stand_in("cuda_computes_what_the_processor_computes") else { return };
    let cases = [(1, 1, 0), (4, 64, 3), (16, EVENTS_MAX + 2, 8), (3, 100_000, 1)];
    for (seed, (in_flight, eager, held)) in (1..).zip(cases) {
        let run = Run { seed, batches: 100, in_flight, eager, held };
        let here = stream(&Device::cpu(), run).expect("the processor does not fail");
        let there = stream(&gpu, run).expect("the device works");
        assert!(here == there, "{run:?}");
    }
}

/// Kernels that the resident one does not know, among batches that it serves.
#[test]
fn cuda_latency_computes_what_the_processor_computes() {
    let test = "cuda_latency_computes_what_the_processor_computes";
    let Some(gpu) = over_stand_in(test) else { return };
    let run = Run { seed: 1, batches: 100, in_flight: 3, eager: 64, held: 3 };
    let here = stream(&Device::cpu(), run).expect("the processor does not fail");
    let there = stream(&cuda_host::latency::latency(&gpu), run).expect("the device works");
    assert!(here == there, "{run:?}");
}

#[test]
fn wgsl_queues_of_one_device_do_not_meet() {
    let Some(gpu) = kernels::bed::software("wgsl_queues_of_one_device_do_not_meet") else { return };
    std::thread::scope(|scope| {
        for seed in [11, 12, 13] {
            let gpu = &gpu;
            scope.spawn(move || {
                let run = Run { seed, batches: 150, in_flight: 4, eager: 64, held: 2 };
                assert!(stream(&Device::cpu(), run).unwrap() == stream(gpu, run).unwrap());
            });
        }
    });
}

#[test]
fn wgsl_grids_may_have_more_groups_than_one_axis() {
    let Some(gpu) = kernels::bed::software("wgsl_grids_may_have_more_groups_than_one_axis") else {
        return;
    };
    const MOST: usize = 131_073;
    let visit = |device: &Device| -> Result<Vec<u32>> {
        let mut queue = device.queue(QueueOptions { in_flight: 2, outputs: 2 })?;
        let mut memory = Memory::default();
        let visits = memory.buffer::<u32>("visits", Role::State, MOST);
        queue.alloc(&memory.buffers)?;
        let mut plan = Plan::new("visit", 1);
        plan.step(&VISIT, Grid::Head(0), (), &[visits.id]);
        let program = queue.compile(&plan, &memory)?;
        for groups in [0, 1, 65_535, 65_536, 70_001, low(MOST as u64)] {
            while !queue.room(program) {
                queue.poll()?;
            }
            queue.submit(program, &[groups], Vec::new())?;
        }
        let mut all = vec![0; MOST];
        queue.read(visits.id, 0, &mut all)?;
        Ok(all)
    };
    assert!(visit(&Device::cpu()).unwrap() == visit(&gpu).unwrap());
}

#[test]
fn cuda_queues_of_one_device_do_not_meet() {
    let Some(gpu) = over_stand_in("cuda_queues_of_one_device_do_not_meet") else { return };
    std::thread::scope(|scope| {
        for seed in [11, 12, 13] {
            let gpu = &gpu;
            scope.spawn(move || {
                let run = Run { seed, batches: 150, in_flight: 4, eager: 64, held: 2 };
                assert!(stream(&Device::cpu(), run).unwrap() == stream(gpu, run).unwrap());
            });
        }
    });
}

#[test]
fn wgsl_outputs_outlive_their_queue() {
    if let Some(gpu) = kernels::bed::software("wgsl_outputs_outlive_their_queue") {
        outputs_outlive_their_queue(gpu);
    }
}

#[test]
fn cuda_outputs_outlive_their_queue() {
    if let Some(gpu) = over_stand_in("cuda_outputs_outlive_their_queue") {
        outputs_outlive_their_queue(gpu);
    }
}

fn outputs_outlive_their_queue(gpu: Device) {
    let mut rng = SplitMix::new(5);
    let mut bed = Bed::new(&gpu, 4, 8, 16).unwrap();
    drop(gpu);
    let head = bed.feed(100, &mut rng);
    bed.submit(bed.ingest, &head, drop).unwrap();
    let mut kept = None;
    bed.drain(1, |done| kept = done.output).unwrap();
    for _ in 0..4 {
        let head = bed.feed(EVENTS_MAX / 2, &mut rng);
        bed.submit(bed.ingest, &head, drop).unwrap();
    }
    let Bed { queue, mut tail, .. } = bed;
    assert_eq!(tail.reclaim(), 0, "the queue holds the events of what is in flight");
    drop(queue);
    assert_eq!(tail.reclaim(), 4 * EVENTS_MAX as u64 / 2, "and lets go of them");
    let kept = kept.expect("ingest has an output");
    assert_eq!((kept.len(), kept[0], kept[1]), (102, 102, head[3]));
}

/// A kernel that writes one buffer, with this text.
fn written(name: &'static str, wgsl: &'static str) -> &'static Kernel {
    Box::leak(Box::new(Kernel {
        name,
        params: &[],
        events: false,
        binds: &[Bind { name: "buffer", access: Access::Write }],
        wgsl,
        cpu: |_| {},
    }))
}

#[test]
fn wgsl_that_does_not_compile_is_a_typed_error() {
    let Some(gpu) = kernels::bed::software("wgsl_that_does_not_compile_is_a_typed_error") else {
        return;
    };
    const LARGE: &str = "@compute @workgroup_size(1024) fn large() {}";
    const OTHER: &str = "
@group(0) @binding(7) var<storage, read_write> buffer: array<u32>;
@compute @workgroup_size(256) fn other() { buffer[0] = 1u; }";
    let cases = [
        written("syntax", "@compute fn syntax( {"),
        written("types", "@compute @workgroup_size(256) fn types() { let x: u32 = 1.5; }"),
        written("nameless", "@compute @workgroup_size(256) fn another() {}"),
        written("other", OTHER),
        written("large", LARGE),
    ];
    for kernel in cases {
        let mut queue = gpu.queue(QueueOptions { in_flight: 1, outputs: 1 }).unwrap();
        let mut memory = Memory::default();
        let buffer = memory.buffer::<u32>("buffer", Role::State, 4);
        queue.alloc(&memory.buffers).unwrap();
        let mut plan = Plan::new("broken", 1);
        plan.step(kernel, Grid::Groups(1), (), &[buffer.id]);
        match queue.compile(&plan, &memory) {
            Err(Error::Unsupported { device, what }) => {
                assert!(device.starts_with("wgpu:"), "{device}");
                assert!(what.contains(kernel.name), "{what}");
            }
            other => panic!("{}: {other:?}", kernel.name),
        }
        // The device took no harm.
        queue.write(buffer.id, 0, &[1, 2, 3, 4]).unwrap();
        let mut back = [0; 4];
        queue.read(buffer.id, 0, &mut back).unwrap();
        assert_eq!(back, [1, 2, 3, 4]);
        let mut wrong = Plan::new("wrong", 1);
        wrong.step(&VISIT, Grid::Head(3), (), &[buffer.id]);
        assert!(matches!(queue.compile(&wrong, &memory), Err(Error::Invalid(_))));
    }
}

#[test]
fn wgsl_buffers_beyond_the_limits_are_refused_and_nothing_added() {
    let name = "wgsl_buffers_beyond_the_limits_are_refused_and_nothing_added";
    let Some(gpu) = kernels::bed::software(name) else { return };
    let most = gpu.caps().bind_words_max;
    assert!(most >= 128 << 18, "WebGPU promises 128 MiB");
    let mut queue = gpu.queue(QueueOptions { in_flight: 2, outputs: 2 }).unwrap();
    let mut memory = Memory::default();
    let small = memory.buffer::<u32>("small", Role::State, 8);
    let mut both = memory.clone();
    both.buffer::<u32>("huge", Role::State, most + 1);
    match queue.alloc(&both.buffers) {
        Err(Error::Unsupported { what, .. }) => {
            assert!(what.contains("huge") && what.contains("MiB"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    queue.alloc(&memory.buffers).unwrap();
    queue.write(small.id, 4, &[5, 6]).unwrap();
    assert!(matches!(queue.resize(small.id, most + 4), Err(Error::Unsupported { .. })));
    let mut back = [9; 8];
    queue.read(small.id, 0, &mut back).unwrap();
    assert_eq!(back, [0, 0, 0, 0, 5, 6, 0, 0], "new buffers are zero, refused ones as they were");
    assert!(matches!(
        gpu.queue(QueueOptions { in_flight: 0, outputs: 1 }).map(|_| ()),
        Err(Error::Invalid(_))
    ));
}

#[test]
fn wgsl_an_adapter_that_is_not_there_is_named_with_those_that_are() {
    let error = Device::named("wgpu:no such adapter").expect_err("there is none");
    let text = error.to_string();
    assert!(text.contains("no such adapter") && text.contains("cpu"), "{text}");
    if cfg!(feature = "wgpu") {
        assert!(text.contains("adapters here"), "{text}");
    }
    let Some(gpu) =
        kernels::bed::software("wgsl_an_adapter_that_is_not_there_is_named_with_those_that_are")
    else {
        return;
    };
    assert!(gpu.caps().software && gpu.caps().name.starts_with("wgpu:"), "{:?}", gpu.caps());
    assert!(Device::names().contains(&gpu.caps().name));
    assert!(!Device::best().caps().software, "a software adapter is never the best");
    assert!(!gpu.caps().in_place && !gpu.caps().serial);
    let (least, most) = gpu.caps().subgroup;
    assert!(least >= 1 && most >= least);
}

/// Makes each call of a short stream fail in turn.
fn sweep(inner: &Device, calls_max: u64) {
    let run = Run { seed: 3, batches: 31, in_flight: 3, eager: 64, held: 1 };
    let script = FaultScript::new();
    let good = stream(&Fault::new(inner.clone(), script.clone()), run).expect("nothing fails yet");
    let calls = script.calls();
    assert!(calls > 31 && script.calls_of(Call::Submit) == 31);
    assert_eq!(script.calls_of(Call::Compile), 2);
    let step = calls.div_ceil(calls_max).max(1);
    for n in (1..=calls).step_by(usize::try_from(step).unwrap()) {
        for failure in [Failure::Lost, Failure::OutOfMemory, Failure::Late(3)] {
            let script = FaultScript::new().at(n, failure);
            match stream(&Fault::new(inner.clone(), script.clone()), run) {
                Err(error) => {
                    assert!(failure != Failure::Late(3), "being late is no error: {error}");
                    assert!(is_device_error(&error), "call {n}, {failure:?}: {error}");
                }
                Ok(trace) => {
                    assert!(failure == Failure::Late(3) || script.calls() < n, "call {n} worked");
                    assert!(trace == good, "call {n}, {failure:?}");
                }
            }
        }
    }
}

#[test]
fn every_call_may_fail_on_the_processor() {
    sweep(&Device::cpu(), 1000);
}

#[test]
fn wgsl_every_call_may_fail_on_an_adapter() {
    let Some(gpu) = kernels::bed::software("wgsl_every_call_may_fail_on_an_adapter") else {
        return;
    };
    sweep(&gpu, 25);
}

#[test]
fn cuda_every_call_may_fail_on_a_device() {
    let Some(gpu) = over_stand_in("cuda_every_call_may_fail_on_a_device") else { return };
    sweep(&gpu, 50);
}

#[test]
fn a_submit_that_fails_lets_go_of_the_events() {
    let script = FaultScript::new().nth(Call::Submit, 2, Failure::Lost);
    let device = Fault::new(Device::cpu(), script);
    let options = QueueOptions { in_flight: 2, outputs: 2 };
    let mut bed = Bed::new(&device, options.in_flight, options.outputs, 16).unwrap();
    let mut rng = SplitMix::new(1);
    for batch in 0..2 {
        let head = bed.feed(10, &mut rng);
        let submitted = bed.submit(bed.ingest, &head, drop);
        assert_eq!(submitted.is_ok(), batch == 0);
    }
    assert!(matches!(bed.queue.poll(), Err(Error::DeviceLost { .. })));
    assert!(matches!(device.queue(options).map(drop), Err(Error::DeviceLost { .. })));
    let Bed { queue, mut tail, .. } = bed;
    drop(queue);
    assert_eq!(tail.reclaim(), 20);
}
