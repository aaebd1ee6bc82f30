//! The load of the bench `text_load` in short: every event is accounted for, below capacity and above it, under every
//! policy. Nothing is judged by the clock.

use super::text_load::{Load, Pace, Phase};
use super::{asked, small};
use pelton::pipeline::texts::{TextFeed, TextInline, Texts};
use pelton::{Device, LaneOptions, Options, Policy};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Capacity in a closed loop, then bursts at a share of it; how many events were sent, answered, and lost to a lane.
fn load(policy: Policy, share: f64, seconds: f64) -> (u64, u64, u64) {
    let mut load = Load::new(&small(), Duration::from_millis(100));
    let run =
        |load: &Load, policy, pace, seconds| load.run(Phase { policy, pace, seconds }, || [0; 2]);
    let capacity = run(&load, Policy::Block, Pace::Closed, 0.2).rate();
    load.held = 64;
    let outcome = run(&load, policy, Pace::Bursts(share * capacity), seconds);
    assert!(outcome.sent > 0 && outcome.errors > 0, "{policy:?}: some of each kind");
    assert_eq!(outcome.latency.count(), outcome.answered + outcome.errors);
    (outcome.sent, outcome.answered + outcome.errors, outcome.dropped + outcome.rejected)
}

#[test]
fn a_load_is_accounted_for() {
    let (sent, answered, lost) = load(Policy::Block, 0.9, 5.0);
    assert_eq!((answered, lost), (sent, 0));
}

#[test]
fn an_overload_is_answered_by_the_policy() {
    for policy in [Policy::Reject, Policy::DropNewest, Policy::DropOldest] {
        let (sent, answered, lost) = load(policy, 20.0, 0.2);
        assert_eq!(answered + lost, sent, "{policy:?}");
        assert!(lost > 0, "{policy:?}: more came than any lane holds");
    }
    let (sent, answered, lost) = load(Policy::Block, 20.0, 0.1);
    assert_eq!((answered, lost), (sent, 0), "who waits loses nothing");
}

/// A pipeline over one small lane.
fn narrow(policy: Policy) -> (TextInline, TextFeed) {
    let lane = LaneOptions { events: 4, policy, ..LaneOptions::default() };
    let options = Options { lane, ..Options::on(Device::cpu()) };
    let texts = Texts { bytes_max: 64, ..asked(&small(), 512) };
    let inline = TextInline::new(texts, options).expect("it fits");
    let lane = inline.lane().expect("a lane");
    (inline, lane)
}

/// What was asked to be dropped is not served first: under a lasting overload every event would be old.
#[test]
fn the_oldest_are_dropped_before_any_is_taken() {
    let (_full, mut lane) = narrow(Policy::Reject);
    let held = (0..).take_while(|&id| lane.push(id, "turning water").is_ok()).count() as u64;
    let (mut inline, mut lane) = narrow(Policy::DropOldest);
    let pushing = AtomicU64::new(0);
    let mut answered = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..=held {
                pushing.store(id, Ordering::Relaxed);
                lane.push(id, "turning water").expect("room is made");
            }
        });
        while pushing.load(Ordering::Relaxed) < held {
            std::thread::yield_now();
        }
        // It asks for room now.
        std::thread::sleep(Duration::from_millis(300));
        while !answered.contains(&held) {
            inline
                .poll(|vectors| answered.extend(vectors.iter().map(|vector| vector.id())))
                .expect("it works");
        }
    });
    let dropped = inline.stats().dropped;
    answered.sort_unstable();
    assert!(dropped >= held / 2, "half of the lane: {dropped} of {held}");
    assert_eq!(answered, (dropped..=held).collect::<Vec<_>>());
}
