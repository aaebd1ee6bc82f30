//! Which device: the best there is, one by name, or all of them.

use super::{Backend, Caps, cpu, null};
use crate::base::error::{Error, Result};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A chosen device; cheap to clone. Dereferences to [`Backend`].
#[derive(Clone)]
pub struct Device {
    backend: Arc<dyn Backend>,
    why: Arc<str>,
}

impl Device {
    /// A device of your own making, such as a [`super::fault`] wrapper.
    pub fn new(backend: Arc<dyn Backend>, why: &str) -> Self {
        Self { backend, why: why.into() }
    }

    /// The host's processor: always there.
    pub fn cpu() -> Self {
        Self::new(Arc::new(cpu::Cpu::new()), "the processor was asked for")
    }

    /// The device that computes nothing: for measuring the engine itself.
    pub fn null() -> Self {
        Self::new(Arc::new(null::Null::new()), "the null device was asked for")
    }

    /// CUDA, else a hardware wgpu adapter, else the processor; [`Self::why`] says why. Never a software
    /// adapter.
    pub fn best() -> Self {
        let cuda = match open_cuda("") {
            Ok(backend) => return Self::new(backend, "CUDA comes first where it is"),
            Err(error) => error,
        };
        match open_wgpu("", false) {
            Ok(backend) => Self::new(backend, &format!("first hardware adapter ({cuda})")),
            Err(wgpu) => {
                let why = format!("no accelerator ({cuda}; {wgpu})");
                Self::new(Arc::new(cpu::Cpu::new()), &why)
            }
        }
    }

    /// The device of this name: `best`, `cpu`, `null`, `cuda` (the first device of its driver), `cuda:PART` (the
    /// same, if its name contains PART), `wgpu` (the first hardware adapter), or `wgpu:PART` (the first adapter,
    /// software ones included, whose name contains PART, whatever the case).
    ///
    /// # Errors
    /// `Unsupported`, saying why it is not there and naming those that are.
    pub fn named(name: &str) -> Result<Self> {
        let asked = format!("{name} was asked for");
        let found = match name.split_once(':').unwrap_or((name, "")) {
            ("best", "") => return Ok(Self::best()),
            ("cpu", "") => return Ok(Self::cpu()),
            ("null", "") => return Ok(Self::null()),
            ("cuda", part) => open_cuda(part),
            ("wgpu", part) => open_wgpu(part, !part.is_empty()),
            _ => Err(Error::unsupported(name, "no such device")),
        };
        match found {
            Ok(backend) => Ok(Self::new(backend, &asked)),
            Err(error) => {
                // The name stands in front of the new error already.
                let what = match error {
                    Error::Unsupported { what, .. } => what,
                    other => other.to_string(),
                };
                let there = Self::names().join(", ");
                Err(Error::unsupported(name, format!("{what}; devices here: {there}")))
            }
        }
    }

    /// The names of the devices that are here, as [`Self::named`] takes them, the best first.
    pub fn names() -> Vec<String> {
        let mut names = Vec::new();
        names.extend(cuda_name());
        names.extend(wgpu_names());
        names.extend(["cpu".to_string(), "null".to_string()]);
        names
    }

    /// All devices that are here and can be opened, software adapters included, the best first.
    pub fn all() -> Vec<Self> {
        Self::names().iter().filter_map(|name| Self::named(name).ok()).collect()
    }

    /// Why this one was chosen, for people.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl Deref for Device {
    type Target = dyn Backend;
    fn deref(&self) -> &Self::Target {
        &*self.backend
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caps { name, driver, .. } = self.caps();
        write!(f, "Device({name}, {driver})")
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(part: &str) -> Result<Arc<dyn Backend>> {
    super::cuda::open(part)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_part: &str) -> Result<Arc<dyn Backend>> {
    Err(Error::unsupported("cuda", "built without the feature `cuda`"))
}

#[cfg(feature = "cuda")]
fn cuda_name() -> Option<String> {
    super::cuda::name().ok()
}

#[cfg(not(feature = "cuda"))]
fn cuda_name() -> Option<String> {
    None
}

#[cfg(feature = "wgpu")]
fn open_wgpu(part: &str, software: bool) -> Result<Arc<dyn Backend>> {
    super::wgpu::open(part, software)
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(_part: &str, _software: bool) -> Result<Arc<dyn Backend>> {
    Err(Error::unsupported("wgpu", "built without the feature `wgpu`"))
}

#[cfg(feature = "wgpu")]
fn wgpu_names() -> Vec<String> {
    super::wgpu::names()
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_names() -> Vec<String> {
    Vec::new()
}
