//! Words on a device that many queues read and none writes: the weights of a model, uploaded once.

use crate::base::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A handle to words on one device, made by `Backend::weights`; a clone is another handle to the same memory.
#[derive(Clone)]
pub struct Weights {
    device: &'static str,
    words: usize,
    held: Arc<dyn Any + Send + Sync>,
}

impl Weights {
    /// For devices: a kind of device, and what its queues find again. Two kinds may hold the same type.
    pub fn new(device: &'static str, words: usize, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { device, words, held }
    }

    /// How many there are.
    pub fn words(&self) -> usize {
        self.words
    }

    /// For devices: what `new` was given with the same kind of device.
    ///
    /// # Errors
    /// `Invalid` when they are of another device.
    pub fn held<T: Send + Sync + 'static>(&self, device: &'static str) -> Result<Arc<T>> {
        let held = (self.device == device).then(|| Arc::clone(&self.held).downcast().ok());
        held.flatten().ok_or_else(|| self.strange(device))
    }

    /// Says that they are of another device than this one.
    pub(super) fn strange(&self, device: &str) -> Error {
        let own = self.device;
        Error::invalid(format!(
            "weights of another device ({own}) were attached to a queue of {device}; Device::weights brings them to it"
        ))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({} words on {})", self.words, self.device)
    }
}
