//! Kernels by themselves: twins against each other and by hand, shaders and the headers of CUDA.

#[path = "../cuda_host/mod.rs"]
mod cuda_host;
#[path = "../hand/mod.rs"]
mod hand;
#[path = "../kernels/mod.rs"]
mod kernels;
#[path = "../windows/mod.rs"]
mod windows;

mod cuda_kernels;
mod custom_kernel;
mod parity_filter;
mod parity_group;
mod parity_kernels;
mod parity_scores;
#[cfg(feature = "wgpu")]
mod shaders;
