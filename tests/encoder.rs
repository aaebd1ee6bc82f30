//! Encoders on every device: what they compute, and that it depends on nothing but the text.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "judged in f64")]

#[path = "encoder/attention.rs"]
mod attend;
mod cuda_host;
#[path = "encoder/low.rs"]
mod low;
#[path = "encoder/model.rs"]
mod model;
#[path = "encoder/real.rs"]
mod real;
#[path = "encoder/spec.rs"]
mod spec;
#[path = "encoder/wgmma.rs"]
mod wgmma;

use model::{SHAPES, SMALL, Shape, TOKENS_MAX, files, sequences, tensors};
use pelton::Error;
use pelton::device::fault::{Call, Failure, Fault, FaultScript};
use pelton::device::{Device, QueueOptions};
use pelton::model::{Embeddings, Encoder, EncoderOptions, Model, Precision};
use pelton::ops::tokens::{Grids, TOKENS, write_head};
use pelton::ops::{attention, embed, gemm, pool};
use pelton::plan::{Access, Grid, Memory, Plan, Role};

/// Largest error of an element, of vectors of length 1.
const OFF_MAX: f64 = 2e-6;

fn software(test: &str) -> Option<Device> {
    let device = Device::named("wgpu:llvmpipe");
    if let Err(error) = &device {
        cuda_host::skip(test, &error.to_string().replace('\n', " "));
    }
    device.ok()
}

fn open(model: &Model, device: &Device, batch_tokens: usize) -> Encoder {
    open_at(model, device, batch_tokens, Precision::F32)
}

fn open_at(model: &Model, device: &Device, batch_tokens: usize, precision: Precision) -> Encoder {
    let options =
        EncoderOptions { batch_tokens, precision: Some(precision), ..EncoderOptions::default() };
    Encoder::new(model, device, options).expect("the model fits")
}

fn borrowed(ids: &[Vec<u32>]) -> Vec<&[u32]> {
    ids.iter().map(|ids| &ids[..]).collect()
}

/// Random models of some shapes against the spec.
fn computes_what_the_spec_says(device: &Device, shapes: &[Shape], more: usize) {
    for (seed, shape) in (1..).zip(shapes) {
        let model = Model::from_files(files(shape, seed)).expect("a good folder");
        let ids = sequences(&[1, 2, 16, 17, 33, TOKENS_MAX], more, seed);
        let mut encoder = open(&model, device, TOKENS_MAX + 20);
        assert!(encoder.steps() <= 5 * shape.layers + 2);
        let found = encoder.embed_tokens(&borrowed(&ids)).expect("ids in range");
        let tensors = tensors(shape, seed);
        for (i, (found, ids)) in found.rows().zip(&ids).enumerate() {
            let want = spec::embed(shape, &tensors, ids);
            let length = want.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (found, want) in found.iter().zip(want) {
                let off = (f64::from(*found) - want).abs() / length;
                assert!(off <= OFF_MAX, "{shape:?} {i} of {} tokens: {off:e}", ids.len());
            }
        }
    }
}

/// A sequence alone, and among others, in any order, in batches of any size: the same bytes.
fn knows_no_neighbours(device: &Device, model: &Model, ids: &[Vec<u32>], batches: &[usize]) {
    knows_no_neighbours_at(device, (model, Precision::F32), ids, batches);
}

