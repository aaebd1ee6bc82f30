//! Payload lanes: whatever lengths come, what was committed arrives whole, in order, or is counted.

use super::*;

const EMPTY: Vec<Kept> = Vec::new();

/// A record that outlives the lane's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Bytes(u64, Vec<u8>),
    Words(u64, Vec<u32>),
    TooLong(u64, usize),
}

fn kept(record: Record<'_>) -> Kept {
    match record.payload {
        Payload::Bytes(bytes) => Kept::Bytes(record.id, bytes.to_vec()),
        Payload::Words(words) => Kept::Words(record.id, words.to_vec()),
        Payload::TooLong(bytes) => Kept::TooLong(record.id, bytes),
    }
}

fn lane_of(events: usize, bytes_max: usize, policy: Policy) -> (PayloadLane, Tail) {
    payload_lane(&options(events, policy), bytes_max, &Bell::new()).unwrap()
}

/// Takes the next run that has records.
fn take(tail: &mut Tail) -> Vec<Kept> {
    while let Some(note) = tail.next() {
        let (words, behind) = tail.words(note.from, note.to);
        let mut records = Records::new(if note.lo == 0 { &[] } else { words });
        let got: Vec<Kept> = records.by_ref().map(kept).collect();
        assert_eq!((got.len() as u64, records.left(), behind), (note.lo, 0, &[][..]));
        tail.skip(note.from, note.to);
        tail.reclaim();
        if note.lo > 0 {
            return got;
        }
    }
    EMPTY
}

#[test]
fn records_of_every_length_arrive_in_order_over_many_laps() {
    for (seed, events) in (1..).zip([1, 2, 5, 16]) {
        let (mut lane, mut tail) = lane_of(events, 40, Policy::Reject);
        let (mut rng, mut sent) = (SplitMix::new(seed), VecDeque::new());
        for id in 0..3000u64 {
            let len = rng.below(48) as usize;
            let bytes: Vec<u8> = (0..len).map(|i| (id as usize + i) as u8).collect();
            let words = &[id as u32; 12][..len / 4];
            let (pushed, event) = match id % 3 {
                0 => (lane.push_words(id, words), Kept::Words(id, words.to_vec())),
                _ => (lane.push(id, &bytes), Kept::Bytes(id, bytes)),
            };
            let event = match event {
                Kept::Bytes(id, bytes) if len > 40 => Kept::TooLong(id, bytes.len()),
                Kept::Words(id, words) if words.len() > 10 => Kept::TooLong(id, words.len() * 4),
                event => event,
            };
            match pushed {
                Ok(()) => sent.push_back(event),
                Err(full) => {
                    assert!(!full.closed && !sent.is_empty(), "an empty lane takes every record");
                    assert_eq!(take(&mut tail), [sent.pop_front().unwrap()]);
                }
            }
        }
        while let Some(event) = sent.pop_front() {
            assert_eq!(take(&mut tail), [event]);
        }
        assert_eq!((take(&mut tail), tail.closed()), (EMPTY, false));
        let stats = lane.stats();
        assert_eq!(stats.written + stats.rejected, 3000);
        drop(lane);
        assert!(tail.closed());
    }
}

#[test]
fn a_run_holds_many_records_and_says_when_it_is_full() {
    let (mut lane, mut tail) = lane_of(64, 400, Policy::Reject);
    let mut run = lane.write(3, 9).unwrap();
    assert!(run.is_empty());
    run.bytes(1, 4).unwrap().copy_from_slice(b"jet.");
    run.words(u64::MAX, 0).unwrap();
    run.bytes(3, 5).unwrap().copy_from_slice(b"wheel");
    assert_eq!((run.bytes(4, 9).is_none(), run.len()), (true, 3));
    run.commit();
    let got = [
        Kept::Bytes(1, b"jet.".to_vec()),
        Kept::Words(u64::MAX, vec![]),
        Kept::Bytes(3, b"wheel".to_vec()),
    ];
    assert_eq!(take(&mut tail), got);
    let mut all = lane.write(1000, 100_000).unwrap();
    let fits = (0..).take_while(|&id| all.bytes(id, 13).is_some()).count();
    assert_eq!(fits, lane_words(64) / 4 / 7, "a quarter of the lane");
    all.commit();
    assert_eq!(take(&mut tail).len(), fits);
}

