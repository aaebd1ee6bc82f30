//! Event time in ticks, and windows as runs of slices.
//!
//! A tick is whatever the events count in: nanoseconds, milliseconds, sequence numbers. Windows align to
//! tick 0. A window is `n = size / slide` consecutive slices of `slide` ticks and is named by its **last**
//! slice, so that the windows at the beginning of time (which start before tick 0) need no negative numbers.
//! All arithmetic is exact over the whole of `u64`: comparisons are made between slice numbers, never
//! between window ends, which would overflow near the top.

use super::error::{Error, Result};
use super::limits::WINDOW_SLICES_MAX;

/// A point in event time.
pub type Ticks = u64;

/// The shape of tumbling (`slide == size`) or hopping windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    size: u64,
    slide: u64,
}

impl Shape {
    /// Windows of `size` ticks, one every `slide` ticks.
    ///
    /// # Errors
    /// `Invalid` unless `0 < slide <= size`, `slide` divides `size`, there are at most 65,536 slices in a
    /// window, and a hopping slide has at least two ticks (so that slice numbers plus `n` fit a `u64`).
    pub fn new(size: u64, slide: u64) -> Result<Self> {
        if size == 0 || slide == 0 {
            return Err(Error::invalid("window size and slide: at least one tick each"));
        }
        if slide > size || !size.is_multiple_of(slide) {
            return Err(Error::invalid(format!(
                "window slide {slide}: it must divide the size {size}, so that windows share whole slices"
            )));
        }
        if size / slide > WINDOW_SLICES_MAX {
            return Err(Error::invalid(format!(
                "window slide {slide}: at most {WINDOW_SLICES_MAX} slides in a size, this has {}",
                size / slide
            )));
        }
        if slide == 1 && size > 1 {
            return Err(Error::invalid(
                "window slide 1: hopping windows need a slide of two ticks or more",
            ));
        }
        Ok(Self { size, slide })
    }

    /// Ticks in a window.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Ticks in a slice.
    pub const fn slide(self) -> u64 {
        self.slide
    }

    /// Slices in a window.
    pub const fn slices(self) -> u64 {
        self.size / self.slide
    }

    /// The slice that holds tick `t`.
    #[inline]
    pub const fn slice_of(self, t: Ticks) -> u64 {
        t / self.slide
    }

    /// The first tick of a slice.
    #[inline]
    pub const fn slice_start(self, slice: u64) -> Ticks {
        slice.saturating_mul(self.slide)
    }

    /// Slices, and so windows, that have ended at or before tick `t`: all below this number.
    #[inline]
    pub const fn ended(self, t: Ticks) -> u64 {
        t / self.slide
    }

    /// First tick of the window whose last slice is `last`; windows do not start before tick 0.
    pub const fn window_start(self, last: u64) -> Ticks {
        self.slice_start(last.saturating_sub(self.slices() - 1))
    }

    /// The tick after the window whose last slice is `last`, at most `u64::MAX`.
    pub const fn window_end(self, last: u64) -> Ticks {
        last.saturating_add(1).saturating_mul(self.slide)
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn tumbling_windows_cover_all_of_time() {
        let w = Shape::new(10, 10).unwrap();
        assert_eq!((w.slices(), w.slice_of(0), w.slice_of(9), w.slice_of(10)), (1, 0, 0, 1));
        assert_eq!((w.window_start(3), w.window_end(3)), (30, 40));
        let last = w.slice_of(u64::MAX);
        assert_eq!(w.window_end(last), u64::MAX, "the last window ends where ticks end");
        assert!(w.window_start(last) <= u64::MAX - 5);
    }

    #[test]
    fn hopping_windows_start_at_tick_zero() {
        let w = Shape::new(60, 20).unwrap();
        assert_eq!(w.slices(), 3);
        assert_eq!((w.window_start(0), w.window_end(0)), (0, 20));
        assert_eq!((w.window_start(2), w.window_end(2)), (0, 60));
        assert_eq!((w.window_start(3), w.window_end(3)), (20, 80));
    }

    #[test]
    fn ended_is_exact_at_the_edge() {
        let w = Shape::new(10, 10).unwrap();
        assert_eq!((w.ended(9), w.ended(10), w.ended(19)), (0, 1, 1));
    }

    #[test]
    fn impossible_shapes_are_named() {
        for (size, slide) in [(0, 1), (1, 0), (10, 20), (10, 3), (10, 1), (1 << 40, 2)] {
            assert!(Shape::new(size, slide).is_err(), "{size}/{slide}");
        }
        assert!(Shape::new(1, 1).is_ok());
        assert!(Shape::new(u64::MAX, u64::MAX).is_ok());
    }
}
