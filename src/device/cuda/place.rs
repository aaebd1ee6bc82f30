//! A place in flight: the memory through which one batch after the other reaches the device.
//!
//! The host leaves a batch's control words, its header and the list of its pieces in page-locked memory; the first
//! kernel of a replay (`kernels/gather.cu`) takes them from there, and the events from the lanes. Large ranges go by
//! the copy engine instead, which works beside the kernels of the batch before.

use super::context::Context;
use super::lanes;
use super::memory::{Memory, Pinned, Span};
use super::stream::{Arguments, Event, Stream};
use crate::base::error::Result;
use crate::base::limits::{BATCH_RANGES_MAX, word};
use crate::device::Ticket;
use crate::ring::lane::Lease;
use std::sync::Arc;

// Control words, as `kernels/gather.cu` reads them.
const HEAD_WORDS: usize = 0;
const PIECES: usize = 1;
const TICKET: usize = 2;
const RESULT: usize = 4;
const PIECES_AT: usize = 6;
const CONTROL: usize = 8;

/// Words of one piece in the list: where it lies (two), where it goes, how long it is.
const PIECE: usize = 4;
/// Words that a block of the kernel takes at a time: 16 bytes a thread.
const PIECE_WORDS: usize = 1024;
/// Words that stay on the device between the first kernel and the last.
const KEPT: usize = 4;

/// How much a place holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Words of a header.
    pub(super) head: usize,
    /// Words of a batch's events.
    pub(super) events: usize,
}

impl Size {
    /// What holds both.
    pub(super) fn max(self, other: Self) -> Self {
        Self { head: self.head.max(other.head), events: self.events.max(other.events) }
    }

    fn pieces_at(self) -> usize {
        CONTROL + self.head.next_multiple_of(4)
    }

    /// Pieces of a batch, at most; a range ends in a short one.
    fn pieces(self) -> usize {
        if self.events == 0 { 0 } else { BATCH_RANGES_MAX + self.events / PIECE_WORDS }
    }
}

/// One place's memory.
pub(super) struct Place {
    context: Arc<Context>,
    size: Size,
    control: Pinned,
    pub(super) head: Memory,
    pub(super) events: Memory,
    kept: Memory,
    /// Page-locked memory for ranges of lanes that are not, made when the first comes.
    staging: Option<Pinned>,
    /// Behind the copies of the last batch that came by the copy engine.
    uploaded: Event,
}

/// A range of a batch's events, as the device gets at it.
struct Source {
    host: *const u32,
    device: u64,
}

impl Place {
    pub(super) fn new(context: &Arc<Context>, size: Size) -> Result<Self> {
        let control = size.pieces_at() + size.pieces() * PIECE;
        Ok(Self {
            context: Arc::clone(context),
            size,
            control: Pinned::new(context, "the header of a batch", control)?,
            head: Memory::new(context, "the header of a batch", size.head.next_multiple_of(4))?,
            events: Memory::new(context, "the events of a batch", size.events)?,
            kept: Memory::new(context, "the control words of a batch", KEPT)?,
            staging: None,
            uploaded: Event::new(context)?,
        })
    }

    /// Leaves control words and header; as many words of it as `head_min` are there, those not given nought.
    pub(super) fn write_head(&mut self, head: &[u32], head_min: usize, ticket: u32, result: u64) {
        let words = self.control.slice_mut();
        let count = head.len().max(head_min);
        words[HEAD_WORDS] = word(count);
        words[PIECES] = 0;
        words[TICKET] = ticket;
        let (low, high) = halves(result);
        (words[RESULT], words[RESULT + 1]) = (low, high);
        words[PIECES_AT] = word(self.size.pieces_at());
        words[CONTROL..CONTROL + head.len()].copy_from_slice(head);
        words[CONTROL + head.len()..CONTROL + count].fill(0);
    }

