//! Words: what no file says, what every file opens with, and where `unsafe` may stand.

use super::source::{File, idents};

/// The files that may say `unsafe`. A file that no longer does comes off the list.
pub(crate) const UNSAFE_FILES: &[&str] = &[
    "benches/common/bus.rs",
    "benches/peers/windows/src/events.rs",
    "benches/peers/windows/src/rival.rs",
    "benches/wgpu_seam.rs",
    "examples/custom_kernel/kernel.rs",
    "src/base/pages.rs",
    "src/device/cuda/context.rs",
    "src/device/cuda/custom.rs",
    "src/device/cuda/lanes.rs",
    "src/device/cuda/memory.rs",
    "src/device/cuda/mod.rs",
    "src/device/cuda/place.rs",
    "src/device/cuda/program.rs",
    "src/device/cuda/queue.rs",
    "src/device/cuda/queue/latency.rs",
    "src/device/cuda/resident.rs",
    "src/device/cuda/stream.rs",
    "src/device/fault.rs",
    "src/device/mod.rs",
    "src/ops/simd/add.rs",
    "src/ops/simd/amx.rs",
    "src/ops/simd/avx2.rs",
    "src/ops/simd/gelu.rs",
    "src/ops/simd/gemm.rs",
    "src/ops/simd/lookup.rs",
    "src/ops/simd/low.rs",
    "src/ops/simd/low_avx512.rs",
    "src/ops/simd/neon.rs",
    "src/ops/simd/place.rs",
    "src/ops/simd/score.rs",
    "src/ops/simd/sixteen.rs",
    "src/ops/simd/times.rs",
    "src/ops/simd/wide.rs",
    "src/ops/simd/words.rs",
    "src/ring/lane.rs",
    "src/ring/shared.rs",
    "src/ring/slab.rs",
    "tests/cuda/stand_in.rs",
    "tests/parity/custom_kernel.rs",
    "tests/cuda_host/driver.rs",
    "tests/cuda_host/shim.rs",
    "tests/steady/mod.rs",
];

/// How many lines above an unsafe block its argument may begin.
const SAFETY_LINES: usize = 8;

/// Macros that mean "not done", as they stand in code.
const UNDONE_CODE: &[&str] = &["dbg!(", "todo!(", "unimplemented!("];

/// Notes that mean "not done", wherever they stand; in halves, because this file is read too.
const UNDONE_NOTES: &[(&str, &str)] = &[("FIX", "ME"), ("XX", "X")];

/// Names of places where the project was made, in halves: files speak of the project alone.
const PLACES: &[(&str, &str)] = &[
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("sub", "agent"),
    ("arti", "factory"),
    ("farm", "-bench"),
    ("bash", "_jobs"),
    ("anthr", "opic"),
];

/// The one file that may name the folder of shared data, and that name in halves.
const DATA: (&str, (&str, &str)) = ("test.sh", ("../sha", "red"));

/// Undone work and names of places.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let mut bad = Vec::new();
    let join = |(a, b): &(&str, &str)| format!("{a}{b}");
    for file in files {
        let mut report =
            |what: &str, line: usize| bad.push(format!("{}:{line}: {what}", file.path));
        if file.is_code() {
            for word in UNDONE_CODE {
                file.code.match_indices(word).for_each(|(at, _)| report(word, file.line(at)));
            }
            for word in UNDONE_NOTES.iter().map(join) {
                file.text.match_indices(&word).for_each(|(at, _)| report(&word, file.line(at)));
            }
        }
        for (line, text) in (1..).zip(file.text.lines()) {
            let text = text.to_lowercase();
            let places = PLACES.iter().map(join).filter(|word| text.contains(word));
            places.for_each(|word| report(&format!("{word:?} is not of this project"), line));
            if file.path != DATA.0 && text.contains(&join(&DATA.1)) {
                report(&format!("only {} names the folder of shared data", DATA.0), line);
            }
        }
    }
    bad
}

/// Files with code that do not open with a sentence of purpose.
pub(crate) fn purpose(files: &[File]) -> Vec<String> {
    let opens = |file: &File| {
        let mut lines = file.text.lines();
        let mut first = lines.next().unwrap_or("");
        if first.starts_with("#!/") {
            first = lines.next().unwrap_or("");
        }
        let marks: &[&str] = match file.path.rsplit('.').next() {
            Some("rs") => &["//! "],
            Some("wgsl" | "cu" | "cuh" | "h" | "cpp") => &["// "],
            _ => &["# ", "\"\"\""],
        };
        marks.iter().any(|mark| first.strip_prefix(mark).is_some_and(|s| s.split(' ').count() >= 3))
    };
    let closed = files.iter().filter(|file| file.is_code() && !opens(file));
    closed.map(|file| format!("{}: does not open with a sentence of purpose", file.path)).collect()
}

