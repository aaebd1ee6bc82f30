//! Scores of closed windows: what one pipeline's windows bring out is what it scores.
//!
//! The windows are a query of their own inside the pipeline, on the same device. Their rows pass through the host,
//! since numbers are made of rows there (`results.rs`): a window's are sorted by key and written to a lane of the
//! scores.

use super::engine::Engine;
use super::options::{Key, Query, ValueSpec, Windows};
use super::outbox::Outbox;
use super::results::Row;
use super::scores::{Ask, Order, Scores, sealed};
use crate::base::error::{Error, Result};
use crate::base::time::Ticks;
use crate::ops::row;
use crate::ring::Lane;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;

/// What of a window's row is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many events.
    Count,
    /// The sum of a value, by its place in [`Windows::values`].
    Sum(usize),
    /// Its mean.
    Mean(usize),
    /// The smallest.
    Min(usize),
    /// The largest.
    Max(usize),
}

impl Aggregate {
    /// # Errors
    /// `Invalid` when the windows have no such value, or do not aggregate it so.
    fn check(self, values: &[ValueSpec]) -> Result<()> {
        let (value, parts, accepted) = match self {
            Self::Count => return Ok(()),
            Self::Sum(value) | Self::Mean(value) => {
                (value, row::EXACT | row::FIXED, "a value with a sum")
            }
            Self::Min(value) | Self::Max(value) => (value, row::EXTREMES, "a value with extremes"),
        };
        if values.get(value).is_none_or(|spec| spec.parts & parts == 0) {
            return Err(Error::out_of_range("aggregate", format_args!("{self:?}"), accepted));
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "rounded once more, to an f32")]
    fn of(self, row: &Row<'_>) -> f64 {
        match self {
            Self::Count => row.count() as f64,
            Self::Sum(value) => row.sum(value),
            Self::Mean(value) => row.mean(value),
            Self::Min(value) => row.min(value),
            Self::Max(value) => row.max(value),
        }
    }
}

/// A key's closed window, as it is scored.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Closed {
    /// The tick after the window's last: the time of its [`Score`](super::Score).
    pub end: u64,
    /// The key; 0 when there is none.
    pub key: u64,
    /// What is scored, rounded to an `f32`; NaN, which is missing, when there is none.
    pub value: f32,
    /// Events in the window, at most 2^31 - 1.
    pub count: u32,
}

/// Scores of closed windows: for each key what a window comes to is scored by its windows before.
///
/// A window without events has no row, and so no score. Late events are set aside: windows do not fire again here.
///
/// ```
/// use pelton::{Aggregate, Device, Inline, Key, Options, Pod, Scores, WindowScores, Windows};
/// use pelton::{Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Payment { at: u64, account: u32, amount: f32 }
///
/// let hours = Windows {
///     key: Key::hashed(field!(Payment.account)),
///     ..Windows::tumbling(field!(Payment.at), 60)
/// };
/// let query = WindowScores::new(hours, Aggregate::Count);
/// let query = WindowScores { scores: Scores { least: 5.0, ..query.scores }, ..query };
/// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
/// let mut lane = inline.lane()?;
/// let mut alerts = Vec::new();
/// for hour in 0..2000u64 {
///     let usual = 3 + hour * 2_654_435_761 % 5;
///     for i in 0..if hour == 1800 { 40 } else { usual } {
///         lane.push(Payment { at: hour * 60 + i, account: 7, amount: 1.0 }).expect("there is room");
///     }
///     inline.settle(|rows| alerts.extend(rows.scores().filter(|s| s.alert()).map(|s| s.time())))?;
/// }
/// assert_eq!(alerts, [1801 * 60]);
/// # Ok::<(), pelton::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WindowScores<E> {
    /// The windows; without allowed lateness.
    pub windows: Windows<E>,
    /// What of them is scored, where the scores look at [`Closed::value`].
    pub aggregate: Aggregate,
    /// How they are scored. Spacings are slides of the windows.
    pub scores: Scores<Closed>,
}

