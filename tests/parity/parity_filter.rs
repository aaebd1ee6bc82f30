//! Random filters over hostile values: every device drops what a closure in plain Rust drops.

use crate::cuda_host;
use crate::cuda_host::driver::cuda;
use crate::hand::{Piece, Ranges, devices, head, run, whole};
use half::{bf16, f16};
use pelton::base::dtype::Scalar;
use pelton::base::rng::SplitMix;
use pelton::device::{Device, QueueOptions};
use pelton::ops::batch::DROPPED;
use pelton::ops::filter;
use pelton::plan::{Memory, Plan, Role};
use pelton::{Field, Filter, Pod, Zeroable, field};
use std::fmt::Debug;
use std::rc::Rc;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Event {
    wide: u64,
    wide2: u64,
    real: f32,
    real2: f32,
    whole: i32,
    whole2: i32,
    count: u32,
    count2: u32,
    half: f16,
    half2: f16,
    brain: bf16,
    brain2: bf16,
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xFFFF_FFFF).unwrap()
}

fn pick<T: Copy>(rng: &mut SplitMix, from: &[T]) -> T {
    from[usize::try_from(rng.below(from.len() as u64)).unwrap()]
}

/// Values that repeat often and lie at the edges.
fn real(rng: &mut SplitMix) -> f32 {
    const EDGES: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5,
        65504.0,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-45,
    ];
    match rng.below(4) {
        0 => f32::from_bits(low(rng.next_u64())),
        1 => -f32::NAN,
        _ => pick(rng, &EDGES),
    }
}

fn count(rng: &mut SplitMix) -> u32 {
    match rng.below(4) {
        0 => low(rng.next_u64()),
        1 => pick(rng, &[0, u32::MAX, 1 << 31, (1 << 31) - 1]),
        _ => low(rng.below(4)),
    }
}

fn wide(rng: &mut SplitMix) -> u64 {
    u64::from(count(rng)) << 32 | u64::from(count(rng))
}

fn half(rng: &mut SplitMix) -> f16 {
    let bits = u16::try_from(rng.below(1 << 16)).unwrap();
    if rng.below(4) == 0 { f16::from_bits(bits) } else { f16::from_f32(real(rng)) }
}

fn brain(rng: &mut SplitMix) -> bf16 {
    let bits = u16::try_from(rng.below(1 << 16)).unwrap();
    if rng.below(4) == 0 { bf16::from_bits(bits) } else { bf16::from_f32(real(rng)) }
}

fn event(rng: &mut SplitMix) -> Event {
    Event {
        wide: wide(rng),
        wide2: wide(rng),
        real: real(rng),
        real2: real(rng),
        whole: count(rng).cast_signed(),
        whole2: count(rng).cast_signed(),
        count: count(rng),
        count2: count(rng),
        half: half(rng),
        half2: half(rng),
        brain: brain(rng),
        brain2: brain(rng),
    }
}

/// A filter and what it means.
type Case = (Filter<Event>, Rc<dyn Fn(&Event) -> bool>);

/// A field, and how Rust reads it.
type Named<T> = (Field<Event, T>, fn(&Event) -> T);

fn leaf_of<T: Scalar + PartialOrd + Debug>(
    rng: &mut SplitMix,
    (left, a): Named<T>,
    (right, b): Named<T>,
    (low, high): (T, T),
) -> Case {
    match rng.below(13) {
        0 => (Filter::eq(left, low), Rc::new(move |e| a(e) == low)),
        1 => (Filter::ne(left, low), Rc::new(move |e| a(e) != low)),
        2 => (Filter::lt(left, low), Rc::new(move |e| a(e) < low)),
        3 => (Filter::le(left, low), Rc::new(move |e| a(e) <= low)),
        4 => (Filter::gt(left, low), Rc::new(move |e| a(e) > low)),
        5 => (Filter::ge(left, low), Rc::new(move |e| a(e) >= low)),
        6 => (Filter::between(left, low, high), Rc::new(move |e| low <= a(e) && a(e) <= high)),
        7 => (Filter::eq_field(left, right), Rc::new(move |e| a(e) == b(e))),
        8 => (Filter::ne_field(left, right), Rc::new(move |e| a(e) != b(e))),
        9 => (Filter::lt_field(left, right), Rc::new(move |e| a(e) < b(e))),
        10 => (Filter::le_field(left, right), Rc::new(move |e| a(e) <= b(e))),
        11 => (Filter::gt_field(left, right), Rc::new(move |e| a(e) > b(e))),
        _ => (Filter::ge_field(left, right), Rc::new(move |e| a(e) >= b(e))),
    }
}

macro_rules! leaf {
    ($rng:ident, $a:ident, $b:ident, $value:expr) => {{
        let constants = ($value, $value);
        leaf_of(
            $rng,
            (field!(Event.$a), |e: &Event| e.$a),
            (field!(Event.$b), |e: &Event| e.$b),
            constants,
        )
    }};
}

fn leaf(rng: &mut SplitMix) -> Case {
    match rng.below(8) {
        0 => leaf!(rng, wide, wide2, wide(rng)),
        1 => leaf!(rng, real2, real, real(rng)),
        2 => leaf!(rng, whole, whole2, count(rng).cast_signed()),
        3 => leaf!(rng, count, count2, count(rng)),
        4 => leaf!(rng, half, half2, half(rng)),
        5 => leaf!(rng, half2, half, half(rng)),
        6 => leaf!(rng, brain, brain2, brain(rng)),
        _ => leaf!(rng, brain2, brain, brain(rng)),
    }
}

