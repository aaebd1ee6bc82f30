//! Memory that the device reads and writes: its own, and page-locked memory of the host.
//!
//! Each kind is a value that gives itself back when dropped. Its addresses are numbers to the host: only the calls
//! of `stream.rs` hand them to the device, under the promises written there.

use super::context::Context;
use crate::base::error::Result;
use cudarc::driver::sys;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What a kernel binds: a place and its length, as `kernels/prelude.cuh` declares it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Span {
    at: u64,
    len: u32,
    pad: u32,
}

impl Span {
    fn new(at: u64, words: usize) -> Self {
        // No buffer is longer: `Caps::bind_words_max` says so, and `Memory::new` makes none.
        Self { at, len: u32::try_from(words).unwrap_or(u32::MAX), pad: 0 }
    }
}

/// Words a buffer may have, at most: kernels count them in 32 bits, in fours.
pub(super) const WORDS_MAX: usize = u32::MAX as usize & !3;

/// Words of the device's own memory.
pub(super) struct Memory {
    context: Arc<Context>,
    address: u64,
    words: usize,
}

impl Memory {
    /// Memory with anything in it. `what` it is for is said when there is none.
    pub(super) fn new(context: &Arc<Context>, what: &str, words: usize) -> Result<Self> {
        let words = words.max(4);
        if words > WORDS_MAX {
            return Err(crate::Error::unsupported(
                &context.name,
                format!(
                    "{what} needs {words} words, a buffer has at most {WORDS_MAX}; lower the limits"
                ),
            ));
        }
        let mut address = 0;
        // SAFETY: `address` may be written; the context is this thread's, as all callers see to.
        let code = unsafe { sys::cuMemAlloc_v2(&raw mut address, words * 4) };
        context.check_memory("cuMemAlloc", code, what, words * 4)?;
        Ok(Self { context: Arc::clone(context), address, words })
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Where word `at` lies.
    pub(super) fn address(&self, at: usize) -> u64 {
        assert!(at <= self.words, "inside the buffer");
        self.address + at as u64 * 4
    }

    /// The first `words` of it, for a kernel.
    pub(super) fn span(&self, words: usize) -> Span {
        assert!(words <= self.words, "inside the buffer");
        Span::new(self.address, words)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: allocated in `new`, freed once. Whoever launched work that uses it has promised to keep it until
        // that has ended.
        let _ = unsafe { sys::cuMemFree_v2(self.address) };
    }
}

/// Page-locked words of the host that the device reads and writes in place; cached, so that the host reads them
/// fast.
pub(in crate::device) struct Pinned {
    context: Arc<Context>,
    host: NonNull<u32>,
    address: u64,
    words: usize,
}

// SAFETY: memory without a thread of its own, and a handle to an object the driver shares between threads.
unsafe impl Send for Pinned {}
// SAFETY: shared references only read the words, or reach them through atomics.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Zeroed words.
    pub(super) fn new(context: &Arc<Context>, what: &str, words: usize) -> Result<Self> {
        let words = words.max(4);
        let mut host: *mut c_void = std::ptr::null_mut();
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: `host` may be written; the context is this thread's.
        let code = unsafe { sys::cuMemHostAlloc(&raw mut host, words * 4, flags) };
        context.check_memory("cuMemHostAlloc", code, what, words * 4)?;
        let host = NonNull::new(host.cast::<u32>())
            .ok_or_else(|| context.lose("cuMemHostAlloc answered success and no memory"))?;
        // From here on dropping gives the memory back.
        let mut pinned = Self { context: Arc::clone(context), host, address: 0, words };
        let address = &raw mut pinned.address;
        // SAFETY: `host` is page-locked memory that was allocated as mapped, `address` may be written.
        let code = unsafe { sys::cuMemHostGetDevicePointer_v2(address, host.as_ptr().cast(), 0) };
        context.check("cuMemHostGetDevicePointer", code)?;
        // SAFETY: the allocation is this long, whole words at least as aligned as words, and nobody else's yet.
        unsafe { host.write_bytes(0, words) };
        Ok(pinned)
    }

    /// Where the device finds word `at`.
    pub(in crate::device) fn address(&self, at: usize) -> u64 {
        assert!(at <= self.words, "inside the memory");
        self.address + at as u64 * 4
    }

    /// All of it, for a kernel.
    pub(super) fn span(&self) -> Span {
        Span::new(self.address, self.words)
    }

    /// The words. Whoever lets the device write them has promised that nobody looks before it is done.
    pub(in crate::device) fn slice(&self) -> &[u32] {
        // SAFETY: allocated this long, aligned, initialised in `new`; the device writes nothing meanwhile: that is
        // promised where work is given to it (`Stream`).
        unsafe { std::slice::from_raw_parts(self.host.as_ptr(), self.words) }
    }

    /// The words, to be written. The device must not be reading them: promised as for `slice`.
    pub(in crate::device) fn slice_mut(&mut self) -> &mut [u32] {
        // SAFETY: as for `slice`, and nobody else has a reference.
        unsafe { std::slice::from_raw_parts_mut(self.host.as_ptr(), self.words) }
    }

    /// Two words, from an even one on, that one side writes at once while the other looks; the low one comes first.
    pub(super) fn pair(&self, at: usize) -> &AtomicU64 {
        assert!(2 * at + 1 < self.words, "inside the memory");
        // SAFETY: in bounds, initialised, alive as long as `self`, and aligned, since the memory begins at a page;
        // memory used so is never looked at through `slice`.
        unsafe { AtomicU64::from_ptr(self.host.as_ptr().cast::<u64>().add(at)) }
    }

    /// A word that the device writes while the host looks.
    pub(super) fn word(&self, at: usize) -> &AtomicU32 {
        assert!(at < self.words, "inside the memory");
        // SAFETY: in bounds, aligned, initialised, and alive as long as `self`; memory used so is never looked at
        // through `slice`.
        unsafe { AtomicU32::from_ptr(self.host.as_ptr().add(at)) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: allocated in `new`, freed once; work of the device that uses it has ended, as for `Memory`.
        let _ = unsafe { sys::cuMemFreeHost(self.host.as_ptr().cast()) };
    }
}
