//! The device's one context in this process, and how the driver's answers become typed errors.
//!
//! A context that met an illegal address, a failed launch or a broken device is dead, and the driver gives the
//! process no other: such an error is kept for good, and every later call of every CUDA queue says so. All other
//! refusals concern the call alone.

use crate::base::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

/// What killed CUDA in this process. The first reason stays.
static LOST: OnceLock<String> = OnceLock::new();

/// The primary context of a device, held.
pub(super) struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    /// The device as `Device::named` knows it.
    pub(super) name: String,
}

// SAFETY: the driver's functions may be called from any thread; the handle is only ever passed to them.
unsafe impl Send for Context {}
// SAFETY: as for `Send`; the fields never change.
unsafe impl Sync for Context {}

impl Context {
    /// Holds a device's primary context and makes it this thread's.
    pub(super) fn retain(device: sys::CUdevice, name: String) -> Result<Arc<Self>> {
        alive(&name)?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the driver is initialised, `device` came from it, and `raw` may be written.
        let code = unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut raw, device) };
        check(&name, "cuDevicePrimaryCtxRetain", code)?;
        let context = Arc::new(Self { device, raw, name });
        context.enter()?;
        Ok(context)
    }

    /// Makes the context this thread's, as every call below needs it; an error once CUDA is lost.
    pub(super) fn enter(&self) -> Result<()> {
        alive(&self.name)?;
        self.make_current()
    }

    /// As `enter`, for giving things back: that is tried even when the device is lost.
    pub(super) fn enter_to_free(&self) {
        let _ = self.make_current();
    }

    fn make_current(&self) -> Result<()> {
        // SAFETY: the context is held until `self` is dropped.
        let code = unsafe { sys::cuCtxSetCurrent(self.raw) };
        self.check("cuCtxSetCurrent", code)
    }

    /// What a call answered, as a result; remembers what kills the context.
    pub(super) fn check(&self, call: &str, code: CUresult) -> Result<()> {
        check(&self.name, call, code)
    }

    /// As `check`, where no memory is an answer to expect: says for what, and how much it was.
    pub(super) fn check_memory(
        &self,
        call: &str,
        code: CUresult,
        what: &str,
        bytes: usize,
    ) -> Result<()> {
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let mib = bytes.div_ceil(1 << 20);
            return Err(Error::unsupported(
                &self.name,
                format!("out of memory: {what} needs {mib} MiB ({call}); lower the limits"),
            ));
        }
        self.check(call, code)
    }

    /// Marks CUDA as lost to this process and says so.
    pub(super) fn lose(&self, what: impl Display) -> Error {
        lose(&self.name, what.to_string())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once in `retain`, released once, after everything made in it: that holds an `Arc`.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// `DeviceLost` once CUDA is lost to this process.
pub(super) fn alive(name: &str) -> Result<()> {
    match LOST.get() {
        None => Ok(()),
        Some(what) => Err(Error::lost(name, what)),
    }
}

fn lose(name: &str, what: String) -> Error {
    Error::lost(name, LOST.get_or_init(|| what))
}

/// What a call answered, as a result.
pub(super) fn check(name: &str, call: &str, code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let what = format!("{call} answered {code:?}");
    if is_deadly(code) { Err(lose(name, what)) } else { Err(Error::unsupported(name, what)) }
}

/// Whether a context is of no use after this answer.
fn is_deadly(code: CUresult) -> bool {
    use CUresult as C;
    matches!(
        code,
        C::CUDA_ERROR_DEINITIALIZED
            | C::CUDA_ERROR_DEVICE_UNAVAILABLE
            | C::CUDA_ERROR_ECC_UNCORRECTABLE
            | C::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | C::CUDA_ERROR_ILLEGAL_ADDRESS
            | C::CUDA_ERROR_LAUNCH_TIMEOUT
            | C::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | C::CUDA_ERROR_ASSERT
            | C::CUDA_ERROR_HARDWARE_STACK_ERROR
            | C::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | C::CUDA_ERROR_MISALIGNED_ADDRESS
            | C::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | C::CUDA_ERROR_INVALID_PC
            | C::CUDA_ERROR_LAUNCH_FAILED
            | C::CUDA_ERROR_EXTERNAL_DEVICE
            | C::CUDA_ERROR_UNKNOWN
    )
}
