//! What one kernel is: a name, a parameter block, its bindings, and its twins.
//!
//! A kernel has the same name everywhere: its static, its entry point, its shader file and its `.cu` file.
//! Bindings of every kernel, in this order: 0 the batch's header words, 1 the parameter block, 2 the
//! events (when it reads them), 3 and up the buffers it declares.

use bytemuck::Pod;

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only reads it.
    Read,
    /// Reads and writes it.
    Write,
    /// Only reads it; a buffer of role `Weights`, which other queues may be reading, too.
    Weights,
}

/// One buffer a kernel binds: its name in the twins, and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// What the kernel does with it.
    pub access: Access,
}

/// One 32-bit scalar of a parameter block; a test compares these with the CUDA and WGSL sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParamField {
    /// The field's name, the same in all twins.
    pub name: &'static str,
    /// `u32`, `i32` or `f32`.
    pub scalar: &'static str,
    /// Bytes from the start of the block.
    pub offset: usize,
}

/// A kernel and its twins. Adding one means adding one of these and one line in `ops::KERNELS`.
#[derive(Debug)]
pub struct Kernel {
    /// The name of the static, the shader's entry point and both source files.
    pub name: &'static str,
    /// The parameter block, field by field.
    pub params: &'static [ParamField],
    /// Whether it reads the batch's events (binding 2).
    pub events: bool,
    /// Its buffers, from binding 3 on.
    pub binds: &'static [Bind],
    /// The WGSL twin; [`Kernel::shader`] puts the prelude in front of it.
    pub wgsl: &'static str,
    /// The CPU twin.
    pub cpu: fn(Args<'_>),
}

/// What is put in front of every WGSL twin.
const PRELUDE: &str = include_str!("../../shaders/prelude.wgsl");

impl Kernel {
    /// The whole shader: the directives (`enable`, `requires`), the prelude, the twin.
    ///
    /// WGSL wants directives before everything else, so those the twin starts with are moved to the front.
    pub fn shader(&self) -> String {
        let is_directive = |line: &&str| {
            let line = line.trim_start();
            ["enable ", "requires ", "diagnostic"].iter().any(|word| line.starts_with(word))
        };
        let (directives, body): (Vec<&str>, Vec<&str>) =
            self.wgsl.split_inclusive('\n').partition(is_directive);
        [directives.concat().as_str(), PRELUDE, body.concat().as_str()].concat()
    }

    /// The parameters that the WGSL twin has as constants, too: those it declares `override` by their names. A device
    /// compiles it once for each value that comes, and what no step asks for not at all.
    pub fn constants(&self) -> impl Iterator<Item = &'static ParamField> {
        self.params.iter().filter(|field| {
            field.scalar == "u32" && self.wgsl.contains(&format!("override {}: u32;", field.name))
        })
    }
}

/// The events of a batch where the CPU finds them: one piece of lane memory a range, in batch order.
pub trait EventWords {
    /// The words of range `i`.
    fn range(&self, i: usize) -> &[u32];
}

/// What a CPU twin sees.
pub struct Args<'a> {
    /// The batch's header.
    pub head: &'a [u32],
    /// The parameter block.
    pub params: &'a [u32],
    /// The batch's events, empty ranges for kernels that read none.
    pub events: &'a dyn EventWords,
    /// The bindings with [`Access::Weights`], in the kernel's order.
    pub weights: &'a [&'a [u32]],
    binds: &'a mut [&'a mut [u32]],
}

impl<'a> Args<'a> {
    /// For devices: puts together what a twin sees. Buffers are aligned to 16 bytes at least.
    pub fn new(
        head: &'a [u32],
        params: &'a [u32],
        events: &'a dyn EventWords,
        binds: &'a mut [&'a mut [u32]],
    ) -> Self {
        Self { head, params, events, weights: &[], binds }
    }

    /// For devices: the same with the bindings that are weights.
    #[must_use]
    pub fn with_weights(self, weights: &'a [&'a [u32]]) -> Self {
        Self { weights, ..self }
    }

    /// The parameter block as the type that recorded it.
    ///
    /// # Panics
    /// When the block is of another size; `Plan::check` has ruled that out.
    pub fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(self.params))
    }

    /// The bindings but those with [`Access::Weights`], as exactly `N` disjoint word slices.
    ///
    /// # Panics
    /// When the kernel declares another number of them.
    pub fn binds<const N: usize>(self) -> [&'a mut [u32]; N] {
        let count = self.binds.len();
        let mut rest = self.binds.iter_mut();
        let binds = std::array::from_fn(|_| match rest.next() {
            Some(bind) => &mut **bind,
            None => panic!("{count} bindings, the kernel takes {N}"),
        });
        assert!(rest.next().is_none(), "{count} bindings, the kernel takes {N}");
        binds
    }
}

/// Declares a parameter block of 32-bit scalars that has one layout in Rust, CUDA and WGSL.
///
/// ```
/// pelton::params! {
///     /// What the kernel is told once.
///     ScaleParams {
///         /// Words in one event.
///         stride: u32,
///         /// The factor.
///         factor: f32,
///         /// Fills the block up to 16 bytes.
///         pad0: u32,
///         /// Fills the block up to 16 bytes.
///         pad1: u32,
///     }
/// }
/// assert_eq!(ScaleParams::FIELDS[1].offset, 4);
/// ```
#[macro_export]
macro_rules! params {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ident),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, PartialEq, ::bytemuck::Pod, ::bytemuck::Zeroable)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty),* }
        impl $name {
            /// The block, field by field.
            pub const FIELDS: &'static [$crate::plan::ParamField] = &[$($crate::plan::ParamField {
                name: stringify!($field),
                scalar: stringify!($ty),
                offset: ::core::mem::offset_of!($name, $field),
            }),*];
        }
        const _: () = assert!(
            ::core::mem::size_of::<$name>().is_multiple_of(16),
            "pad parameter blocks to 16 bytes"
        );
    };
}
