//! The engine on CUDA against the specification of windows: a million events, bit for bit.
//!
//! The same scenarios as on the processor, through the real backend: over the stand-in for the driver, where
//! `PELTON_CUDA_SEED` draws the orders in which streams, blocks and threads take turns, or on a device.

use crate::cuda_host::driver::{cuda, is_real};
use crate::cuda_host::{self, SANITIZED, under_sanitizer};
use crate::engine::case::{Case, like_the_processor, long, long_setup, random};
use pelton::Device;

/// Long streams of `each` events, one for each seed.
fn longs(device: &Device, batch: usize, each: usize, seeds: std::ops::Range<u64>) -> usize {
    let run = |seed| {
        let case = Case::new(format!("long {seed}"), &long(seed, each));
        case.run(&long_setup(device, batch, seed))
    };
    seeds.map(run).sum()
}

#[test]
fn cuda_batches_of_1() {
    let Some(device) = cuda("windows_cuda::cuda_batches_of_1") else { return };
    assert!(random(&device, 1, 10_000, 1000, 4000) >= 10_000);
}

#[test]
fn cuda_batches_of_7() {
    let Some(device) = cuda("windows_cuda::cuda_batches_of_7") else { return };
    assert!(random(&device, 7, 10_000, 1000, 5000) >= 10_000);
}

#[test]
fn cuda_batches_of_1024() {
    let Some(device) = cuda("windows_cuda::cuda_batches_of_1024") else { return };
    random(&device, 1024, 20_000, 5000, 6000);
    longs(&device, 1024, 50_000, 0..1);
}

#[test]
fn cuda_batches_of_65536() {
    let Some(device) = cuda("windows_cuda::cuda_batches_of_65536") else { return };
    random(&device, 65_536, 20_000, 5000, 7000);
}

#[test]
fn cuda_a_million_events() {
    let Some(device) = cuda("windows_cuda::cuda_a_million_events") else { return };
    assert!(longs(&device, 16_384, 250_000, 2..6) >= 1_000_000);
}

#[test]
fn cuda_does_what_the_processor_does() {
    let Some(device) = cuda("windows_cuda::cuda_does_what_the_processor_does") else { return };
    like_the_processor(&device, 4);
}

/// Lanes, buffers and everything of the host's under AddressSanitizer, which a child of this test runs with.
#[test]
fn cuda_under_the_sanitizer() {
    const TEST: &str = "windows_cuda::cuda_under_the_sanitizer";
    if std::env::var_os(SANITIZED).is_some() {
        let device = cuda(TEST).expect("the parent has a compiler");
        random(&device, 64, 3000, 1000, 8000);
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