fn tree(rng: &mut SplitMix, leaves: u64) -> Case {
    let (filter, means) = if leaves <= 1 {
        leaf(rng)
    } else {
        let left = 1 + rng.below(leaves - 1);
        let ((a, x), (b, y)) = (tree(rng, left), tree(rng, leaves - left));
        match rng.below(2) {
            0 => (a & b, Rc::new(move |e: &Event| x(e) && y(e)) as Rc<dyn Fn(&Event) -> bool>),
            _ => (a | b, Rc::new(move |e: &Event| x(e) || y(e)) as Rc<dyn Fn(&Event) -> bool>),
        }
    };
    if rng.below(3) == 0 { (!filter, Rc::new(move |e| !means(e))) } else { (filter, means) }
}

/// What the kernel leaves in the ids of one batch; `UNTOUCHED` where the header names no event.
fn ids(device: &Device, filter: &Filter<Event>, ranges: &[&[Event]], pieces: &[Piece]) -> Vec<u32> {
    let sizes: Vec<usize> = ranges.iter().map(|r| r.len()).collect();
    let events: usize = sizes.iter().sum();
    let head = head(device, &sizes, pieces);
    let code = filter.compile().expect("short enough");
    let mut memory = Memory::default();
    let ids = memory.buffer::<u32>("ids", Role::Scratch, events);
    let mut plan = Plan::new("filter", head.len());
    (plan.events_max, plan.stride) = (events.max(1), size_of::<Event>() / 4);
    let program = filter::record(&mut plan, &mut memory, &code, ids);
    let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 }).unwrap();
    queue.alloc(&memory.buffers).unwrap();
    queue.write(program.id, 0, code.words()).unwrap();
    queue.write(ids.id, 0, &vec![UNTOUCHED; events]).unwrap();
    let compiled = queue.compile(&plan, &memory).unwrap();
    let mut lanes = Ranges::new(ranges);
    run(&mut *queue, compiled, &head, lanes.leases());
    let mut found = vec![0; events];
    queue.read(ids.id, 0, &mut found).unwrap();
    found
}

const UNTOUCHED: u32 = 77;

fn random_filters(devices: impl IntoIterator<Item = Device>) {
    for device in devices {
        let rounds = if device.caps().in_place { 2000 } else { 60 };
        for seed in 0..rounds {
            let rng = &mut SplitMix::new(seed);
            let leaves = pick(rng, &[1, 1, 2, 3, 5, 8, 64]);
            let (filter, means) = tree(rng, leaves);
            let events: Vec<Event> = (0..700).map(|_| event(rng)).collect();
            let found = ids(&device, &filter, &[&events], &whole(&[700]));
            for (event, id) in events.iter().zip(found) {
                let passes = means(event);
                assert_eq!(filter.matches(event), passes, "{seed}: {filter:?} {event:?}");
                let expected = if passes { 0 } else { DROPPED };
                assert_eq!(id, expected, "{} {seed}: {filter:?} {event:?}", device.caps().name);
            }
        }
    }
}

#[test]
fn random_filters_drop_what_plain_rust_drops() {
    random_filters(devices("random_filters_drop_what_plain_rust_drops"));
}

#[test]
fn cuda_filters_drop_what_plain_rust_drops() {
    random_filters(cuda("cuda_filters_drop_what_plain_rust_drops"));
}

#[test]
fn cuda_latency_filters_drop_what_plain_rust_drops() {
    let device = cuda("cuda_latency_filters_drop_what_plain_rust_drops");
    random_filters(device.map(|device| cuda_host::latency::latency(&device)));
}

fn batches_of_all_sizes(devices: impl IntoIterator<Item = Device>) {
    for device in devices {
        let rng = &mut SplitMix::new(5);
        let events: Vec<Event> = (0..65_536).map(|_| event(rng)).collect();
        let filter = Filter::lt(field!(Event.count), 2) | Filter::ge(field!(Event.real), 0.0);
        for sizes in [&[1][..], &[255], &[256], &[257], &[65_536], &[7, 300, 1, 513], &[]] {
            let mut rest = &events[..];
            let mut ranges = Vec::new();
            for &size in sizes {
                let (range, after) = rest.split_at(size);
                ranges.push(range);
                rest = after;
            }
            let mut pieces = whole(sizes);
            // Of every piece the first quarter is late, say, and not named.
            for piece in &mut pieces {
                (piece.at, piece.events) = (piece.events / 4, piece.events - piece.events / 4);
            }
            let found = ids(&device, &filter, &ranges, &pieces);
            let mut first = 0;
            for (range, &size) in sizes.iter().enumerate() {
                for (i, event) in ranges[range].iter().enumerate() {
                    let named = pieces.iter().any(|p| p.range == range && p.at <= i);
                    let expected = match (named, filter.matches(event)) {
                        (false, _) => UNTOUCHED,
                        (true, true) => 0,
                        (true, false) => DROPPED,
                    };
                    assert_eq!(found[first + i], expected, "range {range} of {sizes:?}, event {i}");
                }
                first += size;
            }
        }
    }
}

#[test]
fn batches_of_all_sizes_and_only_the_events_named() {
    batches_of_all_sizes(devices("batches_of_all_sizes_and_only_the_events_named"));
}

#[test]
fn cuda_filters_batches_of_all_sizes() {
    batches_of_all_sizes(cuda("cuda_filters_batches_of_all_sizes"));
}
