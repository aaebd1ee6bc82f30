//! Producers of texts: lanes whose events have lengths of their own.

use super::super::control::Control;
use crate::base::error::Result;
use crate::ring::{Full, LaneOptions, LaneStats, PayloadLane, PayloadRun, payload_lane};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Opens lanes into a text pipeline, from any thread. When the last of these is gone and all lanes are closed, the
/// pipeline drains and ends its results.
pub struct TextFeeds {
    control: Arc<Control>,
    lane: LaneOptions,
    bytes_max: usize,
}

impl TextFeeds {
    pub(super) fn new(control: Arc<Control>, lane: LaneOptions, bytes_max: usize) -> Self {
        control.hold();
        Self { control, lane, bytes_max }
    }

    /// A lane of its own for one producer.
    ///
    /// # Errors
    /// `Source` when the pipeline has ended, `Invalid` for options out of range, `Unsupported` when memory runs out.
    pub fn lane(&self) -> Result<TextFeed> {
        self.lane_with(&self.lane)
    }

    /// As [`Self::lane`], with options of its own.
    ///
    /// # Errors
    /// As for [`Self::lane`].
    pub fn lane_with(&self, options: &LaneOptions) -> Result<TextFeed> {
        let (lane, tail) = payload_lane(options, self.bytes_max, self.control.bell())?;
        self.control.open(tail)?;
        Ok(TextFeed { lane })
    }
}

impl Clone for TextFeeds {
    fn clone(&self) -> Self {
        Self::new(self.control.clone(), self.lane.clone(), self.bytes_max)
    }
}

impl Drop for TextFeeds {
    fn drop(&mut self) {
        self.control.release();
    }
}

impl fmt::Debug for TextFeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TextFeeds")
    }
}

/// One producer's lane. Dropping it closes the lane; what was committed still counts.
pub struct TextFeed {
    lane: PayloadLane,
}

impl TextFeed {
    /// Publishes one text under an id of the producer's choice. It need not be UTF-8: whether it is, is looked at when
    /// it is taken, and shows in its result.
    ///
    /// # Errors
    /// [`Full`] when the policy rejects it or the pipeline has ended (`closed`).
    pub fn push(&mut self, id: u64, text: impl AsRef<[u8]>) -> std::result::Result<(), Full> {
        self.lane.push(id, text.as_ref())
    }

    /// Publishes the token ids of one text, special ones included, as
    /// [`Model::tokens`](crate::model::Model::tokens) makes them: for producers that tokenise on their own threads.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn push_tokens(&mut self, id: u64, ids: &[u32]) -> std::result::Result<(), Full> {
        self.lane.push_words(id, ids)
    }

    /// Memory for so many texts of so many bytes in all, or four for each token id, to be filled in place and committed
    /// as one run. What a full lane does is its policy.
    ///
    /// # Errors
    /// [`Full`] when the policy rejects or drops, or the pipeline has ended (`closed`).
    pub fn write(
        &mut self,
        texts: usize,
        bytes: usize,
    ) -> std::result::Result<PayloadRun<'_>, Full> {
        self.lane.write(texts, bytes)
    }

    /// Publishes one text, waiting for room without blocking the thread, whatever the policy. Needs no particular
    /// runtime.
    ///
    /// # Errors
    /// [`Full`] when the pipeline has ended.
    pub async fn send(&mut self, id: u64, text: impl AsRef<[u8]>) -> std::result::Result<(), Full> {
        let text = text.as_ref();
        std::future::poll_fn(|cx| self.poll_ready(text.len(), cx)).await;
        self.push(id, text)
    }

    /// Ready when there is room for a text of so many bytes, or the pipeline has ended; wakes the task when there may
    /// be.
    pub fn poll_ready(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        self.lane.poll_ready((1, bytes), cx)
    }

    /// Counts texts that the caller drops because [`Self::write`] found the lane full. [`Self::push`] does so itself.
    pub fn dropped(&mut self, texts: u64) {
        self.lane.dropped(texts);
    }

    /// Bytes of a text, at most.
    pub fn bytes_max(&self) -> usize {
        self.lane.bytes_max()
    }

    /// Closes the lane.
    pub fn close(self) {
        self.lane.close();
    }

    /// What the lane has counted, in texts.
    pub fn stats(&self) -> LaneStats {
        self.lane.stats()
    }
}

impl fmt::Debug for TextFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextFeed({:?})", self.lane)
    }
}