    /// Lists the events for the first kernel to take.
    pub(super) fn list(&mut self, leases: &[Lease]) -> Result<()> {
        let (mut to, mut pieces) = (0, 0);
        for lease in leases {
            let mut from = self.source(lease, to)?.device;
            let mut left = lease.len();
            while left > 0 {
                let words = left.min(PIECE_WORDS);
                let at = self.size.pieces_at() + pieces * PIECE;
                let (low, high) = halves(from);
                let piece = [low, high, word(to), word(words)];
                self.control.slice_mut()[at..at + PIECE].copy_from_slice(&piece);
                (left, to, pieces) = (left - words, to + words, pieces + 1);
                from += words as u64 * 4;
            }
        }
        self.control.slice_mut()[PIECES] = word(pieces);
        Ok(())
    }

    /// Sends the events by the copy engine, and lets `work` wait for them.
    ///
    /// # Safety
    /// The leases are held, and this place is not used again, until `work` has passed here.
    pub(super) unsafe fn upload(
        &mut self,
        leases: &[Lease],
        upload: &Stream,
        work: &Stream,
    ) -> Result<()> {
        let mut to = 0;
        for lease in leases {
            let source = self.source(lease, to)?;
            // SAFETY: page-locked memory, the lane's or staging's, as long as the lease; nobody writes a leased
            // range, nor this place, as the caller promises.
            unsafe { upload.copy_in(&self.events, to, source.host, lease.len())? };
            to += lease.len();
        }
        upload.record(&self.uploaded)?;
        work.wait(&self.uploaded)
    }

    /// Where a range lies for the device: in its lane, or else in staging, where it is copied to.
    fn source(&mut self, lease: &Lease, to: usize) -> Result<Source> {
        let words = lease.words();
        if let Some(lane) = lanes::address(lease.slab()) {
            return Ok(Source { host: words.as_ptr(), device: lane + lease.at() as u64 * 4 });
        }
        let staging = match &mut self.staging {
            Some(staging) => staging,
            none => {
                let what = "the events of a lane that is not page-locked";
                none.insert(Pinned::new(&self.context, what, self.size.events)?)
            }
        };
        staging.slice_mut()[to..to + words.len()].copy_from_slice(words);
        Ok(Source { host: staging.slice()[to..].as_ptr(), device: staging.address(to) })
    }

    /// Blocks that the first kernel is given, a power of two: enough for the words it takes.
    pub(super) fn blocks(&self) -> u32 {
        let words = self.control.slice();
        let blocks = (words[HEAD_WORDS].div_ceil(word(PIECE_WORDS))).max(words[PIECES]);
        blocks.clamp(1, 256).next_power_of_two()
    }

    /// What the resident kernel takes a batch of this program by, and returns it: control words, header, events, words
    /// kept between, output, mark.
    pub(super) fn spans(&self, program: Size, out: Span, mark: Span) -> [Span; 6] {
        let head = self.head.span(program.head.next_multiple_of(4));
        [
            self.control.span(),
            head,
            self.events.span(program.events),
            self.kept.span(KEPT),
            out,
            mark,
        ]
    }

    /// What the first kernel is given, for this output.
    pub(super) fn gather(&self, out: Span) -> Arguments {
        let mut arguments = Arguments::default();
        let (head, events) =
            (self.head.span(self.head.words()), self.events.span(self.size.events));
        for span in [self.control.span(), head, events, self.kept.span(KEPT), out] {
            arguments.push(&[span]);
        }
        arguments
    }

    /// What the last kernel is given, for this output and mark.
    pub(super) fn finish(&self, out: Span, mark: Span) -> Arguments {
        let mut arguments = Arguments::default();
        for span in [self.kept.span(KEPT), out, mark] {
            arguments.push(&[span]);
        }
        arguments
    }
}

/// An address as a kernel reads it, the low word first.
#[allow(clippy::cast_possible_truncation, reason = "the low word is meant")]
fn halves(address: u64) -> (u32, u32) {
    (address as u32, (address >> 32) as u32)
}

/// The low word of a ticket, which is what fits a mark.
#[allow(clippy::cast_possible_truncation, reason = "the low word is meant")]
pub(super) fn low(ticket: Ticket) -> u32 {
    ticket.0 as u32
}
