//! No allocation per batch after warm-up, on the processor and on the null device.

mod steady;

use pelton::Device;

#[test]
fn no_batch_allocates_once_warm() {
    steady::check(&Device::cpu(), false);
    steady::check(&Device::null(), false);
}
