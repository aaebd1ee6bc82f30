//! The engine of a text pipeline: takes texts from lanes, makes them tokens, packs batches, hands vectors over.
//!
//! Texts are read where their producers wrote them and given back at once: what goes on are tokens, in the header of a
//! batch. So that a full device shows in the lanes, whose policies then decide, only as many events wait here as make
//! the next two batches, or as are done in half of the time to their deadline. Everything that a batch needs goes
//! round; none allocates once it is warm.

use super::super::machine::Machine;
use super::super::options::Options;
use super::super::outbox::{Outbox, lock};
use super::super::stats::Stats;
use super::Texts;
use super::lanes::{Origin, TextLanes};
use super::packing::Packing;
use super::results::{Event, Home, TextError, Vectors};
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::limits::word;
use crate::device::Done;
use crate::model::{Encoder, EncoderOptions, Misfit, Model};
use crate::ring::{Bell, Payload, Tail};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events with an error that are handed over together, at most.
const REFUSED_MAX: usize = 1024;

/// An event that waits for its batch.
#[derive(Debug)]
struct Waiting {
    event: Event,
    /// In which order they came.
    number: u64,
    tokens: Vec<u32>,
}

impl AsRef<[u32]> for Waiting {
    fn as_ref(&self) -> &[u32] {
        &self.tokens
    }
}

/// A batch with the device.
struct Sent {
    events: Vec<Event>,
    tokens: usize,
    sent_ns: u64,
}

/// The state machine.
pub(super) struct TextEngine {
    model: Model,
    encoder: Encoder,
    in_flight: usize,
    lanes: TextLanes,
    packing: Packing,
    /// Events that wait for their batch, and their tokens.
    waiting: Vec<Waiting>,
    waiting_tokens: usize,
    numbers: u64,
    /// Events that have an error, which nobody was told yet.
    refused: Vec<Event>,
    /// The batch that is being made; what it was made of; and memory to make words in.
    batch: Vec<Waiting>,
    spare: Vec<Waiting>,
    letters: String,
    sent: VecDeque<Sent>,
    /// When the batch before was done.
    done_ns: u64,
    home: Home,
    outbox: Arc<Outbox<Vectors>>,
    closing: bool,
    finished: bool,
    stats: Stats,
}

impl TextEngine {
    pub(super) fn new(
        texts: Texts,
        options: &Options,
        outbox: Arc<Outbox<Vectors>>,
        bell: Bell,
    ) -> Result<Self> {
        if options.alternative.is_some() || options.latency_mode {
            return Err(Error::invalid(
                "texts have neither Options::alternative nor Options::latency_mode",
            ));
        }
        let in_flight = options.in_flight;
        let encoder = EncoderOptions { in_flight, ..texts.encoder };
        let outputs = options.outstanding.max(in_flight);
        let mut encoder = Encoder::with_outputs(&texts.model, &options.device, encoder, outputs)?;
        let ring = bell.clone();
        encoder.wake(Arc::new(move || ring.ring_always()));
        let ns = |target: std::time::Duration| u64::try_from(target.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = options.latency_target.map(ns);
        let sequences = encoder.batch_sequences().min(options.batch_events);
        let (dim, stride) = encoder.widths();
        Ok(Self {
            packing: Packing::new(encoder.batch_tokens(), sequences, deadline_ns)
                .serial(options.device.caps().serial),
            model: texts.model,
            encoder,
            in_flight,
            lanes: TextLanes::default(),
            waiting: Vec::new(),
            waiting_tokens: 0,
            numbers: 0,
            refused: Vec::new(),
            batch: Vec::new(),
            spare: Vec::new(),
            letters: String::new(),
            sent: VecDeque::with_capacity(in_flight),
            done_ns: 0,
            home: Home { lists: Arc::default(), bell, dim, stride, deadline_ns },
            outbox,
            closing: false,
            finished: false,
            stats: Stats { device: options.device.caps().name.clone(), ..Stats::default() },
        })
    }

    /// Whether a batch of results that starts now will find a place in the outbox.
    fn place(&self) -> bool {
        self.outbox.free() > self.sent.len()
    }

    /// Takes events from lanes until as many wait as may.
    fn take(&mut self) -> bool {
        let (tokens_max, sequences_max) =
            (self.packing.admitted(), 2 * self.encoder.batch_sequences());
        let mut progress = false;
        // First, for what a producer asks to be dropped is older than what it waits with.
        self.lanes.shed();
        while self.waiting_tokens < tokens_max
            && self.waiting.len() < sequences_max
            && self.refused.len() < REFUSED_MAX
        {
            let mut next = self.spare.pop().unwrap_or_else(Waiting::new);
            let (model, letters) = (&self.model, &mut self.letters);
            if !self.lanes.next(|origin, payload| next.read(model, letters, origin, payload)) {
                self.spare.push(next);
                break;
            }
            progress = true;
            self.stats.events += 1;
            if next.event.error.is_some() {
                self.refused.push(next.event);
                self.spare.push(next);
                continue;
            }
            next.number = self.numbers;
            self.numbers += 1;
            self.waiting_tokens += next.tokens.len();
            self.waiting.push(next);
        }
        self.lanes.reclaim();
        progress
    }

    /// Sends the next batch, if there is one and room for it.
    fn send(&mut self) -> Result<bool> {
        if self.waiting.is_empty()
            || self.sent.len() >= self.in_flight
            || !self.place()
            || !self.encoder.room()
        {
            return Ok(false);
        }
        // All deadlines are equally far behind the commits.
        self.waiting.sort_unstable_by_key(|waiting| (waiting.event.stamp_ns, waiting.number));
        let (first, sent_ns) = (&self.waiting[0], clock::now_ns());
        let left_ns = self.packing.deadline(first.event.stamp_ns).saturating_sub(sent_ns);
        let ahead = (self.sent.len(), self.sent.iter().map(|sent| sent.tokens).sum());
        let mut room = self.packing.room(first.tokens.len(), left_ns, ahead);
        let fits = |waiting: &mut Waiting| !room.is_full() && room.take(waiting.tokens.len());
        self.batch.extend(self.waiting.extract_if(.., fits));
        let mut events = lock(&self.home.lists).pop().unwrap_or_default();
        let mut tokens = 0;
        for waiting in &self.batch {
            events.push(waiting.event);
            tokens += waiting.tokens.len();
            let waited = sent_ns.saturating_sub(waiting.event.stamp_ns);
            self.stats.ring.record(waited, 1);
        }
        self.encoder.send(&self.batch)?;
        self.waiting_tokens -= tokens;
        self.stats.accepted += events.len() as u64;
        self.stats.tokens += tokens as u64;
        self.stats.batches += 1;
        self.sent.push_back(Sent { events, tokens, sent_ns });
        self.spare.append(&mut self.batch);
        Ok(true)
    }

    /// Hands over what comes back of the oldest batch.
    fn retire(&mut self, done: Done) -> Result<()> {
        let Sent { events, tokens, sent_ns } =
            self.sent.pop_front().expect("a batch comes back once");
        let begun_ns = sent_ns.max(self.done_ns);
        self.packing.learn(tokens, done.done_ns.saturating_sub(begun_ns));
        self.done_ns = done.done_ns;
        let mut vectors = Vectors::new(done.output, events, done.done_ns, self.home.clone());
        let nothing = || Error::unsupported(&self.stats.device, "it computes nothing");
        self.stats.refused += vectors.judge().ok_or_else(nothing)? as u64;
        self.stats.device_ns.record(done.done_ns.saturating_sub(sent_ns), vectors.len() as u64);
        for event in vectors.events() {
            self.stats.event.record(done.done_ns.saturating_sub(event.stamp_ns), 1);
            let late = done.done_ns > self.packing.deadline(event.stamp_ns);
            self.stats.overdue += u64::from(late);
        }
        self.outbox.put(vectors);
        Ok(())
    }

    /// Hands over the events that have an error, without waiting for others.
    fn refuse(&mut self) -> bool {
        if self.refused.is_empty() || !self.place() {
            return false;
        }
        self.stats.refused += self.refused.len() as u64;
        let next = lock(&self.home.lists).pop().unwrap_or_default();
        let events = std::mem::replace(&mut self.refused, next);
        self.outbox.put(Vectors::new(None, events, clock::now_ns(), self.home.clone()));
        true
    }
}

impl Waiting {
    fn new() -> Self {
        let event = Event { id: 0, lane: 0, tokens: 0, stamp_ns: 0, error: None };
        Self { event, number: 0, tokens: Vec::new() }
    }

