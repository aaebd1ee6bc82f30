//! Unit and randomised tests of the lanes: what the documentation promises, one property a test.

#![allow(clippy::cast_possible_truncation, reason = "small numbers of the tests' own")]

mod payload;
mod shared;

use super::state::LEASES;
use super::*;
use crate::Error;
use crate::base::rng::SplitMix;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

fn options(events: usize, policy: Policy) -> LaneOptions {
    LaneOptions { events, policy, wait: Wait::Park }
}

fn small<E: crate::Pod>(events: usize) -> (Lane<E>, Tail) {
    lane(&options(events, Policy::Reject)).unwrap()
}

/// Takes everything, returning the events of stride 1 and the marks' codes in order with them (negative).
fn drain(tail: &mut Tail) -> Vec<i64> {
    let mut got = Vec::new();
    while let Some(note) = tail.next() {
        if let Some(code) = note.mark {
            assert_eq!(note.from, note.to);
            got.push(-i64::from(code));
        }
        let (first, second) = tail.words(note.from, note.to);
        got.extend(first.iter().chain(second).map(|&word| i64::from(word)));
        tail.skip(note.from, note.to);
    }
    tail.reclaim();
    got
}

#[test]
fn events_are_leased_where_they_were_written() {
    let (mut lane, mut tail) = small::<[u32; 4]>(8);
    let mut run = lane.write(3).unwrap();
    let written = run.as_ptr().addr();
    run.fill([1, 2, 3, 4]);
    run.commit(3, 0, 0);
    let note = tail.next().unwrap();
    let lease = tail.lease(note.from, note.to);
    assert_eq!(lease.words().as_ptr().addr(), written, "no copy lies between producer and device");
    assert_eq!(lease.slab().as_ptr().addr() + 4 * lease.at(), written);
    assert_eq!((lease.len(), lease.words()[11]), (12, 4));
    assert!(written.is_multiple_of(slab::PAGE_BYTES));
}

#[test]
fn a_run_ends_at_the_wrap_and_where_room_ends() {
    let (mut lane, mut tail) = small::<u32>(8);
    lane.write(6).unwrap().commit(6, 0, 0);
    assert_eq!(drain(&mut tail).len(), 6);
    let run = lane.write(5).unwrap();
    assert_eq!((run.len(), run.at()), (2, 6), "up to the end of the ring");
    run.commit(2, 0, 0);
    assert_eq!(lane.write(100).unwrap().len(), 6, "what is free");
    assert_eq!((lane.free(), lane.capacity(), lane.written()), (6, 8, 8));
}

#[test]
fn nothing_is_visible_before_the_commit() {
    let (mut lane, mut tail) = small::<u32>(8);
    let mut run = lane.write(4).unwrap();
    run.fill(7);
    drop(run);
    lane.write(4).unwrap().commit(0, 0, 0);
    assert_eq!((tail.next(), lane.written()), (None, 0));
    let mut run = lane.write(4).unwrap();
    run[0] = 1;
    run[1] = 2;
    run.commit(2, 0, 0);
    assert_eq!(drain(&mut tail), [1, 2], "only what was committed");
}

#[test]
fn a_panic_while_writing_publishes_nothing_and_wedges_nothing() {
    let (mut lane, mut tail) = small::<u32>(4);
    for round in 0..100 {
        let torn = catch_unwind(AssertUnwindSafe(|| {
            let mut run = lane.write(2).unwrap();
            run[0] = 99;
            panic!("half way");
        }));
        assert!(torn.is_err());
        lane.push(round).unwrap();
        assert_eq!(drain(&mut tail), [i64::from(round)]);
    }
}

#[test]
fn notes_carry_what_the_commit_said() {
    let (mut lane, mut tail) = small::<u32>(8);
    lane.write(2).unwrap().commit_at(2, 10, 20, 30);
    lane.push_noted(5, 6, 7).unwrap();
    lane.mark(9, 1, 2);
    lane.push(8).unwrap();
    let first = Note { from: 0, to: 2, stamp_ns: 30, lo: 10, hi: 20, mark: None };
    assert_eq!((tail.peek(), tail.next()), (Some(first), Some(first)));
    let second = tail.next().unwrap();
    assert_eq!((second.from, second.to, second.lo, second.hi), (2, 3, 6, 7));
    let mark = tail.next().unwrap();
    assert_eq!((mark.from, mark.to, mark.lo, mark.hi, mark.mark), (3, 3, 1, 2, Some(9)));
    let last = tail.next().unwrap();
    assert_eq!((last.from, last.to, last.lo, last.hi, last.mark), (3, 4, 0, u64::MAX, None));
    assert!(second.stamp_ns <= mark.stamp_ns && mark.stamp_ns <= last.stamp_ns);
    assert_eq!(tail.next(), None);
}

