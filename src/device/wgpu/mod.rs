//! Any GPU that speaks WGSL: Vulkan, Metal, DX12. Finds adapters, opens one, makes queues on it.
//!
//! A device is opened with WebGPU's default limits, so that what runs on one adapter runs on all; only the
//! sizes of buffers go up to what the adapter offers. Software adapters are used only when they are asked
//! for by name.

mod completion;
mod health;
mod memory;
mod program;
mod queue;

use super::{Backend, Caps, Queue, QueueOptions, Weights};
use crate::base::error::{Error, Result};
use crate::plan::Kernel;
use completion::Completion;
use health::Health;
use program::Pipeline;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use wgpu::{Adapter, AdapterInfo, DeviceType, Features, Limits};

/// Bytes of one buffer and of one binding, at most, whatever the adapter offers: offsets stay within 31 bits.
const BUFFER_BYTES_MAX: u64 = (1 << 31) - 4;

/// How to come by an adapter.
const HOW: &str = "install the GPU's driver with Vulkan support, or for an adapter in software \
    `mesa-vulkan-drivers` (named `wgpu:llvmpipe`); macOS and Windows bring theirs";

/// Opens the first adapter whose name contains `part`, in any case; software ones only when `software`.
pub(super) fn open(part: &str, software: bool) -> Result<Arc<dyn Backend>> {
    let part = part.to_lowercase();
    let adapters = adapters();
    let mut refused = Vec::new();
    for adapter in adapters {
        let info = adapter.get_info();
        if (is_software(&info) && !software) || !info.name.to_lowercase().contains(&part) {
            continue;
        }
        match Gpu::open(adapter, &info) {
            Ok(gpu) => return Ok(Arc::new(Wgpu(Arc::new(gpu)))),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if !refused.is_empty() {
        return Err(Error::unsupported("wgpu", refused.join("; ")));
    }
    let there: Vec<_> = adapters.iter().map(|a| a.get_info()).map(|i| describe(&i)).collect();
    let there = if there.is_empty() { "none".into() } else { there.join(", ") };
    let wanted =
        if software { format!("no adapter named {part}") } else { "no hardware adapter".into() };
    Err(Error::unsupported("wgpu", format!("{wanted} (adapters here: {there}); {HOW}")))
}

/// The names of all adapters, hardware first, as `Device::named` takes them.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for adapter in adapters() {
        let name = name(&adapter.get_info());
        // One GPU may be there twice, once for each of its APIs.
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn name(info: &AdapterInfo) -> String {
    format!("wgpu:{}", info.name)
}

fn describe(info: &AdapterInfo) -> String {
    let kind = if is_software(info) { "software" } else { "hardware" };
    format!("{} ({:?}, {kind})", info.name, info.backend)
}

fn is_software(info: &AdapterInfo) -> bool {
    info.device_type == DeviceType::Cpu
}

/// All adapters, the ones to prefer first.
fn adapters() -> &'static [Adapter] {
    // Asked for once: making an instance loads and initialises every driver, and asking one again does not
    // show what was plugged in since.
    static ADAPTERS: OnceLock<Vec<Adapter>> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // The same in debug and release builds: no validation layers, no labels for debuggers.
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let found = instance.enumerate_adapters(wgpu::Backends::all());
        let mut adapters = pollster::block_on(found);
        adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
            DeviceType::DiscreteGpu => 0,
            DeviceType::IntegratedGpu => 1,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        });
        adapters
    })
}

/// An opened adapter, shared by its queues.
struct Gpu {
    // First, so that the thread is gone before what it polls.
    completion: Completion,
    device: wgpu::Device,
    queue: wgpu::Queue,
    health: Arc<Health>,
    caps: Caps,
    /// Compiled kernels.
    pipelines: Mutex<HashMap<Compiled, Arc<Pipeline>>>,
}

/// What is compiled: a kernel, by the address of its record, and its constants.
type Compiled = (usize, Vec<u32>);

