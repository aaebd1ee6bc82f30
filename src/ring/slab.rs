//! Page-aligned, zeroed host memory that events are written into and that devices read from.
//!
//! The memory of a lane is the staging memory of the device: nothing copies an event between the producer's
//! store and the transfer. For that it must be whole pages that nothing else shares, so that a device can
//! page-lock it, and it must outlive every reader, so it is owned through `Arc`. It is always initialised:
//! an event is plain data, and whatever a slot held before is a valid event.

use crate::base::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a page, and the alignment of every slab.
pub const PAGE_BYTES: usize = 4096;

/// Zeroed words on whole pages of their own, shared through `Arc`.
pub struct Slab {
    /// The first page boundary in the allocation.
    base: NonNull<u32>,
    words: usize,
    allocation: NonNull<u8>,
    layout: Layout,
    /// What devices keep about the memory; gone before the memory is.
    guards: Mutex<Vec<Box<dyn Send>>>,
    #[cfg(loom)]
    cells: Vec<loom::cell::UnsafeCell<()>>,
}

// SAFETY: a slab is memory without a thread of its own. All access to the words goes through the unsafe
// methods below, whose callers promise that no word is written while another thread reads or writes it.
unsafe impl Send for Slab {}
// SAFETY: as for `Send`; the fields themselves never change after construction.
unsafe impl Sync for Slab {}

impl Slab {
    /// Memory for `words` words, all zero.
    ///
    /// # Errors
    /// `Invalid` for no words or more than the address space holds, `Unsupported` when the host is out of
    /// memory.
    pub fn new(words: usize) -> Result<Arc<Self>> {
        let layout = words
            .checked_mul(4)
            .filter(|&bytes| bytes > 0)
            .and_then(|bytes| bytes.checked_next_multiple_of(PAGE_BYTES))
            // The allocator hands out large zeroed blocks untouched, so that pages cost memory only once
            // they are used, but not when asked for page alignment: align by hand within one page more.
            .and_then(|bytes| bytes.checked_add(PAGE_BYTES))
            .and_then(|bytes| Layout::from_size_align(bytes, 16).ok())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "slab of {words} words: at least 1, and what memory can hold"
                ))
            })?;
        // SAFETY: the layout has a size greater than zero: at least two pages.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| {
            Error::unsupported(
                "host",
                format!("no memory for a slab of {} bytes: make the lane smaller", layout.size()),
            )
        })?;
        let skip = allocation.as_ptr().align_offset(PAGE_BYTES);
        assert!(skip < PAGE_BYTES, "a page boundary lies within one page");
        // SAFETY: `skip` is less than a page and the allocation is the rounded size plus one page.
        let base = unsafe { allocation.add(skip) }.cast::<u32>();
        Ok(Arc::new(Self {
            base,
            words,
            allocation,
            layout,
            guards: Mutex::default(),
            #[cfg(loom)]
            cells: (0..words).map(|_| loom::cell::UnsafeCell::new(())).collect(),
        }))
    }

    /// The first word, on a page boundary. What lies there may be read only under a lease.
    #[inline]
    pub fn as_ptr(&self) -> *const u32 {
        self.base.as_ptr()
    }

    /// Words of memory.
    #[inline]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Bytes from the first word to the end of the last page, for page-locking.
    #[inline]
    pub fn page_bytes(&self) -> usize {
        self.layout.size() - PAGE_BYTES
    }

    /// Keeps something, such as a device's registration of this memory, and drops it just before the memory is
    /// given back.
    pub fn hold(&self, guard: Box<dyn Send>) {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).push(guard);
    }

    /// The words `[at, at + len)`.
    ///
    /// # Safety
    /// Until the slice is gone, no thread writes these words.
    #[inline]
    pub(super) unsafe fn read(&self, at: usize, len: usize) -> &[u32] {
        assert!(at <= self.words && len <= self.words - at, "inside the slab");
        self.will_read(at, len);
        // SAFETY: in bounds (asserted), initialised (zeroed at birth, plain data since), aligned to a page
        // plus whole words; not written meanwhile (promised by the caller).
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(at), len) }
    }

    /// Where `len` words from `at` may be written, as a pointer, so that no reference outlives the moment
    /// in which a reader is let in.
    ///
    /// # Safety
    /// Writes through the pointer stay within the `len` words, and while they happen no other thread reads
    /// or writes them.
    #[inline]
    pub(super) unsafe fn write(&self, at: usize, len: usize) -> NonNull<u32> {
        assert!(at <= self.words && len <= self.words - at, "inside the slab");
        self.will_write(at, len);
        // SAFETY: in bounds, as asserted.
        unsafe { self.base.add(at) }
    }

    /// Tells the model that words are read now.
    #[inline]
    pub(super) fn will_read(&self, at: usize, len: usize) {
        #[cfg(loom)]
        self.cells[at..at + len].iter().for_each(|cell| cell.with(|_| ()));
        let _ = (at, len);
    }

    /// Tells the model that words are written now.
    #[inline]
    pub(super) fn will_write(&self, at: usize, len: usize) {
        #[cfg(loom)]
        self.cells[at..at + len].iter().for_each(|cell| cell.with_mut(|_| ()));
        let _ = (at, len);
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.guards.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        // SAFETY: allocated in `new` with this layout, freed once: nobody holds the `Arc` any more.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) };
    }
}

impl std::fmt::Debug for Slab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slab({} words at {:p})", self.words, self.base)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{PAGE_BYTES, Slab};
    use crate::Error;

    #[test]
    fn whole_zeroed_pages() {
        for words in [1, 3, 1023, 1024, 1025, 1 << 16] {
            let slab = Slab::new(words).unwrap();
            assert_eq!(slab.as_ptr().align_offset(PAGE_BYTES), 0);
            assert_eq!(slab.words(), words);
            assert!(slab.page_bytes() >= words * 4 && slab.page_bytes().is_multiple_of(PAGE_BYTES));
            // SAFETY: nobody writes.
            assert!(unsafe { slab.read(0, words) }.iter().all(|&word| word == 0));
        }
    }

    #[test]
    fn what_a_slab_holds_goes_with_it() {
        struct Guard(std::sync::mpsc::Sender<()>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.send(()).expect("somebody looks");
            }
        }
        let (sender, gone) = std::sync::mpsc::channel();
        let slab = Slab::new(16).unwrap();
        slab.hold(Box::new(Guard(sender.clone())));
        slab.hold(Box::new(Guard(sender)));
        assert!(gone.try_recv().is_err());
        drop(slab);
        assert_eq!(gone.iter().count(), 2);
    }

    #[test]
    fn absurd_sizes_are_errors() {
        assert!(matches!(Slab::new(0), Err(Error::Invalid(_))));
        assert!(matches!(Slab::new(usize::MAX / 2), Err(Error::Invalid(_))));
        assert!(matches!(Slab::new(usize::MAX / 4), Err(Error::Invalid(_))));
        assert!(matches!(Slab::new(1 << 56), Err(Error::Unsupported { .. })));
    }
}
