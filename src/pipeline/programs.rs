//! The buffers of one window query and the programs that run over them.
//!
//! Rows, the key table and key records lie in pages, each in a buffer of its own that grows to what one binding of the
//! device holds; then another page is added, and nothing is copied.

use super::options::{Options, Query};
use super::plans::{Plans, Scoring, key_params, row_params};
use super::scores::Scored;
use crate::base::error::{Error, Result};
use crate::base::limits::{
    BATCH_RANGES_MAX, BLOCK_IDS, BUFFERS_MAX, CHUNK_EVENTS, IDS_MAX, TABLE_PAGES_MAX,
    TABLE_SLOTS_MAX, word as u,
};
use crate::device::{Caps, ProgramId, Queue};
use crate::ops::batch::{self, OUT_FIXED};
use crate::ops::filter;
use crate::ops::fire::{FIRE_FIXED, FIRE_KEY};
use crate::ops::group::GroupOptions;
use crate::ops::keys::COUNTS_LIST;
use crate::ops::merge::{CLEAR, MERGE, ZERO, ZeroParams};
use crate::ops::row::Layout;
use crate::plan::{Buf, BufId, Grid, Memory, Plan, Role};

/// Pieces of lanes that one batch puts together, at most.
pub(super) const PIECES_MAX: usize = BATCH_RANGES_MAX;
/// Spans that one batch names before it takes no further event.
pub(super) const SPANS_MAX: usize = 4 * PIECES_MAX;
/// Slots that one expiry looks at, at most.
pub(super) const EXPIRE_SLOTS_MAX: usize = 1 << 12;

/// One value's accumulators.
pub(super) struct Group {
    pub(super) layout: Layout,
    /// Its rows, page by page.
    pub(super) pages: Vec<Buf<u32>>,
    /// Where its words begin in an emitted row.
    pub(super) out_at: usize,
}

impl Group {
    /// Words of a block of its rows.
    pub(super) const fn block_words(&self) -> usize {
        self.layout.words * BLOCK_IDS
    }
}

/// Everything a query needs on its device.
pub(super) struct Programs {
    pub(super) memory: Memory,
    pub(super) groups: Vec<Group>,
    /// Blocks that each page has room for now.
    rooms: Vec<usize>,
    plans: Plans,
    pub(super) buffers: Buffers,
    /// Words of a key record, and of a slot of the key table; 0 for dense keys.
    pub(super) record_words: usize,
    /// Words of an emitted row.
    pub(super) out_words: usize,
    /// Rows that one firing emits, at most.
    pub(super) fire_rows: usize,
    pub(super) paged: Paged,
    /// Zeroes a table of so many words.
    zero: Option<(usize, ProgramId)>,
}

/// The programs that are compiled anew when a page is added. Walks that need key records have one for each page of
/// these.
pub(super) struct Paged {
    pub(super) ingest: ProgramId,
    pub(super) merge: ProgramId,
    pub(super) clear: ProgramId,
    pub(super) fire: Vec<ProgramId>,
    /// None for keys that stay, and for scores, whose states leave the device by the host's hand.
    pub(super) expire: Vec<ProgramId>,
    /// None for dense keys.
    pub(super) rehash: Vec<ProgramId>,
}

impl Paged {
    fn compile(
        queue: &mut dyn Queue,
        memory: &Memory,
        plans: &Plans,
        (b, groups): (&Buffers, &[Group]),
    ) -> Result<Self> {
        let expires = plans.expires() && plans.scoring.is_none();
        let mut compile = |plan: Plan| queue.compile(&plan, memory);
        let (ingest, merge, clear) = (
            compile(plans.ingest(b, groups))?,
            compile(plans.walk("merge", &MERGE, (b, groups)))?,
            compile(plans.walk("clear", &CLEAR, (b, groups)))?,
        );
        let mut of_records = |needed: bool, plan: &dyn Fn(usize) -> Plan| -> Result<Vec<_>> {
            let pages = if needed { b.records.len() } else { 0 };
            (0..pages).map(|page| compile(plan(page))).collect()
        };
        let fire = of_records(true, &|page| plans.fire(page, b, groups))?;
        let expire = of_records(expires, &|page| plans.expire(page, b, groups))?;
        let rehash = of_records(!plans.dense, &|page| plans.rehash(page, b))?;
        Ok(Self { ingest, merge, clear, fire, expire, rehash })
    }
}

/// Words of an ingest header, at most: the last event may go to as many windows as there are slices in one, and the end
/// of a lane's ring may cut the last piece in two.
fn head_words(events: usize, slices: u64) -> usize {
    let chunks = events / CHUNK_EVENTS + PIECES_MAX + 1;
    let spans = SPANS_MAX + 2 * usize::try_from(slices).expect("few slices");
    batch::FIXED + chunks * batch::CHUNK + spans * batch::SPAN
}

