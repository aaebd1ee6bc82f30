//! The memory and plans of a script, as a pipeline makes them, over one page of rows or several.

use super::{EVENTS_MAX, KEY_WORD, KEYS_MAX, Keys, SLOTS, STRIDE, Shape, TIME_WORD, VALUE_WORD};
use pelton::base::limits::BLOCK_IDS;
use pelton::base::rng::SplitMix;
use pelton::ops::page::{self, Page};
use pelton::ops::row::{FIRST, LAST, Layout};
use pelton::ops::{batch, ends, expire, fire, fold, keys, merge};
use pelton::plan::{Buf, Grid, Memory, Plan, Role};

/// Entries of the block map for each slot: one more than there are blocks of ids.
pub const MAP_STRIDE: usize = KEYS_MAX / BLOCK_IDS + 1;
/// Ids that one fire walks, so that there are several.
pub const FIRE_IDS: usize = 700;
pub const CHUNKS_MAX: usize = 1 << 13;

pub fn low(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

pub struct Bufs {
    /// The key table, page by page.
    pub table: Vec<Buf<u32>>,
    /// Key records, page by page.
    pub records: Vec<Buf<u32>>,
    pub ids: Buf<u32>,
    pub counts: Buf<u32>,
    pub map: Buf<u32>,
    /// Rows of each value, page by page.
    pub rows: [Vec<Buf<u32>>; 2],
    pub emitted: Buf<u32>,
    pub aside: Buf<u32>,
    pub fired: Buf<u32>,
}

impl Shape {
    pub fn layout(&self, value: usize) -> Layout {
        Layout::new(self.parts[value])
    }

    pub fn key_words(&self) -> usize {
        match self.keys {
            Keys::Hashed(words) | Keys::Dense(words) => words as usize,
        }
    }

    pub fn record_words(&self) -> usize {
        2 * self.key_words().max(1)
    }

    pub fn out_words(&self) -> usize {
        fire::FIRE_KEY + self.layout(0).words + self.layout(1).words
    }

    pub fn keys_params(&self) -> keys::KeysParams {
        keys::KeysParams {
            stride: low(STRIDE),
            key_word: low(KEY_WORD),
            key_words: low(self.key_words()),
            record_words: low(self.record_words()),
            filtered: u32::from(self.filtered),
            expires: u32::from(self.expires),
            first_slot: 0,
            page_slots: low(self.page_slots),
            first_id: 0,
            page_ids: low(self.page_ids),
            pad0: 0,
            pad1: 0,
        }
    }

    /// Words of each page of a table of so many slots.
    pub fn table_words(&self, slots: usize) -> Vec<usize> {
        let page = slots.min(self.page_slots);
        vec![page * self.record_words(); slots / page]
    }

    /// The parameters of the key kernels for each page of a table of so many slots.
    fn tables<'a>(
        &'a self,
        slots: usize,
        b: &'a Bufs,
    ) -> impl Iterator<Item = (keys::KeysParams, Buf<u32>)> + 'a {
        let pages = b.table.iter().take(self.table_words(slots).len()).enumerate();
        pages.map(|(i, page)| {
            let first_slot = low(i * self.page_slots);
            (keys::KeysParams { first_slot, ..self.keys_params() }, *page)
        })
    }

    /// Blocks of a page.
    pub fn page_blocks(&self) -> usize {
        (KEYS_MAX / BLOCK_IDS).div_ceil(self.pages) * SLOTS as usize
    }

    pub fn page(&self, page: usize) -> Page {
        match self.pages {
            1 => Page { first: 0, blocks: page::ALONE },
            _ => Page { first: low(page * self.page_blocks()), blocks: low(self.page_blocks()) },
        }
    }

    pub fn row_params(&self, value: usize, page: usize, ends: bool) -> fold::RowParams {
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

    pub fn fire_params(&self, value: usize, page: usize, records: usize) -> fire::FireParams {
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
            first_id: low(records * self.page_ids),
        }
    }
}

