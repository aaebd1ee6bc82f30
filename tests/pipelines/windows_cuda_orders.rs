//! The engine on the CUDA kernels against the specification of windows: without a GPU, in ten orders of their threads,
//! bit for bit.
//!
//! The same scenarios as on the processor, and setups drawn from the same seeds. Each order has scenarios of its own.

use crate::cuda_host;
use crate::engine::case::{Case, long, long_setup, random};
use pelton::Device;

/// Orders of threads and blocks, the first by number.
const ORDERS: u64 = 10;

/// Runs `judge` on the kernels in every order, if there is a compiler, and adds up the events it compared.
fn in_all_orders(test: &str, judge: impl Fn(&Device, u64) -> usize) -> Option<usize> {
    let devices = (0..ORDERS).map(|order| cuda_host::device::open(test, order));
    let devices: Vec<Device> = devices.collect::<Option<_>>()?;
    Some(devices.iter().zip(0..).map(|(device, order)| judge(device, order)).sum())
}

/// Long streams of `each` events, one for each order.
fn longs(test: &str, batch: usize, each: usize) -> Option<usize> {
    in_all_orders(test, |device, order| {
        let case = Case::new(format!("long {order}"), &long(order + 30, each));
        case.run(&long_setup(device, batch, order))
    })
}

#[test]
fn kernels_in_batches_of_1() {
    let events = longs("kernels_in_batches_of_1", 1, 1000);
    assert!(events.is_none_or(|events| events >= 10_000));
}

#[test]
fn kernels_in_batches_of_7() {
    let events = longs("kernels_in_batches_of_7", 7, 1000);
    assert!(events.is_none_or(|events| events >= 10_000));
}

#[test]
fn kernels_in_batches_of_1024() {
    let test = "kernels_in_batches_of_1024";
    let events = in_all_orders(test, |device, order| random(device, 1024, 2000, 3000, 100 * order));
    assert!(events.is_none_or(|events| events >= 20_000));
    longs(test, 1024, 20_000);
}

#[test]
fn kernels_in_batches_of_65536() {
    let test = "kernels_in_batches_of_65536";
    in_all_orders(test, |device, order| random(device, 65_536, 2000, 3000, 5000 + 100 * order));
    let events = longs(test, 65_536, 100_000);
    assert!(events.is_none_or(|events| events >= 1_000_000));
}
