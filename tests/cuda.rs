//! The CUDA backend at its edges: what it says it is, both ways in, no memory, every call of the driver failing, a dead
//! device; and the stand-in driver, which has to see what it is there to see.
//!
//! A process has one driver and loses it once, so most of this runs in processes of its own: a test starts itself again
//! and tells the new process what to do.

#[path = "cuda/child.rs"]
mod child;
mod cuda_host;
#[path = "cuda/failures.rs"]
mod failures;
mod kernels;
#[path = "cuda/latency.rs"]
mod latency;
#[path = "cuda/planted.rs"]
mod planted;
#[cfg(feature = "cuda")]
#[path = "cuda/stand_in.rs"]
mod stand_in;

use child::{child, role};
use cuda_host::driver::{StandIn, cuda, is_real, over_stand_in};
use kernels::bed::{Bed, EVENTS_MAX, low};
use pelton::base::rng::SplitMix;
use pelton::device::{Device, Done, QueueOptions};
use pelton::plan::{Memory, Role};
use pelton::ring::{LaneOptions, lane};
use pelton::{Error, Result};

/// Bytes from which on the copy engine brings a range.
const COPY_BYTES: &str = "PELTON_CUDA_COPY_BYTES";

/// Everything a queue of the CUDA device is asked to do, once or often; what came out of it.
fn scenario() -> Result<Vec<u32>> {
    scenario_on(&Device::named("cuda")?)
}

fn scenario_on(device: &Device) -> Result<Vec<u32>> {
    let mut bed = Bed::new(device, 3, 4, 64)?;
    let mut rng = SplitMix::new(9);
    let mut found = Vec::new();
    let mut take = |done: Done| found.extend(done.output.iter().flat_map(|out| out.to_vec()));
    for (batch, events) in
        [300, 0, EVENTS_MAX, 1, 700, 2000, 256, EVENTS_MAX].into_iter().enumerate()
    {
        if batch % 4 == 3 {
            bed.submit(bed.silent, &[1, 2, low(rng.next_u64()), 4], &mut take)?;
        }
        let head = bed.feed(events, &mut rng);
        bed.submit(bed.ingest, &head, &mut take)?;
        if batch == 4 {
            bed.queue.resize(bed.copy.id, 64)?;
            for at in 1..8 {
                bed.queue.write(bed.copy.id, 8 * at, &[low(rng.next_u64()); 8])?;
            }
        }
    }
    bed.drain(10, &mut take)?;
    found.extend(bed.read(bed.copy, 64)?);
    found.extend(bed.read(bed.total, 4)?);
    Ok(found)
}

#[test]
fn cuda_says_what_it_is() {
    let Some(device) = cuda("cuda_says_what_it_is") else { return };
    let caps = device.caps();
    assert!(caps.name.starts_with("cuda:") && caps.driver.starts_with("CUDA "), "{caps:?}");
    assert!(!caps.software && !caps.in_place && !caps.serial && caps.subgroup == (32, 32));
    assert!(Device::names().first() == Some(&caps.name), "{:?}", Device::names());
    assert_eq!(Device::best().caps(), caps);
    assert_eq!(
        Device::named(&caps.name.to_uppercase().replace("CUDA:", "cuda:")).unwrap().caps(),
        caps
    );
    let error = Device::named("cuda:no such card").expect_err("there is none").to_string();
    assert!(error.contains("no such card") && error.contains(&caps.name[5..]), "{error}");
    let none = QueueOptions { in_flight: 0, outputs: 1 };
    assert!(matches!(device.queue(none).map(drop), Err(Error::Invalid(_))));
}

#[test]
fn cuda_both_ways_in_bring_the_same() {
    const TEST: &str = "cuda_both_ways_in_bring_the_same";
    if let Some(way) = role(TEST) {
        let stand_in = StandIn::load().expect("it is there for the parent");
        let before = |function| stand_in.calls_of(function);
        let device = Device::named("cuda").expect("the stand-in opens");
        let tried = before("cuMemcpyHtoDAsync_v2");
        let found = scenario().expect("nothing fails");
        let copies = stand_in.calls_of("cuMemcpyHtoDAsync_v2") - tried;
        drop(device);
        // Seven are writes; every batch but one has events, in one piece or more.
        assert!(if way == "copy" { copies >= 14 } else { copies == 7 }, "{way}: {copies} copies");
        println!("found {}", digest(&found));
        return;
    }
    let Some(device) = over_stand_in(TEST) else { return };
    drop(device);
    let copy = child(TEST, "copy", &[(COPY_BYTES, "0")]);
    let gather = child(TEST, "gather", &[(COPY_BYTES, "1000000000")]);
    let found = |text: &str| text.lines().find(|line| line.contains("found ")).map(str::to_owned);
    assert!(found(&copy).is_some() && found(&copy) == found(&gather), "{copy}\n{gather}");
}

fn digest(words: &[u32]) -> u64 {
    words.iter().fold(words.len() as u64, |sum, &word| {
        sum.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(word))
    })
}

