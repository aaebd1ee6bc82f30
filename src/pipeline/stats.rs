//! What a pipeline has counted, and how long its events took, stage by stage.

use super::placement::Cost;
use crate::base::hist::Latency;
use std::fmt;

/// Counters and latencies of a pipeline since its start. Cheap to take.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// The device it runs on now.
    pub device: String,
    /// Times it moved to another device.
    pub moves: u64,
    /// Why it could not move when it should have; it stays then, and does not try again.
    pub move_error: Option<String>,
    /// What batches take on this device.
    pub cost: Option<Cost>,
    /// What they are thought to take on the other one.
    pub cost_elsewhere: Option<Cost>,
    /// Events taken from lanes, those set aside included.
    pub events: u64,
    /// Events that reached the device.
    pub accepted: u64,
    /// Events late for all of their windows.
    pub late: u64,
    /// Events late in a lane whose time still stood where the watermark was when it joined or came back.
    /// These alone depend on when lanes join.
    pub late_after_join: u64,
    /// Events beyond the horizon.
    pub beyond: u64,
    /// Events whose key is out of range or found no room.
    pub bad_key: u64,
    /// Events whose window was full.
    pub full: u64,
    /// Times a lane's time really jumped.
    pub jumps: u64,
    /// Set-aside events that nobody fetched in time.
    pub asides_lost: u64,
    /// Events that lanes dropped under back-pressure.
    pub dropped: u64,
    /// Events that producers were handed back.
    pub rejected: u64,
    /// Events of a text pipeline that have an error for a vector.
    pub refused: u64,
    /// Events of a text pipeline that were done after their deadline.
    pub overdue: u64,
    /// Tokens that a text pipeline sent to the device.
    pub tokens: u64,
    /// Batches of events.
    pub batches: u64,
    /// Events that a batch may have now: `Options::batch_events`, or less to hold `Options::latency_target`.
    pub batch_cap: u64,
    /// Windows fired, those fired again included.
    pub fired: u64,
    /// Rows emitted.
    pub rows: u64,
    /// Keys held.
    pub keys: u64,
    /// Keys forgotten.
    pub expired: u64,
    /// States of forgotten keys that nobody fetched in time.
    pub states_lost: u64,
    /// Labels of alerts that were taken in.
    pub labels: u64,
    /// Labels of keys that have no events, and labels for windows, which changed nothing.
    pub labels_unknown: u64,
    /// Events at which a key drifted ([`Scores::drift`](super::Scores::drift)).
    pub drifts: u64,
    /// Times the key table was rebuilt.
    pub rehashes: u64,
    /// Bytes of state on the device.
    pub state_bytes: u64,
    /// Event time below which windows have fired; `None` before there is one.
    pub watermark: Option<u64>,
    /// Commit of a run to the dispatch of its events.
    pub ring: Latency,
    /// Dispatch to the batch's retirement.
    pub device_ns: Latency,
    /// Commit to retirement: every event's latency.
    pub event: Latency,
    /// Commit of the run that closed a window to its rows in the consumer's hand, by rows.
    pub result: Latency,
}

impl Stats {
    /// The latency ladder, one stage a line.
    pub fn ladder(&self) -> impl fmt::Display + '_ {
        struct Ladder<'a>(&'a Stats);
        impl fmt::Display for Ladder<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Stats { ring, device_ns, event, result, .. } = self.0;
                for (stage, latency) in
                    [("ring", ring), ("device", device_ns), ("event", event), ("result", result)]
                {
                    writeln!(f, "latency {stage} {latency}")?;
                }
                Ok(())
            }
        }
        Ladder(self)
    }
}
