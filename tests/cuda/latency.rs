//! The latency mode at its edges: every call of the driver failing, a device that hangs, a kernel that leaves and comes
//! back, queues that go while it works, several at once, and where there is no such mode.

use super::child::{child, outcome, role};
use super::cuda_host::driver::{StandIn, over_stand_in};
use pelton::base::rng::SplitMix;
use pelton::{
    Device, Error, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Result, Value, Windows,
    Zeroable, field,
};
use std::time::{Duration, Instant};

/// How often the kernel looks: in vain until it leaves, and at all.
const LOOKS: &str = "PELTON_CUDA_LOOKS";

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

fn amount(at: u64) -> f32 {
    f32::from(u8::try_from(at % 200).expect("small"))
}

/// A query, its lane, and what came out of it.
struct Run {
    engine: Inline<Trade>,
    lane: Option<Feed<Trade>>,
    rng: SplitMix,
    at: u64,
    rows: Vec<[u32; 4]>,
}

impl Run {
    fn new(device: &Device, latency_mode: bool) -> Result<Self> {
        let windows = Windows {
            key: Key::hashed(field!(Trade.account)),
            values: vec![Value::exact(field!(Trade.amount))],
            disorder: 5,
            ..Windows::tumbling(field!(Trade.at), 500)
        };
        let options = Options {
            latency_mode,
            batch_events: 1024,
            keys: 1,
            result_rows: 64,
            seed: Some(7),
            lane: LaneOptions { events: 4096, policy: Policy::Reject, ..LaneOptions::default() },
            ..Options::on(device.clone())
        };
        let engine = Inline::new(windows, options)?;
        let lane = Some(engine.lane()?);
        Ok(Self { engine, lane, rng: SplitMix::new(3), at: 0, rows: Vec::new() })
    }

    /// Commits so many events, without waiting for what comes of them.
    fn feed(&mut self, events: usize) {
        let events: Vec<Trade> = (0..events)
            .map(|_| {
                self.at += 1;
                let account = u32::try_from(self.rng.below(600)).expect("small");
                Trade { at: self.at, account, amount: 0.25 * amount(self.at) }
            })
            .collect();
        let lane = self.lane.as_mut().expect("not closed yet");
        assert_eq!(lane.push_all(&events), events.len(), "there is room");
    }

    fn settle(&mut self) -> Result<()> {
        let rows = &mut self.rows;
        self.engine.settle(|closed| {
            rows.extend(closed.iter().map(|row| {
                let low = |wide: u64| u32::try_from(wide).expect("small");
                #[allow(clippy::cast_possible_truncation, reason = "sums of quarters are exact")]
                let sum = (row.sum(0) * 4.0) as u32;
                [low(row.start()), low(row.key()), low(row.count()), sum]
            }));
        })
    }
}

/// A stream in batches of many sizes, most of which one block serves alone; its rows in one order.
fn stream(device: &Device, latency_mode: bool) -> Result<Vec<u32>> {
    let mut run = Run::new(device, latency_mode)?;
    for events in [300, 1, 2000, 64, 700, 1, 1500, 256, 30, 1024, 5, 900] {
        run.feed(events);
        run.settle()?;
    }
    run.lane = None;
    run.engine.finish();
    run.settle()?;
    run.rows.sort_unstable();
    Ok(run.rows.concat())
}

pub(super) fn scenario_on(device: &Device) -> Result<Vec<u32>> {
    stream(device, true)
}

/// What `scenario_on` is to find.
pub(super) fn right() -> Vec<u32> {
    stream(&Device::cpu(), false).expect("the processor is always there")
}

#[test]
fn cuda_latency_leaves_and_comes_back() {
    const TEST: &str = "latency::cuda_latency_leaves_and_comes_back";
    if let Some(role) = role(TEST) {
        let stand_in = StandIn::load().expect("it is there for the parent");
        let device = Device::named("cuda").expect("the stand-in opens");
        for _ in 0..3 {
            assert!(scenario_on(&device).expect("nothing fails") == right(), "another answer");
        }
        // Left alone it goes, and the next batch brings it back.
        let launches = || stand_in.calls_of("cuLaunchCooperativeKernel");
        let mut run = Run::new(&device, true).expect("nothing fails");
        for _ in 0..20 {
            run.feed(10);
            run.settle().expect("nothing fails");
        }
        let before = launches();
        // A busy machine may take its time to run the kernel that is to leave.
        let often = (0..if role == "often" { 400 } else { 5 }).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            run.feed(10);
            run.settle().expect("nothing fails");
            launches() >= before + 5
        });
        assert_eq!(often, role == "often", "{role}: {}", launches() - before);
        return;
    }
    if over_stand_in(TEST).is_some() {
        child(TEST, "seldom", &[(LOOKS, "1000000000,4000000000")]);
        for looks in ["20,1000000", "1,1", "3,5", "50,60"] {
            child(TEST, "often", &[(LOOKS, looks), ("PELTON_CUDA_SEED", "3")]);
        }
    }
}

