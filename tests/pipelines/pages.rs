//! State larger than one binding: rows in several pages, and no more of them than are needed.
//!
//! A device whose bindings are a few kilobytes stands for one whose state is gigabytes. The specification judges what
//! comes out, as everywhere; what is counted here is that pages were really there, and what they cost.

use crate::cuda_host;
use crate::cuda_host::driver::cuda;
use crate::cuda_host::latency::latency;
use crate::engine::Setup;
use crate::engine::case::{Case, random};
use crate::engine::narrow::{Seen, narrow};
use crate::kernels::bed::software;
use pelton::device::fault::{Failure, Fault, FaultScript};
use pelton::{
    Device, Error, Feed, Inline, Key, LaneOptions, Options, Pod, Policy, Stats, Value, Windows,
    Zeroable, field,
};

/// Hopping windows that fire again, of keys that keep coming.
fn case(slide: u64, events: usize) -> Case {
    Case::busy(slide, slide, events, events / 2)
}

fn setup(device: &Device, ttl: bool) -> Setup {
    Setup { chunk: 100, result_rows: 500, hold: 2, ttl, ..Setup::new(device, 256) }
}

/// Buffers of rows for each queue and value that such a case had on a device.
fn pages(inner: &Device, bind_words_max: usize, case: &Case, ttl: bool) -> f64 {
    let seen = Seen::default();
    let device = narrow(inner, bind_words_max, &seen);
    assert!(case.run(&setup(&device, ttl)) > 0, "it fits");
    seen.rows() as f64 / seen.queues() as f64 / 2.0
}

#[test]
fn one_page_two_pages_and_many() {
    for (slide, ttl) in [(40, false), (40, true), (10, false), (10, true)] {
        let case = case(slide, 4000);
        // Keys that are forgotten make room for others, so there are fewer rows then.
        let bits = if ttl { [24, 17, 16] } else { [24, 18, 16] };
        let [one, some, many] = bits.map(|bits| pages(&Device::cpu(), 1 << bits, &case, ttl));
        assert!(one == 1.0 && some >= 2.0 && many >= 4.0, "slide {slide}: {one}, {some}, {many}");
    }
}

/// The same in short, for devices that take their time.
fn few_pages_and_many(device: &Device) {
    for (slide, bits, least) in [(40, 24, 1.0), (10, 17, 2.0), (10, 16, 3.0)] {
        let pages = pages(device, 1 << bits, &case(slide, 1200), slide == 10);
        assert!(pages >= least, "{}, slide {slide}: {pages} pages", device.caps().name);
    }
}

#[test]
fn wgsl_one_page_two_pages_and_many() {
    let Some(adapter) = software("pages::wgsl_one_page_two_pages_and_many") else { return };
    few_pages_and_many(&adapter);
}

#[test]
fn kernels_one_page_two_pages_and_many() {
    // Orders of threads, the first by number.
    for order in 0..3 {
        let test = "pages::kernels_one_page_two_pages_and_many";
        let Some(device) = cuda_host::device::open(test, order) else { return };
        few_pages_and_many(&device);
    }
}

#[test]
fn cuda_one_page_two_pages_and_many() {
    let Some(device) = cuda("pages::cuda_one_page_two_pages_and_many") else { return };
    few_pages_and_many(&device);
}

#[test]
fn cuda_latency_one_page_two_pages_and_many() {
    let Some(device) = cuda("pages::cuda_latency_one_page_two_pages_and_many") else { return };
    few_pages_and_many(&latency(&device));
}

#[test]
fn random_queries_over_many_pages() {
    for (i, batch) in [7, 256, 4096].into_iter().enumerate() {
        let seen = Seen::default();
        let device = narrow(&Device::cpu(), 1 << 16, &seen);
        assert!(random(&device, batch, 60_000, 5000, 4000 + 500 * i as u64) >= 60_000);
        assert!(seen.rows() > 2 * seen.queues(), "{} of {}", seen.rows(), seen.queues());
    }
}

/// From large pages to small ones, back, and to where there is one page.
fn moves_between(a: &Device, b: &Device, events: usize) {
    let seen = Seen::default();
    let [small, middle] = [1 << 16, 1 << 18].map(|bind| narrow(a, bind, &seen));
    for (slide, ttl) in [(40, true), (10, false)] {
        let moves = vec![b.clone(), small.clone(), middle.clone(), small.clone()];
        let setup = Setup { moves, ..setup(&middle, ttl) };
        assert!(case(slide, events).run(&setup) > 0);
    }
}

#[test]
fn pages_of_one_size_become_pages_of_another() {
    moves_between(&Device::cpu(), &Device::cpu(), 4000);
}

#[test]
fn wgsl_pages_of_one_size_become_pages_of_another() {
    let test = "pages::wgsl_pages_of_one_size_become_pages_of_another";
    let Some(adapter) = software(test) else { return };
    moves_between(&adapter, &Device::cpu(), 1000);
}

