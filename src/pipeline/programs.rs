//! The buffers of one window query and the programs that run over them.

use super::options::{Options, Query};
use crate::base::error::{Error, Result};
use crate::base::limits::{BATCH_RANGES_MAX, BLOCK_IDS, CHUNK_EVENTS, word as u};
use crate::device::{Caps, ProgramId, Queue};
use crate::ops::batch::{self, OUT_FIXED};
use crate::ops::ends::{ELECT, ENDS};
use crate::ops::expire::{EXPIRE, EXPIRE_SLOT, ExpireParams};
use crate::ops::filter;
use crate::ops::fire::{FIRE, FIRE_FIXED, FIRE_KEY, FireParams};
use crate::ops::fold::{FOLD, RowParams};
use crate::ops::keys::{
    COUNTS_LIST, DENSE, KEYS, KeysParams, REHASH, RESOLVE, SETTLE, WALK_GROUPS,
};
use crate::ops::merge::{CLEAR, MERGE, WALK_WORDS, ZERO, ZeroParams};
use crate::ops::row::{FIRST, LAST, Layout};
use crate::plan::{Buf, BufId, Grid, Kernel, Memory, Plan, Role};

/// Pieces of lanes that one batch puts together, at most.
pub(super) const PIECES_MAX: usize = BATCH_RANGES_MAX;
/// Spans that one batch names before it takes no further event.
pub(super) const SPANS_MAX: usize = 4 * PIECES_MAX;
/// Slots that one expiry looks at, at most.
pub(super) const EXPIRE_SLOTS_MAX: usize = 1 << 12;

/// One value's accumulators.
pub(super) struct Group {
    pub(super) layout: Layout,
    pub(super) rows: Buf<u32>,
    /// Where its words begin in an emitted row.
    pub(super) out_at: usize,
}

/// Everything a query needs on its device.
pub(super) struct Programs {
    pub(super) memory: Memory,
    pub(super) groups: Vec<Group>,
    pub(super) table: Buf<u32>,
    pub(super) keys: Buf<u32>,
    pub(super) counts: Buf<u32>,
    pub(super) map: Buf<u32>,
    /// Words of a key record, 0 for dense keys.
    pub(super) record_words: usize,
    /// Words of an emitted row.
    pub(super) out_words: usize,
    /// Rows that one firing emits, at most.
    pub(super) fire_rows: usize,
    pub(super) ingest: ProgramId,
    pub(super) merge: ProgramId,
    pub(super) clear: ProgramId,
    pub(super) fire: ProgramId,
    pub(super) rehash: Option<ProgramId>,
    pub(super) expire: Option<ProgramId>,
    /// Zeroes a table of so many words.
    zero: Option<(usize, ProgramId)>,
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
        let (events, fire_rows) = (options.batch_events, options.result_rows);
        let (groups, out_words) = declare_groups(&mut memory, query);
        let b = Buffers::declare(&mut memory, record_words, events, (fire_rows, out_words));
        let mut plan = Plan {
            events_max: events,
            stride: query.stride,
            output: Some(b.ingested.id),
            ..Plan::new("ingest", head_words(events, query.shape.slices()))
        };
        let code = query
            .filter
            .as_ref()
            .map(|code| (code, filter::record(&mut plan, &mut memory, code, b.ids)));
        queue.alloc(&memory.buffers)?;
        if let Some((code, buffer)) = code {
            queue.write(buffer.id, 0, code.words())?;
        }
        let keys = KeysParams {
            stride: u(query.stride),
            key_word: u(query.key.map_or(0, |c| c.word())),
            key_words: u(key_words),
            record_words: u(record_words),
            filtered: u32::from(query.filter.is_some()),
            expires: u32::from(query.ttl.is_some()),
            pad0: 0,
            pad1: 0,
        };
        let rows: Vec<RowParams> = (query.values.iter())
            .map(|v| row_params(query, v.word, v.kind as u32, v.parts, v.fraction, caps.serial))
            .collect();
        let shape = Shape { query, caps, b: &b, groups: &groups, rows: &rows, keys, out_words };
        let ingest = queue.compile(&shape.ingest(plan), &memory)?;
        let merge = queue.compile(&shape.walk("merge", &MERGE), &memory)?;
        let clear = queue.compile(&shape.walk("clear", &CLEAR), &memory)?;
        let fire = queue.compile(&shape.fire(), &memory)?;
        let rehash = hashed.then(|| queue.compile(&shape.rehash(), &memory)).transpose()?;
        let expire = (hashed && query.ttl.is_some())
            .then(|| queue.compile(&shape.expire(), &memory))
            .transpose()?;
        let Buffers { table, keys, counts, map, .. } = b;
        Ok(Self {
            memory,
            groups,
            table,
            keys,
            counts,
            map,
            record_words,
            out_words,
            fire_rows,
            ingest,
            merge,
            clear,
            fire,
            rehash,
            expire,
            zero: None,
        })
    }

    /// Words of the largest block of rows.
    pub(super) fn block_words(&self) -> usize {
        self.groups.iter().map(|g| g.layout.words * BLOCK_IDS).max().unwrap_or(1)
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
        let id = self.table.id;
        let words = self.memory.decl(id).map_or(0, |d| d.words);
        if let Some((_, program)) = self.zero.filter(|(zeroed, _)| *zeroed == words) {
            return Ok(program);
        }
        let mut plan = Plan::new("zero", 4);
        let params = ZeroParams { words: u(words), pad0: 0, pad1: 0, pad2: 0 };
        plan.step(&ZERO, Grid::Groups(u(words.div_ceil(4 * CHUNK_EVENTS))), params, &[id]);
        let program = queue.compile(&plan, &self.memory)?;
        self.zero = Some((words, program));
        Ok(program)
    }
}