fn knows_no_neighbours_at(
    device: &Device,
    (model, precision): (&Model, Precision),
    ids: &[Vec<u32>],
    batches: &[usize],
) {
    let mut alone = open_at(model, device, model.tokens_max(), precision);
    let alone: Vec<Vec<f32>> = ids
        .iter()
        .map(|ids| alone.embed_tokens(&[ids]).expect("ids in range").values().to_vec())
        .collect();
    for &tokens in batches {
        let mut encoder = open_at(model, device, tokens, precision);
        for turn in 0..3 {
            let order = |i: usize| match turn {
                0 => i,
                1 => ids.len() - 1 - i,
                _ => (i * 7 + 3) % ids.len(),
            };
            let mixed: Vec<&[u32]> = (0..ids.len()).map(|i| &ids[order(i)][..]).collect();
            let found = encoder.embed_tokens(&mixed).expect("ids in range");
            for (i, found) in found.rows().enumerate() {
                let same =
                    found.iter().zip(&alone[order(i)]).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(
                    same,
                    "{precision}: sequence {} in batches of {tokens}, turn {turn}",
                    order(i)
                );
            }
        }
    }
}

#[test]
fn the_processor_computes_what_the_spec_says() {
    computes_what_the_spec_says(&Device::cpu(), &SHAPES, 20);
}

#[test]
fn wgsl_computes_what_the_spec_says() {
    let Some(gpu) = software("wgsl_computes_what_the_spec_says") else { return };
    computes_what_the_spec_says(&gpu, &SHAPES, 6);
}

#[test]
fn cuda_computes_what_the_spec_says() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_computes_what_the_spec_says") else { return };
    computes_what_the_spec_says(&gpu, &SHAPES, 1);
}

#[test]
fn cuda_kernels_in_any_order_of_threads_compute_what_the_spec_says() {
    let test = "cuda_kernels_in_any_order_of_threads_compute_what_the_spec_says";
    for seed in [0, 1, 2] {
        let Some(gpu) = cuda_host::device::open(test, seed) else { return };
        computes_what_the_spec_says(&gpu, &[SMALL], 0);
    }
}

fn small() -> (Model, Vec<Vec<u32>>) {
    let model = Model::from_files(files(&SMALL, 5)).expect("a good folder");
    // 64 of them: alone, and with 63 others.
    (model, sequences(&[1, 2, 3, 16, 32, TOKENS_MAX], 58, 5))
}

#[test]
fn the_processor_knows_no_neighbours() {
    let (model, ids) = small();
    knows_no_neighbours(&Device::cpu(), &model, &ids, &[TOKENS_MAX, 131, 512, 8192]);
}

#[test]
fn wgsl_knows_no_neighbours() {
    let Some(gpu) = software("wgsl_knows_no_neighbours") else { return };
    let (model, ids) = small();
    knows_no_neighbours(&gpu, &model, &ids[..24], &[131, 8192]);
}

#[test]
fn cuda_knows_no_neighbours() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_knows_no_neighbours") else { return };
    let (model, ids) = small();
    knows_no_neighbours(&gpu, &model, &ids[..8], &[TOKENS_MAX, 1024]);
}

/// Runs each kernel with more workgroups than its header asks for, over a batch of nothing: nothing is written.
fn leaves_alone_what_no_header_names(device: &Device) {
    let grids = Grids { by_tokens: [(1, 1); 6], by_tile: 1 };
    let mut head = Vec::new();
    write_head::<Vec<u32>>(&[], &grids, &mut head);
    assert_eq!(head[TOKENS], 0);
    let kernels =
        [&embed::EMBED, &gemm::GEMM, &gemm::GEMM_NORM, &attention::ATTENTION, &pool::POOL];
    for kernel in kernels {
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).expect("a queue");
        let mut memory = Memory::default();
        let of = |access| kernel.binds.iter().filter(move |bind| bind.access == access);
        let weights = device.weights("weights", &[0; 4096]).expect("16 KiB can be had");
        let mut binds = Vec::new();
        for bind in of(Access::Weights) {
            queue.attach(std::slice::from_ref(&weights)).expect("of this device");
            binds.push((bind.name, memory.buffer::<u32>(bind.name, Role::Weights, 4096).id));
        }
        let first = memory.buffers.len();
        for bind in kernel.binds.iter().filter(|bind| bind.access != Access::Weights) {
            binds.push((bind.name, memory.buffer::<u32>(bind.name, Role::Scratch, 4096).id));
        }
        queue.alloc(&memory.buffers[first..]).expect("few words");
        let id = |name| binds.iter().find(|(bind, _)| *bind == name).expect("declared").1;
        queue.write(id("out"), 0, &[7; 4096]).expect("in range");
        let mut plan = Plan::new("nothing", 64);
        let ids: Vec<_> = kernel.binds.iter().map(|bind| id(bind.name)).collect();
        plan.step(kernel, Grid::Groups(3), [32u32; 12], &ids);
        let step = &mut plan.steps[0];
        step.params.truncate(kernel.params.len());
        for (word, field) in step.params.iter_mut().zip(kernel.params) {
            *word = if field.name == "dtype" { 0 } else { *word };
        }
        let program = queue.compile(&plan, &memory).expect("a good plan");
        queue.submit(program, &head, Vec::new()).expect("there is room");
        let mut out = vec![0; 4096];
        queue.read(id("out"), 0, &mut out).expect("in range");
        let from = usize::from(kernel.name == "pool");
        assert!(out[from..].iter().all(|&word| word == 7), "{}", kernel.name);
    }
}

