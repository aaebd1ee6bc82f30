//! Texts as a stream: a transformer inside a pipeline, each event answered by its vector.
//!
//! Lanes take texts or token ids of any length (`ring::payload`). The engine makes tokens of them, packs those that are
//! due into batches without padding, and replays the plan of `model` for each. A vector is an embedding, or of a
//! classifier the scores of its labels (`Model::labels`). It depends on the event alone, to the bit, whatever else is
//! in its batch.

mod engine;
mod feed;
mod lanes;
mod packing;
mod results;

pub use feed::{TextFeed, TextFeeds};
pub use results::{TextError, TextResults, Vector, Vectors};

use super::control::Control;
use super::machine::Machine;
use super::options::Options;
use super::outbox::Outbox;
use super::run::{Monitor, Own, drain, spawn};
use super::stats::Stats;
use crate::base::error::{Error, Result};
use crate::model::{EncoderOptions, Model};
use crate::ring::Bell;
use engine::TextEngine;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What is asked of a text pipeline: which model reads the texts, and how.
///
/// Of the [`Options`] it runs with, `latency_target` is every event's deadline, counted from its commit: it orders the
/// events and bounds batches, [`Stats::overdue`] counts those that were done later, and no event is thrown away for it.
/// When the device cannot keep up, lanes fill and their policies decide. `batch_events` bounds the texts of a batch
/// (1,024 in any case), and a lane has 64 bytes of memory for each of its `events`. Keys, rows and asides mean nothing
/// here; `alternative` and `latency_mode` are errors.
#[derive(Debug, Clone)]
pub struct Texts {
    /// The model.
    pub model: Model,
    /// How it runs: tokens of a batch, at most. Batches in flight are those of [`Options`].
    pub encoder: EncoderOptions,
    /// Bytes of a text, at most; longer ones get [`TextError::TooLong`]. What is behind the tokens that the model takes
    /// is cut off, whatever this says.
    pub bytes_max: usize,
}

impl Texts {
    /// Texts of up to 128 KiB, read by this model.
    pub fn new(model: &Model) -> Self {
        Self { model: model.clone(), encoder: EncoderOptions::default(), bytes_max: 128 << 10 }
    }
}

/// A model that reads a stream of texts on a thread of its own.
///
/// An event's id is the caller's own, so what else is known of the event is found again by it: here the author of each
/// message, whose remarkable ones a [`Windows`](crate::Windows) query counts in the same program.
///
/// ```no_run
/// use pelton::model::Model;
/// use pelton::pipeline::texts::{TextPipeline, Texts};
/// use pelton::{Inline, Key, Options, Pod, Windows, Zeroable, field};
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Hit { at: u64, author: u32, pad: u32 }
///
/// let messages = [(0, 17, "a fast jet of water"), (40, 4, "buy now"), (90, 17, "turns a wheel")];
/// let model = Model::load("all-MiniLM-L6-v2")?;
/// let pipeline = TextPipeline::start(Texts::new(&model), Options::default())?;
/// let mut lane = pipeline.lane()?;
/// let mut hits = Vec::new();
/// for (id, (_, _, text)) in messages.iter().enumerate() {
///     lane.push(id as u64, text).expect("a full lane waits");
/// }
/// lane.close();
/// let stats = pipeline.drain(|vectors| {
///     for vector in vectors.iter() {
///         let (at, author, _) = messages[vector.id() as usize];
///         if vector.values().is_ok_and(|values| values[0] > 0.0) {
///             hits.push(Hit { at, author, pad: 0 });
///         }
///     }
/// })?;
/// println!("{}", stats.ladder());
/// // Batches keep no order of events.
/// hits.sort_by_key(|hit| hit.at);
/// let by_author =
///     Windows { key: Key::hashed(field!(Hit.author)), ..Windows::tumbling(field!(Hit.at), 60) };
/// let mut windows = Inline::new(by_author, Options::default())?;
/// windows.lane()?.push_all(&hits);
/// windows.finish();
/// windows.settle(|rows| rows.iter().for_each(|row| println!("{}: {}", row.key(), row.count())))?;
/// # Ok::<(), pelton::Error>(())
/// ```
pub struct TextPipeline {
    feeds: TextFeeds,
    results: TextResults,
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

/// What both forms of a text pipeline have.
fn parts(
    texts: Texts,
    options: &Options,
) -> Result<(TextFeeds, TextResults, Arc<Control>, TextEngine)> {
    options.check()?;
    let outbox = Outbox::new(options.outstanding.max(options.in_flight), 0, 0);
    let control = Control::new(Bell::new(), outbox.latencies());
    let feeds = TextFeeds::new(control.clone(), options.lane.clone(), texts.bytes_max);
    let engine = TextEngine::new(texts, options, outbox.clone(), control.bell().clone())?;
    Ok((feeds, TextResults::new(outbox), control, engine))
}

impl TextPipeline {
    /// Brings the model to the device of `options` and starts.
    ///
    /// # Errors
    /// `Invalid`, naming the option; `Unsupported` when the device cannot hold the model; `DeviceLost`.
    pub fn start(texts: Texts, options: Options) -> Result<Self> {
        let (feeds, results, control, engine) = parts(texts, &options)?;
        let thread = spawn(engine, control.clone(), options.wait)?;
        Ok(Self { feeds, results, control, thread })
    }

