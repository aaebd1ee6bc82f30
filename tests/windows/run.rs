//! Scripts on a device: memory and plans as a pipeline makes them, and what can be seen of the results.

use super::{
    Act, Batch, EVENTS_MAX, KEY_WORD, KEYS_MAX, Keys, SLOTS, STRIDE, Script, Seen, Shape,
    TIME_WORD, VALUE_WORD,
};
use pelton::Result;
use pelton::base::limits::{BLOCK_IDS, CHUNK_EVENTS};
use pelton::base::rng::SplitMix;
use pelton::device::{Device, Output, ProgramId, Queue, QueueOptions};
use pelton::ops::batch::{self, Chunk, DROPPED, Span};
use pelton::ops::page::{self, Page};
use pelton::ops::row::{FIRST, LAST, Layout};
use pelton::ops::{ends, expire, fire, fold, keys, merge};
use pelton::plan::{Buf, Grid, Memory, Plan, Role};
use pelton::ring::{Lane, LaneOptions, Lease, Tail, lane};
use std::collections::BTreeMap;

/// Entries of the block map for each slot: one more than there are blocks of ids.
const MAP_STRIDE: usize = KEYS_MAX / BLOCK_IDS + 1;
/// Ids that one fire walks, so that there are several.
const FIRE_IDS: usize = 700;
const CHUNKS_MAX: usize = 1 << 13;

fn low(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

struct Bufs {
    table: Buf<u32>,
    records: Buf<u32>,
    ids: Buf<u32>,
    counts: Buf<u32>,
    map: Buf<u32>,
    /// Rows of each value, page by page.
    rows: [Vec<Buf<u32>>; 2],
    emitted: Buf<u32>,
    aside: Buf<u32>,
    fired: Buf<u32>,
}

struct Bed<'a> {
    shape: &'a Shape,
    serial: bool,
    queue: Box<dyn Queue>,
    bufs: Bufs,
    map: Vec<u32>,
    ingest: ProgramId,
    fire: ProgramId,
    merge: ProgramId,
    clear: ProgramId,
    expire: ProgramId,
    rehash: [ProgramId; 2],
    lane: Lane<[u32; STRIDE]>,
    tail: Tail,
    grown: usize,
    ids: usize,
}

impl Shape {
    fn layout(&self, value: usize) -> Layout {
        Layout::new(self.parts[value])
    }

    fn key_words(&self) -> usize {
        match self.keys {
            Keys::Hashed(words) | Keys::Dense(words) => words as usize,
        }
    }

    fn record_words(&self) -> usize {
        2 * self.key_words().max(1)
    }

    fn out_words(&self) -> usize {
        fire::FIRE_KEY + self.layout(0).words + self.layout(1).words
    }

    fn keys_params(&self) -> keys::KeysParams {
        keys::KeysParams {
            stride: low(STRIDE),
            key_word: low(KEY_WORD),
            key_words: low(self.key_words()),
            record_words: low(self.record_words()),
            filtered: u32::from(self.filtered),
            expires: u32::from(self.expires),
            pad0: 0,
            pad1: 0,
        }
    }

    /// Blocks of a page.
    fn page_blocks(&self) -> usize {
        (KEYS_MAX / BLOCK_IDS).div_ceil(self.pages) * SLOTS as usize
    }

    fn page(&self, page: usize) -> Page {
        match self.pages {
            1 => Page { first: 0, blocks: page::ALONE },
            _ => Page { first: low(page * self.page_blocks()), blocks: low(self.page_blocks()) },
        }
    }

    fn row_params(&self, value: usize, page: usize, ends: bool) -> fold::RowParams {
        let l = self.layout(value);
        fold::RowParams {
            stride: low(STRIDE),
            time_word: low(TIME_WORD),
            value_word: low(VALUE_WORD[value]),
            kind: self.kinds[value] as u32,
            parts: l.parts,
            fraction: self.fractions[value],
            row_words: low(l.words),
            ends: u32::from(ends),
            extremes: low(l.extremes),
            fixed: low(l.fixed),
            squares: low(l.squares),
            exact: low(l.exact),
            first: low(l.first),
            last: low(l.last),
            first_block: self.page(page).first,
            blocks: self.page(page).blocks,
        }
    }

