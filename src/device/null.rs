//! A device that accepts everything and computes nothing: what is left is the cost of the engine itself.

use super::cpu::HostQueue;
use super::{Backend, Caps, Queue, QueueOptions};
use crate::base::error::Result;
use crate::plan::Args;

/// Runs no kernel; outputs come back empty.
pub(super) struct Null {
    caps: Caps,
}

impl Null {
    pub(super) fn new() -> Self {
        Self {
            caps: Caps {
                name: "null".into(),
                driver: "none".into(),
                software: true,
                in_place: true,
                serial: true,
                bind_words_max: usize::MAX / 4,
                subgroup: (1, 1),
                f16: true,
                latency_mode: false,
            },
        }
    }
}

impl Backend for Null {
    fn caps(&self) -> &Caps {
        &self.caps
    }
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        Ok(Box::new(HostQueue::new("null", options, |_| nothing)?))
    }
}

fn nothing(_: Args<'_>) {}
