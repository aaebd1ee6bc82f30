//! Kernels of a built library, called as the driver would call them: by name, with arguments as bytes.

use super::{Library, library};
use libloading::Symbol;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

/// `HostKernel` of host.h.
#[repr(C)]
struct RawKernel {
    name: *const c_char,
    args: u32,
    shared_bytes: u32,
    arg_bytes: *const u32,
    thread: *const c_void,
}

/// `HostLaunch` of host.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// Blocks.
    pub grid: u32,
    /// Threads of a block.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// Whether its blocks are there at the same time: 0 or 1.
    pub cooperative: u32,
    /// The order of blocks and threads; 0: by number.
    pub seed: u64,
}

impl Launch {
    /// Blocks of 256 threads.
    pub fn of(grid: u32, seed: u64) -> Self {
        Self { grid, block: 256, shared_bytes: 0, cooperative: 0, seed }
    }
}

/// One argument of a kernel.
pub enum Arg<'a> {
    /// By value.
    Value(&'a [u32]),
    /// A buffer that is only read.
    Read(&'a [u32]),
    /// A buffer.
    Write(&'a mut [u32]),
}

/// `Words` and `ConstWords` of prelude.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawWords {
    at: *const u32,
    len: u32,
    pad: u32,
}

/// A library of kernels.
#[derive(Clone)]
pub struct Shim(Arc<libloading::Library>);

impl Shim {
    /// Builds the library if need be and loads it; `None` without a compiler.
    ///
    /// # Panics
    /// When it does not compile or load.
    pub fn open(of: &Library<'_>) -> Option<Self> {
        let path = library(of)?;
        // SAFETY: loading runs the static constructors of the library, which is built of the sources in this folder;
        // they are those of its compiler's run-time library and nothing else.
        let loaded = unsafe { libloading::Library::new(&path) };
        Some(Self(Arc::new(loaded.unwrap_or_else(|error| panic!("{path:?}: {error}")))))
    }

    /// The names of its kernels and the sizes of their arguments, in bytes.
    pub fn kernels(&self) -> Vec<(String, Vec<u32>)> {
        // SAFETY: the function has this signature in host.h.
        let at: Symbol<'_, extern "C" fn(u32) -> *const RawKernel> =
            unsafe { self.0.get("host_kernel_at") }.expect("host.h declares it");
        // SAFETY: what is not null is an entry of a constant table in the library, whose fields host.h describes; the
        // library stays loaded while `self` is there.
        (0..).map_while(|number| unsafe { at(number).as_ref() }.map(Self::described)).collect()
    }

    fn described(kernel: &RawKernel) -> (String, Vec<u32>) {
        // SAFETY: the name is a string literal of the library, and behind `arg_bytes` lie `args` numbers.
        unsafe {
            let name = CStr::from_ptr(kernel.name).to_string_lossy().into_owned();
            let sizes = (0..kernel.args as usize).map(|i| *kernel.arg_bytes.add(i)).collect();
            (name, sizes)
        }
    }

    /// Bytes of dynamic shared memory that a kernel's launch gives it.
    ///
    /// # Panics
    /// When there is no such kernel.
    pub fn shared_bytes(&self, name: &str) -> u32 {
        self.find(name).shared_bytes
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// What the shim says: the kernel's name and what is wrong with it.
    ///
    /// # Panics
    /// When there is no such kernel or it takes other arguments.
    pub fn launch(&self, name: &str, launch: Launch, args: &mut [Arg<'_>]) -> Result<(), String> {
        let kernel = self.find(name);
        let (_, sizes) = Self::described(kernel);
        let buffers: Vec<RawWords> = args.iter_mut().map(raw_words).collect();
        let pointers = args.iter().zip(&buffers).map(|(arg, buffer)| match arg {
            Arg::Value(words) => (words.as_ptr().cast::<c_void>(), size_of_val(*words)),
            _ => (std::ptr::from_ref(buffer).cast(), size_of::<RawWords>()),
        });
        let (pointers, given): (Vec<*const c_void>, Vec<usize>) = pointers.unzip();
        let taken: Vec<usize> = sizes.iter().map(|&size| size as usize).collect();
        assert_eq!(given, taken, "{name}: sizes of its arguments");
        type Run = unsafe extern "C" fn(
            *const RawKernel,
            *const Launch,
            *const *const c_void,
            *mut c_char,
            usize,
        ) -> c_int;
        // SAFETY: the function has this signature in host.h.
        let run: Symbol<'_, Run> =
            unsafe { self.0.get("host_launch") }.expect("host.h declares it");
        let mut why = [0u8; 512];
        // SAFETY: kernel, launch and arguments are alive and as host.h describes them; the arguments have the sizes the
        // kernel takes. Kernels reach buffers through `Buffer` of prelude.cuh, which the host's build checks against
        // the length given here; buffers that are written are borrowed exclusively. `why` has room for as many bytes.
        let failed = unsafe {
            run(kernel, &raw const launch, pointers.as_ptr(), why.as_mut_ptr().cast(), why.len())
        };
        if failed == 0 {
            return Ok(());
        }
        let text = CStr::from_bytes_until_nul(&why).expect("the shim ends its message");
        Err(text.to_string_lossy().into_owned())
    }

    /// Whether there is a kernel of this name.
    pub fn has(&self, name: &str) -> bool {
        self.look_up(name).is_some()
    }

    fn find(&self, name: &str) -> &RawKernel {
        self.look_up(name).unwrap_or_else(|| panic!("no kernel {name}"))
    }

    fn look_up(&self, name: &str) -> Option<&RawKernel> {
        let called = CString::new(name).expect("names hold no zero");
        // SAFETY: the function has this signature in host.h.
        let find: Symbol<'_, extern "C" fn(*const c_char) -> *const RawKernel> =
            unsafe { self.0.get("host_kernel") }.expect("host.h declares it");
        // SAFETY: as in `kernels`.
        unsafe { find(called.as_ptr()).as_ref() }
    }
}

fn raw_words(arg: &mut Arg<'_>) -> RawWords {
    let words = |at: *const u32, len: usize| RawWords {
        at,
        len: u32::try_from(len).expect("buffers are that small"),
        pad: 0,
    };
    match arg {
        Arg::Value(_) => words(std::ptr::null(), 0),
        Arg::Read(buffer) => words(buffer.as_ptr(), buffer.len()),
        Arg::Write(buffer) => words(buffer.as_mut_ptr(), buffer.len()),
    }
}
