//! CUDA: the first device of the driver that is here, opened once for the whole process.
//!
//! The driver library is loaded at run time, so a machine without one builds and runs pelton all the same; what is
//! missing is told in words. A device is handed out only after a batch has travelled through it and come back: by
//! then every function of the driver that is ever needed has answered.

mod completion;
mod context;
mod custom;
mod images;
mod lanes;
mod memory;
mod place;
mod program;
mod queue;
mod resident;
mod stream;
mod trial;
mod wgmma;

pub(super) use memory::Pinned;

use super::{Backend, Caps, Queue, QueueOptions, Weights};
use crate::base::error::{Error, Result};
use crate::plan::{Kernel, Step};
use crate::ring::slab::Slab;
use context::Context;
use cudarc::driver::sys::{self, CUresult};
use memory::WORDS_MAX;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use stream::{Function, Module};

/// The oldest driver that has every function used here, as it counts itself, and as people know it.
const DRIVER_MIN: (i32, &str) = (12_000, "525.60");

/// Every device that `open` hands out is this one, as long as any of them, their queues or outputs live.
static OPENED: Mutex<Weak<Gpu>> = Mutex::new(Weak::new());

/// An opened device, shared by its queues. Fields go in this order.
struct Gpu {
    /// The first and the last kernel of every replay.
    gather: Function,
    finish: Function,
    /// What runs products at low precision here, where it is not their own kernel.
    wgmma: Option<Function>,
    /// Kernels that users brought, with their records, and the crate's own.
    custom: Mutex<BTreeMap<&'static str, (&'static Kernel, Module)>>,
    module: Module,
    /// Ranges of events that have this many words on average come by the copy engine.
    gather_words: AtomicUsize,
    caps: Caps,
    multiprocessors: u32,
    /// Its compute capability, as the compiler writes it.
    #[cfg(feature = "nvrtc")]
    capability: String,
    context: Arc<Context>,
}

/// Opens the first CUDA device, if its name contains `part`, in any case.
pub(super) fn open(part: &str) -> Result<Arc<dyn Backend>> {
    let name = name()?;
    if !name.to_lowercase().contains(&part.to_lowercase()) {
        return Err(Error::unsupported("cuda", format!("no device named {part} (here: {name})")));
    }
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(gpu) = opened.upgrade() {
        gpu.context.enter()?;
        return Ok(Arc::new(Cuda(gpu)));
    }
    let gpu = guarded(|| {
        let gpu = Arc::new(Gpu::open()?);
        trial::run(&gpu)?;
        Ok(gpu)
    })?;
    *opened = Arc::downgrade(&gpu);
    Ok(Arc::new(Cuda(gpu)))
}

/// The name of the device that `open` opens.
pub(super) fn name() -> Result<String> {
    guarded(|| first().map(|(_, name)| name))
}

/// Runs what may find the driver library without a function: cudarc panics then.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: only asks the dynamic loader whether the driver library is there and loads it; no symbol is called.
    if !unsafe { sys::is_culib_present() } {
        let what = "no CUDA driver here; with an NVIDIA card, install its driver";
        return Err(Error::unsupported("cuda", what));
    }
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(too_old("it lacks a function")))
}

fn too_old(found: &str) -> Error {
    let (_, version) = DRIVER_MIN;
    Error::unsupported(
        "cuda",
        format!("the CUDA driver is too old ({found}): install {version} or newer"),
    )
}

/// The first device and the name that people know it by.
fn first() -> Result<(sys::CUdevice, String)> {
    context::alive("cuda")?;
    let check = |call, code| context::check("cuda", call, code);
    let no_device =
        "the CUDA driver sees no device; is it hidden (CUDA_VISIBLE_DEVICES), or unplugged?";
    // SAFETY: takes no pointer; may be called any number of times, from any thread.
    let code = unsafe { sys::cuInit(0) };
    if code == CUresult::CUDA_ERROR_NO_DEVICE {
        return Err(Error::unsupported("cuda", no_device));
    }
    check("cuInit", code)?;
    let (mut version, mut count, mut device) = (0, 0, 0);
    // SAFETY: `version` may be written.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
    if version < DRIVER_MIN.0 {
        let found = format!("it is for CUDA {}.{}", version / 1000, version % 1000 / 10);
        return Err(too_old(&found));
    }
    // SAFETY: initialised; `count` may be written.
    check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&raw mut count) })?;
    if count == 0 {
        return Err(Error::unsupported("cuda", no_device));
    }
    // SAFETY: there is a device 0; `device` may be written.
    check("cuDeviceGet", unsafe { sys::cuDeviceGet(&raw mut device, 0) })?;
    let mut name: [c_char; 256] = [0; 256];
    // SAFETY: the length given is the array's, less one, so that a nul stays behind.
    let code = unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 255, device) };
    check("cuDeviceGetName", code)?;
    // SAFETY: the array is initialised and ends in a nul.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Ok((device, format!("cuda:{}", name.to_string_lossy())))
}

