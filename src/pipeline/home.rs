//! Where a query lives: its queue on a device with everything compiled, and how its state comes there from another.
//!
//! What kernels keep in a buffer has one layout on every device, so state moves by being copied. Only pages are of the
//! device's own size: blocks of rows get new numbers on the way, and the key table is made anew from the key records.

use super::keyspace::Keyspace;
use super::options::{Options, Query};
use super::programs::Programs;
use super::slots::Slots;
use crate::base::error::Result;
use crate::device::{Caps, Device, Queue, QueueOptions};
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
        let sizes = QueueOptions { in_flight: options.in_flight, outputs };
        let mut queue = match options.latency_mode && caps.latency_mode {
            true => device.latency_queue(sizes)?,
            false => device.queue(sizes)?,
        };
        let wake = bell.clone();
        queue.on_done(Arc::new(move || wake.ring_always()));
        let programs = Programs::new(&mut *queue, &caps, query, options)?;
        Ok(Self { device, caps, queue, programs })
    }

    /// Copies all state of another home of the same query, which may be on the same device, and lays it out for the
    /// pages here. Nothing may be in flight there. Keys and slots become those that go with it, unless there is an
    /// error.
    pub(super) fn take_over(
        &mut self,
        from: &mut dyn Queue,
        theirs: &Programs,
        keys: &mut Keyspace,
        slots: &mut Slots,
    ) -> Result<()> {
        let Self { caps, queue, programs, .. } = self;
        let mut piece = vec![0; PIECE];
        let moved_keys = keys.moved((from, theirs), (&mut **queue, caps, programs), &mut piece)?;
        let (mut laid_out, mut moves) = slots.laid_out(programs.page_blocks(), &caps.name)?;
        // Blocks handed out since the device there was last told have nothing in them.
        moves.retain(|&(old, _)| theirs.has_block(old));
        laid_out.sync(&mut **queue, caps, programs)?;
        let most = PIECE / programs.block_words();
        let pages = (theirs.page_blocks(), programs.page_blocks());
        for (old, new, blocks) in runs(&moves, pages, most) {
            for (theirs, ours) in theirs.groups.iter().zip(&programs.groups) {
                let block = ours.block_words();
                let words = &mut piece[..blocks * block];
                from.read(theirs.pages[old / pages.0].id, old % pages.0 * block, words)?;
                queue.write(ours.pages[new / pages.1].id, new % pages.1 * block, words)?;
            }
        }
        (*keys, *slots) = (moved_keys, laid_out);
        Ok(())
    }
}

/// Moves of blocks that follow each other on both sides, within a page of each, as one: from, to, how many.
fn runs(
    moves: &[(u32, u32)],
    pages: (usize, usize),
    most: usize,
) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
    let mut rest = moves;
    std::iter::from_fn(move || {
        let &(old, new) = rest.first()?;
        let (old, new) = (old as usize, new as usize);
        let most = most.min(pages.0 - old % pages.0).min(pages.1 - new % pages.1);
        let follows =
            |(i, &(a, b)): (usize, &(u32, u32))| (a as usize, b as usize) == (old + i, new + i);
        let blocks =
            rest.iter().enumerate().take(most).take_while(|&(i, m)| follows((i, m))).count();
        rest = &rest[blocks..];
        Some((old, new, blocks))
    })
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn blocks_that_stay_together_move_together() {
        let moves = [(0, 5), (1, 6), (2, 7), (3, 8), (4, 10), (9, 11), (10, 12)];
        let found: Vec<_> = runs(&moves, (100, 8), 2).collect();
        assert_eq!(found, [(0, 5, 2), (2, 7, 1), (3, 8, 1), (4, 10, 1), (9, 11, 2)]);
        assert_eq!(runs(&moves[..4], (3, 100), 9).collect::<Vec<_>>(), [(0, 5, 3), (3, 8, 1)]);
    }
}
