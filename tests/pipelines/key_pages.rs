//! More keys than one binding holds: the key table and the key records in several pages.
//!
//! A device whose bindings are a few kilobytes stands for one with hundreds of millions of keys. The specification
//! judges what comes out; what is counted here is that there were pages. Keys are hostile, too: some share a page by
//! design.

use crate::cuda_host;
use crate::cuda_host::driver::cuda;
use crate::cuda_host::latency::latency;
use crate::engine::Setup;
use crate::engine::case::Case;
use crate::engine::narrow::{Seen, narrow};
use crate::kernels::bed::software;
use crate::spec::scenario::Scenario;
use crate::spec::streams::{KeyStyle, Stream};
use crate::spec::{Filter, KeyField, Query};
use pelton::base::rng::SplitMix;
use pelton::device::fault::{Failure, Fault, FaultScript};
use pelton::ops::keys::hash;
use pelton::{
    Device, Error, Inline, Key, LaneOptions, Options, Pod, Policy, Stats, Windows, Zeroable, field,
};
use std::collections::BTreeMap;

/// Counts of keys that keep coming, in windows that fire again: rows are small, so that there are more pages of keys.
fn case(slide: u64, key: KeyField, filter: Filter, events: usize) -> Case {
    let query = Query {
        size: 40,
        slide,
        disorder: 5,
        lateness: 20,
        horizon: 500,
        key,
        dense: None,
        filter,
        values: vec![],
    };
    let stream = Stream {
        seed: slide,
        events,
        lanes: 2,
        keys: events / 2,
        key_style: KeyStyle::Twins,
        span: 300,
        disorder: 5,
        too_late: (0.05, 60),
        beyond: 0.01,
        horizon: 500,
        idles: 1,
        ..Stream::default()
    };
    Case::new(format!("slide {slide}, {key:?}, {events} events"), &Scenario { query, stream })
}

fn setup(device: &Device, ttl: bool) -> Setup {
    Setup { chunk: 100, result_rows: 300, in_flight: 4, ttl, ..Setup::new(device, 256) }
}

/// Pages of the table and of records that such a case had, on a device with bindings of so many words.
fn pages(inner: &Device, bind_words_max: usize, case: &Case, ttl: bool) -> [u64; 2] {
    let seen = Seen::default();
    let device = narrow(inner, bind_words_max, &seen);
    assert!(case.run(&setup(&device, ttl)) > 0, "{}: it fits", case.name);
    seen.keys().map(|pages| pages / seen.queues())
}

/// With keys of one word and of two, that stay and that are forgotten, filtered and not.
fn one_page_and_several(device: &Device, events: usize, cases: usize) {
    let all = [
        (40, KeyField::Wide, false, [4, 2]),
        (40, KeyField::Small, true, [2, 1]),
        (20, KeyField::Wide, true, [2, 1]),
        (20, KeyField::Small, false, [2, 1]),
    ];
    for (slide, key, ttl, least) in all.into_iter().take(cases) {
        let filter = if ttl { Filter::OtherAtLeast(100) } else { Filter::Everything };
        let case = case(slide, key, filter, events);
        assert_eq!(pages(device, 1 << 24, &case, ttl), [1, 1]);
        let several = pages(device, 1 << 12, &case, ttl);
        let enough = several[0] >= least[0] && several[1] >= least[1];
        assert!(enough, "{}: {several:?} pages of table and records", case.name);
    }
}

#[test]
fn keys_in_one_page_and_in_several() {
    one_page_and_several(&Device::cpu(), 6000, 4);
}

#[test]
fn wgsl_keys_in_one_page_and_in_several() {
    let test = "key_pages::wgsl_keys_in_one_page_and_in_several";
    let Some(adapter) = software(test) else { return };
    one_page_and_several(&adapter, 2000, 2);
}

#[test]
fn kernels_keys_in_one_page_and_in_several() {
    // Orders of threads, the first by number.
    for order in 0..3 {
        let test = "key_pages::kernels_keys_in_one_page_and_in_several";
        let Some(device) = cuda_host::device::open(test, order) else { return };
        one_page_and_several(&device, 2000, 4);
    }
}

#[test]
fn cuda_keys_in_one_page_and_in_several() {
    let test = "key_pages::cuda_keys_in_one_page_and_in_several";
    let Some(device) = cuda(test) else { return };
    one_page_and_several(&device, 2000, 4);
}

