//! What the device is told to do, in order: copies, kernels, graphs of them, and events that mark a point.
//!
//! Everything here returns before the device has done it. So each `unsafe fn` has the same promise to ask for: what
//! the device was told to read or write stays where it is, and nobody else touches it, until the stream has passed
//! that point.

use super::context::Context;
use super::memory::Memory;
use crate::base::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// Threads of a block, in every kernel.
const THREADS: u32 = 256;

/// An order of execution on the device.
pub(super) struct Stream {
    context: Arc<Context>,
    raw: sys::CUstream,
}

// SAFETY: the driver's functions may be called from any thread; the handle is only ever passed to them.
unsafe impl Send for Stream {}

impl Stream {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `raw` may be written; the context is this thread's, as in all calls of this file.
        let code = unsafe { sys::cuStreamCreate(&raw mut raw, flags) };
        context.check("cuStreamCreate", code)?;
        Ok(Self { context: Arc::clone(context), raw })
    }

    /// Sleeps until the device has done all that this stream was told.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives.
        let code = unsafe { sys::cuStreamSynchronize(self.raw) };
        self.context.check("cuStreamSynchronize", code)
    }

    /// Lets what follows wait for the event's point.
    pub(super) fn wait(&self, event: &Event) -> Result<()> {
        // SAFETY: both live.
        let code = unsafe { sys::cuStreamWaitEvent(self.raw, event.raw, 0) };
        self.context.check("cuStreamWaitEvent", code)
    }

    /// Marks the point after all that the stream was told so far.
    pub(super) fn record(&self, event: &Event) -> Result<()> {
        // SAFETY: both live.
        let code = unsafe { sys::cuEventRecord(event.raw, self.raw) };
        self.context.check("cuEventRecord", code)
    }

    /// Copies words of the host to the device.
    ///
    /// # Safety
    /// `from` is page-locked and this long; until the stream has passed here nobody writes it or gives it or `to`
    /// back.
    pub(super) unsafe fn copy_in(
        &self,
        to: &Memory,
        at: usize,
        from: *const u32,
        words: usize,
    ) -> Result<()> {
        assert!(at + words <= to.words(), "inside the buffer");
        let (to, from) = (to.address(at), from.cast::<c_void>());
        // SAFETY: in bounds; the rest is promised by the caller.
        let code = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from, words * 4, self.raw) };
        self.context.check("cuMemcpyHtoDAsync", code)
    }

    /// Copies words of the device to the host.
    ///
    /// # Safety
    /// `to` is page-locked and this long; until the stream has passed here nobody touches it or gives it or `from`
    /// back.
    pub(super) unsafe fn copy_out(
        &self,
        from: &Memory,
        at: usize,
        to: *mut u32,
        words: usize,
    ) -> Result<()> {
        assert!(at + words <= from.words(), "inside the buffer");
        let (to, from) = (to.cast::<c_void>(), from.address(at));
        // SAFETY: in bounds; the rest is promised by the caller.
        let code = unsafe { sys::cuMemcpyDtoHAsync_v2(to, from, words * 4, self.raw) };
        self.context.check("cuMemcpyDtoHAsync", code)
    }

    /// Copies the first words of one buffer to another.
    ///
    /// # Safety
    /// Neither is given back before the stream has passed here.
    pub(super) unsafe fn copy(&self, from: &Memory, to: &Memory, words: usize) -> Result<()> {
        assert!(words <= from.words() && words <= to.words(), "inside the buffers");
        // SAFETY: in bounds, and two allocations do not overlap; the rest is promised by the caller.
        let code = unsafe {
            sys::cuMemcpyDtoDAsync_v2(to.address(0), from.address(0), words * 4, self.raw)
        };
        self.context.check("cuMemcpyDtoDAsync", code)
    }

    /// Zeroes a buffer from word `at` on.
    ///
    /// # Safety
    /// It is not given back before the stream has passed here.
    pub(super) unsafe fn zero(&self, to: &Memory, at: usize) -> Result<()> {
        let words = to.words() - at;
        if words == 0 {
            return Ok(());
        }
        // SAFETY: in bounds; the rest is promised by the caller.
        let code = unsafe { sys::cuMemsetD32Async(to.address(at), 0, words, self.raw) };
        self.context.check("cuMemsetD32Async", code)
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments are what the kernel declares. What they point at is not given back before the stream has
    /// passed here, nor the graph that the launch becomes a part of; nobody else touches it while the kernel runs.
    pub(super) unsafe fn launch(
        &self,
        function: Function,
        blocks: u32,
        arguments: &mut Arguments,
    ) -> Result<()> {
        let mut pointers = arguments.pointers();
        // SAFETY: the driver copies the arguments before it returns; the rest is promised by the caller.
        let code = unsafe {
            sys::cuLaunchKernel(
                function.raw,
                blocks.min(function.blocks_max),
                1,
                1,
                THREADS,
                1,
                1,
                function.shared_bytes,
                self.raw,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        self.context.check("cuLaunchKernel", code)
    }

    /// Runs a kernel whose blocks are all on the device at the same time, so that they may wait for each other.
    ///
    /// # Safety
    /// As for `launch`; the kernel comes to an end.
    pub(super) unsafe fn launch_together(
        &self,
        function: Function,
        blocks: u32,
        arguments: &mut Arguments,
    ) -> Result<()> {
        let mut pointers = arguments.pointers();
        // SAFETY: the driver copies the arguments before it returns; the rest is promised by the caller.
        let code = unsafe {
            sys::cuLaunchCooperativeKernel(
                function.raw,
                blocks,
                1,
                1,
                THREADS,
                1,
                1,
                0,
                self.raw,
                pointers.as_mut_ptr(),
            )
        };
        self.context.check("cuLaunchCooperativeKernel", code)
    }

    /// Makes a graph of what `record` tells this stream; none of it is done now.
    pub(super) fn capture(&self, record: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives.
        let code = unsafe { sys::cuStreamBeginCapture_v2(self.raw, mode) };
        self.context.check("cuStreamBeginCapture", code)?;
        let recorded = record();
        let mut raw = std::ptr::null_mut();
        // SAFETY: the stream is being captured by this thread; `raw` may be written. Ended whatever happened, so
        // that the stream can be used again.
        let code = unsafe { sys::cuStreamEndCapture(self.raw, &raw mut raw) };
        let ended = self.context.check("cuStreamEndCapture", code);
        let captured = Captured(raw);
        recorded?;
        ended?;
        let mut exec = std::ptr::null_mut();
        // SAFETY: the graph was captured just now; `exec` may be written.
        let code = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut exec, captured.0, 0) };
        self.context.check_memory("cuGraphInstantiate", code, "a graph of kernels", 0)?;
        Ok(Graph { context: Arc::clone(&self.context), raw: exec })
    }

    /// Runs a graph.
    ///
    /// # Safety
    /// What its kernels were given still lives, is not given back before the stream has passed here, and nobody
    /// else touches it meanwhile.
    pub(super) unsafe fn replay(&self, graph: &Graph) -> Result<()> {
        // SAFETY: both live; a graph destroyed while it runs is freed once it has ended. The rest is promised.
        let code = unsafe { sys::cuGraphLaunch(graph.raw, self.raw) };
        self.context.check("cuGraphLaunch", code)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: made in `new`, destroyed once; the driver lets it finish what it was told.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.raw) };
    }
}

