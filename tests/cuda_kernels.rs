//! The CUDA kernels without a GPU: compiled for the host, they do what the processor does, whatever order their
//! threads take, and what is wrong with a kernel is found.

mod cuda_host;

use cuda_host::shim::{Arg, Launch, Shim};
use cuda_host::{KERNELS, skip};
use pelton::ops;

/// The crate's kernels, or a line in the list of what was not run.
fn kernels(test: &str) -> Option<Shim> {
    let shim = Shim::open(&KERNELS);
    if shim.is_none() {
        skip(test, "no C++ compiler");
    }
    shim
}

#[test]
fn the_table_of_kernels_is_that_of_the_operators() {
    let Some(shim) = kernels("the_table_of_kernels_is_that_of_the_operators") else { return };
    let of = |kernel: &&pelton::plan::Kernel| {
        let mut sizes = vec![16];
        if !kernel.params.is_empty() {
            sizes.push(u32::try_from(4 * kernel.params.len()).expect("small"));
        }
        sizes.extend(vec![16; usize::from(kernel.events) + kernel.binds.len()]);
        (kernel.name.to_owned(), sizes)
    };
    assert_eq!(shim.kernels(), ops::KERNELS.iter().map(of).collect::<Vec<_>>());
}
#[test]
fn zero() {
    let shim = kernels("zero").unwrap();
    let mut words = vec![7; 1024];
    shim.launch(
        "zero",
        Launch::of(1, 1),
        &mut [Arg::Read(&[0; 4]), Arg::Value(&[9, 0, 0, 0]), Arg::Write(&mut words)],
    )
    .unwrap();
    assert_eq!(words[..9], [0; 9]);
    assert_eq!(words[9], 7);
}