/// `unsafe` outside its files, blocks without their argument, and files that need no longer be listed.
pub(crate) fn unsafety(files: &[File], allowed: &[&str]) -> Vec<String> {
    let mut bad = Vec::new();
    for file in files.iter().filter(|file| file.is("rs")) {
        let lines: Vec<&str> = file.text.lines().collect();
        let mut says = false;
        for (at, _) in idents(&file.code).filter(|(_, word)| *word == "unsafe") {
            says = true;
            let line = file.line(at);
            if !allowed.contains(&file.path.as_str()) {
                bad.push(format!(
                    "{}:{line}: unsafe outside the files listed in tests/tidy/words.rs",
                    file.path
                ));
            }
            let after = file.code[at + "unsafe".len()..].trim_start();
            let above = &lines[(line - 1).saturating_sub(SAFETY_LINES)..line];
            let argued = above.iter().any(|text| text.contains("SAFETY:"));
            if (after.starts_with('{') || after.starts_with("impl")) && !argued {
                bad.push(format!(
                    "{}:{line}: unsafe without a SAFETY: comment above it",
                    file.path
                ));
            }
        }
        if !says && allowed.contains(&file.path.as_str()) {
            bad.push(format!(
                "{}: says no unsafe; take it off the list in tests/tidy/words.rs",
                file.path
            ));
        }
    }
    bad
}

#[cfg(test)]
mod tests {
    use super::{check, purpose, unsafety};
    use crate::source::File;

    #[test]
    fn undone_work_is_found() {
        for (text, want) in [
            ("x\ndbg!(y)".to_owned(), "a.rs:2: dbg!("),
            ("todo!()".to_owned(), "a.rs:1: todo!("),
            (format!("// {}{} later", "FIX", "ME"), "a.rs:1: FIX"),
        ] {
            let bad = check(&[File::new("a.rs", text)]);
            assert!(bad.len() == 1 && bad[0].starts_with(want), "{bad:?}");
        }
        assert!(check(&[File::new("a.rs", "// dbg!(y)\nlet s = \"todo!()\";")]).is_empty());
    }

    #[test]
    fn places_are_found_in_every_file() {
        for word in [("/wo", "rk/x"), ("ARTI", "FACTORY"), ("Sub", "Agent"), ("farm", "-bench")] {
            let file = File::new("notes.md", format!("one\nsee {}{}.\n", word.0, word.1));
            assert!(check(&[file])[0].starts_with("notes.md:2: "), "{word:?}");
        }
        let data = format!("cd {}{}/data", "../sha", "red");
        assert_eq!(check(&[File::new("bench.sh", data.as_str())]).len(), 1);
        assert!(check(&[File::new("test.sh", data)]).is_empty());
        assert!(check(&[File::new("a.md", "a network/host and its framework/")]).is_empty());
    }

    #[test]
    fn files_open_with_their_purpose() {
        for (path, text) in [
            ("a.rs", "//! What it is.\n"),
            ("a.wgsl", "// Twin of b.\n"),
            ("a.sh", "#!/usr/bin/env bash\n# Runs every check.\n"),
            ("a.py", "\"\"\"Reads the results.\"\"\"\n"),
            ("a.json", "{}"),
        ] {
            assert!(purpose(&[File::new(path, text)]).is_empty(), "{path}");
        }
        for (path, text) in [
            ("a.rs", "use b;\n"),
            ("a.rs", "//! A.\n"),
            ("a.rs", "// What it is.\n"),
            ("a.cu", "__global__ void x() {}\n"),
            ("a", "#!/usr/bin/env bash\nset -e\n"),
            ("a.rs", ""),
        ] {
            assert_eq!(purpose(&[File::new(path, text)]).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn unsafe_stands_where_it_may_and_is_argued() {
        let argued = "// SAFETY: it is.\nunsafe { x() }\nunsafe fn f() {}\n";
        let bare = "fn a() {\n    unsafe { x() }\n}\nunsafe impl Send for A {}\n";
        let list = &["a.rs"];
        let found = |path, text| unsafety(&[File::new(path, text)], list);
        assert!(found("a.rs", argued).is_empty());
        assert_eq!(found("a.rs", bare).len(), 2);
        assert_eq!(found("b.rs", argued).len(), 2);
        assert!(found("a.rs", "let a = \"unsafe\"; // unsafe")[0].contains("take it off the list"));
        assert!(found("b.rs", "#![forbid(unsafe_code)] // unsafe").is_empty());
    }
}
