//! Real threads, random sizes, panics and slow consumers over the lanes, for as long as asked.
//!
//! A program and not a set of `#[test]`s, because ThreadSanitizer cannot look into the precompiled std, whose
//! contended locks and channels it takes for races; the program keeps clear of them. `STRESS_SECONDS` (4) sets the
//! time, `STRESS_SEED` the numbers. With a sanitizer:
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
//! cargo test --no-default-features --test stress --target x86_64-unknown-linux-gnu`.

#[cfg(not(loom))]
#[path = "stress/payload.rs"]
mod payload;

#[cfg(loom)]
fn main() {}

#[cfg(not(loom))]
fn main() {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<stress::Planned>().is_none() {
            eprintln!("{info}");
        }
    }));
    let number = |name: &str, otherwise| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let until =
        std::time::Instant::now() + std::time::Duration::from_secs(number("STRESS_SECONDS", 4));
    let (mut seed, mut rounds) = (number("STRESS_SEED", 1), 0);
    // The clock's start is set here, before there are threads: see above.
    pelton::base::clock::now_ns();
    while rounds == 0 || std::time::Instant::now() < until {
        stress::round(seed);
        payload::round(seed);
        seed += 1;
        rounds += 1;
    }
    println!("stress: {rounds} rounds, nothing committed was lost");
}

#[cfg(not(loom))]
mod stress {
    use crossbeam::queue::SegQueue;
    use pelton::base::rng::SplitMix;
    use pelton::ring::{
        Bell, Lane, LaneOptions, Lease, Policy, Shared, Tail, Wait, lane_with_bell,
        shared_with_bell,
    };
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    /// The payload of panics that the test itself raises.
    pub(crate) struct Planned;

    const LANES: usize = 3;
    const EVENTS: u32 = 3000;
    /// Panics that each producer of a private lane raises in a round.
    const PANICS: u32 = 400;

    /// A number below `n`.
    pub(crate) fn pick(rng: &mut SplitMix, n: usize) -> usize {
        usize::try_from(rng.below(n as u64)).expect("below a usize")
    }

    /// An event that shows when it is torn or belongs to someone else.
    fn event(producer: u32, i: u32) -> [u32; 4] {
        [producer, i, !i, i.wrapping_mul(0x9E37_79B9) ^ producer]
    }

    /// What a producer committed, and how many of its events it saw dropped.
    type Told = (u32, u64);

