//! Floor 4: where operators and devices meet: lanes in, batches through plans, windows out.

mod batch;
mod batching;
mod calibrate;
mod clock;
mod engine;
mod feed;
mod fire;
mod home;
mod keyspace;
mod lanes;
pub mod options;
mod placement;
mod programs;
pub mod results;
mod run;
mod slots;
pub mod stats;

pub use feed::{Feed, Feeds, SharedFeed, Writing};
pub use options::{Key, NumberField, Options, Sum, Value, Windows};
pub use placement::Cost;
pub use results::{Aside, Reason, Results, Row, Rows};
pub use run::{Inline, Monitor, Pipeline};
pub use stats::Stats;
