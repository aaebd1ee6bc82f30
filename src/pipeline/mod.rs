//! Floor 4: where operators and devices meet: lanes in, batches through plans, windows out.

mod batch;
mod batching;
mod blocks;
mod calibrate;
mod clock;
pub mod closed;
mod control;
mod engine;
mod feed;
mod fire;
mod home;
mod keyspace;
mod lanes;
mod machine;
mod map;
pub mod options;
mod outbox;
mod placement;
mod plans;
mod programs;
pub mod results;
#[cfg(feature = "tokio")]
pub mod route;
mod run;
mod score;
pub mod scores;
mod slots;
mod sorter;
pub mod states;
pub mod stats;
#[cfg(feature = "model")]
pub mod texts;

pub use closed::{Aggregate, Closed, WindowScores};
pub use feed::{Feed, Feeds, SharedFeed, Writing};
pub use options::{Key, NumberField, Options, Sum, Value, Windows};
pub use outbox::Results;
pub use placement::Cost;
pub use results::{Aside, Reason, Row, RowIter, Rows};
pub use run::{Inline, Monitor, Pipeline};
pub use score::Score;
pub use scores::{Ask, Order, Scores, Side};
pub use states::States;
pub use stats::Stats;
