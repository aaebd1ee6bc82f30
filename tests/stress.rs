//! Real threads, random sizes, panics and slow consumers over the lanes, for as long as asked.
//!
//! A program and not a set of `#[test]`s, because the test harness's own channels draw false reports from
//! ThreadSanitizer. `STRESS_SECONDS` (4) sets the time, `STRESS_SEED` the numbers. With a sanitizer:
//! `RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
//! cargo test --no-default-features --test stress --target x86_64-unknown-linux-gnu`.

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
    while rounds == 0 || std::time::Instant::now() < until {
        stress::round(seed);
        seed += 1;
        rounds += 1;
    }
    println!("stress: {rounds} rounds, nothing committed was lost");
}

#[cfg(not(loom))]
mod stress {
    use pelton::base::rng::SplitMix;
    use pelton::ring::{
        Bell, Lane, LaneOptions, Lease, Policy, Shared, Tail, Wait, lane_with_bell,
        shared_with_bell,
    };
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// The payload of panics that the test itself raises.
    pub(crate) struct Planned;

    const LANES: usize = 3;
    const EVENTS: u32 = 3000;
    /// Panics that each producer of a private lane raises in a round.
    const PANICS: u32 = 400;

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
                let Ok(mut run) = lane.write(1 + rng.below(20) as usize) else {
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
    fn consume(tail: &mut Tail, seen: &mut Seen, device: &mpsc::Sender<Lease>, rng: &mut SplitMix) {
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
                    device.send(tail.lease(at, to)).expect("the device lives");
                } else {
                    tail.skip(at, to);
                }
                at = to;
            }
        }
        tail.reclaim();
    }

    fn policy(rng: &mut SplitMix) -> (Policy, Wait) {
        let policies = [Policy::Block, Policy::Reject, Policy::DropNewest, Policy::DropOldest];
        let waits = [Wait::Park, Wait::Park, Wait::Yield];
        (policies[rng.below(4) as usize], waits[rng.below(3) as usize])
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
        let (device, work) = mpsc::channel::<Lease>();
        let done = bell.clone();
        let (dawdle, mut picks) = (SplitMix::new(rng.next_u64()), SplitMix::new(seed));
        let device_thread = thread::spawn(move || work_slowly(&work, &done, dawdle));
        while !tails.iter().all(|(tail, _)| tail.closed()) {
            for (tail, seen) in &mut tails {
                consume(tail, seen, &device, &mut picks);
            }
            let mut open = tails.iter_mut().filter(|(tail, _)| !tail.closed());
            if open.all(|(tail, _)| tail.arm()) {
                // Leases come back with a ring; a wake-up missed for a minute is a failure below.
                bell.wait(Duration::from_secs(60));
            }
            tails.iter_mut().for_each(|(tail, _)| tail.disarm());
        }
        drop(device);
        device_thread.join().expect("the device saw whole events");
        let told: Vec<Told> =
            threads.into_iter().map(|t| t.join().expect("a producer that lives")).collect();
        judge(&mut tails, &told);
    }

    /// Reads leases some time after it got them, and drops them in any order.
    fn work_slowly(work: &mpsc::Receiver<Lease>, done: &Bell, mut rng: SplitMix) {
        let mut held: Vec<Lease> = Vec::new();
        while let Ok(first) = work.recv() {
            held.push(first);
            if rng.below(20) == 0 {
                thread::sleep(Duration::from_micros(100));
            }
            held.extend(work.try_iter().take(4));
            while !held.is_empty() {
                let lease = held.swap_remove(rng.below(held.len() as u64) as usize);
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
