//! What stands between the producers' lanes and the engine: nothing, a sorter, or windows whose rows are scored. And
//! where events go that no query takes.

use super::super::closed::{Closed, Closing};
use super::super::lanes::Lanes;
use super::super::outbox::Outbox;
use super::super::results::Reason;
use super::super::scores::Order;
use super::super::sorter::Sorter;
use super::super::stats::Stats;
use super::Engine;
use crate::base::error::Result;
use crate::device::Device;
use crate::ring::{self, LaneOptions, Policy, Tail, Wait};
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

/// Where the producers' lanes end.
pub(super) enum Front {
    /// Events by their times.
    Sorter(Box<Sorter>),
    /// Rows of windows.
    Windows(Box<Closing>),
}

impl Front {
    pub(super) fn open(&mut self, tail: Tail) -> Result<()> {
        match self {
            Self::Sorter(sorter) => {
                sorter.open(tail);
                Ok(())
            }
            Self::Windows(closing) => closing.windows.open(tail),
        }
    }

    pub(super) fn lanes(&mut self) -> &mut Lanes {
        match self {
            Self::Sorter(sorter) => &mut sorter.lanes,
            Self::Windows(closing) => &mut closing.windows.lanes,
        }
    }

    pub(super) fn is_blocked(&mut self) -> bool {
        match self {
            Self::Sorter(sorter) => sorter.is_full(),
            Self::Windows(closing) => closing.windows.is_blocked(),
        }
    }

    pub(super) fn move_to(&mut self, device: &Device) -> Result<()> {
        let Self::Windows(closing) = self else { return Ok(()) };
        closing.windows.quiet()?;
        closing.windows.move_to(device.clone())
    }

    /// Adds what it has counted.
    pub(super) fn count(&mut self, stats: &mut Stats) {
        let Self::Windows(closing) = self else { return };
        let of_windows = closing.windows.stats();
        stats.asides_lost += of_windows.asides_lost;
        stats.bad_key += of_windows.bad_key;
        stats.state_bytes += of_windows.state_bytes;
        *stats = Stats {
            events: of_windows.events,
            accepted: of_windows.accepted,
            late: of_windows.late,
            late_after_join: of_windows.late_after_join,
            beyond: of_windows.beyond,
            full: of_windows.full,
            jumps: of_windows.jumps,
            fired: of_windows.fired,
            watermark: of_windows.watermark,
            ring: of_windows.ring,
            ..std::mem::take(stats)
        };
    }
}

impl Engine {
    /// Puts in front what the query needs; there are no lanes yet.
    pub(in super::super) fn take_in<E: Pod>(&mut self) -> Result<()> {
        // Batches are being made of one half while the other one is filled.
        let options = LaneOptions {
            events: 2 * self.options.batch_events,
            policy: Policy::Reject,
            wait: Wait::Spin,
        };
        if let Some((windows, aggregate)) = self.query.windows.as_deref().cloned() {
            let (lane, tail) = ring::lane_with_bell::<Closed>(&options, &self.bell)?;
            self.open(tail)?;
            let options = super::Options { alternative: None, ..self.options.clone() };
            let rows = Outbox::new(options.outstanding.max(options.in_flight), options.asides, 0);
            let bell = self.bell.clone();
            let windows = Self::new(windows, options, rows.clone(), bell, None)?;
            let closing = Closing::new(windows, rows, aggregate, lane);
            self.front = Some(Front::Windows(Box::new(closing)));
        } else if let Order::EventTime { disorder, horizon } = self.query.order {
            let (lane, tail) = ring::lane_with_bell::<E>(&options, &self.bell)?;
            self.open(tail)?;
            let event = (self.query.time, self.query.stride);
            let sorter = Sorter::new(Box::new(lane), (disorder, horizon), event);
            self.front = Some(Front::Sorter(Box::new(sorter)));
        }
        Ok(())
    }

    /// Whether windows in front are with the device.
    pub(in super::super) fn front_in_flight(&self) -> bool {
        matches!(&self.front, Some(Front::Windows(closing)) if closing.windows.in_flight())
    }

    /// Takes events from the producers' lanes and hands on what is ready; false when there was nothing to do.
    pub(super) fn step_front(&mut self) -> Result<bool> {
        let Self { front, stats, outbox, closing: is_closing, .. } = self;
        match front {
            None => Ok(false),
            Some(Front::Sorter(sorter)) => Ok(sorter.step(*is_closing, &mut |reason, event| {
                // It is not among those that batches count.
                stats.events += 1;
                set_aside(stats, outbox, reason, event);
            })),
            Some(Front::Windows(closing)) => {
                closing.windows.closing = *is_closing;
                let progress = closing.step()?;
                stats.asides_lost += closing.hand_asides(outbox);
                Ok(progress)
            }
        }
    }
}
