//! The stand-in for the CUDA driver: built, loaded before anybody looks for a driver, and told what to do.
//!
//! Its library calls itself `libcuda.so`, so once it is loaded the dynamic loader takes it for the driver's wherever
//! that is asked for. On a machine with a GPU, `PELTON_CUDA=real` leaves it out and the same tests run on the device.

use super::{DETECTORS, Library, PLAIN, RUNTIME, library, skip};
use libloading::Symbol;
use pelton::Device;
use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;

/// The driver's functions, and the kernels that it runs.
pub const DRIVER: Library<'_> = Library {
    name: "libcuda_stand_in.so",
    sources: &[
        RUNTIME,
        PLAIN,
        DETECTORS,
        &["seam.cpp", "custom.cpp"],
        &["driver.cpp", "driver_device.cpp", "driver_memory.cpp", "driver_control.cpp"],
    ],
    flags: &["-Wl,-soname,libcuda.so"],
    plant: None,
};

/// The compiler that the stand-in driver's machine has.
pub const COMPILER: Library<'_> = Library {
    name: "libnvrtc_stand_in.so",
    sources: &[&["nvrtc.cpp"]],
    flags: &["-Wl,-soname,libnvrtc.so"],
    plant: None,
};

/// Whether NVIDIA's own run-time compiler is here; its stand-in is loaded where it is not.
///
/// # Panics
/// When the stand-in does not compile or load.
pub fn has_compiler() -> bool {
    static REAL: OnceLock<bool> = OnceLock::new();
    *REAL.get_or_init(|| {
        for name in ["libnvrtc.so", "libnvrtc.so.12"] {
            // SAFETY: loading runs the library's constructors, those of NVIDIA's compiler.
            if let Ok(real) = unsafe { libloading::Library::new(name) } {
                std::mem::forget(real);
                return true;
            }
        }
        if let Some(path) = library(&COMPILER) {
            // SAFETY: as for the stand-in driver.
            let loaded = unsafe { libloading::Library::new(&path) };
            std::mem::forget(loaded.unwrap_or_else(|error| panic!("{path:?}: {error}")));
        }
        false
    })
}

/// Whether the tests are to run on the machine's own driver.
pub fn is_real() -> bool {
    std::env::var_os("PELTON_CUDA").is_some_and(|what| what == "real")
}

/// The CUDA device, over the stand-in or real; or a line in the list of what was not run.
///
/// # Panics
/// When the stand-in is there and its device does not open.
pub fn cuda(test: &str) -> Option<Device> {
    if !cfg!(feature = "cuda") {
        skip(test, "built without the feature `cuda`");
        return None;
    }
    if is_real() {
        return match Device::named("cuda") {
            Ok(device) => Some(device),
            Err(error) => {
                skip(test, &error.to_string().replace('\n', " "));
                None
            }
        };
    }
    if StandIn::load().is_none() {
        skip(test, "no C++ compiler");
        return None;
    }
    Some(Device::named("cuda:stand-in").expect("the stand-in opens"))
}

/// The same, for tests that need kernels of their own or the stand-in's help.
pub fn over_stand_in(test: &str) -> Option<Device> {
    if is_real() {
        skip(test, "it needs the stand-in driver");
        return None;
    }
    cuda(test)
}

/// The loaded stand-in.
pub struct StandIn(libloading::Library);

impl StandIn {
    /// Loads it, once; `None` without a compiler.
    ///
    /// # Panics
    /// When it does not compile or load.
    pub fn load() -> Option<&'static Self> {
        Self::load_as(&DRIVER)
    }

    /// As `load`, with a mistake planted in it, when nothing was loaded before.
    ///
    /// # Panics
    /// As `load`.
    pub fn load_as(of: &Library<'_>) -> Option<&'static Self> {
        static LOADED: OnceLock<Option<StandIn>> = OnceLock::new();
        LOADED
            .get_or_init(|| {
                let path = library(of)?;
                // SAFETY: loading runs the static constructors of the library, which is built of the sources in
                // this folder: those of its compiler's run-time library, and one that does nothing.
                let loaded = unsafe { libloading::Library::new(&path) };
                Some(Self(loaded.unwrap_or_else(|error| panic!("{path:?}: {error}"))))
            })
            .as_ref()
    }

    /// Lets the n-th call of a function from now on fail with this code.
    pub fn fail(&self, function: &str, n: u64, code: i32) {
        let function = CString::new(function).expect("a name");
        // SAFETY: the function has this signature in driver_control.cpp, and copies the name.
        unsafe {
            let fail: Symbol<'_, unsafe extern "C" fn(*const c_char, u64, c_int)> =
                self.0.get("stand_in_fail").expect("exported");
            fail(function.as_ptr(), n, code);
        }
    }

    /// Lets every call of a function that waits or orders do nothing from now on.
    pub fn ignore(&self, function: &str) {
        let function = CString::new(function).expect("a name");
        // SAFETY: the function has this signature in driver_control.cpp, and copies the name.
        unsafe {
            let ignore: Symbol<'_, unsafe extern "C" fn(*const c_char)> =
                self.0.get("stand_in_ignore").expect("exported");
            ignore(function.as_ptr());
        }
    }

    /// Lets kernels that are there for long stand still from now on.
    pub fn hang(&self) {
        // SAFETY: the function has this signature in driver_control.cpp.
        unsafe {
            let hang: Symbol<'_, extern "C" fn()> = self.0.get("stand_in_hang").expect("exported");
            hang();
        }
    }

    /// Forgets what was wrong so far; what lives is still reported.
    pub fn forgive(&self) {
        // SAFETY: the function has this signature in driver_control.cpp.
        unsafe {
            let forgive: Symbol<'_, extern "C" fn()> =
                self.0.get("stand_in_forgive").expect("exported");
            forgive();
        }
    }

    /// Bytes of memory that the device has from now on.
    pub fn memory(&self, bytes: usize) {
        // SAFETY: the function has this signature in driver_control.cpp.
        unsafe {
            let memory: Symbol<'_, extern "C" fn(usize)> =
                self.0.get("stand_in_memory").expect("exported");
            memory(bytes);
        }
    }

    /// The functions that were called, and how often.
    pub fn calls(&self) -> Vec<(String, u64)> {
        let text = self.text("stand_in_calls");
        let call = |line: &str| {
            let (name, calls) = line.split_once(' ').expect("a name and a number");
            (name.to_owned(), calls.parse().expect("a number"))
        };
        text.lines().map(call).collect()
    }

    /// How often one function was called.
    pub fn calls_of(&self, function: &str) -> u64 {
        self.calls().iter().find(|(name, _)| name == function).map_or(0, |(_, calls)| *calls)
    }

    /// Everything that was wrong so far, and every object that still lives.
    pub fn report(&self) -> Vec<String> {
        self.text("stand_in_report").lines().map(str::to_owned).collect()
    }

    fn text(&self, function: &str) -> String {
        let mut text = vec![0_u8; 1 << 16];
        // SAFETY: both functions have this signature in driver_control.cpp; they write a string and its end into as
        // many bytes at most.
        unsafe {
            let ask: Symbol<'_, unsafe extern "C" fn(*mut c_char, usize)> =
                self.0.get(function).expect("exported");
            ask(text.as_mut_ptr().cast(), text.len());
        }
        let end = text.iter().position(|&byte| byte == 0).expect("the string ends");
        String::from_utf8(text[..end].to_vec()).expect("plain text")
    }
}