struct Buffers {
    ids: Buf<u32>,
    table: Buf<u32>,
    keys: Buf<u32>,
    counts: Buf<u32>,
    map: Buf<u32>,
    emitted: Buf<u32>,
    ingested: Buf<u32>,
    fired: Buf<u32>,
}

/// Rows that come back with a firing at once; more are fetched when there are more.
const FIRE_EAGER: usize = 512;

impl Buffers {
    fn declare(
        m: &mut Memory,
        record_words: usize,
        events: usize,
        (rows, words): (usize, usize),
    ) -> Self {
        let eager = FIRE_FIXED + rows.min(FIRE_EAGER) * words;
        Self {
            ids: m.buffer("ids", Role::Scratch, events),
            table: m.buffer("table", Role::State, 4),
            keys: m.buffer("keys", Role::State, record_words),
            counts: m.buffer("counts", Role::State, COUNTS_LIST),
            map: m.buffer("map", Role::State, 4),
            emitted: m.buffer("emitted", Role::Scratch, rows),
            ingested: m.buffer("out", Role::Output { eager: OUT_FIXED }, OUT_FIXED + events),
            fired: m.buffer("out", Role::Output { eager }, FIRE_FIXED + rows * words),
        }
    }
}

/// The accumulators of each value, and the words of an emitted row.
fn declare_groups(memory: &mut Memory, query: &Query) -> (Vec<Group>, usize) {
    let mut out_at = FIRE_KEY;
    let mut groups = Vec::new();
    for value in &query.values {
        let layout = Layout::new(value.parts);
        let rows = memory.buffer("rows", Role::State, BLOCK_IDS * layout.words);
        groups.push(Group { layout, rows, out_at });
        out_at += layout.words;
    }
    (groups, out_at)
}

/// What the plans are recorded from.
struct Shape<'a> {
    query: &'a Query,
    caps: &'a Caps,
    b: &'a Buffers,
    groups: &'a [Group],
    rows: &'a [RowParams],
    keys: KeysParams,
    out_words: usize,
}

const PER_CHUNK: Grid = Grid::Head(batch::GROUPS);
const PER_ID: Grid = Grid::Head(WALK_GROUPS);

