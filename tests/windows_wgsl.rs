//! The engine on the software adapter against the specification of windows: a million events, bit for bit.
//!
//! The same scenarios as on the processor, and setups drawn from the same seeds. A scenario whose state exceeds what
//! one binding of the adapter holds is passed over: others take its place.

mod engine;
mod kernels;
mod spec;

use engine::Setup;
use engine::case::{Case, long, long_setup, random};
use kernels::bed::software;
use pelton::Device;
use pelton::base::rng::SplitMix;

/// Runs what there is time for on the adapter, if it is there.
fn adapter(test: &str) -> Option<Device> {
    software(&format!("windows_wgsl::{test}"))
}

#[test]
fn wgsl_batches_of_1() {
    let Some(device) = adapter("wgsl_batches_of_1") else { return };
    assert!(random(&device, 1, 10_000, 1000, 0) >= 10_000);
}

#[test]
fn wgsl_batches_of_7() {
    let Some(device) = adapter("wgsl_batches_of_7") else { return };
    assert!(random(&device, 7, 10_000, 2000, 1000) >= 10_000);
}

#[test]
fn wgsl_batches_of_1024() {
    let Some(device) = adapter("wgsl_batches_of_1024") else { return };
    random(&device, 1024, 100_000, 20_000, 2000);
}

#[test]
fn wgsl_batches_of_65536() {
    let Some(device) = adapter("wgsl_batches_of_65536") else { return };
    random(&device, 65_536, 50_000, 20_000, 3000);
}

#[test]
fn wgsl_a_million_events() {
    let Some(device) = adapter("wgsl_a_million_events") else { return };
    let mut done = 0;
    for seed in 0..10 {
        let case = Case::new(format!("long {seed}"), &long(seed, 100_000));
        let batch = [1024, 4096, 65_536][usize::try_from(seed % 3).expect("small")];
        done += case.run(&long_setup(&device, batch, seed));
    }
    assert!(done >= 1_000_000, "{done} events compared");
}

#[test]
fn wgsl_does_what_the_processor_does() {
    let Some(device) = adapter("wgsl_does_what_the_processor_does") else { return };
    for seed in 0..6 {
        let case = Case::of(seed + 700, 2000);
        let on = |device: &Device, i: u64| {
            let setup = Setup { all_parts: true, ..Setup::any(device, SplitMix::at(seed, i)) };
            case.judged(&setup).map(|found| found.last_rows())
        };
        let here = on(&Device::cpu(), 1).expect("the processor has room");
        let there = on(&device, 2);
        assert!(there.is_none_or(|there| there == here), "{}", case.name);
    }
}
