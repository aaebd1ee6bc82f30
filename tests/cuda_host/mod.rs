//! Builds what is C++ under this folder with the system's compiler, and runs kernels in it.
//!
//! `library` makes a shared library under `target` and makes it again when its sources, its flags or the compiler have
//! changed. A machine without a compiler is told so, in the list of what was not run; a source that does not compile
//! fails the test.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the module")]

pub mod device;
pub mod driver;
pub mod latency;
pub mod planted;
pub mod shim;

use std::collections::hash_map::DefaultHasher;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The same for every library: what the kernels promise bit for bit must not depend on the host's compiler.
const FLAGS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-g1",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    // Kernels read words as quads.
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
];

/// So that an index outside an array in shared memory is found, too.
const SANITIZER_FLAGS: &[&str] =
    &["-fsanitize=address", "-fsanitize-sections=cuda_shared", "-fno-omit-frame-pointer"];

/// What is found wrong at once is not worth the compiler's time.
pub const HURRY: &[&str] = &["-O0"];

/// A shared library to be built of files in this folder.
#[derive(Debug, Clone, Copy)]
pub struct Library<'a> {
    /// Its file's name.
    pub name: &'a str,
    /// Its C++ files; `runtime.cpp` is one of them where kernels are to run.
    pub sources: &'a [&'a str],
    /// Flags of its own.
    pub flags: &'a [&'a str],
    /// A mistake to be planted first, in a copy of the sources.
    pub plant: Option<Plant<'a>>,
}

/// One mistake: the file under the package, what stands there once, and what is put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plant<'a> {
    pub file: &'a str,
    pub from: &'a str,
    pub to: &'a str,
}

/// The crate's kernels.
pub const KERNELS: Library<'_> = Library {
    name: "libpelton_kernels.so",
    sources: &["runtime.cpp", "room.cpp", "warp.cpp", "together.cpp", "kernels.cpp"],
    flags: &[],
    plant: None,
};

/// Kernels that show what the shim finds.
pub const CHECKS: Library<'_> = Library {
    name: "libpelton_checks.so",
    sources: &["runtime.cpp", "room.cpp", "warp.cpp", "together.cpp", "checks.cpp"],
    flags: &[],
    plant: None,
};

/// What the compiler calls itself; `None` where there is none.
pub fn compiler() -> Option<&'static (OsString, String)> {
    static FOUND: OnceLock<Option<(OsString, String)>> = OnceLock::new();
    let version = |name: OsString| {
        let out = Command::new(&name).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        out.status.success().then_some((name, text))
    };
    FOUND
        .get_or_init(|| {
            let asked = std::env::var_os("CXX").into_iter();
            asked.chain(["c++", "g++", "clang++"].map(OsString::from)).find_map(version)
        })
        .as_ref()
}

/// Builds a library unless it is there already; where it lies. `None` without a compiler.
///
/// # Panics
/// When it does not compile.
pub fn library(library: &Library<'_>) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // What is planted is wanted once, and compilers may work side by side; the others are wanted by many tests at once.
    let turn = || ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _turn = library.plant.is_none().then(turn);
    let (compiler, version) = compiler()?;
    let sanitized = std::env::var_os(SANITIZED).is_some();
    let sanitizer = if sanitized { SANITIZER_FLAGS } else { &[] };
    let hurry = if library.plant.is_some() { HURRY } else { &[] };
    let flags = [FLAGS, sanitizer, library.flags, hurry].concat();
    let mut hasher = DefaultHasher::new();
    (version, &flags, library.sources, library.plant).hash(&mut hasher);
    let sources = sources();
    sources.hash(&mut hasher);
    // A folder for each state of the sources: another process may hold the library of an earlier one.
    let folders = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_host");
    let folder = folders.join(format!("{:016x}", hasher.finish()));
    let built = folder.join(library.name);
    if built.exists() {
        return Some(built);
    }
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let root = match &library.plant {
        Some(plant) => plant.copy(sources, &folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    };
    let unfinished = folder.join(format!("{}.{}", library.name, std::process::id()));
    let mut command = Command::new(compiler);
    command.args(&flags).arg("-I").arg(root.join(HERE)).arg("-I").arg(root.join("kernels"));
    command.args(library.sources.iter().map(|source| root.join(HERE).join(source)));
    let out = command.arg("-o").arg(&unfinished).output().expect("the compiler runs");
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}\n{errors}");
    fs::rename(&unfinished, &built).expect("the target folder can be written");
    Some(built)
}

/// This folder, under the package.
const HERE: &str = "tests/cuda_host";

/// What libraries are made of: each C++ and CUDA file's path under the package and its text, by path.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = ["h", "cpp", "cu", "cuh"].map(OsStr::new);
    let mut sources = Vec::new();
    for folder in [HERE, "kernels", "examples/custom_kernel"].map(Path::new) {
        for entry in fs::read_dir(root.join(folder)).expect("the sources are there") {
            let path = folder.join(entry.expect("the sources are there").file_name());
            if path.extension().is_some_and(|end| ours.contains(&end)) {
                let text = fs::read_to_string(root.join(&path)).expect("sources can be read");
                sources.push((path, text));
            }
        }
    }
    sources.sort();
    sources
}

impl Plant<'_> {
    /// Writes the sources down again with the mistake in them; where.
    fn copy(&self, mut sources: Vec<(PathBuf, String)>, to: &Path) -> PathBuf {
        let at = sources.iter_mut().find(|(path, _)| path == Path::new(self.file));
        let (_, text) = at.unwrap_or_else(|| panic!("{self:?}: no such file"));
        assert_eq!(text.matches(self.from).count(), 1, "{self:?} stands there once");
        *text = text.replace(self.from, self.to);
        for (path, text) in sources {
            let path = to.join(path);
            let folder = path.parent().expect("a file lies in a folder");
            fs::create_dir_all(folder).expect("the target folder can be written");
            fs::write(path, text).expect("the target folder can be written");
        }
        to.to_owned()
    }
}

/// Set in what runs under AddressSanitizer; holds what it is asked to run.
pub const SANITIZED: &str = "PELTON_SANITIZED";

/// Runs one test of this program again, as a child under AddressSanitizer: whether it passed, and what it wrote.
/// `None` without a compiler or its sanitizer. The child finds `what` under [`SANITIZED`] and loads libraries that
/// are built with the sanitizer.
pub fn under_sanitizer(test: &str, what: &str) -> Option<(bool, String)> {
    let (compiler, _) = compiler()?;
    let out = Command::new(compiler).arg("-print-file-name=libasan.so").output().ok()?;
    let runtime = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if !Path::new(&runtime).is_absolute() {
        return None;
    }
    let out = Command::new(std::env::current_exe().expect("a test is a program"))
        .args(["--exact", test, "--nocapture"])
        .envs([(SANITIZED, what), ("LD_PRELOAD", &runtime), ("ASAN_OPTIONS", "detect_leaks=0")])
        .output()
        .expect("it starts again");
    let text = [out.stdout, out.stderr].concat();
    Some((out.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Appends to the file that `PELTON_SKIPS` names: a test that could not run must not look like one that passed.
pub fn skip(test: &str, why: &str) {
    use std::io::Write;
    let line = format!("SKIP {test}: {why}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("PELTON_SKIPS") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
}
