//! Floor 1: events in place. Knows no device.
//!
//! A [`Lane`] is one producer's ring of events in a [`Slab`] of host memory; its [`Tail`] is the engine's
//! end. A [`Shared`] lane serves unknown numbers of producers through the same tail, and a [`PayloadLane`] takes
//! events that have lengths of their own.

pub mod lane;
mod options;
pub mod payload;
pub mod shared;
pub mod slab;
mod state;
mod sync;
mod tail;
pub mod wait;

#[cfg(all(test, not(loom)))]
mod tests;

pub use lane::{
    Full, Gap, Lane, LaneOptions, LaneStats, Lease, Note, Policy, Run, Tail, Wait, lane,
    lane_with_bell,
};
pub use payload::{Payload, PayloadLane, PayloadRun, Record, Records, payload_lane};
pub use shared::{Shared, shared, shared_with_bell};
pub use slab::Slab;
pub use wait::Bell;
