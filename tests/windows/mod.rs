//! Random programs over the window kernels: what is to be done, drawn from a seed, before any device is asked.
//!
//! A script is a list of acts on one set of keyed rows: batches of events, merges, fires, clears, growth of the key
//! table, expiry. `run` carries it out on a device through plans, `spec` one event at a time.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]
#![allow(clippy::cast_possible_truncation, reason = "random words and small numbers")]

pub mod plans;
pub mod run;
pub mod spec;

use pelton::base::rng::SplitMix;
use pelton::ops::row::Kind;
use std::collections::BTreeMap;

/// Words of an event: value A, time (2), key (2), value B, padding.
pub const STRIDE: usize = 7;
pub const VALUE_WORD: [usize; 2] = [0, 5];
pub const TIME_WORD: usize = 1;
pub const KEY_WORD: usize = 3;
/// Slots that spans name.
pub const SOURCES: u32 = 4;
/// All slots: the sources, then those that merges and fires go to.
pub const SLOTS: u32 = 6;
/// Ticks of a span.
pub const TICKS: u64 = 1000;
/// Keys, at most.
pub const KEYS_MAX: usize = 2048;
/// Events of a batch, at most.
pub const EVENTS_MAX: usize = 5000;
pub const LANES: u64 = 3;

/// How keys become ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// By table; so many words.
    Hashed(u32),
    /// Themselves; so many words.
    Dense(u32),
}

/// What stays the same in a script.
#[derive(Debug, Clone)]
pub struct Shape {
    pub keys: Keys,
    pub parts: [u32; 2],
    pub kinds: [Kind; 2],
    pub fractions: [u32; 2],
    pub filtered: bool,
    pub expires: bool,
    /// Start of the first span.
    pub base: u64,
    /// Slots of the table, before and after growth.
    pub tables: [usize; 2],
    pub dense_keys: u32,
    pub seed: [u32; 4],
    /// Whether serial devices elect first and last values as parallel ones must.
    pub elects: bool,
    /// Pages of rows.
    pub pages: usize,
    /// Slots of a page of the table.
    pub page_slots: usize,
    /// Ids of a page of key records.
    pub page_ids: usize,
}

/// Events that go to the same spans.
#[derive(Debug, Clone)]
pub struct Part {
    pub lane: u32,
    pub seq: u64,
    /// From and to, in events of the batch.
    pub events: (usize, usize),
    /// Slots, by ascending time.
    pub spans: Vec<(u64, u32)>,
    pub all: bool,
}

/// One batch.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub events: Vec<[u32; STRIDE]>,
    /// Which of them a filter has dropped.
    pub dropped: Vec<bool>,
    pub parts: Vec<Part>,
    pub frozen: bool,
    pub generation: u32,
    /// Lengths of the runs the events are committed in.
    pub runs: Vec<usize>,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Act {
    Ingest(Batch),
    /// Sources; destination.
    Fire(Vec<u32>, Option<u32>),
    Merge(Vec<u32>, u32),
    Clear(Vec<u32>),
    Grow,
    /// Oldest generation that stays; live slots.
    Expire(u32, Vec<u32>),
    /// Compare everything.
    Look,
}

/// What may be compared between devices: nothing that depends on ids, on slots of the table or on the order of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Words used, ids in use, events set aside.
    Ingested(u32, u32, Vec<u32>),
    /// Rows by key.
    Fired(BTreeMap<u64, Vec<u32>>),
    /// Rows by key and slot, generations by key, ids given out so far.
    State(BTreeMap<(u64, u32), Vec<u32>>, BTreeMap<u64, u32>, [u32; 3]),
}

#[derive(Debug, Clone)]
pub struct Script {
    pub seed: u64,
    pub shape: Shape,
    pub acts: Vec<Act>,
}

pub const KINDS: [Kind; 6] =
    [Kind::F32, Kind::F16Lower, Kind::F16Upper, Kind::Bf16Lower, Kind::Bf16Upper, Kind::I32];

/// The combinations of row parts there are: squares need the fixed-point sum.
pub fn combinations() -> Vec<u32> {
    use pelton::ops::row::{FIXED, SQUARES};
    (0..64).filter(|parts| parts & SQUARES == 0 || parts & FIXED != 0).collect()
}

