//! The bus between host and card: how fast page-locked memory is copied, which bounds whatever comes from the host.
//!
//! The memory is of the kind that lanes are: page-locked, cached, and mapped. Copies go back to back on one stream.

use cudarc::driver::{CudaContext, DriverError, PinnedHostSlice, sys};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of one copy: the bus is as fast as it gets well below that.
pub(crate) const BYTES: usize = 64 << 20;
/// Copies of a pass, and passes, of which the best counts.
const COPIES: usize = 8;
pub(crate) const PASSES: usize = 5;

/// What was measured, in bytes a second.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    /// The card as the driver calls it.
    pub(crate) card: String,
    pub(crate) to_device: f64,
    pub(crate) from_device: f64,
}

/// Measures the first card.
///
/// # Errors
/// Why it cannot, in words.
pub(crate) fn measure() -> Result<Bus, String> {
    // SAFETY: only asks the dynamic loader whether the driver library is there and loads it; no symbol is called.
    if !unsafe { sys::is_culib_present() } {
        return Err("no CUDA driver here".into());
    }
    // cudarc panics where a driver lacks a symbol that it asks for, also for an error's text.
    match catch_unwind(copies) {
        Ok(measured) => measured.map_err(|error| format!("the CUDA driver failed: {:?}", error.0)),
        Err(_) => Err("the CUDA driver is too old: it lacks a function".into()),
    }
}

fn pinned(context: &Arc<CudaContext>) -> Result<PinnedHostSlice<u8>, DriverError> {
    let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
    // SAFETY: the memory is unset, which is all that is asked of the caller; it is set below before anything reads it.
    let mut memory = unsafe { context.alloc_pinned_with_flags::<u8>(BYTES, flags)? };
    // SAFETY: the pointer is to an allocation of BYTES bytes that nothing else refers to.
    unsafe { memory.as_mut_ptr()?.write_bytes(1, BYTES) };
    Ok(memory)
}

fn copies() -> Result<Bus, DriverError> {
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let mut host = pinned(&context)?;
    let mut card = stream.alloc_zeros::<u8>(BYTES)?;
    let (mut to_device, mut from_device) = (0f64, 0f64);
    for _ in 0..PASSES {
        to_device = to_device.max(rate(|| {
            (0..COPIES).try_for_each(|_| stream.memcpy_htod(&host, &mut card))?;
            stream.synchronize()
        })?);
        from_device = from_device.max(rate(|| {
            (0..COPIES).try_for_each(|_| stream.memcpy_dtoh(&card, &mut host))?;
            stream.synchronize()
        })?);
    }
    Ok(Bus { card: context.name()?, to_device, from_device })
}

/// Bytes a second of one pass.
#[allow(clippy::cast_precision_loss, reason = "bytes of a short measurement")]
fn rate(pass: impl FnOnce() -> Result<(), DriverError>) -> Result<f64, DriverError> {
    let begin = Instant::now();
    pass()?;
    Ok((COPIES * BYTES) as f64 / begin.elapsed().as_secs_f64())
}
