//! Zeroed memory of the host that grows without being copied, where the system can do that.
//!
//! State grows by half or to its double, again and again, to gigabytes. A copy each time costs more than what is done
//! with the memory, and needs twice of it for a moment; moving pages costs nothing. Pages that nobody has touched are
//! not there. Large memory is asked for in large pages, since keys and rows are met in no order.
//!
//! This file holds the calls to the system. Everywhere else than on Linux on x86-64 and AArch64, and with
//! `--cfg pelton_portable`, the allocator does what it can.

use std::ptr::NonNull;

/// Whole pages of zeroed words; none at first.
pub(crate) struct Pages {
    base: NonNull<u32>,
    bytes: usize,
}

// SAFETY: memory without a thread of its own, reached through references to this value only.
unsafe impl Send for Pages {}
// SAFETY: as for `Send`: a shared reference only reads.
unsafe impl Sync for Pages {}

/// Bytes that memory is a multiple of: a page nearly everywhere, and what a larger one is made of.
const PAGE: usize = 1 << 12;
/// A large page.
const LARGE: usize = 1 << 21;
/// From here on memory is made of large pages: what is read again and again as one misses the processor's table of
/// pages otherwise, and no more than half of it goes unused.
const LARGE_FROM: usize = LARGE / 2;

impl Pages {
    /// Makes it at least `words` long. What is there stays, what is new is zero; false, and nothing changed, when the
    /// memory cannot be had.
    pub(crate) fn grow(&mut self, words: usize) -> bool {
        let page = if words >= LARGE_FROM / 4 { LARGE } else { PAGE };
        let bytes = words.checked_mul(4).and_then(|bytes| bytes.checked_next_multiple_of(page));
        let Some(bytes) = bytes.filter(|&bytes| isize::try_from(bytes).is_ok()) else {
            return false;
        };
        if bytes <= self.bytes {
            return true;
        }
        let base = match self.bytes {
            0 => system::map(bytes),
            // SAFETY: so many bytes were mapped there, by this value alone, and no reference to them lives.
            old => unsafe { system::remap(self.base.cast(), old, bytes) },
        };
        let Some(base) = base else { return false };
        (self.base, self.bytes) = (base.cast(), bytes);
        true
    }

    /// All words that are there.
    pub(crate) fn words(&self) -> &[u32] {
        // SAFETY: so many bytes are mapped there, aligned to a page, zero at first and plain words since; a dangling
        // pointer, aligned as words are, stands for none.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes / 4) }
    }

