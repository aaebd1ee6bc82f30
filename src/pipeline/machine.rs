//! What a pipeline's thread, or the user's, keeps going: lanes in, a device, results out, step by step.

use super::engine::{Engine, Errand};
use super::stats::Stats;
use crate::base::error::{Error, Result};
use crate::ring::Tail;

/// A state machine without a thread of its own.
pub(super) trait Machine: Send + 'static {
    /// Takes in a lane.
    fn open(&mut self, tail: Tail) -> Result<()>;

    /// Whether no lane will be opened any more.
    fn closing(&mut self, closing: bool);

    /// Does what can be done now; false when there was nothing to do.
    fn step(&mut self) -> Result<bool>;

    /// Whether the device has batches that are not back.
    fn in_flight(&self) -> bool;

    /// Whether everything there will ever be has been handed over.
    fn is_over(&self) -> bool;

    /// Whether nothing can be dispatched before the device or the consumer of results has moved.
    fn is_blocked(&mut self) -> bool;

    /// The lanes' consumer ends, for arming and disarming.
    fn tails(&mut self) -> impl Iterator<Item = &mut Tail>;

    /// Does what was asked between two batches. An error ends the machine.
    fn errand(&mut self, errand: Errand) -> Result<()> {
        errand.refuse();
        Ok(())
    }

    /// What has been counted so far.
    fn stats(&mut self) -> Stats;

    /// The name of the device.
    fn device(&self) -> &str;

    /// Ends the results, with an error or without, and lets go of the lanes: who waits for room learns that there will
    /// be none.
    fn finish(&mut self, error: Option<Error>);
}

impl Machine for Engine {
    fn open(&mut self, tail: Tail) -> Result<()> {
        self.open(tail)
    }
    fn closing(&mut self, closing: bool) {
        self.closing = closing;
    }
    fn step(&mut self) -> Result<bool> {
        self.step()
    }
    fn in_flight(&self) -> bool {
        self.in_flight() || self.front_in_flight()
    }
    fn is_over(&self) -> bool {
        self.is_over()
    }
    fn is_blocked(&mut self) -> bool {
        self.is_blocked()
    }
    fn tails(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.tails()
    }
    fn errand(&mut self, errand: Errand) -> Result<()> {
        self.run_errand(errand)
    }
    fn stats(&mut self) -> Stats {
        self.stats()
    }
    fn device(&self) -> &str {
        &self.caps.name
    }
    fn finish(&mut self, error: Option<Error>) {
        self.finish(error);
    }
}