fn pick<T: Copy>(rng: &mut SplitMix, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn below(rng: &mut SplitMix, n: usize) -> usize {
    rng.below(n as u64) as usize
}

/// Some of the slots below `n`, one at least, in any order.
fn some_slots(rng: &mut SplitMix, n: u32) -> Vec<u32> {
    let mut slots: Vec<u32> = (0..n).collect();
    shuffle(rng, &mut slots);
    slots.truncate(1 + below(rng, n as usize));
    slots
}

fn shuffle<T>(rng: &mut SplitMix, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i + 1));
    }
}

/// The word of a value: plain ones, any bits at all, and the edges of every kind.
fn value(rng: &mut SplitMix, kind: Kind, fraction: u32) -> u32 {
    let noise = rng.next_u64() as u32;
    let float: f32 = match rng.below(8) {
        0 => return noise,
        1 => pick(rng, &[f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0]),
        2 => f32::from_bits(noise & 0x807F_FFFF),
        3 => pick(rng, &[-2.0f32, 2.0]) * f32::from_bits((157 - fraction) << 23),
        4 => (rng.below(2001) as f32 - 1000.0) * 0.5 / f32::from_bits((127 + fraction) << 23),
        5 => f32::from_bits(noise & 0x801F_FFFF | (118 + rng.below(24) as u32) << 23),
        _ => rng.below(20_001) as f32 * 0.01 - 100.0,
    };
    let half = |bits: u16, upper: bool| {
        if upper { noise & 0xFFFF | u32::from(bits) << 16 } else { noise << 16 | u32::from(bits) }
    };
    match kind {
        Kind::F32 => float.to_bits(),
        Kind::F16Lower => half(half::f16::from_f32(float).to_bits(), false),
        Kind::F16Upper => half(half::f16::from_f32(float).to_bits(), true),
        Kind::Bf16Lower => half(half::bf16::from_f32(float).to_bits(), false),
        Kind::Bf16Upper => half(half::bf16::from_f32(float).to_bits(), true),
        Kind::I32 => pick(rng, &[noise, 0, 1, u32::MAX, 1 << 31, i32::MAX.cast_unsigned()]),
    }
}

/// Draws scripts.
pub struct Draw {
    rng: SplitMix,
    shape: Shape,
    pool: Vec<u64>,
    /// Next sequence number of each lane.
    seqs: [u64; LANES as usize],
    /// Which slot each span has.
    slots: Vec<u32>,
    generation: u32,
}

impl Script {
    /// The script of a seed; value A has these parts.
    pub fn new(seed: u64, parts: u32) -> Self {
        let mut rng = SplitMix::new(seed);
        let keys = [Keys::Hashed(1), Keys::Hashed(2), Keys::Hashed(2), Keys::Hashed(1)];
        let dense = [Keys::Dense(0), Keys::Dense(1), Keys::Dense(2)];
        let keys = if rng.below(4) == 0 { pick(&mut rng, &dense) } else { pick(&mut rng, &keys) };
        let others = combinations();
        let dense_keys = match keys {
            Keys::Dense(0) => 1,
            _ => pick(&mut rng, &[1, 700, 1024, 2000]),
        };
        let of = |parts: u32, rng: &mut SplitMix| {
            let exact = parts & pelton::ops::row::EXACT != 0;
            // Integers have no exponent, so their sums are exact in fixed point.
            if exact { pick(rng, &KINDS[..5]) } else { pick(rng, &KINDS) }
        };
        let parts = [parts, pick(&mut rng, &others)];
        let kinds = parts.map(|parts| of(parts, &mut rng));
        let bases = [0, (1 << 32) - 1500, (7 << 32) - 3999, u64::MAX - 5000];
        let small = 1 << (3 + rng.below(6));
        let shape = Shape {
            keys,
            parts,
            kinds,
            fractions: [rng.below(32) as u32, rng.below(32) as u32],
            filtered: rng.below(3) == 0,
            expires: rng.below(2) == 0,
            base: pick(&mut rng, &bases),
            tables: [small, 2 * KEYS_MAX],
            dense_keys,
            seed: [0; 4].map(|_| rng.next_u64() as u32),
            elects: rng.below(2) == 0,
            pages: pick(&mut rng, &[1, 1, 2, 5]),
            page_slots: pick(&mut rng, &[2 * KEYS_MAX, 2 * KEYS_MAX, 1024, 128]),
            page_ids: pick(&mut rng, &[KEYS_MAX, KEYS_MAX, 1024, 320]),
        };
        let pool = pool(&mut rng, &shape);
        let shape = shape.seeded(&mut rng, &pool);
        let seqs = [0, 1, 2].map(|_| pick(&mut rng, &[0, (1 << 32) - 300, u64::MAX - (1 << 20)]));
        let mut slots: Vec<u32> = (0..SOURCES).collect();
        shuffle(&mut rng, &mut slots);
        let mut draw = Draw { rng, shape, pool, seqs, slots, generation: 1 };
        let acts = draw.acts();
        Self { seed, shape: draw.shape, acts }
    }
}

