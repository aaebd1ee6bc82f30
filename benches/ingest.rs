//! C6-ingest: the ingest kernels alone, without the way to the device: keys to ids, and values into rows.
//!
//! A plan that runs them nine times over one batch takes longer than one that runs them once; an eighth of the
//! difference is theirs alone, whatever the device, the copies and the host take. On a CUDA card they are held to a
//! multiple of the rate at which the bus could bring events. The rows are counted before a figure is printed.

#[cfg(feature = "cuda")]
#[path = "common/bus.rs"]
#[allow(dead_code, reason = "shared with other benches")]
mod bus;
#[path = "common/peers.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other benches")]
mod peers;

use peers::{Dist, KEYS, peers_event};
use pelton::base::limits::{BLOCK_IDS, CHUNK_EVENTS, word};
use pelton::device::{Device, ProgramId, Queue, QueueOptions};
use pelton::ops::batch::{self, Chunk, Span};
use pelton::ops::page::ALONE;
use pelton::ops::row::{COUNT, EXTREMES, FIXED, Kind, Layout};
use pelton::ops::{fold, keys};
use pelton::plan::{Buf, Grid, Memory, Plan, Role};
use pelton::ring::{LaneOptions, Lease, lane};
use pelton::{Error, Result};
use std::time::Instant;

const EVENTS: usize = 1 << 18;
const STRIDE: usize = 4;
/// Slots of the key table: a third of them are taken.
const TABLE: usize = 1 << 15;
const BLOCKS: usize = KEYS.div_ceil(BLOCK_IDS);
/// How often the longer plan runs the kernels, and batches of either, taking turns.
const TIMES: usize = 9;
const ROUNDS: usize = 21;
/// What a CUDA card is held to, in events that the bus could bring.
const GOALS: [(&str, f64); 2] = [("C6-ingest-uniform", 4.0), ("C6-ingest-zipf", 2.0)];

/// One batch, and the two plans over it.
struct Bed {
    queue: Box<dyn Queue>,
    rows: Buf<u32>,
    once: ProgramId,
    often: ProgramId,
    head: Vec<u32>,
    /// The events, which come back with every batch.
    leases: Vec<Lease>,
    /// Ingested so far, as often as it was.
    events: u64,
}

const LAYOUT: Layout = Layout::new(EXTREMES | FIXED);

impl Bed {
    fn new(device: &Device, dist: &Dist) -> Result<Self> {
        let mut queue = device.queue(QueueOptions { in_flight: 1, outputs: 1 })?;
        let mut memory = Memory::default();
        let row_words = BLOCKS * BLOCK_IDS * LAYOUT.words;
        let rows = memory.buffer("rows", Role::State, row_words);
        let table = memory.buffer::<u32>("table", Role::State, 2 * TABLE);
        let records = memory.buffer::<u32>("records", Role::State, 2 * KEYS);
        let ids = memory.buffer::<u32>("ids", Role::Scratch, EVENTS);
        let counts = memory.buffer::<u32>("counts", Role::State, keys::COUNTS_LIST + KEYS);
        let map = memory.buffer::<u32>("map", Role::State, BLOCKS.next_multiple_of(4));
        let eager = Role::Output { eager: batch::OUT_FIXED };
        let out = memory.buffer::<u32>("out", eager, batch::OUT_FIXED + EVENTS);
        queue.alloc(&memory.buffers)?;
        let blocks: Vec<u32> = (0..word(BLOCKS)).collect();
        queue.write(map.id, 0, &blocks)?;
        let mut compile = |times: usize| {
            let mut plan = Plan::new("ingest", head_words());
            (plan.events_max, plan.stride, plan.output) = (EVENTS, STRIDE, Some(out.id));
            let (grid, p) = (Grid::Head(batch::GROUPS), keys_params());
            let (table, records, ids, counts) = (table.id, records.id, ids.id, counts.id);
            for _ in 0..times {
                plan.step(&keys::KEYS, grid, p, &[table, ids, counts, out.id]);
                if !device.caps().serial {
                    plan.step(&keys::SETTLE, grid, p, &[table, ids, counts, out.id]);
                }
                plan.step(&keys::RESOLVE, grid, p, &[records, ids, counts, out.id]);
                plan.step(&fold::FOLD, grid, row_params(), &[ids, map.id, rows.id]);
            }
            queue.compile(&plan, &memory)
        };
        let (once, often) = (compile(1)?, compile(TIMES)?);
        let (mut lane, mut tail) = lane(&LaneOptions { events: EVENTS, ..LaneOptions::default() })?;
        device.register(tail.slab())?;
        let full = |full| Error::source("C6", format!("{full:?}"));
        let mut run = lane.write(EVENTS).map_err(full)?;
        for (i, event) in (0..).zip(run.iter_mut()) {
            let (at, key, value) = peers_event(i, dist);
            *event = [batch::lo(at), batch::hi(at), key, value.to_bits()];
        }
        run.commit(EVENTS, 0, u64::MAX);
        tail.next();
        let leases = vec![tail.lease(0, EVENTS as u64)];
        let head = head(device.caps().in_place);
        Ok(Self { queue, rows, once, often, head, leases, events: 0 })
    }

