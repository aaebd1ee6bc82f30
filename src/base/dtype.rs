//! Element types: what a field of an event holds and how its bits become numbers.

use half::{bf16, f16};

/// The type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum DType {
    /// IEEE 754 binary32.
    F32 = 0,
    /// IEEE 754 binary16.
    F16 = 1,
    /// The upper half of a binary32.
    Bf16 = 2,
    /// Signed 32-bit integer.
    I32 = 3,
    /// Unsigned 32-bit integer.
    U32 = 4,
    /// Unsigned 64-bit integer, low word first.
    U64 = 5,
}

impl DType {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    /// The name as printed in plans and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::U64 => "u64",
        }
    }
}

/// A Rust type that can be a field of an event.
pub trait Scalar: bytemuck::Pod + sealed::Sealed {
    /// Its element type.
    const DTYPE: DType;
}

/// A scalar that can be aggregated: exact in fixed point or in the whole range of an f32.
pub trait Number: Scalar {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! scalars {
    ($($ty:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $ty {}
        impl Scalar for $ty {
            const DTYPE: DType = DType::$dtype;
        }
    )*};
}
scalars!(f32 => F32, f16 => F16, bf16 => Bf16, i32 => I32, u32 => U32, u64 => U64);

impl Number for f32 {}
impl Number for f16 {}
impl Number for bf16 {}
impl Number for i32 {}
