//! Encoders at low precision: how far off they are, the same bytes on every tier, and no neighbours there either.

use super::cuda_host::driver::{self, cuda};
use super::cuda_host::{self, skip};
use super::model::{SHAPES, Shape, TOKENS_MAX, files, sequences, tensors};
use super::{borrowed, knows_no_neighbours_at, open, open_at, real, small, software, spec};
use pelton::base::rng::SplitMix;
use pelton::device::QueueOptions;
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use pelton::ops::gemm::{self, Activation, GemmParams};
use pelton::ops::tokens::{Grids, token_grid, write_head};
use pelton::plan::{Grid, Memory, Plan, Role};
use pelton::{Device, ops};
use std::process::Command;

/// Precisions under test, and how far off their directions may be: at most, and on average. Of the real model.
const GATES: [(Precision, f64, f64); 3] =
    [(Precision::F16, 1e-5, 1e-5), (Precision::Bf16, 5e-4, 5e-4), (Precision::Int8, 1e-2, 2.5e-3)];

/// What sums of 16-bit numbers may be off by, of the sum of their products' sizes, and those of units for matrices.
const HALVES_OFF: f64 = 1.0 / (1 << 20) as f64;
const MATRIX_OFF: f64 = 1.0 / (1 << 16) as f64;

/// Random models of some shapes against the spec, which rounds nothing.
fn is_about_what_the_spec_says(device: &Device, shapes: &[Shape], more: usize) {
    for (seed, shape) in (1..).zip(shapes) {
        let model = Model::from_files(files(shape, seed)).expect("a good folder");
        let ids = sequences(&[1, 2, 16, 33, TOKENS_MAX], more, seed);
        let tensors = tensors(shape, seed);
        let want: Vec<Vec<f32>> = ids
            .iter()
            .map(|ids| spec::embed(shape, &tensors, ids).iter().map(|x| *x as f32).collect())
            .collect();
        for (precision, most, _) in GATES {
            let mut encoder = open_at(&model, device, TOKENS_MAX + 20, precision);
            let found = encoder.embed_tokens(&borrowed(&ids)).expect("ids in range");
            let mut worst: f64 = 0.0;
            for (found, want) in found.rows().zip(&want) {
                worst = worst.max(real::gap(found, want));
            }
            println!("{precision} {shape:?}: gap {worst:.2e}");
            // Random weights have no outliers, so the gate is narrower than the real model's.
            assert!(worst <= most / 10.0, "{precision} {shape:?}: {worst:e}");
            let exact = open(&model, device, 0).embed_tokens(&borrowed(&ids)).expect("in range");
            assert_ne!(exact, found, "low precision is not what F32 is");
        }
    }
}

/// What a device makes of rows and panels, with scales and factors of 1 and no bias.
pub(super) fn multiplied(
    device: &Device,
    (rows, depth, columns): (usize, usize, usize),
    (precision, activation): (Precision, Activation),
    a: &[f32],
    panels: Vec<u32>,
) -> Vec<f32> {
    let (mut words, scales_at) = (panels.clone(), panels.len());
    words.resize(scales_at + columns + depth, 1f32.to_bits());
    let bias_at = words.len();
    words.resize(bias_at + columns, 0);
    let weights = device.weights("weights", &words).expect("they can be had");
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).expect("a queue");
    let mut memory = Memory::default();
    let w = memory.buffer::<u32>("w", Role::Weights, words.len());
    let inputs = memory.buffer::<f32>("a", Role::Scratch, rows * depth);
    let out = memory.buffer::<f32>("out", Role::Scratch, rows * columns);
    queue.attach(&[weights]).expect("of this device");
    queue.alloc(&memory.buffers[1..]).expect("few words");
    let a: Vec<u32> = a.iter().map(|x| x.to_bits()).collect();
    queue.write(inputs.id, 0, &a).expect("in range");
    let params = GemmParams {
        depth: depth as u32,
        columns: columns as u32,
        panels_at: 0,
        bias_at: bias_at as u32,
        activation: activation as u32,
        dtype: precision as u32,
        scales_at: scales_at as u32,
        smooth_at: (scales_at + columns) as u32,
    };
    let (row, groups) = gemm::gemm_grid(columns);
    let grids = Grids { by_tokens: [(row, groups); 6], by_tile: 1 };
    let mut head = Vec::new();
    write_head(&[vec![0; rows]], &grids, &mut head);
    let mut plan = Plan::new("sums", head.len());
    plan.step(&gemm::GEMM, Grid::Head(token_grid(0)), params, &[inputs.id, w.id, out.id]);
    let program = queue.compile(&plan, &memory).expect("a good plan");
    queue.submit(program, &head, Vec::new()).expect("there is room");
    let mut found = vec![0; rows * columns];
    queue.read(out.id, 0, &mut found).expect("in range");
    found.into_iter().map(f32::from_bits).collect()
}