    fn fire_params(&self, value: usize, page: usize) -> fire::FireParams {
        let l = self.layout(value);
        let dense = matches!(self.keys, Keys::Dense(_));
        fire::FireParams {
            parts: l.parts,
            row_words: low(l.words),
            out_words: low(self.out_words()),
            out_at: low(fire::FIRE_KEY + if value == 0 { 0 } else { self.layout(0).words }),
            lead: u32::from(value == 0),
            key_words: if dense { 0 } else { low(self.key_words()) },
            record_words: low(self.record_words()),
            extremes: low(l.extremes),
            fixed: low(l.fixed),
            squares: low(l.squares),
            exact: low(l.exact),
            first: low(l.first),
            last: low(l.last),
            first_block: self.page(page).first,
            blocks: self.page(page).blocks,
            pad0: 0,
        }
    }
}

fn memory(shape: &Shape) -> (Memory, Bufs) {
    let mut m = Memory::default();
    let rows = |m: &mut Memory, value: usize| {
        let words = shape.page_blocks() * BLOCK_IDS * shape.layout(value).words;
        (0..shape.pages).map(|_| m.buffer::<u32>("rows", Role::State, words)).collect()
    };
    let fired = fire::FIRE_FIXED + FIRE_IDS * shape.out_words();
    let bufs = Bufs {
        table: m.buffer("table", Role::State, 2 * shape.tables[0]),
        records: m.buffer("records", Role::State, KEYS_MAX * shape.record_words()),
        ids: m.buffer("ids", Role::Scratch, EVENTS_MAX),
        counts: m.buffer("counts", Role::State, keys::COUNTS_LIST + KEYS_MAX),
        map: m.buffer("map", Role::State, SLOTS as usize * MAP_STRIDE),
        rows: [rows(&mut m, 0), rows(&mut m, 1)],
        emitted: m.buffer("emitted", Role::Scratch, FIRE_IDS),
        aside: m.buffer("aside", Role::Output { eager: 16 }, batch::OUT_FIXED + EVENTS_MAX),
        fired: m.buffer("fired", Role::Output { eager: 1024 }, fired),
    };
    (m, bufs)
}

fn zero(plan: &mut Plan, buffer: Buf<u32>, words: usize) {
    let params = merge::ZeroParams { words: low(words), pad0: 0, pad1: 0, pad2: 0 };
    plan.step(&merge::ZERO, Grid::Groups(low(words.div_ceil(1024))), params, &[buffer.id]);
}

fn ingest_plan(shape: &Shape, serial: bool, b: &Bufs) -> Plan {
    let words = batch::FIXED + CHUNKS_MAX * (batch::CHUNK + 4 * batch::SPAN);
    let mut plan = Plan::new("ingest", words);
    (plan.events_max, plan.stride, plan.output) = (EVENTS_MAX, STRIDE, Some(b.aside.id));
    let (p, grid) = (shape.keys_params(), Grid::Head(batch::GROUPS));
    let (table, records, ids) = (b.table.id, b.records.id, b.ids.id);
    let (counts, out) = (b.counts.id, b.aside.id);
    if let Keys::Dense(_) = shape.keys {
        plan.step(&keys::DENSE, grid, p, &[ids, out]);
    } else {
        plan.step(&keys::KEYS, grid, p, &[table, records, ids, counts, out]);
        plan.step(&keys::SETTLE, grid, p, &[table, records, ids, counts]);
        plan.step(&keys::RESOLVE, grid, p, &[table, records, ids, counts, out]);
    }
    let elects = !serial || shape.elects;
    for (value, page, rows) in b.pages() {
        let (p, binds) = (shape.row_params(value, page, !elects), [ids, b.map.id, rows.id]);
        plan.step(&fold::FOLD, grid, p, &binds);
        if elects && shape.parts[value] & (FIRST | LAST) != 0 {
            plan.step(&ends::ELECT, grid, p, &binds);
            plan.step(&ends::ENDS, grid, p, &binds);
        }
    }
    plan
}

fn fire_plan(shape: &Shape, b: &Bufs) -> Plan {
    let mut plan = Plan::new("fire", merge::WALK_WORDS);
    plan.output = Some(b.fired.id);
    for (value, page, rows) in b.pages() {
        let binds = [b.records.id, b.map.id, rows.id, b.emitted.id, b.fired.id];
        let params = shape.fire_params(value, page);
        plan.step(&fire::FIRE, Grid::Head(keys::WALK_GROUPS), params, &binds);
    }
    plan
}

fn walk_plan(shape: &Shape, b: &Bufs, kernel: &'static pelton::plan::Kernel) -> Plan {
    let mut plan = Plan::new(kernel.name, merge::WALK_WORDS);
    for (value, page, rows) in b.pages() {
        let (p, binds) = (shape.row_params(value, page, false), [b.map.id, rows.id]);
        plan.step(kernel, Grid::Head(keys::WALK_GROUPS), p, &binds);
    }
    plan
}

