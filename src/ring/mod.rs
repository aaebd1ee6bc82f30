//! Floor 1: events in place. Knows no device.
pub mod lane;
pub mod slab;
