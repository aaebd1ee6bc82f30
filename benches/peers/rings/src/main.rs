//! The lanes beside their rivals: one JSON line for each claim, measured in turns in one process.
//!
//! `rings` runs all, `rings ID` one of S3-lane, S3-shared, S3-visible. Every round checks that no word was
//! lost. Rivals take turns within a round, so that whatever else the machine does hits all of them alike;
//! medians over the rounds are compared. Progress goes to stderr.

mod queues;

use pelton::ring::{self, LaneOptions, Wait};
use queues::{Idle, Sink, Source, Stamped, event};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// 16 bytes.
pub type Event = [u64; 2];
/// Events published at once.
pub const RUN: usize = 64;
const CAPACITY: usize = 1 << 14;
const ROUNDS: usize = 11;
const EVENTS: u64 = 1 << 24;
const PRODUCERS: u64 = 4;

fn pin(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() >= 2 {
        core_affinity::set_for_current(cores[core % cores.len()]);
    }
}

/// Million events a second from `sources` to `sink`; pinned when there is one source.
fn race<S: Source>(sources: Vec<S>, sink: &mut impl Sink) -> f64 {
    let many = sources.len() as u64;
    let each = EVENTS / many;
    let start = Barrier::new(sources.len() + 1);
    let (mut got, mut sum) = (0, 0u64);
    let ns = std::thread::scope(|scope| {
        for mut source in sources {
            let start = &start;
            scope.spawn(move || {
                if many == 1 {
                    pin(0);
                }
                start.wait();
                for from in (0..each).step_by(RUN) {
                    source.send(from);
                }
            });
        }
        scope
            .spawn(|| {
                if many == 1 {
                    pin(1);
                }
                start.wait();
                let begin = Instant::now();
                let mut idle = Idle::default();
                while got < EVENTS {
                    match sink.drain(&mut sum) {
                        0 => idle.step(),
                        n => {
                            got += n as u64;
                            idle = Idle::default();
                        }
                    }
                }
                begin.elapsed().as_nanos()
            })
            .join()
            .expect("the consumer counts to the end")
    });
    let words = |i| event(i).iter().fold(0u64, |a, w| a.wrapping_add(*w));
    let want = (0..each).fold(0u64, |a, i| a.wrapping_add(words(i))).wrapping_mul(many);
    assert_eq!(black_box(sum), want, "every word arrives once");
    EVENTS as f64 * 1000.0 / ns as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} x{cores}", model.trim_start_matches([' ', '\t', ':']))
}

struct Row<'a> {
    id: &'a str,
    unit: &'a str,
    value: f64,
    peer: &'a str,
    version: &'a str,
    peer_value: f64,
    bound: f64,
    /// Whether `value` should be at least `bound` times the peer's, or at most.
    at_least: bool,
    others: String,
}

impl Row<'_> {
    fn print(&self) {
        let ratio = self.value / self.peer_value;
        let ok = if self.at_least { ratio >= self.bound } else { ratio <= self.bound };
        let why = match (ok, self.at_least) {
            (true, _) => self.others.clone(),
            (false, true) => format!("below {}x; {}", self.bound, self.others),
            (false, false) => format!("above {}x; {}", self.bound, self.others),
        };
        println!(
            "{{\"id\":\"{}\",\"value\":{:.1},\"unit\":\"{}\",\"peer\":\"{}\",\"version\":\"{}\",\"peer_value\":{:.1},\
             \"ratio\":{ratio:.3},\"bound\":{},\"ok\":{ok},\"why\":\"{why}\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
            self.id,
            self.value,
            self.unit,
            self.peer,
            self.version,
            self.peer_value,
            self.bound,
            machine()
        );
    }
}

fn options(events: usize) -> LaneOptions {
    LaneOptions { events, wait: Wait::Yield, ..LaneOptions::default() }
}