impl Shape {
    /// With a seed under which no page of the table fills, as the host of a pipeline takes care of.
    fn seeded(mut self, rng: &mut SplitMix, pool: &[u64]) -> Self {
        let wide = self.keys == Keys::Hashed(2);
        let fits = |seed: &[u32], slots: usize, keys: &[u64]| {
            let mut fills = BTreeMap::new();
            for key in keys {
                let high = if wide { (key >> 32) as u32 } else { 0 };
                let slot = pelton::ops::keys::hash(seed, *key as u32, high) as usize % slots;
                *fills.entry(slot / self.page_slots).or_insert(0) += 1;
            }
            fills.values().all(|&keys| keys < slots.min(self.page_slots))
        };
        let few = &pool[..pool.len().min(self.tables[0] / 2)];
        while matches!(self.keys, Keys::Hashed(_))
            && !(fits(&self.seed, self.tables[0], few) && fits(&self.seed, self.tables[1], pool))
        {
            self.seed = [0; 4].map(|_| rng.next_u64() as u32);
        }
        self
    }
}

/// Distinct keys: many with equal low words where there are two.
fn pool(rng: &mut SplitMix, shape: &Shape) -> Vec<u64> {
    if let Keys::Dense(words) = shape.keys {
        let keys = u64::from(shape.dense_keys);
        return if words == 0 { vec![0] } else { (0..keys).collect() };
    }
    let wide = shape.keys == Keys::Hashed(2);
    let mut pool = std::collections::BTreeSet::new();
    pool.extend([0, 1, if wide { u64::MAX } else { u64::from(u32::MAX) }]);
    while pool.len() < KEYS_MAX {
        let (a, b) = (rng.below(1 << 32), rng.below(60));
        pool.insert(match (wide, rng.below(3)) {
            (false, 0) => a,
            (false, _) => (a >> 20) * 4096,
            (true, 0) => a << 32 | b,
            (true, 1) => b << 32 | rng.below(60),
            (true, _) => a << 20,
        });
    }
    let mut pool: Vec<u64> = pool.into_iter().collect();
    shuffle(rng, &mut pool);
    pool
}

impl Draw {
    /// Every script does everything once, in an order that lets each step see what the others left.
    fn acts(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        let few = match self.shape.keys {
            Keys::Hashed(_) => self.shape.tables[0] / 2,
            Keys::Dense(_) => self.pool.len(),
        };
        let size = |rng: &mut SplitMix| pick(rng, &[0, 1, 7, 255, 256, 257, 700]);
        let all = self.pool.len();
        for _ in 0..3 {
            let n = size(&mut self.rng);
            acts.push(self.batch(n, few, false));
        }
        acts.push(Act::Look);
        acts.push(Act::Fire(some_slots(&mut self.rng, SOURCES), None));
        acts.push(Act::Fire(some_slots(&mut self.rng, SOURCES), Some(SOURCES)));
        let hot = 1 + below(&mut self.rng, 3);
        acts.push(self.batch(EVENTS_MAX, hot.min(few), false));
        acts.push(Act::Merge(some_slots(&mut self.rng, SOURCES), SOURCES + 1));
        acts.push(Act::Clear(some_slots(&mut self.rng, SOURCES)));
        acts.push(Act::Fire(some_slots(&mut self.rng, SOURCES), Some(SOURCES)));
        acts.push(Act::Grow);
        self.generation += 1;
        acts.push(self.batch(EVENTS_MAX, all, false));
        let n = size(&mut self.rng);
        acts.push(self.batch(n, all, true));
        acts.push(Act::Look);
        acts.push(Act::Fire(vec![], Some(SOURCES + 1)));
        let (cleared, live): (Vec<u32>, Vec<u32>) =
            (0..SLOTS).partition(|_| self.rng.below(4) != 0);
        acts.push(Act::Clear(cleared));
        if matches!(self.shape.keys, Keys::Hashed(_)) {
            acts.push(Act::Expire(self.generation, live));
        }
        self.generation += 1;
        for _ in 0..2 {
            let n = size(&mut self.rng);
            acts.push(self.batch(n, all, false));
        }
        acts.extend([Act::Look, Act::Fire((0..SOURCES).collect(), None)]);
        acts
    }

