//! One adapter for each queue: a producer's end that sends runs, a consumer's end that sums every word.
//!
//! Each uses its queue the way its own documentation advises for batches, and waits in the same manner.

use crate::{Event, RUN};
use disruptor::{BusySpin, EventPoller, MultiProducerBarrier, Producer, SingleProducerBarrier};
use pelton::base::clock::now_ns;
use pelton::ring;

/// Events a consumer takes before it gives memory back.
const GULP: usize = 4096;

/// The producer's end.
pub trait Source: Send {
    /// Sends the run whose first event is number `from`, waiting for room.
    fn send(&mut self, from: u64);
}

/// The consumer's end.
pub trait Sink: Send {
    /// Takes what is there, returning the number of events and adding every word to `sum`.
    fn drain(&mut self, sum: &mut u64) -> usize;
}

/// Event number `i`.
#[inline(always)]
pub fn event(i: u64) -> Event {
    [i, i ^ 0x55]
}

#[inline(always)]
fn add(sum: &mut u64, events: &[Event]) {
    *sum = events.iter().fold(*sum, |sum, e| sum.wrapping_add(e[0]).wrapping_add(e[1]));
}

/// Spins a little, then gives the core away: fair where threads share cores.
#[derive(Default)]
pub struct Idle(u32);

impl Idle {
    /// One step of waiting.
    #[inline(always)]
    pub fn step(&mut self) {
        self.0 += 1;
        if self.0 < 128 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

/// Fills runs in place and commits them, stamped with what `stamp` says.
#[inline(always)]
fn write_run(lane: &mut ring::Lane<Event>, mut from: u64, stamp: impl Fn() -> u64) {
    let end = from + RUN as u64;
    while from < end {
        let mut run = lane.write((end - from) as usize).expect("the consumer lives");
        let n = run.len();
        for (i, slot) in (from..).zip(run.iter_mut()) {
            *slot = event(i);
        }
        run.commit_at(n, from, from + n as u64 - 1, stamp());
        from += n as u64;
    }
}

/// Does what the rivals do, which do not stamp.
impl Source for ring::Lane<Event> {
    #[inline]
    fn send(&mut self, from: u64) {
        write_run(self, from, || from);
    }
}

/// Reads the clock for each run, as the engine does to measure latency.
pub struct Stamped<T>(pub T);

impl Source for Stamped<ring::Lane<Event>> {
    #[inline]
    fn send(&mut self, from: u64) {
        write_run(&mut self.0, from, now_ns);
    }
}

/// Does what the rivals do, which do not stamp.
impl Source for ring::Shared<Event> {
    #[inline]
    fn send(&mut self, from: u64) {
        let run: [Event; RUN] = std::array::from_fn(|i| event(from + i as u64));
        self.push_all_at(&run, from, from + RUN as u64 - 1, from).expect("the consumer lives");
    }
}

impl Source for Stamped<ring::Shared<Event>> {
    #[inline]
    fn send(&mut self, from: u64) {
        let run: [Event; RUN] = std::array::from_fn(|i| event(from + i as u64));
        self.0.push_all(&run, from, from + RUN as u64 - 1).expect("the consumer lives");
    }
}

impl Sink for ring::Tail {
    #[inline]
    fn drain(&mut self, sum: &mut u64) -> usize {
        let (from, mut to) = (self.taken(), self.taken());
        while to - from < GULP as u64
            && let Some(note) = self.next()
        {
            to = note.to;
        }
        if from == to {
            return 0;
        }
        let (first, second) = self.words(from, to);
        add(sum, bytemuck::cast_slice(first));
        add(sum, bytemuck::cast_slice(second));
        self.skip(from, to);
        self.reclaim();
        (to - from) as usize
    }
}

/// Several private lanes behind one consumer.
impl Sink for Vec<ring::Tail> {
    #[inline]
    fn drain(&mut self, sum: &mut u64) -> usize {
        self.iter_mut().map(|tail| tail.drain(sum)).sum()
    }
}

impl Source for rtrb::Producer<Event> {
    #[inline]
    fn send(&mut self, from: u64) {
        let mut idle = Idle::default();
        loop {
            if let Ok(chunk) = self.write_chunk_uninit(RUN) {
                chunk.fill_from_iter((from..).map(event));
                return;
            }
            idle.step();
        }
    }
}

impl Sink for rtrb::Consumer<Event> {
    #[inline]
    fn drain(&mut self, sum: &mut u64) -> usize {
        let n = self.slots().min(GULP);
        if n == 0 {
            return 0;
        }
        let chunk = self.read_chunk(n).expect("as many are there");
        let (first, second) = chunk.as_slices();
        add(sum, first);
        add(sum, second);
        chunk.commit_all();
        n
    }
}

/// A disruptor producer of either kind.
#[derive(Clone)]
pub struct Publisher<P>(pub P);

impl<P: Producer<Event> + Send> Source for Publisher<P> {
    #[inline]
    fn send(&mut self, from: u64) {
        let mut idle = Idle::default();
        while self
            .0
            .try_batch_publish(RUN, |slots| {
                for (i, slot) in (from..).zip(slots) {
                    *slot = event(i);
                }
            })
            .is_err()
        {
            idle.step();
        }
    }
}

macro_rules! poller {
    ($barrier:ty) => {
        impl Sink for EventPoller<Event, $barrier> {
            #[inline]
            fn drain(&mut self, sum: &mut u64) -> usize {
                let Ok(mut guard) = self.poll() else { return 0 };
                let n = (&mut guard).len();
                for e in &mut guard {
                    *sum = sum.wrapping_add(e[0]).wrapping_add(e[1]);
                }
                n
            }
        }
    };
}
poller!(SingleProducerBarrier);
poller!(MultiProducerBarrier);

/// A disruptor for one producer.
pub fn disruptor_one(events: usize) -> (impl Source, impl Sink) {
    let builder = disruptor::build_single_producer(events, Event::default, BusySpin);
    let (poller, builder) = builder.new_event_poller();
    (Publisher(builder.build()), poller)
}

/// A disruptor for many producers.
pub fn disruptor_many(events: usize) -> (impl Source + Clone, impl Sink) {
    let builder = disruptor::build_multi_producer(events, Event::default, BusySpin);
    let (poller, builder) = builder.new_event_poller();
    (Publisher(builder.build()), poller)
}