    /// A lane for one producer; see [`TextFeeds::lane`].
    ///
    /// # Errors
    /// As for [`TextFeeds::lane`].
    pub fn lane(&self) -> Result<TextFeed> {
        self.feeds.lane()
    }

    /// The two ends, for two threads: producers and consumer.
    pub fn split(self) -> (TextFeeds, TextResults) {
        (self.feeds, self.results)
    }

    /// A handle that goes on answering after [`Self::split`].
    pub fn monitor(&self) -> Monitor {
        Monitor(self.control.clone())
    }

    /// What the pipeline has counted so far.
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }

    /// Opens no more lanes, takes every result there still is, and returns the last counts. Lanes must have been
    /// closed, or close meanwhile.
    ///
    /// # Errors
    /// What ended the pipeline, if it was not its end.
    pub fn drain(self, take: impl FnMut(Vectors)) -> Result<Stats> {
        let Self { feeds, results, control, thread } = self;
        drop(feeds);
        drain(results, thread, &control, take)
    }
}

impl std::fmt::Debug for TextPipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextPipeline")
    }
}

/// A model that reads a stream of texts on the user's own thread: nothing happens outside [`TextInline::poll`].
pub struct TextInline {
    own: Own<TextEngine>,
    feeds: Option<TextFeeds>,
    results: TextResults,
}

impl TextInline {
    /// Brings the model to the device of `options`.
    ///
    /// # Errors
    /// As for [`TextPipeline::start`].
    pub fn new(texts: Texts, options: Options) -> Result<Self> {
        let (feeds, results, control, engine) = parts(texts, &options)?;
        Ok(Self { own: Own::new(engine, control), feeds: Some(feeds), results })
    }

    /// A lane; see [`TextFeeds::lane`]. A lane that waits for room must be written from another thread than the one
    /// that polls.
    ///
    /// # Errors
    /// As for [`TextFeeds::lane`].
    pub fn lane(&self) -> Result<TextFeed> {
        let ended = || Error::source("pipeline", "no lanes after finish");
        self.feeds.as_ref().ok_or_else(ended)?.lane()
    }

    /// Opens lanes from other threads.
    pub fn feeds(&self) -> Option<TextFeeds> {
        self.feeds.clone()
    }

    /// No lanes will be opened any more.
    pub fn finish(&mut self) {
        self.feeds = None;
    }

    /// Does all that can be done now and hands each result over; false when nothing is left to do for now and nothing
    /// is in flight.
    ///
    /// # Errors
    /// What a device reports. The pipeline has ended then.
    pub fn poll(&mut self, take: impl FnMut(Vectors)) -> Result<bool> {
        let results = &mut self.results;
        self.own.poll(|| results.try_next(), take)
    }

    /// Polls until nothing is left to do.
    ///
    /// # Errors
    /// As for [`Self::poll`].
    pub fn settle(&mut self, mut take: impl FnMut(Vectors)) -> Result<()> {
        while self.poll(&mut take)? {}
        Ok(())
    }

    /// What has been counted so far.
    pub fn stats(&mut self) -> Stats {
        self.own.engine.stats()
    }
}

impl std::fmt::Debug for TextInline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TextInline")
    }
}
