//! C6-256 and C6-4096: one batch of that many events on an idle pipeline, from their commit until all of it is done;
//! C6-256-latency and C6-4096-latency: the same in the latency mode.
//!
//! Keyed windows over the shared workload, on every device of this machine that is no software adapter. One batch is in
//! flight at a time, on the thread that commits it, so that nothing waits for a thread to wake: what is left is the
//! host's share, the way there, the kernels, and the way back. The answers are counted before a figure is printed.

#[path = "common/peers.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other benches")]
mod peers;

use peers::{Dist, KEYS, peers_event};
use pelton::{Device, Error, Inline, Key, Options, Pod, Result, Value, Windows, Zeroable, field};
use std::time::Instant;

const WINDOW_MS: u64 = 1_000;
const DISORDER_MS: u64 = 100;
/// Batches that only warm up, and batches measured.
const WARM: usize = 500;
const ROUNDS: usize = 5_000;
/// Events of a batch.
const SIZES: [usize; 2] = [256, 4_096];
/// A share of all batches, and what a CUDA device is held to there in microseconds, by graphs and in the latency mode.
const LADDER: [(&str, f64, [f64; 2]); 2] = [("p50", 0.5, [20.0, 8.0]), ("p99", 0.99, [50.0, 16.0])];

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    key: u32,
    value: f32,
}

/// Microseconds of each measured batch, sorted.
fn round_trips(device: &Device, size: usize, latency_mode: bool) -> Result<Vec<f64>> {
    let windows = Windows {
        key: Key::hashed(field!(Event.key)),
        values: vec![Value { variance: false, ..Value::fixed(field!(Event.value), 2) }],
        disorder: DISORDER_MS,
        ..Windows::tumbling(field!(Event.at), WINDOW_MS)
    };
    let options =
        Options { keys: KEYS, seed: Some(7), latency_mode, ..Options::on(device.clone()) };
    let mut query = Inline::new(windows, options)?;
    let mut lane = query.lane()?;
    let dist = Dist::zipf();
    let full = |full| Error::source("C6", format!("{full:?}"));
    let (mut sent, mut counted) = (0u64, 0u64);
    let mut took = Vec::with_capacity(WARM + ROUNDS);
    for _ in 0..WARM + ROUNDS {
        let mut run = lane.write(size).map_err(full)?;
        for (i, event) in (sent..).zip(run.iter_mut()) {
            let (at, key, value) = peers_event(i, &dist);
            *event = Event { at, key, value };
        }
        let n = run.len();
        let begin = Instant::now();
        run.commit(n);
        query.settle(|rows| counted += rows.iter().map(|row| row.count()).sum::<u64>())?;
        took.push(begin.elapsed().as_secs_f64() * 1e6);
        sent += n as u64;
    }
    lane.close();
    query.finish();
    query.settle(|rows| counted += rows.iter().map(|row| row.count()).sum::<u64>())?;
    if counted != sent {
        return Err(Error::source("C6", format!("{sent} events went in, windows count {counted}")));
    }
    took.drain(..WARM);
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn print(wanted: &str, size: usize, (device, latency_mode): (&Device, bool), took: &[f64]) {
    let goal = device.caps().name.starts_with("cuda");
    for (q, share, bounds) in LADDER {
        let bound = bounds[usize::from(latency_mode)];
        let id = format!("{}{q}", stem(size, latency_mode));
        if !wanted.is_empty() && wanted != id {
            continue;
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the place of a percentile among a few thousand"
        )]
        let value = took[((took.len() - 1) as f64 * share).ceil() as usize];
        let (bound, ok) =
            if goal { (bound.to_string(), value <= bound) } else { ("null".into(), true) };
        println!(
            "{{\"id\":\"{id}\",\"value\":{value:.2},\"unit\":\"us/batch\",\"peer\":null,\"version\":null,\
             \"peer_value\":null,\"ratio\":null,\"bound\":{bound},\"ok\":{ok},\"why\":\"one batch at a time, commit to \
             done, windows included\",\"rounds\":{},\"machine\":\"{}\"}}",
            took.len(),
            device.caps().name.replace(['"', '\\'], "")
        );
    }
}

/// What the ids of these rows begin with.
fn stem(size: usize, latency_mode: bool) -> String {
    format!("C6-{size}-{}", if latency_mode { "latency-" } else { "" })
}

/// `round_trip [ID]`: that row on the best device, or every row on every device.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("C6")).unwrap_or_default();
    let mut devices = if wanted.is_empty() { Device::all() } else { vec![Device::best()] };
    devices.retain(|device| !device.caps().software && device.caps().name != "null");
    let is_wanted = |size, latency_mode| {
        let tail = wanted.strip_prefix(&stem(size, latency_mode));
        wanted.is_empty() || tail.is_some_and(|tail| LADDER.iter().any(|(q, ..)| *q == tail))
    };
    for (size, latency_mode) in SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        if !is_wanted(size, latency_mode) {
            continue;
        }
        for device in &devices {
            if latency_mode && !device.caps().latency_mode && wanted.is_empty() {
                continue;
            }
            match round_trips(device, size, latency_mode) {
                Ok(took) => print(&wanted, size, (device, latency_mode), &took),
                // One device's failure is no reason to know nothing of the others.
                Err(error) => {
                    let id = stem(size, latency_mode);
                    eprintln!("{id} on {}: {error}", device.caps().name);
                }
            }
        }
    }
    Ok(())
}