/// The products of rows and columns of whole numbers that are their own codes: what a device makes of INT8 is exact.
pub(super) fn sums(
    device: &Device,
    (rows, depth, columns): (usize, usize, usize),
    activation: Activation,
) -> Vec<f32> {
    let mut rng = SplitMix::new(11);
    let mut codes = |n: usize| -> Vec<i8> {
        let mut all: Vec<i8> =
            (0..n * depth).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
        // The largest of each row is 127, so that its scale is 1.
        all.chunks_mut(depth).for_each(|row| row[rng.below(depth as u64) as usize] = -127);
        all
    };
    let (a, w) = (codes(rows), codes(columns));
    let a: Vec<f32> = a.into_iter().map(f32::from).collect();
    let panels = ops::low::pack_int8(&w, columns, depth);
    multiplied(device, (rows, depth, columns), (Precision::Int8, activation), &a, panels)
}

/// Products of 16-bit numbers of many sizes, those that F16 takes for zeros among them, and what each sum's terms have
/// for sizes in all.
fn halves(
    device: &Device,
    (rows, depth, columns): (usize, usize, usize),
    precision: Precision,
) -> (Vec<f32>, Vec<f64>) {
    let mut rng = SplitMix::new(12);
    let mut values = |n: usize| -> Vec<f32> {
        let mut value = || {
            let unit = rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0;
            unit * 2f32.powi(rng.below(20) as i32 - 16)
        };
        (0..n * depth).map(|_| value()).collect()
    };
    let (a, w) = (values(rows), values(columns));
    let panels = ops::low::pack_halves(&w, columns, depth, precision);
    let sizes = a.chunks(depth).flat_map(|a| {
        let size = |w: &[f32]| a.iter().zip(w).map(|(a, w)| f64::from(a * w).abs()).sum();
        w.chunks(depth).map(size).collect::<Vec<f64>>()
    });
    let sizes = sizes.collect();
    (multiplied(device, (rows, depth, columns), (precision, Activation::None), &a, panels), sizes)
}

/// Sums of 16-bit numbers on a device and on the processor: off by as much as BF16 may be, and F16 the same bits unless
/// the device has units for matrices.
pub(super) fn halves_agree(device: &Device, matrices: bool) {
    for shape in [(1, 32, 32), (33, 96, 64), (70, 1024, 96)] {
        for precision in [Precision::F16, Precision::Bf16] {
            let (found, sizes) = halves(device, shape, precision);
            let (want, _) = halves(&Device::cpu(), shape, precision);
            for (i, ((found, want), size)) in found.iter().zip(&want).zip(&sizes).enumerate() {
                let off = (f64::from(*found) - f64::from(*want)).abs();
                let most = match precision {
                    _ if matrices => size * MATRIX_OFF,
                    Precision::F16 => 0.0,
                    _ => size * HALVES_OFF,
                };
                assert!(off <= most, "{precision} {shape:?} {i}: {found:e}, {want:e}");
            }
        }
    }
}

