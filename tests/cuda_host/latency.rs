//! A CUDA device all of whose queues are in the latency mode: what is asked of a device is asked of that one, too.

use pelton::Result;
use pelton::device::{Backend, Caps, Device, Queue, QueueOptions};
use pelton::ring::Slab;
use std::sync::Arc;

/// The same device, its queues in the latency mode.
pub fn latency(inner: &Device) -> Device {
    Device::new(Arc::new(Latency(inner.clone())), "the latency mode was asked for")
}

struct Latency(Device);

impl Backend for Latency {
    fn caps(&self) -> &Caps {
        self.0.caps()
    }
    fn register(&self, slab: &Arc<Slab>) -> Result<()> {
        self.0.register(slab)
    }
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        self.0.latency_queue(options)
    }
}
