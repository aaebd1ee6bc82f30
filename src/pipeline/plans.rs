//! The plans of one window query, recorded from its parameters and the pages there are.
//!
//! A kernel binds one page of rows, of the key table, or of key records, so it has a step for each; with one page there
//! is one step. The steps for one value come before those for the next, page by page, because what the first value
//! emits decides for the others. What combines key records with rows or with the table is a walk over ids, and a walk
//! stays inside one page of records: there is a plan for each of these, so no plan has a step for each pair of pages.

use super::options::{Query, ValueSpec};
use super::programs::{Buffers, EXPIRE_SLOTS_MAX, Group};
use super::scores::Scored;
use crate::base::limits::word as u;
use crate::ops::batch::{self, OUT_FIXED};
use crate::ops::ends::{ELECT, ENDS};
use crate::ops::ensemble::ENSEMBLE;
use crate::ops::expire::{EXPIRE, EXPIRE_SLOT, ExpireParams};
use crate::ops::fire::{FIRE, FireParams};
use crate::ops::fold::{FOLD, RowParams};
use crate::ops::group::{self, GroupOptions};
use crate::ops::keys::{DENSE, KEYS, KeysParams, REHASH, RESOLVE, SETTLE, WALK_GROUPS};
use crate::ops::merge::WALK_WORDS;
use crate::ops::page::{ALONE, Page};
use crate::ops::row::{FIRST, LAST, Layout};
use crate::ops::score::ScoreParams;
use crate::plan::{BufId, Grid, Kernel, Memory, Plan, Role, Step};

/// What the plans are recorded from.
pub(super) struct Plans {
    /// The ingest plan up to where keys are looked up: the filter, if there is one.
    pub(super) opening: Plan,
    pub(super) dense: bool,
    /// Whether steps run one thread after another.
    pub(super) serial: bool,
    pub(super) keys: KeysParams,
    /// One for each value.
    pub(super) rows: Vec<RowParams>,
    /// Instead of being added to rows, events are scored.
    pub(super) scoring: Option<Scoring>,
    /// Words of an emitted row.
    pub(super) out_words: usize,
    /// Blocks in a page.
    pub(super) page_blocks: usize,
    /// Slots in a page of the key table.
    pub(super) page_slots: usize,
    /// Ids in a page of key records.
    pub(super) page_ids: usize,
}

/// How events are scored.
pub(super) struct Scoring {
    /// What each detector is told, and what takes in the rows of all but the first.
    pub(super) members: Vec<ScoreParams>,
    pub(super) joins: Vec<ScoreParams>,
    /// Rows of a detector that is not the first, where there is one.
    pub(super) rows: Option<BufId>,
    /// What groups the batch's events by id; nothing on a serial device.
    pub(super) grouping: Vec<Step>,
    /// The order of events, and where each key's begin.
    pub(super) order: BufId,
    pub(super) segments: BufId,
}

impl Scoring {
    /// Records the grouping of a batch of up to `events`; declares the buffers that it takes.
    pub(super) fn record(
        memory: &mut Memory,
        scored: &Scored,
        b: &Buffers,
        serial: bool,
        options: &GroupOptions,
    ) -> Self {
        let (members, joins) = (scored.members.clone(), scored.joins.clone());
        let words = OUT_FIXED + options.events * scored.row_words();
        let rows =
            (!joins.is_empty()).then(|| memory.buffer::<u32>("rows", Role::Scratch, words).id);
        if serial {
            // The processor takes events as they come, by their ids; what it calls segments it does not read.
            let (order, segments) = (b.ids.id, b.counts.id);
            return Self { members, joins, rows, grouping: Vec::new(), order, segments };
        }
        let mut plan = Plan::new("group", 0);
        let groups = group::record(&mut plan, memory, b.ids, options);
        let (order, segments) = (groups.order.id, groups.segments.id);
        Self { members, joins, rows, grouping: plan.steps, order, segments }
    }
}

const PER_CHUNK: Grid = Grid::Head(batch::GROUPS);
const PER_ID: Grid = Grid::Head(WALK_GROUPS);

