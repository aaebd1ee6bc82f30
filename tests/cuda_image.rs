//! The CUDA image in the crate: made from these sources, complete, within its budgets, and made again alike.
//!
//! What needs no compiler is checked always. Where the compiler is, the image is built once more and compared, and its
//! machine code is read.

#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;

use hmac_sha256::Hash;
use pelton::ops::KERNELS;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ARCHITECTURES: [&str; 6] = ["80", "86", "89", "90a", "100", "120"];
/// The kernel that compute capability 9.0 has beyond the others', and its instructions: products of F16, BF16 and INT8
/// in shared memory, of 64 rows by 64 columns and by 128, and a fence before them.
const WGMMA: &str = "gemm_wgmma";
const WGMMA_CODE: [&str; 7] = [
    "HGMMA.64x64x16.F32",
    "HGMMA.64x128x16.F32",
    "HGMMA.64x64x16.F32.BF16",
    "HGMMA.64x128x16.F32.BF16",
    "IGMMA.64x64x32.S8.S8",
    "IGMMA.64x128x32.S8.S8",
    "FENCE.VIEW.ASYNC.S",
];
/// Its registers: one block, which has half of a multiprocessor's shared memory and more.
const WGMMA_REGISTERS_MAX: u32 = 255;
/// Registers of a thread: four blocks of 256 threads find room on every multiprocessor, which has 65,536.
const REGISTERS_MAX: u32 = 64;
/// Those of the kernels that score with forests or half-space trees: two blocks, because their walks over samples and
/// trees keep more at hand.
const WALKING_REGISTERS_MAX: u32 = 128;
/// Those of the products, which keep sums of matrices: two blocks.
const PRODUCT_REGISTERS_MAX: u32 = 128;
/// The products' kernels, and the instructions that multiply matrices of 16 and of 8 bits.
const PRODUCTS: [&str; 2] = ["gemm", "gemm_norm"];
const MATRICES: [&str; 3] = ["HMMA.16816.F32", "HMMA.16816.F32.BF16", "IMMA.16832.S8.S8"];
/// Those of the kernel that stays on the device, a block or two to a multiprocessor, and runs the others' bodies.
const RESIDENT_REGISTERS_MAX: u32 = 168;
/// Bytes of a block, the most a kernel may declare: two find room where a multiprocessor has the least, 100 KiB.
const SHARED_MAX: u32 = 48 << 10;
/// Kernels of the device's own that move events and results.
const MOVERS: [&str; 2] = ["gather", "finish"];
const REBUILD: &str =
    "kernels/build.sh builds the image anew; commit what it writes to kernels/image";
/// What `build.sh` ends with where the compiler is not.
const CANNOT_RUN: i32 = 77;

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn sha256(bytes: &[u8]) -> String {
    Hash::hash(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What one kernel takes on one architecture.
#[derive(Debug)]
struct Row {
    kernel: String,
    sm: String,
    registers: u32,
    stack: u32,
    spills: u32,
    shared: u32,
}

#[derive(Debug)]
struct Manifest {
    source: String,
    image: String,
    rows: Vec<Row>,
}

fn manifest() -> Manifest {
    let text = String::from_utf8(read(&kernels().join("image/manifest.txt"))).expect("plain text");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in the manifest; {REBUILD}")).to_owned()
    };
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let (kernel, sm) = (words.next()?.to_owned(), words.next()?.to_owned());
        let numbers: Option<Vec<u32>> = words.map(|word| word.parse().ok()).collect();
        let [registers, stack, spills, shared] = numbers?[..] else { return None };
        Some(Row { kernel, sm, registers, stack, spills, shared })
    };
    Manifest {
        source: field("source"),
        image: field("image"),
        rows: text.lines().filter_map(row).collect(),
    }
}

/// The names of everything that the image is made from, sorted.
fn sources() -> Vec<String> {
    let files = std::fs::read_dir(kernels()).expect("the kernels are there").flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let is_source =
        |name: &String| name.ends_with(".cu") || name.ends_with(".cuh") || name == "build.sh";
    let mut names: Vec<_> = names.filter(is_source).collect();
    names.sort_unstable();
    names
}

/// The hash that `build.sh` writes: of the sources' names and hashes.
fn source_hash() -> String {
    let line = |name: &String| format!("{}  {name}\n", sha256(&read(&kernels().join(name))));
    sha256(sources().iter().map(line).collect::<String>().as_bytes())
}