#[test]
fn marks_alone_never_use_up_the_lane() {
    let (mut lane, mut tail) = small::<u32>(2);
    for code in 1..100 {
        lane.mark(code, 0, 0);
        assert_eq!(drain(&mut tail), [-i64::from(code)]);
    }
    lane.push(1).unwrap();
    assert_eq!(drain(&mut tail), [1]);
}

#[test]
fn leases_come_back_in_any_order_and_memory_in_one() {
    let (mut lane, mut tail) = small::<u32>(8);
    for i in 0..8 {
        lane.push(i).unwrap();
    }
    while tail.next().is_some() {}
    let a = tail.lease(0, 2);
    tail.skip(2, 3);
    let b = tail.lease(3, 6);
    tail.skip(6, 7);
    tail.skip(7, 8);
    assert_eq!(tail.leases_free(), LEASES - 2);
    drop(b);
    assert_eq!((tail.reclaim(), lane.free()), (0, 0), "the first lease lives");
    assert_eq!(a.words(), [0, 1]);
    std::thread::spawn(move || drop(a)).join().unwrap();
    assert_eq!((tail.reclaim(), lane.free(), tail.leases_free()), (8, 8, LEASES));
}

#[test]
fn misuse_of_leases_asserts() {
    let misuse = |act: fn(&mut Tail)| {
        let (mut lane, mut tail) = small::<u32>(4);
        lane.write(3).unwrap().commit(3, 0, 0);
        drain(&mut tail);
        lane.write(1).unwrap().commit(1, 0, 0);
        lane.write(2).unwrap().commit(2, 0, 0);
        tail.next();
        tail.next();
        assert_eq!(tail.contiguous(3, 6), 4);
        assert_eq!(tail.words(3, 6).1.len(), 2);
        catch_unwind(AssertUnwindSafe(|| act(&mut tail))).expect_err("asserts")
    };
    misuse(|tail| drop(tail.lease(3, 6)));
    misuse(|tail| drop(tail.lease(4, 5)));
    misuse(|tail| drop(tail.lease(3, 3)));
    misuse(|tail| tail.skip(3, 7));
    misuse(|tail| _ = tail.words(2, 4));
    misuse(|tail| _ = tail.words(5, 7));
    let (mut lane, mut tail) = small::<u32>(2 * LEASES);
    lane.write(2 * LEASES).unwrap().commit(2 * LEASES, 0, 0);
    tail.next();
    let held: Vec<Lease> = (0..LEASES as u64).map(|i| tail.lease(i, i + 1)).collect();
    assert_eq!(tail.leases_free(), 0);
    catch_unwind(AssertUnwindSafe(|| tail.lease(256, 257))).expect_err("bounded");
    drop(held);
    assert_eq!(tail.reclaim(), LEASES as u64);
}

#[test]
fn a_lease_outlives_both_ends() {
    let (mut lane, mut tail) = small::<u32>(4);
    lane.push(42).unwrap();
    tail.next();
    let lease = tail.lease(0, 1);
    drop((lane, tail));
    assert_eq!(lease.words(), [42]);
}

#[test]
fn impossible_lanes_are_named() {
    let bad = |result: crate::Result<()>| assert!(matches!(result, Err(Error::Invalid(_))));
    bad(lane::<u32>(&options(0, Policy::Block)).map(drop));
    bad(lane::<u32>(&options(usize::MAX, Policy::Block)).map(drop));
    bad(lane::<u16>(&options(4, Policy::Block)).map(drop));
    bad(lane::<()>(&options(4, Policy::Block)).map(drop));
    bad(shared::<[u64; 1024]>(&options(4, Policy::Block)).map(drop));
    assert_eq!(small::<[u32; 3]>(5).0.capacity(), 8);
}

#[test]
fn reject_hands_the_event_back_and_counts() {
    let (mut lane, mut tail) = small::<u32>(2);
    lane.push(1).unwrap();
    lane.push(2).unwrap();
    assert_eq!(lane.push(3), Err(Full { event: 3, closed: false }));
    assert!(lane.write(1).is_err() && !lane.ready());
    assert_eq!(drain(&mut tail), [1, 2]);
    lane.push(3).unwrap();
    let counted = LaneStats { written: 3, rejected: 2, ..LaneStats::default() };
    assert_eq!((lane.stats(), tail.stats()), (counted, counted));
    drop(tail);
    assert!(lane.closed());
    lane.push(4).unwrap();
    assert_eq!(lane.push(5), Err(Full { event: 5, closed: true }));
}

