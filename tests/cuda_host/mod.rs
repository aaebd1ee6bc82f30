//! Builds what is C++ under this folder with the system's compiler, and runs kernels in it.
//!
//! `library` makes a shared library under `target`, of an object for each source. An object is made again when its
//! source, what that includes, its flags or the compiler have changed; libraries share objects. A machine without a
//! compiler is told so, in the list of what was not run; a source that does not compile fails the test.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the module")]

pub mod device;
pub mod driver;
pub mod latency;
pub mod planted;
pub mod shim;

use std::collections::{BTreeMap, hash_map::DefaultHasher};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The same for every library: what the kernels promise bit for bit must not depend on the host's compiler.
const FLAGS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-g1",
    "-fPIC",
    "-pthread",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    // Kernels read words as quads.
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
    // Loops that a device is not to unroll.
    "-Wno-unknown-pragmas",
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
    /// Its C++ files; [`RUNTIME`] is among them where kernels are to run.
    pub sources: &'a [&'a [&'a str]],
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

/// What runs kernels.
pub const RUNTIME: &[&str] = &["runtime.cpp", "room.cpp", "warp.cpp", "together.cpp", "tables.cpp"];
/// The crate's kernels but those that score.
pub const PLAIN: &[&str] = &["windows.cpp", "encoder.cpp"];
/// Those that score but `score`, which `windows.cpp` has, too, because the latency mode runs it.
pub const DETECTORS: &[&str] = &[
    "forest.cpp",
    "half_space.cpp",
    "loda.cpp",
    "season.cpp",
    "profile.cpp",
    "sub_pca.cpp",
    "spectral.cpp",
    "art.cpp",
    "ensemble.cpp",
];

/// The crate's kernels.
pub const KERNELS: Library<'_> = Library {
    name: "libpelton_kernels.so",
    sources: &[RUNTIME, PLAIN, DETECTORS],
    flags: &[],
    plant: None,
};

/// Those of windows, of scores by distance, and the device's own.
pub const WINDOWS: Library<'_> = Library {
    name: "libpelton_windows.so",
    sources: &[RUNTIME, &["windows.cpp"]],
    flags: &[],
    plant: None,
};

/// Those that score.
pub const SCORES: Library<'_> = Library {
    name: "libpelton_scores.so",
    sources: &[RUNTIME, &["score.cpp"], DETECTORS],
    flags: &[],
    plant: None,
};

/// Kernels that show what the shim finds.
pub const CHECKS: Library<'_> = Library {
    name: "libpelton_checks.so",
    sources: &[RUNTIME, &["checks.cpp"]],
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
    let (compiler, _) = compiler()?;
    let sanitized = std::env::var_os(SANITIZED).is_some();
    let sanitizer = if sanitized { SANITIZER_FLAGS } else { &[] };
    let of_linker = |flag: &&str| flag.starts_with("-Wl,");
    let (link, own): (Vec<&str>, Vec<&str>) = library.flags.iter().copied().partition(of_linker);
    let flags = [FLAGS, sanitizer, &own].concat();
    let sources = Sources::with(library.plant.as_ref());
    let objects = sources.objects(&library.sources.concat(), &flags);
    let flags = [&["-shared", "-pthread"], sanitizer, &link].concat();
    Some(built(library.name, (&flags, &objects), |to, _| {
        let mut command = Command::new(compiler);
        command.args(&objects).args(&flags).arg("-o").arg(to);
        command
    }))
}

/// What a compiler makes, unless it is there already: `name` in a folder of its own for all that goes `into` it,
/// because another process may hold what was made of an earlier state.
fn built(name: &str, into: impl Hash, command: impl FnOnce(&Path, &Path) -> Command) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut hasher = DefaultHasher::new();
    (compiler(), into).hash(&mut hasher);
    let folders = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda_host");
    let folder = folders.join(format!("{:016x}", hasher.finish()));
    let built = folder.join(name);
    if !built.exists() {
        fs::create_dir_all(&folder).expect("the target folder can be written");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{name}.{}.{number}", std::process::id()));
        let mut command = command(&unfinished, &folder);
        let out = command.output().expect("the compiler runs");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{command:?}\n{errors}");
        fs::rename(&unfinished, &built).expect("the target folder can be written");
    }
    built
}

/// What `make` makes of each, on all cores; in their order.
fn side_by_side<T: Sync, R: Send>(of: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let take = || {
        let i = next.fetch_add(1, Ordering::Relaxed);
        of.get(i).map(|one| (i, make(one)))
    };
    let mut made: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || std::iter::from_fn(&take).collect::<Vec<_>>();
        let workers: Vec<_> = (0..cores.min(of.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no maker panics")).collect()
    });
    made.sort_by_key(|&(i, _)| i);
    made.into_iter().map(|(_, one)| one).collect()
}