/// The last rows of so many that blocks are tall are what they are alone.
pub(super) fn tall_blocks_change_nothing(device: &Device) {
    let (rows, few, depth, columns) = (1030, 20, 64, 96);
    let mut rng = SplitMix::new(13);
    let mut values = |n: usize| -> Vec<f32> {
        (0..n).map(|_| rng.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).collect()
    };
    let (a, w) = (values(rows * depth), values(columns * depth));
    for (precision, ..) in GATES {
        let panels = match precision {
            Precision::Int8 => {
                let (codes, _) = ops::low::quantise(&w, depth, &vec![1.0; depth]);
                ops::low::pack_int8(&codes, columns, depth)
            }
            _ => ops::low::pack_halves(&w, columns, depth, precision),
        };
        let run = |a: &[f32]| {
            multiplied(
                device,
                (a.len() / depth, depth, columns),
                (precision, Activation::None),
                a,
                panels.clone(),
            )
        };
        let (all, alone) = (run(&a), run(&a[(rows - few) * depth..]));
        assert_eq!(all[(rows - few) * columns..], alone, "{precision}");
    }
}

/// Whole sums, on a device and on the processor.
pub(super) fn sums_are_exact(device: &Device) {
    for shape in [(1, 32, 32), (33, 96, 64), (70, 1024, 96)] {
        let (rows, depth, columns) = shape;
        let found = sums(device, shape, Activation::None);
        assert!(found.iter().all(|sum| sum.fract() == 0.0) && found.iter().any(|sum| *sum > 9e4));
        let plain = sums(&Device::cpu(), shape, Activation::None);
        assert_eq!(found, plain, "{rows} {depth} {columns}");
        // What attention takes in BF16: the nearest, ties to even, the same bits on every device.
        let nearest: Vec<f32> =
            found.iter().map(|sum| half::bf16::from_f32(*sum).to_f32()).collect();
        assert_eq!(sums(device, shape, Activation::Bf16), nearest, "{rows} {depth} {columns}");
        assert_ne!(nearest, found);
    }
}

/// INT8 embeddings of a device beside those of the processor.
fn agrees_with_the_processor(device: &Device, shapes: &[Shape]) {
    for (seed, shape) in (1..).zip(shapes) {
        let model = Model::from_files(files(shape, seed)).expect("a good folder");
        let ids = sequences(&[1, 2, 17, 40], 2, seed);
        for (precision, ..) in GATES {
            let run = |device: &Device| {
                let mut encoder = open_at(&model, device, 0, precision);
                encoder.embed_tokens(&borrowed(&ids)).expect("ids in range")
            };
            for (found, want) in run(device).rows().zip(run(&Device::cpu()).rows()) {
                let gap = real::gap(found, want);
                assert!(gap <= 1e-4, "{precision} {shape:?}: {gap:e}");
            }
        }
    }
}

#[test]
fn wgsl_is_about_what_the_spec_says() {
    let Some(gpu) = software("wgsl_is_about_what_the_spec_says") else { return };
    is_about_what_the_spec_says(&gpu, &SHAPES, 1);
    agrees_with_the_processor(&gpu, &SHAPES);
}

#[test]
fn wgsl_sums_are_exact() {
    let Some(gpu) = software("wgsl_sums_are_exact") else { return };
    sums_are_exact(&gpu);
    halves_agree(&gpu, false);
}

#[test]
fn wgsl_knows_no_neighbours_at_low_precision() {
    let Some(gpu) = software("wgsl_knows_no_neighbours_at_low_precision") else { return };
    let (model, ids) = small();
    for (precision, ..) in GATES {
        knows_no_neighbours_at(&gpu, (&model, precision), &ids[..16], &[131, 8192]);
    }
}

#[test]
fn wgsl_runs_the_real_model_within_its_gates_at_low_precision() {
    let test = "wgsl_runs_the_real_model_within_its_gates_at_low_precision";
    let Some(gpu) = software(test) else { return };
    for gate in GATES {
        real::check_low(&gpu, test, usize::MAX, gate);
    }
}

#[test]
fn cuda_is_about_what_the_spec_says() {
    let Some(gpu) = cuda("cuda_is_about_what_the_spec_says") else { return };
    is_about_what_the_spec_says(&gpu, &SHAPES, 0);
    agrees_with_the_processor(&gpu, &SHAPES[..1]);
}