    /// All words that are there, to write to.
    pub(crate) fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as for `words`, and `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes / 4) }
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self { base: NonNull::dangling(), bytes: 0 }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: mapped by this value alone and not used any more.
            unsafe { system::unmap(self.base.cast(), self.bytes) };
        }
    }
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, pelton_portable))
))]
mod system {
    use super::LARGE;
    use std::ffi::{c_int, c_void};
    use std::ptr::{NonNull, null_mut};

    // Four calls of the C library that every program of ours is linked with, and the kernel's numbers for these two
    // architectures (`mman-common.h`): a package of bindings would take longer to build than all of `base`.
    const PROT_READ_WRITE: c_int = 1 | 2;
    const MAP_PRIVATE_ANONYMOUS: c_int = 0x02 | 0x20;
    const MREMAP_MAYMOVE: c_int = 1;
    const MADV_HUGEPAGE: c_int = 14;
    unsafe extern "C" {
        fn mmap(
            at: *mut c_void,
            len: usize,
            access: c_int,
            flags: c_int,
            file: c_int,
            offset: i64,
        ) -> *mut c_void;
        fn mremap(at: *mut c_void, old: usize, new: usize, flags: c_int, ...) -> *mut c_void;
        fn munmap(at: *mut c_void, len: usize) -> c_int;
        fn madvise(at: *mut c_void, len: usize, advice: c_int) -> c_int;
    }

    /// Zeroed memory; what is large begins where a large page may.
    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        let over = if bytes >= LARGE { LARGE } else { 0 };
        let all = bytes.checked_add(over)?;
        // SAFETY: asks for fresh memory at an address of the system's choice.
        let at = unsafe { mmap(null_mut(), all, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };
        if over == 0 || at.addr() == usize::MAX {
            return found(at, bytes);
        }
        let before = at.addr().next_multiple_of(LARGE) - at.addr();
        // SAFETY: gives back what lies before and behind the part that is kept, whole pages that nothing refers to.
        unsafe {
            let kept = at.byte_add(before);
            if before > 0 {
                munmap(at, before);
            }
            if over > before {
                munmap(kept.byte_add(bytes), over - before);
            }
            found(kept, bytes)
        }
    }

    /// The same memory, longer, perhaps elsewhere.
    ///
    /// # Safety
    /// `old` bytes are mapped at `at`, and nothing refers to them.
    pub(super) unsafe fn remap(at: NonNull<u8>, old: usize, new: usize) -> Option<NonNull<u8>> {
        // SAFETY: as promised; on failure everything stays as it is.
        let at = unsafe { mremap(at.as_ptr().cast(), old, new, MREMAP_MAYMOVE) };
        found(at, new)
    }

    /// # Safety
    /// `bytes` bytes are mapped at `at` and not used any more.
    pub(super) unsafe fn unmap(at: NonNull<u8>, bytes: usize) {
        // SAFETY: as promised.
        unsafe { munmap(at.as_ptr().cast(), bytes) };
    }

    fn found(at: *mut c_void, bytes: usize) -> Option<NonNull<u8>> {
        // What stands for no memory is the last address.
        if at.addr() == usize::MAX {
            return None;
        }
        if bytes >= LARGE {
            // SAFETY: advice about memory of our own; whether it is taken makes no difference to what is read.
            unsafe { madvise(at, bytes, MADV_HUGEPAGE) };
        }
        NonNull::new(at.cast())
    }
}

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(miri, pelton_portable))
)))]
mod system {
    use super::PAGE;
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    /// Cache lines are what wide loads need; memory aligned to pages would be zeroed by hand.
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 64)
            .expect("checked by `grow`: whole pages within the address space")
    }

    /// Zeroed memory.
    pub(super) fn map(bytes: usize) -> Option<NonNull<u8>> {
        assert!(bytes >= PAGE);
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(layout(bytes)) })
    }

    /// The same memory, longer, elsewhere.
    ///
    /// # Safety
    /// `old` bytes were allocated at `at`, and nothing refers to them.
    pub(super) unsafe fn remap(at: NonNull<u8>, old: usize, new: usize) -> Option<NonNull<u8>> {
        let to = map(new)?;
        // SAFETY: two allocations, each at least `old` bytes; the first is not used any more.
        unsafe {
            to.copy_from_nonoverlapping(at, old);
            unmap(at, old);
        }
        Some(to)
    }

    /// # Safety
    /// `bytes` bytes were allocated at `at` and are not used any more.
    pub(super) unsafe fn unmap(at: NonNull<u8>, bytes: usize) {
        // SAFETY: as promised, with the layout of `map`.
        unsafe { dealloc(at.as_ptr(), layout(bytes)) };
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn what_is_there_stays_and_what_is_new_is_zero() {
        let mut pages = Pages::default();
        assert!(pages.words().is_empty());
        let mut had = 0;
        // Past the size from which large pages are asked for.
        for words in [1, 1024, 1025, 5000, 1 << 16, (1 << 20) + 1, 3 << 20] {
            assert!(pages.grow(words));
            let all = pages.words_mut();
            assert!(all.len() >= words && all.as_ptr().addr().is_multiple_of(64));
            assert!(all[..had].iter().zip(1..).all(|(&word, want)| word == want), "{words}");
            assert!(all[had..].iter().all(|&word| word == 0), "{words}");
            all.iter_mut().zip(1..).for_each(|(word, number)| *word = number);
            had = all.len();
        }
        assert!(pages.grow(1), "it never shrinks");
        assert_eq!(pages.words().len(), had);
    }

    #[test]
    fn memory_that_cannot_be_had_changes_nothing() {
        let mut pages = Pages::default();
        assert!(!pages.grow(usize::MAX) && !pages.grow(usize::MAX / 4) && !pages.grow(1 << 56));
        assert!(pages.grow(10));
        pages.words_mut()[9] = 7;
        assert!(!pages.grow(1 << 56));
        assert_eq!(pages.words()[9], 7);
    }
}
