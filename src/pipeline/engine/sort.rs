//! Events by their times: the engine's part of `pipeline::sorter`, and where events go that no query takes.

use super::super::outbox::Outbox;
use super::super::results::Reason;
use super::super::scores::Order;
use super::super::sorter::Sorter;
use super::super::stats::Stats;
use super::Engine;
use crate::base::error::Result;
use crate::ring::{self, LaneOptions, Policy, Wait};
use bytemuck::Pod;

/// Counts an event that no query takes, and keeps it for whoever asks, if there is room.
pub(super) fn set_aside(stats: &mut Stats, outbox: &Outbox, reason: Reason, event: &[u32]) {
    let counter = match reason {
        Reason::Late => &mut stats.late,
        Reason::Beyond => &mut stats.beyond,
        Reason::Key => &mut stats.bad_key,
        Reason::Full => &mut stats.full,
    };
    *counter += 1;
    stats.asides_lost += u64::from(!outbox.put_aside(reason, event));
}

impl Engine {
    /// Has events taken in this order from now on; there are no lanes yet.
    pub(in super::super) fn take_in<E: Pod>(&mut self, order: Order) -> Result<()> {
        let Order::EventTime { disorder, horizon } = order else { return Ok(()) };
        // Batches are being made of one half while the other one is filled.
        let options = LaneOptions {
            events: 2 * self.options.batch_events,
            policy: Policy::Reject,
            wait: Wait::Spin,
        };
        let (lane, tail) = ring::lane_with_bell::<E>(&options, &self.bell)?;
        self.open(tail)?;
        let event = (self.query.time, self.query.stride);
        self.sorter = Some(Sorter::new(Box::new(lane), (disorder, horizon), event));
        Ok(())
    }

    /// Takes events from the producers' lanes and hands those on whose time has come; false when there were none.
    pub(super) fn sort(&mut self) -> bool {
        let Self { sorter, stats, outbox, closing, .. } = self;
        let Some(sorter) = sorter else { return false };
        sorter.step(*closing, &mut |reason, event| {
            // It is not among those that batches count.
            stats.events += 1;
            set_aside(stats, outbox, reason, event);
        })
    }
}
