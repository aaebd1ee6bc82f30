//! Kernels that a user brings as CUDA source: compiled by NVIDIA's run-time compiler (NVRTC), kept for the process.
//!
//! The source sees `prelude.cuh` and is held to the kernel's record before it may run: a check is compiled with it that
//! its entry point takes as many arguments as the record says, each of the size that the record says, so that a launch
//! never reads beyond what the host has written. Without the feature `nvrtc`, or without the compiler's library, the
//! error says so; the kernel runs on other devices all the same.

use super::Gpu;
use crate::base::error::{Error, Result};
use crate::plan::Kernel;

/// Whether a launch by one record gives a kernel the arguments that another record, by which it was compiled, says.
pub(super) fn is_as(compiled: &Kernel, kernel: &Kernel) -> Result<()> {
    let takes = |kernel: &Kernel| (kernel.params.len(), kernel.events, kernel.binds.len());
    if takes(compiled) == takes(kernel) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "kernel {}: one of this name was added that takes other arguments; choose another name",
        kernel.name
    )))
}

/// Where the compiler is left out.
#[cfg(not(feature = "nvrtc"))]
pub(super) fn add(gpu: &Gpu, kernel: &Kernel, _source: &str) -> Result<()> {
    let name = kernel.name;
    let what = format!(
        "kernel {name} comes as CUDA source: build with the feature `nvrtc`, or run it on another device"
    );
    Err(Error::unsupported(&gpu.caps.name, what))
}

#[cfg(feature = "nvrtc")]
pub(super) use compiler::add;

#[cfg(feature = "nvrtc")]
mod compiler {
    use super::{Error, Gpu, Kernel, Result, is_as};
    use crate::device::cuda::stream::Module;
    use cudarc::nvrtc::sys::{self, nvrtcResult};
    use std::ffi::{CStr, CString, c_char};
    use std::fmt::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::PoisonError;

    /// What the source may include, and what that includes in turn.
    const HEADERS: [(&CStr, &str); 2] = [
        (c"prelude.cuh", include_str!("../../../kernels/prelude.cuh")),
        (
            c"cstdint",
            "typedef signed char int8_t; typedef unsigned char uint8_t; typedef short int16_t;\n\
             typedef unsigned short uint16_t; typedef int int32_t; typedef unsigned int uint32_t;\n\
             typedef long long int64_t; typedef unsigned long long uint64_t;\n\
             typedef unsigned long long uintptr_t; typedef long long intptr_t;\n",
        ),
    ];

    /// As the crate's own kernels are compiled: multiplications and additions stay apart.
    const OPTIONS: [&str; 5] =
        ["--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"];