    /// A batch of `n` events over the first `keys` keys of the pool.
    fn batch(&mut self, n: usize, keys: usize, frozen: bool) -> Act {
        let mut batch = Batch { frozen, generation: self.generation, ..Batch::default() };
        let mut lane = 0;
        while batch.events.len() < n {
            let left = n - batch.events.len();
            let count = 1 + below(&mut self.rng, left.min(900));
            if self.rng.below(8) == 0 {
                // Events that no chunk names: the host has set them aside.
                batch.events.extend((0..count).map(|_| [0xDEAD_BEEF; STRIDE]));
                continue;
            }
            let part = self.part(&mut lane, batch.events.len(), count);
            for _ in 0..count {
                let event = self.event(&part, keys, frozen);
                batch.events.push(event);
            }
            batch.parts.push(part);
        }
        batch.dropped = (0..n).map(|_| self.shape.filtered && self.rng.below(3) == 0).collect();
        let mut left = n;
        while left > 0 {
            let run = 1 + below(&mut self.rng, left);
            batch.runs.push(run);
            left -= run;
        }
        Act::Ingest(batch)
    }

    fn part(&mut self, lane: &mut u32, at: usize, count: usize) -> Part {
        // Events of a batch lie in the order of lane and sequence.
        if self.rng.below(2) == 0 && u64::from(*lane) < LANES - 1 {
            *lane += 1;
        }
        let seq = self.seqs[*lane as usize];
        self.seqs[*lane as usize] += count as u64 + self.rng.below(3);
        let first = below(&mut self.rng, SOURCES as usize);
        let to = first + 1 + below(&mut self.rng, SOURCES as usize - first);
        let spans = (first..to).map(|i| (self.shape.base + i as u64 * TICKS, self.slots[i]));
        let (spans, all) = (spans.collect(), self.rng.below(3) == 0);
        Part { lane: *lane, seq, events: (at, at + count), spans, all }
    }

    fn event(&mut self, part: &Part, keys: usize, frozen: bool) -> [u32; STRIDE] {
        let rng = &mut self.rng;
        let (start, end) = (part.spans[0].0, part.spans[part.spans.len() - 1].0 + TICKS);
        // Times repeat, so that lanes and sequences have to decide; starts and ends of spans are among them.
        let time = match rng.below(4) {
            0 => start + rng.below((end - start) / TICKS) * TICKS,
            1 => end - 1,
            2 => start + rng.below(3),
            _ => start + rng.below(end - start),
        };
        let known = self.pool[below(rng, keys)];
        let strange = rng.below(8) == 0;
        let key = match self.shape.keys {
            Keys::Dense(0) => rng.next_u64(),
            Keys::Dense(1) if strange => {
                u64::from(pick(rng, &[self.shape.dense_keys, u32::MAX, 1 << 31]))
            }
            Keys::Dense(_) if strange => known | (1 + rng.below(5)) << 32,
            Keys::Hashed(_) if strange && frozen => 0xFFFF_0000 | rng.below(1 << 16),
            _ => known,
        };
        let mut event = [0; STRIDE].map(|_: u32| rng.next_u64() as u32);
        for (i, at) in VALUE_WORD.into_iter().enumerate() {
            event[at] = value(rng, self.shape.kinds[i], self.shape.fractions[i]);
        }
        event[TIME_WORD] = time as u32;
        event[TIME_WORD + 1] = (time >> 32) as u32;
        event[KEY_WORD] = key as u32;
        event[KEY_WORD + 1] = (key >> 32) as u32;
        if self.shape.keys == Keys::Hashed(1) || self.shape.keys == Keys::Dense(1) {
            event[KEY_WORD + 1] = rng.next_u64() as u32;
        }
        event
    }
}