#[test]
fn drop_newest_counts_and_leaves_gaps() {
    let (mut lane, mut tail) = lane::<u32>(&options(2, Policy::DropNewest)).unwrap();
    for i in 0..6 {
        lane.push_noted(i, u64::from(i), u64::from(i) + 10).unwrap();
    }
    assert!(lane.write(3).is_err());
    lane.dropped(3, 1, 100);
    assert_eq!(drain(&mut tail), [0, 1]);
    lane.push(9).unwrap();
    assert_eq!(drain(&mut tail), [9]);
    assert_eq!(tail.next_gap(), Some(Gap { at: 2, lo: 1, hi: 100, events: 7 }));
    assert_eq!((tail.next_gap(), tail.stats().dropped_newest, tail.stats().written), (None, 7, 3));
}

#[test]
fn gaps_grow_together_but_none_is_lost() {
    let (mut lane, mut tail) = lane::<u32>(&options(1, Policy::DropNewest)).unwrap();
    for i in 0..1000 {
        lane.push(1).unwrap();
        lane.push_noted(2, 1000 - i, 2000 + i).unwrap();
        drain(&mut tail);
    }
    let gaps: Vec<Gap> = std::iter::from_fn(|| tail.next_gap()).collect();
    assert_eq!(gaps.iter().map(|gap| gap.events).sum::<u64>(), 1000);
    assert_eq!(gaps.iter().map(|gap| gap.lo).min(), Some(1));
    assert_eq!(gaps.iter().map(|gap| gap.hi).max(), Some(2999));
    assert!(gaps.len() <= 64 && gaps.is_sorted_by_key(|gap| gap.at));
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn drop_oldest_makes_room_by_whole_runs() {
    let (mut lane, mut tail) = lane::<u32>(&options(8, Policy::DropOldest)).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    for i in 0..4 {
        lane.write(2).unwrap().commit(2, i, i);
        if i == 1 {
            lane.mark(5, 0, 0);
        }
    }
    assert_eq!(tail.drop_oldest(), None, "nobody asked");
    assert_eq!(tail.next().map(|note| note.to), Some(2));
    let lease = tail.lease(0, 2);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Pending);
    let dropped: Vec<Note> = std::iter::from_fn(|| tail.drop_oldest()).collect();
    let ends: Vec<(u64, bool)> = dropped.iter().map(|n| (n.to, n.mark.is_some())).collect();
    assert_eq!(ends, [(4, false)], "half the lane is free once the lease is back");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "the mark's and the run's notes are free");
    assert_eq!(lane.poll_ready(&mut cx), Poll::Pending, "the leased memory is not");
    drop(lease);
    assert_eq!(tail.reclaim(), 4);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Ready(()));
    assert_eq!(tail.next_gap(), Some(Gap { at: 2, lo: 1, hi: 1, events: 2 }));
    assert_eq!(tail.next().and_then(|note| note.mark), Some(5), "marks are not dropped");
    assert_eq!((tail.stats().dropped_oldest, tail.stats().written), (2, 8));
}

#[test]
fn a_task_is_woken_when_there_is_room_or_never_will_be() {
    let (mut lane, mut tail) = small::<u32>(1);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Ready(()));
    lane.push(1).unwrap();
    assert_eq!(lane.poll_ready(&mut cx), Poll::Pending);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Pending);
    drain(&mut tail);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Ready(()));
    lane.push(2).unwrap();
    assert_eq!(lane.poll_ready(&mut cx), Poll::Pending);
    drop(tail);
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    assert_eq!(lane.poll_ready(&mut cx), Poll::Ready(()));
    assert_eq!(lane.push(3), Err(Full { event: 3, closed: true }));
}

#[test]
fn a_full_lane_closes_and_is_drained() {
    let (mut lane, mut tail) = small::<u32>(4);
    for i in 0..4 {
        lane.push(i).unwrap();
    }
    lane.close();
    assert!(!tail.closed(), "there is more to take");
    assert_eq!(drain(&mut tail), [0, 1, 2, 3]);
    assert!(tail.closed());
}

