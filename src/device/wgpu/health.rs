//! Whether an opened adapter still works, and how a driver's complaint becomes a typed error.
//!
//! Validation and memory errors of one call are caught by an error scope around it. What arrives outside of
//! any scope (a lost device, a failed submission) marks the whole device as lost, for good: every later
//! call says so.

use crate::base::error::{Error, Result};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use wgpu::{ErrorFilter, PollType, SubmissionIndex};

/// The state shared by a device, its queues, its callbacks and its completion thread.
pub(super) struct Health {
    device: String,
    lost: OnceLock<String>,
}

impl Health {
    /// Watches a device: from now on nothing it reports goes unseen.
    pub(super) fn watch(name: &str, device: &wgpu::Device) -> Arc<Self> {
        let health = Arc::new(Self { device: name.to_string(), lost: OnceLock::new() });
        let on_error = Arc::clone(&health);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            on_error.fail(one_line(&error));
        }));
        let on_loss = Arc::clone(&health);
        device.set_device_lost_callback(move |reason, what| {
            on_loss.fail(format!("{reason:?}: {what}"));
        });
        health
    }

    /// Marks the device as lost. The first reason stays.
    pub(super) fn fail(&self, what: impl Display) {
        self.lost.get_or_init(|| what.to_string());
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    /// `DeviceLost` once the device is.
    pub(super) fn check(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(what) => Err(Error::lost(&self.device, what)),
        }
    }

    /// Marks the device as lost and says so.
    pub(super) fn lose(&self, what: impl Display) -> Error {
        self.fail(&what);
        Error::lost(&self.device, self.lost.get().map_or_else(|| what.to_string(), Clone::clone))
    }

    /// What the device cannot do.
    pub(super) fn unsupported(&self, what: impl Display) -> Error {
        Error::unsupported(&self.device, what)
    }

    /// Makes something and returns what the driver had against it as an error.
    pub(super) fn scoped<T>(
        &self,
        device: &wgpu::Device,
        what: &str,
        make: impl FnOnce() -> T,
    ) -> Result<T> {
        self.check()?;
        let memory = device.push_error_scope(ErrorFilter::OutOfMemory);
        let valid = device.push_error_scope(ErrorFilter::Validation);
        let internal = device.push_error_scope(ErrorFilter::Internal);
        let made = make();
        // Scopes nest, so all are popped, innermost first, before the first answer is looked at.
        let errors = [internal.pop(), valid.pop(), memory.pop()].map(pollster::block_on);
        self.check()?;
        match errors.into_iter().flatten().next() {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(self.unsupported(format!("out of memory: {what}; lower the limits")))
            }
            Some(error) => Err(self.unsupported(format!("{what}: {error}"))),
        }
    }

    /// Lets the driver make progress.
    pub(super) fn poll(&self, device: &wgpu::Device) -> Result<()> {
        self.drive(device, PollType::Poll)
    }

    /// Sleeps until the device is done with a submission; other threads may submit meanwhile.
    ///
    /// There is no time limit on purpose: when a wait of wgpu 30 times out while another thread sees the
    /// queue run empty, wgpu asserts, and the callbacks it was about to run are lost. A device that is lost
    /// ends the wait.
    pub(super) fn wait(&self, device: &wgpu::Device, index: &SubmissionIndex) -> Result<()> {
        self.drive(device, PollType::Wait { submission_index: Some(index.clone()), timeout: None })
    }

    /// The driver library panics when it finds the device lost in the middle of this; that is an error here.
    fn drive(&self, device: &wgpu::Device, how: PollType) -> Result<()> {
        self.check()?;
        match catch_unwind(AssertUnwindSafe(|| device.poll(how))) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.lose(error)),
            Err(_) => Err(self.lose("the driver failed while it was polled")),
        }
    }
}

/// The driver library's long reports, in one line.
fn one_line(error: &wgpu::Error) -> String {
    let text = error.to_string();
    text.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}