impl Gpu {
    fn open() -> Result<Self> {
        let (device, name) = first()?;
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: `value` may be written; the device is the driver's.
            let code = unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) };
            context::check(&name, "cuDeviceGetAttribute", code).map(|()| value)
        };
        use sys::CUdevice_attribute as A;
        let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let multiprocessors = u32::try_from(multiprocessors).unwrap_or(0);
        let latency_mode = attribute(A::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0;
        if attribute(A::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)? == 0 {
            return Err(Error::unsupported(&name, "it cannot map memory of the host"));
        }
        let (mut bytes, mut version) = (0, 0);
        // SAFETY: `bytes` may be written.
        let code = unsafe { sys::cuDeviceTotalMem_v2(&raw mut bytes, device) };
        context::check(&name, "cuDeviceTotalMem", code)?;
        // SAFETY: `version` may be written.
        let code = unsafe { sys::cuDriverGetVersion(&raw mut version) };
        context::check(&name, "cuDriverGetVersion", code)?;
        let context = Context::retain(device, name.clone())?;
        let module = Module::new(&context, images::image())?;
        let caps = Caps {
            name,
            driver: format!("CUDA {}.{}, sm_{major}{minor}", version / 1000, version % 1000 / 10),
            software: false,
            in_place: false,
            serial: false,
            bind_words_max: (bytes / 4).min(WORDS_MAX),
            subgroup: (32, 32),
            f16: true,
            latency_mode,
        };
        Ok(Self {
            gather: module.function("gather")?,
            finish: module.function("finish")?,
            wgmma: wgmma::find(&module, (major, minor), multiprocessors)?,
            custom: Mutex::new(BTreeMap::new()),
            module,
            gather_words: AtomicUsize::new(usize::MAX),
            caps,
            multiprocessors,
            #[cfg(feature = "nvrtc")]
            capability: format!("{major}{minor}"),
            context,
        })
    }
}

impl Gpu {
    /// The kernel of this step: a user's, or the crate's own.
    fn function(&self, step: &Step) -> Result<Function> {
        if let Some(wgmma) = self.wgmma.filter(|_| wgmma::runs(step)) {
            return Ok(wgmma);
        }
        let kernel = step.kernel;
        let custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match custom.get(kernel.name) {
            Some((record, module)) => {
                custom::is_as(record, kernel)?;
                module
            }
            None => &self.module,
        };
        module.function(kernel.name)
    }
}

/// The backend: the opened device.
struct Cuda(Arc<Gpu>);

impl Backend for Cuda {
    fn caps(&self) -> &Caps {
        &self.0.caps
    }

    fn register(&self, slab: &Arc<Slab>) -> Result<()> {
        lanes::register(&self.0.context, slab)
    }

    unsafe fn add_kernel(&self, kernel: &'static Kernel, cuda: &str) -> Result<()> {
        custom::add(&self.0, kernel, cuda)
    }

    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights> {
        let options = QueueOptions { in_flight: 1, outputs: 1 };
        queue::CudaQueue::new(Arc::clone(&self.0), options, false)?.into_weights(name, words)
    }

    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        options.check()?;
        Ok(Box::new(queue::CudaQueue::new(Arc::clone(&self.0), options, false)?))
    }

    fn latency_queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        options.check()?;
        // A driver without the calls that only this needs is as one without the mode.
        guarded(|| {
            let queue = queue::CudaQueue::new(Arc::clone(&self.0), options, true)?;
            Ok(Box::new(queue) as Box<dyn Queue>)
        })
    }
}
