//! pelton: a GPU-native stream compute engine, linked as a library.

pub mod base;
pub mod connect;
pub mod device;
pub mod ops;
pub mod pipeline;
pub mod plan;
pub mod ring;

pub use base::error::{Error, Result};
pub use base::field::Field;
pub use bytemuck::{Pod, Zeroable};
pub use device::Device;
pub use ops::expr::Filter;
pub use pipeline::{
    Aside, Feed, Feeds, Inline, Key, Options, Pipeline, Reason, Results, Row, Rows, SharedFeed,
    Stats, Sum, Value, Windows,
};
pub use ring::{LaneOptions, Policy, Wait};
