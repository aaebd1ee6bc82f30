//! What comes back from the device: counts, events set aside, rows of windows, scores.

use super::super::batch::{Stamp, event_at};
use super::super::results::{Reason, Rows};
use super::super::score::Score;
use super::super::scores::Scored;
use super::{Engine, Sent};
use crate::base::error::Result;
use crate::device::Done;
use crate::ops::batch::{OUT_ASIDE, OUT_FIXED};

impl Engine {
    /// Takes in what comes back of the oldest batch.
    pub(super) fn retire(&mut self, done: Done) -> Result<()> {
        let sent = self.sent.pop_front().expect("a batch comes back once");
        if !matches!(sent, Sent::Events { .. }) {
            self.placement.worked(done.done_ns);
        }
        match sent {
            Sent::Events { stamps, events, sent_ns } => self.events(stamps, events, sent_ns, done),
            Sent::Rows { window, closed_ns, lost, complete } => {
                let Some(output) = done.output else { return Ok(()) };
                let shape = self.rules.shape;
                let ends = (shape.window_start(window), shape.window_end(window));
                let rows = Rows::new(
                    output,
                    self.shape.clone(),
                    self.bell.clone(),
                    ends,
                    (lost, closed_ns, complete),
                );
                self.stats.rows += rows.len() as u64;
                // Who took the first rows waits for the end of the window, even when it brings no more.
                self.has_rows |= !rows.is_empty();
                if !rows.is_empty() || complete && self.has_rows {
                    self.outbox.put(rows);
                }
                self.has_rows &= !complete;
            }
            Sent::Work => {}
        }
        Ok(())
    }

    /// A batch of events is back.
    fn events(&mut self, mut stamps: Vec<Stamp>, events: usize, sent_ns: u64, done: Done) {
        let out = done.output.as_deref().unwrap_or(&[]);
        self.keys.retired(events, out);
        let aside = out.get(OUT_FIXED..).unwrap_or(&[]);
        let asides = out.get(OUT_ASIDE).map_or(0, |&n| n as usize);
        for &index in &aside[..asides] {
            let index = index as usize;
            if let Some(event) = event_at(&done.leases, self.query.stride, index) {
                self.stats.bad_key += 1;
                // A window is no event of the user's.
                let kept =
                    self.query.windows.is_none() && self.outbox.put_aside(Reason::Key, event);
                self.stats.asides_lost += u64::from(!kept);
            }
        }
        self.stats.device_ns.record(done.done_ns.saturating_sub(sent_ns), events as u64);
        for stamp in &stamps {
            self.stats.event.record(done.done_ns.saturating_sub(stamp.ns), stamp.events);
        }
        let runs = stamps.iter().map(|stamp| (stamp.ns, stamp.events));
        let times = (sent_ns, done.done_ns);
        self.batching.retired(events, times, runs);
        self.leaving |= self.placement.retired(events, times) && self.elsewhere.is_some();
        if let Some(output) = done.output.filter(|_| self.rules.arrival) {
            let oldest = stamps.iter().map(|stamp| stamp.ns).min().unwrap_or(sent_ns);
            let (shape, bell) = (self.shape.clone(), self.bell.clone());
            let rows = Rows::new(output, shape, bell, (0, u64::MAX), (0, oldest, true));
            self.stats.rows += rows.len() as u64;
            if self.query.scores.as_ref().is_some_and(Scored::may_drift) {
                self.stats.drifts += rows.scores().filter(Score::drifted).count() as u64;
            }
            if !rows.is_empty() {
                self.outbox.put(rows);
            }
        }
        stamps.clear();
        self.spare_stamps.push(stamps);
        let mut leases = done.leases;
        leases.clear();
        self.spare_leases.push(leases);
    }
}
