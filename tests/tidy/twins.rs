//! Twins: every kernel has its shader, its CUDA source and its tests; every package named is in use.

use super::source::{File, idents};

/// Packages the engine was asked to stand on.
pub(crate) const PACKAGES: &[&str] =
    &["bytemuck", "crossbeam", "cudarc", "half", "pollster", "tokio", "wgpu"];

/// Those that no file uses yet. The list only shrinks: a package in use must come off it.
pub(crate) const PACKAGES_AWAITED: &[&str] = &[];

/// Longest Rust example of the README.
const README_EXAMPLE_LINES_MAX: usize = 30;

/// A kernel: its static, its name and the operator file that declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) ident: String,
    pub(crate) name: String,
    pub(crate) file: String,
}

/// Every `static X: Kernel = Kernel { name: "x", … }` of the operators.
pub(crate) fn kernels(files: &[File]) -> Vec<Declared> {
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.is("rs") && f.path.starts_with("src/ops/")) {
        let words: Vec<_> = idents(&file.code).collect();
        for triple in words.windows(3) {
            let [(_, "static"), (at, ident), (_, "Kernel")] = *triple else { continue };
            let body = &file.text[at..];
            let quoted = body.split_once("name: \"").and_then(|(_, rest)| rest.split_once('"'));
            let name = quoted.map_or_else(|| ident.to_lowercase(), |(name, _)| name.to_owned());
            found.push(Declared { ident: ident.to_owned(), name, file: file.path.clone() });
        }
    }
    found
}

/// Kernels that are not listed, have no shader (once a device runs shaders), no CUDA source (once there is one), or
/// that no test names (once there are specs to judge them by).
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let there = |prefix: &str| files.iter().any(|file| file.path.starts_with(prefix));
    let list = files.iter().find(|file| file.path == "src/ops/mod.rs");
    let mut bad = Vec::new();
    for Declared { ident, name, file } in kernels(files) {
        if !list.is_some_and(|list| idents(&list.code).any(|(_, word)| word == ident)) {
            bad.push(format!("{file}: {ident} is not listed in ops::KERNELS"));
        }
        let shader = format!("shaders/{name}.wgsl");
        if there("src/device/wgpu") && !there(&shader) {
            bad.push(format!("{file}: kernel {name} has no twin {shader}"));
        }
        let cuda = format!("kernels/{name}.cu");
        if there("kernels/") && !there(&cuda) {
            bad.push(format!("{file}: kernel {name} has no twin {cuda}"));
        }
        let stem = file.rsplit('/').next().and_then(|n| n.strip_suffix(".rs")).unwrap_or(&name);
        if there("tests/spec") && !files.iter().any(|file| tests_name(file, &[stem, &name, &ident]))
        {
            bad.push(format!("{file}: no test names {stem} or its kernel {name}"));
        }
    }
    bad
}

/// Whether a file of tests, or the tests at the end of a source file, say one of these words.
fn tests_name(file: &File, words: &[&str]) -> bool {
    let tests = match file.path.as_str() {
        path if path.starts_with("tests/tidy/") => "",
        path if path.starts_with("tests/") || path.ends_with("tests.rs") => file.code.as_str(),
        path if path.starts_with("src/") => {
            file.code.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
        }
        _ => "",
    };
    let path = file
        .path
        .strip_prefix("tests/")
        .is_some_and(|path| words.iter().any(|word| path.contains(word)));
    !tests.is_empty() && (path || idents(tests).any(|(_, word)| words.contains(&word)))
}

/// Packages that are not depended on, are not used, or are used although they are listed as awaited.
pub(crate) fn packages(files: &[File], awaited: &[&str]) -> Vec<String> {
    let manifest =
        files.iter().find(|file| file.path == "Cargo.toml").map_or("", |file| &file.text);
    let mut bad = Vec::new();
    for package in PACKAGES {
        if !manifest.lines().any(|line| line.starts_with(&format!("{package} = "))) {
            bad.push(format!("Cargo.toml: does not depend on {package}"));
        }
        let used = files.iter().filter(|f| f.is("rs")).find(|file| {
            let ours = file.path.starts_with("src/") || file.path.starts_with("examples/");
            ours && idents(&file.code)
                .any(|(at, word)| word == *package && path_root(&file.code, at, word.len()))
        });
        match (used, awaited.contains(package)) {
            (None, false) => bad.push(format!("{package}: no file under src or examples uses it")),
            (Some(file), true) => bad.push(format!(
                "{package}: {} uses it now; take it off PACKAGES_AWAITED in tests/tidy/twins.rs",
                file.path
            )),
            _ => {}
        }
    }
    bad
}