#[test]
fn the_image_is_made_from_these_sources() {
    assert_eq!(manifest().source, source_hash(), "a source changed; {REBUILD}");
    let image = read(&kernels().join("image/pelton.fatbin"));
    assert_eq!(manifest().image, sha256(&image), "the image is not the manifest's; {REBUILD}");
    // The hash itself, by the example of its standard.
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn every_kernel_is_there_for_every_architecture() {
    let rows = manifest().rows;
    let names: Vec<_> =
        sources().iter().filter_map(|name| Some(name.strip_suffix(".cu")?.to_owned())).collect();
    for kernel in KERNELS {
        assert!(names.iter().any(|name| name == kernel.name), "{} has no source", kernel.name);
    }
    // The device has kernels of its own; the unit that includes all others is none.
    let names = names.iter().filter(|name| *name != "pelton");
    let of = |name: &String| {
        let only = (name == WGMMA).then_some("90a");
        ARCHITECTURES.into_iter().filter(move |sm| only.is_none_or(|only| only == *sm))
    };
    let want: Vec<_> = names.flat_map(|name| of(name).map(|sm| (name.as_str(), sm))).collect();
    let there: Vec<_> = rows.iter().map(|row| (row.kernel.as_str(), row.sm.as_str())).collect();
    assert_eq!(there, want, "{REBUILD}");
}

#[test]
fn kernels_stay_within_their_budgets() {
    for row in manifest().rows {
        assert_eq!((row.stack, row.spills), (0, 0), "nothing goes through local memory: {row:?}");
        let most = match row.kernel.as_str() {
            "resident" => RESIDENT_REGISTERS_MAX,
            "art" | "forest" | "half_space" | "loda" | "profile" | "season" | "spectral"
            | "sub_pca" => WALKING_REGISTERS_MAX,
            WGMMA => WGMMA_REGISTERS_MAX,
            name if PRODUCTS.contains(&name) => PRODUCT_REGISTERS_MAX,
            _ => REGISTERS_MAX,
        };
        assert!(row.registers <= most && row.shared <= SHARED_MAX, "{row:?}");
    }
}

/// Runs `build.sh`; `None`, with a note in the list of skips, where the compiler is not.
fn build(test: &str, args: &[&str]) -> Option<Output> {
    let mut command = Command::new("bash");
    command.arg(kernels().join("build.sh")).args(args);
    if std::env::var_os("PELTON_TOOLKIT").is_none() {
        // The folder of all that is built, wherever it is.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("toolkit");
        command.env("PELTON_TOOLKIT", target);
    }
    let out = command.output().expect("bash starts");
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.code() == Some(CANNOT_RUN) {
        program::skip(test, said.trim());
        return None;
    }
    assert!(out.status.success(), "{said}");
    Some(out)
}

#[test]
fn built_again_it_is_the_same() {
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let args = ["--into", into.to_str().expect("a plain name")];
    if build("built_again_it_is_the_same", &args).is_none() {
        return;
    }
    for name in ["manifest.txt", "pelton.fatbin"] {
        let (new, old) = (read(&into.join(name)), read(&kernels().join("image").join(name)));
        assert!(new == old, "{name} is not what the sources make; {REBUILD}");
    }
}

/// The instructions of each function of a disassembly.
fn functions(listing: &str) -> Vec<(&str, Vec<&str>)> {
    let mut functions = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Function : ") {
            functions.push((name, Vec::new()));
        } else if let (Some((_, code)), Some((_, instructions))) =
            (line.strip_prefix("/*").and_then(|l| l.split_once("*/ ")), functions.last_mut())
        {
            instructions.push(code.trim());
        }
    }
    functions
}

/// Whether an instruction, behind its predicate, is one of this kind: `LDG.E.128` is an `LDG`.
fn is(instruction: &str, kind: &str) -> bool {
    let mut words = instruction.split_whitespace().filter(|word| !word.starts_with('@'));
    let name = words.next().unwrap_or_default();
    name.split(['.', ';']).next() == Some(kind)
}

#[test]
fn machine_code_loads_wide_and_never_locally() {
    let image = kernels().join("image/pelton.fatbin");
    let args = ["--sass", "sm_90a", image.to_str().expect("a plain name")];
    let Some(out) = build("machine_code_loads_wide_and_never_locally", &args) else { return };
    let listing = String::from_utf8(out.stdout).expect("a listing is text");
    let functions = functions(&listing);
    for name in KERNELS.iter().map(|kernel| kernel.name).chain([WGMMA]) {
        assert!(functions.iter().any(|(found, _)| *found == name), "no {name}");
    }
    for (name, code) in functions {
        assert!(code.iter().any(|line| is(line, "EXIT")), "{name}: the listing was misread");
        for local in ["LDL", "STL"] {
            assert!(!code.iter().any(|line| is(line, local)), "{name} has {local}");
        }
        let wanted = match name {
            WGMMA => &WGMMA_CODE[..],
            name if PRODUCTS.contains(&name) => &MATRICES,
            _ => &[],
        };
        for wanted in wanted {
            let is_it = |line: &&str| line.split_whitespace().any(|word| word == *wanted);
            assert!(code.iter().any(&is_it), "{name} has no {wanted}");
        }
        let streams = KERNELS.iter().any(|kernel| kernel.name == name && kernel.events);
        let is_wide = |line: &&str| is(line, "LDG") && line.contains(".128");
        let wide = code.iter().any(is_wide);
        assert!(wide || !streams && !MOVERS.contains(&name), "{name} loads word by word");
    }
}

#[test]
fn listings_are_read() {
    let listing = "\t\tFunction : a\n\t.headerflags @\"x\"\n  /*0000*/  @!P0 LDG.E.128 R4, x ;  /* 0x00 */\n\
                   \x20             /* 0x01 */\n  /*0010*/  EXIT ; /* 0x2 */\nFunction : b\n";
    let found = functions(listing);
    assert_eq!((found[0].0, found[0].1.len(), found[1].0), ("a", 2, "b"), "{found:?}");
    assert!(is(found[0].1[0], "LDG") && is(found[0].1[1], "EXIT") && !is(found[0].1[1], "LDG"));
    assert!(is("STL [R1], R2 ;", "STL") && !is("STG.E [R1], R2 ;", "STL"));
}