impl<E> WindowScores<E> {
    /// Scores of the windows' keys as [`Scores::new`] makes them.
    pub fn new(windows: Windows<E>, aggregate: Aggregate) -> Self {
        let key = Key::hashed(crate::field!(Closed.key));
        let scores = Scores::new(crate::field!(Closed.end), crate::field!(Closed.value));
        Self { windows, aggregate, scores: Scores { key, ..scores } }
    }
}

impl<E: bytemuck::Pod> Ask<E> for WindowScores<E> {}

impl<E: bytemuck::Pod> sealed::Ask for WindowScores<E> {
    #[allow(private_interfaces, reason = "nobody outside can name this trait")]
    fn query(&self) -> Result<Query> {
        let windows = self.windows.query()?;
        if windows.lateness > 0 {
            let accepted = "0 where windows are scored: they do not fire again";
            return Err(Error::out_of_range("lateness", windows.lateness, accepted));
        }
        if self.scores.order != Order::Arrival {
            return Err(Error::invalid("scores.order: windows close in order; use Order::Arrival"));
        }
        self.aggregate.check(&windows.values)?;
        let scores = self.scores.query()?;
        Ok(Query { windows: Some(Box::new((windows, self.aggregate))), ..scores })
    }
}

/// Windows whose rows become events of a lane.
pub(super) struct Closing {
    pub(super) windows: Engine,
    rows: Arc<Outbox>,
    aggregate: Aggregate,
    /// Gone when all windows are.
    out: Option<Lane<Closed>>,
    /// Rows of a window that is not complete, and those that are to be written.
    coming: Vec<Closed>,
    ready: VecDeque<Closed>,
    stamp_ns: u64,
}

impl Closing {
    pub(super) fn new(
        windows: Engine,
        rows: Arc<Outbox>,
        aggregate: Aggregate,
        out: Lane<Closed>,
    ) -> Self {
        let (coming, ready) = (Vec::new(), VecDeque::new());
        Self { windows, rows, aggregate, out: Some(out), coming, ready, stamp_ns: 0 }
    }

    /// The events set aside since the last call go to `outbox`; returns how many found no room.
    pub(super) fn hand_asides(&self, outbox: &Outbox) -> u64 {
        let lost = |(reason, event): (_, Box<[u32]>)| u64::from(!outbox.put_aside(reason, &event));
        self.rows.take_asides().into_iter().map(lost).sum()
    }

    /// Does what can be done now; false when there was nothing to do.
    pub(super) fn step(&mut self) -> Result<bool> {
        let mut progress = self.windows.step()?;
        loop {
            progress |= self.write();
            if !self.ready.is_empty() {
                return Ok(progress);
            }
            let Poll::Ready(Some(rows)) = self.rows.look() else { break };
            let rows = rows?;
            progress = true;
            let aggregate = self.aggregate;
            #[allow(clippy::cast_possible_truncation, reason = "rounded")]
            let closed = |row: Row<'_>| Closed {
                end: row.end(),
                key: row.key(),
                value: aggregate.of(&row) as f32,
                count: u32::try_from(row.count()).unwrap_or(u32::MAX),
            };
            self.coming.extend(rows.iter().map(closed));
            self.stamp_ns = rows.closed_ns;
            if rows.complete {
                // Rows come in no order, and a part of them at a time.
                self.coming.sort_by_key(|closed| closed.key);
                self.ready.extend(self.coming.drain(..));
            }
        }
        if self.windows.is_over() {
            progress |= self.out.take().is_some();
        }
        Ok(progress)
    }

    /// Writes what is ready, as far as there is room; false when that was nothing.
    fn write(&mut self) -> bool {
        let Self { out: Some(out), ready, .. } = self else { return false };
        let mut progress = false;
        while !ready.is_empty() && out.free() > 0 {
            let Ok(mut run) = out.write(ready.len()) else { break };
            let n = run.len();
            run.iter_mut().zip(ready.drain(..n)).for_each(|(place, closed)| *place = closed);
            let ends = run.iter().map(|closed| closed.end);
            let (lo, hi): (Ticks, Ticks) =
                (ends.clone().min().unwrap_or(0), ends.max().unwrap_or(0));
            run.commit_at(n, lo, hi, self.stamp_ns);
            progress = true;
        }
        progress
    }
}
