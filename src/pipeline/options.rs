//! What a user asks for: a window query over an event type, and how the engine is to run it.

use super::closed::Aggregate;
use super::scores::{Ask, Order, Scored, sealed};
use crate::base::dtype::{DType, Number};
use crate::base::error::{Error, Result};
use crate::base::field::{Column, Field};
use crate::base::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, IN_FLIGHT_MAX, KEYS_MAX, VALUES_MAX};
use crate::base::time::{Shape, Ticks};
use crate::device::Device;
use crate::ops::expr::Filter;
use crate::ops::filter::Code;
use crate::ops::row::{self, FRACTION_MAX, Kind};
use crate::ring::{LaneOptions, Wait};
use std::marker::PhantomData;
use std::time::Duration;

/// Keyed event-time windows over events of type `E`.
///
/// All times are in the ticks of the time field. Fill in what differs from [`Windows::tumbling`]:
///
/// ```
/// use pelton::{Key, Pod, Value, Windows, Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Trade { at: u64, account: u32, amount: f32 }
///
/// let spend = Windows {
///     key: Key::hashed(field!(Trade.account)),
///     values: vec![Value { last: true, ..Value::exact(field!(Trade.amount)) }],
///     disorder: 500,
///     ..Windows::tumbling(field!(Trade.at), 10_000)
/// };
/// ```
#[derive(Debug, Clone)]
pub struct Windows<E> {
    /// The event time, in ticks of your choice.
    pub time: Field<E, u64>,
    /// What events are grouped by.
    pub key: Key<E>,
    /// Ticks in a window.
    pub size: Ticks,
    /// Ticks from one window's start to the next one's: `size` for tumbling windows, a divisor of it for
    /// hopping ones.
    pub slide: Ticks,
    /// The fields to aggregate, at most eight; events are counted in any case.
    pub values: Vec<Value<E>>,
    /// Only events that pass are aggregated. All events move time, also those that do not pass.
    pub filter: Option<Filter<E>>,
    /// How far an event may lie behind the largest time before it in its lane and still be on time.
    pub disorder: Ticks,
    /// How much longer a window takes late events after it fired; it fires again when they come.
    pub lateness: Ticks,
    /// How far an event may lie ahead of the largest time before it in its lane. Those beyond are set aside,
    /// unless 32 in a row agree to within a horizon: then time has really jumped.
    pub horizon: Ticks,
    /// Keys not seen for this long in event time are forgotten; `None` keeps them.
    pub ttl: Option<Ticks>,
}

impl<E> Windows<E> {
    /// Windows of `size` ticks side by side, unkeyed, counting events, that expect events in order.
    pub fn tumbling(time: Field<E, u64>, size: Ticks) -> Self {
        Self {
            time,
            key: Key::none(),
            size,
            slide: size,
            values: Vec::new(),
            filter: None,
            disorder: 0,
            lateness: 0,
            horizon: Ticks::MAX,
            ttl: None,
        }
    }

    /// Windows of `size` ticks, one every `slide` ticks.
    pub fn hopping(time: Field<E, u64>, size: Ticks, slide: Ticks) -> Self {
        Self { slide, ..Self::tumbling(time, size) }
    }
}

/// What events are grouped by.
pub struct Key<E> {
    pub(super) column: Option<Column>,
    /// Keys are indices below this.
    pub(super) dense: Option<u32>,
    of: PhantomData<fn(&E)>,
}

impl<E> Key<E> {
    /// No key: all events share one row, printed as key 0.
    pub const fn none() -> Self {
        Self { column: None, dense: Some(1), of: PhantomData }
    }

    /// Keys below `keys`, used as an index. An event with another key is set aside.
    pub const fn dense(field: Field<E, u32>, keys: u32) -> Self {
        Self { column: Some(field.column()), dense: Some(keys), of: PhantomData }
    }

    /// Any keys, held in a growing table on the device.
    pub const fn hashed<T: KeyType>(field: Field<E, T>) -> Self {
        Self { column: Some(field.column()), dense: None, of: PhantomData }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.dense.is_some_and(|n| n == 0 || n as usize > KEYS_MAX) {
            return Err(Error::invalid(format!("key: 1 to {KEYS_MAX} dense keys")));
        }
        Ok(())
    }
}

