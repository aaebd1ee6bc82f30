//! Typed references to the fields of a user's event struct.
//!
//! Events are plain structs of the user's own; the engine only needs to know where a field lies. No
//! derive macro, no schema language: `field!(Trade.amount)` is all there is.

use super::dtype::{DType, Scalar};
use std::fmt;
use std::marker::PhantomData;

/// A field of type `T` inside events of type `E`.
pub struct Field<E, T> {
    byte: u32,
    of: PhantomData<fn(&E) -> T>,
}

impl<E, T> Clone for Field<E, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E, T> Copy for Field<E, T> {}

impl<E, T: Scalar> Field<E, T> {
    /// Called by [`field!`](crate::field); `read` only fixes the types.
    ///
    /// # Panics
    /// When the field does not lie on a multiple of its own size, or of four bytes for wider ones. In a
    /// `const` this is a compile error.
    pub const fn new(byte: usize, _read: fn(&E) -> T) -> Self {
        let align = if T::DTYPE.bytes() < 4 { T::DTYPE.bytes() } else { 4 };
        assert!(
            byte.is_multiple_of(align),
            "event fields lie on whole words (halves on half words)"
        );
        assert!(byte + T::DTYPE.bytes() <= size_of::<E>(), "the field lies inside the event");
        assert!(byte <= super::limits::EVENT_BYTES_MAX, "events have at most 4096 bytes");
        #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
        Self { byte: byte as u32, of: PhantomData }
    }

    /// Where it lies and what it holds, without the types.
    pub const fn column(self) -> Column {
        Column { byte: self.byte, dtype: T::DTYPE }
    }
}

impl<E, T> fmt::Debug for Field<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field(+{})", self.byte)
    }
}

/// A field without its types: a byte offset and an element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Column {
    /// Offset from the start of the event.
    pub byte: u32,
    /// What lies there.
    pub dtype: DType,
}

impl Column {
    /// The index of the word that holds the field, or its first word.
    #[inline]
    pub const fn word(self) -> usize {
        (self.byte / 4) as usize
    }

    /// Whether a 16-bit field is the upper half of its word.
    #[inline]
    pub const fn upper(self) -> bool {
        !self.byte.is_multiple_of(4)
    }

    /// The field as a `u64` of the words of one event, low word first.
    #[inline]
    pub fn u64(self, event: &[u32]) -> u64 {
        u64::from(event[self.word()]) | u64::from(event[self.word() + 1]) << 32
    }
}

/// `field!(Trade.amount)` is a `Field<Trade, f32>` when that is the field's type.
///
/// ```
/// use pelton::{Field, field};
/// #[repr(C)]
/// struct Trade { at: u64, account: u32, amount: f32 }
/// const AMOUNT: Field<Trade, f32> = field!(Trade.amount);
/// assert_eq!(AMOUNT.column().byte, 12);
/// ```
#[macro_export]
macro_rules! field {
    ($event:ident.$name:ident) => {
        $crate::Field::new(::core::mem::offset_of!($event, $name), |event: &$event| event.$name)
    };
}