impl Gpu {
    fn open(adapter: &Adapter, info: &AdapterInfo) -> Result<Self> {
        let name = name(info);
        let offers = adapter.limits();
        let base = Limits::default();
        let binding = base
            .max_storage_buffer_binding_size
            .max(offers.max_storage_buffer_binding_size.min(BUFFER_BYTES_MAX) & !3);
        let buffer = base.max_buffer_size.max(offers.max_buffer_size.min(BUFFER_BYTES_MAX) & !3);
        let features = adapter.features() & (Features::SUBGROUP | Features::SHADER_F16);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("pelton"),
            required_features: features,
            required_limits: Limits {
                max_storage_buffer_binding_size: binding,
                max_buffer_size: buffer,
                ..base
            },
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| Error::unsupported(&name, error))?;
        let health = Health::watch(&name, &device);
        let software = is_software(info);
        let completion = Completion::start(device.clone(), Arc::clone(&health), !software)
            .map_err(|error| Error::unsupported(&name, format!("no thread to wait on: {error}")))?;
        let subgroup = if features.contains(Features::SUBGROUP) {
            (info.subgroup_min_size.max(1), info.subgroup_max_size.max(1))
        } else {
            (1, 1)
        };
        let caps = Caps {
            name,
            driver: format!("{:?} {} {}", info.backend, info.driver, info.driver_info),
            software,
            in_place: false,
            serial: false,
            bind_words_max: usize::try_from(binding.min(buffer) / 4).unwrap_or(usize::MAX),
            subgroup,
            f16: features.contains(Features::SHADER_F16),
            latency_mode: false,
        };
        let pipelines = Mutex::default();
        Ok(Self { completion, device, queue, health, caps, pipelines })
    }

    /// Compiles a kernel, or finds it compiled.
    fn pipeline(&self, kernel: &'static Kernel, constants: Vec<u32>) -> Result<Arc<Pipeline>> {
        let key = (std::ptr::from_ref(kernel).addr(), constants);
        let mut pipelines =
            self.pipelines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(Pipeline::new(self, kernel, &key.1)?);
        pipelines.insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

/// Weights on an adapter.
struct Resident {
    buffer: wgpu::Buffer,
    gpu: Arc<Gpu>,
}

/// The backend: an opened adapter.
struct Wgpu(Arc<Gpu>);

impl Backend for Wgpu {
    fn caps(&self) -> &Caps {
        &self.0.caps
    }

    fn weights(&self, name: &'static str, words: &[u32]) -> Result<Weights> {
        self.0.health.check()?;
        let buffer = self.0.buffer(name, words.len(), memory::DEVICE, false)?;
        self.0.fill(name, &buffer, 0, words)?;
        Ok(Weights::new(
            "wgpu",
            words.len(),
            Arc::new(Resident { buffer, gpu: Arc::clone(&self.0) }),
        ))
    }

    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        options.check()?;
        self.0.health.check()?;
        Ok(Box::new(queue::GpuQueue::new(Arc::clone(&self.0), options)))
    }
}

#[cfg(test)]
mod wgsl_tests {
    use super::*;
    use crate::plan::{Buf, Memory, Role};

    fn software() -> Option<Gpu> {
        let adapter = adapters().iter().find(|adapter| is_software(&adapter.get_info()))?;
        Gpu::open(adapter, &adapter.get_info()).ok()
    }

    #[test]
    fn a_lost_device_says_so_for_good_and_nothing_hangs() {
        // Without an adapter there is nothing to lose; `tests/pipelines/device.rs` lists what was skipped for that.
        let Some(gpu) = software() else { return };
        let wgpu = Wgpu(Arc::new(gpu));
        let options = QueueOptions { in_flight: 2, outputs: 2 };
        let mut queue = wgpu.queue(options).expect("a fresh device works");
        let mut memory = Memory::default();
        let buffer: Buf<u32> = memory.buffer("buffer", Role::State, 1024);
        queue.alloc(&memory.buffers).expect("4 KiB can be had");
        queue.write(buffer.id, 0, &[7; 1024]).expect("a fresh device works");
        wgpu.0.device.destroy();
        let mut back = [0; 1024];
        // The first calls may still find it working; the loss is noticed when the driver is asked.
        let lost = (0..100).find_map(|_| queue.read(buffer.id, 0, &mut back).err());
        assert!(matches!(lost, Some(Error::DeviceLost { .. })), "{lost:?}");
        assert!(matches!(queue.poll(), Err(Error::DeviceLost { .. })));
        assert!(matches!(queue.flush(), Err(Error::DeviceLost { .. })));
        assert!(matches!(queue.alloc(&memory.buffers), Err(Error::DeviceLost { .. })));
        assert!(matches!(wgpu.queue(options).map(|_| ()), Err(Error::DeviceLost { .. })));
    }

    #[test]
    fn the_first_report_of_a_driver_is_kept() {
        let Some(gpu) = software() else { return };
        gpu.health.fail("first");
        gpu.health.fail("second");
        let Err(Error::DeviceLost { device, what }) = gpu.health.check() else { panic!("lost") };
        assert_eq!((device, what), (gpu.caps.name.clone(), "first".to_string()));
    }
}
