//! Where a query lives: its queue on a device with everything compiled, and how its state comes there from another.
//!
//! Programs declare the same buffers in the same order on every device, and what kernels keep in them has one layout,
//! so state moves by being copied.

use super::options::{Options, Query};
use super::programs::Programs;
use crate::base::error::Result;
use crate::device::{Caps, Device, Queue, QueueOptions};
use crate::plan::{BufId, Role};
use crate::ring::Bell;
use std::sync::Arc;

/// Words copied at a time.
const PIECE: usize = 1 << 20;

/// A query's place on a device.
pub(super) struct Home {
    pub(super) device: Device,
    pub(super) caps: Caps,
    pub(super) queue: Box<dyn Queue>,
    pub(super) programs: Programs,
}

impl Home {
    /// A queue of its own, with empty buffers and compiled programs, that rings when a batch retires.
    pub(super) fn open(
        device: Device,
        query: &Query,
        options: &Options,
        bell: &Bell,
    ) -> Result<Self> {
        let caps = device.caps().clone();
        let outputs = options.outstanding.max(options.in_flight);
        let mut queue = device.queue(QueueOptions { in_flight: options.in_flight, outputs })?;
        let wake = bell.clone();
        queue.on_done(Arc::new(move || wake.ring_always()));
        let programs = Programs::new(&mut *queue, &caps, query, options)?;
        Ok(Self { device, caps, queue, programs })
    }

    /// Copies all state of another home of the same query. Nothing may be in flight there.
    pub(super) fn take_over(&mut self, from: &mut dyn Queue, theirs: &Programs) -> Result<()> {
        let Self { caps, queue, programs, .. } = self;
        let mut piece = vec![0; PIECE];
        for (id, decl) in (0..).map(BufId).zip(&theirs.memory.buffers) {
            if decl.role != Role::State {
                continue;
            }
            if programs.memory.decl(id).is_some_and(|mine| mine.words != decl.words) {
                programs.resize(&mut **queue, caps, id, decl.words)?;
            }
            for at in (0..decl.words).step_by(PIECE) {
                let words = &mut piece[..PIECE.min(decl.words - at)];
                from.read(id, at, words)?;
                queue.write(id, at, words)?;
            }
        }
        Ok(())
    }
}