impl Shape<'_> {
    fn ingest(&self, mut plan: Plan) -> Plan {
        let b = self.b;
        if self.query.dense.is_some() {
            plan.step(&DENSE, PER_CHUNK, self.keys, &[b.ids.id, b.ingested.id]);
        } else {
            let (table, keys, ids, counts) = (b.table.id, b.keys.id, b.ids.id, b.counts.id);
            plan.step(&KEYS, PER_CHUNK, self.keys, &[table, keys, ids, counts, b.ingested.id]);
            if !self.caps.serial {
                plan.step(&SETTLE, PER_CHUNK, self.keys, &[table, keys, ids, counts]);
                plan.step(
                    &RESOLVE,
                    PER_CHUNK,
                    self.keys,
                    &[table, keys, ids, counts, b.ingested.id],
                );
            }
        }
        for (group, row) in self.groups.iter().zip(self.rows) {
            let binds = [b.ids.id, b.map.id, group.rows.id];
            plan.step(&FOLD, PER_CHUNK, *row, &binds);
            if !self.caps.serial && row.parts & (FIRST | LAST) != 0 {
                plan.step(&ELECT, PER_CHUNK, *row, &binds);
                plan.step(&ENDS, PER_CHUNK, *row, &binds);
            }
        }
        plan
    }

    fn walk(&self, name: &'static str, kernel: &'static Kernel) -> Plan {
        let mut plan = Plan::new(name, WALK_WORDS);
        for (group, row) in self.groups.iter().zip(self.rows) {
            plan.step(kernel, PER_ID, *row, &[self.b.map.id, group.rows.id]);
        }
        plan
    }

    fn fire(&self) -> Plan {
        let b = self.b;
        let mut plan = Plan { output: Some(b.fired.id), ..Plan::new("fire", WALK_WORDS) };
        for (i, (group, row)) in self.groups.iter().zip(self.rows).enumerate() {
            let params = FireParams {
                parts: row.parts,
                row_words: row.row_words,
                out_words: u(self.out_words),
                out_at: u(group.out_at),
                lead: u32::from(i == 0),
                key_words: if self.query.dense.is_some() { 0 } else { self.keys.key_words },
                record_words: self.keys.record_words,
                extremes: row.extremes,
                fixed: row.fixed,
                squares: row.squares,
                exact: row.exact,
                first: row.first,
                last: row.last,
                pad0: 0,
                pad1: 0,
                pad2: 0,
            };
            let binds = [b.keys.id, b.map.id, group.rows.id, b.emitted.id, b.fired.id];
            plan.step(&FIRE, PER_ID, params, &binds);
        }
        plan
    }

    fn rehash(&self) -> Plan {
        let mut plan = Plan::new("rehash", batch::FIXED);
        plan.step(&REHASH, PER_ID, self.keys, &[self.b.table.id, self.b.keys.id]);
        plan
    }

    fn expire(&self) -> Plan {
        let params = ExpireParams {
            record_words: self.keys.record_words,
            seen_word: self.keys.key_words,
            row_words: self.rows[0].row_words,
            pad0: 0,
        };
        let b = self.b;
        let mut plan = Plan::new("expire", EXPIRE_SLOT + EXPIRE_SLOTS_MAX);
        let binds = [b.keys.id, b.counts.id, b.map.id, self.groups[0].rows.id];
        plan.step(&EXPIRE, PER_ID, params, &binds);
        plan
    }
}

fn row_params(
    q: &Query,
    value: usize,
    kind: u32,
    parts: u32,
    fraction: u32,
    serial: bool,
) -> RowParams {
    let l = Layout::new(parts);
    RowParams {
        stride: u(q.stride),
        time_word: u(q.time.word()),
        value_word: u(value),
        kind,
        parts,
        fraction,
        row_words: u(l.words),
        ends: u32::from(serial),
        extremes: u(l.extremes),
        fixed: u(l.fixed),
        squares: u(l.squares),
        exact: u(l.exact),
        first: u(l.first),
        last: u(l.last),
        pad0: 0,
        pad1: 0,
    }
}
