//! Payload lanes: records of random kinds and lengths, runs that are thrown away half written, a consumer that takes
//! them one by one, drops what it is asked to, and sleeps.

use super::stress::{Planned, pick, policy};
use pelton::base::rng::SplitMix;
use pelton::ring::{
    Bell, LaneOptions, Note, Payload, PayloadLane, PayloadRun, Policy, Record, Records, Tail,
    payload_lane,
};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;
use std::time::Duration;

const LANES: usize = 3;
const RECORDS: u64 = 3000;
const BYTES_MAX: usize = 90;
/// Panics that a producer raises in a round.
const PANICS: u32 = 200;

/// What a record holds follows from its id: its kind, its length and each byte.
fn length(id: u64) -> usize {
    pick(&mut SplitMix::new(id), BYTES_MAX + 1)
}

fn byte(id: u64, i: usize) -> u8 {
    (id.wrapping_mul(31) ^ i as u64).to_le_bytes()[0]
}

/// Writes record `id` into a run; false when it does not fit there any more.
fn write(run: &mut PayloadRun<'_>, id: u64) -> bool {
    match id % 3 {
        0 => {
            let Some(memory) = run.bytes(id, length(id)) else { return false };
            memory.iter_mut().enumerate().for_each(|(i, to)| *to = byte(id, i));
        }
        1 => {
            let Some(memory) = run.words(id, length(id) / 4) else { return false };
            memory.iter_mut().enumerate().for_each(|(i, to)| *to = u32::from(byte(id, i)));
        }
        _ => {
            let before = run.len();
            run.too_long(id, BYTES_MAX + length(id));
            return run.len() > before;
        }
    }
    true
}

fn check(record: &Record<'_>) {
    let id = record.id;
    let right = match record.payload {
        Payload::Bytes(bytes) => {
            id.is_multiple_of(3) && bytes.iter().copied().eq((0..length(id)).map(|i| byte(id, i)))
        }
        Payload::Words(words) => {
            let want = (0..length(id) / 4).map(|i| u32::from(byte(id, i)));
            id % 3 == 1 && words.iter().copied().eq(want)
        }
        Payload::TooLong(bytes) => id % 3 == 2 && bytes == BYTES_MAX + length(id),
    };
    assert!(right, "a torn record: {record:?}");
}

/// Sends all records in random runs, and panics in the middle of some of them.
fn produce(mut lane: PayloadLane, drops: bool, mut rng: SplitMix) -> PayloadLane {
    let (mut id, mut panics) = (0, 0);
    while id < RECORDS {
        let wanted = 1 + rng.below(6).min(RECORDS - id - 1);
        let panic = panics < PANICS && rng.below(3) == 0;
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let records = usize::try_from(wanted).expect("few");
            let mut run = lane.write(records, records * (BYTES_MAX + 1)).ok()?;
            let written = (id..id + wanted).take_while(|&id| write(&mut run, id)).count() as u64;
            if panic {
                panic_any(Planned);
            }
            run.commit();
            Some(written)
        }));
        match attempt {
            Ok(Some(written)) => id += written,
            Ok(None) if drops => {
                lane.dropped(wanted);
                id += wanted;
                thread::yield_now();
            }
            Ok(None) => thread::yield_now(),
            Err(_) => panics += 1,
        }
    }
    lane
}

/// A lane as its consumer sees it.
struct Seen {
    tail: Tail,
    rest: Option<Note>,
    next: u64,
    arrived: u64,
    /// Whether records may be missing in between.
    drops: bool,
}

impl Seen {
    /// Takes one record, if there is one.
    fn take(&mut self) -> bool {
        if self.rest.is_none() {
            let Some(note) = self.tail.next() else { return false };
            if note.lo == 0 {
                self.tail.skip(note.from, note.to);
                return true;
            }
            self.rest = Some(note);
        }
        let Some(note) = &mut self.rest else { return false };
        let (words, behind) = self.tail.words(note.from, note.to);
        assert!(behind.is_empty(), "a run lies in one piece");
        let mut records = Records::new(words);
        let record = records.next().expect("as many as the note says");
        check(&record);
        assert!(record.id == self.next || self.drops && record.id > self.next, "{record:?}");
        (self.next, self.arrived) = (record.id + 1, self.arrived + 1);
        let at = note.to - records.left() as u64;
        self.tail.skip(note.from, at);
        (note.from, note.lo) = (at, note.lo - 1);
        self.rest.take_if(|note| note.lo == 0);
        true
    }

    /// Drops what is asked for, then takes some.
    fn consume(&mut self, rng: &mut SplitMix) {
        if self.tail.asked() {
            if let Some(rest) = self.rest.take() {
                self.tail.drop_taken(rest);
            }
            while self.tail.drop_oldest().is_some() {}
        }
        for _ in 0..=rng.below(20) {
            if !self.take() {
                break;
            }
        }
        self.tail.reclaim();
        while self.tail.next_gap().is_some() {}
    }

    fn is_over(&self) -> bool {
        self.rest.is_none() && self.tail.closed()
    }
}

/// Lanes of random policies and sizes, and one consumer.
pub(crate) fn round(seed: u64) {
    let mut rng = SplitMix::new(seed);
    let bell = Bell::new();
    let (mut lanes, mut threads) = (Vec::new(), Vec::new());
    for _ in 0..LANES {
        let (policy, wait) = policy(&mut rng);
        let options = LaneOptions { events: 1 << rng.below(6), policy, wait };
        let (lane, tail) = payload_lane(&options, BYTES_MAX, &bell).expect("memory");
        let drops = matches!(policy, Policy::DropOldest | Policy::DropNewest);
        lanes.push(Seen { tail, rest: None, next: 0, arrived: 0, drops });
        let (newest, rng) = (policy == Policy::DropNewest, SplitMix::new(rng.next_u64()));
        threads.push(thread::spawn(move || {
            let lane = produce(lane, newest, rng);
            lane.stats()
        }));
    }
    while !lanes.iter().all(Seen::is_over) {
        lanes.iter_mut().for_each(|lane| lane.consume(&mut rng));
        let mut open = lanes.iter_mut().filter(|lane| !lane.is_over()).peekable();
        // Who arms no lane would wait for nobody.
        if open.peek().is_some() && open.all(|lane| lane.rest.is_none() && lane.tail.arm()) {
            bell.wait(Duration::from_secs(60));
        }
        lanes.iter_mut().for_each(|lane| lane.tail.disarm());
    }
    for (lane, thread) in lanes.iter().zip(threads) {
        let told = thread.join().expect("a producer that lives");
        let counts = lane.tail.stats();
        assert_eq!(told.written + counts.dropped_newest, RECORDS);
        assert_eq!(lane.arrived + counts.dropped_oldest, told.written, "records were lost");
    }
}