/// Rows of more columns than warps take at a time, and so few that the grid has fewer blocks than there are tiles.
#[test]
fn cuda_rows_of_any_width_are_about_the_same() {
    let Some(gpu) = cuda("cuda_rows_of_any_width_are_about_the_same") else { return };
    let all = GATES.map(|(precision, ..)| precision);
    let halves = &all[..2];
    for (hidden, heads, lengths, precisions) in
        [(32, 1, &[80, 57, 3][..], &all[..]), (768, 6, &[1, 9], halves)]
    {
        let shape = Shape { hidden, heads, layers: 1, inner: 32, ..SHAPES[0] };
        let model = Model::from_files(files(&shape, 3)).expect("a good folder");
        let ids = sequences(lengths, 0, 3);
        for &precision in precisions {
            let run = |device: &Device| {
                let mut encoder = open_at(&model, device, 0, precision);
                encoder.embed_tokens(&borrowed(&ids)).expect("ids in range")
            };
            for (found, want) in run(&gpu).rows().zip(run(&Device::cpu()).rows()) {
                let gap = real::gap(found, want);
                assert!(gap <= 1e-6, "{precision} {hidden}: {gap:e}");
            }
        }
    }
}

/// A barrier that is missing, or a copy that nobody waits for, shows in some order of the threads.
#[test]
fn cuda_kernels_sum_exactly_in_any_order_of_threads() {
    for seed in [0, 1] {
        let test = "cuda_kernels_sum_exactly_in_any_order_of_threads";
        let Some(gpu) = cuda_host::device::open(test, seed) else { return };
        sums_are_exact(&gpu);
        halves_agree(&gpu, true);
        if seed == 0 {
            tall_blocks_change_nothing(&gpu);
        }
    }
}

#[test]
fn cuda_sums_are_exact() {
    let Some(gpu) = cuda("cuda_sums_are_exact") else { return };
    sums_are_exact(&gpu);
    halves_agree(&gpu, true);
    tall_blocks_change_nothing(&gpu);
}

#[test]
fn cuda_knows_no_neighbours_at_low_precision() {
    let Some(gpu) = cuda("cuda_knows_no_neighbours_at_low_precision") else { return };
    let (model, ids) = small();
    for (precision, ..) in GATES {
        knows_no_neighbours_at(&gpu, (&model, precision), &ids[..6], &[TOKENS_MAX, 1024]);
    }
}

#[test]
fn cuda_runs_the_real_model_within_its_gates_at_low_precision() {
    let test = "cuda_runs_the_real_model_within_its_gates_at_low_precision";
    let Some(gpu) = cuda(test) else { return };
    for gate in GATES {
        // The stand-in takes a second for a few tokens.
        real::check_low(&gpu, test, if driver::is_real() { usize::MAX } else { 20 }, gate);
    }
}

#[test]
fn the_processor_is_about_what_the_spec_says() {
    is_about_what_the_spec_says(&Device::cpu(), &SHAPES, 20);
}

#[test]
fn the_processor_sums_are_exact() {
    sums_are_exact(&Device::cpu());
}

#[test]
fn the_processor_knows_no_neighbours_at_low_precision() {
    let (model, ids) = small();
    for (precision, ..) in GATES {
        let batches = [TOKENS_MAX, 131, 8192];
        knows_no_neighbours_at(&Device::cpu(), (&model, precision), &ids, &batches);
    }
}

#[test]
fn workers_have_the_precision_of_the_first() {
    let (model, ids) = small();
    let mut first = open_at(&model, &Device::cpu(), 512, Precision::Int8);
    let mut worker = first.worker().expect("it fits");
    let ids = borrowed(&ids);
    assert_eq!(first.embed_tokens(&ids), worker.embed_tokens(&ids));
}

#[test]
fn the_real_model_is_within_its_gates_at_low_precision() {
    let test = "the_real_model_is_within_its_gates_at_low_precision";
    for gate in GATES {
        real::check_low(&Device::cpu(), test, usize::MAX, gate);
    }
}

