//! An open-loop load in bursts, below capacity and far above: every event is accounted for. Nothing is judged by the
//! clock.

use super::{asked, small, texts};
use pelton::base::clock;
use pelton::base::rng::SplitMix;
use pelton::pipeline::texts::{TextPipeline, Texts};
use pelton::{Device, LaneOptions, Options, Policy};
use std::time::Duration;

/// Sends bursts at a rate for some events; returns how many producers were handed back, how many were answered, and
/// what the pipeline counted.
fn load(policy: Policy, per_second: u64, events: u64) -> (u64, u64, pelton::Stats) {
    let model = small();
    let texts = texts(64, 2);
    let options = Options {
        latency_target: Some(Duration::from_millis(100)),
        lane: LaneOptions { events: 64, policy, ..LaneOptions::default() },
        ..Options::on(Device::cpu())
    };
    let asked = Texts { bytes_max: 256, ..asked(&model, 512) };
    let pipeline = TextPipeline::start(asked, options).expect("it fits");
    let lanes = [pipeline.lane(), pipeline.lane()].map(|lane| lane.expect("a lane"));
    let producers: Vec<_> = (0..)
        .zip(lanes)
        .map(|(p, mut lane)| {
            let texts = texts.clone();
            std::thread::spawn(move || {
                let (mut rng, mut due, mut refused) = (SplitMix::new(p), clock::now_ns(), 0);
                let mut id = p;
                while id < events {
                    let burst = 1 + rng.below(16);
                    due += burst * 2_000_000_000 / per_second;
                    while clock::now_ns() < due {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    for _ in 0..burst.min((events - id).div_ceil(2)) {
                        let text = &texts[usize::try_from(id % 64).expect("small")];
                        refused += u64::from(lane.push(id, text).is_err());
                        id += 2;
                    }
                }
                refused
            })
        })
        .collect();
    let mut seen = vec![false; usize::try_from(events).expect("small")];
    let stats = pipeline.drain(|vectors| {
        for vector in vectors.iter() {
            assert!(vector.values().is_ok());
            let seen = &mut seen[usize::try_from(vector.id()).expect("small")];
            assert!(!std::mem::replace(seen, true), "{} came twice", vector.id());
        }
    });
    let refused = producers.into_iter().map(|p| p.join().expect("no panic")).sum();
    let answered = seen.into_iter().filter(|seen| *seen).count() as u64;
    (refused, answered, stats.expect("it works"))
}

#[test]
fn a_load_is_accounted_for() {
    let (refused, answered, stats) = load(Policy::Block, 4_000, 4_000);
    assert_eq!(refused, 0);
    assert_eq!((answered, stats.events, stats.dropped), (4_000, 4_000, 0));
    assert_eq!((stats.event.count(), stats.result.count()), (answered, answered));
}

#[test]
fn an_overload_is_answered_by_the_policy() {
    for policy in [Policy::Reject, Policy::DropNewest, Policy::DropOldest] {
        let (refused, answered, stats) = load(policy, 4_000_000, 20_000);
        assert_eq!(refused, stats.rejected, "{policy:?}");
        assert_eq!(answered + stats.dropped + stats.rejected, 20_000, "{policy:?}");
        assert_eq!(answered, stats.events, "{policy:?}");
    }
}
