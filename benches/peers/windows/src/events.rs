//! The events of every engine in this bench, as columns in memory.

use crate::peers::{Dist, peers_event};
use std::io;
use std::path::{Path, PathBuf};

/// Events of the window queries.
pub const EVENTS: usize = 20_000_000;

/// Events, a column for each field: times in milliseconds, keys, values.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    pub at: &'a [u64],
    pub key: &'a [u32],
    pub value: &'a [f32],
}

impl Columns<'_> {
    /// The events `[from, to)`.
    pub fn part(&self, from: usize, to: usize) -> Self {
        Self { at: &self.at[from..to], key: &self.key[from..to], value: &self.value[from..to] }
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Has the lines of sixteen events, from `from` on, fetched from memory, while something else is done.
    #[inline(always)]
    pub fn fetch(&self, from: usize) {
        #[cfg(target_arch = "x86_64")]
        if from + 8 < self.len() {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: all addresses lie inside the columns, and nothing happens to what is there.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(self.at.as_ptr().add(from).cast());
                _mm_prefetch::<_MM_HINT_T0>(self.at.as_ptr().add(from + 8).cast());
                _mm_prefetch::<_MM_HINT_T0>(self.key.as_ptr().add(from).cast());
                _mm_prefetch::<_MM_HINT_T0>(self.value.as_ptr().add(from).cast());
            }
        }
    }

    /// Writes one file for each column into a folder of its own.
    pub fn write(&self) -> io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("pelton-windows-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        let folder = Folder(path);
        std::fs::write(folder.0.join("at"), bytemuck::cast_slice(self.at))?;
        std::fs::write(folder.0.join("key"), bytemuck::cast_slice(self.key))?;
        std::fs::write(folder.0.join("value"), bytemuck::cast_slice(self.value))?;
        Ok(folder)
    }
}

/// What [`Columns`] are borrowed from.
#[derive(Debug, Default)]
pub struct Events {
    at: Vec<u64>,
    key: Vec<u32>,
    value: Vec<f32>,
}

impl Events {
    /// The first `n` events of this distribution.
    pub fn new(n: usize, dist: &Dist) -> Self {
        let mut events = Self::default();
        events.refill((0..n as u64).map(|i| peers_event(i, dist)));
        events
    }

    /// Replaces the events, keeping the memory.
    pub fn refill(&mut self, events: impl Iterator<Item = (u64, u32, f32)>) {
        self.at.clear();
        self.key.clear();
        self.value.clear();
        for (at, key, value) in events {
            self.at.push(at);
            self.key.push(key);
            self.value.push(value);
        }
    }

    pub fn columns(&self) -> Columns<'_> {
        Columns { at: &self.at, key: &self.key, value: &self.value }
    }
}

/// A folder that goes away with this.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