impl Programs {
    /// Declares, allocates and compiles everything.
    pub(super) fn new(
        queue: &mut dyn Queue,
        caps: &Caps,
        query: &Query,
        options: &Options,
    ) -> Result<Self> {
        let mut memory = Memory::default();
        let hashed = query.dense.is_none();
        let key_words = query.key.map_or(0, |c| c.dtype.bytes() / 4);
        let record_words = if hashed { 2 * key_words } else { 0 };
        let (page_slots, page_ids) = (page_slots(record_words, caps), page_ids(record_words, caps));
        let (events, fire_rows) = (options.batch_events, options.result_rows);
        let (groups, out_words) = declare_groups(&mut memory, query);
        let score_words = query.scores.as_ref().map_or(0, Scored::row_words);
        let sizes = ((events, score_words), (fire_rows, out_words));
        let b = Buffers::declare(&mut memory, record_words, sizes);
        let scoring = query.scores.as_ref().map(|scored| {
            let chunks = events / CHUNK_EVENTS + PIECES_MAX + 1;
            let ids = query.dense.map_or(options.keys_max + events, |keys| keys as usize);
            let grouped = GroupOptions { events, chunks, ids: ids.min(IDS_MAX) };
            Scoring::record(&mut memory, scored, &b, caps.serial, &grouped)
        });
        let mut opening = Plan {
            events_max: events,
            stride: query.stride,
            output: Some(b.ingested.id),
            ..Plan::new("ingest", head_words(events, query.shape.slices()))
        };
        let code = query
            .filter
            .as_ref()
            .map(|code| (code, filter::record(&mut opening, &mut memory, code, b.ids)));
        queue.alloc(&memory.buffers)?;
        if let Some((code, buffer)) = code {
            queue.write(buffer.id, 0, code.words())?;
        }
        let plans = Plans {
            opening,
            dense: !hashed,
            serial: caps.serial,
            keys: key_params(query, (key_words, record_words), (page_slots, page_ids)),
            rows: row_params(query, caps.serial),
            scoring,
            out_words,
            page_blocks: page_blocks(&groups, caps),
            page_slots,
            page_ids,
        };
        let paged = Paged::compile(queue, &memory, &plans, (&b, &groups))?;
        Ok(Self {
            memory,
            groups,
            rooms: vec![1],
            plans,
            buffers: b,
            record_words,
            out_words,
            fire_rows,
            paged,
            zero: None,
        })
    }

    /// Words of the largest block of rows.
    pub(super) fn block_words(&self) -> usize {
        block_words(&self.groups)
    }

    /// Blocks in a page.
    pub(super) const fn page_blocks(&self) -> usize {
        self.plans.page_blocks
    }

    /// Whether there is room for this block now.
    pub(super) fn has_block(&self, block: u32) -> bool {
        let (page, within) =
            (block as usize / self.page_blocks(), block as usize % self.page_blocks());
        self.rooms.get(page).is_some_and(|&room| within < room)
    }

    /// Blocks that there is room for beyond those used of each page.
    pub(super) fn blocks_free(&self, used: impl Iterator<Item = usize>) -> usize {
        self.rooms.iter().zip(used).map(|(room, used)| room - used).sum()
    }

    /// Words of all rows.
    pub(super) fn rows_words(&self) -> usize {
        let words: usize = self.groups.iter().map(Group::block_words).sum();
        words * self.rooms.iter().sum::<usize>()
    }

    /// Makes room for so many blocks in each page.
    pub(super) fn provide(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        used: impl ExactSizeIterator<Item = usize>,
    ) -> Result<()> {
        let had = self.rooms.len();
        while self.rooms.len() < used.len() {
            self.add_page(queue, caps)?;
        }
        if self.rooms.len() > had {
            self.compile(queue)?;
        }
        for (page, used) in used.enumerate() {
            if used > self.rooms[page] {
                // Half as much again, so that growing costs a constant share.
                let room = (used + used / 2).max(4).min(self.page_blocks());
                for g in 0..self.groups.len() {
                    let words = room * self.groups[g].block_words();
                    self.resize(queue, caps, self.groups[g].pages[page].id, words)?;
                }
                self.rooms[page] = room;
            }
        }
        Ok(())
    }

    fn add_page(&mut self, queue: &mut dyn Queue, caps: &Caps) -> Result<()> {
        self.has_room_for(self.groups.len(), caps)?;
        let first = self.memory.buffers.len();
        for group in &mut self.groups {
            group.pages.push(self.memory.buffer("rows", Role::State, group.block_words()));
        }
        queue.alloc(&self.memory.buffers[first..])?;
        self.rooms.push(1);
        Ok(())
    }

