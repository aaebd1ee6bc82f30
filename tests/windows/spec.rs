//! Scripts one event at a time: rows are lists of events, results are computed from the lists.

use super::{Act, Batch, KEY_WORD, Keys, Part, STRIDE, Script, Seen, Shape, TIME_WORD, VALUE_WORD};
use pelton::ops::row::{
    COUNT, EXACT, EXTREMES, FIRED, FIRST, FIXED, Kind, LAST, LIMBS, Layout, NAN, OUTSIDE, SQUARES,
};
use std::collections::BTreeMap;

/// One event as a row remembers it.
#[derive(Debug, Clone, Copy)]
struct Event {
    words: [u32; 2],
    time: u64,
    lane: u32,
    seq: u64,
}

#[derive(Debug, Clone, Default)]
struct Row {
    events: Vec<Event>,
    fired: u32,
}

/// What the kernels' buffers hold, in words of the spec.
#[derive(Default)]
struct World {
    rows: BTreeMap<(u32, u64), Row>,
    /// Keys and the generation they were seen in.
    seen: BTreeMap<u64, u32>,
    base: u32,
    free: u32,
    taken: u32,
}

impl World {
    fn high_water(&self) -> u32 {
        self.base + self.taken.saturating_sub(self.free)
    }

    fn keys(&self, shape: &Shape) -> Vec<u64> {
        match shape.keys {
            Keys::Hashed(_) => self.seen.keys().copied().collect(),
            Keys::Dense(_) => (0..u64::from(shape.dense_keys)).collect(),
        }
    }

    /// The events of one key in several slots.
    fn events(&self, slots: &[u32], key: u64) -> Vec<Event> {
        let rows = slots.iter().filter_map(|&slot| self.rows.get(&(slot, key)));
        rows.flat_map(|row| row.events.iter().copied()).collect()
    }

    /// Whether the event counts; `None` when its key is set aside.
    fn admit(&mut self, shape: &Shape, batch: &Batch, event: &[u32; STRIDE]) -> Option<u64> {
        let (low, high) = (u64::from(event[KEY_WORD]), u64::from(event[KEY_WORD + 1]));
        let key = match shape.keys {
            Keys::Dense(0) => 0,
            Keys::Hashed(1) | Keys::Dense(1) => low,
            _ => low | high << 32,
        };
        if let Keys::Dense(_) = shape.keys {
            return (key < u64::from(shape.dense_keys)).then_some(key);
        }
        if !self.seen.contains_key(&key) {
            if batch.frozen {
                return None;
            }
            self.taken += 1;
            self.seen.insert(key, batch.generation);
        } else if shape.expires {
            self.seen.insert(key, batch.generation);
        }
        Some(key)
    }

    fn ingest(&mut self, shape: &Shape, batch: &Batch) -> Seen {
        let mut aside = Vec::new();
        for part in &batch.parts {
            for i in part.events.0..part.events.1 {
                if batch.dropped[i] {
                    continue;
                }
                let event = &batch.events[i];
                match self.admit(shape, batch, event) {
                    Some(key) => self.count(part, i, event, key),
                    None => aside.push(u32::try_from(i).unwrap()),
                }
            }
        }
        let keys = match shape.keys {
            Keys::Hashed(_) => self.high_water(),
            Keys::Dense(_) => shape.dense_keys,
        };
        Seen::Ingested(8 + u32::try_from(aside.len()).unwrap(), keys, aside)
    }

    fn count(&mut self, part: &Part, i: usize, event: &[u32; STRIDE], key: u64) {
        let time = u64::from(event[TIME_WORD]) | u64::from(event[TIME_WORD + 1]) << 32;
        let seq = part.seq + (i - part.events.0) as u64;
        let kept = Event { words: VALUE_WORD.map(|w| event[w]), time, lane: part.lane, seq };
        let own = part.spans.iter().rfind(|(start, _)| *start <= time).unwrap_or(&part.spans[0]);
        let to = if part.all { &part.spans[..] } else { std::slice::from_ref(own) };
        for &(_, slot) in to {
            self.rows.entry((slot, key)).or_default().events.push(kept);
        }
    }

    fn fire(&mut self, shape: &Shape, slots: &[u32], into: Option<u32>) -> Seen {
        let mut fired = BTreeMap::new();
        for key in self.keys(shape) {
            let slots: Vec<u32> = slots.iter().copied().chain(into).collect();
            let events = self.events(&slots, key);
            let count = u32::try_from(events.len()).unwrap();
            let row = into.and_then(|into| self.rows.get(&(into, key)));
            if row.map_or(0, |row| row.fired) == count {
                continue;
            }
            fired.insert(key, words(shape, &Row { events: events.clone(), fired: 0 }));
            if let Some(into) = into {
                self.rows.insert((into, key), Row { events, fired: count });
            }
        }
        Seen::Fired(fired)
    }

    fn expire(&mut self, before: u32, live: &[u32]) {
        self.base = self.high_water();
        let rows = &self.rows;
        let held = |key| {
            live.iter().any(|&slot| rows.get(&(slot, key)).is_some_and(|r| !r.events.is_empty()))
        };
        let known = self.seen.len();
        self.seen.retain(|&key, generation| *generation >= before || held(key));
        // Ids that are free already are found again: the walk covers all ids.
        self.free = self.base - u32::try_from(self.seen.len()).unwrap();
        assert!(known >= self.seen.len());
        self.taken = 0;
    }
}

