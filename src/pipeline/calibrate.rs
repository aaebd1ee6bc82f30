//! Measures what batches of a query take on a device before any event is there: made-up ones through a scratch engine.

use super::engine::Engine;
use super::options::{Options, Query};
use super::outbox::{Outbox, Results};
use super::placement::Estimate;
use crate::base::error::Result;
use crate::base::limits::word;
use crate::base::rng::SplitMix;
use crate::device::Device;
use crate::ring::{self, Bell, LaneOptions, Policy};
use bytemuck::Pod;

/// Events of the batches that are measured.
const SIZES: [usize; 3] = [1, 64, 4096];
/// How often each is measured, after one time that does not count.
const ROUNDS: usize = 4;
/// Keys that the events have, at most.
const KEYS: u32 = 1000;

/// What batches of this query take on this device. Everything made for it is gone afterwards.
pub(super) fn measure<E: Pod>(
    query: &Query,
    options: &Options,
    device: &Device,
) -> Result<Estimate> {
    let options = Options {
        device: device.clone(),
        alternative: None,
        latency_target: None,
        latency_mode: options.latency_mode && device.caps().latency_mode,
        ..options.clone()
    };
    let bell = Bell::new();
    let outbox = Outbox::new(options.outstanding.max(options.in_flight), 0, 0);
    // Scores come back with every batch, and nobody takes them.
    drop(Results::<E>::new(outbox.clone()));
    let mut engine = Engine::new(query.clone(), options, outbox, bell.clone(), None)?;
    let lane =
        LaneOptions { events: 2 * SIZES[2], policy: Policy::Reject, ..LaneOptions::default() };
    let (mut lane, tail) = ring::lane_with_bell::<E>(&lane, &bell)?;
    engine.open(tail)?;
    let mut rng = SplitMix::new(1);
    for round in 0..=ROUNDS {
        if round == 1 {
            engine.placement.here = Estimate::default();
        }
        for size in SIZES {
            let mut left = size;
            while left > 0 {
                if let Ok(mut run) = lane.write(left) {
                    let n = run.len();
                    invent(query, bytemuck::cast_slice_mut(&mut run), &mut rng);
                    run.commit(n, 0, 0);
                    left -= n;
                } else {
                    engine.step()?;
                }
            }
            while engine.step()? || engine.in_flight() {
                std::thread::yield_now();
            }
        }
    }
    Ok(engine.placement.here)
}

/// Fills events: all at time 0, numbers that are neither all alike nor odd.
fn invent(query: &Query, words: &mut [u32], rng: &mut SplitMix) {
    let keys = query.dense.unwrap_or(KEYS).min(KEYS);
    for event in words.chunks_exact_mut(query.stride) {
        event.fill_with(|| 0x3F80_0000 | word_below(rng, 1 << 20));
        let time = query.time.word();
        event[time..time + 2].fill(0);
        if let Some(key) = query.key {
            event[key.word()..key.word() + key.dtype.bytes() / 4].fill(0);
            event[key.word()] = word_below(rng, keys);
        }
    }
}

fn word_below(rng: &mut SplitMix, n: u32) -> u32 {
    word(usize::try_from(rng.below(n.into())).expect("a word"))
}
