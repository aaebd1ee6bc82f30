//! The payload lane: events of a length of their own, texts or token ids, written in place.
//!
//! It is a private lane of words. A run is a row of *records*: a head of three words, kind and length and the caller's
//! id, then the payload, rounded up to whole words. Nothing else is between the producer and whoever reads the words:
//! waiting, policies, stamps and the one Release store of a commit are those of [`Lane`].
//!
//! A record lies in one piece. Where the rest of the ring is too short for the next run, a run of no records passes
//! over it. A run is a quarter of the ring at most, so that it finds room, whatever is passed over, in the half of the
//! ring that dropping the oldest runs makes free.

use super::lane::{self, Full, Lane, LaneOptions, LaneStats, Policy, Run, Tail};
use super::wait::{self, Bell, Waiter};
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::limits::{LANE_EVENTS_MAX, word};
use std::task::{Context, Poll};

/// Words of a record before its payload.
const HEAD: usize = 3;
/// Words that a lane has for each event it is said to hold.
const EVENT_WORDS: usize = 16;
/// Bits of the first word that hold the length.
const LENGTH: u32 = (1 << 30) - 1;
/// Kinds, in the bits above.
const BYTES: u32 = 0;
const WORDS: u32 = 1;
const TOO_LONG: u32 = 2;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Bytes: a text.
    Bytes(&'a [u8]),
    /// Words: token ids.
    Words(&'a [u32]),
    /// Nothing: the lane does not take as many bytes as these.
    TooLong(usize),
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the producer called it.
    pub id: u64,
    /// What it wrote.
    pub payload: Payload<'a>,
}

/// The records of a run, from its words.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    words: &'a [u32],
}

impl<'a> Records<'a> {
    /// Of words as a [`PayloadLane`] commits them.
    pub fn new(words: &'a [u32]) -> Self {
        Self { words }
    }

    /// Words behind the last record returned.
    pub fn left(&self) -> usize {
        self.words.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (&[first, lo, hi], rest) = self.words.split_first_chunk::<HEAD>()?;
        let length = (first & LENGTH) as usize;
        let words = match first >> 30 {
            BYTES => length.div_ceil(4),
            WORDS => length,
            _ => 0,
        };
        let (payload, rest) = rest.split_at_checked(words)?;
        self.words = rest;
        let payload = match first >> 30 {
            BYTES => Payload::Bytes(&bytemuck::cast_slice(payload)[..length]),
            WORDS => Payload::Words(payload),
            _ => Payload::TooLong(length),
        };
        Some(Record { id: u64::from(lo) | u64::from(hi) << 32, payload })
    }
}

/// A lane for payloads of up to `bytes_max` bytes: the producer's end and the consumer's, with the bell that wakes the
/// consumer.
///
/// It has 64 bytes of memory for each of the options' `events`, and in any case room for four payloads of `bytes_max`.
/// The consumer's events are words; a run's first note word is the number of its records, 0 for words to pass over.
///
/// ```
/// use pelton::ring::{Bell, LaneOptions, Payload, Record, Records, payload_lane};
/// let (mut lane, mut tail) = payload_lane(&LaneOptions::default(), 1024, &Bell::new())?;
/// let mut run = lane.write(2, 100).expect("an empty lane has room");
/// run.bytes(7, 5).expect("it fits").copy_from_slice(b"water");
/// run.words(8, 2).expect("it fits").copy_from_slice(&[101, 102]);
/// run.commit();
///
/// let note = tail.next().expect("one run was committed");
/// assert_eq!(note.lo, 2);
/// let (words, _) = tail.words(note.from, note.to);
/// let mut records = Records::new(words);
/// assert_eq!(records.next(), Some(Record { id: 7, payload: Payload::Bytes(b"water") }));
/// assert_eq!(records.next(), Some(Record { id: 8, payload: Payload::Words(&[101, 102]) }));
/// assert_eq!(records.next(), None);
/// # Ok::<(), pelton::Error>(())
/// ```
///
/// # Errors
/// `Invalid` for a lane or payloads too large, `Unsupported` when the host is out of memory.
pub fn payload_lane(
    options: &LaneOptions,
    bytes_max: usize,
    bell: &Bell,
) -> Result<(PayloadLane, Tail)> {
    let most = LANE_EVENTS_MAX / 4 - HEAD;
    if bytes_max.div_ceil(4) > most || options.events == 0 {
        return Err(Error::invalid(format!(
            "payload lane: 1 event at least, of {} bytes at most",
            most * 4
        )));
    }
    let least = 4 * (HEAD + bytes_max.div_ceil(4));
    let events = options.events.saturating_mul(EVENT_WORDS).max(least);
    let (lane, tail) = lane::make(&LaneOptions { events, ..options.clone() }, true, Some(bell))?;
    Ok((PayloadLane { lane, bytes_max, records: 0 }, tail))
}

