//! A user's own kernel, that of the example `custom_kernel`: every device counts what plain Rust counts, and what is
//! wrong with a source is said.
//!
//! On CUDA the source goes through the run-time compiler: NVIDIA's where the loader finds it, else a stand-in for it,
//! which the stand-in driver goes with.

#[path = "../../examples/custom_kernel/kernel.rs"]
mod kernel;

use crate::cuda_host;
use crate::cuda_host::driver::{cuda, has_compiler, is_real};
use kernel::{BUCKETS, Counter, POWERS, Request, requests};
use pelton::plan::Kernel;
use pelton::{Device, Error};

const ENDPOINTS: u32 = 3;

/// What the counts are to be, one request at a time.
fn naive(requests: &[Request]) -> Vec<u32> {
    let mut counts = vec![0; ENDPOINTS as usize * POWERS + 1];
    for request in requests {
        let power = (0..31).rev().find(|power| request.micros >> power != 0).unwrap_or(0);
        match request.endpoint {
            endpoint @ 0..ENDPOINTS => counts[endpoint as usize * POWERS + power] += 1,
            _ => counts[ENDPOINTS as usize * POWERS] += 1,
        }
    }
    counts
}

/// Batches of many sizes, and values at every edge.
fn counts_right(device: &Device) {
    let mut counter = Counter::new(device, ENDPOINTS).expect("the device takes the kernel");
    let mut all = Vec::new();
    for size in [0, 1, 255, 256, 257, 5000, 40_000] {
        let mut some = requests(size, ENDPOINTS);
        for (request, micros) in some.iter_mut().zip([0, 1, 2, 3, 4, (1 << 31) - 1]) {
            request.micros = micros;
        }
        counter.count(&some).expect("the device works");
        all.extend(some);
        assert_eq!(counter.counts().expect("the device works"), naive(&all), "{size}");
    }
}

#[test]
fn the_processor_counts_right() {
    counts_right(&Device::cpu());
}

#[test]
fn wgsl_counts_right() {
    match Device::named("wgpu:llvmpipe") {
        Ok(device) => counts_right(&device),
        Err(error) => cuda_host::skip("custom_kernel::wgsl_counts_right", &error.to_string()),
    }
}

#[test]
fn cuda_counts_right() {
    let Some(device) = cuda("custom_kernel::cuda_counts_right") else { return };
    let real = has_compiler();
    if !cfg!(feature = "nvrtc") {
        let error = Counter::new(&device, ENDPOINTS).err().expect("it is left out").to_string();
        assert!(error.contains("buckets") && error.contains("feature `nvrtc`"), "{error}");
        return;
    }
    if is_real() && !real {
        return cuda_host::skip("custom_kernel::cuda_counts_right", "no NVRTC here");
    }
    counts_right(&device);
    // A second time it is there already.
    counts_right(&device);
}

/// A kernel with the record of the example under another name.
fn renamed(name: &'static str) -> &'static Kernel {
    let Kernel { params, events, binds, wgsl, cpu, .. } = BUCKETS;
    Box::leak(Box::new(Kernel { name, params, events, binds, wgsl, cpu }))
}

#[test]
fn cuda_sources_that_do_not_fit_are_refused() {
    let Some(device) = cuda("custom_kernel::cuda_sources_that_do_not_fit_are_refused") else {
        return;
    };
    if !cfg!(feature = "nvrtc") || is_real() {
        return;
    }
    let real = has_compiler();
    let refused = |name: &'static str, source: &str| {
        // SAFETY: none of these comes to run.
        match unsafe { device.add_kernel(renamed(name), source) } {
            Err(Error::Invalid(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    // SAFETY: as in the example; it does not come to run.
    unsafe { device.add_kernel(&BUCKETS, kernel::CUDA) }.expect("a good one");
    let Kernel { name, params, events, wgsl, cpu, .. } = BUCKETS;
    let other = Box::leak(Box::new(Kernel { name, params, events, binds: &[], wgsl, cpu }));
    // SAFETY: it does not come to run.
    let error = unsafe { device.add_kernel(other, kernel::CUDA) }.expect_err("another record");
    assert!(error.to_string().contains("takes other arguments"), "{error}");
    let what = refused("broken", "#error not yet\n");
    assert!(what.contains("broken") && what.contains("#error"), "{what}");
    let what = refused("fold", kernel::CUDA);
    assert!(what.contains("fold") && what.contains("choose another"), "{what}");
    assert!(refused("zero_byte", "int x;\0").contains("zero byte"));
    if real {
        let of = |arguments: &str| {
            format!(
                "#include \"prelude.cuh\"\nextern \"C\" __global__ void other({arguments}) {{}}"
            )
        };
        let what = refused("other", &of("pelton::Head, uint4, pelton::Events"));
        assert!(what.contains("4 arguments"), "{what}");
        let what = refused("other", &of("pelton::Head, int, pelton::Events, pelton::Words"));
        assert!(what.contains("argument 1 of other has 16 bytes"), "{what}");
        let what = refused("missing", kernel::CUDA);
        assert!(what.contains("missing"), "{what}");
    }
}

/// Other devices have what they need in the record, and say nothing.
#[test]
fn devices_without_cuda_take_any_source() {
    // SAFETY: nothing is done with it.
    assert_eq!(unsafe { Device::cpu().add_kernel(&BUCKETS, "#error") }, Ok(()));
}