fn expire_plan(shape: &Shape, b: &Bufs) -> Plan {
    let mut plan = Plan::new("expire", merge::WALK_WORDS);
    for (_, page, rows) in b.pages().filter(|(value, ..)| *value == 0) {
        let params = expire::ExpireParams {
            record_words: low(shape.record_words()),
            seen_word: low(shape.key_words()),
            row_words: low(shape.layout(0).words),
            first_block: shape.page(page).first,
            blocks: shape.page(page).blocks,
            pad0: 0,
            pad1: 0,
            pad2: 0,
        };
        let binds = [b.records.id, b.counts.id, b.map.id, rows.id];
        plan.step(&expire::EXPIRE, Grid::Head(keys::WALK_GROUPS), params, &binds);
    }
    plan
}

fn rehash_plan(shape: &Shape, b: &Bufs, slots: usize) -> Plan {
    let mut plan = Plan::new("rehash", batch::FIXED);
    zero(&mut plan, b.table, 2 * slots);
    let (grid, p) = (Grid::Head(keys::WALK_GROUPS), shape.keys_params());
    plan.step(&keys::REHASH, grid, p, &[b.table.id, b.records.id]);
    plan
}

impl Bufs {
    /// Value, page and rows of each step of a row kernel.
    fn pages(&self) -> impl Iterator<Item = (usize, usize, Buf<u32>)> + '_ {
        let of = |(value, pages): (usize, &[Buf<u32>])| {
            pages
                .iter()
                .enumerate()
                .map(move |(page, rows)| (value, page, *rows))
                .collect::<Vec<_>>()
        };
        self.rows.iter().map(Vec::as_slice).enumerate().flat_map(of)
    }
}

/// A slot as headers name it.
fn slot(number: u32) -> page::Slot {
    [number * low(MAP_STRIDE), low(MAP_STRIDE - 1)]
}

/// A block for each column of each slot, in any order inside the column's page.
fn block_map(shape: &Shape) -> Vec<u32> {
    let (columns, slots) = (MAP_STRIDE - 1, SLOTS as usize);
    let mut rng = SplitMix::new(u64::from(shape.seed[0]));
    let mut map = vec![page::NO_BLOCK; slots * MAP_STRIDE];
    for page in 0..shape.pages {
        let first = page * shape.page_blocks();
        let mut blocks: Vec<u32> = (first..first + shape.page_blocks()).map(low).collect();
        super::shuffle(&mut rng, &mut blocks);
        for column in (0..columns).filter(|column| column % shape.pages == page) {
            for slot in 0..slots {
                map[slot * MAP_STRIDE + column] = blocks.pop().expect("enough in each page");
            }
        }
    }
    map
}

impl<'a> Bed<'a> {
    fn new(device: &Device, shape: &'a Shape) -> Result<Self> {
        let serial = device.caps().serial;
        let mut queue = device.queue(QueueOptions { in_flight: 2, outputs: 2 })?;
        let (memory, bufs) = memory(shape);
        queue.alloc(&memory.buffers)?;
        let mut compile = |plan: Plan| queue.compile(&plan, &memory);
        let ingest = compile(ingest_plan(shape, serial, &bufs))?;
        let fire = compile(fire_plan(shape, &bufs))?;
        let merge = compile(walk_plan(shape, &bufs, &merge::MERGE))?;
        let clear = compile(walk_plan(shape, &bufs, &merge::CLEAR))?;
        let expire = compile(expire_plan(shape, &bufs))?;
        let rehash = [
            compile(rehash_plan(shape, &bufs, shape.tables[0]))?,
            compile(rehash_plan(shape, &bufs, shape.tables[1]))?,
        ];
        let map = block_map(shape);
        queue.write(bufs.map.id, 0, &map)?;
        let (lane, tail) = lane(&LaneOptions { events: 1 << 13, ..LaneOptions::default() })?;
        let ids = if let Keys::Dense(_) = shape.keys { shape.dense_keys as usize } else { 0 };
        Ok(Self {
            shape,
            serial,
            queue,
            bufs,
            map,
            ingest,
            fire,
            merge,
            clear,
            expire,
            rehash,
            lane,
            tail,
            grown: 0,
            ids,
        })
    }

    fn submit(
        &mut self,
        program: ProgramId,
        head: &[u32],
        leases: Vec<Lease>,
    ) -> Result<Option<Output>> {
        assert!(self.queue.room(program), "one batch at a time");
        self.queue.submit(program, head, leases)?;
        loop {
            if let Some(done) = self.queue.poll()? {
                return Ok(done.output);
            }
            std::thread::yield_now();
        }
    }

