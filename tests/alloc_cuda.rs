//! No allocation per batch after warm-up on CUDA, by graphs and in the latency mode.

mod cuda_host;
mod steady;

use cuda_host::driver::cuda;
use steady::Steady;

/// Batches are few and small, because a test that takes a minute is told about by a thread that allocates for it. A
/// graph is made for each launch size at each place in flight, and some of these come late.
#[test]
fn cuda_no_batch_allocates_once_warm() {
    let Some(device) = cuda("alloc_cuda::cuda_no_batch_allocates_once_warm") else { return };
    for latency_mode in [false, true] {
        let how = Steady { latency_mode, batch: 50, warm: 300, measured: 100, tries: 4 };
        steady::check(&device, how);
    }
}
