//! Every call over the seam made to fail in turn, and hostile keys: an error with a name, or the right answer.
//!
//! Each run has a thread of its own and a bound on its time, so that a hang fails the test and does not stop it.

use crate::cuda_host::driver::cuda;
use crate::cuda_host::latency::latency;
use crate::engine::case::Case;
use crate::engine::{Setup, inline, windows};
use crate::kernels::bed::software;
use crate::spec::compare::compare;
use crate::spec::scenario::Scenario;
use crate::spec::streams::{KeyStyle, Stream};
use crate::spec::{self, Filter, KeyField, Mode, Query, ValueField};
use pelton::base::rng::SplitMix;
use pelton::device::fault::{Call, Failure, Fault, FaultScript};
use pelton::ops::keys::hash;
use pelton::{
    Device, Error, Inline, Key, LaneOptions, Options, Pipeline, Pod, Policy, Reason, Stats, Value,
    Windows, Zeroable, field,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Runs `work` on a thread; panics when it panics or takes too long.
fn bounded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    let thread = std::thread::spawn(move || sender.send(work()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(found) => found,
        Err(_) if thread.is_finished() => panic!("{what}: it panicked: {:?}", thread.join()),
        Err(_) => panic!("{what}: it hangs"),
    }
}

/// A scenario in which every program runs: growth, merges, firing in parts and again, expiry.
fn case() -> Case {
    let fixed = Mode::Fixed { fraction: 8 };
    let query = Query {
        size: 40,
        slide: 10,
        disorder: 5,
        lateness: 20,
        horizon: 500,
        key: KeyField::Wide,
        dense: None,
        filter: Filter::OtherAtLeast(100),
        values: vec![
            spec::Value { field: ValueField::Value, mode: Mode::Exact },
            spec::Value { field: ValueField::Other, mode: fixed },
        ],
    };
    let stream = Stream {
        seed: 3,
        events: 1500,
        lanes: 2,
        keys: 1400,
        key_style: KeyStyle::Twins,
        span: 300,
        disorder: 5,
        too_late: (0.05, 60),
        beyond: 0.01,
        horizon: 500,
        idles: 1,
        ..Stream::default()
    };
    Case::new("every program", &Scenario { query, stream })
}

fn setup(device: &Device) -> Setup {
    Setup { chunk: 100, result_rows: 500, ttl: true, ..Setup::new(device, 256) }
}

const CALLS: [Call; 10] = [
    Call::Register,
    Call::Queue,
    Call::Alloc,
    Call::Resize,
    Call::Compile,
    Call::Submit,
    Call::Flush,
    Call::Poll,
    Call::Read,
    Call::Write,
];

/// Fails calls of every kind in each way: all of them, or so many of each, evenly spread.
fn every_call(device: &Device, of_each: u64) {
    let case = Arc::new(case());
    let run = |script: FaultScript, what: String| {
        let (case, device) = (case.clone(), Fault::new(device.clone(), script));
        bounded(&what, move || {
            let setup = setup(&device);
            let filtered = case.expected.counters.filtered;
            let found = inline::run(&case.query, &case.actions, &setup, filtered)?;
            compare(&case.expected, &found).map_err(|difference| {
                Error::source("a wrong answer", format!("{}\n{difference}", case.name))
            })
        })
    };
    let well = FaultScript::new();
    run(well.clone(), "nothing fails".into()).expect("nothing fails");
    for call in CALLS {
        let calls = well.calls_of(call);
        assert!(calls > 0, "{call:?} is made");
        for n in (1..=calls).step_by(usize::try_from(calls.div_ceil(of_each)).expect("few")) {
            for failure in [Failure::Lost, Failure::OutOfMemory, Failure::Late(3)] {
                let what = format!("{call:?} {n} of {calls}, {failure:?}");
                let script = FaultScript::new().nth(call, n, failure);
                let found = run(script.clone(), what.clone());
                // How often a device with threads of its own is polled is another number each time.
                let struck = script.calls_of(call) >= n;
                match (failure, found) {
                    (Failure::Lost, Ok(())) => assert!(!struck, "{what}: unnoticed"),
                    (_, Ok(())) => {}
                    (Failure::Lost | Failure::OutOfMemory, Err(Error::DeviceLost { .. })) => {}
                    (Failure::OutOfMemory, Err(Error::Unsupported { .. })) => {}
                    (_, Err(error)) => panic!("{what}: {error}"),
                }
            }
        }
    }
}

#[test]
fn every_call_fails_in_turn() {
    every_call(&Device::cpu(), u64::MAX);
}

#[test]
fn wgsl_every_call_fails_in_turn() {
    if let Some(device) = software("faults::wgsl_every_call_fails_in_turn") {
        every_call(&device, 2);
    }
}

#[test]
fn cuda_every_call_fails_in_turn() {
    if let Some(device) = cuda("faults::cuda_every_call_fails_in_turn") {
        every_call(&device, 4);
    }
}

#[test]
fn cuda_latency_every_call_fails_in_turn() {
    if let Some(device) = cuda("faults::cuda_latency_every_call_fails_in_turn") {
        every_call(&latency(&device), 3);
    }
}

/// A running pipeline whose device is lost: the error comes as the last item, waiting producers are let go.
fn lost_while_running(device: &Device) {
    let case = case();
    for n in [1, 3, 20, 40, 80, 120, 160] {
        let device = Fault::new(device.clone(), FaultScript::new().at(n, Failure::Lost));
        let setup = Setup { lane_events: 16, ..setup(&device) };
        let windows = windows(&case.query, &setup);
        bounded(&format!("call {n} is lost"), move || {
            let pipeline = match Pipeline::start(windows, setup.options(Policy::Block)) {
                Ok(pipeline) => pipeline,
                Err(Error::DeviceLost { .. }) => return,
                Err(error) => panic!("{error}"),
            };
            let monitor = pipeline.monitor();
            let (feeds, mut results) = pipeline.split();
            let producers: Vec<_> = (0..2)
                .filter_map(|_| feeds.lane().ok())
                .map(|mut lane| {
                    std::thread::spawn(move || {
                        let event = |at| spec::Reading { at, key: at % 50, ..Default::default() };
                        (0..1_000_000).find(|&at| lane.push(event(at)).is_err())
                    })
                })
                .collect();
            let last = results.by_ref().last();
            assert!(matches!(last, Some(Err(Error::DeviceLost { .. }))), "{last:?}");
            assert!(results.next().is_none(), "an error comes once");
            for producer in producers {
                assert!(producer.join().expect("no panic").is_some(), "it was told");
            }
            let _ = monitor.stats();
            assert!(feeds.lane().is_err(), "no lane opens into what has ended");
        });
    }
}

#[test]
fn a_device_lost_while_running_lets_everyone_go() {
    lost_while_running(&Device::cpu());
}

#[test]
fn wgsl_a_device_lost_while_running_lets_everyone_go() {
    if let Some(device) = software("faults::wgsl_a_device_lost_while_running_lets_everyone_go") {
        lost_while_running(&device);
    }
}

#[test]
fn cuda_a_device_lost_while_running_lets_everyone_go() {
    if let Some(device) = cuda("faults::cuda_a_device_lost_while_running_lets_everyone_go") {
        lost_while_running(&device);
    }
}

#[test]
fn cuda_latency_a_device_lost_while_running_lets_everyone_go() {
    const TEST: &str = "faults::cuda_latency_a_device_lost_while_running_lets_everyone_go";
    if let Some(device) = cuda(TEST) {
        lost_while_running(&latency(&device));
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Hit {
    at: u64,
    key: u32,
    value: f32,
}

/// Rows by (start, key), asides, and the counts, of one lane of hits.
type Seen = (BTreeMap<(u64, u64), u64>, Vec<(Hit, Reason)>, Stats);

fn hits(windows: Windows<Hit>, options: Options, hits: &[Hit]) -> Seen {
    let lane = LaneOptions { events: 1 << 16, policy: Policy::Reject, ..LaneOptions::default() };
    let mut engine = Inline::new(windows, Options { lane, ..options }).expect("good");
    let mut lane = engine.lane().expect("a lane");
    engine.finish();
    let (mut rows, mut asides) = (BTreeMap::new(), Vec::new());
    let mut take = |closed: pelton::Rows| {
        for row in closed.iter() {
            rows.insert((row.start(), row.key()), row.count());
        }
    };
    for part in hits.chunks(1 << 12) {
        assert_eq!(lane.push_all(part), part.len());
        engine.settle(&mut take).expect("it works");
    }
    lane.close();
    engine.settle(&mut take).expect("it works");
    asides.extend(engine.asides().into_iter().map(|aside| (aside.event, aside.reason)));
    (rows, asides, engine.stats())
}

fn counting(size: u64) -> Windows<Hit> {
    Windows {
        key: Key::hashed(field!(Hit.key)),
        values: vec![Value::exact(field!(Hit.value))],
        ..Windows::tumbling(field!(Hit.at), size)
    }
}

/// Keys made to share one place in the table of the seed that is in force.
fn collisions(device: &Device) {
    let seed = 7u64;
    let mut rng = SplitMix::new(seed);
    #[allow(clippy::cast_possible_truncation, reason = "the engine's own four words of seed")]
    let words = [0; 4].map(|_| rng.next_u64() as u32);
    let home = |key: u32| hash(&words, key, 0) & 0x3FFF;
    let keys: Vec<u32> = (0..u32::MAX).filter(|&key| home(key) == 5).take(6000).collect();
    let all: Vec<Hit> = (0u64..)
        .zip(keys.iter().chain(&keys))
        .map(|(at, &key)| Hit { at, key, value: 1.0 })
        .collect();
    let options =
        Options { batch_events: 1024, keys: 1, seed: Some(seed), ..Options::on(device.clone()) };
    let start = Instant::now();
    let (rows, asides, stats) = hits(counting(1 << 20), options, &all);
    assert_eq!((rows.len(), asides.len()), (6000, 0));
    assert!(rows.values().all(|&count| count == 2), "every key came twice");
    assert_eq!(stats.keys, 6000);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // Growing alone takes: 1 key and a batch, then at 3/2 each time.
    assert!(stats.rehashes > 3, "{} rehashes", stats.rehashes);
}

#[test]
fn crafted_collisions_harm_nobody() {
    collisions(&Device::cpu());
}

#[test]
fn wgsl_crafted_collisions_harm_nobody() {
    if let Some(device) = software("faults::wgsl_crafted_collisions_harm_nobody") {
        collisions(&device);
    }
}

#[test]
fn cuda_crafted_collisions_harm_nobody() {
    if let Some(device) = cuda("faults::cuda_crafted_collisions_harm_nobody") {
        collisions(&device);
    }
}

/// A table that may hold few keys: every event is in a row or set aside, a key's all in the one or the other.
fn frozen(device: &Device) {
    let key = |i: u64| u32::try_from(SplitMix::at(1, i) % 1000).expect("small");
    let all: Vec<Hit> = (0..20_000).map(|at| Hit { at, key: key(at), value: 1.0 }).collect();
    let options =
        Options { batch_events: 64, keys: 1, keys_max: 100, ..Options::on(device.clone()) };
    let (rows, asides, stats) = hits(counting(1 << 20), options, &all);
    let held: BTreeSet<u64> = rows.keys().map(|(_, key)| *key).collect();
    assert!((100..100 + 64).contains(&held.len()), "{} keys", held.len());
    assert!(
        asides
            .iter()
            .all(|(hit, reason)| { *reason == Reason::Key && !held.contains(&u64::from(hit.key)) })
    );
    assert_eq!(rows.values().sum::<u64>() + asides.len() as u64, 20_000);
    assert_eq!((stats.bad_key, stats.keys), (asides.len() as u64, held.len() as u64));
}

#[test]
fn a_full_table_sets_aside() {
    frozen(&Device::cpu());
}

#[test]
fn wgsl_a_full_table_sets_aside() {
    if let Some(device) = software("faults::wgsl_a_full_table_sets_aside") {
        frozen(&device);
    }
}

#[test]
fn cuda_a_full_table_sets_aside() {
    if let Some(device) = cuda("faults::cuda_a_full_table_sets_aside") {
        frozen(&device);
    }
}

/// Keys that come and go: with a time to live, a full table takes new keys again once old ones are forgotten.
fn thawed(device: &Device) {
    let all: Vec<Hit> = (0..40_000u64)
        .map(|i| Hit { at: i / 10, key: u32::try_from(i / 100).expect("small"), value: 1.0 })
        .collect();
    let windows = Windows { ttl: Some(80), ..counting(10) };
    let options =
        Options { batch_events: 32, keys: 1, keys_max: 10, ..Options::on(device.clone()) };
    let (rows, asides, stats) = hits(windows, options, &all);
    assert_eq!(rows.values().sum::<u64>() + asides.len() as u64, 40_000);
    assert!(stats.expired > 100, "{} expired", stats.expired);
    assert!(stats.keys <= 42, "{} held", stats.keys);
    let late = rows.keys().filter(|(start, _)| *start > 3000).count();
    assert!(late > 50, "{late} keys of the last hundred found room");
}

#[test]
fn a_full_table_thaws() {
    thawed(&Device::cpu());
}

#[test]
fn wgsl_a_full_table_thaws() {
    if let Some(device) = software("faults::wgsl_a_full_table_thaws") {
        thawed(&device);
    }
}

#[test]
fn cuda_a_full_table_thaws() {
    if let Some(device) = cuda("faults::cuda_a_full_table_thaws") {
        thawed(&device);
    }
}

/// Keys that the kernels use as signs mean nothing in an event.
fn planted(device: &Device) {
    let signs = [0, 1, 9, 10, 11, 1 << 31, u32::MAX, u32::MAX - 1, u32::MAX - 2, 1 << 30];
    let hit =
        |at: u64| Hit { at, key: signs[usize::try_from(at % 10).expect("small")], value: 1.0 };
    let all: Vec<Hit> = (0..5000).map(hit).collect();
    let options = || Options { batch_events: 333, ..Options::on(device.clone()) };
    let dense = Windows { key: Key::dense(field!(Hit.key), 10), ..counting(1 << 20) };
    let (rows, asides, stats) = hits(dense, options(), &all);
    assert_eq!(rows, [0, 1, 9].map(|key| ((0, key), 500)).into());
    assert_eq!((asides.len(), stats.bad_key), (3500, 3500));
    assert!(asides.iter().all(|(hit, reason)| hit.key >= 10 && *reason == Reason::Key));
    let (rows, asides, _) = hits(counting(1 << 20), options(), &all);
    assert_eq!(rows, signs.map(|key| ((0, u64::from(key)), 500)).into());
    assert!(asides.is_empty());
}

#[test]
fn planted_keys_harm_nobody() {
    planted(&Device::cpu());
}

#[test]
fn wgsl_planted_keys_harm_nobody() {
    if let Some(device) = software("faults::wgsl_planted_keys_harm_nobody") {
        planted(&device);
    }
}

#[test]
fn cuda_planted_keys_harm_nobody() {
    if let Some(device) = cuda("faults::cuda_planted_keys_harm_nobody") {
        planted(&device);
    }
}

#[test]
fn cuda_latency_hostile_keys_harm_nobody() {
    if let Some(device) = cuda("faults::cuda_latency_hostile_keys_harm_nobody") {
        let device = latency(&device);
        collisions(&device);
        frozen(&device);
        thawed(&device);
        planted(&device);
    }
}
