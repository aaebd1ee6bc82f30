//! Scripts on a device, and what can be seen of the results.

use super::plans::{
    Bufs, FIRE_IDS, block_map, expire_plan, fire_plan, ingest_plan, low, memory, rehash_plan, slot,
    walk_plan, zero_plan,
};
use super::{Act, Batch, KEYS_MAX, Keys, SLOTS, STRIDE, Script, Seen, Shape};
use pelton::Result;
use pelton::base::limits::{BLOCK_IDS, CHUNK_EVENTS, TABLE_PAGES_MAX};
use pelton::device::{Device, Output, ProgramId, Queue, QueueOptions};
use pelton::ops::batch::{self, Chunk, DROPPED, Span};
use pelton::ops::{fire, keys, merge, page};
use pelton::plan::{Buf, Plan};
use pelton::ring::{Lane, LaneOptions, Lease, Tail, lane};
use std::collections::BTreeMap;

struct Bed<'a> {
    shape: &'a Shape,
    serial: bool,
    queue: Box<dyn Queue>,
    bufs: Bufs,
    map: Vec<u32>,
    merge: ProgramId,
    clear: ProgramId,
    /// For each page of records.
    fire: Vec<ProgramId>,
    expire: Vec<ProgramId>,
    /// For the table before and after growth.
    tables: [Table; 2],
    lane: Lane<[u32; STRIDE]>,
    tail: Tail,
    grown: usize,
    ids: usize,
}

/// The programs over a table of one size.
struct Table {
    ingest: ProgramId,
    zero: ProgramId,
    /// For each page of records.
    rehash: Vec<ProgramId>,
}

impl<'a> Bed<'a> {
    fn new(device: &Device, shape: &'a Shape) -> Result<Self> {
        let serial = device.caps().serial;
        let mut queue = device.queue(QueueOptions { in_flight: 2, outputs: 2 })?;
        let (memory, bufs) = memory(shape);
        queue.alloc(&memory.buffers)?;
        let mut compile = |plan: Plan| queue.compile(&plan, &memory);
        let merge = compile(walk_plan(shape, &bufs, &merge::MERGE))?;
        let clear = compile(walk_plan(shape, &bufs, &merge::CLEAR))?;
        let pages = 0..bufs.records.len();
        let fire = pages.clone().map(|page| compile(fire_plan(shape, page, &bufs)));
        let fire = fire.collect::<Result<_>>()?;
        let expire = pages.clone().map(|page| compile(expire_plan(shape, page, &bufs)));
        let expire = expire.collect::<Result<_>>()?;
        let mut table = |slots| {
            let rehash = pages.clone().map(|page| rehash_plan(shape, page, &bufs, slots));
            Ok(Table {
                ingest: compile(ingest_plan(shape, serial, slots, &bufs))?,
                zero: compile(zero_plan(shape, &bufs, slots))?,
                rehash: rehash.map(&mut compile).collect::<Result<_>>()?,
            })
        };
        let tables = [table(shape.tables[0])?, table(shape.tables[1])?];
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
            merge,
            clear,
            fire,
            expire,
            tables,
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
        head[batch::IDS_KNOWN] = low(self.ids);
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
        let out = self
            .submit(self.tables[self.grown].ingest, &head, leases)?
            .expect("a batch has an output");
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
        let parts = self.pages().into_iter().flat_map(|(page, (first, end))| {
            (first..end).step_by(FIRE_IDS).map(move |from| (page, (from, end.min(from + FIRE_IDS))))
        });
        for (page, ids) in parts {
            let named = Self::slots(into.map_or(page::NO_SLOT, slot), slots);
            let head = self.walk(ids, &named);
            let out = self.submit(self.fire[page], &head, Vec::new())?.expect("rows come back");
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

    /// The ids in use, page by page of their records.
    fn pages(&self) -> Vec<(usize, (usize, usize))> {
        let page =
            if let Keys::Dense(_) = self.shape.keys { KEYS_MAX } else { self.shape.page_ids };
        let ids = |first: usize| (first, self.ids.min(first + page));
        (0..self.ids).step_by(page).map(ids).enumerate().collect()
    }

    fn refill(&mut self) -> Result<()> {
        let slots = self.shape.tables[self.grown];
        self.submit(self.tables[self.grown].zero, &[0; batch::FIXED], Vec::new())?;
        self.queue.write(self.bufs.counts.id, keys::COUNTS_FILL, &[0; TABLE_PAGES_MAX])?;
        for (page, ids) in self.pages() {
            let mut head = self.walk(ids, &[0, low(slots - 1)]);
            head.extend(self.shape.seed);
            self.submit(self.tables[self.grown].rehash[page], &head, Vec::new())?;
        }
        Ok(())
    }

    fn expire(&mut self, before: u32, live: &[u32]) -> Result<()> {
        self.queue.write(self.bufs.counts.id, 0, &[low(self.ids), 0, 0])?;
        for (page, ids) in self.pages() {
            let head = self.walk(ids, &Self::slots([before, 0], live));
            self.submit(self.expire[page], &head, Vec::new())?;
        }
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
        let mut records = Vec::new();
        for (page, buffer) in self.bufs.records.clone().into_iter().enumerate() {
            let ids = self.shape.page_ids.min(KEYS_MAX - page * self.shape.page_ids);
            records.extend(self.read(buffer, ids * record_words)?);
        }
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
                let head = bed.walk((0, bed.ids), &Bed::slots(page::NO_SLOT, slots));
                bed.submit(bed.clear, &head, Vec::new())?;
            }
            Act::Grow if matches!(script.shape.keys, Keys::Hashed(_)) => {
                bed.grown = 1;
                let words = script.shape.table_words(script.shape.tables[1])[0];
                bed.queue.resize(bed.bufs.table[0].id, words)?;
                bed.refill()?;
            }
            Act::Grow => {}
            Act::Expire(before, live) => bed.expire(*before, live)?,
            Act::Look => trace.push(bed.look()?),
        }
    }
    Ok(trace)
}