    /// Writes a batch's events into the lane; the leases, and the first event of each and the one after its last.
    fn lend(&mut self, batch: &Batch) -> (Vec<Lease>, Vec<usize>) {
        self.tail.reclaim();
        let (mut leases, mut at, mut bounds) = (Vec::new(), 0, vec![0]);
        for &run in &batch.runs {
            let end = at + run;
            while at < end {
                let mut room = self.lane.write(end - at).expect("the lane has room");
                let got = room.len();
                room.copy_from_slice(&batch.events[at..at + got]);
                room.commit(got, 0, 0);
                let note = self.tail.next().expect("a run was committed");
                let mut from = note.from;
                while from < note.to {
                    let to = self.tail.contiguous(from, note.to);
                    leases.push(self.tail.lease(from, to));
                    bounds.push(bounds[bounds.len() - 1] + usize::try_from(to - from).unwrap());
                    from = to;
                }
                at += got;
            }
        }
        (leases, bounds)
    }

    /// The header of a batch whose leases begin and end there.
    fn head(&self, batch: &Batch, bounds: &[usize]) -> Vec<u32> {
        let (mut chunks, mut spans) = (Vec::new(), Vec::new());
        let most = if self.serial { usize::MAX } else { CHUNK_EVENTS };
        for part in &batch.parts {
            let spans_at = low(spans.len());
            spans.extend(part.spans.iter().map(|&(start, n)| Span { start, slot: slot(n) }));
            let mut from = part.events.0;
            while from < part.events.1 {
                let range = bounds.partition_point(|&b| b <= from) - 1;
                let to = part.events.1.min(bounds[range + 1]).min(from.saturating_add(most));
                chunks.push(Chunk {
                    first: low(from),
                    events: low(to - from),
                    spans_at,
                    spans: low(part.spans.len()),
                    all: part.all,
                    lane: part.lane,
                    seq: part.seq + (from - part.events.0) as u64,
                    range: low(range),
                    at: low(from - bounds[range]),
                });
                from = to;
            }
        }
        let mut head = vec![0; batch::FIXED];
        // A batch of no chunks is dispatched as well.
        head[batch::GROUPS] = low(chunks.len().max(1));
        head[batch::EVENTS] = low(batch.events.len());
        head[batch::CHUNKS] = low(chunks.len());
        head[batch::SPANS_AT] = low(batch::FIXED + chunks.len() * batch::CHUNK);
        head[batch::TABLE_MASK] = low(self.shape.tables[self.grown] - 1);
        head[batch::SEED..batch::SEED + 4].copy_from_slice(&self.shape.seed);
        head[batch::FROZEN] = u32::from(batch.frozen);
        head[batch::GENERATION] = batch.generation;
        head[batch::DENSE_KEYS] = self.shape.dense_keys;
        chunks.iter().for_each(|chunk| head.extend(chunk.words()));
        spans.iter().for_each(|span| head.extend(span.words()));
        head
    }

    fn ingest(&mut self, batch: &Batch) -> Result<Seen> {
        if self.shape.filtered && !batch.events.is_empty() {
            let ids: Vec<u32> =
                batch.dropped.iter().map(|&d| if d { DROPPED } else { 0x8000_1234 }).collect();
            self.queue.write(self.bufs.ids.id, 0, &ids)?;
        }
        let (leases, bounds) = self.lend(batch);
        let head = self.head(batch, &bounds);
        let out = self.submit(self.ingest, &head, leases)?.expect("a batch has an output");
        self.ids = out[batch::OUT_KEYS] as usize;
        let mut aside = out[batch::OUT_FIXED..][..out[batch::OUT_ASIDE] as usize].to_vec();
        aside.sort_unstable();
        Ok(Seen::Ingested(out[0], out[batch::OUT_KEYS], aside))
    }

    fn walk(&self, (from, to): (usize, usize), more: &[u32]) -> Vec<u32> {
        [&[low((to - from).div_ceil(256)), low(from), low(to)], more].concat()
    }

    fn slots(into: page::Slot, slots: &[u32]) -> Vec<u32> {
        let named: Vec<page::Slot> = slots.iter().copied().map(slot).collect();
        [&into[..], &[low(slots.len())], named.as_flattened()].concat()
    }