    /// Compiles what has a step for each page.
    fn compile(&mut self, queue: &mut dyn Queue) -> Result<()> {
        let parts = (&self.buffers, &self.groups[..]);
        self.paged = Paged::compile(queue, &self.memory, &self.plans, parts)?;
        Ok(())
    }

    /// There is an end to the pages.
    fn has_room_for(&self, buffers: usize, caps: &Caps) -> Result<()> {
        if self.memory.buffers.len() + buffers <= BUFFERS_MAX {
            return Ok(());
        }
        let mib = caps.bind_words_max >> 18;
        Err(Error::unsupported(
            &caps.name,
            format!(
                "the state needs more than {BUFFERS_MAX} buffers, one binding has at most {mib} MiB: fewer keys, \
                 values or open windows, or another device"
            ),
        ))
    }

    /// The page that an id's record lies in, and the first id after it.
    pub(super) fn page_of_records(&self, id: usize) -> (usize, usize) {
        if self.plans.dense {
            return (0, usize::MAX);
        }
        let page = id / self.page_ids();
        (page, (page + 1) * self.page_ids())
    }

    /// Ids in a page of key records.
    pub(super) const fn page_ids(&self) -> usize {
        self.plans.page_ids
    }

    /// Slots in a page of the key table.
    pub(super) const fn page_slots(&self) -> usize {
        self.plans.page_slots
    }

    /// Makes room for the records of so many ids, and for as many on the list of free ones as it takes.
    pub(super) fn provide_records(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        ids: usize,
    ) -> Result<()> {
        let words = ids * self.record_words;
        let page = self.page_ids() * self.record_words;
        self.provide_keys(queue, caps, ("keys", |b| &mut b.records), (words, page))?;
        if self.plans.expires() {
            // Keys that find no place on the list are forgotten another time.
            let words = (COUNTS_LIST + ids).min(caps.bind_words_max / 4 * 4);
            self.resize(queue, caps, self.buffers.counts.id, words)?;
        }
        Ok(())
    }

    /// Makes a table of so many slots, a power of two; what it has in them is no table any more.
    pub(super) fn provide_table(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        slots: usize,
    ) -> Result<()> {
        // A slot has as many words as a key record.
        let words = slots * self.record_words;
        let page = self.page_slots() * self.record_words;
        if words.div_ceil(page) > TABLE_PAGES_MAX {
            let (have, need) = (page >> 18, words >> 18);
            return Err(Error::unsupported(
                &caps.name,
                format!(
                    "the key table needs {need} MiB in pages of {have}, {TABLE_PAGES_MAX} at most: fewer keys, or \
                     another device"
                ),
            ));
        }
        self.provide_keys(queue, caps, ("table", |b| &mut b.table), (words, page))
    }