impl<E> Clone for Key<E> {
    fn clone(&self) -> Self {
        Self { column: self.column, dense: self.dense, of: PhantomData }
    }
}

impl<E> std::fmt::Debug for Key<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?}, dense: {:?})", self.column, self.dense)
    }
}

/// The types a hashed key can have.
pub trait KeyType: crate::base::dtype::Scalar {}
impl KeyType for u32 {}
impl KeyType for u64 {}

/// How a value is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sum {
    /// Not at all.
    None,
    /// Exactly, over the whole range of an f32.
    Exact,
    /// In fixed point with this many bits of fraction, 0 to 31: values are rounded to the nearest multiple of
    /// `2^-fraction_bits`, ties to even; those that then do not fit 32 bits are counted as `outside`.
    Fixed {
        /// Bits of fraction.
        fraction_bits: u32,
    },
}

/// A field that holds a number to aggregate, whatever its type.
pub struct NumberField<E> {
    column: Column,
    of: PhantomData<fn(&E)>,
}

impl<E> NumberField<E> {
    /// The word of an event that holds it, and how it lies there.
    pub(super) fn place(&self) -> Result<(usize, Kind)> {
        let column = self.column;
        let kind = match (column.dtype, column.upper()) {
            (DType::F32, _) => Kind::F32,
            (DType::F16, false) => Kind::F16Lower,
            (DType::F16, true) => Kind::F16Upper,
            (DType::Bf16, false) => Kind::Bf16Lower,
            (DType::Bf16, true) => Kind::Bf16Upper,
            (DType::I32, _) => Kind::I32,
            (other, _) => {
                return Err(Error::invalid(format!("value field: {} has no sum", other.name())));
            }
        };
        Ok((column.word(), kind))
    }
}

impl<E, T: Number> From<Field<E, T>> for NumberField<E> {
    fn from(field: Field<E, T>) -> Self {
        Self { column: field.column(), of: PhantomData }
    }
}

impl<E> Clone for NumberField<E> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<E> std::fmt::Debug for NumberField<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NumberField({:?})", self.column)
    }
}

/// One field to aggregate, and what of it.
pub struct Value<E> {
    /// Which field.
    pub field: NumberField<E>,
    /// Sum and mean.
    pub sum: Sum,
    /// Minimum and maximum.
    pub extremes: bool,
    /// Variance; needs [`Sum::Fixed`] or an integer field.
    pub variance: bool,
    /// The value of the first event by (time, lane, sequence).
    pub first: bool,
    /// The value of the last event by (time, lane, sequence).
    pub last: bool,
}

impl<E> Value<E> {
    /// Exact sum and mean, minimum and maximum.
    pub const fn exact<T: Number>(field: Field<E, T>) -> Self {
        Self {
            field: NumberField { column: field.column(), of: PhantomData },
            sum: Sum::Exact,
            extremes: true,
            variance: false,
            first: false,
            last: false,
        }
    }

    /// Fixed-point sum, mean and variance, minimum and maximum: smaller and faster than [`Value::exact`].
    pub const fn fixed<T: Number>(field: Field<E, T>, fraction_bits: u32) -> Self {
        Self { sum: Sum::Fixed { fraction_bits }, variance: true, ..Self::exact(field) }
    }

    /// Checked, and in the terms of the kernels.
    pub(super) fn spec(&self) -> Result<ValueSpec> {
        let (word, kind) = self.field.place()?;
        let mut parts = 0;
        let mut fraction = 0;
        match self.sum {
            Sum::None => {}
            // An integer's fixed point is exact.
            Sum::Exact if kind == Kind::I32 => parts |= row::FIXED,
            Sum::Exact => parts |= row::EXACT,
            Sum::Fixed { fraction_bits } => {
                if fraction_bits > FRACTION_MAX || kind == Kind::I32 && fraction_bits != 0 {
                    return Err(Error::invalid(
                        "value sum: fraction_bits is 0 to 31, and 0 for integer fields",
                    ));
                }
                parts |= row::FIXED;
                fraction = fraction_bits;
            }
        }
        if self.variance {
            if parts & row::FIXED == 0 {
                return Err(Error::invalid(
                    "value variance: needs sum: Sum::Fixed { .. }, because squares are summed in fixed point",
                ));
            }
            parts |= row::SQUARES;
        }
        for (on, part) in
            [(self.extremes, row::EXTREMES), (self.first, row::FIRST), (self.last, row::LAST)]
        {
            parts |= if on { part } else { 0 };
        }
        Ok(ValueSpec { word, kind, parts, fraction })
    }
}