/// The pages of a value's rows: each with its buffer.
fn pages(group: &Group, blocks: usize) -> impl Iterator<Item = (Page, BufId)> + '_ {
    let page = move |i| match group.pages.len() {
        1 => Page { first: 0, blocks: ALONE },
        _ => Page { first: u(i * blocks), blocks: u(blocks) },
    };
    group.pages.iter().enumerate().map(move |(i, rows)| (page(i), rows.id))
}

impl Plans {
    /// Whether keys are forgotten.
    pub(super) const fn expires(&self) -> bool {
        !self.dense && self.keys.expires != 0
    }

    /// The parameters of the row kernels: one for each value and page, with its rows.
    fn steps<'a>(&'a self, groups: &'a [Group]) -> impl Iterator<Item = (RowParams, BufId)> + 'a {
        groups.iter().zip(&self.rows).flat_map(|(group, row)| {
            pages(group, self.page_blocks).map(|(page, rows)| {
                (RowParams { first_block: page.first, blocks: page.blocks, ..*row }, rows)
            })
        })
    }

    /// The parameters of the key kernels for each page of the table, with the page.
    fn tables<'a>(&'a self, b: &'a Buffers) -> impl Iterator<Item = (KeysParams, BufId)> + 'a {
        b.table.iter().enumerate().map(|(i, page)| {
            (KeysParams { first_slot: u(i * self.page_slots), ..self.keys }, page.id)
        })
    }

    /// The first id of a page of records.
    fn first_id(&self, page: usize) -> u32 {
        u(page * self.page_ids)
    }

    pub(super) fn ingest(&self, b: &Buffers, groups: &[Group]) -> Plan {
        let mut plan = self.opening.clone();
        let (ids, counts, out) = (b.ids.id, b.counts.id, b.ingested.id);
        if self.dense {
            plan.step(&DENSE, PER_CHUNK, self.keys, &[ids, out]);
        } else {
            for (keys, table) in self.tables(b) {
                plan.step(&KEYS, PER_CHUNK, keys, &[table, ids, counts, out]);
            }
            for (keys, table) in self.tables(b).filter(|_| !self.serial) {
                plan.step(&SETTLE, PER_CHUNK, keys, &[table, ids, counts, out]);
            }
            for (page, records) in b.records.iter().enumerate() {
                let keys = KeysParams { first_id: self.first_id(page), ..self.keys };
                plan.step(&RESOLVE, PER_CHUNK, keys, &[records.id, ids, counts, out]);
            }
        }
        if let Some(scoring) = &self.scoring {
            self.score(&mut plan, scoring, (b, groups));
            return plan;
        }
        for (row, rows) in self.steps(groups) {
            let binds = [b.ids.id, b.map.id, rows];
            plan.step(&FOLD, PER_CHUNK, row, &binds);
            if !self.serial && row.parts & (FIRST | LAST) != 0 {
                plan.step(&ELECT, PER_CHUNK, row, &binds);
                plan.step(&ENDS, PER_CHUNK, row, &binds);
            }
        }
        plan
    }

    fn score(&self, plan: &mut Plan, scoring: &Scoring, (b, groups): (&Buffers, &[Group])) {
        plan.steps.extend(scoring.grouping.iter().cloned());
        let (order, segments, map, out) =
            (scoring.order, scoring.segments, b.map.id, b.ingested.id);
        for (i, member) in scoring.members.iter().enumerate() {
            // The first writes the rows that leave, the others those that are taken in.
            let own = if i == 0 { out } else { scoring.rows.expect("room for further rows") };
            for (page, states) in pages(&groups[0], self.page_blocks) {
                let of_page = |params: &ScoreParams| ScoreParams {
                    first_block: page.first,
                    blocks: page.blocks,
                    ..*params
                };
                let binds = [order, segments, map, states, own];
                plan.step(member.judged_by().kernel(), PER_CHUNK, of_page(member), &binds);
                if i > 0 {
                    let binds = [order, segments, map, states, own, out];
                    plan.step(&ENSEMBLE, PER_CHUNK, of_page(&scoring.joins[i - 1]), &binds);
                }
            }
        }
    }

    pub(super) fn walk(
        &self,
        name: &'static str,
        kernel: &'static Kernel,
        (b, groups): (&Buffers, &[Group]),
    ) -> Plan {
        let mut plan = Plan::new(name, WALK_WORDS);
        for (row, rows) in self.steps(groups) {
            plan.step(kernel, PER_ID, row, &[b.map.id, rows]);
        }
        plan
    }