fn lane_words(events: usize) -> usize {
    events * 16
}

#[test]
fn what_is_not_committed_is_not_there() {
    let (mut lane, mut tail) = lane_of(8, 16, Policy::Reject);
    for id in 0..50 {
        let torn = catch_unwind(AssertUnwindSafe(|| {
            let mut run = lane.write(1, 16).unwrap();
            run.bytes(99, 16).unwrap().fill(9);
            panic!("half way");
        }));
        assert!(torn.is_err());
        lane.write(1, 16).unwrap().commit();
        assert_eq!(take(&mut tail), EMPTY);
        lane.push(id, b"whole").unwrap();
        assert_eq!(take(&mut tail), [Kept::Bytes(id, b"whole".to_vec())]);
    }
}

#[test]
fn every_policy_counts_events_and_not_words() {
    let (mut lane, mut tail) = lane_of(4, 40, Policy::DropNewest);
    (0..100).for_each(|id| lane.push(id, &[7; 40]).unwrap());
    let stats = lane.stats();
    assert_eq!(stats.written + stats.dropped_newest, 100);
    let arrived =
        std::iter::from_fn(|| Some(take(&mut tail)).filter(|got| !got.is_empty())).count();
    assert_eq!(arrived as u64, stats.written);
    let (mut lane, mut tail) = lane_of(4, 40, Policy::DropOldest);
    let producer = std::thread::spawn(move || {
        (0..500).for_each(|id| lane.push(id, &[7; 40][..id as usize % 40]).unwrap());
    });
    let (mut seen, mut dropped) = (0, 0);
    while !tail.closed() {
        while let Some(note) = tail.drop_oldest() {
            dropped += note.lo;
        }
        seen += take(&mut tail).len() as u64;
        std::thread::yield_now();
    }
    producer.join().unwrap();
    assert_eq!((seen + dropped, tail.stats().dropped_oldest), (500, dropped));
    let gaps: u64 = std::iter::from_fn(|| tail.next_gap()).map(|gap| gap.events).sum();
    assert_eq!(gaps, dropped);
}

#[test]
fn waiting_for_a_long_record_ends_when_there_is_room_for_it() {
    let (mut lane, mut tail) = lane_of(4, 40, Policy::Block);
    let producer = std::thread::spawn(move || {
        (0..300).for_each(|id| lane.push(id, &[3; 40]).unwrap());
        lane.stats().waits
    });
    let mut next = 0;
    while !tail.closed() {
        for got in take(&mut tail) {
            assert_eq!(got, Kept::Bytes(next, vec![3; 40]));
            next += 1;
        }
        std::thread::yield_now();
    }
    assert!(producer.join().unwrap() > 0, "it had to wait");
    assert_eq!(next, 300);
}

#[test]
fn a_task_is_woken_for_room_and_a_lane_that_lost_its_consumer_says_so() {
    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (mut lane, mut tail) = lane_of(4, 40, Policy::Reject);
    while lane.push(1, &[1; 40]).is_ok() {}
    let count = Arc::new(Count(AtomicU64::new(0)));
    let waker = Waker::from(count.clone());
    let mut cx = Context::from_waker(&waker);
    assert_eq!(lane.poll_ready((1, 40), &mut cx), Poll::Pending);
    while !take(&mut tail).is_empty() {}
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(lane.poll_ready((1, 40), &mut cx), Poll::Ready(()));
    drop(tail);
    assert!(lane.closed());
    let full = (0..100).find_map(|_| lane.push(1, &[1; 40]).err());
    assert!(full.is_some_and(|full| full.closed));
    assert_eq!(lane.poll_ready((1, 40), &mut cx), Poll::Ready(()), "it would fail at once");
}

#[test]
fn sizes_out_of_range_are_errors() {
    for (events, bytes) in [(0, 4), (1, usize::MAX), (1, 1 << 31), (usize::MAX, 4)] {
        let made = payload_lane(&options(events, Policy::Block), bytes, &Bell::new());
        assert!(matches!(made, Err(Error::Invalid(_))), "{events} {bytes}");
    }
    let (lane, _tail) = lane_of(1, 1 << 20, Policy::Block);
    assert_eq!((lane.bytes_max(), lane.memory()), (1 << 20, 8 << 20));
}
