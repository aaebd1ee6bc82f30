//! Compiled plans: pipelines, parameter blocks and bind groups, all made once, and the recording of one
//! replay.

use super::Gpu;
use super::memory::{Home, Inputs};
use crate::base::error::Result;
use crate::plan::{Access, Grid, Kernel, Plan, Step as PlanStep};
use std::sync::Arc;
use wgpu::{BindGroup, BindingResource, Buffer, BufferBindingType, BufferUsages};

/// Workgroups along one axis, at most; more are folded into rows.
const ROW_GROUPS: u32 = 65_535;

/// A compiled kernel.
pub(super) struct Pipeline {
    layout: wgpu::BindGroupLayout,
    pipeline: wgpu::ComputePipeline,
}

impl Pipeline {
    /// `constants` are the values of [`Kernel::constants`].
    pub(super) fn new(gpu: &Gpu, kernel: &Kernel, constants: &[u32]) -> Result<Self> {
        let device = &gpu.device;
        let entries = layout(kernel);
        let values = constants.iter().map(|&value| f64::from(value));
        let constants: Vec<_> = kernel.constants().map(|field| field.name).zip(values).collect();
        gpu.health.scoped(device, &format!("kernel {}", kernel.name), || {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(kernel.name),
                entries: &entries,
            });
            let whole = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(kernel.name),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
                source: wgpu::ShaderSource::Wgsl(kernel.shader().into()),
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: Some(&whole),
                module: &module,
                entry_point: Some(kernel.name),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    ..Default::default()
                },
                cache: None,
            });
            Self { layout, pipeline }
        })
    }
}

/// The bindings of a kernel, from its record.
fn layout(kernel: &Kernel) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = |read_only| BufferBindingType::Storage { read_only };
    let mut entries = vec![entry(0, storage(true))];
    if !kernel.params.is_empty() {
        entries.push(entry(1, BufferBindingType::Uniform));
    }
    if kernel.events {
        entries.push(entry(2, storage(true)));
    }
    let binds = kernel.binds.iter().map(|bind| storage(bind.access != Access::Write));
    entries.extend((3..).zip(binds).map(|(binding, ty)| entry(binding, ty)));
    entries
}

/// One kernel run, ready to be recorded.
struct Step {
    kernel: &'static Kernel,
    pipeline: Arc<Pipeline>,
    params: Option<Buffer>,
    grid: Grid,
    binds: Vec<usize>,
    /// For each place in flight.
    groups: Vec<BindGroup>,
}

/// A compiled plan.
pub(super) struct Program {
    pub(super) head_words: usize,
    pub(super) events_words: usize,
    pub(super) output: Option<usize>,
    steps: Vec<Step>,
}

impl Program {
    /// Compiles the kernels; `bind` must follow.
    pub(super) fn new(gpu: &Gpu, plan: &Plan) -> Result<Self> {
        Ok(Self {
            head_words: plan.head_words,
            events_words: plan.events_max * plan.stride,
            output: plan.output.map(|id| usize::from(id.0)),
            steps: plan.steps.iter().map(|step| Step::new(gpu, step)).collect::<Result<_>>()?,
        })
    }

    /// Makes the bind groups anew: of all steps, or of those that bind one buffer.
    pub(super) fn bind(
        &mut self,
        gpu: &Gpu,
        slots: usize,
        inputs: &Inputs,
        homes: &[Home],
        only: Option<usize>,
    ) -> Result<()> {
        let (head, events) = (self.head_words, self.events_words);
        for step in &mut self.steps {
            if only.is_some_and(|buffer| !step.binds.contains(&buffer)) {
                continue;
            }
            let name = step.kernel.name;
            step.groups = gpu.health.scoped(&gpu.device, &format!("bindings of {name}"), || {
                let inputs = |slot| (inputs.head(slot, head), inputs.events(slot, events));
                (0..slots).map(|slot| step.group(gpu, slot, inputs(slot), homes)).collect()
            })?;
        }
        Ok(())
    }

    /// Records the kernels of one replay, in one pass: each sees what the one before it wrote.
    pub(super) fn record(&self, slot: usize, head: &[u32], encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for step in &self.steps {
            let groups = match step.grid {
                // A header may be shorter than the plan said; what it does not say is nought.
                Grid::Head(word) => head.get(word).copied().unwrap_or(0),
                Grid::Groups(groups) => groups,
            };
            if groups == 0 {
                continue;
            }
            pass.set_pipeline(&step.pipeline.pipeline);
            pass.set_bind_group(0, &step.groups[slot], &[]);
            pass.dispatch_workgroups(groups.min(ROW_GROUPS), groups.div_ceil(ROW_GROUPS), 1);
        }
    }
}

impl Step {
    fn new(gpu: &Gpu, step: &PlanStep) -> Result<Self> {
        let mut params = None;
        if !step.params.is_empty() {
            let words = step.params.len();
            let buffer = gpu.buffer("parameters", words, BufferUsages::UNIFORM, true)?;
            let mut view =
                buffer.get_mapped_range_mut(..).map_err(|error| gpu.health.lose(error))?;
            view.copy_from_slice(bytemuck::cast_slice(&step.params));
            drop(view);
            buffer.unmap();
            params = Some(buffer);
        }
        let constants = step.kernel.constants().map(|field| step.params[field.offset / 4]);
        Ok(Self {
            kernel: step.kernel,
            pipeline: gpu.pipeline(step.kernel, constants.collect())?,
            params,
            grid: step.grid,
            binds: step.binds.iter().map(|id| usize::from(id.0)).collect(),
            groups: Vec::new(),
        })
    }

    fn group(
        &self,
        gpu: &Gpu,
        slot: usize,
        (head, events): (wgpu::BufferBinding<'_>, wgpu::BufferBinding<'_>),
        homes: &[Home],
    ) -> BindGroup {
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let mut entries = vec![entry(0, BindingResource::Buffer(head))];
        if let Some(params) = &self.params {
            entries.push(entry(1, params.as_entire_binding()));
        }
        if self.kernel.events {
            entries.push(entry(2, BindingResource::Buffer(events)));
        }
        let binds = self.binds.iter().map(|&buffer| homes[buffer].at(slot).as_entire_binding());
        entries.extend((3..).zip(binds).map(|(binding, resource)| entry(binding, resource)));
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.kernel.name),
            layout: &self.pipeline.layout,
            entries: &entries,
        })
    }
}
