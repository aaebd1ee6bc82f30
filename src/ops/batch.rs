//! The header of an ingest batch: which events lie where, and which accumulator slots they go to.
//!
//! Lateness, horizon and slices are decided on the host, run by run, before a batch is dispatched (see
//! `pipeline::judge`), so kernels never divide a time or compare it with a watermark. What they get is a
//! list of **chunks**: events that lie together, share a lane, and go to one of a short list of **spans**
//! (time ranges that own an accumulator slot), or to all of them.
//!
//! Words: the fixed part below, then `chunks` chunks of [`CHUNK`] words, then the spans of [`SPAN`] words.

use super::page::Slot;

/// Workgroups of the per-chunk kernels.
pub const GROUPS: usize = 0;
/// Events under the leases of this batch, those that no chunk names included.
pub const EVENTS: usize = 1;
/// Number of chunks.
pub const CHUNKS: usize = 2;
/// Word at which the spans begin.
pub const SPANS_AT: usize = 3;
/// Slots of the key table minus one; a power of two minus one.
pub const TABLE_MASK: usize = 4;
/// Four words of seed against crafted collisions, kept with the state.
pub const SEED: usize = 5;
/// Whether keys that are not in the table yet stay out of it (its memory is spent).
pub const FROZEN: usize = 9;
/// The generation that is stored with each key seen, for expiry.
pub const GENERATION: usize = 10;
/// Keys of a dense operator.
pub const DENSE_KEYS: usize = 11;
/// Ids known to be in use when the batch was sent: few events have others.
pub const IDS_KNOWN: usize = 12;
/// Words before the first chunk.
pub const FIXED: usize = 16;

/// Words of a chunk: first event (index into the batch), events, first span, span count and [`ALL`], lane, sequence of
/// the first event (two words), range, event offset inside the range, three words of padding.
pub const CHUNK: usize = 12;
/// Words of a span: its first tick (two words), its slot (two words, see `ops::page`). Spans of a chunk ascend.
pub const SPAN: usize = 4;
/// Flag in a chunk's span count: its events go to all of its spans, not to the last one that begins before them.
pub const ALL: u32 = 1 << 31;

/// What stands in the id of an event that the filter dropped.
pub const DROPPED: u32 = u32::MAX;
/// What stands in the id of an event whose key is out of range or found no room.
pub const ASIDE: u32 = u32::MAX - 1;
/// Flag of an id that is still the table slot its key has just claimed.
pub const PENDING: u32 = 1 << 31;
/// Flag of an id that is still the event which has just claimed a slot for the same key.
pub const FOLLOW: u32 = 1 << 30;
/// Flag of an id whose record is not written yet: the event is the one that claimed it.
pub const NEW: u32 = 1 << 29;

/// Words of an ingest batch's output before the list of events set aside.
pub const OUT_FIXED: usize = 8;
/// Output word: how many ids are in use, the high-water mark.
pub const OUT_KEYS: usize = 1;
/// Output word: how many events were set aside for their key.
pub const OUT_ASIDE: usize = 2;
/// Output word: the longest probe sequence met.
pub const OUT_PROBES: usize = 3;
/// Output word: how many ids are free again.
pub const OUT_FREE: usize = 4;
/// Output word: the most keys that a page of the table had after it was given more, where there are several.
pub const OUT_FILL: usize = 5;
/// Output word: how many keys are new, on a serial device.
pub const OUT_NEW: usize = 6;

/// One chunk, as CPU twins read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Index of its first event in the batch.
    pub first: u32,
    /// How many events.
    pub events: u32,
    /// Index of its first span.
    pub spans_at: u32,
    /// How many spans.
    pub spans: u32,
    /// Whether events go to all spans.
    pub all: bool,
    /// The lane they came through.
    pub lane: u32,
    /// Sequence number of the first event in that lane.
    pub seq: u64,
    /// Which range of the batch holds them.
    pub range: u32,
    /// How many events of that range come before.
    pub at: u32,
}