    fn fire(&mut self, slots: &[u32], into: Option<u32>) -> Result<Seen> {
        let (mut rows, words) = (BTreeMap::new(), self.shape.out_words());
        for from in (0..self.ids).step_by(FIRE_IDS) {
            let named = Self::slots(into.map_or(merge::NO_SLOT, slot), slots);
            let head = self.walk((from, self.ids.min(from + FIRE_IDS)), &named);
            let out = self.submit(self.fire, &head, Vec::new())?.expect("rows come back");
            let used = fire::FIRE_FIXED + out[fire::FIRE_ROWS] as usize * words;
            assert_eq!(out[0] as usize, used, "words in use");
            for row in out[fire::FIRE_FIXED..used].chunks_exact(words) {
                let key = batch::join(row[0], row[1]);
                let twice = rows.insert(key, row[fire::FIRE_KEY..].to_vec());
                assert!(twice.is_none(), "key {key} was emitted twice");
            }
        }
        Ok(Seen::Fired(rows))
    }

    fn refill(&mut self) -> Result<()> {
        let mut head = self.walk((0, self.ids), &[0, low(self.shape.tables[self.grown] - 1)]);
        head.extend(self.shape.seed);
        self.submit(self.rehash[self.grown], &head, Vec::new()).map(|_| ())
    }

    fn expire(&mut self, before: u32, live: &[u32]) -> Result<()> {
        self.queue.write(self.bufs.counts.id, 0, &[low(self.ids), 0, 0])?;
        let head = self.walk((0, self.ids), &Self::slots([before, 0], live));
        self.submit(self.expire, &head, Vec::new())?;
        self.refill()
    }

    fn read(&mut self, buffer: Buf<u32>, words: usize) -> Result<Vec<u32>> {
        let mut into = vec![0; words];
        self.queue.read(buffer.id, 0, &mut into)?;
        Ok(into)
    }

    fn look(&mut self) -> Result<Seen> {
        let counts = self.read(self.bufs.counts, 3)?;
        let hashed = matches!(self.shape.keys, Keys::Hashed(_));
        let (key_words, record_words) = (self.shape.key_words(), self.shape.record_words());
        let records = self.read(self.bufs.records, KEYS_MAX * record_words)?;
        let words = [0, 1].map(|value| self.shape.layout(value).words);
        let mut held = [vec![], vec![]];
        for value in 0..2 {
            for page in 0..self.shape.pages {
                let size = self.shape.page_blocks() * BLOCK_IDS * words[value];
                held[value].extend(self.read(self.bufs.rows[value][page], size)?);
            }
        }
        let (mut rows, mut seen) = (BTreeMap::new(), BTreeMap::new());
        for id in 0..self.ids {
            let record = &records[id * record_words..][..record_words];
            let high = if key_words == 2 { record[1] } else { 0 };
            let key = if hashed { batch::join(record[0], high) } else { id as u64 };
            let known = !hashed || record[key_words] != 0;
            if hashed && known {
                assert!(seen.insert(key, record[key_words]).is_none(), "key {key} has two ids");
            }
            for slot in 0..SLOTS {
                let map = page::slot_map(&self.map, self::slot(slot));
                let row = [0, 1].map(|value| {
                    let at = page::row_at(map, low(id), words[value]);
                    &held[value][at..at + words[value]]
                });
                let row = row.concat();
                if row.iter().any(|&word| word != 0) {
                    assert!(known, "a forgotten key has a row in slot {slot}");
                    rows.insert((key, slot), row);
                }
            }
        }
        Ok(Seen::State(rows, seen, [counts[0], counts[1], counts[2]]))
    }
}

/// What a script shows on a device.
pub fn trace(device: &Device, script: &Script) -> Result<Vec<Seen>> {
    let mut bed = Bed::new(device, &script.shape)?;
    let mut trace = Vec::new();
    for act in &script.acts {
        match act {
            Act::Ingest(batch) => trace.push(bed.ingest(batch)?),
            Act::Fire(slots, into) => trace.push(bed.fire(slots, *into)?),
            Act::Merge(slots, into) => {
                let head = bed.walk((0, bed.ids), &Bed::slots(slot(*into), slots));
                bed.submit(bed.merge, &head, Vec::new())?;
            }
            Act::Clear(slots) => {
                let head = bed.walk((0, bed.ids), &Bed::slots(merge::NO_SLOT, slots));
                bed.submit(bed.clear, &head, Vec::new())?;
            }
            Act::Grow if matches!(script.shape.keys, Keys::Hashed(_)) => {
                bed.grown = 1;
                bed.queue.resize(bed.bufs.table.id, 2 * script.shape.tables[1])?;
                bed.refill()?;
            }
            Act::Grow => {}
            Act::Expire(before, live) => bed.expire(*before, live)?,
            Act::Look => trace.push(bed.look()?),
        }
    }
    Ok(trace)
}