/// The producer's end of a payload lane. Dropping it closes the lane: what was committed is still drained.
pub struct PayloadLane {
    lane: Lane<u32>,
    bytes_max: usize,
    records: u64,
}

/// Words for so many records of so many bytes of payload in all.
fn words(records: usize, bytes: usize) -> usize {
    records.saturating_mul(HEAD + 1).saturating_add(bytes / 4)
}

impl PayloadLane {
    /// Memory for so many records with so many bytes of payload in all, to fill in place and commit as one run; less
    /// where that is more than a quarter of the lane. A full lane does as its policy says; under `DropNewest` it comes
    /// back as full, and [`Self::dropped`] counts what the caller then drops.
    ///
    /// # Errors
    /// `Full` when the policy does not wait, or the consumer is gone.
    pub fn write(
        &mut self,
        records: usize,
        bytes: usize,
    ) -> std::result::Result<PayloadRun<'_>, Full> {
        let n = self.clamp(words(records, bytes));
        let skip = self.reserve(n)?;
        if skip > 0 {
            self.lane.written += skip as u64;
            self.lane.publish(false, 0, 0, clock::now_ns());
        }
        let (records, bytes_max) = (&mut self.records, self.bytes_max);
        Ok(PayloadRun { run: self.lane.write(n)?, used: 0, written: 0, records, bytes_max })
    }

    /// Appends one event of bytes and publishes it. More than the lane takes become an event that says so, and has
    /// none. Under `DropNewest` a full lane drops it and counts it.
    ///
    /// # Errors
    /// `Full` when the policy rejects it or the consumer is gone.
    pub fn push(&mut self, id: u64, bytes: &[u8]) -> std::result::Result<(), Full> {
        self.push_with(bytes.len(), |run| match run.bytes(id, bytes.len()) {
            Some(memory) => memory.copy_from_slice(bytes),
            None => run.too_long(id, bytes.len()),
        })
    }

    /// The same of words.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn push_words(&mut self, id: u64, words: &[u32]) -> std::result::Result<(), Full> {
        self.push_with(words.len().saturating_mul(4), |run| match run.words(id, words.len()) {
            Some(memory) => memory.copy_from_slice(words),
            None => run.too_long(id, words.len().saturating_mul(4)),
        })
    }

    fn push_with(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut PayloadRun<'_>),
    ) -> std::result::Result<(), Full> {
        let bytes = if bytes > self.bytes_max { 0 } else { bytes };
        let drops = self.lane.state.policy == Policy::DropNewest;
        match self.write(1, bytes) {
            Ok(mut run) => {
                fill(&mut run);
                run.commit();
                Ok(())
            }
            Err(full) if !full.closed && drops => {
                self.dropped(1);
                Ok(())
            }
            Err(full) => Err(full),
        }
    }

    /// Counts events that the caller dropped, because the lane was full.
    pub fn dropped(&mut self, events: u64) {
        self.lane.dropped(events, 0, u64::MAX);
    }

    /// Ready when a write of this size would not have to wait: there is room, or the consumer is gone and the write
    /// fails at once. Otherwise the task is woken when that may have changed.
    pub fn poll_ready(
        &mut self,
        (records, bytes): (usize, usize),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let n = self.clamp(words(records, bytes));
        let need = (n + self.skip(n)) as u64;
        let mut ready = || self.lane.look() >= need || self.lane.state.gone();
        if ready() {
            return Poll::Ready(());
        }
        let (state, notes) = (self.lane.state.clone(), self.lane.notes);
        if state.policy == Policy::DropOldest {
            state.ask(notes);
        }
        wait::announce(&state, 0, Waiter::Task(cx.waker().clone()));
        if self.lane.look() >= need || state.gone() {
            wait::withdraw(&state, 0);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Bytes of a payload, at most.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes of the lane's memory.
    pub fn memory(&self) -> usize {
        self.lane.slab().words() * 4
    }

    /// Whether the consumer is gone.
    pub fn closed(&self) -> bool {
        self.lane.closed()
    }

    /// What the lane has counted, in events.
    pub fn stats(&self) -> LaneStats {
        LaneStats { written: self.records, ..self.lane.stats() }
    }

    /// Closes the lane, as dropping it does. What was committed is still drained.
    pub fn close(self) {}

    /// A run of so many words, or what a run may have.
    fn clamp(&self, words: usize) -> usize {
        let most = usize::try_from(self.lane.capacity() / 4).unwrap_or(usize::MAX);
        words.clamp(1, most)
    }

    /// Words to pass over so that `n` lie in one piece.
    fn skip(&self, n: usize) -> usize {
        let state = &self.lane.state;
        let left = usize::try_from(state.capacity()).unwrap_or(usize::MAX)
            - state.index(self.lane.written);
        if n > left { left } else { 0 }
    }

    /// Makes sure that there is room for `n` words in one piece, and says how many to pass over for it.
    fn reserve(&mut self, n: usize) -> std::result::Result<usize, Full> {
        let skip = self.skip(n);
        let need = (skip + n) as u64;
        if self.lane.room() < need && self.lane.look() < need {
            self.lane.wait_for_room(need)?;
        }
        Ok(skip)
    }
}

impl std::fmt::Debug for PayloadLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PayloadLane({} of {} words free)", self.lane.free(), self.lane.capacity())
    }
}