impl<E> Clone for Value<E> {
    fn clone(&self) -> Self {
        Self { field: self.field.clone(), ..*self }
    }
}

impl<E> std::fmt::Debug for Value<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({:?}, {:?})", self.field.column, self.sum)
    }
}

/// A value in the terms of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueSpec {
    pub(super) word: usize,
    pub(super) kind: Kind,
    pub(super) parts: u32,
    pub(super) fraction: u32,
}

/// A window query in the terms of the engine: no types, all checked.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) stride: usize,
    pub(super) time: Column,
    pub(super) key: Option<Column>,
    pub(super) dense: Option<u32>,
    pub(super) shape: Shape,
    pub(super) values: Vec<ValueSpec>,
    pub(super) filter: Option<Code>,
    pub(super) disorder: Ticks,
    pub(super) lateness: Ticks,
    pub(super) horizon: Ticks,
    pub(super) ttl: Option<Ticks>,
    /// Keys make room for others when there are too many.
    pub(super) evict: bool,
    /// In which order events are taken.
    pub(super) order: Order,
    /// What is scored are rows of these windows, this of them.
    pub(super) windows: Option<Box<(Query, Aggregate)>>,
    /// Events are scored, not aggregated: see `pipeline::scores`.
    pub(super) scores: Option<Scored>,
}

impl Query {
    /// The time of the events that producers write.
    pub(super) fn fed_time(&self) -> Column {
        self.windows.as_ref().map_or(self.time, |windows| windows.0.time)
    }
}

/// The words of an event.
pub(super) fn event_stride<E>() -> Result<usize> {
    let bytes = size_of::<E>();
    if bytes == 0 || !bytes.is_multiple_of(4) || bytes > EVENT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "event type: {bytes} bytes; events have 4 to {EVENT_BYTES_MAX}, in whole words"
        )));
    }
    Ok(bytes / 4)
}

impl<E: bytemuck::Pod> Ask<E> for Windows<E> {}

impl<E: bytemuck::Pod> sealed::Ask for Windows<E> {
    #[allow(private_interfaces, reason = "nobody outside can name this trait")]
    fn query(&self) -> Result<Query> {
        let stride = event_stride::<E>()?;
        if self.values.len() > VALUES_MAX {
            return Err(Error::invalid(format!("values: at most {VALUES_MAX} fields")));
        }
        self.key.check()?;
        let needed = self.size.saturating_add(self.lateness);
        if self.ttl.is_some_and(|ttl| ttl < needed) {
            return Err(Error::invalid(format!("ttl: at least size + lateness, {needed} ticks")));
        }
        let mut values = self.values.iter().map(Value::spec).collect::<Result<Vec<_>>>()?;
        if values.is_empty() {
            // Events are counted in rows of their own when there is no value to count them with.
            values.push(ValueSpec { word: 0, kind: Kind::F32, parts: 0, fraction: 0 });
        }
        Ok(Query {
            stride,
            time: self.time.column(),
            key: self.key.column,
            dense: self.key.dense,
            shape: Shape::new(self.size, self.slide)?,
            values,
            filter: self.filter.as_ref().map(Filter::compile).transpose()?,
            disorder: self.disorder,
            lateness: self.lateness,
            horizon: self.horizon,
            ttl: self.ttl,
            evict: false,
            order: Order::Arrival,
            windows: None,
            scores: None,
        })
    }
}

