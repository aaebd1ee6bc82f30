//! A queue's buffers: State and Scratch, outputs with their way back, and the inputs of each batch in flight.
//!
//! Everything is made when it is declared. Nothing here allocates per batch: each place in flight owns a
//! mapped upload buffer, a device copy of it, and for each output a device buffer and a mapped way back.

use super::Gpu;
use crate::base::error::Result;
use crate::device::QueueOptions;
use crate::device::output::Pool;
use crate::plan::{BufferDecl, Role};
use std::sync::Arc;
use wgpu::{Buffer, BufferUsages};

/// Words that go to or come from a buffer at a time.
pub(super) const PIECE: usize = 8 << 20;

/// Bytes at which a binding may start, on every adapter.
const ALIGN: u64 = 256;
/// Bytes between the header and the events that are cheaper to copy than to leave out.
const GAP: u64 = 4096;

pub(super) const DEVICE: BufferUsages =
    BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);
const UPLOAD: BufferUsages = BufferUsages::MAP_WRITE.union(BufferUsages::COPY_SRC);
pub(super) const BACK: BufferUsages = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);

/// Bytes of this many words, of one at least: no driver takes an empty buffer.
pub(super) fn bytes(words: usize) -> u64 {
    words.max(1) as u64 * 4
}

impl Gpu {
    /// Makes a zeroed buffer; `mapped` ones are there to be written at once.
    pub(super) fn buffer(
        &self,
        name: &str,
        words: usize,
        usage: BufferUsages,
        mapped: bool,
    ) -> Result<Buffer> {
        let size = bytes(words);
        if words > self.caps.bind_words_max {
            return Err(self.health.unsupported(format!(
                "{name} needs {} MiB, a binding spans at most {} MiB here \
                 (max_storage_buffer_binding_size); lower the limits",
                size >> 20,
                self.caps.bind_words_max >> 18,
            )));
        }
        let what = format!("{name}, {} KiB", size.div_ceil(1024));
        self.health.scoped(&self.device, &what, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(name),
                size,
                usage,
                mapped_at_creation: mapped,
            })
        })
    }
}

impl Gpu {
    /// Writes words into a buffer, behind everything submitted.
    pub(super) fn fill(&self, name: &str, to: &Buffer, at: usize, words: &[u32]) -> Result<()> {
        for (piece, at) in words.chunks(PIECE).zip((at..).step_by(PIECE)) {
            // Rare and not on the hot path, so the driver library's own staging will do; submitting at once
            // keeps it from piling up.
            self.health.scoped(&self.device, name, || {
                self.queue.write_buffer(to, at as u64 * 4, bytemuck::cast_slice(piece));
                self.queue.submit([]);
            })?;
        }
        self.health.check()
    }
}

/// Where a declared buffer lives.
pub(super) enum Home {
    /// One buffer, for all batches.
    Store { name: &'static str, words: usize, buffer: Buffer },
    /// Words that other queues read, too.
    Shared { buffer: Buffer },
    /// One for each place in flight, and the host's own.
    Outlet {
        /// Words that come back with the batch.
        eager: usize,
        device: Vec<Buffer>,
        back: Vec<Buffer>,
        /// The way back of the words beyond those, when there are some: of one batch at a time, the oldest.
        rest: Option<Buffer>,
        pool: Arc<Pool>,
    },
}

impl Home {
    pub(super) fn new(gpu: &Gpu, options: QueueOptions, decl: &BufferDecl) -> Result<Self> {
        let BufferDecl { name, role, words } = *decl;
        let Role::Output { eager } = role else {
            return Ok(Self::Store {
                name,
                words,
                buffer: gpu.buffer(name, words, DEVICE, false)?,
            });
        };
        // Word 0 always comes back: it says how much there is.
        let words = words.max(1);
        let eager = eager.clamp(1, words);
        let all = |words, usage| -> Result<Vec<Buffer>> {
            (0..options.in_flight).map(|_| gpu.buffer(name, words, usage, false)).collect()
        };
        let (device, back) = (all(words, DEVICE)?, all(eager, BACK)?);
        let rest = match words - eager {
            0 => None,
            more => Some(gpu.buffer(name, more, BACK, false)?),
        };
        let pool = Pool::new(options.outputs, words).ok_or_else(|| {
            gpu.health.unsupported(format!("out of memory on the host: {name}; lower the limits"))
        })?;
        Ok(Self::Outlet { eager, device, back, rest, pool })
    }

