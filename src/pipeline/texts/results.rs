//! What comes back of a text pipeline: the vectors of a batch in the memory that the device wrote, with each event's
//! id.

use super::super::outbox::{Handed, Outbox, lock};
use crate::base::error::Result;
use crate::base::hist::Latency;
use crate::device::Output;
use crate::plan::OUTPUT_HEAD;
use crate::ring::Bell;
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// Why an event has no vector. The others of its batch are unharmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// Its bytes are not UTF-8.
    Utf8 {
        /// The first byte that is not.
        from: usize,
    },
    /// It has more bytes than [`Texts::bytes_max`](super::Texts::bytes_max).
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Its token ids are none, or more than the model takes.
    Tokens {
        /// How many.
        tokens: usize,
        /// What the model takes.
        tokens_max: usize,
    },
    /// One of its token ids is not of the model's vocabulary.
    TokenId {
        /// Which of them.
        at: usize,
        /// The id.
        id: u32,
        /// Ids are below this.
        vocab: usize,
    },
    /// The model's result is not a number.
    NotFinite,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf8 { from } => write!(f, "the text is not UTF-8 from byte {from} on"),
            Self::TooLong { bytes } => {
                write!(f, "the text has {bytes} bytes, more than Texts::bytes_max")
            }
            Self::Tokens { tokens, tokens_max } => {
                write!(f, "{tokens} tokens, not 1 to {tokens_max}")
            }
            Self::TokenId { at, id, vocab } => write!(f, "token {at} is {id}, not below {vocab}"),
            Self::NotFinite => f.write_str("the result is not a number"),
        }
    }
}

impl std::error::Error for TextError {}

/// What is known of an event beside its vector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) lane: u32,
    pub(super) tokens: u32,
    pub(super) stamp_ns: u64,
    pub(super) error: Option<TextError>,
}

/// Lists of events that go round between the engine and guards that are dropped.
pub(super) type Lists = Arc<Mutex<Vec<Vec<Event>>>>;

/// What a guard needs of its pipeline.
#[derive(Clone)]
pub(super) struct Home {
    pub(super) lists: Lists,
    pub(super) bell: Bell,
    /// Values of a vector, and how far apart vectors lie.
    pub(super) dim: usize,
    pub(super) stride: usize,
    pub(super) deadline_ns: Option<u64>,
}

/// A batch of results, one for each of its events, in memory that the device wrote. It goes back when this is dropped;
/// a pipeline waits when `Options::outstanding` of them are held.
///
/// Events of a lane come in batches in no promised order: those that fit go first.
pub struct Vectors {
    output: Option<Output>,
    events: Vec<Event>,
    done_ns: u64,
    home: Home,
}

impl Vectors {
    pub(super) fn new(
        output: Option<Output>,
        events: Vec<Event>,
        done_ns: u64,
        home: Home,
    ) -> Self {
        Self { output, events, done_ns, home }
    }

    /// How many events they are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Values of a vector: of an embedding, or a score for each of a classifier's labels.
    pub fn dim(&self) -> usize {
        self.home.dim
    }

    /// One event's result.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn get(&self, i: usize) -> Vector<'_> {
        Vector { batch: self, event: &self.events[i], i }
    }

    /// The results, one for each event.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Vector<'_>> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// The values of the `i`-th event, sound or not.
    fn row(&self, i: usize) -> Option<&[f32]> {
        let Home { dim, stride, .. } = self.home;
        let words = self.output.as_ref()?.get(OUTPUT_HEAD + i * stride..)?.get(..dim)?;
        Some(bytemuck::cast_slice(words))
    }

    /// Finds vectors that are not finite, and says how many events have an error; `None` when the device wrote no
    /// vectors.
    pub(super) fn judge(&mut self) -> Option<usize> {
        for i in 0..self.events.len() {
            let finite = self.row(i)?.iter().all(|x| x.is_finite());
            self.events[i].error = (!finite).then_some(TextError::NotFinite);
        }
        Some(self.events.iter().filter(|event| event.error.is_some()).count())
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }
}

impl Handed for Vectors {
    fn count(&self, now_ns: u64, latency: &mut Latency) {
        for event in &self.events {
            latency.record(now_ns.saturating_sub(event.stamp_ns), 1);
        }
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        self.events.clear();
        lock(&self.home.lists).push(std::mem::take(&mut self.events));
        self.output = None;
        self.home.bell.ring_always();
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vectors({} of {} values)", self.len(), self.dim())
    }
}

/// One event's result.
#[derive(Clone, Copy)]
pub struct Vector<'a> {
    batch: &'a Vectors,
    event: &'a Event,
    i: usize,
}

impl<'a> Vector<'a> {
    /// What the producer called the event.
    pub fn id(&self) -> u64 {
        self.event.id
    }

    /// The lane it came through, counted from 0 as they were opened.
    pub fn lane(&self) -> u32 {
        self.event.lane
    }

    /// Its vector, all of it finite.
    ///
    /// # Errors
    /// Why it has none.
    pub fn values(&self) -> std::result::Result<&'a [f32], TextError> {
        match self.event.error {
            Some(error) => Err(error),
            // Judged when it came back.
            None => self.batch.row(self.i).ok_or(TextError::NotFinite),
        }
    }

    /// Tokens that the model read, special ones included; 0 for an event that it did not.
    pub fn tokens(&self) -> usize {
        self.event.tokens as usize
    }

    /// From its commit until its result lay in this memory.
    pub fn latency_ns(&self) -> u64 {
        self.batch.done_ns.saturating_sub(self.event.stamp_ns)
    }

    /// Whether that was within `Options::latency_target`; true where there is none.
    pub fn on_time(&self) -> bool {
        self.batch.home.deadline_ns.is_none_or(|ns| self.latency_ns() <= ns)
    }
}

impl fmt::Debug for Vector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector(id {}, {} ns, ", self.id(), self.latency_ns())?;
        match self.values() {
            Ok(values) => write!(f, "{} values)", values.len()),
            Err(error) => write!(f, "{error})"),
        }
    }
}

/// The consumer's end of a text pipeline: results as a blocking iterator, as a `futures` stream, or by polling.
///
/// An error comes once, as the last item. When this is dropped, the pipeline goes on and throws its results away.
pub struct TextResults {
    outbox: Arc<Outbox<Vectors>>,
}

impl TextResults {
    pub(super) fn new(outbox: Arc<Outbox<Vectors>>) -> Self {
        Self { outbox }
    }

    /// What is there now: `Ready(Some(vectors))`, `Ready(None)` after the last, or `Pending`. Never blocks.
    pub fn try_next(&mut self) -> Poll<Option<Result<Vectors>>> {
        self.outbox.look()
    }

    /// Waits for the next vectors without blocking the thread; `None` after the last. Needs no particular runtime, and
    /// loses nothing when it is dropped before it is ready.
    pub async fn recv(&mut self) -> Option<Result<Vectors>> {
        std::future::poll_fn(|cx| self.outbox.poll(cx)).await
    }
}

impl Iterator for TextResults {
    type Item = Result<Vectors>;

    fn next(&mut self) -> Option<Self::Item> {
        self.outbox.wait()
    }
}

impl Stream for TextResults {
    type Item = Result<Vectors>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outbox.poll(cx)
    }
}

impl Drop for TextResults {
    fn drop(&mut self) {
        self.outbox.leave();
    }
}

impl fmt::Debug for TextResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TextResults")
    }
}