/// How the engine runs a query.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it runs.
    pub device: Device,
    /// Where else it may run; `None` stays on `device`.
    ///
    /// Its costs are measured at the start on made-up events, and from then on by the batches it gets. When over a
    /// period the batches would have taken it less than two thirds of the time, the query moves there as a whole,
    /// state and all, between two batches, and later perhaps back; at most once a second. Results do not show it;
    /// `Stats` does.
    pub alternative: Option<Device>,
    /// Events in one batch, at most.
    pub batch_events: usize,
    /// How long events may take from commit to retirement; `None` for whatever the load gives.
    ///
    /// The engine never waits for a batch to fill: what is committed goes as soon as a place in flight is free. With
    /// a target it also bounds batches to fewer than `batch_events`, down to 64, when more than one event in a hundred
    /// is over the target because its batch took long; the bound comes back while batches fill it and there is time. It
    /// is a target, not a promise: what a device cannot do in time is late all the same. `Stats::batch_cap` shows the
    /// bound.
    pub latency_target: Option<Duration>,
    /// Whether a CUDA device keeps a kernel of ours running that waits for batches, which saves each of them a launch.
    ///
    /// For streams where microseconds count more than throughput: up to a quarter of the device is taken for as long as
    /// events come, and some thirty milliseconds longer, so that four such pipelines find room on it and more take
    /// turns. Results are the same. Memory that grows, new windows' places and moves between devices stop the kernel
    /// for a moment. A device without this mode (`Caps::latency_mode`) is an error at the start; an `alternative`
    /// without it runs batches as always.
    pub latency_mode: bool,
    /// Batches in flight, at most.
    pub in_flight: usize,
    /// Result batches that may be held at a time; when all are, the engine waits, and the lanes fill up.
    pub outstanding: usize,
    /// Rows in one result batch, at most.
    pub result_rows: usize,
    /// How lanes are made.
    pub lane: LaneOptions,
    /// How the engine's thread waits for events.
    pub wait: Wait,
    /// Keys to make room for at the start.
    pub keys: usize,
    /// Keys held at a time; events of further keys are set aside, or [`Scores::evict`](super::Scores::evict) makes room
    /// for them. Looked at between batches, so one batch may exceed
    /// it, and which keys get in depends on the batches: a parallel device does not know which of a batch's new keys
    /// came first. So where the bound is reached, and only there, the size of batches shows in what is set aside.
    pub keys_max: usize,
    /// Set-aside events kept for [`Results::asides`](super::Results::asides); more are counted and lost.
    pub asides: usize,
    /// Bytes of the states of forgotten keys kept for [`Results::forgotten`](super::Results::forgotten); more are
    /// counted and lost.
    pub forgotten_bytes: usize,
    /// The seed of the key table; `None` takes one from the system, which is what hostile keys call for.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self::on(Device::best())
    }
}

impl Options {
    /// The defaults for this device.
    pub fn on(device: Device) -> Self {
        Self {
            device,
            alternative: None,
            batch_events: 1 << 14,
            latency_target: None,
            latency_mode: false,
            in_flight: 3,
            outstanding: 16,
            result_rows: 1 << 12,
            lane: LaneOptions::default(),
            wait: Wait::Park,
            keys: 1 << 10,
            keys_max: 1 << 26,
            asides: 1 << 16,
            forgotten_bytes: 1 << 26,
            seed: None,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let checks = [
            ("batch_events", self.batch_events, BATCH_EVENTS_MAX),
            ("in_flight", self.in_flight, IN_FLIGHT_MAX),
            ("outstanding", self.outstanding, 1 << 16),
            ("result_rows", self.result_rows, 1 << 24),
            ("keys", self.keys, KEYS_MAX),
            ("keys_max", self.keys_max, KEYS_MAX),
        ];
        for (name, value, max) in checks {
            if !(1..=max).contains(&value) {
                return Err(Error::out_of_range(name, value, format_args!("1 to {max}")));
            }
        }
        if self.latency_target.is_some_and(|target| target.is_zero()) {
            return Err(Error::invalid("latency_target: 0; give a time, or None for no target"));
        }
        let caps = self.device.caps();
        if self.latency_mode && !caps.latency_mode {
            return Err(Error::unsupported(
                &caps.name,
                "it has no latency mode: choose a CUDA device, or leave Options::latency_mode off",
            ));
        }
        Ok(())
    }
}
