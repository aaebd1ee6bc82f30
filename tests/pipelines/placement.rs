//! Queries that move from device to device while they run: nothing of it shows in what comes out.

use crate::cuda_host::driver::cuda;
use crate::cuda_host::latency::latency;
use crate::engine::case::{Case, long, long_setup};
use crate::engine::slow::{Pace, slow};
use crate::engine::{Setup, inline};
use crate::kernels::bed::software;
use crate::spec::compare::compare;
use pelton::base::rng::SplitMix;
use pelton::device::fault::{Failure, Fault, FaultScript};
use pelton::{
    Device, Error, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Value, Windows, Zeroable,
    field,
};

/// A query with a bit of everything, whose keys keep coming.
fn case(slide: u64, seed: u64) -> Case {
    Case::busy(slide, seed, 4000, 3000)
}

fn moving(from: &Device, to: &[&Device]) -> Setup {
    let moves = to.iter().map(|&device| device.clone()).collect();
    Setup { chunk: 100, result_rows: 500, hold: 2, moves, ..Setup::new(from, 256) }
}

fn check(here: &Device, there: &Device, random: u64) {
    for (i, slide) in [40, 10].into_iter().enumerate() {
        for ttl in [false, true] {
            let setup = Setup { ttl, ..moving(here, &[there, here]) };
            assert!(case(slide, i as u64).run(&setup) > 0);
        }
    }
    for seed in 0..random {
        let case = Case::of(seed + 900, 1500);
        let moves = vec![there.clone(), here.clone()];
        case.run(&Setup { moves, ..Setup::any(here, SplitMix::at(seed, 1)) });
    }
}

#[test]
fn from_processor_to_processor() {
    check(&Device::cpu(), &Device::cpu(), 20);
}

#[test]
fn long_streams_move_too() {
    let cpu = Device::cpu();
    for seed in 0..2 {
        let case = Case::new(format!("long {seed}"), &long(seed, 100_000));
        case.run(&Setup { moves: vec![cpu.clone()], ..long_setup(&cpu, 1024, seed) });
    }
}

#[test]
fn wgsl_from_processor_to_adapter_and_back() {
    let test = "placement::wgsl_from_processor_to_adapter_and_back";
    let Some(adapter) = software(test) else { return };
    check(&Device::cpu(), &adapter, 4);
}

#[test]
fn wgsl_from_adapter_to_adapter() {
    let Some(adapter) = software("placement::wgsl_from_adapter_to_adapter") else { return };
    check(&adapter, &adapter, 1);
}

#[test]
fn cuda_from_processor_to_device_and_back() {
    let Some(device) = cuda("placement::cuda_from_processor_to_device_and_back") else { return };
    check(&Device::cpu(), &device, 10);
}

#[test]
fn cuda_latency_from_processor_to_device_and_back() {
    const TEST: &str = "placement::cuda_latency_from_processor_to_device_and_back";
    let Some(device) = cuda(TEST) else { return };
    check(&Device::cpu(), &latency(&device), 4);
    check(&device, &latency(&device), 2);
}