/// What a script shows.
pub fn trace(script: &Script) -> Vec<Seen> {
    let shape = &script.shape;
    let mut world = World::default();
    let mut trace = Vec::new();
    for act in &script.acts {
        match act {
            Act::Ingest(batch) => trace.push(world.ingest(shape, batch)),
            Act::Fire(slots, into) => trace.push(world.fire(shape, slots, *into)),
            Act::Merge(slots, into) => {
                for key in world.keys(shape) {
                    let events = world.events(slots, key);
                    world.rows.entry((*into, key)).or_default().events.extend(events);
                }
            }
            Act::Clear(slots) => world.rows.retain(|(slot, _), _| !slots.contains(slot)),
            Act::Grow => {}
            Act::Expire(before, live) => world.expire(*before, live),
            Act::Look => {
                let rows = world.rows.iter().filter(|(_, row)| !row.events.is_empty());
                let rows = rows.map(|(&(slot, key), row)| ((key, slot), words(shape, row)));
                let counts = [world.base, world.free, world.taken];
                trace.push(Seen::State(rows.collect(), world.seen.clone(), counts));
            }
        }
    }
    trace
}

/// Both values' rows as words; those of exact sums are zero.
fn words(shape: &Shape, row: &Row) -> Vec<u32> {
    let of = |i: usize| value_words(shape.parts[i], shape.kinds[i], shape.fractions[i], i, row);
    [of(0), of(1)].concat()
}

/// The value of a word, and its bits as a row keeps them.
fn decode(kind: Kind, word: u32) -> (f64, u32) {
    let (lower, upper) = (word as u16, (word >> 16) as u16);
    let float = match kind {
        Kind::I32 => return (f64::from(word.cast_signed()), word),
        Kind::F32 => f32::from_bits(word),
        Kind::F16Lower => half::f16::from_bits(lower).to_f32(),
        Kind::F16Upper => half::f16::from_bits(upper).to_f32(),
        Kind::Bf16Lower => half::bf16::from_bits(lower).to_f32(),
        Kind::Bf16Upper => half::bf16::from_bits(upper).to_f32(),
    };
    (f64::from(float), float.to_bits())
}

fn put(row: &mut [u32], at: usize, x: u128, count: usize) {
    for (i, word) in row[at..at + count].iter_mut().enumerate() {
        *word = (x >> (32 * i)) as u32;
    }
}

fn value_words(parts: u32, kind: Kind, fraction: u32, value: usize, row: &Row) -> Vec<u32> {
    let layout = Layout::new(parts);
    let mut words = vec![0; layout.words];
    words[COUNT] = u32::try_from(row.events.len()).unwrap();
    words[FIRED] = row.fired;
    if parts == 0 {
        return words;
    }
    let all = row.events.iter().map(|e| (e, decode(kind, e.words[value])));
    let (nans, numbers): (Vec<_>, Vec<_>) = all.partition(|(_, (x, _))| x.is_nan());
    words[NAN] = u32::try_from(nans.len()).unwrap();
    let values = || numbers.iter().map(|&(_, v)| v);
    if parts & EXTREMES != 0 {
        let min = values().min_by(|a, b| a.0.total_cmp(&b.0));
        let max = values().max_by(|a, b| a.0.total_cmp(&b.0));
        words[layout.extremes] = min.map_or(0, |(_, bits)| !kind.ordered(bits));
        words[layout.extremes + 1] = max.map_or(0, |(_, bits)| kind.ordered(bits));
    }
    if parts & FIXED != 0 {
        let scale = if kind == Kind::I32 { 1.0 } else { f64::from(1u32 << fraction) };
        let rounded = values().map(|(x, _)| (x * scale).round_ties_even());
        let (fit, out): (Vec<f64>, Vec<f64>) =
            rounded.partition(|x| (-2_147_483_648.0..=2_147_483_647.0).contains(x));
        words[OUTSIDE] += u32::try_from(out.len()).unwrap();
        let sum: i128 = fit.iter().map(|&x| x as i128).sum();
        put(&mut words, layout.fixed, sum.cast_unsigned(), 2);
        if parts & SQUARES != 0 {
            let sum: i128 = fit.iter().map(|&x| x as i128 * x as i128).sum();
            put(&mut words, layout.squares, sum.cast_unsigned(), 4);
        }
    }
    if parts & EXACT != 0 {
        words[OUTSIDE] += u32::try_from(values().filter(|(x, _)| x.is_infinite()).count()).unwrap();
    }
    let place = |(e, _): &&(&Event, (f64, u32))| (e.time, e.lane, e.seq);
    let first = numbers.iter().min_by_key(place);
    let last = numbers.iter().max_by_key(place);
    for (part, at, end) in [(FIRST, layout.first, first), (LAST, layout.last, last)] {
        if parts & part != 0
            && let Some((e, (_, bits))) = end
        {
            put(&mut words, at, u128::from(e.time), 2);
            words[at + 2] = e.lane + 1;
            put(&mut words, at + 3, u128::from(e.seq), 2);
            words[at + 5] = *bits;
        }
    }
    words
}

/// The same trace with exact sums zeroed, as this spec leaves them.
pub fn without_exact(shape: &Shape, mut trace: Vec<Seen>) -> Vec<Seen> {
    let layouts = shape.parts.map(Layout::new);
    let blank = |words: &mut Vec<u32>| {
        for (layout, start) in layouts.iter().zip([0, layouts[0].words]) {
            if layout.parts & EXACT != 0 {
                words[start + layout.exact..][..2 * LIMBS].fill(0);
            }
        }
    };
    for seen in &mut trace {
        match seen {
            Seen::Ingested(..) => {}
            Seen::Fired(rows) => rows.values_mut().for_each(blank),
            Seen::State(rows, ..) => rows.values_mut().for_each(blank),
        }
    }
    trace
}