    /// Becomes this event.
    fn read(&mut self, model: &Model, letters: &mut String, origin: Origin, payload: Payload<'_>) {
        self.tokens.clear();
        let read = match payload {
            Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    model.tokens_into(text, (&mut self.tokens, letters));
                    Ok(())
                }
                Err(error) => Err(TextError::Utf8 { from: error.valid_up_to() }),
            },
            Payload::Words(ids) => check(model, ids).map(|()| self.tokens.extend(ids)),
            Payload::TooLong(bytes) => Err(TextError::TooLong { bytes }),
        };
        let Origin { id, lane, stamp_ns } = origin;
        let tokens = word(self.tokens.len());
        self.event = Event { id, lane, tokens, stamp_ns, error: read.err() };
    }
}

/// Whether a model takes these token ids.
fn check(model: &Model, ids: &[u32]) -> std::result::Result<(), TextError> {
    Err(match model.misfit(ids) {
        None => return Ok(()),
        Some(Misfit::Length) => {
            TextError::Tokens { tokens: ids.len(), tokens_max: model.tokens_max() }
        }
        Some(Misfit::Token(at)) => TextError::TokenId { at, id: ids[at], vocab: model.vocab() },
    })
}

impl Machine for TextEngine {
    fn open(&mut self, tail: Tail) -> Result<()> {
        // No device reads a lane of texts: what is sent are tokens.
        self.lanes.open(tail);
        Ok(())
    }

    fn closing(&mut self, closing: bool) {
        self.closing = closing;
    }

    fn step(&mut self) -> Result<bool> {
        let mut progress = false;
        while let Some(done) = self.encoder.done()? {
            self.retire(done)?;
            progress = true;
        }
        progress |= self.take();
        progress |= self.refuse();
        progress |= self.send()?;
        self.encoder.flush()?;
        progress |= self.lanes.close();
        let empty = self.lanes.is_empty() && self.waiting.is_empty() && self.refused.is_empty();
        if self.closing && empty && !self.finished {
            self.finished = true;
            progress = true;
        }
        Ok(progress)
    }

    fn in_flight(&self) -> bool {
        !self.sent.is_empty()
    }

    fn is_over(&self) -> bool {
        self.finished && self.sent.is_empty()
    }

    fn is_blocked(&mut self) -> bool {
        !self.waiting.is_empty() || !self.refused.is_empty()
    }

    fn tails(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.lanes.tails()
    }

    fn stats(&mut self) -> Stats {
        let (dropped, rejected) = self.lanes.counts();
        let result = self.outbox.latency();
        Stats { dropped, rejected, result, ..self.stats.clone() }
    }

    fn device(&self) -> &str {
        &self.stats.device
    }

    fn finish(&mut self, error: Option<Error>) {
        self.lanes.abandon();
        self.outbox.finish(error);
    }
}