#[test]
fn the_processor_leaves_alone_what_no_header_names() {
    leaves_alone_what_no_header_names(&Device::cpu());
}

#[test]
fn wgsl_leaves_alone_what_no_header_names() {
    let Some(gpu) = software("wgsl_leaves_alone_what_no_header_names") else { return };
    leaves_alone_what_no_header_names(&gpu);
}

#[test]
fn cuda_leaves_alone_what_no_header_names() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_leaves_alone_what_no_header_names") else {
        return;
    };
    leaves_alone_what_no_header_names(&gpu);
}

/// Lengths around the tiles and the reach of a bias, to both sides.
fn attention_alone(device: &Device, lengths: &[usize]) {
    for precision in [Precision::F32, Precision::Bf16] {
        attend::computes_what_the_spec_says(device, lengths, (false, precision));
        attend::computes_what_the_spec_says(device, lengths, (true, precision));
    }
}

#[test]
fn the_processor_attends_as_the_spec_says() {
    attention_alone(&Device::cpu(), &[1, 2, 47, 49, 128, 129, 130, 300]);
}

#[test]
fn wgsl_attends_as_the_spec_says() {
    let Some(gpu) = software("wgsl_attends_as_the_spec_says") else { return };
    attention_alone(&gpu, &[1, 17, 130, 300]);
}

#[test]
fn cuda_attends_as_the_spec_says() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_attends_as_the_spec_says") else { return };
    attention_alone(&gpu, &[1, 17, 300]);
}

#[test]
fn each_call_that_fails_is_an_error_and_nothing_hangs() {
    let (model, ids) = small();
    let ids = borrowed(&ids);
    let run = |script: &FaultScript| -> pelton::Result<Embeddings> {
        let device = Fault::new(Device::cpu(), script.clone());
        let options = EncoderOptions { batch_tokens: 512, ..EncoderOptions::default() };
        Encoder::new(&model, &device, options)?.embed_tokens(&ids)
    };
    let well = FaultScript::new();
    let good = run(&well).expect("nothing fails");
    assert!(well.calls_of(Call::Weights) == 4 && well.calls_of(Call::Attach) == 1);
    for n in 1..=well.calls() {
        for failure in [Failure::Lost, Failure::OutOfMemory, Failure::Late(3)] {
            let script = FaultScript::new().at(n, failure);
            match run(&script) {
                Ok(found) => assert!(found == good && failure == Failure::Late(3), "call {n}"),
                Err(Error::DeviceLost { .. } | Error::Unsupported { .. }) => {}
                Err(error) => panic!("call {n}, {failure:?}: {error}"),
            }
        }
    }
}

