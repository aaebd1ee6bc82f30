//! The engine on the software adapter against the specification of windows: a million events, bit for bit.
//!
//! The same scenarios as on the processor, and setups drawn from the same seeds. A scenario whose state exceeds what
//! one binding of the adapter holds is passed over: others take its place.

use crate::engine::Setup;
use crate::engine::case::{Case, like_the_processor, long, long_setup, random};
use crate::kernels::bed::software;
use pelton::Device;

/// Runs what there is time for on the adapter, if it is there.
fn adapter(test: &str) -> Option<Device> {
    software(&format!("windows_wgsl::{test}"))
}

/// Long streams of `each` events, one for each seed.
fn longs(device: &Device, batch: usize, each: usize, seeds: std::ops::Range<u64>) -> usize {
    let run = |seed| {
        let case = Case::new(format!("long {seed}"), &long(seed, each));
        case.run(&long_setup(device, batch, seed))
    };
    seeds.map(run).sum()
}

/// Ten thousand events counted by key: the software adapter compiles larger kernels again and again, and so many
/// batches of them would take an hour.
fn counted(device: &Device, batch: usize) -> usize {
    let mut scenario = long(20, 10_000);
    scenario.query.values.clear();
    scenario.query.size = scenario.query.slide;
    let case = Case::new("counted", &scenario);
    case.run(&Setup { in_flight: 4, ..long_setup(device, batch, 1) })
}

#[test]
fn wgsl_batches_of_1() {
    let Some(device) = adapter("wgsl_batches_of_1") else { return };
    assert!(counted(&device, 1) >= 10_000);
}

#[test]
fn wgsl_batches_of_7() {
    let Some(device) = adapter("wgsl_batches_of_7") else { return };
    assert!(counted(&device, 7) >= 10_000);
}

#[test]
fn wgsl_batches_of_1024() {
    let Some(device) = adapter("wgsl_batches_of_1024") else { return };
    random(&device, 1024, 4000, 3000, 2000);
    longs(&device, 1024, 50_000, 0..1);
}

#[test]
fn wgsl_batches_of_65536() {
    let Some(device) = adapter("wgsl_batches_of_65536") else { return };
    random(&device, 65_536, 4000, 3000, 3000);
}

#[test]
fn wgsl_a_million_events() {
    let Some(device) = adapter("wgsl_a_million_events") else { return };
    assert!(longs(&device, 16_384, 250_000, 2..6) >= 1_000_000);
}

/// Rows for all keys that four batches of 32,768 could bring would not fit one binding: fewer are in flight
/// then, and smaller ones.
#[test]
fn wgsl_large_batches_in_flight() {
    let Some(device) = adapter("wgsl_large_batches_in_flight") else { return };
    let mut scenario = long(2, 400_000);
    (scenario.query.size, scenario.query.lateness) = (4 * scenario.query.slide, 0);
    scenario.stream.too_late = (0.0, 0);
    let case = Case::new("large batches", &scenario);
    let setup = Setup {
        in_flight: 4,
        lane_events: 1 << 17,
        chunk: 1 << 17,
        ..long_setup(&device, 32_768, 1)
    };
    assert!(case.run(&setup) > 0, "the adapter has room");
}

#[test]
fn wgsl_does_what_the_processor_does() {
    let Some(device) = adapter("wgsl_does_what_the_processor_does") else { return };
    like_the_processor(&device, 1);
}
