//! What comes back: rows of closed windows in the memory the device wrote them to, and events set aside.

use crate::base::time::Ticks;
use crate::device::Output;
use crate::ops::batch::{OUT_ASIDE, OUT_FIXED, join};
use crate::ops::fire::{FIRE_FIXED, FIRE_ROWS};
use crate::ops::row::{self, COUNT, Kind, Layout, NAN, OUTSIDE};
use crate::ops::score::{OUT_SCORED, ROW};
use crate::ring::Bell;
use std::fmt;
use std::slice::ChunksExact;
use std::sync::Arc;

/// Why an event was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// All of its windows had ended, lateness included.
    Late,
    /// It lies beyond the horizon.
    Beyond,
    /// Its dense key is out of range, or its hashed key found no room.
    Key,
    /// Its window has taken as many events as sums are exact for (2^31 - 1).
    Full,
}

/// An event that no window took, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aside<E> {
    /// As it was written to the lane.
    pub event: E,
    /// Why no window took it.
    pub reason: Reason,
}

/// How emitted rows are to be read.
#[derive(Debug)]
pub(super) struct Shape {
    /// Words of a row.
    pub(super) words: usize,
    /// For each value: where its accumulators begin, how they lie, and what its numbers mean.
    pub(super) values: Vec<(usize, Layout, Kind, u32)>,
    /// Words of a score, where rows are those of a batch's events.
    pub(super) scores: Option<usize>,
}

/// Closed rows of one window, as many of its keys as fit one result batch; or the scores of one batch of events. The
/// memory returns to the engine when this is dropped; the engine waits when all of it is held.
pub struct Rows {
    output: Option<Output>,
    shape: Arc<Shape>,
    bell: Bell,
    /// First tick of the window.
    pub start: Ticks,
    /// The tick after its last, at most `u64::MAX`.
    pub end: Ticks,
    /// Events that lanes dropped (back-pressure) and that may have belonged to this window.
    pub lost: u64,
    /// When the run of events that closed the window was committed, on `clock::now_ns`.
    pub closed_ns: u64,
    /// Whether the window's rows end here: all of them are out, until late events fire it again.
    pub complete: bool,
}

impl Rows {
    pub(super) fn new(
        output: Output,
        shape: Arc<Shape>,
        bell: Bell,
        (start, end): (Ticks, Ticks),
        (lost, closed_ns, complete): (u64, u64, bool),
    ) -> Self {
        Self { output: Some(output), shape, bell, start, end, lost, closed_ns, complete }
    }

    fn words(&self) -> &[u32] {
        self.output.as_deref().unwrap_or(&[])
    }

    /// How many rows or scores there are.
    pub fn len(&self) -> usize {
        let at = if self.shape.scores.is_some() { OUT_SCORED } else { FIRE_ROWS };
        self.words().get(at).map_or(0, |&rows| rows as usize)
    }

    /// The words of each score; none for windows.
    pub(super) fn score_words(&self) -> ChunksExact<'_, u32> {
        let (rows, words) = self.shape.scores.map_or((0, ROW), |words| (self.len(), words));
        let at = self.words().get(OUT_ASIDE).map_or(0, |&asides| OUT_FIXED + asides as usize);
        self.words().get(at..at + rows * words).unwrap_or(&[]).chunks_exact(words)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of a window, in no particular order. For scores see [`Rows::scores`].
    pub fn iter(&self) -> RowIter<'_> {
        let rows = if self.shape.scores.is_some() { 0 } else { self.len() };
        let words = self.words().get(FIRE_FIXED..).unwrap_or(&[]);
        let words = &words[..rows * self.shape.words];
        RowIter { words: words.chunks_exact(self.shape.words), rows: self }
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = RowIter<'a>;
    fn into_iter(self) -> RowIter<'a> {
        self.iter()
    }
}

/// The rows of one result batch.
#[derive(Clone)]
pub struct RowIter<'a> {
    words: ChunksExact<'a, u32>,
    rows: &'a Rows,
}

impl<'a> Iterator for RowIter<'a> {
    type Item = Row<'a>;
    fn next(&mut self) -> Option<Row<'a>> {
        let words = self.words.next()?;
        Some(Row { words, rows: self.rows })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.words.size_hint()
    }
}

impl ExactSizeIterator for RowIter<'_> {}

impl fmt::Debug for RowIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowIter({} left)", self.len())
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.output = None;
        self.bell.ring_always();
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows([{}, {}), {} rows)", self.start, self.end, self.len())
    }
}

/// One key's row of a closed window. Values are asked for by their place in `Windows::values`.
///
/// A row may come again with more events in it when the window takes late ones: the last one counts.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    words: &'a [u32],
    rows: &'a Rows,
}