impl Chunk {
    /// The chunk's words.
    #[inline]
    pub const fn words(&self) -> [u32; CHUNK] {
        let all = if self.all { ALL } else { 0 };
        [
            self.first,
            self.events,
            self.spans_at,
            self.spans | all,
            self.lane,
            lo(self.seq),
            hi(self.seq),
            self.range,
            self.at,
            0,
            0,
            0,
        ]
    }

    /// The chunk from its words.
    #[inline]
    pub fn read(w: &[u32; CHUNK]) -> Self {
        Self {
            first: w[0],
            events: w[1],
            spans_at: w[2],
            spans: w[3] & !ALL,
            all: w[3] & ALL != 0,
            lane: w[4],
            seq: join(w[5], w[6]),
            range: w[7],
            at: w[8],
        }
    }
}

/// One span, as CPU twins read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first tick.
    pub start: u64,
    /// The accumulator slot that owns it.
    pub slot: Slot,
}

impl Span {
    /// The span's words.
    #[inline]
    pub const fn words(&self) -> [u32; SPAN] {
        [lo(self.start), hi(self.start), self.slot[0], self.slot[1]]
    }
}

/// The chunks of a header.
#[inline]
pub fn chunks(head: &[u32]) -> impl Iterator<Item = Chunk> + '_ {
    let words = &head[FIXED..FIXED + head[CHUNKS] as usize * CHUNK];
    words.as_chunks::<CHUNK>().0.iter().map(Chunk::read)
}

/// The spans of one chunk.
#[inline]
pub fn spans<'a>(head: &'a [u32], chunk: &Chunk) -> &'a [[u32; SPAN]] {
    let at = head[SPANS_AT] as usize + chunk.spans_at as usize * SPAN;
    head[at..at + chunk.spans as usize * SPAN].as_chunks::<SPAN>().0
}

/// The slot that a span names.
#[inline(always)]
pub const fn span_slot(span: &[u32; SPAN]) -> Slot {
    [span[2], span[3]]
}

/// The slot of the last span that begins at or before `t`.
#[inline]
pub fn slot_at(spans: &[[u32; SPAN]], t: u64) -> Slot {
    let mut i = spans.len() - 1;
    while i > 0 && join(spans[i][0], spans[i][1]) > t {
        i -= 1;
    }
    span_slot(&spans[i])
}

/// The words of one chunk's events.
#[inline]
pub fn event_words<'a>(
    events: &'a dyn crate::plan::EventWords,
    chunk: &Chunk,
    stride: usize,
) -> &'a [u32] {
    let at = chunk.at as usize * stride;
    &events.range(chunk.range as usize)[at..at + chunk.events as usize * stride]
}

/// Low word.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the low word is what is asked for")]
pub const fn lo(x: u64) -> u32 {
    x as u32
}

/// High word.
#[inline]
pub const fn hi(x: u64) -> u32 {
    lo(x >> 32)
}

/// Two words as one number.
#[inline]
pub const fn join(lo: u32, hi: u32) -> u64 {
    lo as u64 | (hi as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_survives_its_words() {
        let chunk = Chunk {
            first: 7,
            events: 256,
            spans_at: 3,
            spans: 2,
            all: true,
            lane: 5,
            seq: u64::MAX - 9,
            range: 4,
            at: 11,
        };
        assert_eq!(Chunk::read(&chunk.words()), chunk);
        assert!(!Chunk::read(&Chunk { all: false, ..chunk }.words()).all);
    }

    #[test]
    fn an_event_goes_to_the_last_span_that_begins_before_it() {
        let spans = [(10, 1), (20, 2), (1 << 40, 3)]
            .map(|(start, at)| Span { start, slot: [at, 9] }.words());
        let slots = [10, 19, 20, 21, (1 << 40) - 1, 1 << 40, u64::MAX].map(|t| slot_at(&spans, t));
        assert_eq!(slots, [1, 1, 2, 2, 2, 3, 3].map(|at| [at, 9]));
    }
}
