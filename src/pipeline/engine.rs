//! The engine: takes events from lanes, sends batches to the device, fires windows, hands over results.
//!
//! It is one state machine without a thread of its own: each step does what can be done now. A thread
//! (`run::Pipeline`) or the user (`run::Inline`) keeps it going. Everything a device does happens in the
//! order in which the engine submits it, so a window fires after the events that the watermark waited for.

use super::batch::{Batch, Filling, Judging, Places, Stamp};
use super::batching::Batching;
use super::clock::Rules;
use super::fire::{Firing, Task};
use super::home::Home;
use super::keyspace::Keyspace;
use super::lanes::Lanes;
use super::options::{Options, Query};
use super::outbox::Outbox;
use super::placement::{Estimate, Placement};
use super::programs::Programs;
use super::results::Shape;
use super::scores::Scored;
use super::stats::Stats;
use crate::base::clock;
use crate::base::error::Result;
use crate::base::time::Ticks;
use crate::device::{Caps, Device, Queue};
use crate::ring::{Bell, Lease, Tail};
use std::collections::VecDeque;
use std::sync::Arc;

mod front;
mod retire;
mod states;

use front::{Front, set_aside};
pub(super) use states::Errand;

/// What is in flight, in order.
enum Sent {
    Events { stamps: Vec<Stamp>, events: usize, sent_ns: u64 },
    Rows { window: u64, closed_ns: u64, lost: u64, complete: bool },
    Work,
}

/// The state machine.
pub(super) struct Engine {
    pub(super) caps: Caps,
    device: Device,
    query: Query,
    rules: Rules,
    options: Options,
    queue: Box<dyn Queue>,
    programs: Programs,
    keys: Keyspace,
    places: Places,
    firing: Firing,
    /// Where the running `Fire` task goes on: the first id of its next part.
    fire_from: usize,
    lanes: Lanes,
    /// Where the producers' lanes end, when events do not come straight from them: `lanes` is then one of its own.
    front: Option<Front>,
    batch: Batch,
    batching: Batching,
    /// Where else the query may live.
    elsewhere: Option<Device>,
    pub(super) placement: Placement,
    /// Nothing is sent any more until the query has moved.
    leaving: bool,
    sent: VecDeque<Sent>,
    spare_stamps: Vec<Vec<Stamp>>,
    spare_leases: Vec<Vec<Lease>>,
    /// The watermark as far as windows have been fired by it.
    watermark: Option<Ticks>,
    closed_ns: u64,
    /// Whether the window that is coming back has handed over rows.
    has_rows: bool,
    shape: Arc<Shape>,
    outbox: Arc<Outbox>,
    bell: Bell,
    /// No lane will be opened any more.
    pub(super) closing: bool,
    finished: bool,
    stats: Stats,
}

impl Engine {
    pub(super) fn new(
        query: Query,
        options: Options,
        outbox: Arc<Outbox>,
        bell: Bell,
        there: Option<Estimate>,
    ) -> Result<Self> {
        options.check()?;
        let home = Home::open(options.device.clone(), &query, &options, &bell)?;
        let Home { device, caps, queue, programs } = home;
        let values = programs.groups.iter().zip(&query.values);
        let values = values.map(|(g, v)| (g.out_at, g.layout, v.kind, v.fraction)).collect();
        let scores = query.scores.as_ref().map(Scored::row_words);
        let shape = Arc::new(Shape { words: programs.out_words, values, scores });
        let stats = Stats { device: caps.name.clone(), ..Stats::default() };
        let keys = Keyspace::new(&query, &options, programs.page_slots());
        let places = Places::new(programs.page_blocks());
        let rules = Rules::new(&query);
        let elsewhere = options.alternative.clone();
        let batching = Batching::new(options.latency_target, options.batch_events);
        Ok(Self {
            caps,
            device,
            rules,
            query,
            options,
            queue,
            programs,
            keys,
            places,
            firing: Firing::default(),
            fire_from: 0,
            lanes: Lanes::default(),
            front: None,
            batch: Batch::default(),
            batching,
            elsewhere,
            placement: Placement::new(there.unwrap_or_default()),
            leaving: false,
            sent: VecDeque::new(),
            spare_stamps: Vec::new(),
            spare_leases: Vec::new(),
            watermark: None,
            closed_ns: 0,
            has_rows: false,
            shape,
            outbox,
            bell,
            closing: false,
            finished: false,
            stats,
        })
    }