/// This folder, under the package.
const HERE: &str = "tests/cuda_host";
/// Where the crate's kernels are.
const KERNEL_SOURCES: &str = "kernels";

/// What libraries are made of: each C++ and CUDA file's text by its path under the package.
struct Sources {
    texts: BTreeMap<PathBuf, String>,
    /// The file with a mistake in it.
    planted: Option<PathBuf>,
}

impl Sources {
    /// As they are, or with a mistake in one of them.
    fn with(plant: Option<&Plant<'_>>) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = ["h", "cpp", "cu", "cuh"].map(OsStr::new);
        let mut texts = BTreeMap::new();
        for folder in [HERE, KERNEL_SOURCES, "examples/custom_kernel"].map(Path::new) {
            for entry in fs::read_dir(root.join(folder)).expect("the sources are there") {
                let path = folder.join(entry.expect("the sources are there").file_name());
                if path.extension().is_some_and(|end| ours.contains(&end)) {
                    let text = fs::read_to_string(root.join(&path)).expect("sources can be read");
                    texts.insert(path, text);
                }
            }
        }
        if let Some(plant) = plant {
            let text = texts.get_mut(Path::new(plant.file));
            let text = text.unwrap_or_else(|| panic!("{plant:?}: no such file"));
            assert_eq!(text.matches(plant.from).count(), 1, "{plant:?} stands there once");
            *text = text.replace(plant.from, plant.to);
        }
        Self { texts, planted: plant.map(|plant| PathBuf::from(plant.file)) }
    }

    /// Sources compiled.
    fn objects(&self, names: &[&str], flags: &[&str]) -> Vec<PathBuf> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let (planted, sound): (Vec<PathBuf>, Vec<PathBuf>) = names
            .iter()
            .map(|name| Path::new(HERE).join(name))
            .partition(|source| self.is_planted(&self.parts(source)));
        let object = |source: &PathBuf| self.object(source, flags);
        // What is planted is wanted once, and compilers may work side by side; all else is wanted by many tests at
        // once.
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut objects = side_by_side(&sound, object);
        drop(turn);
        objects.extend(planted.iter().map(object));
        objects
    }

    /// A source and all of ours that it includes.
    fn parts(&self, source: &Path) -> BTreeMap<&Path, &str> {
        let mut parts = BTreeMap::new();
        self.add(source, &mut parts);
        parts
    }

    /// Whether there is a mistake in one of them.
    fn is_planted(&self, parts: &BTreeMap<&Path, &str>) -> bool {
        self.planted.as_ref().is_some_and(|file| parts.contains_key(file.as_path()))
    }

    /// One source compiled, unless it is there already: of all that it includes, nothing has changed then.
    fn object(&self, source: &Path, flags: &[&str]) -> PathBuf {
        let parts = self.parts(source);
        let planted = self.is_planted(&parts);
        let hurry = if planted { HURRY } else { &[] };
        let flags = [flags, hurry].concat();
        let name = source.with_extension("o");
        let name = name.file_name().and_then(OsStr::to_str).expect("sources have plain names");
        built(name, (&flags, &parts), |to, folder| {
            let root =
                if planted { folder.to_owned() } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")) };
            if planted {
                write(&parts, folder);
            }
            let mut command = Command::new(&compiler().expect("asked before").0);
            command.args(&flags).arg("-I").arg(root.join(HERE));
            command.arg("-I").arg(root.join(KERNEL_SOURCES));
            command.arg("-c").arg(root.join(source)).arg("-o").arg(to);
            command
        })
    }

    /// Adds a file and all of ours that it includes.
    fn add<'a>(&'a self, path: &Path, parts: &mut BTreeMap<&'a Path, &'a str>) {
        let Some((path, text)) = self.texts.get_key_value(path) else { return };
        if parts.insert(path, text).is_some() {
            return;
        }
        let included = text.lines().filter_map(|line| line.trim().strip_prefix("#include \""));
        for name in included.filter_map(|rest| rest.strip_suffix('"')) {
            // A file's own folder has its name alone, or the way to it from the package's root.
            let beside = path.with_file_name(name);
            let named = name.trim_start_matches("../");
            let folders = [HERE, KERNEL_SOURCES, ""].map(Path::new);
            let places = folders.into_iter().map(|folder| folder.join(named));
            std::iter::once(beside).chain(places).for_each(|place| self.add(&place, parts));
        }
    }
}

/// Writes sources down again, under another folder.
fn write(parts: &BTreeMap<&Path, &str>, to: &Path) {
    for (path, text) in parts {
        let path = to.join(path);
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the target folder can be written");
        fs::write(path, text).expect("the target folder can be written");
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