/// From pages of one size to those of another, and to where there is one page.
fn moves_between(a: &Device, b: &Device, events: usize) {
    for (slide, key, ttl, least) in
        [(40, KeyField::Wide, true, [2, 1]), (40, KeyField::Small, false, [1, 1])]
    {
        let seen = Seen::default();
        let [small, middle] = [1 << 12, 1 << 13].map(|bind| narrow(a, bind, &seen));
        let moves = vec![b.clone(), small.clone(), middle.clone(), small.clone()];
        let setup = Setup { moves, ..setup(&middle, ttl) };
        assert!(case(slide, key, Filter::Everything, events).run(&setup) > 0);
        let several = seen.keys().map(|pages| pages / seen.queues());
        assert!(several[0] >= least[0] && several[1] >= least[1], "{several:?}");
    }
}

#[test]
fn keys_move_from_pages_to_pages() {
    moves_between(&Device::cpu(), &Device::cpu(), 6000);
}

#[test]
fn wgsl_keys_move_from_pages_to_pages() {
    let Some(adapter) = software("key_pages::wgsl_keys_move_from_pages_to_pages") else { return };
    moves_between(&adapter, &Device::cpu(), 1500);
}

#[test]
fn cuda_keys_move_from_pages_to_pages() {
    let Some(device) = cuda("key_pages::cuda_keys_move_from_pages_to_pages") else { return };
    moves_between(&device, &Device::cpu(), 4000);
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Hit {
    at: u64,
    key: u32,
    pad: u32,
}

/// Counts by window and key.
type Counts = BTreeMap<(u64, u64), u64>;

/// What windows of `size` count when events come in these parts, and how the engine fared.
fn counted(
    device: &Device,
    (size, ttl): (u64, Option<u64>),
    parts: &[Vec<Hit>],
) -> pelton::Result<(Counts, Stats)> {
    let windows = Windows {
        key: Key::hashed(field!(Hit.key)),
        values: vec![],
        ttl,
        ..Windows::tumbling(field!(Hit.at), size)
    };
    let lane = LaneOptions { events: 1 << 14, policy: Policy::Reject, ..LaneOptions::default() };
    let options =
        Options { lane, batch_events: 1024, keys: 1, seed: Some(7), ..Options::on(device.clone()) };
    let mut engine = Inline::new(windows, options)?;
    let mut lane = engine.lane()?;
    engine.finish();
    let mut rows = Counts::new();
    let mut take = |closed: pelton::Rows| {
        rows.extend(closed.iter().map(|row| ((row.start(), row.key()), row.count())));
    };
    for part in parts {
        assert_eq!(lane.push_all(part), part.len());
        engine.settle(&mut take)?;
    }
    lane.close();
    engine.settle(&mut take)?;
    assert!(engine.asides().is_empty(), "nobody is set aside");
    Ok((rows, engine.stats()))
}

/// In parts that a lane has room for.
fn parts(hits: impl Iterator<Item = Hit>) -> Vec<Vec<Hit>> {
    hits.collect::<Vec<_>>().chunks(1 << 12).map(<[Hit]>::to_vec).collect()
}

fn hit(at: u64, key: u32) -> Hit {
    Hit { at, key, pad: 0 }
}

/// Twice each of so many keys on a device whose bindings hold the records of 2,048.
fn many_keys(device: &Device, keys: u32) {
    let seen = Seen::default();
    let device = narrow(device, 1 << 12, &seen);
    let all = parts((0..2 * keys).map(|i| hit(0, i % keys * 7919)));
    let (rows, stats) = counted(&device, (10, None), &all).expect("it fits");
    assert_eq!((rows.len(), stats.keys), (keys as usize, u64::from(keys)));
    assert!(rows.values().all(|&count| count == 2), "every key came twice");
    let pages = u64::from(keys / 2048);
    let [tables, records] = seen.keys();
    assert!(tables >= 2 * pages && records >= pages, "{tables} of the table, {records} of records");
}

#[test]
fn many_times_the_keys_of_one_binding() {
    many_keys(&Device::cpu(), 60_000);
}

#[test]
fn wgsl_many_times_the_keys_of_one_binding() {
    let test = "key_pages::wgsl_many_times_the_keys_of_one_binding";
    let Some(adapter) = software(test) else { return };
    many_keys(&adapter, 5000);
}

#[test]
fn cuda_many_times_the_keys_of_one_binding() {
    let test = "key_pages::cuda_many_times_the_keys_of_one_binding";
    let Some(device) = cuda(test) else { return };
    many_keys(&device, 9000);
}

/// A step for each page in the kernel that stays on the device, too.
#[test]
fn cuda_latency_many_times_the_keys_of_one_binding() {
    let test = "key_pages::cuda_latency_many_times_the_keys_of_one_binding";
    let Some(device) = cuda(test) else { return };
    many_keys(&latency(&device), 5000);
}

/// Keys that the first seed sends to one page, evenly spread over its slots, and keys that it sends to one slot.
fn crafted(device: &Device) {
    let mut rng = SplitMix::new(7);
    #[allow(clippy::cast_possible_truncation, reason = "the engine's own four words of seed")]
    let words = [0; 4].map(|_| rng.next_u64() as u32);
    let one_page = |key: &u32| hash(&words, *key, 0) & 0x7800 == 0;
    let one_slot = |key: &u32| hash(&words, *key, 0) & 0x7FFF == 5;
    let pages: Vec<u32> = (0..u32::MAX).filter(one_page).take(5000).collect();
    let slots: Vec<u32> = (0..u32::MAX).filter(one_slot).take(1500).collect();
    for keys in [pages, slots] {
        let seen = Seen::default();
        let all = parts(keys.iter().chain(&keys).map(|&key| hit(0, key)));
        let device = narrow(device, 1 << 12, &seen);
        let (rows, stats) = counted(&device, (10, None), &all).expect("another seed is found");
        assert_eq!((rows.len(), stats.keys), (keys.len(), keys.len() as u64));
        assert!(rows.values().all(|&count| count == 2), "every key came twice");
        assert!(seen.keys()[0] >= 4, "{:?} pages", seen.keys());
    }
}

#[test]
fn keys_made_to_share_a_page_harm_nobody() {
    crafted(&Device::cpu());
}

#[test]
fn wgsl_keys_made_to_share_a_page_harm_nobody() {
    let test = "key_pages::wgsl_keys_made_to_share_a_page_harm_nobody";
    let Some(adapter) = software(test) else { return };
    crafted(&adapter);
}

#[test]
fn cuda_keys_made_to_share_a_page_harm_nobody() {
    let test = "key_pages::cuda_keys_made_to_share_a_page_harm_nobody";
    let Some(device) = cuda(test) else { return };
    crafted(&device);
}

/// More keys grow old at a time than the list of free ids has room for: 3,836 on this device. Those stay until ids on
/// the list have been used again.
fn forgotten_in_passes(device: &Device) {
    let device = narrow(device, 1 << 12, &Seen::default());
    let crowd = |at, keys: std::ops::Range<u32>| keys.map(|key| hit(at, key)).collect::<Vec<_>>();
    // Few keys, while time goes on.
    let pause = |from| (1..=7u64).map(move |i| crowd(from + 200 * i, 10_000..10_005));
    let mut all = vec![crowd(0, 0..4200)];
    all.extend(pause(0));
    all.push(crowd(1500, 100_000..102_000));
    all.extend(pause(1500));
    let (rows, stats) = counted(&device, (500, Some(500)), &all).expect("it fits");
    assert_eq!(rows.values().sum::<u64>(), 6200 + 70);
    assert_eq!(rows.len(), 6200 + 30);
    assert_eq!((stats.expired, stats.keys), (3836 + 2000, 4205 - 3836));
}

#[test]
fn more_keys_grow_old_than_one_binding_lists() {
    forgotten_in_passes(&Device::cpu());
}

#[test]
fn wgsl_more_keys_grow_old_than_one_binding_lists() {
    let test = "key_pages::wgsl_more_keys_grow_old_than_one_binding_lists";
    let Some(adapter) = software(test) else { return };
    forgotten_in_passes(&adapter);
}

#[test]
fn cuda_more_keys_grow_old_than_one_binding_lists() {
    let test = "key_pages::cuda_more_keys_grow_old_than_one_binding_lists";
    let Some(device) = cuda(test) else { return };
    forgotten_in_passes(&device);
}

/// Each call that is made while pages of keys are added and filled, failing.
#[test]
fn a_failure_between_pages_of_keys_is_a_typed_error() {
    let all = parts((0..6000).map(|key| hit(u64::from(key) / 100, key)));
    let run = |script: &FaultScript| {
        let device = narrow(&Device::cpu(), 1 << 12, &Seen::default());
        counted(&Fault::new(device, script.clone()), (10, Some(20)), &all)
    };
    let script = FaultScript::new();
    let (rows, _) = run(&script).expect("nothing fails");
    assert_eq!(rows.len(), 6000);
    for failure in [Failure::OutOfMemory, Failure::Lost] {
        for call in (1..script.calls()).step_by(17) {
            match run(&FaultScript::new().at(call, failure)) {
                Err(Error::Unsupported { .. } | Error::DeviceLost { .. }) => {}
                other => panic!("call {call}: {:?}", other.map(|(_, stats)| stats)),
            }
        }
    }
}

/// There is an end to the pages of a table.
#[test]
fn more_pages_than_a_table_has() {
    let device = narrow(&Device::cpu(), 1 << 9, &Seen::default());
    let all = parts((0..60_000).map(|key| hit(0, key)));
    let Err(Error::Unsupported { what, .. }) = counted(&device, (10, None), &all) else {
        panic!("it does not fit")
    };
    assert!(what.contains("fewer keys"), "{what}");
}