    /// Takes in a lane. It joins at the watermark.
    pub(super) fn open(&mut self, tail: Tail) -> Result<()> {
        if let Some(front) = &mut self.front {
            return front.open(tail);
        }
        self.device.register(tail.slab())?;
        self.lanes.open(tail, &self.rules);
        Ok(())
    }

    /// Does what can be done now; false when there was nothing to do.
    pub(super) fn step(&mut self) -> Result<bool> {
        let mut progress = self.step_front()?;
        while let Some(done) = self.queue.poll()? {
            self.retire(done)?;
            progress = true;
        }
        if self.leaving && !self.in_flight() {
            self.leave();
            progress = true;
        }
        while !self.leaving && self.work()? {
            progress = true;
        }
        if !self.leaving && self.firing.tasks.is_empty() {
            progress |= self.ingest()?;
        }
        self.lanes.shed();
        self.queue.flush()?;
        Ok(progress)
    }

    /// Whether everything there will ever be has been handed over.
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.sent.is_empty() && self.firing.tasks.is_empty()
    }

    /// Whether nothing can be dispatched before the device or the consumer of results has moved.
    pub(super) fn is_blocked(&mut self) -> bool {
        self.front.as_mut().is_some_and(Front::is_blocked)
            || !self.firing.tasks.is_empty()
            || self.sent.len() >= self.options.in_flight
            || !self.queue.room(self.programs.paged.ingest)
            || self.rules.arrival && self.outbox.free() <= self.rows_sent()
    }

    /// Whether batches are with the device.
    pub(super) fn in_flight(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The lanes' consumer ends, for arming and disarming.
    pub(super) fn tails(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.front.as_mut().map_or(&mut self.lanes, Front::lanes).tails()
    }

    // --- from device to device ---

    /// Waits until nothing is in flight.
    pub(super) fn quiet(&mut self) -> Result<()> {
        while self.in_flight() {
            self.queue.flush()?;
            match self.queue.poll()? {
                Some(done) => self.retire(done)?,
                None => std::thread::yield_now(),
            }
        }
        Ok(())
    }

    /// Moves the query with all its state. Nothing may be in flight. After an error it is where it was.
    pub(super) fn move_to(&mut self, device: Device) -> Result<()> {
        if let Some(front) = &mut self.front {
            front.move_to(&device)?;
        }
        let home = Home::open(device, &self.query, &self.options, &self.bell)?;
        for tail in self.lanes.tails() {
            home.device.register(tail.slab())?;
        }
        let left = self.device.clone();
        self.settle(home)?;
        if let Some(other) = &mut self.elsewhere {
            let back = other.caps().name == self.caps.name;
            self.placement.moved(clock::now_ns(), back);
            *other = left;
        }
        self.stats.device.clone_from(&self.caps.name);
        self.stats.moves += 1;
        Ok(())
    }

    /// Moves in with all state, or stays where it is after an error.
    fn settle(&mut self, mut home: Home) -> Result<()> {
        home.take_over(&mut *self.queue, &self.programs, &mut self.keys, &mut self.places.slots)?;
        (self.caps, self.queue, self.programs) = (home.caps, home.queue, home.programs);
        self.device = home.device;
        Ok(())
    }

    /// Brings rows and block map up to date, or lays all rows out anew where a page has too few blocks.
    fn sync_slots(&mut self) -> Result<()> {
        if self.places.slots.crowded() {
            self.quiet()?;
            let home = Home::open(self.device.clone(), &self.query, &self.options, &self.bell)?;
            self.settle(home)?;
        }
        let Self { places, queue, caps, programs, .. } = self;
        places.slots.sync(&mut **queue, caps, programs)
    }

    /// Moves as the costs advised. A device that could not take the query is not tried again.
    fn leave(&mut self) {
        self.leaving = false;
        if let Some(device) = self.elsewhere.clone()
            && let Err(error) = self.move_to(device)
        {
            self.elsewhere = None;
            self.stats.move_error = Some(error.to_string());
        }
    }

    // --- events in ---

    fn ingest(&mut self) -> Result<bool> {
        if self.sent.len() >= self.options.in_flight || !self.queue.room(self.programs.paged.ingest)
        {
            return Ok(false);
        }
        if self.rules.arrival && self.outbox.free() <= self.rows_sent() {
            return Ok(false);
        }
        if self.lanes.at_label() {
            return if self.in_flight() { Ok(false) } else { self.take_labels() };
        }
        let room = self.batching.cap();
        // Slots have rows for every key that the batches which name them could bring. Where that is too much for the
        // device, fewer are in flight, and smaller ones.
        let new = |events| self.keys.bound_after(events) - self.keys.known();
        let fits = self.places.slots.largest(room, new, &self.caps, &self.programs);
        let fits = self.keys.largest(fits);
        if self.in_flight() && (fits < room || self.keys.needs_quiet(room)) {
            return Ok(false);
        }
        let room = fits;
        if self.keys.expiry_due(self.watermark) {
            if self.in_flight() {
                return Ok(false);
            }
            self.expire()?;
        }
        let mut progress = self.gather(room);
        if !self.batch.leases.is_empty() {
            self.send_events()?;
        }
        progress |= self.lanes.close(&self.rules);
        if progress {
            self.advance();
        } else if self.closing && self.lanes.is_empty() && !self.finished {
            if !self.rules.arrival {
                self.firing.advance(None, &mut self.places, &self.rules, self.query.lateness > 0);
            }
            self.finished = true;
            progress = true;
        }
        Ok(progress)
    }

    /// Forgets keys. Nothing may be in flight.
    fn expire(&mut self) -> Result<()> {
        if self.rules.arrival {
            return self.forget();
        }
        let Self { keys, queue, programs, places, .. } = self;
        let Some(watermark) = self.watermark else { return Ok(()) };
        keys.expire(&mut **queue, programs, &places.slots, watermark)
    }

    /// Takes committed runs from all lanes into the batch, so many events at most.
    fn gather(&mut self, room: usize) -> bool {
        let Self { lanes, batch, places, stats, outbox, rules, query, firing, caps, .. } = self;
        batch.clear();
        let judging =
            Judging { rules, time: query.time, fired: firing.fired, chunked: !caps.in_place };
        let mut filling = Filling { batch, places, judging: &judging };
        lanes.gather(&mut filling, room, rules, &mut |reason, event| {
            set_aside(stats, outbox, reason, event);
        })
    }

    fn send_events(&mut self) -> Result<()> {
        let Self { batch, keys, queue, caps, programs, places, options, .. } = self;
        let without = keys.bound();
        keys.reserve(&mut **queue, caps, programs, options, batch.events)?;
        places.slots.reserve(without, keys.bound(), programs);
        self.sync_slots()?;
        let Self { batch, keys, queue, programs, places, .. } = self;
        keys.write_head(&mut batch.head);
        batch.finish(&places.slots);
        let mut stamps = self.spare_stamps.pop().unwrap_or_default();
        std::mem::swap(&mut stamps, &mut batch.stamps);
        let mut leases = self.spare_leases.pop().unwrap_or_default();
        std::mem::swap(&mut leases, &mut batch.leases);
        let sent_ns = clock::now_ns();
        for stamp in &stamps {
            self.stats.ring.record(sent_ns.saturating_sub(stamp.ns), stamp.events);
        }
        self.closed_ns = stamps.iter().map(|s| s.ns).min().unwrap_or(sent_ns);
        let events = batch.events;
        self.stats.events += stamps.iter().map(|s| s.events).sum::<u64>();
        self.stats.accepted += batch.accepted;
        self.stats.batches += 1;
        queue.submit(programs.paged.ingest, &batch.head, leases)?;
        self.sent.push_back(Sent::Events { stamps, events, sent_ns });
        Ok(())
    }

    /// Moves the watermark and queues what it makes due.
    fn advance(&mut self) {
        let keep = self.query.lateness > 0;
        let refire = std::mem::take(&mut self.batch.refire);
        self.firing.again(&refire, &self.places, self.rules.shape.slices() == 1);
        self.batch.refire = refire;
        self.lanes.raise(&self.rules);
        let passed = self.lanes.watermark;
        let Some(watermark) = passed.filter(|&w| self.watermark.is_none_or(|old| w > old)) else {
            return;
        };
        if let Some(old) = self.watermark {
            // What was due by then has gone to the device, so nothing asks for older gaps any more.
            let (_, over) = self.rules.passed(old);
            self.lanes.forget_gaps(self.rules.shape.window_start(over));
        }
        self.watermark = Some(watermark);
        if self.rules.arrival {
            return;
        }
        let passed = self.rules.passed(watermark);
        self.firing.advance(Some(passed), &mut self.places, &self.rules, keep);
    }

    // --- windows out ---

    /// Does the next piece of work on slots; false when there is none or no room for it.
    fn work(&mut self) -> Result<bool> {
        let Some(task) = self.firing.tasks.front().cloned() else { return Ok(false) };
        if self.sent.len() >= self.options.in_flight {
            return Ok(false);
        }
        // The ids of batches in flight are not known yet; they all lie below the bound. Where that is far above what
        // is known, waiting for those batches costs less than walking over rows of keys that nobody has sent.
        let high = self.keys.bound();
        let unknown = high - self.keys.known();
        if self.in_flight() && unknown > self.keys.known() / 2 + self.programs.fire_rows {
            return Ok(false);
        }
        let (page, page_end) = self.programs.page_of_records(self.fire_from);
        let program = task.program(&self.programs.paged, page);
        if !self.queue.room(program) || self.outbox.free() <= self.rows_sent() {
            return Ok(false);
        }
        let named = task.slots();
        let high = high.min(self.places.slots.combine(named));
        self.sync_slots()?;
        let (from, to, sent) = match task {
            Task::Fire { window, .. } => {
                let from = self.fire_from;
                // Meanwhile batches may have retired with fewer new keys than they could have brought.
                let to = high.min(from + self.programs.fire_rows).min(page_end).max(from);
                let shape = self.rules.shape;
                let lost = self.lanes.lost(shape.window_start(window), shape.window_end(window));
                let closed_ns = self.closed_ns;
                (from, to, Sent::Rows { window, closed_ns, lost, complete: to >= high })
            }
            _ => (0, high, Sent::Work),
        };
        let head = self.places.slots.walk(named, (from, to));
        // Pages may have been added since, and with them programs compiled.
        let program = task.program(&self.programs.paged, page);
        self.queue.submit(program, &head, Vec::new())?;
        self.sent.push_back(sent);
        match task {
            Task::Fire { .. } if to < high => self.fire_from = to,
            task => {
                self.fire_from = 0;
                self.firing.tasks.pop_front();
                if let Task::Release { slot } = task {
                    self.places.slots.close(slot);
                } else if let Task::Fire { .. } = task {
                    self.stats.fired += 1;
                }
            }
        }
        Ok(true)
    }

    /// Row batches under way. They need places in the outbox, where rows from before a move may still lie.
    fn rows_sent(&self) -> usize {
        let scores = self.rules.arrival;
        let brings = |sent: &&Sent| match sent {
            Sent::Rows { .. } => true,
            Sent::Events { .. } => scores,
            Sent::Work => false,
        };
        self.sent.iter().filter(brings).count()
    }

    // --- counting ---

    /// What has been counted so far.
    pub(super) fn stats(&mut self) -> Stats {
        let mut stats = self.stats.clone();
        let counts = self.front.as_mut().map_or(&mut self.lanes, Front::lanes).counts();
        (stats.dropped, stats.rejected) = (counts.dropped, counts.rejected);
        (stats.jumps, stats.late_after_join) = (counts.jumps, counts.late_after_join);
        stats.cost = self.placement.here.cost();
        if self.elsewhere.is_some() {
            stats.cost_elsewhere = self.placement.there.cost();
        }
        stats.batch_cap = self.batching.cap() as u64;
        stats.keys = self.keys.held() as u64;
        stats.expired = self.keys.expired;
        stats.rehashes = self.keys.rehashes;
        stats.state_bytes =
            self.keys.bytes(&self.programs) + self.places.slots.bytes(&self.programs);
        stats.watermark = self.watermark;
        stats.result = self.outbox.latency();
        if let Some(front) = &mut self.front {
            front.count(&mut stats);
        }
        stats
    }

    /// Ends the results, with an error or without, and lets go of the lanes: who waits for room learns that there
    /// will be none.
    pub(super) fn finish(&mut self, error: Option<crate::Error>) {
        self.front = None;
        self.lanes.abandon();
        self.outbox.finish(error);
    }
}
