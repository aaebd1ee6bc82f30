//! Buffers, steps and plans, as an operator records them.

use super::kernel::{Kernel, ParamField};
use bytemuck::Pod;
use std::marker::PhantomData;

/// What a buffer is for. Decides where it lives and whether a checkpoint keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Survives from batch to batch; all of these together are what a checkpoint holds.
    State,
    /// Means nothing after the batch.
    Scratch,
    /// Travels back to the host, one copy for each program run in flight. Its word 0 says how many of its words are
    /// in use; `eager` of them come back at once, the rest is fetched when it is in use. Its first
    /// [`OUTPUT_HEAD`] words are zero when a replay starts.
    Output {
        /// Words that come back with the batch.
        eager: usize,
    },
    /// Read only and shared: its memory comes from `Backend::weights`, and belongs to no queue.
    Weights,
}

/// Words at the front of an output that every replay finds zeroed: room for counters.
pub const OUTPUT_HEAD: usize = 8;

/// A buffer as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufId(pub u16);

/// A typed handle, so that recording is type checked while the seam stays untyped.
#[derive(Debug)]
pub struct Buf<T> {
    /// The number under which the plan knows it.
    pub id: BufId,
    of: PhantomData<fn() -> T>,
}
impl<T> Clone for Buf<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Buf<T> {}

/// One buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferDecl {
    /// For plans and messages.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Its size; a multiple of four.
    pub words: usize,
}

/// The buffers that all programs of a pipeline share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// In the order of their ids.
    pub buffers: Vec<BufferDecl>,
}

impl Memory {
    /// Declares a buffer of `len` elements of `T`, rounded up to 16 bytes and at least 16 bytes long.
    ///
    /// # Panics
    /// When `T` is not made of whole words or there are more than `limits::BUFFERS_MAX` buffers.
    pub fn buffer<T: Pod>(&mut self, name: &'static str, role: Role, len: usize) -> Buf<T> {
        assert!(size_of::<T>().is_multiple_of(4), "buffers hold whole words");
        assert!(self.buffers.len() < crate::base::limits::BUFFERS_MAX, "too many buffers");
        let id = BufId(u16::try_from(self.buffers.len()).expect("the limit fits 16 bits"));
        let words = (len * (size_of::<T>() / 4)).max(4).next_multiple_of(4);
        self.buffers.push(BufferDecl { name, role, words });
        Buf { id, of: PhantomData }
    }

    /// What was declared under `id`.
    pub fn decl(&self, id: BufId) -> Option<&BufferDecl> {
        self.buffers.get(usize::from(id.0))
    }
}

/// How many workgroups a step runs, each of 256 threads or of as many as its shader says. The CPU twin runs once,
/// whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grid {
    /// As many as this word of the header says.
    Head(usize),
    /// This many.
    Groups(u32),
}

/// One kernel run: what, over how much, with which parameters and buffers.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which kernel.
    pub kernel: &'static Kernel,
    /// How many threads.
    pub grid: Grid,
    /// Its parameter block.
    pub params: Vec<u32>,
    /// Its buffers, in the kernel's order.
    pub binds: Vec<BufId>,
}

/// A list of steps over the buffers of a [`Memory`]; each sees what the one before it wrote.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For messages.
    pub name: &'static str,
    /// Words of the header that every replay brings, at most.
    pub head_words: usize,
    /// Events that a replay brings, at most; 0 for plans that read none.
    pub events_max: usize,
    /// Words in one event; 0 for plans that read none.
    pub stride: usize,
    /// The one buffer of role `Output` that comes back, if any.
    pub output: Option<BufId>,
    /// In order of execution.
    pub steps: Vec<Step>,
}

impl Plan {
    /// An empty plan that reads no events and returns nothing.
    pub fn new(name: &'static str, head_words: usize) -> Self {
        Self { name, head_words, events_max: 0, stride: 0, output: None, steps: Vec::new() }
    }

    /// Adds a step.
    pub fn step<P: Pod>(
        &mut self,
        kernel: &'static Kernel,
        grid: Grid,
        params: P,
        binds: &[BufId],
    ) {
        // Read word by word, not cast: a parameter block may be empty or less aligned than words.
        let words = bytemuck::bytes_of(&params).chunks_exact(4);
        let params = words.map(bytemuck::pod_read_unaligned).collect();
        self.steps.push(Step { kernel, grid, params, binds: binds.to_vec() });
    }

    /// The parameters of a step by name, for printing.
    pub(super) fn named_params(step: &Step) -> impl Iterator<Item = (&ParamField, u32)> {
        step.kernel.params.iter().zip(step.params.iter().copied())
    }
}
