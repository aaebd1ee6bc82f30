//! Every interleaving (to a bound) of the lanes' claim, commit, wrap, reuse, close and sleep.
//!
//! The models drive the library's own code, compiled against loom's atomics. Every word of lane memory is
//! tracked, so an event read while it is written fails even where its value would have been right, and a
//! missed wake-up is a deadlock, because waiting with a timeout waits for ever here. Run with
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release --no-default-features --test loom`.
#![cfg(loom)]

use loom::thread;
use pelton::ring::{
    Bell, Full, Lane, LaneOptions, Payload, Policy, Records, Shared, Tail, Wait, lane,
    lane_with_bell, payload_lane, shared, shared_with_bell,
};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 100_000;
    builder.check(model);
}

fn options(events: usize) -> LaneOptions {
    LaneOptions { events, policy: Policy::Block, wait: Wait::Park }
}

/// Takes and gives back all there is.
fn drain(tail: &mut Tail, got: &mut Vec<u32>) {
    while let Some(note) = tail.next() {
        let (first, second) = tail.words(note.from, note.to);
        assert_eq!(note.lo, u64::from(first[0]), "the note belongs to its events");
        got.extend(first.iter().chain(second));
        tail.skip(note.from, note.to);
    }
    tail.reclaim();
}

fn push(lane: &mut Lane<u32>, event: u32) {
    let mut run = lane.write(1).expect("the consumer lives");
    run[0] = event;
    run.commit_at(1, u64::from(event), 0, 0);
}

fn push_shared(lane: &mut Shared<u32>, event: u32) {
    lane.push_all_at(&[event], u64::from(event), 0, 0).expect("the consumer lives");
}

/// Commit, wrap, reuse, close; the producer sleeps when the lane is full.
fn commits_arrive(events: usize, n: u32) {
    explore(move || {
        let (mut lane, mut tail) = lane::<u32>(&options(events)).unwrap();
        let producer = thread::spawn(move || (1..=n).for_each(|i| push(&mut lane, i)));
        let mut got = Vec::new();
        while !tail.closed() {
            drain(&mut tail, &mut got);
            thread::yield_now();
        }
        producer.join().unwrap();
        assert!(got.into_iter().eq(1..=n), "in order, none lost");
    });
}

#[test]
fn one_place_is_reused() {
    commits_arrive(1, 3);
}

#[test]
fn two_places_wrap() {
    commits_arrive(2, 4);
}

#[test]
fn runs_and_marks_keep_their_order() {
    explore(|| {
        let (mut lane, mut tail) = lane::<u32>(&options(4)).unwrap();
        let producer = thread::spawn(move || {
            let mut run = lane.write(2).unwrap();
            run.copy_from_slice(&[1, 2]);
            run.commit_at(2, 1, 0, 0);
            lane.mark(7, 8, 9);
            push(&mut lane, 3);
        });
        let mut seen = Vec::new();
        while !tail.closed() {
            if let Some(note) = tail.next() {
                seen.push((note.from, note.to, note.lo, note.mark));
            }
            thread::yield_now();
        }
        producer.join().unwrap();
        assert_eq!(seen, [(0, 2, 1, None), (2, 2, 8, Some(7)), (2, 3, 3, None)]);
    });
}

/// A lease read and dropped on a third thread holds the memory until then.
#[test]
fn leases_hold_memory() {
    explore(|| {
        let (mut lane, mut tail) = lane::<u32>(&options(1)).unwrap();
        let producer = thread::spawn(move || (1..=2).for_each(|i| push(&mut lane, i)));
        let mut devices = Vec::new();
        for i in 1..=2 {
            let note = loop {
                match tail.next() {
                    Some(note) => break note,
                    None => thread::yield_now(),
                }
            };
            let lease = tail.lease(note.from, note.to);
            devices.push(thread::spawn(move || assert_eq!(lease.words(), [i])));
            while tail.reclaim() == 0 {
                thread::yield_now();
            }
        }
        producer.join().unwrap();
        devices.into_iter().for_each(|device| device.join().unwrap());
    });
}

/// The consumer sleeps on the bell whenever there is nothing to take.
fn sleep_until_closed(bell: &Bell, tail: &mut Tail) -> Vec<u32> {
    let mut got = Vec::new();
    while !tail.closed() {
        drain(tail, &mut got);
        if tail.arm() {
            bell.wait(Duration::from_secs(1));
        }
        tail.disarm();
    }
    got
}

#[test]
fn a_sleeping_consumer_misses_nothing() {
    explore(|| {
        let bell = Bell::new();
        let (mut lane, mut tail) = lane_with_bell::<u32>(&options(2), &bell).unwrap();
        let producer = thread::spawn(move || (1..=2).for_each(|i| push(&mut lane, i)));
        assert_eq!(sleep_until_closed(&bell, &mut tail), [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn both_ends_sleep() {
    explore(|| {
        let bell = Bell::new();
        let (mut lane, mut tail) = lane_with_bell::<u32>(&options(1), &bell).unwrap();
        let producer = thread::spawn(move || (1..=3).for_each(|i| push(&mut lane, i)));
        assert_eq!(sleep_until_closed(&bell, &mut tail), [1, 2, 3]);
        producer.join().unwrap();
    });
}

#[test]
fn a_full_lane_does_not_outlive_its_consumer() {
    explore(|| {
        let (mut lane, tail) = lane::<u32>(&options(1)).unwrap();
        push(&mut lane, 1);
        let producer = thread::spawn(move || {
            let full = lane.write(1).map(drop).expect_err("nobody makes room");
            assert_eq!(full, Full { event: (), closed: true });
        });
        drop(tail);
        producer.join().unwrap();
    });
}

struct Signal(loom::sync::Mutex<bool>, loom::sync::Condvar);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

#[test]
fn a_waiting_task_is_woken() {
    explore(|| {
        let (mut lane, mut tail) = lane::<u32>(&options(1)).unwrap();
        push(&mut lane, 1);
        let producer = thread::spawn(move || {
            let signal =
                Arc::new(Signal(loom::sync::Mutex::new(false), loom::sync::Condvar::new()));
            let waker = Waker::from(signal.clone());
            while lane.poll_ready(&mut Context::from_waker(&waker)) == Poll::Pending {
                let mut woken = signal.0.lock().unwrap();
                while !*woken {
                    woken = signal.1.wait(woken).unwrap();
                }
                *woken = false;
            }
            push(&mut lane, 2);
        });
        let mut got = Vec::new();
        drain(&mut tail, &mut got);
        producer.join().unwrap();
        drain(&mut tail, &mut got);
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn drop_oldest_makes_room() {
    explore(|| {
        let options = LaneOptions { policy: Policy::DropOldest, ..options(1) };
        let (mut lane, mut tail) = lane::<u32>(&options).unwrap();
        push(&mut lane, 1);
        let producer = thread::spawn(move || push(&mut lane, 2));
        while tail.drop_oldest().is_none() {
            thread::yield_now();
        }
        assert_eq!(tail.next_gap().map(|gap| (gap.at, gap.events)), Some((0, 1)));
        producer.join().unwrap();
        let mut got = Vec::new();
        drain(&mut tail, &mut got);
        assert_eq!(got, [2]);
    });
}

/// Claims of several producers, with reuse when `events` is less than they send.
fn claims_arrive(events: usize, producers: u32, each: u32) {
    explore(move || {
        let (first, mut tail) = shared::<u32>(&options(events)).unwrap();
        let threads: Vec<_> = (0..producers)
            .map(|p| {
                let mut own = first.clone();
                thread::spawn(move || (0..each).for_each(|i| push_shared(&mut own, 10 * p + i)))
            })
            .collect();
        drop(first);
        let mut got = Vec::new();
        while !tail.closed() {
            drain(&mut tail, &mut got);
            thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for p in 0..producers {
            let own = got.iter().copied().filter(|event| event / 10 == p);
            assert!(own.eq(10 * p..10 * p + each), "in order, none lost");
        }
    });
}

#[test]
fn two_producers_share() {
    claims_arrive(2, 2, 1);
}

#[test]
fn two_producers_share_one_place() {
    claims_arrive(1, 2, 1);
}

#[test]
fn one_shared_producer_wraps() {
    claims_arrive(2, 1, 3);
}

#[test]
fn a_sleeping_consumer_of_a_shared_lane_misses_nothing() {
    explore(|| {
        let bell = Bell::new();
        let (mut first, mut tail) = shared_with_bell::<u32>(&options(2), &bell).unwrap();
        let mut second = first.clone();
        let threads = [
            thread::spawn(move || push_shared(&mut first, 1)),
            thread::spawn(move || push_shared(&mut second, 2)),
        ];
        let mut got = sleep_until_closed(&bell, &mut tail);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Records of three and four words in sixteen: they wrap with words passed over, wait for room, and close.
fn payloads_arrive(policy: Policy) {
    explore(move || {
        let bell = Bell::new();
        let options = LaneOptions { events: 1, policy, wait: Wait::Park };
        let (mut lane, mut tail) = payload_lane(&options, 4, &bell).unwrap();
        let producer = thread::spawn(move || {
            for id in 0..6 {
                lane.push(id, &[7; 4][..4 * (id as usize % 2)]).expect("the consumer lives");
            }
        });
        let (mut next, mut dropped) = (0, 0);
        while !tail.closed() {
            while let Some(note) = tail.drop_oldest() {
                (next, dropped) = (next + note.lo, dropped + note.lo);
            }
            while let Some(note) = tail.next() {
                let (words, _) = tail.words(note.from, note.to);
                for record in Records::new(words).take(note.lo as usize) {
                    let payload = Payload::Bytes(&[7; 4][..4 * (next as usize % 2)]);
                    assert_eq!((record.id, record.payload), (next, payload), "whole, in order");
                    next += 1;
                }
                tail.skip(note.from, note.to);
            }
            tail.reclaim();
            if tail.arm() {
                bell.wait(Duration::from_secs(1));
            }
            tail.disarm();
        }
        producer.join().unwrap();
        assert_eq!((next, tail.stats().dropped_oldest), (6, dropped), "none lost uncounted");
    });
}

#[test]
fn payloads_wrap_and_wait() {
    payloads_arrive(Policy::Block);
}

#[test]
fn payloads_are_dropped_for_room() {
    payloads_arrive(Policy::DropOldest);
}
