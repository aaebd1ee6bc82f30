//! The engine on CUDA in the latency mode against the specification of windows, bit for bit.
//!
//! The same scenarios as on the processor. Batches of one or two blocks are served by one block of the resident kernel
//! alone, larger ones by all of them; over the stand-in for the driver `PELTON_CUDA_SEED` draws the order in which
//! blocks take turns, and a kernel that leaves after a few looks shows that none is lost on the way.

#[path = "cuda/child.rs"]
mod child;
mod cuda_host;
mod engine;
mod spec;

use cuda_host::driver::{StandIn, cuda, is_real};
use cuda_host::latency::latency;
use cuda_host::{SANITIZED, under_sanitizer};
use engine::case::{Case, like_the_processor, long, long_setup, random};
use pelton::Device;

fn open(test: &str) -> Option<Device> {
    cuda(test).map(|device| latency(&device))
}

/// Long streams of `each` events, one for each seed.
fn longs(device: &Device, batch: usize, each: usize, seeds: std::ops::Range<u64>) -> usize {
    let run = |seed| {
        let case = Case::new(format!("long {seed}"), &long(seed, each));
        case.run(&long_setup(device, batch, seed))
    };
    seeds.map(run).sum()
}

#[test]
fn cuda_latency_batches_of_1() {
    let Some(device) = open("cuda_latency_batches_of_1") else { return };
    assert!(random(&device, 1, 2000, 500, 14_000) >= 2000);
}

#[test]
fn cuda_latency_batches_of_7() {
    let Some(device) = open("cuda_latency_batches_of_7") else { return };
    assert!(random(&device, 7, 5000, 1000, 15_000) >= 5000);
}

#[test]
fn cuda_latency_batches_of_1024() {
    let Some(device) = open("cuda_latency_batches_of_1024") else { return };
    random(&device, 1024, 20_000, 5000, 16_000);
    longs(&device, 1024, 50_000, 0..2);
}

#[test]
fn cuda_latency_batches_of_65536() {
    let Some(device) = open("cuda_latency_batches_of_65536") else { return };
    random(&device, 65_536, 20_000, 5000, 17_000);
    assert!(longs(&device, 65_536, 100_000, 2..4) >= 200_000);
}

#[test]
fn cuda_latency_does_what_the_processor_does() {
    let Some(device) = open("cuda_latency_does_what_the_processor_does") else { return };
    like_the_processor(&device, 4);
}

/// Blocks take turns in orders of a seed, and the kernel leaves all the time.
#[test]
fn cuda_latency_orders_of_blocks() {
    const TEST: &str = "cuda_latency_orders_of_blocks";
    if let Some(seed) = child::role(TEST) {
        let seed: u64 = seed.parse().expect("a number");
        let device = open(TEST).expect("it is there for the parent");
        assert!(random(&device, 7, 500, 500, 19_000 + 100 * seed) >= 500);
        assert!(longs(&device, 1024, 10_000, seed..seed + 1) >= 10_000);
        return;
    }
    if is_real() || cuda(TEST).is_none() {
        return cuda_host::skip(TEST, "it needs the stand-in driver");
    }
    for seed in 1..=8 {
        let looks = if seed % 2 == 0 { "20,100" } else { "20000,1000000" };
        let seed = seed.to_string();
        child::child(TEST, &seed, &[("PELTON_CUDA_SEED", &seed), ("PELTON_CUDA_LOOKS", looks)]);
    }
}

/// That batches are rung for, not launched, once memory has grown to what they need.
#[test]
fn cuda_latency_batches_need_no_launch() {
    const TEST: &str = "cuda_latency_batches_need_no_launch";
    if is_real() {
        return cuda_host::skip(TEST, "it needs the stand-in driver");
    }
    let Some(device) = open(TEST) else { return };
    let stand_in = StandIn::load().expect("it is there");
    let calls =
        || ["cuGraphLaunch", "cuLaunchCooperativeKernel"].map(|name| stand_in.calls_of(name));
    let before = calls();
    assert!(longs(&device, 64, 20_000, 0..1) >= 20_000);
    let [graphs, kernels] = [0, 1].map(|i| calls()[i] - before[i]);
    // Three hundred batches and more, of which few came when something grew.
    assert!(graphs < 40 && (1..80).contains(&kernels), "{graphs} graphs, {kernels} kernels");
}

/// All of it under AddressSanitizer, which a child of this test runs with.
#[test]
fn cuda_latency_under_the_sanitizer() {
    const TEST: &str = "cuda_latency_under_the_sanitizer";
    if std::env::var_os(SANITIZED).is_some() {
        let device = open(TEST).expect("the parent has a compiler");
        random(&device, 64, 2000, 1000, 18_000);
        assert!(longs(&device, 4096, 20_000, 0..2) >= 20_000);
        return;
    }
    if is_real() {
        return cuda_host::skip(TEST, "it needs the stand-in driver");
    }
    if cuda(TEST).is_none() {
        return;
    }
    match under_sanitizer(TEST, "windows") {
        Some((passed, said)) => assert!(passed, "{said}"),
        None => cuda_host::skip(TEST, "no AddressSanitizer"),
    }
}
