//! A running pipeline, with a thread for each producer, against the specification of windows; and the digests that
//! every engine measured on the shared input must print.

use crate::engine::case::{Case, long};
use crate::engine::{Setup, threads};
use crate::spec::compare::compare;
use crate::spec::peers::{Digest, Dist, WINDOW_MS, peers_event};
use crate::spec::scenario::Scenario;
use pelton::base::rng::SplitMix;
use pelton::{
    Device, Inline, Key, LaneOptions, Options, Pipeline, Pod, Policy, Value, Windows, Zeroable,
    field,
};
use std::time::Duration;

/// A random scenario whose lanes are all there from beginning to end, so that no interleaving shows.
fn steady(seed: u64, events: usize) -> Case {
    let mut scenario = Scenario::random_of(seed, events);
    let stream = &mut scenario.stream;
    (stream.idles, stream.advances, stream.joins) = (0, 0.0, false);
    Case::new(format!("steady {seed}"), &scenario)
}

fn judge(case: &Case, setup: &Setup, how: (Policy, Option<Duration>)) {
    let filtered = case.expected.counters.filtered;
    let found = threads::run(&case.query, &case.actions, setup, how, filtered);
    let found = found.unwrap_or_else(|error| panic!("{}\n{setup:?}: {error}", case.name));
    if let Err(difference) = compare(&case.expected, &found) {
        panic!("{}\n{setup:?}\n{how:?}\n{difference}", case.name);
    }
}

#[test]
fn producers_on_threads_with_small_lanes() {
    for seed in 0..12 {
        let case = steady(seed + 100, 3000);
        let setup = Setup {
            lane_events: 1 << (SplitMix::at(seed, 1) % 8),
            hold: 0,
            ..Setup::any(&Device::cpu(), seed)
        };
        judge(&case, &setup, (Policy::Block, None));
    }
}

#[test]
fn a_policy_that_spins_loses_nothing() {
    for seed in 0..3 {
        let case = steady(seed + 200, 2000);
        let setup = Setup { lane_events: 256, ..Setup::new(&Device::cpu(), 512) };
        judge(&case, &setup, (Policy::Spin, None));
    }
}

#[test]
fn a_slow_consumer_loses_nothing() {
    for seed in 0..3 {
        let case = steady(seed + 300, 3000);
        let setup = Setup {
            lane_events: 64,
            outstanding: 1,
            in_flight: 1,
            result_rows: 1000,
            ..Setup::new(&Device::cpu(), 100)
        };
        judge(&case, &setup, (Policy::Block, Some(Duration::from_micros(200))));
    }
}

#[test]
fn long_streams_on_threads() {
    for seed in 0..4 {
        let case = Case::new(format!("long {seed}"), &long(seed, 200_000));
        let setup = Setup { lane_events: 8192, ..Setup::new(&Device::cpu(), 4096) };
        judge(&case, &setup, (Policy::Block, None));
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Peer {
    at: u64,
    key: u32,
    value: f32,
}

/// The digest of the shared input's first events, by the engine. Windows are cut shorter so that some close early.
fn digest(device: Device, events: u64, window_ms: u64, dist: &Dist) -> Digest {
    let windows = Windows {
        key: Key::hashed(field!(Peer.key)),
        values: vec![Value::exact(field!(Peer.value))],
        ..Windows::tumbling(field!(Peer.at), window_ms)
    };
    let lane = LaneOptions { events: 1 << 14, policy: Policy::Reject, ..LaneOptions::default() };
    let mut engine = Inline::new(windows, Options { lane, ..Options::on(device) }).expect("good");
    let mut lane = engine.lane().expect("a lane");
    engine.finish();
    let mut digest = Digest::default();
    let mut take = |rows: pelton::Rows| {
        for row in rows.iter() {
            digest.add(row.count(), row.sum(0), row.min(0), row.max(0));
        }
    };
    let all: Vec<Peer> = (0..events)
        .map(|i| peers_event(i, dist))
        .map(|(at, key, value)| Peer { at, key, value })
        .collect();
    for part in all.chunks(4096) {
        assert_eq!(lane.push_all(part), part.len());
        engine.settle(&mut take).expect("it works");
    }
    lane.close();
    engine.settle(&mut take).expect("it works");
    digest
}

#[test]
fn digests_of_the_shared_input() {
    for dist in [Dist::zipf(), Dist::Uniform] {
        for window_ms in [WINDOW_MS, 100] {
            let found = digest(Device::cpu(), 200_000, window_ms, &dist);
            assert_eq!(found, Digest::of(200_000, window_ms, &dist), "{window_ms} ms");
        }
    }
}

#[test]
fn results_that_nobody_wants_stop_nobody() {
    let windows = Windows::tumbling(field!(Peer.at), 2);
    let lane = LaneOptions { events: 64, ..LaneOptions::default() };
    let options = Options { outstanding: 1, lane, ..Options::on(Device::cpu()) };
    let (feeds, results) = Pipeline::start(windows, options).expect("good").split();
    let mut lane = feeds.lane().expect("a lane");
    drop(results);
    let events: Vec<Peer> = (0..10_000).map(|at| Peer { at, key: 0, value: 0.0 }).collect();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(lane.push_all(&events)));
    let pushed = wait.recv_timeout(Duration::from_secs(20)).expect("the producer is not stuck");
    assert_eq!(pushed, 10_000);
}

/// What a lane drops is counted, and the windows that it would have gone to say so.
#[test]
fn gaps_are_seen_in_their_windows() {
    let windows = Windows::tumbling(field!(Peer.at), 10);
    let lane = LaneOptions { events: 16, policy: Policy::DropNewest, ..LaneOptions::default() };
    let options = Options { lane, ..Options::on(Device::cpu()) };
    let mut engine = Inline::new(windows, options).expect("good");
    let mut lane = engine.lane().expect("a lane");
    engine.finish();
    let event = |at| Peer { at, key: 0, value: 0.0 };
    let mut seen = Vec::new();
    let mut take = |rows: pelton::Rows| {
        let counts = rows.iter().map(|row| row.count()).sum::<u64>();
        seen.push((rows.start, counts, rows.lost));
    };
    let early: Vec<Peer> = (0..20).map(event).collect();
    assert_eq!(lane.push_all(&early), 16, "the lane holds 16");
    engine.settle(&mut take).expect("it works");
    let late: Vec<Peer> = (20..34).map(event).collect();
    assert_eq!(lane.push_all(&late), 14);
    engine.settle(&mut take).expect("it works");
    lane.close();
    engine.settle(&mut take).expect("it works");
    assert_eq!(seen, [(0, 10, 0), (10, 6, 4), (20, 10, 0), (30, 4, 0)]);
    assert_eq!(engine.stats().dropped, 4);
}
