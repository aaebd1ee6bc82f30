//! Streams through whole pipelines: windows, filters, keys and their pages, faults and moves, on every device.

#[path = "../cuda_host/mod.rs"]
mod cuda_host;
#[path = "../engine/mod.rs"]
mod engine;
#[path = "../kernels/mod.rs"]
mod kernels;
#[path = "../spec/mod.rs"]
mod spec;

mod batching;
mod device;
mod faults;
mod key_pages;
mod pages;
mod pipeline_spec;
mod placement;
mod spec_filter;
mod spec_streams;
mod spec_windows;
mod wakes;
mod windows_cuda;
mod windows_cuda_orders;
mod windows_spec;
mod windows_wgsl;