    /// Grows the table or the records to so many words, in pages of so many.
    fn provide_keys(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        (name, of): (&'static str, PagesOf),
        (words, page): (usize, usize),
    ) -> Result<()> {
        let had = of(&mut self.buffers).len();
        for (i, at) in (0..words).step_by(page).enumerate() {
            let wanted = page.min(words - at);
            if let Some(buffer) = of(&mut self.buffers).get(i).copied() {
                if self.memory.decl(buffer.id).is_some_and(|have| have.words < wanted) {
                    self.resize(queue, caps, buffer.id, wanted)?;
                }
                continue;
            }
            self.has_room_for(1, caps)?;
            let first = self.memory.buffers.len();
            let buffer = self.memory.buffer(name, Role::State, wanted);
            queue.alloc(&self.memory.buffers[first..])?;
            of(&mut self.buffers).push(buffer);
        }
        if of(&mut self.buffers).len() > had {
            self.compile(queue)?;
        }
        Ok(())
    }

    /// Resizes a buffer on the device and in the books.
    pub(super) fn resize(
        &mut self,
        queue: &mut dyn Queue,
        caps: &Caps,
        id: BufId,
        words: usize,
    ) -> Result<()> {
        let decl = &mut self.memory.buffers[usize::from(id.0)];
        if words > caps.bind_words_max {
            let (have, need) = (caps.bind_words_max >> 18, words >> 18);
            return Err(Error::unsupported(
                &caps.name,
                format!(
                    "the state needs {need} MiB in `{}`, one binding has at most {have}: fewer keys, values or \
                     open windows, or another device",
                    decl.name
                ),
            ));
        }
        queue.resize(id, words)?;
        decl.words = words;
        Ok(())
    }

    /// A program that zeroes the table at today's size.
    pub(super) fn zero(&mut self, queue: &mut dyn Queue) -> Result<ProgramId> {
        let pages = self.buffers.table.iter().map(|page| page.id);
        let pages = pages.map(|id| (id, self.memory.decl(id).map_or(0, |d| d.words)));
        let words = pages.clone().map(|(_, words)| words).sum();
        if let Some((_, program)) = self.zero.filter(|(zeroed, _)| *zeroed == words) {
            return Ok(program);
        }
        let mut plan = Plan::new("zero", 4);
        for (id, words) in pages {
            let params = ZeroParams { words: u(words), pad0: 0, pad1: 0, pad2: 0 };
            plan.step(&ZERO, Grid::Groups(u(words.div_ceil(4 * CHUNK_EVENTS))), params, &[id]);
        }
        let program = queue.compile(&plan, &self.memory)?;
        self.zero = Some((words, program));
        Ok(program)
    }
}

/// The buffers of which each query has its own.
pub(super) struct Buffers {
    pub(super) ids: Buf<u32>,
    /// The key table, page by page.
    pub(super) table: Vec<Buf<u32>>,
    /// Key records, page by page.
    pub(super) records: Vec<Buf<u32>>,
    pub(super) counts: Buf<u32>,
    /// One buffer: an entry stands for a block of 64 rows of 16 bytes at least, so it is not what runs out.
    pub(super) map: Buf<u32>,
    pub(super) emitted: Buf<u32>,
    pub(super) ingested: Buf<u32>,
    pub(super) fired: Buf<u32>,
}

/// The table's pages, or those of the records.
type PagesOf = fn(&mut Buffers) -> &mut Vec<Buf<u32>>;

/// Words of the largest block of rows.
fn block_words(groups: &[Group]) -> usize {
    groups.iter().map(Group::block_words).max().unwrap_or(1)
}

/// Blocks in a page: as many as one binding holds, their words counted in 32 bits.
fn page_blocks(groups: &[Group], caps: &Caps) -> usize {
    let words = caps.bind_words_max.min(u32::MAX as usize);
    (words / block_words(groups)).max(1)
}

/// Slots in a page of the key table: a power of two, as many as one binding holds, their words counted in 32 bits.
fn page_slots(slot_words: usize, caps: &Caps) -> usize {
    let slots = caps.bind_words_max.min(1 << 31) / slot_words.max(1);
    (1 << slots.max(1).ilog2()).min(TABLE_SLOTS_MAX)
}

/// Ids in a page of key records: whole blocks of them, as many as one binding holds.
fn page_ids(record_words: usize, caps: &Caps) -> usize {
    let ids = caps.bind_words_max.min(1 << 31) / record_words.max(1);
    (ids / BLOCK_IDS * BLOCK_IDS).clamp(BLOCK_IDS, IDS_MAX)
}

/// Rows that come back with a firing at once; more are fetched when there are more.
const FIRE_EAGER: usize = 512;
/// Scores that come back with their batch.
const SCORE_EAGER: usize = 4096;

impl Buffers {
    fn declare(
        m: &mut Memory,
        record_words: usize,
        ((events, score_words), (rows, words)): ((usize, usize), (usize, usize)),
    ) -> Self {
        let eager = FIRE_FIXED + rows.min(FIRE_EAGER) * words;
        Self {
            ids: m.buffer("ids", Role::Scratch, events),
            table: vec![m.buffer("table", Role::State, 4)],
            records: vec![m.buffer("keys", Role::State, record_words)],
            counts: m.buffer("counts", Role::State, COUNTS_LIST),
            map: m.buffer("map", Role::State, 4),
            emitted: m.buffer("emitted", Role::Scratch, rows),
            ingested: m.buffer(
                "out",
                Role::Output { eager: OUT_FIXED + events.min(SCORE_EAGER) * score_words },
                OUT_FIXED + events * score_words.max(1),
            ),
            fired: m.buffer("out", Role::Output { eager }, FIRE_FIXED + rows * words),
        }
    }
}

/// The accumulators of each value, and the words of an emitted row.
fn declare_groups(memory: &mut Memory, query: &Query) -> (Vec<Group>, usize) {
    let mut out_at = FIRE_KEY;
    let mut groups = Vec::new();
    for value in &query.values {
        let mut layout = Layout::new(value.parts);
        if let Some(scores) = &query.scores {
            layout.words = scores.state_words();
        }
        let pages = vec![memory.buffer("rows", Role::State, BLOCK_IDS * layout.words)];
        groups.push(Group { layout, pages, out_at });
        out_at += layout.words;
    }
    (groups, out_at)
}
