//! What a batch returns: host memory from a fixed pool, lent out and given back on drop.

use crate::base::pages::Pages;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Zeroed words on whole pages.
#[derive(Default)]
pub(super) struct Words {
    pages: Pages,
    len: usize,
}

impl Words {
    /// `None` when the memory cannot be had.
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        let mut words = Self::default();
        words.resize(len).then_some(words)
    }

    /// Keeps what fits, zeroes what is new; `false`, and nothing changed, when the memory cannot be had.
    pub(super) fn resize(&mut self, len: usize) -> bool {
        if !self.pages.grow(len) {
            return false;
        }
        // What is cut off is zeroed at once, so that it is zero when it comes back.
        if len < self.len {
            self.pages.words_mut()[len..self.len].fill(0);
        }
        self.len = len;
        true
    }

    pub(super) fn slice(&self) -> &[u32] {
        &self.pages.words()[..self.len]
    }

    pub(super) fn slice_mut(&mut self) -> &mut [u32] {
        &mut self.pages.words_mut()[..self.len]
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
        Some(Arc::new(Self { free: Mutex::new(free) }))
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
