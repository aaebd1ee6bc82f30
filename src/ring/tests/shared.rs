//! Tests of the shared lane, and of sleeping beside both kinds.

use super::*;

#[test]
fn shared_producers_keep_their_order() {
    for events in [1, 4, 256] {
        let (first, mut tail) = shared::<u32>(&options(events, Policy::Block)).unwrap();
        let n = 5_000;
        let producers: Vec<_> = (0..4)
            .map(|p| {
                let mut own = first.clone();
                std::thread::spawn(move || {
                    let mut rng = SplitMix::new(u64::from(p));
                    let mut sent = 0;
                    while sent < n {
                        let k = (1 + rng.below(6) as u32).min(n - sent);
                        let run: Vec<u32> = (sent..sent + k).map(|i| p << 16 | i).collect();
                        own.push_all(&run, 0, 0).unwrap();
                        sent += k;
                    }
                })
            })
            .collect();
        drop(first);
        let mut next = [0; 4];
        while !tail.closed() {
            for event in drain(&mut tail) {
                let (p, i) = ((event >> 16) as usize, event & 0xFFFF);
                assert_eq!(i, next[p]);
                next[p] += 1;
            }
            std::thread::yield_now();
        }
        producers.into_iter().for_each(|p| p.join().unwrap());
        assert_eq!(next, [i64::from(n); 4]);
    }
}

#[test]
fn shared_policies_take_or_leave_whole_runs() {
    let (mut own, mut tail) = shared::<u32>(&options(8, Policy::Reject)).unwrap();
    assert_eq!(
        own.push_all(&(0..11).collect::<Vec<_>>(), 1, 2),
        Err(Full { event: 8, closed: false })
    );
    assert_eq!(drain(&mut tail), (0..8).collect::<Vec<_>>());
    assert_eq!((own.stats().rejected, own.free()), (1, 8));
    let (mut own, mut tail) = shared::<u32>(&options(8, Policy::DropNewest)).unwrap();
    own.push_all(&(0..11).collect::<Vec<_>>(), 1, 2).unwrap();
    assert_eq!(drain(&mut tail).len(), 8);
    assert_eq!(tail.next_gap(), Some(Gap { at: 8, lo: 1, hi: 2, events: 3 }));
    let other = own.clone();
    drop(own);
    assert!(!tail.closed());
    other.close();
    assert!(tail.closed());
}

#[test]
fn a_sleeping_consumer_is_woken_by_each_lane() {
    let bell = Bell::new();
    let n = 2_000;
    let (mut a, tail_a) = lane_with_bell::<u32>(&options(4, Policy::Block), &bell).unwrap();
    let (mut b, tail_b) = shared_with_bell::<u32>(&options(4, Policy::Block), &bell).unwrap();
    let producers = [
        std::thread::spawn(move || (0..n).for_each(|i| a.push(i).unwrap())),
        std::thread::spawn(move || (0..n).for_each(|i| b.push(i).unwrap())),
    ];
    let (mut tails, mut got) = ([tail_a, tail_b], 0);
    while !tails.iter().all(Tail::closed) {
        got += tails.iter_mut().map(|tail| drain(tail).len()).sum::<usize>();
        let mut open = tails.iter_mut().filter(|tail| !tail.closed()).peekable();
        // Both may have closed meanwhile: nobody rings for a lane that is not armed.
        if open.peek().is_some() && open.all(Tail::arm) {
            // Far longer than the test: a missed wake-up shows.
            bell.wait(Duration::from_secs(600));
        }
        tails.iter_mut().for_each(Tail::disarm);
    }
    producers.into_iter().for_each(|p| p.join().unwrap());
    assert_eq!(got, 2 * n as usize);
    bell.ring_always();
    bell.wait(Duration::from_secs(600));
}
