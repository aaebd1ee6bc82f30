//! A kernel of one's own as a plan on every device of this machine: latencies of requests, counted by power of two.
//!
//! `cargo run --release --example custom_kernel --features nvrtc`. On an NVIDIA card the CUDA source is compiled as the
//! program runs, which takes NVIDIA's compiler library (NVRTC) and the feature; other devices need neither. What each
//! device counts is compared with what the processor does.

mod kernel;

use kernel::{Counter, POWERS, requests};
use pelton::{Device, Error, Result};
use std::time::Instant;

const ENDPOINTS: u32 = 4;
const REQUESTS: u64 = 1_000_000;

fn main() -> Result<()> {
    let requests = requests(REQUESTS, ENDPOINTS);
    let count = |device: &Device| -> Result<(Vec<u32>, f64)> {
        let mut counter = Counter::new(device, ENDPOINTS)?;
        let start = Instant::now();
        counter.count(&requests)?;
        Ok((counter.counts()?, start.elapsed().as_secs_f64()))
    };
    let (right, _) = count(&Device::cpu())?;
    for device in Device::all().into_iter().filter(|device| device.caps().name != "null") {
        let name = &device.caps().name;
        match count(&device) {
            Ok((counts, seconds)) if counts == right => {
                let rate = requests.len() as f64 / seconds / 1e6;
                println!("{name}: as on the processor, {rate:.1} million requests a second");
            }
            Ok(_) => return Err(Error::source(name.clone(), "it counts otherwise")),
            Err(error) => println!("{name}: {error}"),
        }
    }
    println!("\nendpoint  requests  median  99 of 100, in microseconds, below");
    for (endpoint, row) in right.chunks_exact(POWERS).enumerate() {
        let all: u32 = row.iter().sum();
        println!(
            "{endpoint:8}  {all:8}  {:6}  {}",
            below(row, all / 2),
            below(row, all / 100 * 99)
        );
    }
    println!("no such endpoint: {}", right[right.len() - 1]);
    Ok(())
}

/// The power of two that so many requests lie below.
fn below(row: &[u32], share: u32) -> u64 {
    let mut sum = 0;
    let at = row.iter().position(|count| {
        sum += count;
        sum >= share
    });
    2 << at.unwrap_or(0)
}