/// Records under construction, which nobody else sees before the commit. Dropping it publishes nothing.
#[must_use = "a run that is not committed publishes nothing"]
pub struct PayloadRun<'a> {
    run: Run<'a, u32>,
    /// Words of the records so far, and how many records they are.
    used: usize,
    written: u64,
    /// The lane's count.
    records: &'a mut u64,
    bytes_max: usize,
}

impl PayloadRun<'_> {
    /// A record of `len` bytes, to fill; `None` when it does not fit here any more, or in the lane at all. The memory
    /// holds older events: write all of it.
    pub fn bytes(&mut self, id: u64, len: usize) -> Option<&mut [u8]> {
        let words = self.record(BYTES, id, len, len.div_ceil(4))?;
        // What rounds the payload up says nothing of older events.
        if let Some(last) = words.last_mut() {
            *last = 0;
        }
        Some(&mut bytemuck::cast_slice_mut(words)[..len])
    }

    /// A record of `len` words, to fill; `None` as for [`Self::bytes`].
    pub fn words(&mut self, id: u64, len: usize) -> Option<&mut [u32]> {
        self.record(WORDS, id, len, len)
    }

    /// A record that says that its payload of so many bytes was longer than the lane takes. Does nothing when the run
    /// is full.
    pub fn too_long(&mut self, id: u64, bytes: usize) {
        self.record(TOO_LONG, id, bytes.min(LENGTH as usize), 0);
    }

    fn record(&mut self, kind: u32, id: u64, len: usize, words: usize) -> Option<&mut [u32]> {
        let left = self.run.len() - self.used;
        if words > self.bytes_max.div_ceil(4) || HEAD + words > left || len > LENGTH as usize {
            return None;
        }
        let (head, rest) = self.run[self.used..].split_first_chunk_mut::<HEAD>()?;
        #[allow(clippy::cast_possible_truncation, reason = "one word and the other")]
        let id = [id as u32, (id >> 32) as u32];
        *head = [kind << 30 | word(len), id[0], id[1]];
        self.used += HEAD + words;
        self.written += 1;
        Some(&mut rest[..words])
    }

    /// Records so far.
    pub fn len(&self) -> usize {
        usize::try_from(self.written).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Publishes the records, stamped with the present time, as one run. Publishes nothing when there are none.
    pub fn commit(self) {
        self.commit_at(clock::now_ns());
    }

    /// As [`Self::commit`], stamped by the caller: for replays, and for open-loop measurements.
    pub fn commit_at(self, stamp_ns: u64) {
        *self.records += self.written;
        self.run.commit_at(self.used, self.written, 0, stamp_ns);
    }
}