    /// Seconds that one batch takes from its submission on.
    fn batch(&mut self, program: ProgramId, times: usize) -> Result<f64> {
        let leases = std::mem::take(&mut self.leases);
        let begin = Instant::now();
        self.queue.submit(program, &self.head, leases)?;
        self.queue.flush()?;
        let done = loop {
            match self.queue.poll()? {
                Some(done) => break done,
                None => std::hint::spin_loop(),
            }
        };
        let took = begin.elapsed().as_secs_f64();
        self.leases = done.leases;
        self.events += (times * EVENTS) as u64;
        Ok(took)
    }

    /// Events a second of the kernels alone.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand events")]
    fn rate(&mut self) -> Result<f64> {
        let mut took = [const { Vec::new() }; 2];
        for round in 0..=ROUNDS {
            let pair = [self.batch(self.once, 1)?, self.batch(self.often, TIMES)?];
            // The first round gives keys their ids.
            if round > 0 {
                took.iter_mut().zip(pair).for_each(|(all, one)| all.push(one));
            }
        }
        let [once, often] = took.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[ROUNDS / 2]
        });
        self.check()?;
        Ok(((TIMES - 1) * EVENTS) as f64 / (often - once))
    }

    /// Every event is in a row as often as it was ingested.
    fn check(&mut self) -> Result<()> {
        let mut rows = vec![0; BLOCKS * BLOCK_IDS * LAYOUT.words];
        self.queue.read(self.rows.id, 0, &mut rows)?;
        let counted: u64 = rows.chunks(LAYOUT.words).map(|row| u64::from(row[COUNT])).sum();
        if counted == self.events {
            return Ok(());
        }
        Err(Error::source("C6", format!("{} events, {counted} in rows", self.events)))
    }
}

fn keys_params() -> keys::KeysParams {
    keys::KeysParams {
        stride: word(STRIDE),
        key_word: 2,
        key_words: 1,
        record_words: 2,
        filtered: 0,
        expires: 0,
        first_slot: 0,
        page_slots: word(TABLE),
        first_id: 0,
        page_ids: word(KEYS),
        pad0: 0,
        pad1: 0,
    }
}

fn row_params() -> fold::RowParams {
    fold::RowParams {
        stride: word(STRIDE),
        time_word: 0,
        value_word: 3,
        kind: Kind::F32 as u32,
        parts: LAYOUT.parts,
        fraction: 2,
        row_words: word(LAYOUT.words),
        ends: 0,
        extremes: word(LAYOUT.extremes),
        fixed: word(LAYOUT.fixed),
        squares: word(LAYOUT.squares),
        exact: word(LAYOUT.exact),
        first: word(LAYOUT.first),
        last: word(LAYOUT.last),
        first_block: 0,
        blocks: ALONE,
    }
}

