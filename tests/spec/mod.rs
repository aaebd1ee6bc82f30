//! The executable specification of keyed windows, the streams it is tried on, and the judge between it and an engine.
//!
//! `windows` is the specification: one event at a time, sequential, exact, and ignorant of batches and
//! devices. `exact` rounds sums, `streams` makes hostile input from a seed, `compare` finds the first
//! difference. A test binary says `mod spec;` and fills a `compare::EngineOutput`.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the module")]

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};

pub mod compare;
pub mod exact;
#[path = "../../benches/common/peers.rs"]
pub mod peers;
pub mod scenario;
pub mod streams;
pub mod windows;

/// The event of every test: a time, a key of each width, and a value of each type. 32 bytes, no padding.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
pub struct Reading {
    pub at: u64,
    pub key: u64,
    pub small: u32,
    pub value: f32,
    pub other: i32,
    pub half: f16,
    pub brain: bf16,
}

/// By bits, so that NaN values are equal too.
impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        bytemuck::bytes_of(self) == bytemuck::bytes_of(other)
    }
}

/// One thing that happens to a lane. A test is a list of these in global order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    Open(u32),
    Event(u32, Reading),
    Idle(u32),
    /// The lane's time has come so far, without an event.
    Advance(u32, u64),
    Close(u32),
}

/// Which field of a `Reading` is the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyField {
    /// `key`, 64 bits.
    Wide,
    /// `small`, 32 bits.
    Small,
}

impl KeyField {
    pub fn of(self, reading: &Reading) -> u64 {
        match self {
            Self::Wide => reading.key,
            Self::Small => u64::from(reading.small),
        }
    }
}

/// Which field of a `Reading` is aggregated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueField {
    /// `value`, f32.
    Value,
    /// `other`, i32.
    Other,
    /// `half`, f16.
    Half,
    /// `brain`, bf16.
    Brain,
}

/// How sums are kept. Integers are `Fixed { fraction: 0 }` whatever is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The exact sum of all finite values, rounded once.
    Exact,
    /// Every value rounded half to even to a multiple of `2^-fraction` whose integer fits an i32.
    Fixed { fraction: u32 },
}

/// One aggregated field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    pub field: ValueField,
    pub mode: Mode,
}

/// Which events are aggregated at all; NaN compares false.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filter {
    Everything,
    /// `other >= least`.
    OtherAtLeast(i32),
    /// `value < bound`.
    ValueBelow(f32),
}

impl Filter {
    pub fn keeps(self, reading: &Reading) -> bool {
        match self {
            Self::Everything => true,
            Self::OtherAtLeast(least) => reading.other >= least,
            Self::ValueBelow(bound) => reading.value < bound,
        }
    }
}

/// A window query over readings. `horizon: u64::MAX` means that nothing is beyond.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Ticks in a window: a multiple of `slide`.
    pub size: u64,
    pub slide: u64,
    pub disorder: u64,
    pub lateness: u64,
    pub horizon: u64,
    pub key: KeyField,
    /// Keys are indexes below this; others are set aside.
    pub dense: Option<u64>,
    pub filter: Filter,
    pub values: Vec<Value>,
}

/// Why an event was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Beyond,
    Late,
    Key,
}

/// What was counted. Every event is exactly one of `accepted`, `late`, `beyond`; `bad_key`, `filtered`
/// and `jumps` are parts of `accepted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub accepted: u64,
    pub late: u64,
    pub beyond: u64,
    pub bad_key: u64,
    pub filtered: u64,
    pub jumps: u64,
}

/// What a window says about one field. NaN where there is no value to speak of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// NaN values: in `Row::count`, in nothing else.
    pub nan: u64,
    /// Values that no sum can take: infinities, and for fixed point everything past an i32.
    pub outside: u64,
    /// Least and greatest value, infinities included, with -0 < +0.
    pub min: f64,
    pub max: f64,
    /// Over the values neither NaN nor outside, as are the next three.
    pub sum: f64,
    pub mean: f64,
    /// Of the population; fixed point only.
    pub variance: f64,
    /// Of a sample; fixed point only.
    pub sample_variance: f64,
    /// By (time, lane, position in the lane), over the values that are not NaN.
    pub first: f64,
    pub last: f64,
}

/// The final revision of one (key, window).
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub start: u64,
    /// The tick after the window, at most `u64::MAX`.
    pub end: u64,
    pub count: u64,
    /// One for each of `Query::values`.
    pub values: Vec<Stats>,
}