pub fn memory(shape: &Shape) -> (Memory, Bufs) {
    let mut m = Memory::default();
    let rows = |m: &mut Memory, value: usize| {
        let words = shape.page_blocks() * BLOCK_IDS * shape.layout(value).words;
        (0..shape.pages).map(|_| m.buffer::<u32>("rows", Role::State, words)).collect()
    };
    let fired = fire::FIRE_FIXED + FIRE_IDS * shape.out_words();
    let mut table = shape.table_words(shape.tables[1]);
    table[0] = shape.table_words(shape.tables[0])[0];
    let records = (0..KEYS_MAX).step_by(shape.page_ids);
    let records = records.map(|first| shape.page_ids.min(KEYS_MAX - first) * shape.record_words());
    let records: Vec<usize> = records.collect();
    let state = |m: &mut Memory, name, words: &[usize]| {
        words.iter().map(|&words| m.buffer(name, Role::State, words)).collect()
    };
    let bufs = Bufs {
        table: state(&mut m, "table", &table),
        records: state(&mut m, "records", &records),
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

pub fn zero(plan: &mut Plan, buffer: Buf<u32>, words: usize) {
    let params = merge::ZeroParams { words: low(words), pad0: 0, pad1: 0, pad2: 0 };
    plan.step(&merge::ZERO, Grid::Groups(low(words.div_ceil(1024))), params, &[buffer.id]);
}

/// Of a table of so many slots.
pub fn ingest_plan(shape: &Shape, serial: bool, slots: usize, b: &Bufs) -> Plan {
    let words = batch::FIXED + CHUNKS_MAX * (batch::CHUNK + 4 * batch::SPAN);
    let mut plan = Plan::new("ingest", words);
    (plan.events_max, plan.stride, plan.output) = (EVENTS_MAX, STRIDE, Some(b.aside.id));
    let (p, grid) = (shape.keys_params(), Grid::Head(batch::GROUPS));
    let (ids, counts, out) = (b.ids.id, b.counts.id, b.aside.id);
    if let Keys::Dense(_) = shape.keys {
        plan.step(&keys::DENSE, grid, p, &[ids, out]);
    } else {
        for (p, table) in shape.tables(slots, b) {
            plan.step(&keys::KEYS, grid, p, &[table.id, ids, counts, out]);
        }
        for (p, table) in shape.tables(slots, b) {
            plan.step(&keys::SETTLE, grid, p, &[table.id, ids, counts, out]);
        }
        for (page, records) in b.records.iter().enumerate() {
            let p = keys::KeysParams { first_id: low(page * shape.page_ids), ..p };
            plan.step(&keys::RESOLVE, grid, p, &[records.id, ids, counts, out]);
        }
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

/// For ids of this page of records.
pub fn fire_plan(shape: &Shape, records: usize, b: &Bufs) -> Plan {
    let mut plan = Plan::new("fire", merge::WALK_WORDS);
    plan.output = Some(b.fired.id);
    for (value, page, rows) in b.pages() {
        let binds = [b.records[records].id, b.map.id, rows.id, b.emitted.id, b.fired.id];
        let params = shape.fire_params(value, page, records);
        plan.step(&fire::FIRE, Grid::Head(keys::WALK_GROUPS), params, &binds);
    }
    plan
}

pub fn walk_plan(shape: &Shape, b: &Bufs, kernel: &'static pelton::plan::Kernel) -> Plan {
    let mut plan = Plan::new(kernel.name, merge::WALK_WORDS);
    for (value, page, rows) in b.pages() {
        let (p, binds) = (shape.row_params(value, page, false), [b.map.id, rows.id]);
        plan.step(kernel, Grid::Head(keys::WALK_GROUPS), p, &binds);
    }
    plan
}

/// For ids of this page of records.
pub fn expire_plan(shape: &Shape, records: usize, b: &Bufs) -> Plan {
    let mut plan = Plan::new("expire", merge::WALK_WORDS);
    for (_, page, rows) in b.pages().filter(|(value, ..)| *value == 0) {
        let params = expire::ExpireParams {
            record_words: low(shape.record_words()),
            seen_word: low(shape.key_words()),
            row_words: low(shape.layout(0).words),
            first_block: shape.page(page).first,
            blocks: shape.page(page).blocks,
            first_id: low(records * shape.page_ids),
            pad0: 0,
            pad1: 0,
        };
        let binds = [b.records[records].id, b.counts.id, b.map.id, rows.id];
        plan.step(&expire::EXPIRE, Grid::Head(keys::WALK_GROUPS), params, &binds);
    }
    plan
}

/// Zeroes a table of so many slots.
pub fn zero_plan(shape: &Shape, b: &Bufs, slots: usize) -> Plan {
    let mut plan = Plan::new("zero", batch::FIXED);
    for (page, words) in b.table.iter().zip(shape.table_words(slots)) {
        zero(&mut plan, *page, words);
    }
    plan
}

/// Fills it with ids of this page of records.
pub fn rehash_plan(shape: &Shape, records: usize, b: &Bufs, slots: usize) -> Plan {
    let mut plan = Plan::new("rehash", batch::FIXED);
    for (p, table) in shape.tables(slots, b) {
        let p = keys::KeysParams { first_id: low(records * shape.page_ids), ..p };
        let binds = [table.id, b.records[records].id, b.counts.id];
        plan.step(&keys::REHASH, Grid::Head(keys::WALK_GROUPS), p, &binds);
    }
    plan
}

impl Bufs {
    /// Value, page and rows of each step of a row kernel.
    pub fn pages(&self) -> impl Iterator<Item = (usize, usize, Buf<u32>)> + '_ {
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
pub fn slot(number: u32) -> page::Slot {
    [number * low(MAP_STRIDE), low(MAP_STRIDE - 1)]
}

/// A block for each column of each slot, in any order inside the column's page.
pub fn block_map(shape: &Shape) -> Vec<u32> {
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