#[test]
fn cuda_latency_refuses_looks_that_are_no_numbers() {
    const TEST: &str = "latency::cuda_latency_refuses_looks_that_are_no_numbers";
    if role(TEST).is_some() {
        let _ = StandIn::load();
        let device = Device::named("cuda").expect("the stand-in opens");
        let error = Run::new(&device, true).err().expect("nought is too few").to_string();
        assert!(error.contains(LOOKS) && error.contains("20000,1000000"), "{error}");
        return;
    }
    if over_stand_in(TEST).is_some() {
        ["0,5", "7", "a,b"].iter().for_each(|looks| drop(child(TEST, "open", &[(LOOKS, looks)])));
    }
}

#[test]
fn cuda_latency_queues_go_while_the_kernel_works() {
    const TEST: &str = "latency::cuda_latency_queues_go_while_the_kernel_works";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            ["0", "1", "2"].iter().for_each(|seed| {
                drop(child(TEST, "go", &[("PELTON_CUDA_SEED", seed)]));
            });
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let device = Device::named("cuda").expect("the stand-in opens");
    for n in 0..12 {
        let mut run = Run::new(&device, true).expect("nothing fails");
        run.feed(600);
        run.settle().expect("nothing fails");
        for _ in 0..n {
            run.feed(300);
            run.engine.poll(drop).expect("nothing fails");
        }
    }
    drop(device);
    assert_eq!(stand_in.report(), [""; 0], "nothing is left");
}

#[test]
fn cuda_latency_queues_of_one_device_do_not_meet() {
    let test = "latency::cuda_latency_queues_of_one_device_do_not_meet";
    let Some(device) = super::cuda(test) else { return };
    let right = right();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(scenario_on(&device).expect("nothing fails") == right));
        }
    });
}

#[test]
fn cuda_latency_a_device_that_hangs_is_lost() {
    const TEST: &str = "latency::cuda_latency_a_device_that_hangs_is_lost";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            // What a device may use for ever is left to it, so the stand-in finds it when the process ends.
            for how in ["poll", "read"] {
                let (_, text) = outcome(TEST, how, &[]);
                assert!(text.contains("all others go on"), "{how}: {text}");
            }
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let device = Device::named("cuda").expect("the stand-in opens");
    let mut run = Run::new(&device, true).expect("nothing fails");
    for _ in 0..5 {
        run.feed(100);
        run.settle().expect("nothing fails");
    }
    stand_in.hang();
    let begin = Instant::now();
    let error = match role(TEST).as_deref() {
        Some("poll") => {
            run.feed(100);
            run.settle()
        }
        _ => run.engine.move_to(Device::cpu()),
    };
    match error {
        Err(Error::DeviceLost { device, what }) => {
            assert!(device == "cuda:stand-in" && what.contains("quiet for 5s"), "{device}: {what}");
        }
        other => panic!("{other:?}"),
    }
    drop(run);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    let error = Device::named("cuda").expect_err("for good").to_string();
    assert!(error.contains("quiet") && !Device::best().caps().name.starts_with("cuda"), "{error}");
    assert_eq!(stream(&Device::cpu(), false), Ok(right()));
    println!("all others go on");
}

#[test]
fn devices_without_a_latency_mode_say_so() {
    for device in [Device::cpu(), Device::null()] {
        let error = Run::new(&device, true).err().expect("there is none");
        let Error::Unsupported { device: named, what } = &error else { panic!("{error}") };
        assert!(*named == device.caps().name && what.contains("latency_mode"), "{error}");
        let options = pelton::device::QueueOptions { in_flight: 1, outputs: 1 };
        assert!(matches!(device.latency_queue(options).map(drop), Err(Error::Unsupported { .. })));
    }
}
