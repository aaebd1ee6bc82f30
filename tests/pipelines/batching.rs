//! Batches under a latency target: their bound falls while the device is slow and comes back after.

use crate::engine::slow::{Pace, slow};
use pelton::{
    Device, Error, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Windows, Zeroable, field,
};
use std::time::Duration;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

fn windows() -> Windows<Trade> {
    Windows {
        key: Key::dense(field!(Trade.account), 100),
        ..Windows::tumbling(field!(Trade.at), 1 << 20)
    }
}

struct Stream {
    engine: Inline<Trade>,
    lane: Feed<Trade>,
    next: u64,
}

impl Stream {
    fn new(device: Device, target: Option<Duration>) -> Self {
        let options = Options {
            batch_events: 4096,
            latency_target: target,
            lane: LaneOptions { events: 1 << 13, policy: Policy::Reject, ..LaneOptions::default() },
            ..Options::on(device)
        };
        let engine = Inline::new(windows(), options).expect("a good query");
        let lane = engine.lane().expect("a lane");
        Self { engine, lane, next: 0 }
    }

    /// Fills the lane and empties it, so many times; says how large batches may be then.
    fn run(&mut self, times: usize) -> u64 {
        for _ in 0..times {
            let trade =
                |at| Trade { at, account: u32::try_from(at % 100).expect("small"), amount: 1.0 };
            let events: Vec<Trade> = (self.next..self.next + (1 << 13)).map(trade).collect();
            self.next += 1 << 13;
            assert_eq!(self.lane.push_all(&events), events.len(), "there is room");
            self.engine.settle(drop).expect("it works");
        }
        self.engine.stats().batch_cap
    }
}

#[test]
fn the_bound_falls_on_a_slow_device_and_comes_back() {
    let pace = Pace::default();
    let mut stream =
        Stream::new(slow(Device::cpu(), "slow", &pace), Some(Duration::from_millis(20)));
    assert_eq!(stream.run(1), 4096);
    pace.set(1000, 20_000);
    let mut cap = 4096;
    for _ in 0..100 {
        cap = stream.run(1);
        if cap <= 1024 {
            break;
        }
    }
    assert!((64..=1024).contains(&cap), "a batch of 4,096 takes 80 ms, {cap} are too many");
    pace.set(0, 0);
    for _ in 0..1000 {
        cap = stream.run(10);
        if cap == 4096 {
            break;
        }
    }
    assert_eq!(cap, 4096, "the device is fast again");
    assert_eq!(stream.engine.stats().accepted, stream.next, "no event was lost");
}

#[test]
fn without_a_target_batches_are_as_large_as_they_come() {
    let pace = Pace::default();
    pace.set(0, 1000);
    let mut stream = Stream::new(slow(Device::cpu(), "slow", &pace), None);
    assert_eq!(stream.run(20), 4096);
}

#[test]
fn a_target_of_nothing_is_refused() {
    let options = Options { latency_target: Some(Duration::ZERO), ..Options::on(Device::cpu()) };
    let refused = Inline::new(windows(), options).err();
    assert!(matches!(refused, Some(Error::Invalid { .. })), "{refused:?}");
}