fn head_words() -> usize {
    batch::FIXED + EVENTS / CHUNK_EVENTS * batch::CHUNK + batch::SPAN
}

/// All events in one span, in chunks as the device takes them.
fn head(in_place: bool) -> Vec<u32> {
    let most = if in_place { EVENTS } else { CHUNK_EVENTS };
    let chunks = EVENTS / most;
    let mut head = vec![0; batch::FIXED];
    (head[batch::GROUPS], head[batch::CHUNKS]) = (word(chunks), word(chunks));
    head[batch::EVENTS] = word(EVENTS);
    head[batch::SPANS_AT] = word(batch::FIXED + chunks * batch::CHUNK);
    head[batch::TABLE_MASK] = word(TABLE - 1);
    head[batch::SEED..batch::SEED + 4].copy_from_slice(&[7, 11, 13, 17]);
    head[batch::IDS_KNOWN] = word(KEYS);
    for first in (0..EVENTS).step_by(most) {
        let (first, events) = (word(first), word(most));
        let spans = (0, 1);
        let chunk = Chunk {
            first,
            events,
            spans_at: spans.0,
            spans: spans.1,
            all: false,
            lane: 0,
            seq: u64::from(first),
            range: 0,
            at: first,
        };
        head.extend(chunk.words());
    }
    head.extend(Span { start: 0, slot: [0, word(BLOCKS)] }.words());
    head
}

/// Events a second that the bus could bring to a CUDA card.
#[cfg(feature = "cuda")]
#[allow(clippy::cast_precision_loss, reason = "sixteen bytes")]
fn bus_events() -> Option<f64> {
    bus::measure().ok().map(|bus| bus.to_device / (4 * STRIDE) as f64)
}

#[cfg(not(feature = "cuda"))]
fn bus_events() -> Option<f64> {
    None
}

fn print(id: &str, bound: f64, rate: f64, device: &Device) {
    let name = device.caps().name.replace(['"', '\\'], "");
    let bus = if name.starts_with("cuda") { bus_events() } else { None };
    let known = |value: Option<f64>| value.map_or("null".into(), |value| format!("{value:.2}"));
    let ratio = bus.map(|bus| rate / bus);
    println!(
        "{{\"id\":\"{id}\",\"value\":{:.1},\"unit\":\"M events/s\",\"peer\":{},\"version\":null,\"peer_value\":{},\
         \"ratio\":{},\"bound\":{},\"ok\":{},\"why\":\"keys and rows of {EVENTS} events of 16 bytes, {KEYS} keys, \
         count, sum, min, max; no way to the device\",\"rounds\":{ROUNDS},\"machine\":\"{name}\"}}",
        rate / 1e6,
        bus.map_or("null", |_| "\"page-locked copies\""),
        known(bus.map(|bus| bus / 1e6)),
        known(ratio),
        known(bus.map(|_| bound)),
        ratio.is_none_or(|ratio| ratio >= bound),
    );
}

/// `ingest [ID]`: that row on the best device, or both on every device.
fn main() {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("C6")).unwrap_or_default();
    let mut devices = if wanted.is_empty() { Device::all() } else { vec![Device::best()] };
    devices.retain(|device| !device.caps().software && device.caps().name != "null");
    for ((id, bound), dist) in GOALS.into_iter().zip([Dist::Uniform, Dist::zipf()]) {
        for device in devices.iter().filter(|_| wanted.is_empty() || wanted == id) {
            match Bed::new(device, &dist).and_then(|mut bed| bed.rate()) {
                Ok(rate) => print(id, bound, rate, device),
                Err(error) => eprintln!("{id} on {}: {error}", device.caps().name),
            }
        }
    }
}