fn s3_lane() {
    let [mut own, mut rung, mut stamped, mut chunks, mut single] = [const { Vec::new() }; 5];
    for round in 0..ROUNDS {
        let (lane, mut tail) = ring::lane(&options(CAPACITY)).expect("memory");
        own.push(race(vec![lane], &mut tail));
        let (producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
        chunks.push(race(vec![producer], &mut consumer));
        let bell = ring::Bell::new();
        let (lane, mut tail) = ring::lane_with_bell(&options(CAPACITY), &bell).expect("memory");
        rung.push(race(vec![lane], &mut tail));
        let (lane, mut tail) = ring::lane(&options(CAPACITY)).expect("memory");
        stamped.push(race(vec![Stamped(lane)], &mut tail));
        let (producer, mut consumer) = queues::disruptor_one(CAPACITY);
        single.push(race(vec![producer], &mut consumer));
        eprintln!(
            "S3-lane {round}: lane {:.0} rtrb {:.0} lane+bell {:.0} disruptor {:.0}",
            own[round], chunks[round], rung[round], single[round]
        );
    }
    Row {
        id: "S3-lane",
        unit: "Mevents/s",
        value: median(own),
        peer: "rtrb chunks of 64",
        version: "0.4.1",
        peer_value: median(chunks),
        bound: 0.95,
        at_least: true,
        others: format!(
            "runs unstamped, as the peer's; with a bell {:.1}, stamped by the clock {:.1}, \
             disruptor 4.4.0 single-producer batches {:.1}",
            median(rung),
            median(stamped),
            median(single)
        ),
    }
    .print();
}

fn s3_shared() {
    let [mut own, mut private, mut stamped, mut many] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let (shared, mut tail) = ring::shared(&options(CAPACITY)).expect("memory");
        let handles = (1..PRODUCERS).map(|_| shared.clone()).collect::<Vec<_>>();
        own.push(race(handles.into_iter().chain([shared]).collect(), &mut tail));
        let (shared, mut tail) = ring::shared(&options(CAPACITY)).expect("memory");
        let handles = (0..PRODUCERS).map(|_| Stamped(shared.clone())).collect::<Vec<_>>();
        drop(shared);
        stamped.push(race(handles, &mut tail));
        let (producer, mut poller) = queues::disruptor_many(CAPACITY);
        let handles = (0..PRODUCERS).map(|_| producer.clone()).collect::<Vec<_>>();
        drop(producer);
        many.push(race(handles, &mut poller));
        let (lanes, mut tails): (Vec<_>, Vec<_>) = (0..PRODUCERS)
            .map(|_| ring::lane(&options(CAPACITY / PRODUCERS as usize)).expect("memory"))
            .unzip();
        private.push(race(lanes, &mut tails));
        eprintln!(
            "S3-shared {round}: shared {:.0} disruptor {:.0} private lanes {:.0}",
            own[round], many[round], private[round]
        );
    }
    Row {
        id: "S3-shared",
        unit: "Mevents/s",
        value: median(own),
        peer: "disruptor multi-producer batches of 64",
        version: "4.4.0",
        peer_value: median(many),
        bound: 1.0,
        at_least: true,
        others: format!(
            "runs unstamped, as the peer's; stamped by the clock {:.1}, 4 private lanes {:.1}",
            median(stamped),
            median(private)
        ),
    }
    .print();
}

/// Events of the lanes that messages go to and fro in: their notes stay in a core's cache, as the ping-pong's lines do.
const SMALL: usize = 1 << 12;
const TRIPS: u64 = 100;
const BLOCKS: usize = 400;

/// Median one-way time in ns over blocks of round trips; `there` and `back` each run on their own core.
fn one_way(mut there: impl FnMut(u64) + Send, mut back: impl FnMut(u64) + Send) -> f64 {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin(0);
            start.wait();
            (1..=TRIPS * BLOCKS as u64).for_each(&mut back);
        });
        scope
            .spawn(|| {
                pin(1);
                start.wait();
                let block = |b: usize| {
                    let begin = Instant::now();
                    let first = b as u64 * TRIPS;
                    (first + 1..=first + TRIPS).for_each(&mut there);
                    begin.elapsed().as_nanos() as f64 / (2 * TRIPS) as f64
                };
                median((0..BLOCKS).map(block).collect())
            })
            .join()
            .expect("the round trips end")
    })
}

#[repr(align(128))]
struct Line(AtomicU64);

fn ping_pong() -> f64 {
    let (a, b) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let meet = |line: &Line, i| {
        while line.0.load(Ordering::Acquire) != i {
            std::hint::spin_loop();
        }
    };
    one_way(
        |i| {
            a.0.store(i, Ordering::Release);
            meet(&b, i);
        },
        |i| {
            meet(&a, i);
            b.0.store(i, Ordering::Release);
        },
    )
}

fn lane_ping_pong() -> f64 {
    let (mut out, mut seen) = ring::lane::<Event>(&options(SMALL)).expect("memory");
    let (mut answer, mut heard) = ring::lane::<Event>(&options(SMALL)).expect("memory");
    let send = |lane: &mut ring::Lane<Event>, i: u64| {
        let mut run = lane.write(1).expect("the consumer lives");
        run[0] = event(i);
        run.commit_at(1, i, i, i);
    };
    let meet = |tail: &mut ring::Tail, i: u64| {
        let note = loop {
            if let Some(note) = tail.next() {
                break note;
            }
            std::hint::spin_loop();
        };
        assert_eq!(note.lo, i, "runs arrive in order");
        tail.skip(note.from, note.to);
        if note.to % 1024 == 0 {
            tail.reclaim();
        }
    };
    one_way(
        |i| {
            send(&mut out, i);
            meet(&mut heard, i);
        },
        |i| {
            meet(&mut seen, i);
            send(&mut answer, i);
        },
    )
}

fn s3_visible() {
    let [mut own, mut line] = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        own.push(lane_ping_pong());
        line.push(ping_pong());
        eprintln!(
            "S3-visible {round}: note {:.0} ns, cache line {:.0} ns",
            own[round], line[round]
        );
    }
    Row {
        id: "S3-visible",
        unit: "ns",
        value: median(own),
        peer: "cache-line ping-pong, one way",
        version: "-",
        peer_value: median(line),
        bound: 1.5,
        at_least: false,
        others: "p50 over blocks of round trips, halved; the consumer sees the run's note"
            .to_string(),
    }
    .print();
}

fn main() {
    let only = std::env::args().nth(1);
    let all: [(&str, fn()); 3] =
        [("S3-lane", s3_lane), ("S3-shared", s3_shared), ("S3-visible", s3_visible)];
    let known = only.as_deref().is_none_or(|id| all.iter().any(|(name, _)| *name == id));
    assert!(known, "rings [S3-lane | S3-shared | S3-visible]");
    for (id, run) in all {
        if only.as_deref().is_none_or(|only| only == id) {
            run();
        }
    }
}