/// Whether the word at `at` begins a path: `wgpu::Device`, but not `device::wgpu::open`.
fn path_root(code: &str, at: usize, len: usize) -> bool {
    let before = code[..at].trim_end();
    code[at + len..].starts_with("::") && (!before.ends_with("::") || before.ends_with("use ::"))
}

/// The first Rust example of the README when it is too long to read at a glance.
pub(crate) fn readme(files: &[File]) -> Vec<String> {
    let Some(file) = files.iter().find(|file| file.path == "README.md") else { return Vec::new() };
    let lines = file.text.lines().skip_while(|line| !line.starts_with("```rust")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("```")).count();
    if lines <= README_EXAMPLE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("README.md: its example has {lines} lines, at most {README_EXAMPLE_LINES_MAX}")]
}

#[cfg(test)]
mod tests {
    use super::{PACKAGES, check, kernels, packages, readme};
    use crate::source::File;

    const KERNEL: &str = "pub static TUMBLE: Kernel = Kernel {\n    name: \"tumble_add\",\n};\n";

    fn files(paths: &[&str]) -> Vec<File> {
        let mut files = vec![File::new("src/ops/tumble.rs", KERNEL)];
        files.extend(paths.iter().map(|path| File::new(*path, "")));
        files
    }

    #[test]
    fn kernels_are_read_from_their_operators() {
        let text = "static A: Kernel = B;\n// static C: Kernel = D;\nstatic E: u8 = 0;";
        let names: Vec<_> =
            kernels(&[File::new("src/ops/a.rs", text)]).into_iter().map(|k| k.name).collect();
        assert_eq!(names, ["a"]);
        assert_eq!(kernels(&files(&[]))[0].name, "tumble_add");
        assert!(kernels(&[File::new("src/device/a.rs", KERNEL)]).is_empty());
    }

    #[test]
    fn missing_twins_are_found() {
        let tests = "tests/spec/windows.rs";
        let list = |text| File::new("src/ops/mod.rs", text);
        let with = |paths: &[&str], more: File| {
            let mut all = files(paths);
            all.extend([list("&[&tumble::TUMBLE]"), more]);
            check(&all)
        };
        let other = || File::new(tests, "fn hop() {}");
        assert!(with(&[], list("")).is_empty(), "no device runs shaders yet, and no spec judges");
        assert_eq!(check(&files(&[])), ["src/ops/tumble.rs: TUMBLE is not listed in ops::KERNELS"]);
        let found = with(&["src/device/wgpu/mod.rs", "tests/tidy/tumble.rs"], other());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("has no twin shaders/tumble_add.wgsl"));
        assert!(found[1].contains("no test names tumble or its kernel tumble_add"));
        let whole = ["src/device/wgpu/mod.rs", "shaders/tumble_add.wgsl"];
        assert!(with(&whole, File::new(tests, "fn a() { tumble_add() }")).is_empty());
        assert!(with(&whole, File::new("tests/spec/tumble.rs", "fn a() {}")).is_empty());
        let named = || File::new(tests, "fn a() { tumble_add() }");
        let found = with(&["kernels/prelude.cuh"], named());
        assert_eq!(
            found,
            ["src/ops/tumble.rs: kernel tumble_add has no twin kernels/tumble_add.cu"]
        );
        assert!(with(&["kernels/tumble_add.cu"], named()).is_empty());
    }

    #[test]
    fn packages_are_listed_and_used() {
        let manifest: String = PACKAGES.iter().map(|name| format!("{name} = \"1\"\n")).collect();
        let uses: String = PACKAGES.iter().map(|name| format!("use {name}::x;\n")).collect();
        let all = [File::new("Cargo.toml", manifest), File::new("src/a.rs", uses)];
        assert!(packages(&all, &[]).is_empty());
        assert!(packages(&all, &["wgpu"])[0].contains("take it off"));
        assert_eq!(packages(&all[..1], &[]).len(), PACKAGES.len());
        assert_eq!(packages(&all[1..], &[]).len(), PACKAGES.len());
        let aside = File::new("src/a.rs", "// use wgpu::x;\nuse crate::device::wgpu::open;\n");
        let found = packages(&[aside], &[]);
        assert!(found.contains(&"wgpu: no file under src or examples uses it".to_owned()));
    }

    #[test]
    fn long_examples_are_found() {
        let example =
            |lines| format!("# a\n```console\nx\n```\n```rust\n{}```\n", "f();\n".repeat(lines));
        assert!(readme(&[File::new("README.md", example(30))]).is_empty());
        assert_eq!(readme(&[File::new("README.md", example(31))]).len(), 1);
    }
}
