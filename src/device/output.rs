//! What a batch returns: host memory from a fixed pool, lent out and given back on drop.

#[cfg(feature = "cuda")]
use super::cuda::Pinned;
use crate::base::pages::Pages;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Words of the host that results live in.
#[derive(Default)]
pub(super) struct Words {
    memory: Held,
    len: usize,
}

/// Whose memory it is.
enum Held {
    /// The process's own, on whole pages.
    Own(Pages),
    /// What a CUDA device writes in place.
    #[cfg(feature = "cuda")]
    Pinned(Pinned),
}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Pages::default())
    }
}

impl Words {
    /// Zeroed memory of our own; `None` when it cannot be had.
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        let mut words = Self::default();
        words.resize(len).then_some(words)
    }

    /// Keeps what fits, zeroes what is new; `false`, and nothing changed, when the memory cannot be had.
    pub(super) fn resize(&mut self, len: usize) -> bool {
        #[allow(irrefutable_let_patterns, reason = "without CUDA all memory is our own")]
        let Held::Own(held) = &mut self.memory else {
            return false;
        };
        if !held.grow(len) {
            return false;
        }
        // What is cut off is zeroed at once, so that it is zero when it comes back.
        if len < self.len {
            held.words_mut()[len..self.len].fill(0);
        }
        self.len = len;
        true
    }

    pub(super) fn slice(&self) -> &[u32] {
        let all = match &self.memory {
            Held::Own(pages) => pages.words(),
            #[cfg(feature = "cuda")]
            Held::Pinned(pinned) => pinned.slice(),
        };
        &all[..self.len]
    }

    pub(super) fn slice_mut(&mut self) -> &mut [u32] {
        let all = match &mut self.memory {
            Held::Own(pages) => pages.words_mut(),
            #[cfg(feature = "cuda")]
            Held::Pinned(pinned) => pinned.slice_mut(),
        };
        &mut all[..self.len]
    }

    /// Where the device finds them; 0 for memory that it does not reach.
    #[cfg(feature = "cuda")]
    pub(super) fn address(&self) -> u64 {
        match &self.memory {
            Held::Own(_) => 0,
            Held::Pinned(pinned) => pinned.address(0),
        }
    }
}

#[cfg(feature = "cuda")]
impl From<Pinned> for Words {
    fn from(pinned: Pinned) -> Self {
        let len = pinned.slice().len();
        Self { memory: Held::Pinned(pinned), len }
    }
}

/// A fixed number of equal buffers.
pub(super) struct Pool {
    free: Mutex<Vec<Words>>,
}

impl Pool {
    /// `None` when the memory cannot be had.
    pub(super) fn new(count: usize, words: usize) -> Option<Arc<Self>> {
        let free = (0..count).map(|_| Words::zeroed(words)).collect::<Option<Vec<_>>>()?;
        Some(Self::of(free))
    }

    /// Of these buffers.
    pub(super) fn of(free: Vec<Words>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(free) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes a buffer; what it held before is still in it.
    pub(super) fn take(&self) -> Option<Words> {
        self.lock().pop()
    }

    pub(super) fn put(&self, words: Words) {
        self.lock().push(words);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Words>> {
        // A push or pop cannot leave the list half done, so a poisoned lock is still a good list.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The used words of a batch's output buffer. Its memory returns to the queue when this is dropped; until
/// then it counts against `QueueOptions::outputs`.
pub struct Output {
    words: Words,
    used: usize,
    home: Arc<Pool>,
}

impl Output {
    pub(super) fn new(words: Words, used: usize, home: Arc<Pool>) -> Self {
        let used = used.min(words.len);
        Self { words, used, home }
    }
}

impl Deref for Output {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        &self.words.slice()[..self.used]
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.words));
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} words)", self.used)
    }
}