#[test]
fn cuda_from_device_to_device() {
    let Some(device) = cuda("placement::cuda_from_device_to_device") else { return };
    check(&device, &device, 2);
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

struct Run {
    engine: Inline<Trade>,
    lane: Feed<Trade>,
    next: u64,
    counted: u64,
}

impl Run {
    fn new(device: Device, alternative: Option<Device>) -> Self {
        let windows = Windows {
            key: Key::hashed(field!(Trade.account)),
            values: vec![Value::exact(field!(Trade.amount))],
            ..Windows::tumbling(field!(Trade.at), 1000)
        };
        let lane = LaneOptions { policy: Policy::Reject, ..LaneOptions::default() };
        let options = Options { alternative, lane, ..Options::on(device) };
        let engine = Inline::new(windows, options).expect("a good query");
        let lane = engine.lane().expect("a lane");
        Self { engine, lane, next: 0, counted: 0 }
    }

    /// One batch at a time, so many of them.
    fn feed(&mut self, batches: usize) {
        for _ in 0..batches {
            let trade =
                |at| Trade { at, account: u32::try_from(at % 77).expect("small"), amount: 1.0 };
            let events: Vec<Trade> = (self.next..self.next + 100).map(trade).collect();
            self.next += 100;
            assert_eq!(self.lane.push_all(&events), events.len());
            self.settle();
        }
    }

    fn settle(&mut self) {
        let Self { engine, counted, .. } = self;
        engine
            .settle(|rows| *counted += rows.iter().map(|row| row.count()).sum::<u64>())
            .expect("it works");
    }

    /// Everything that went in came out.
    fn end(mut self) {
        self.engine.finish();
        let (next, lane) = (self.next, self.lane);
        lane.close();
        let mut counted = self.counted;
        self.engine
            .settle(|rows| counted += rows.iter().map(|row| row.count()).sum::<u64>())
            .expect("it works");
        assert_eq!(counted, next);
    }
}

#[test]
fn a_query_leaves_a_slow_device_and_comes_back_to_a_fast_one() {
    let (here, there) = (Pace::default(), Pace::default());
    here.set(500_000, 0);
    let device = slow(Device::cpu(), "here", &here);
    let mut run = Run::new(device, Some(slow(Device::cpu(), "there", &there)));
    run.feed(200);
    let stats = run.engine.stats();
    assert_eq!((stats.device.as_str(), stats.moves), ("there", 1), "{stats:?}");
    let cost = stats.cost_elsewhere.expect("it was measured");
    assert!(cost.batch_ns + 100.0 * cost.event_ns >= 500_000.0, "{cost:?}");
    // Not before a second is over, and then it takes a period.
    there.set(50_000_000, 0);
    run.feed(5);
    assert_eq!(run.engine.stats().moves, 1);
    run.feed(60);
    let stats = run.engine.stats();
    assert_eq!((stats.device.as_str(), stats.moves), ("here", 2), "{stats:?}");
    run.end();
}

#[test]
fn a_query_stays_where_it_is_well_off() {
    let there = Pace::default();
    there.set(500_000, 0);
    let other = slow(Device::cpu(), "there", &there);
    let mut run = Run::new(Device::cpu(), Some(other));
    run.feed(300);
    let stats = run.engine.stats();
    assert_eq!((stats.device.as_str(), stats.moves), ("cpu", 0));
    assert!(stats.cost_elsewhere.is_some_and(|cost| cost.batch_ns >= 400_000.0), "{stats:?}");
    run.end();
}

/// Each call that a move makes, failing.
#[test]
fn a_move_that_fails_leaves_the_query_where_it_was() {
    for failure in [Failure::OutOfMemory, Failure::Lost] {
        let mut failed = 0;
        for call in 1..200 {
            let script = FaultScript::new().at(call, failure);
            let mut run = Run::new(Device::cpu(), None);
            run.feed(25);
            let moved = run.engine.move_to(Fault::new(Device::cpu(), script.clone()));
            if script.calls() < call {
                moved.expect("nothing failed");
                break;
            }
            let error = moved.expect_err("a call failed");
            assert!(matches!(error, Error::Unsupported { .. } | Error::DeviceLost { .. }));
            assert_eq!(run.engine.stats().device, "cpu");
            failed += 1;
            run.feed(25);
            run.end();
        }
        assert!(failed > 10, "{failed} calls");
    }
}

#[test]
fn a_device_that_could_not_take_the_query_is_not_tried_again() {
    let pace = Pace::default();
    pace.set(500_000, 0);
    // It works at the start, and has no second queue to give.
    let script =
        FaultScript::new().nth(pelton::device::fault::Call::Queue, 2, Failure::OutOfMemory);
    let other = Fault::new(Device::cpu(), script);
    let mut run = Run::new(slow(Device::cpu(), "here", &pace), Some(other));
    run.feed(200);
    let stats = run.engine.stats();
    assert_eq!((stats.device.as_str(), stats.moves, stats.cost_elsewhere), ("here", 0, None));
    assert!(stats.move_error.is_some_and(|error| error.contains("memory")));
    run.end();
}

/// Rows of the device before are still there, however many moves ago they were made, and none is lost.
#[test]
fn rows_outlive_the_device_they_were_made_on() {
    let case = case(10, 3);
    let cpu = Device::cpu();
    for (hold, outstanding) in [(0, 1), (3, 4), (8, 2)] {
        let setup = Setup { hold, outstanding, result_rows: 16, ..moving(&cpu, &[&cpu]) };
        let filtered = case.expected.counters.filtered;
        let found = inline::run(&case.query, &case.actions, &setup, filtered).expect("it works");
        if let Err(difference) = compare(&case.expected, &found) {
            panic!("{difference}");
        }
    }
}
