//! CUDA: asks the driver what is there, without ever panicking or needing a toolkit.
//!
//! The native path itself is not built yet: this probe tells a user with an NVIDIA card the truth about it.

use super::Backend;
use crate::base::error::{Error, Result};
use std::panic::catch_unwind;
use std::sync::Arc;

/// Opens the first CUDA device.
pub(super) fn open() -> Result<Arc<dyn Backend>> {
    Err(Error::unsupported("cuda", probe()))
}

/// Why CUDA is not to be had, in words.
fn probe() -> String {
    // SAFETY: only asks the dynamic loader whether the driver library is there and loads it; no symbol is called.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return "no CUDA driver here".into();
    }
    // cudarc panics when a driver lacks a symbol it asks for; that driver is too old, and not our caller's problem.
    match catch_unwind(cudarc::driver::CudaContext::device_count) {
        Ok(Ok(0)) => "the CUDA driver sees no device".into(),
        Ok(Ok(n)) => {
            format!("{n} CUDA device(s) here, but this version has no CUDA kernels yet: use wgpu")
        }
        Ok(Err(error)) => format!("the CUDA driver failed: {error}"),
        Err(_) => "the CUDA driver is too old: 12.8 or newer is needed".into(),
    }
}