#[test]
fn cuda_pages_of_one_size_become_pages_of_another() {
    let test = "pages::cuda_pages_of_one_size_become_pages_of_another";
    let Some(device) = cuda(test) else { return };
    moves_between(&device, &Device::cpu(), 1000);
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Trade {
    at: u64,
    account: u32,
    amount: f32,
}

/// Windows of one tick, all of which stay open.
struct Run {
    engine: Inline<Trade>,
    lane: Feed<Trade>,
    counted: u64,
    sent: u64,
}

impl Run {
    fn new(device: Device) -> pelton::Result<Self> {
        let windows = Windows {
            key: Key::hashed(field!(Trade.account)),
            values: vec![Value { variance: false, ..Value::fixed(field!(Trade.amount), 8) }],
            disorder: u64::MAX,
            ..Windows::tumbling(field!(Trade.at), 1)
        };
        let lane = LaneOptions { policy: Policy::Reject, ..LaneOptions::default() };
        let engine = Inline::new(windows, Options { lane, ..Options::on(device) })?;
        let lane = engine.lane()?;
        Ok(Self { engine, lane, counted: 0, sent: 0 })
    }

    /// One event for each of these keys, at one time.
    fn feed(&mut self, at: u64, keys: std::ops::Range<u32>) -> pelton::Result<()> {
        let events: Vec<Trade> = keys.map(|account| Trade { at, account, amount: 0.5 }).collect();
        for part in events.chunks(1 << 12) {
            assert_eq!(self.lane.push_all(part), part.len());
            self.settle()?;
            self.sent += part.len() as u64;
        }
        Ok(())
    }

    fn settle(&mut self) -> pelton::Result<()> {
        let Self { engine, counted, .. } = self;
        engine.settle(|rows| *counted += rows.iter().map(|row| row.count()).sum::<u64>())
    }

    /// Everything that went in comes out.
    fn end(self) -> pelton::Result<Stats> {
        let Self { mut engine, lane, mut counted, sent } = self;
        let stats = engine.stats();
        engine.finish();
        lane.close();
        engine.settle(|rows| counted += rows.iter().map(|row| row.count()).sum::<u64>())?;
        assert_eq!(counted, sent);
        Ok(stats)
    }
}

/// Rows of 32 bytes in blocks of 64: 20 MiB, and half as much again that is there for more.
#[test]
fn ten_thousand_windows_of_ten_keys_take_forty_megabytes() {
    let mut run = Run::new(Device::cpu()).expect("a good query");
    for at in 0..10_000 {
        run.feed(at, 0..10).expect("there is memory");
    }
    let stats = run.end().expect("it works");
    assert!(stats.state_bytes <= 40 << 20, "{} KiB", stats.state_bytes >> 10);
}

/// A window that opens tells the device of its own blocks, not of those of all windows.
#[test]
fn a_window_that_opens_writes_its_own_part_of_the_map() {
    const KEYS: u32 = 100_000;
    let seen = Seen::default();
    let mut run = Run::new(narrow(&Device::cpu(), usize::MAX / 4, &seen)).expect("a good query");
    run.feed(0, 0..KEYS).expect("there is memory");
    for at in 1..=50 {
        let before = seen.words();
        run.feed(at, 0..100).expect("there is memory");
        let written = seen.words() - before;
        assert!(written <= u64::from(KEYS / 64) + 300, "window {at}: {written} words");
    }
    run.end().expect("it works");
}

/// Each call that is made while pages are added and rows laid out anew, failing.
#[test]
fn a_failure_between_pages_is_a_typed_error() {
    let run = |script: &FaultScript| {
        let device = narrow(&Device::cpu(), 1 << 16, &Seen::default());
        let mut run = Run::new(Fault::new(device, script.clone()))?;
        for at in 0..12 {
            run.feed(at, 0..2000)?;
        }
        run.end()
    };
    let script = FaultScript::new();
    run(&script).expect("nothing fails");
    for failure in [Failure::OutOfMemory, Failure::Lost] {
        for call in (1..script.calls()).step_by(7) {
            match run(&FaultScript::new().at(call, failure)) {
                Err(Error::Unsupported { .. } | Error::DeviceLost { .. }) => {}
                other => panic!("call {call}: {other:?}"),
            }
        }
    }
}

/// Rows of one id lie in one page, so there is an end to the windows that can be open.
#[test]
fn more_windows_than_a_page_has_rows_for() {
    let device = narrow(&Device::cpu(), 1 << 16, &Seen::default());
    let mut run = Run::new(device).expect("a good query");
    let failed = (0..200).find_map(|at| run.feed(at, 0..1).err());
    let Some(Error::Unsupported { what, .. }) = failed else { panic!("{failed:?}") };
    assert!(what.contains("windows or slices are open") && what.contains("128 of them"), "{what}");
}