    /// For ids of this page of records.
    pub(super) fn fire(&self, page_of_records: usize, b: &Buffers, groups: &[Group]) -> Plan {
        let mut plan = Plan { output: Some(b.fired.id), ..Plan::new("fire", WALK_WORDS) };
        for (i, (group, row)) in groups.iter().zip(&self.rows).enumerate() {
            for (page, rows) in pages(group, self.page_blocks) {
                let params = FireParams {
                    parts: row.parts,
                    row_words: row.row_words,
                    out_words: u(self.out_words),
                    out_at: u(group.out_at),
                    lead: u32::from(i == 0),
                    key_words: if self.dense { 0 } else { self.keys.key_words },
                    record_words: self.keys.record_words,
                    extremes: row.extremes,
                    fixed: row.fixed,
                    squares: row.squares,
                    exact: row.exact,
                    first: row.first,
                    last: row.last,
                    first_block: page.first,
                    blocks: page.blocks,
                    first_id: self.first_id(page_of_records),
                };
                let records = b.records[page_of_records].id;
                let binds = [records, b.map.id, rows, b.emitted.id, b.fired.id];
                plan.step(&FIRE, PER_ID, params, &binds);
            }
        }
        plan
    }

    /// For ids of this page of records.
    pub(super) fn rehash(&self, page_of_records: usize, b: &Buffers) -> Plan {
        let mut plan = Plan::new("rehash", batch::FIXED);
        let (first_id, records) = (self.first_id(page_of_records), b.records[page_of_records].id);
        for (keys, table) in self.tables(b) {
            let keys = KeysParams { first_id, ..keys };
            plan.step(&REHASH, PER_ID, keys, &[table, records, b.counts.id]);
        }
        plan
    }

    /// For ids of this page of records.
    pub(super) fn expire(&self, page_of_records: usize, b: &Buffers, groups: &[Group]) -> Plan {
        let mut plan = Plan::new("expire", EXPIRE_SLOT + 2 * EXPIRE_SLOTS_MAX);
        for (page, rows) in pages(&groups[0], self.page_blocks) {
            let params = ExpireParams {
                record_words: self.keys.record_words,
                seen_word: self.keys.key_words,
                row_words: self.rows[0].row_words,
                first_block: page.first,
                blocks: page.blocks,
                first_id: self.first_id(page_of_records),
                pad0: 0,
                pad1: 0,
            };
            let records = b.records[page_of_records].id;
            plan.step(&EXPIRE, PER_ID, params, &[records, b.counts.id, b.map.id, rows]);
        }
        plan
    }
}

/// What the key kernels are told once.
pub(super) fn key_params(
    query: &Query,
    (key_words, record_words): (usize, usize),
    (page_slots, page_ids): (usize, usize),
) -> KeysParams {
    KeysParams {
        stride: u(query.stride),
        key_word: u(query.key.map_or(0, |c| c.word())),
        key_words: u(key_words),
        record_words: u(record_words),
        filtered: u32::from(query.filter.is_some()),
        expires: u32::from(query.ttl.is_some() || query.evict),
        first_slot: 0,
        page_slots: u(page_slots),
        first_id: 0,
        page_ids: u(page_ids),
        pad0: 0,
        pad1: 0,
    }
}

/// What the row kernels are told once about each value.
pub(super) fn row_params(q: &Query, serial: bool) -> Vec<RowParams> {
    let params = |v: &ValueSpec| {
        let l = Layout::new(v.parts);
        RowParams {
            stride: u(q.stride),
            time_word: u(q.time.word()),
            value_word: u(v.word),
            kind: v.kind as u32,
            parts: v.parts,
            fraction: v.fraction,
            row_words: u(l.words),
            ends: u32::from(serial),
            extremes: u(l.extremes),
            fixed: u(l.fixed),
            squares: u(l.squares),
            exact: u(l.exact),
            first: u(l.first),
            last: u(l.last),
            first_block: 0,
            blocks: ALONE,
        }
    };
    q.values.iter().map(params).collect()
}