    /// What a kernel of the batch at this place binds.
    pub(super) fn at(&self, slot: usize) -> &Buffer {
        match self {
            Self::Store { buffer, .. } | Self::Shared { buffer } => buffer,
            Self::Outlet { device, .. } => &device[slot],
        }
    }
}

/// A State or Scratch buffer of another size, and the copy that fills it.
pub(super) fn regrow(
    gpu: &Gpu,
    name: &str,
    old: &Buffer,
    words: usize,
    encoder: &mut wgpu::CommandEncoder,
) -> Result<Buffer> {
    let new = gpu.buffer(name, words, DEVICE, false)?;
    encoder.copy_buffer_to_buffer(old, 0, &new, 0, old.size().min(new.size()));
    Ok(new)
}

/// The way of headers and events to the device, one buffer pair for each place in flight: the header at 0,
/// the events behind it at `head`.
#[derive(Default)]
pub(super) struct Inputs {
    /// Bytes set aside for the header, and for the events.
    head: u64,
    events: u64,
    upload: Vec<Buffer>,
    device: Vec<Buffer>,
}

impl Inputs {
    /// Whether a program with so long a header and so many events fits.
    pub(super) fn fits(&self, head_words: usize, events_words: usize) -> bool {
        !self.upload.is_empty()
            && bytes(head_words) <= self.head
            && bytes(events_words) <= self.events
    }

    /// Inputs that this program fits too. No batch may be in flight.
    pub(super) fn grown(
        &self,
        gpu: &Gpu,
        slots: usize,
        head_words: usize,
        events_words: usize,
    ) -> Result<Self> {
        let head = bytes(head_words).next_multiple_of(ALIGN).max(self.head);
        let events = bytes(events_words).next_multiple_of(ALIGN).max(self.events);
        let words = usize::try_from((head + events) / 4).unwrap_or(usize::MAX);
        let all = |usage, mapped| -> Result<Vec<Buffer>> {
            let name = "the header and events of a batch";
            (0..slots).map(|_| gpu.buffer(name, words, usage, mapped)).collect()
        };
        Ok(Self { head, events, upload: all(UPLOAD, true)?, device: all(DEVICE, false)? })
    }

    pub(super) fn upload(&self, slot: usize) -> &Buffer {
        &self.upload[slot]
    }

    /// The header's binding.
    pub(super) fn head(&self, slot: usize, words: usize) -> wgpu::BufferBinding<'_> {
        let size = wgpu::BufferSize::new(bytes(words));
        wgpu::BufferBinding { buffer: &self.device[slot], offset: 0, size }
    }

    /// The events' binding.
    pub(super) fn events(&self, slot: usize, words: usize) -> wgpu::BufferBinding<'_> {
        let size = wgpu::BufferSize::new(bytes(words));
        wgpu::BufferBinding { buffer: &self.device[slot], offset: self.head, size }
    }

    /// Writes a batch into its mapped upload buffer, the one copy on its way; returns the bytes of events.
    pub(super) fn fill<'a>(
        &self,
        slot: usize,
        head: &[u32],
        events: impl Iterator<Item = &'a [u32]>,
    ) -> std::result::Result<u64, wgpu::MapRangeError> {
        let mut view = self.upload[slot].get_mapped_range_mut(..)?;
        let header: &[u8] = bytemuck::cast_slice(head);
        view.slice(..header.len()).copy_from_slice(header);
        let start = usize::try_from(self.head).unwrap_or(usize::MAX);
        let mut end = start;
        for range in events {
            let range: &[u8] = bytemuck::cast_slice(range);
            view.slice(end..end + range.len()).copy_from_slice(range);
            end += range.len();
        }
        drop(view);
        self.upload[slot].unmap();
        Ok((end - start) as u64)
    }

    /// Records the copy to the device: in one go, unless that would carry a large unused part of the header.
    pub(super) fn copy(
        &self,
        slot: usize,
        head_bytes: u64,
        events_bytes: u64,
        encoder: &mut wgpu::CommandEncoder,
    ) {
        let (from, to) = (&self.upload[slot], &self.device[slot]);
        if events_bytes > 0 && self.head - head_bytes <= GAP {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, self.head + events_bytes);
            return;
        }
        if head_bytes > 0 {
            encoder.copy_buffer_to_buffer(from, 0, to, 0, head_bytes);
        }
        if events_bytes > 0 {
            encoder.copy_buffer_to_buffer(from, self.head, to, self.head, events_bytes);
        }
    }
}
