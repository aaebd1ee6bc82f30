//! No allocation per batch after warm-up on CUDA, by graphs and in the latency mode.

mod cuda_host;
mod steady;

use cuda_host::driver::cuda;

#[test]
fn cuda_no_batch_allocates_once_warm() {
    let Some(device) = cuda("alloc_cuda::cuda_no_batch_allocates_once_warm") else { return };
    steady::check(&device, false);
    steady::check(&device, true);
}
