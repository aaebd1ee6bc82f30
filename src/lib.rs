//! pelton: a GPU-native stream compute engine, linked as a library.
//!
//! Events are plain structs of yours. They go through lanes into a [`Pipeline`], which runs one query, [`Windows`]
//! or [`Scores`], on one [`Device`], and come back as [`Rows`] of closed windows or of scored events.
//!
//! | you want to | look at |
//! |---|---|
//! | say what is computed, over which windows | [`Windows`], [`Key`], [`Value`], [`Filter`], [`field!`] |
//! | have each event scored by its key's past, with alerts | [`Scores`], [`Score`] |
//! | keep what was learnt of keys, and bring it back | [`States`] |
//! | notice that a mean has changed | [`learn`] |
//! | say where and how it runs | [`Device`], [`Options`], [`LaneOptions`], [`Policy`], [`Wait`] |
//! | run it on a thread of its own | [`Pipeline`], with a whole program in its documentation |
//! | run it on your own thread | [`Inline`] |
//! | write events, from one producer or many, blocking or not | [`Feeds`], [`Feed`], [`SharedFeed`] |
//! | read closed windows, and the events set aside | [`Results`], [`Rows`], [`Row`], [`Aside`] |
//! | know how it is doing, and how long events take | [`Stats`], [`pipeline::Monitor`], [`pipeline::Cost`] |
//! | read CSV, times and durations as people write them | [`connect`] |
//! | turn texts into vectors with a transformer | `model`: `Model`, `Encoder` |
//! | have a transformer read a stream of texts | `pipeline::texts`: `Texts`, `TextPipeline`, `TextInline` |
//! | see how kernels and devices work | [`ops`], [`plan`], [`device`] |
//!
//! All of it is deterministic in what matters: for any device and any batch size the last row of every key
//! and window is the same to the bit, as is the set of late events.
//!
//! Features: `model` (default) reads model folders and runs encoders; `wgpu` (default) reaches GPUs through WGSL;
//! `cuda` (default) runs on NVIDIA's driver where there is one; `nvrtc` compiles your own CUDA kernels
//! ([`device::Backend::add_kernel`]); `tokio` adds what needs that runtime. Without features the processor does
//! everything but read model folders.

#[cfg(target_endian = "big")]
compile_error!("pelton reads the fields of events as little-endian words, as GPUs do");

pub mod base;
pub mod connect;
pub mod device;
pub mod learn;
#[cfg(feature = "model")]
pub mod model;
pub mod ops;
pub mod pipeline;
pub mod plan;
pub mod ring;

pub use base::error::{Error, Result};
pub use base::field::Field;
pub use bytemuck::{Pod, Zeroable};
pub use device::Device;
pub use ops::art::Art;
pub use ops::detector::Detector;
pub use ops::drift::Drift;
pub use ops::ensemble::Member;
pub use ops::expr::Filter;
pub use ops::forest::Forest;
pub use ops::half_space::HalfSpaces;
pub use ops::label::Label;
pub use ops::loda::Loda;
pub use ops::period::Period;
pub use ops::profile::Profile;
pub use ops::season::Season;
pub use ops::spectral::Spectral;
pub use ops::sub_pca::SubPca;
pub use pipeline::{
    Aggregate, Aside, Closed, Feed, Feeds, Inline, Key, Options, Order, Pipeline, Reason, Results,
    Row, Rows, Score, Scores, SharedFeed, Side, States, Stats, Sum, Value, WindowScores, Windows,
};
pub use ring::{LaneOptions, Policy, Wait};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