#[test]
fn cuda_refuses_an_override_that_is_no_number() {
    const TEST: &str = "cuda_refuses_an_override_that_is_no_number";
    if role(TEST).is_some() {
        let _ = StandIn::load();
        let error = Device::named("cuda").expect_err("16 KiB is no number").to_string();
        assert!(error.contains(COPY_BYTES) && error.contains("bytes"), "{error}");
        return;
    }
    if over_stand_in(TEST).is_some() {
        child(TEST, "open", &[(COPY_BYTES, "16 KiB")]);
    }
}

#[test]
fn cuda_out_of_memory_concerns_one_queue() {
    const TEST: &str = "cuda_out_of_memory_concerns_one_queue";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            child(TEST, "fill", &[]);
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let device = Device::named("cuda").expect("the stand-in opens");
    let mut other = Bed::new(&device, 2, 2, 16).expect("there is room");
    let mut queue = device.queue(QueueOptions { in_flight: 2, outputs: 2 }).unwrap();
    let mut memory = Memory::default();
    let small = memory.buffer::<u32>("small", Role::State, 8);
    queue.alloc(&memory.buffers).unwrap();
    queue.write(small.id, 0, &[1, 2, 3]).unwrap();
    stand_in.memory(64 << 20);
    let mut more = Memory::default();
    more.buffer::<u32>("fits", Role::State, 1 << 20);
    more.buffer::<u32>("huge", Role::Scratch, 32 << 20);
    match queue.alloc(&more.buffers) {
        Err(Error::Unsupported { device, what }) => {
            assert!(device.starts_with("cuda:") && what.contains("huge"), "{device}: {what}");
            assert!(what.contains("128 MiB") && what.contains("lower the limits"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(queue.resize(small.id, 32 << 20), Err(Error::Unsupported { .. })));
    let mut back = [9; 8];
    queue.read(small.id, 0, &mut back).expect("the queue goes on");
    assert_eq!(back, [1, 2, 3, 0, 0, 0, 0, 0], "and nothing was added or changed");
    let head = other.feed(500, &mut SplitMix::new(1));
    other.submit(other.ingest, &head, drop).expect("another queue does not mind");
    other.drain(1, drop).unwrap();
}

#[test]
fn cuda_a_dead_device_is_dead_for_all() {
    const TEST: &str = "cuda_a_dead_device_is_dead_for_all";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            child(TEST, "die", &[]);
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let device = Device::named("cuda").expect("the stand-in opens");
    let bed = || Bed::new(&device, 2, 2, 16).expect("there is room");
    let (mut first, mut second) = (bed(), bed());
    let rng = &mut SplitMix::new(1);
    let heads = [first.feed(500, rng), second.feed(500, rng)];
    second.submit(second.ingest, &heads[1], drop).unwrap();
    stand_in.fail("cuGraphLaunch", 1, 700);
    let lost = |result: Result<()>| match result {
        Err(Error::DeviceLost { device, what }) => {
            assert!(
                device == "cuda:stand-in" && what.contains("ILLEGAL_ADDRESS"),
                "{device}: {what}"
            );
        }
        other => panic!("{other:?}"),
    };
    lost(first.submit(first.ingest, &heads[0], drop));
    lost(second.queue.poll().map(drop));
    lost(second.queue.flush());
    lost(second.read(second.total, 4).map(drop));
    lost(device.queue(QueueOptions { in_flight: 1, outputs: 1 }).map(drop));
    drop((first, second, device));
    let error = Device::named("cuda").expect_err("for good").to_string();
    assert!(error.contains("ILLEGAL_ADDRESS") && error.contains("cpu"), "{error}");
    assert!(!Device::best().caps().name.starts_with("cuda"), "{:?}", Device::best());
    assert!(!Device::names().iter().any(|name| name.starts_with("cuda")));
}

#[test]
fn cuda_opened_again_finds_the_lanes_of_the_time_before() {
    const TEST: &str = "cuda_opened_again_finds_the_lanes_of_the_time_before";
    if role(TEST).is_none() {
        if over_stand_in(TEST).is_some() {
            child(TEST, "open again", &[]);
        }
        return;
    }
    let stand_in = StandIn::load().expect("it is there for the parent");
    let registered = || stand_in.calls_of("cuMemHostRegister_v2");
    let open = || Device::named("cuda").expect("the stand-in opens");
    let (lane, tail) = lane::<[u32; 4]>(&LaneOptions::default()).expect("there is room");
    let device = open();
    let before = registered();
    device.register(tail.slab()).expect("a slab is whole pages");
    device.register(tail.slab()).expect("as often as one likes");
    assert_eq!(registered(), before + 1);
    drop(device);
    let device = open();
    let before = registered();
    device.register(tail.slab()).expect("it is there already");
    assert_eq!(registered(), before);
    drop(device);
    drop((lane, tail));
    assert_eq!(stand_in.report(), [""; 0], "the lane was the last that held anything");
}

#[test]
fn cuda_is_left_as_it_was_found() {
    let Some(device) = cuda("cuda_is_left_as_it_was_found") else { return };
    if !is_real() {
        drop(device);
        // That all was given back is what the stand-in looks at when this process ends.
        for _ in 0..3 {
            assert_eq!(scenario(), scenario_on(&Device::cpu()));
        }
    }
}
