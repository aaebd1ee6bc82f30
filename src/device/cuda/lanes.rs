//! The lanes that the device reads in place: where each slab lies for it.
//!
//! A registration lives in its slab and ends just before the slab's memory is given back, so whoever holds the slab may
//! rely on what is found here. There is one list for the process, as there is one context: a device that is opened
//! again finds the lanes of the time before.

use super::context::Context;
use crate::base::error::Result;
use crate::ring::slab::Slab;
use cudarc::driver::sys::{self, CUresult};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, PoisonError, RwLock};

/// Addresses of slabs for the host, and for the device.
static LANES: RwLock<BTreeMap<usize, u64>> = RwLock::new(BTreeMap::new());

/// Where the device finds this slab's first word, when it was registered.
pub(super) fn address(slab: &Slab) -> Option<u64> {
    let lanes = LANES.read().unwrap_or_else(PoisonError::into_inner);
    lanes.get(&slab.as_ptr().addr()).copied()
}

/// Page-locks a slab and maps it. A driver that will not (its limit on locked memory, a system without the means) is no
/// error: such a lane is copied.
pub(super) fn register(context: &Arc<Context>, slab: &Slab) -> Result<()> {
    context.enter()?;
    if address(slab).is_some() {
        return Ok(());
    }
    let host = slab.as_ptr().cast_mut().cast::<c_void>();
    let flags = sys::CU_MEMHOSTREGISTER_PORTABLE | sys::CU_MEMHOSTREGISTER_DEVICEMAP;
    // SAFETY: whole pages that are the slab's alone, and stay until it is dropped, which unregisters first.
    let code = unsafe { sys::cuMemHostRegister_v2(host, slab.page_bytes(), flags) };
    if context.check("cuMemHostRegister", code).is_err() {
        return context.enter();
    }
    let lane = Registered { context: Arc::clone(context), host: host.expose_provenance() };
    let mut address = 0;
    // SAFETY: registered just now as mapped memory; `address` may be written.
    let code = unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut address, host, 0) };
    if code != CUresult::CUDA_SUCCESS {
        let _ = context.check("cuMemHostGetDevicePointer", code);
        drop(lane);
        return context.enter();
    }
    LANES.write().unwrap_or_else(PoisonError::into_inner).insert(lane.host, address);
    slab.hold(Box::new(lane));
    Ok(())
}

/// Ends a slab's registration when dropped.
struct Registered {
    context: Arc<Context>,
    host: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        LANES.write().unwrap_or_else(PoisonError::into_inner).remove(&self.host);
        self.context.enter_to_free();
        let host = std::ptr::with_exposed_provenance_mut::<c_void>(self.host);
        // SAFETY: registered in `register`, unregistered once, before the memory goes. Batches that read it hold leases
        // and with them the slab, until the device is done.
        let _ = unsafe { sys::cuMemHostUnregister(host) };
    }
}