#[test]
fn weights_are_bound_as_weights_alone() {
    let (a, b) = (Role::Scratch, Role::Weights);
    for (roles, says) in [([a, a, a], "w is bound to w"), ([b, b, a], "a is bound to a")] {
        let mut memory = Memory::default();
        let names = ["a", "w", "out"].into_iter().zip(roles);
        let ids: Vec<_> =
            names.map(|(name, role)| memory.buffer::<u32>(name, role, 64).id).collect();
        let mut plan = Plan::new("wrong", 16);
        plan.step(&gemm::GEMM, Grid::Groups(1), [0u32; 8], &ids);
        let error = plan.check(&memory).expect_err("refused").to_string();
        assert!(error.contains(says) && error.ends_with("go with Access::Weights"), "{error}");
    }
}

#[test]
fn workers_share_weights_and_nothing_else() {
    let (model, ids) = small();
    let first = open(&model, &Device::cpu(), 512);
    let ids = borrowed(&ids);
    let found: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (mut worker, ids) = (first.worker().expect("it fits"), &ids);
                scope.spawn(move || worker.embed_tokens(ids).expect("ids in range"))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]) && found[0].len() == 64);
}

#[test]
fn what_no_model_takes_is_refused_and_the_encoder_lives_on() {
    let (model, ids) = small();
    let mut encoder = open(&model, &Device::cpu(), 512);
    let good = encoder.embed_tokens(&[&ids[5]]).expect("ids in range");
    let long = vec![4; TOKENS_MAX + 1];
    for (bad, says) in [
        (&[][..], "sequence 1: 0 tokens, not 1 to 80"),
        (&long[..], "sequence 1: 81 tokens, not 1 to 80"),
        (&[3, 64][..], "sequence 1: token 64, not below 64"),
        (&[u32::MAX][..], "sequence 1: token 4294967295, not below 64"),
    ] {
        let error = encoder.embed_tokens(&[&ids[5], bad]).expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(encoder.embed_tokens(&[&ids[5]]), Ok(good.clone()));
    }
    assert!(encoder.embed(&[]).expect("nothing to do").is_empty());
    let texts = ["", "turning waterwheel", &"a ".repeat(50_000), "\u{10ffff}\0\u{fffd}"];
    assert_eq!(encoder.embed(&texts).expect("texts are texts").len(), 4);
    let options = EncoderOptions { batch_tokens: 79, in_flight: 1, ..EncoderOptions::default() };
    let error = Encoder::new(&model, &Device::cpu(), options).expect_err("too few");
    assert_eq!(error.to_string(), "invalid: batch_tokens: 80 to 65536");
    let mut null = open(&model, &Device::null(), 0);
    assert!(null.embed(&["a"]).expect_err("nothing comes").to_string().contains("nothing"));
    let (cpu, null) = (Device::cpu(), Device::null());
    let weights = cpu.weights("weights", &[1, 2, 3, 4]).expect("16 bytes");
    let mut queue = null.queue(QueueOptions { in_flight: 1, outputs: 1 }).expect("a queue");
    let error = queue
        .attach(&[weights])
        .expect_err("of the other device, though both lie in the host's memory");
    assert!(
        error.to_string().contains("another device (cpu) were attached to a queue of null"),
        "{error}"
    );
}

#[test]
fn the_real_model_is_within_its_gate() {
    real::check(&Device::cpu(), "the_real_model_is_within_its_gate", usize::MAX);
}

#[test]
fn wgsl_runs_the_real_model_within_its_gate() {
    let test = "wgsl_runs_the_real_model_within_its_gate";
    if let Some(gpu) = software(test) {
        real::check(&gpu, test, usize::MAX);
    }
}

#[test]
fn cuda_runs_the_real_model_within_its_gate() {
    let test = "cuda_runs_the_real_model_within_its_gate";
    if let Some(gpu) = cuda_host::driver::cuda(test) {
        // The stand-in takes a second for a few tokens.
        real::check(&gpu, test, if cuda_host::driver::is_real() { usize::MAX } else { 40 });
    }
}