    /// Compiles a kernel and keeps it.
    pub(in crate::device::cuda) fn add(
        gpu: &Gpu,
        kernel: &'static Kernel,
        source: &str,
    ) -> Result<()> {
        let mut custom = gpu.custom.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((compiled, _)) = custom.get(kernel.name) {
            return is_as(compiled, kernel);
        }
        gpu.context.enter()?;
        if gpu.module.function(kernel.name).is_ok() {
            let what =
                format!("kernel {}: pelton has one of this name; choose another", kernel.name);
            return Err(Error::invalid(what));
        }
        // SAFETY: only asks the dynamic loader whether the library is there and loads it; no symbol is called.
        if !unsafe { sys::is_culib_present() } {
            let what = format!(
                "kernel {} comes as CUDA source, and the library that compiles it is not here: install NVRTC, a part \
                 of NVIDIA's CUDA toolkit that comes alone as well, where the loader finds libnvrtc (LD_LIBRARY_PATH)",
                kernel.name
            );
            return Err(Error::unsupported(&gpu.caps.name, what));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| compile(gpu, kernel, source)));
        let image = compiled.unwrap_or_else(|_| {
            Err(Error::unsupported(
                &gpu.caps.name,
                "the NVRTC library lacks a function: install a newer one",
            ))
        })?;
        let module = Module::of_text(&gpu.context, &image)?;
        module.function(kernel.name)?;
        custom.insert(kernel.name, (kernel, module));
        Ok(())
    }

    /// The source with a check behind it that its entry point takes what the record says.
    fn checked(kernel: &Kernel, source: &str) -> String {
        let name = kernel.name;
        let mut sizes = vec![16];
        if !kernel.params.is_empty() {
            sizes.push(4 * kernel.params.len());
        }
        sizes.extend(vec![16; usize::from(kernel.events) + kernel.binds.len()]);
        let mut text = format!(
            "{source}\n#line 1 \"record of {name}\"\nnamespace pelton_record {{\n\
             template <class Any> struct Sizes;\n\
             template <class... Any> struct Sizes<void (*)(Any...)> {{\n    \
             static constexpr unsigned count = sizeof...(Any);\n    \
             static constexpr unsigned of[sizeof...(Any) + 1] = {{sizeof(Any)..., 0}};\n}};\n\
             using Found = Sizes<decltype(&::{name})>;\n\
             static_assert(Found::count == {}, \"{name} takes header, parameters if any, events if any, buffers: {} \
             arguments\");\n",
            sizes.len(),
            sizes.len()
        );
        for (at, size) in sizes.iter().enumerate() {
            let _ = writeln!(
                text,
                "static_assert(Found::of[{at}] == {size}, \"argument {at} of {name} has {size} bytes\");"
            );
        }
        text.push_str("}\n");
        text
    }

    /// A program of the compiler, given back when dropped.
    struct Program(sys::nvrtcProgram);

    impl Drop for Program {
        fn drop(&mut self) {
            // SAFETY: made by `nvrtcCreateProgram`, destroyed once.
            let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
        }
    }

    fn compile(gpu: &Gpu, kernel: &Kernel, source: &str) -> Result<CString> {
        let name = kernel.name;
        let text = |text: &str| {
            CString::new(text)
                .map_err(|_| Error::invalid(format!("kernel {name}: a zero byte in its source")))
        };
        let check = |call: &str, code: nvrtcResult| match code {
            nvrtcResult::NVRTC_SUCCESS => Ok(()),
            _ => Err(Error::unsupported(&gpu.caps.name, format!("{call} answered {code:?}"))),
        };
        let (source, file) = (text(&checked(kernel, source))?, text(&format!("{name}.cu"))?);
        let texts = HEADERS.iter().map(|(_, header)| text(header)).collect::<Result<Vec<_>>>()?;
        let headers: Vec<*const c_char> = texts.iter().map(|header| header.as_ptr()).collect();
        let names = HEADERS.map(|(name, _)| name.as_ptr());
        let mut program = Program(std::ptr::null_mut());
        let count = i32::try_from(names.len()).unwrap_or(0);
        // SAFETY: all strings end in a nul and live through the call; both arrays are `count` long; the program may be
        // written.
        let code = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program.0,
                source.as_ptr(),
                file.as_ptr(),
                count,
                headers.as_ptr(),
                names.as_ptr(),
            )
        };
        check("nvrtcCreateProgram", code)?;
        let architecture = format!("--gpu-architecture=compute_{}", gpu.capability);
        let options = OPTIONS.iter().copied().chain([architecture.as_str()]);
        let options = options.map(text).collect::<Result<Vec<_>>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let count = i32::try_from(pointers.len()).unwrap_or(0);
        // SAFETY: the program lives; the options are that many strings that end in a nul.
        let code = unsafe { sys::nvrtcCompileProgram(program.0, count, pointers.as_ptr()) };
        if code != nvrtcResult::NVRTC_SUCCESS {
            let said = log(&program);
            return Err(Error::invalid(format!(
                "kernel {name}: its CUDA source does not compile for compute capability {}: {said}",
                gpu.capability
            )));
        }
        let mut bytes = 0;
        // SAFETY: the program was compiled; `bytes` may be written.
        check("nvrtcGetPTXSize", unsafe { sys::nvrtcGetPTXSize(program.0, &raw mut bytes) })?;
        let mut image = vec![0_u8; bytes.max(1)];
        // SAFETY: there is room for as many bytes as were asked for.
        check("nvrtcGetPTX", unsafe { sys::nvrtcGetPTX(program.0, image.as_mut_ptr().cast()) })?;
        let image = CStr::from_bytes_until_nul(&image).unwrap_or(c"");
        Ok(image.to_owned())
    }

    /// What the compiler said.
    fn log(program: &Program) -> String {
        let mut bytes = 0;
        // SAFETY: the program lives; `bytes` may be written.
        let code = unsafe { sys::nvrtcGetProgramLogSize(program.0, &raw mut bytes) };
        let mut said = vec![0_u8; bytes.max(1)];
        if code == nvrtcResult::NVRTC_SUCCESS {
            // SAFETY: there is room for as many bytes as were asked for.
            let _ = unsafe { sys::nvrtcGetProgramLog(program.0, said.as_mut_ptr().cast()) };
        }
        let said = CStr::from_bytes_until_nul(&said).unwrap_or(c"");
        said.to_string_lossy().trim().to_owned()
    }
}