    /// Writes in place in random runs, and panics in the middle of many of them.
    fn write_in_place(mut lane: Lane<[u32; 4]>, producer: u32, mut rng: SplitMix) -> Told {
        let (mut sent, mut panics, mut refused) = (0, 0, 0);
        while sent < EVENTS {
            let panic = panics < PANICS && rng.below(3) == 0;
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let Ok(mut run) = lane.write(1 + pick(&mut rng, 20)) else {
                    return None;
                };
                let n = run.len().min((EVENTS - sent) as usize);
                for (i, slot) in (sent..).zip(run[..n].iter_mut()) {
                    *slot = event(producer, i);
                    if panic && rng.below(4) == 0 {
                        slot[0] = u32::MAX;
                        panic_any(Planned);
                    }
                }
                if panic {
                    panic_any(Planned);
                }
                let n32 = u32::try_from(n).expect("a short run");
                run.commit(n, u64::from(sent), u64::from(sent + n32 - 1));
                Some(n32)
            }));
            match attempt {
                Ok(Some(n)) => sent += n,
                Ok(None) => {
                    refused += 1;
                    thread::yield_now();
                }
                Err(_) => panics += 1,
            }
            if rng.below(50) == 0 {
                lane.mark(sent, 0, 0);
            }
        }
        (sent, refused)
    }

    /// Copies random runs into a shared lane.
    fn copy_in(mut lane: Shared<[u32; 4]>, producer: u32, mut rng: SplitMix) -> Told {
        let mut sent = 0;
        while sent < EVENTS {
            let n = (1 + u32::try_from(rng.below(9)).expect("below nine")).min(EVENTS - sent);
            let run: Vec<_> = (sent..sent + n).map(|i| event(producer, i)).collect();
            lane.push_all(&run, u64::from(sent), u64::from(sent + n - 1)).expect("it waits");
            sent += n;
        }
        (sent, 0)
    }

    /// What the consumer saw of each producer: the next event due, and how many arrived.
    struct Seen {
        next: Vec<u32>,
        arrived: Vec<u64>,
        /// Whether events may be missing in between.
        drops: bool,
    }

    impl Seen {
        fn check(&mut self, words: &[u32]) {
            for got in words.chunks_exact(4) {
                assert_eq!(got, event(got[0], got[1]), "a torn event");
                let p = got[0] as usize;
                let due = self.next[p];
                assert!(got[1] == due || self.drops && got[1] > due, "{p}: {} for {due}", got[1]);
                self.next[p] = got[1] + 1;
                self.arrived[p] += 1;
            }
        }
    }

    /// Takes runs, checks them, and sends leases to the device thread or skips the events.
    fn consume(tail: &mut Tail, seen: &mut Seen, device: &SegQueue<Lease>, rng: &mut SplitMix) {
        while tail.drop_oldest().is_some() {}
        for _ in 0..=rng.below(8) {
            let Some(note) = tail.next() else { break };
            let (first, second) = tail.words(note.from, note.to);
            seen.check(first);
            seen.check(second);
            let mut at = note.from;
            while at < note.to {
                let to = tail.contiguous(at, note.to);
                if tail.leases_free() > 0 && rng.below(2) == 0 {
                    device.push(tail.lease(at, to));
                } else {
                    tail.skip(at, to);
                }
                at = to;
            }
        }
        tail.reclaim();
    }

    pub(crate) fn policy(rng: &mut SplitMix) -> (Policy, Wait) {
        let policies = [Policy::Block, Policy::Reject, Policy::DropNewest, Policy::DropOldest];
        let waits = [Wait::Park, Wait::Park, Wait::Yield];
        (policies[pick(rng, 4)], waits[pick(rng, 3)])
    }

    /// Lanes of random policies and a shared one, one consumer that sleeps, one device that dawdles.
    pub(crate) fn round(seed: u64) {
        let mut rng = SplitMix::new(seed);
        let bell = Bell::new();
        let (mut tails, mut threads) = (Vec::new(), Vec::new());
        for p in 0..LANES {
            let (policy, wait) = policy(&mut rng);
            let options = LaneOptions { events: 1 << rng.below(9), policy, wait };
            let (lane, tail) = lane_with_bell(&options, &bell).expect("memory");
            let drops = policy == Policy::DropOldest;
            tails.push((tail, seen(drops)));
            let (p, rng) = (u32::try_from(p).expect("few"), SplitMix::new(rng.next_u64()));
            threads.push(thread::spawn(move || write_in_place(lane, p, rng)));
        }
        let wait = policy(&mut rng).1;
        let options = LaneOptions { events: 1 << rng.below(9), policy: Policy::Block, wait };
        let (first, tail) = shared_with_bell(&options, &bell).expect("memory");
        tails.push((tail, seen(false)));
        for p in 0..LANES {
            let (p, rng) = (u32::try_from(p).expect("few"), SplitMix::new(rng.next_u64()));
            let own = first.clone();
            threads.push(thread::spawn(move || copy_in(own, p, rng)));
        }
        drop(first);
        let (device, stop) = (Arc::new(SegQueue::new()), Arc::new(AtomicBool::new(false)));
        let (work, stopped) = (device.clone(), stop.clone());
        let done = bell.clone();
        let (dawdle, mut picks) = (SplitMix::new(rng.next_u64()), SplitMix::new(seed));
        let device_thread = thread::spawn(move || work_slowly(&work, &stopped, &done, dawdle));
        while !tails.iter().all(|(tail, _)| tail.closed()) {
            for (tail, seen) in &mut tails {
                consume(tail, seen, &device, &mut picks);
            }
            let mut open = tails.iter_mut().filter(|(tail, _)| !tail.closed()).peekable();
            if open.peek().is_some() && open.all(|(tail, _)| tail.arm()) {
                // Leases come back with a ring; a wake-up missed for a minute is a failure below.
                bell.wait(Duration::from_secs(60));
            }
            tails.iter_mut().for_each(|(tail, _)| tail.disarm());
        }
        stop.store(true, Ordering::Release);
        device_thread.join().expect("the device saw whole events");
        let told: Vec<Told> =
            threads.into_iter().map(|t| t.join().expect("a producer that lives")).collect();
        judge(&mut tails, &told);
    }

    /// Reads leases some time after it got them, and drops them in any order.
    fn work_slowly(work: &SegQueue<Lease>, stop: &AtomicBool, done: &Bell, mut rng: SplitMix) {
        let mut held: Vec<Lease> = Vec::new();
        loop {
            let Some(first) = work.pop() else {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                thread::yield_now();
                continue;
            };
            held.push(first);
            if rng.below(20) == 0 {
                thread::sleep(Duration::from_micros(100));
            }
            held.extend((0..4).map_while(|_| work.pop()));
            while !held.is_empty() {
                let lease = held.swap_remove(pick(&mut rng, held.len()));
                assert!(lease.words().chunks_exact(4).all(|e| *e == event(e[0], e[1])));
                drop(lease);
                done.ring_always();
            }
        }
    }

    fn seen(drops: bool) -> Seen {
        Seen { next: vec![0; LANES], arrived: vec![0; LANES], drops }
    }

    /// Everything committed arrived, or was dropped and counted and left a gap.
    fn judge(tails: &mut [(Tail, Seen)], told: &[Told]) {
        for (p, (tail, seen)) in tails.iter_mut().enumerate() {
            let stats = tail.stats();
            let gaps: u64 = std::iter::from_fn(|| tail.next_gap()).map(|gap| gap.events).sum();
            assert_eq!(gaps, stats.dropped_oldest + stats.dropped_newest, "every drop left a gap");
            let arrived: u64 = seen.arrived.iter().sum();
            assert_eq!(arrived + stats.dropped_oldest, stats.written, "lane {p} lost events");
            if p < LANES {
                assert_eq!(stats.written, u64::from(told[p].0));
                assert!(stats.rejected == 0 || stats.rejected == told[p].1);
            } else {
                assert_eq!(seen.arrived, vec![u64::from(EVENTS); LANES]);
            }
        }
    }
}
