//! Loops in plain Rust, compiled once more for each width of vectors and run at the widest that the processor has.
//!
//! The same operations in the same order everywhere, so the same results: nothing is fused or reordered, only done side
//! by side. What is generic over [`Wide`] must be inlined to be compiled for the width: `#[inline(always)]` all the
//! way. Iterators of slices are; `map` of arrays and their own iterators may not be.

#[cfg(not(target_arch = "aarch64"))]
use std::sync::OnceLock;

/// Vectors of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectors {
    #[cfg(not(target_arch = "aarch64"))]
    Plain,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The widest vectors that there are: any processor of the kind has NEON.
#[cfg(target_arch = "aarch64")]
pub(super) fn vectors() -> Vectors {
    Vectors::Neon
}

/// The widest vectors that there are, and where the tier of AVX2 is asked for no wider ones.
#[cfg(not(target_arch = "aarch64"))]
pub(super) fn vectors() -> Vectors {
    static VECTORS: OnceLock<Vectors> = OnceLock::new();
    *VECTORS.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            #[cfg(feature = "model")]
            let narrow = super::tier::is_asked(super::tier::Tier::Avx2);
            #[cfg(not(feature = "model"))]
            let narrow = false;
            if super::available() && !narrow {
                return Vectors::Avx512;
            }
            if avx2_is_there() {
                return Vectors::Avx2;
            }
        }
        Vectors::Plain
    })
}

/// Whether the processor has AVX2, and FMA with it.
#[cfg(target_arch = "x86_64")]
pub(super) fn avx2_is_there() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Work to be run at the widest.
pub(in crate::ops) trait Wide: Sized {
    /// The work.
    fn run(self);

    /// The work with instructions of NEON, where it is more than a compiler's matter.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    fn run_neon(self) {
        self.run();
    }

    /// The work with instructions of AVX2, where it is more than a compiler's matter.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn run_avx2(self) {
        self.run();
    }

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
    match vectors() {
        #[cfg(not(target_arch = "aarch64"))]
        Vectors::Plain => work.run(),
        #[cfg(target_arch = "aarch64")]
        Vectors::Neon => work.run_neon(),
        // SAFETY: the processor has the vectors that are chosen.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => unsafe { avx2(work) },
        // SAFETY: as before.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => unsafe { avx512(work) },
    }
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
/// The processor has the features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(work: impl Wide) {
    // SAFETY: as promised.
    unsafe { work.run_avx2() }
}
