//! Loops in plain Rust, compiled once more for each width of vectors and run at the widest that the processor has.
//!
//! The same operations in the same order everywhere, so the same results: nothing is fused or reordered, only done side
//! by side. What is generic over [`Wide`] must be inlined to be compiled for the width: `#[inline(always)]` all the
//! way. Iterators of slices are; `map` of arrays and their own iterators may not be.

/// Work to be run at the widest.
pub(in crate::ops) trait Wide: Sized {
    /// The work.
    fn run(self);

    /// The work with instructions of AVX-512, where it is more than a compiler's matter.
    ///
    /// # Safety
    /// The processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx512(self) {
        self.run();
    }
}

/// Runs it.
pub(in crate::ops) fn wide(work: impl Wide) {
    #[cfg(target_arch = "x86_64")]
    {
        if super::available() {
            // SAFETY: the processor has these features.
            return unsafe { avx512(work) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return unsafe { avx2(work) };
        }
    }
    work.run();
}

/// # Safety
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn avx512(work: impl Wide) {
    // SAFETY: as promised.
    unsafe { work.run_avx512() }
}

/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(work: impl Wide) {
    work.run();
}
