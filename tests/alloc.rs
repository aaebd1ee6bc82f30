//! No allocation per batch after warm-up, on the processor and on the null device.

mod steady;

use pelton::Device;
use steady::Steady;

#[test]
fn no_batch_allocates_once_warm() {
    let how = Steady { latency_mode: false, batch: 1000, warm: 100, measured: 1000, tries: 3 };
    steady::check(&Device::cpu(), how);
    steady::check(&Device::null(), how);
}