/// A captured graph, until it is instantiated.
struct Captured(sys::CUgraph);

impl Drop for Captured {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: captured, destroyed once; what was instantiated from it is its own.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}

/// Kernels and their arguments, launched together.
pub(super) struct Graph {
    context: Arc<Context>,
    raw: sys::CUgraphExec,
}

// SAFETY: a graph is launched and destroyed by one thread at a time, the one that has it; any thread may be that.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: instantiated in `capture`, destroyed once.
        let _ = unsafe { sys::cuGraphExecDestroy(self.raw) };
    }
}

/// A point in a stream that can be waited for.
pub(super) struct Event {
    context: Arc<Context>,
    raw: sys::CUevent,
}

// SAFETY: the driver's functions may be called from any thread; the handle is only ever passed to them.
unsafe impl Send for Event {}
// SAFETY: as for `Send`.
unsafe impl Sync for Event {}

impl Event {
    /// An event that has passed, as long as no stream records it. Who waits for it sleeps.
    pub(super) fn new(context: &Arc<Context>) -> Result<Self> {
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32
            | sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32;
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` may be written.
        let code = unsafe { sys::cuEventCreate(&raw mut raw, flags) };
        context.check("cuEventCreate", code)?;
        Ok(Self { context: Arc::clone(context), raw })
    }

    /// Whether the device has passed it.
    pub(super) fn passed(&self) -> Result<bool> {
        // SAFETY: the event lives.
        let code = unsafe { sys::cuEventQuery(self.raw) };
        if code == CUresult::CUDA_ERROR_NOT_READY {
            return Ok(false);
        }
        self.context.check("cuEventQuery", code).map(|()| true)
    }

    /// Sleeps until the device has passed it.
    pub(super) fn wait(&self) -> Result<()> {
        // SAFETY: the event lives.
        let code = unsafe { sys::cuEventSynchronize(self.raw) };
        self.context.check("cuEventSynchronize", code)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: made in `new`, destroyed once; the driver keeps it while a stream needs it.
        let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
    }
}

/// The image of all kernels, loaded.
pub(super) struct Module {
    context: Arc<Context>,
    raw: sys::CUmodule,
}

// SAFETY: the driver's functions may be called from any thread; the handle is only ever passed to them.
unsafe impl Send for Module {}
// SAFETY: as for `Send`; the driver locks what it changes.
unsafe impl Sync for Module {}

/// A kernel of a [`Module`], which must outlive its use.
#[derive(Clone, Copy)]
pub(super) struct Function {
    raw: sys::CUfunction,
    /// What a launch gives each block beyond the shared memory that the kernel declares.
    shared_bytes: u32,
    /// Blocks of a launch, at most; those there are take the work of more.
    blocks_max: u32,
}

impl Function {
    /// The same, launched with no more blocks than this, and one at least.
    pub(super) fn of_blocks(self, most: u32) -> Self {
        Self { blocks_max: most.max(1), ..self }
    }
}

// SAFETY: as for `Module`.
unsafe impl Send for Function {}
// SAFETY: as for `Module`.
unsafe impl Sync for Function {}

impl Module {
    /// Loads an image: a fat binary with code for several generations of devices.
    pub(super) fn new(context: &Arc<Context>, image: &'static [u8]) -> Result<Self> {
        // SAFETY: the image is a whole fat binary, whose header says how long it is.
        unsafe { Self::load(context, image.as_ptr().cast()) }
    }

    /// Loads what the driver compiles itself: PTX.
    #[cfg(feature = "nvrtc")]
    pub(super) fn of_text(context: &Arc<Context>, ptx: &std::ffi::CStr) -> Result<Self> {
        // SAFETY: the text ends in a nul.
        unsafe { Self::load(context, ptx.as_ptr().cast()) }
    }

    /// # Safety
    /// `image` is one that the driver knows the end of.
    unsafe fn load(context: &Arc<Context>, image: *const c_void) -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: as the caller promises; `raw` may be written.
        let code = unsafe { sys::cuModuleLoadData(&raw mut raw, image) };
        context.check("cuModuleLoadData", code).map_err(|error| match error {
            Error::Unsupported { device, what } => Error::unsupported(
                device,
                format!("{what}: no kernels for this device and driver; install a newer driver"),
            ),
            other => other,
        })?;
        Ok(Self { context: Arc::clone(context), raw })
    }

    /// The kernel of this name.
    pub(super) fn function(&self, name: &str) -> Result<Function> {
        let text = CString::new(name).map_err(Error::invalid)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the module lives, the name ends in a nul, `raw` may be written.
        let code = unsafe { sys::cuModuleGetFunction(&raw mut raw, self.raw, text.as_ptr()) };
        if code == CUresult::CUDA_ERROR_NOT_FOUND {
            return Err(Error::unsupported(
                &self.context.name,
                format!("kernel {name} has no CUDA twin; run this plan on another device"),
            ));
        }
        self.context.check("cuModuleGetFunction", code)?;
        // One that takes too many registers for a block would fail at every launch.
        let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        let mut threads = 0;
        // SAFETY: the function was found just now; `threads` may be written.
        let code = unsafe { sys::cuFuncGetAttribute(&raw mut threads, most, raw) };
        self.context.check("cuFuncGetAttribute", code)?;
        if u32::try_from(threads).unwrap_or(0) < THREADS {
            return Err(Error::unsupported(
                &self.context.name,
                format!("kernel {name} runs {threads} threads a block here, {THREADS} are needed"),
            ));
        }
        Ok(Function { raw, shared_bytes: 0, blocks_max: u32::MAX })
    }

    /// The kernel of this name, whose blocks are given so much shared memory.
    pub(super) fn function_in(&self, name: &str, shared_bytes: u32) -> Result<Function> {
        let function = self.function(name)?;
        let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function was found just now; takes no pointer.
        let code =
            unsafe { sys::cuFuncSetAttribute(function.raw, most, shared_bytes.cast_signed()) };
        self.context.check("cuFuncSetAttribute", code)?;
        Ok(Function { shared_bytes, ..function })
    }
}

impl Module {
    /// Blocks of a kernel that find room on one multiprocessor at the same time.
    pub(super) fn blocks_each(&self, function: Function) -> Result<u32> {
        let mut blocks = 0;
        let threads = THREADS.cast_signed();
        // SAFETY: the function is of this module; `blocks` may be written.
        let code = unsafe {
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(
                &raw mut blocks,
                function.raw,
                threads,
                0,
            )
        };
        self.context.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", code)?;
        Ok(u32::try_from(blocks).unwrap_or(0))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.context.enter_to_free();
        // SAFETY: loaded in `new`, unloaded once, after the queues that run its kernels.
        let _ = unsafe { sys::cuModuleUnload(self.raw) };
    }
}

/// The arguments of a launch, in order; each begins at a multiple of eight bytes.
#[derive(Default)]
pub(super) struct Arguments {
    bytes: Vec<u64>,
    starts: Vec<usize>,
}

impl Arguments {
    /// Adds one.
    pub(super) fn push<T: bytemuck::NoUninit>(&mut self, argument: &[T]) {
        self.starts.push(self.bytes.len());
        for piece in bytemuck::cast_slice::<T, u8>(argument).chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.bytes.push(u64::from_ne_bytes(word));
        }
    }

    fn pointers(&mut self) -> Vec<*mut c_void> {
        let base = self.bytes.as_mut_ptr();
        self.starts.iter().map(|&start| base.wrapping_add(start).cast()).collect()
    }
}