#[test]
fn a_waiting_producer_learns_that_the_consumer_is_gone() {
    for (policy, wait) in [
        (Policy::Block, Wait::Park),
        (Policy::Block, Wait::Yield),
        (Policy::DropOldest, Wait::Park),
        (Policy::Spin, Wait::Park),
    ] {
        let (mut lane, tail) = lane::<u32>(&LaneOptions { events: 1, policy, wait }).unwrap();
        let (mut many, tail_of_many) =
            shared::<u32>(&LaneOptions { events: 1, policy, wait }).unwrap();
        lane.push(1).unwrap();
        many.push(1).unwrap();
        let waits = std::thread::spawn(move || {
            assert_eq!(lane.push(2), Err(Full { event: 2, closed: true }));
            assert_eq!(many.push(2), Err(Full { event: 2, closed: true }));
            lane.mark(1, 0, 0);
        });
        std::thread::sleep(Duration::from_millis(5));
        drop((tail, tail_of_many));
        waits.join().unwrap();
    }
}

/// Random operations on one thread, against a queue of the events that must still come.
#[test]
fn random_operations_agree_with_a_queue() {
    for seed in 0..200 {
        let mut rng = SplitMix::new(seed);
        let capacity = 1 << rng.below(6);
        let (mut lane, mut tail) = small::<[u32; 3]>(capacity);
        let (mut sent, mut due, mut held) = (0u32, VecDeque::new(), Vec::new());
        let (mut covered, mut marks) = (0, VecDeque::new());
        for _ in 0..500 {
            match rng.below(7) {
                0 | 1 => {
                    if let Ok(mut run) = lane.write(1 + rng.below(9) as usize) {
                        let keep = rng.below(run.len() as u64 + 1) as usize;
                        for (i, event) in (sent..).zip(run.iter_mut()) {
                            *event = [i, !i, i ^ 5];
                        }
                        run.commit(keep, 0, 0);
                        sent += keep as u32;
                    }
                }
                2 if lane.ready() => {
                    lane.mark(sent, 0, 0);
                    marks.push_back(sent);
                }
                3 | 4 => {
                    let Some(note) = tail.next() else { continue };
                    match note.mark {
                        Some(code) => assert_eq!(marks.pop_front(), Some(code)),
                        None => due.extend(note.from..note.to),
                    }
                    assert!(note.mark.is_none_or(|code| u64::from(code) == note.from));
                }
                5 if covered < tail.taken() && tail.leases_free() > 0 => {
                    let to = covered + 1 + rng.below(tail.taken() - covered);
                    let to = tail.contiguous(covered, to);
                    if rng.below(4) == 0 {
                        tail.skip(covered, to);
                    } else {
                        held.push((covered, tail.lease(covered, to)));
                    }
                    covered = to;
                }
                _ if !held.is_empty() => {
                    let (from, lease) = held.swap_remove(rng.below(held.len() as u64) as usize);
                    for (i, event) in (from as u32..).zip(lease.words().chunks(3)) {
                        assert_eq!(event, [i, !i, i ^ 5], "seed {seed}");
                    }
                    drop(lease);
                    tail.reclaim();
                }
                _ => {}
            }
            assert!(lane.free() <= capacity as u64);
        }
        assert!(due.iter().copied().eq(0..tail.taken()), "in order, each once");
        while let Some(note) = tail.next() {
            due.extend(note.from..note.to);
        }
        assert_eq!(due.len() as u32, sent, "seed {seed}: nothing committed is lost");
    }
}

#[test]
fn two_threads_lose_nothing_whatever_the_capacity() {
    for (events, wait) in [(1, Wait::Park), (2, Wait::Yield), (4, Wait::Park), (64, Wait::Park)] {
        let (mut lane, mut tail) =
            lane::<u32>(&LaneOptions { events, policy: Policy::Block, wait }).unwrap();
        let n = 20_000;
        let producer = std::thread::spawn(move || {
            let (mut rng, mut sent) = (SplitMix::new(events as u64), 0);
            while sent < n {
                let mut run = lane.write(1 + rng.below(7) as usize).unwrap();
                let keep = run.len().min((n - sent) as usize);
                (sent..).zip(run.iter_mut()).for_each(|(i, event)| *event = i);
                run.commit(keep, 0, 0);
                sent += keep as u32;
            }
        });
        let mut got = Vec::new();
        while !tail.closed() {
            got.extend(drain(&mut tail));
            std::thread::yield_now();
        }
        producer.join().unwrap();
        assert!(got.into_iter().eq(0..i64::from(n)));
    }
}