impl Row<'_> {
    /// The key; 0 when there is none.
    pub fn key(&self) -> u64 {
        join(self.words[0], self.words[1])
    }

    /// First tick of the window.
    pub fn start(&self) -> Ticks {
        self.rows.start
    }

    /// The tick after the window's last.
    pub fn end(&self) -> Ticks {
        self.rows.end
    }

    /// Events, whatever their values.
    pub fn count(&self) -> u64 {
        let (at, ..) = self.rows.shape.values[0];
        u64::from(self.words[at + COUNT])
    }

    fn value(&self, value: usize, part: u32) -> (&[u32], &Layout, Kind, u32) {
        let (at, layout, kind, fraction) = &self.rows.shape.values[value];
        assert!(layout.parts & part == part, "value {value} of this query does not aggregate that");
        (&self.words[*at..*at + layout.words], layout, *kind, *fraction)
    }

    /// Events whose value is NaN: they are in `count` and in nothing else.
    pub fn nan(&self, value: usize) -> u64 {
        u64::from(self.value(value, 0).0[NAN])
    }

    /// Events whose value is in no sum: infinite, or outside the fixed point.
    pub fn outside(&self, value: usize) -> u64 {
        u64::from(self.value(value, 0).0[OUTSIDE])
    }

    /// Values that are in the sum.
    pub fn summed(&self, value: usize) -> u64 {
        let (w, ..) = self.value(value, 0);
        u64::from(w[COUNT] - w[NAN] - w[OUTSIDE])
    }

    /// The sum, exact and rounded once to an f64; NaN when there is nothing to sum.
    ///
    /// # Panics
    /// When the query does not sum this value.
    pub fn sum(&self, value: usize) -> f64 {
        let (w, l, _, fraction) = self.value(value, 0);
        if self.summed(value) == 0 {
            return f64::NAN;
        }
        if l.parts & row::EXACT != 0 {
            return row::exact_sum(&w[l.exact..l.exact + 2 * row::LIMBS]);
        }
        let (w, l, ..) = self.value(value, row::FIXED);
        let sum = join(w[l.fixed], w[l.fixed + 1]).cast_signed();
        #[allow(clippy::cast_precision_loss, reason = "the one rounding")]
        let sum = sum as f64;
        sum / power_of_two(fraction)
    }

    /// The mean of the summed values; NaN when there are none.
    ///
    /// # Panics
    /// As [`Row::sum`].
    pub fn mean(&self, value: usize) -> f64 {
        let n = self.summed(value);
        #[allow(clippy::cast_precision_loss, reason = "counts stay below 2^31")]
        let n = n as f64;
        if n == 0.0 { f64::NAN } else { self.sum(value) / n }
    }

    /// The variance of the population, `(n * sum(x^2) - sum(x)^2) / n^2`, its numerator exact; NaN when there
    /// are no values.
    ///
    /// # Panics
    /// When the query does not ask for this value's variance.
    pub fn variance(&self, value: usize) -> f64 {
        self.spread(value, |n| n * n)
    }

    /// The variance estimated from a sample, with `n * (n - 1)` below; NaN when there are fewer than two
    /// values.
    ///
    /// # Panics
    /// As [`Row::variance`].
    pub fn variance_sample(&self, value: usize) -> f64 {
        self.spread(value, |n| n * (n - 1.0))
    }

    fn spread(&self, value: usize, below: impl Fn(f64) -> f64) -> f64 {
        let (w, l, _, fraction) = self.value(value, row::FIXED | row::SQUARES);
        let n = self.summed(value);
        let sum = i128::from(join(w[l.fixed], w[l.fixed + 1]).cast_signed());
        let square = |i| u128::from(join(w[l.squares + i], w[l.squares + i + 1]));
        let squares = (square(0) | square(2) << 64).cast_signed();
        // Below 2^31 values of 32 bits: the products stay below 2^125.
        let above = i128::from(n) * squares - sum * sum;
        #[allow(clippy::cast_precision_loss, reason = "rounded once each")]
        let (above, below) = (above as f64, below(n as f64));
        let scale = power_of_two(fraction);
        if below > 0.0 { above / below / scale / scale } else { f64::NAN }
    }

    /// The smallest value, infinities included, -0 below +0; NaN when there is none.
    ///
    /// # Panics
    /// When the query does not ask for this value's extremes.
    pub fn min(&self, value: usize) -> f64 {
        self.extreme(value, |w, at| !w[at])
    }

    /// The largest value, infinities included, -0 below +0; NaN when there is none.
    ///
    /// # Panics
    /// As [`Row::min`].
    pub fn max(&self, value: usize) -> f64 {
        self.extreme(value, |w, at| w[at + 1])
    }

    fn extreme(&self, value: usize, ordered: impl Fn(&[u32], usize) -> u32) -> f64 {
        let (w, l, kind, _) = self.value(value, row::EXTREMES);
        if w[COUNT] == w[NAN] { f64::NAN } else { kind.unordered(ordered(w, l.extremes)) }
    }

    /// The value of the first event by (time, lane, sequence); NaN when there is none.
    ///
    /// # Panics
    /// When the query does not ask for this value's first.
    pub fn first(&self, value: usize) -> f64 {
        self.end_of(value, row::FIRST, |l| l.first)
    }

    /// The value of the last event by (time, lane, sequence); NaN when there is none.
    ///
    /// # Panics
    /// When the query does not ask for this value's last.
    pub fn last(&self, value: usize) -> f64 {
        self.end_of(value, row::LAST, |l| l.last)
    }

    fn end_of(&self, value: usize, part: u32, at: impl Fn(&Layout) -> usize) -> f64 {
        let (w, l, kind, _) = self.value(value, part);
        let end = &w[at(l)..at(l) + row::END];
        if end[row::END_LANE] == 0 { f64::NAN } else { kind.value(end[row::END_VALUE]) }
    }
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Row(key {}, [{}, {}), count {})",
            self.key(),
            self.start(),
            self.end(),
            self.count()
        )
    }
}

fn power_of_two(bits: u32) -> f64 {
    f64::from_bits((1023 + u64::from(bits)) << 52)
}
