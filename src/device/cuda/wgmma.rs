//! Steps that another kernel of the image runs on compute capability 9.0: products at low precision, by its units for
//! matrices in shared memory (`kernels/gemm_wgmma.cu`).
//!
//! What decides is the card and the step, never a batch: a row's sums do not depend on its neighbours.

use super::stream::{Function, Module};
use crate::base::error::Result;
use crate::plan::Step;

/// Bytes of a block's shared memory: `Room` in the kernel's source, which holds it to them.
const SHARED_BYTES: u32 = 164 << 10;

/// The kernel, on a card that runs it: one block finds room on each of so many multiprocessors.
pub(super) fn find(
    module: &Module,
    capability: (i32, i32),
    multiprocessors: u32,
) -> Result<Option<Function>> {
    match capability {
        (9, 0) => {
            let function = module.function_in("gemm_wgmma", SHARED_BYTES)?;
            Ok(Some(function.of_blocks(multiprocessors)))
        }
        _ => Ok(None),
    }
}

/// Whether it runs this step: a linear layer and its activation, not in F32.
pub(super) fn runs(step: &Step) -> bool {
    let dtype = step.kernel.params.iter().position(|field| field.name == "dtype");
    let low = dtype.and_then(|at| step.params.get(at)).is_some_and(|dtype| *dtype != 0);
    step.kernel.name == "gemm" && low
}
