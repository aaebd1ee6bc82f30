//! Floor 2: the seam between pipelines and devices: compile a plan once, replay it per batch.
//!
//! The seam is object-safe and crossed once per batch, so the device is a value chosen at run time and no
//! backend type parameter reaches the user. A device knows plans, never operators.

mod choose;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod fault;
mod null;
mod output;
mod weights;
#[cfg(feature = "wgpu")]
mod wgpu;

pub use choose::Device;
pub use output::Output;
pub use weights::Weights;

use crate::base::error::{Error, Result};
use crate::plan::{BufId, BufferDecl, Kernel, Memory, Plan};
use crate::ring::lane::Lease;
use crate::ring::slab::Slab;
use std::sync::Arc;

/// What a device is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// The name under which [`Device::named`] finds it, such as `cpu` or `wgpu:NVIDIA H200`.
    pub name: String,
    /// Driver, API and version, as far as they are known.
    pub driver: String,
    /// Whether it is emulated on the host's processor; such a device is used only when named.
    pub software: bool,
    /// Whether it reads events where the producer wrote them; a chunk is then a whole range.
    pub in_place: bool,
    /// Whether the steps of a batch run one thread after another, so that kernels need no atomics.
    pub serial: bool,
    /// Words that one binding of a buffer may span.
    pub bind_words_max: usize,
    /// Threads of a subgroup, smallest and largest; 1 and 1 where there are none to use.
    pub subgroup: (u32, u32),
    /// Whether kernels may use 16-bit floats.
    pub f16: bool,
    /// Whether it has a [`Backend::latency_queue`].
    pub latency_mode: bool,
}

/// How many batches and results a queue keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueOptions {
    /// Batches that may be in flight at a time, 1 to `limits::IN_FLIGHT_MAX`.
    pub in_flight: usize,
    /// Outputs that may be held at a time, those in flight and those with the user together.
    pub outputs: usize,
}

/// A compiled plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramId(pub u32);

/// A submitted batch. Tickets of one queue count up from 1 and retire in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Called by a device when a batch retires, on a thread of its own: wake, do nothing else.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A device that can compile plans.
pub trait Backend: Send + Sync {
    /// What it is and can do.
    fn caps(&self) -> &Caps;

    /// Makes lane memory directly readable where that helps. The ring goes on owning it.
    ///
    /// # Errors
    /// `Unsupported` when the driver refuses; `DeviceLost`.
    fn register(&self, _slab: &Arc<Slab>) -> Result<()> {
        Ok(())
    }

    /// Gives the device the CUDA source of a kernel that is not pelton's own, before a plan with it is compiled; a
    /// second time does nothing. Devices that are not CUDA have what they need in the record and do nothing.
    ///
    /// The source may include `prelude.cuh`, as the kernels of the crate do. Its entry point has the kernel's name, is
    /// `extern "C" __global__` and in no namespace; its arguments are the header, the parameters when there are any,
    /// the events when it reads them, and the buffers in the order of the record. It is compiled by NVRTC, which takes
    /// the feature `nvrtc` and NVIDIA's library of that name. The example `custom_kernel` shows a whole one.
    ///
    /// # Errors
    /// `Invalid` when the source does not compile, with what the compiler says, takes other arguments than the record
    /// says, or has a name for which a kernel with other arguments was added; `Unsupported` without the feature,
    /// without the library, or when the driver does not take what the compiler makes.
    ///
    /// # Safety
    /// On a CUDA device whatever the source does is done: it must leave alone what is not in its buffers, and end.
    unsafe fn add_kernel(&self, _kernel: &'static Kernel, _cuda: &str) -> Result<()> {
        Ok(())
    }

    /// Copies words into memory that every queue of this device may read, until the last handle is dropped.
    ///
    /// # Errors
    /// `Unsupported` when they exceed what one binding spans or memory runs out; `DeviceLost`.
    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights>;

    /// A queue of its own memory and order of execution; a pipeline has one.
    ///
    /// # Errors
    /// `Invalid` for options out of range, `Unsupported` when memory runs out, `DeviceLost`.
    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>>;

    /// A queue that gives up throughput, and some of the device for good, for the least time a batch can take.
    ///
    /// # Errors
    /// `Unsupported` where there is none, which [`Caps::latency_mode`] says as well; else as for `queue`.
    fn latency_queue(&self, _options: QueueOptions) -> Result<Box<dyn Queue>> {
        Err(Error::unsupported(
            &self.caps().name,
            "it has no latency mode: choose a CUDA device, or leave Options::latency_mode off",
        ))
    }
}

/// One pipeline's share of a device: buffers, programs, and batches in flight in order.
pub trait Queue: Send {
    /// Adds buffers, zeroed; their ids continue those already there.
    ///
    /// # Errors
    /// `Unsupported` when one exceeds the device's limits or memory runs out; nothing was added then.
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()>;

    /// Adds a buffer of role `Weights` for each of these; their ids continue those already there.
    ///
    /// # Errors
    /// `Invalid` when they are of another device; nothing was added then. `DeviceLost`.
    fn attach(&mut self, weights: &[Weights]) -> Result<()>;

    /// Changes a State or Scratch buffer's size, after everything submitted. What fits is kept; new words are zero.
    ///
    /// # Errors
    /// As for `alloc`; the buffer is as it was then.
    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()>;

    /// Compiles a plan over the buffers allocated so far, which `memory` describes.
    ///
    /// # Errors
    /// `Invalid` when the plan does not check, `Unsupported` when the device cannot run it.
    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId>;

    /// Whether a submit of this program finds a free place in flight and, if it has one, a free output.
    fn room(&mut self, program: ProgramId) -> bool;

    /// The hot call: replays a program with this header over these events, which come in the order of the
    /// leases. The queue holds the leases until the batch retires and gives them back with it. The queue may hold
    /// the work back to submit several batches together until `flush`, `poll` or `read`.
    ///
    /// # Errors
    /// `DeviceLost`.
    ///
    /// # Panics
    /// When there is no `room`, the header is longer than the plan said, or the events are more.
    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket>;

    /// Hands over what `submit` held back.
    ///
    /// # Errors
    /// `DeviceLost`.
    fn flush(&mut self) -> Result<()>;

    /// Whether the oldest batch that has not been taken yet is done, and what it returned. Never blocks.
    ///
    /// # Errors
    /// `DeviceLost`, `Unsupported` (out of memory on the device).
    fn poll(&mut self) -> Result<Option<Done>>;

    /// Reads words of a State or Scratch buffer, after everything submitted. Blocks.
    ///
    /// # Errors
    /// `DeviceLost`.
    fn read(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()>;

    /// Writes words of a State or Scratch buffer, after everything submitted.
    ///
    /// # Errors
    /// `DeviceLost`.
    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()>;

    /// Sets what is called when a batch retires. Devices that finish inside `submit` never call it.
    fn on_done(&mut self, wake: Wake);
}

/// A retired batch.
#[derive(Debug)]
pub struct Done {
    /// Which one.
    pub ticket: Ticket,
    /// When its output was visible to the host, on `clock::now_ns`.
    pub done_ns: u64,
    /// What it returned; `None` for plans without an output.
    pub output: Option<Output>,
    /// The leases it was submitted with.
    pub leases: Vec<Lease>,
}