/// What is the same on every tier, but for attention of the last in tiles of AMX.
const ON_TIERS: [Precision; 3] = [Precision::F32, Precision::F16, Precision::Int8];

/// What runs in a process of its own, since a tier is chosen once: prints the bits of embeddings at the precisions that
/// are the same on every tier, or the error.
#[test]
fn child_prints_embeddings() {
    if std::env::var_os("PELTON_CPU_TIER").is_none() {
        return;
    }
    let (model, ids) = small();
    let mut bits: Vec<u32> = Vec::new();
    for precision in ON_TIERS {
        let options = EncoderOptions { precision: Some(precision), ..EncoderOptions::default() };
        match Encoder::new(&model, &Device::cpu(), options) {
            Ok(mut encoder) => {
                let found = encoder.embed_tokens(&borrowed(&ids)).expect("ids in range");
                bits.extend(found.values().iter().map(|x| x.to_bits()));
            }
            Err(error) => return println!("tier none: {error}"),
        }
    }
    let bits: Vec<String> = bits.iter().map(|bits| format!("{bits:x}")).collect();
    println!("tier {}: {}", ops::low::tier().expect("it is there"), bits.join(" "));
}

/// What the child prints behind `tier`.
fn on_tier(tier: &str) -> String {
    let out = Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "low::child_prints_embeddings", "--nocapture"])
        .env("PELTON_CPU_TIER", tier)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = text.split("tier ").nth(1).and_then(|line| line.lines().next());
    found.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Bits of embeddings on a tier and on the plain one; `None`, and `test` is skipped, where it is not there.
fn beside_the_plain_tier(test: &str, tier: &str) -> Option<[Vec<u32>; 2]> {
    let found = on_tier(tier);
    if found.starts_with("none: ") {
        let name = tier.to_uppercase();
        skip(test, &format!("it needs {name}, which this processor has not"));
        return None;
    }
    let bits = |tier: &str, line: &str| -> Vec<u32> {
        let line = line.strip_prefix(&format!("{tier}: ")).expect("of this tier");
        line.split(' ').map(|bits| u32::from_str_radix(bits, 16).expect("bits")).collect()
    };
    let both = [bits(tier, &found), bits("plain", &on_tier("plain"))];
    assert!(both[0].len() == both[1].len() && both[0].len() > 1000, "embeddings");
    Some(both)
}

#[test]
fn avx512_gives_the_bytes_of_the_plain_tier() {
    let test = "avx512_gives_the_bytes_of_the_plain_tier";
    let Some([found, plain]) = beside_the_plain_tier(test, "avx512") else { return };
    assert!(found == plain);
}

#[test]
fn avx2_gives_the_bytes_of_the_plain_tier() {
    let test = "avx2_gives_the_bytes_of_the_plain_tier";
    let Some([found, plain]) = beside_the_plain_tier(test, "avx2") else { return };
    assert!(found == plain);
}

#[test]
fn neon_gives_the_bytes_of_the_plain_tier() {
    let test = "neon_gives_the_bytes_of_the_plain_tier";
    let Some([found, plain]) = beside_the_plain_tier(test, "neon") else { return };
    assert!(found == plain);
}

#[test]
fn amx_gives_about_the_bytes_of_the_plain_tier() {
    let test = "amx_gives_about_the_bytes_of_the_plain_tier";
    let Some([found, plain]) = beside_the_plain_tier(test, "amx") else { return };
    let same = found.len() / ON_TIERS.len() * 2;
    assert!(found[..same] == plain[..same], "F32 and F16");
    let off = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs();
    let most = found[same..].iter().zip(&plain[same..]).map(off).fold(0.0, f32::max);
    println!("INT8 is off by {most:e} at most");
    assert!(most <= 2e-3, "{most:e}");
}

#[test]
fn a_tier_that_is_not_there_is_an_error() {
    let found = on_tier("magic");
    let says =
        "none: invalid: PELTON_CPU_TIER: \"magic\" is none of what this processor has: plain";
    assert!(found.starts_with(says), "{found}");
}
