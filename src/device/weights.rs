//! Words on a device that many queues read and none writes: the weights of a model, uploaded once.

use crate::base::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A handle to words on one device, made by `Backend::weights`; a clone is another handle to the same memory.
#[derive(Clone)]
pub struct Weights {
    words: usize,
    held: Arc<dyn Any + Send + Sync>,
}

impl Weights {
    /// For devices: `held` is what their queues find again.
    pub fn new(words: usize, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { words, held }
    }

    /// How many there are.
    pub fn words(&self) -> usize {
        self.words
    }

    /// For devices: what `new` was given.
    ///
    /// # Errors
    /// `Invalid` when they are of another device.
    pub fn held<T: Send + Sync + 'static>(&self, device: &str) -> Result<Arc<T>> {
        Arc::clone(&self.held).downcast().map_err(|_| self.strange(device))
    }

    /// Says that they are of another device than this one.
    pub(super) fn strange(&self, device: &str) -> Error {
        Error::invalid(format!("weights of another device were attached to a queue of {device}"))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({} words)", self.words)
    }
}
