//! Floor 0: plain types that know no device and no thread.

pub mod clock;
pub mod dtype;
pub mod error;
pub mod field;
pub mod hist;
pub mod limits;
pub(crate) mod pages;
pub mod rng;
pub mod time;
