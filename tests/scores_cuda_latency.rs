//! Scores on CUDA in the latency mode against those of the processor, bit for bit.
//!
//! Grouping runs a step of 256 blocks, so all blocks of the resident kernel serve every batch, and each plays several
//! blocks of a step in turn over the same shared memory. What only then goes wrong is planted here.

#[path = "cuda/child.rs"]
mod child;
mod cuda_host;
mod scores;

use child::{child, outcome, role};
use cuda_host::driver::{DRIVER, StandIn, cuda, over_stand_in};
use cuda_host::{Library, Plant, SANITIZED, under_sanitizer};
use pelton::Device;
use scores::{Setup, dense, run, same, same_forests, stream, wide};

/// How the latency mode is asked for.
fn resident(batch: usize, chunk: usize) -> Setup {
    Setup { batch, chunk, in_flight: 3, latency_mode: true, ..Setup::default() }
}

#[test]
fn cuda_latency_scores_are_those_of_the_processor() {
    let test = "scores_cuda_latency::cuda_latency_scores_are_those_of_the_processor";
    let Some(device) = cuda(test) else { return };
    for (seed, batch, chunk) in [(1, 1024, 5000), (2, 65_536, 9000), (3, 7, 60), (4, 1, 30)] {
        let n = match batch {
            1 => 400,
            7 => 2000,
            _ => 15_000,
        };
        same(&device, seed, &resident(batch, chunk), n);
    }
}

#[test]
fn cuda_latency_state_moves_to_the_processor_and_back() {
    let test = "scores_cuda_latency::cuda_latency_state_moves_to_the_processor_and_back";
    let Some(device) = cuda(test) else { return };
    let moves = vec![Device::cpu(), device.clone()];
    same(&device, 5, &Setup { moves, ..resident(1024, 1000) }, 10_000);
    same_forests(&device, 6, &resident(512, 1000), 4000);
}

/// Blocks take turns in orders of a seed, and the kernel leaves all the time.
#[test]
fn cuda_latency_scores_in_orders_of_blocks() {
    const TEST: &str = "cuda_latency_scores_in_orders_of_blocks";
    if let Some(seed) = role(TEST) {
        let seed: u64 = seed.parse().expect("a number");
        let device = cuda(TEST).expect("it is there for the parent");
        same(&device, 10 + seed, &resident(2048, 3000), 5000);
        same(&device, 20 + seed, &resident(5, 40), 300);
        return;
    }
    if over_stand_in(TEST).is_none() {
        return;
    }
    for seed in 1..=8 {
        let looks = if seed % 2 == 0 { "20,100" } else { "20000,1000000" };
        let seed = seed.to_string();
        child(TEST, &seed, &[("PELTON_CUDA_SEED", &seed), ("PELTON_CUDA_LOOKS", looks)]);
    }
}

/// That batches of scores are rung for: no graph is launched once memory has grown to what they need.
#[test]
fn cuda_latency_scores_need_no_launch() {
    const TEST: &str = "cuda_latency_scores_need_no_launch";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            // Alone in a process, whose calls of the driver are counted.
            child(TEST, "count", &[]);
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let device = cuda(TEST).expect("it is there for the parent");
    let calls =
        || ["cuGraphLaunch", "cuLaunchCooperativeKernel"].map(|name| stand_in.calls_of(name));
    let events = stream(6, 10_000, 40);
    for (latency_mode, query) in [(false, wide()), (true, wide()), (true, dense(40))] {
        let before = calls();
        let setup = Setup { latency_mode, ..resident(64, 64) };
        let (_, stats) = run(&device, query, &setup, &events);
        let [graphs, kernels] = [0, 1].map(|i| calls()[i] - before[i]);
        let batches = stats.batches;
        let said = format!("{batches} batches, {graphs} graphs, {kernels} kernels");
        println!("{latency_mode}: {said}");
        assert!(batches >= 150, "{said}");
        if latency_mode {
            assert!(graphs < 20 && (1..80).contains(&kernels), "{said}");
        } else {
            assert!(graphs >= batches && kernels == 0, "{said}");
        }
    }
}

/// All of it under AddressSanitizer, which a child of this test runs with.
#[test]
fn cuda_latency_scores_under_the_sanitizer() {
    const TEST: &str = "cuda_latency_scores_under_the_sanitizer";
    if std::env::var_os(SANITIZED).is_some() {
        let device = cuda(TEST).expect("the parent has a compiler");
        same(&device, 7, &resident(2048, 3000), 5000);
        return;
    }
    if over_stand_in(TEST).is_none() {
        return;
    }
    match under_sanitizer(TEST, "scores") {
        Some((passed, said)) => assert!(passed, "{said}"),
        None => cuda_host::skip(TEST, "no AddressSanitizer"),
    }
}

/// What is planted: a kernel that is launched for each batch has neither.
const MISTAKES: [(&str, Plant<'_>); 2] = [
    (
        "a missing barrier: a block's shared memory is the next one's while some threads still read it",
        Plant {
            file: "kernels/resident.cu",
            from: "here on.\n                __syncthreads();\n",
            to: "here on.\n",
        },
    ),
    (
        "the block of the device in place of the block of the step",
        Plant {
            file: "kernels/group_count.cu",
            from: "* blocks + block.index]",
            to: "* blocks + blockIdx.x]",
        },
    ),
];

#[test]
fn cuda_latency_planted_mistakes_are_found() {
    const TEST: &str = "cuda_latency_planted_mistakes_are_found";
    if let Some(role) = role(TEST) {
        let plant = role.parse().ok().map(|i: usize| MISTAKES[i].1);
        StandIn::load_as(&Library { plant, ..DRIVER }).expect("it is there for the parent");
        let device = Device::named("cuda").expect("opening it serves no batch so");
        return same(&device, 8, &resident(8192, 8192), 9000);
    }
    if over_stand_in(TEST).is_none() {
        return;
    }
    child(TEST, "nothing", &[]);
    for (i, (what, _)) in MISTAKES.iter().enumerate() {
        let found = (0..10).find_map(|seed| {
            let seed = seed.to_string();
            let (passed, text) = outcome(TEST, &i.to_string(), &[("PELTON_CUDA_SEED", &seed)]);
            let mut said = text.lines().skip_while(|line| !line.contains("panicked at"));
            (!passed).then(|| format!("order {seed}: {}", said.nth(1).unwrap_or("a crash").trim()))
        });
        println!("{what}\n  {}", found.as_deref().unwrap_or("NOT FOUND"));
        assert!(found.is_some(), "{what}");
    }
}
