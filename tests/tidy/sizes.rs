//! Sizes: files, functions, line widths, and the ledger of code lines.

use super::floors::{FLOORS, room};
use super::source::{File, closing, idents};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 120;

/// Something with a size: where it is and how many lines it has.
pub(crate) type Sized = (String, usize);

/// Files and functions that are too long, lines that are too wide or end in spaces.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let over = |things: Vec<Sized>, max: usize| {
        let over = things.into_iter().filter(move |(_, lines)| *lines > max);
        over.map(move |(name, lines)| format!("{name}: {lines} lines, at most {max}"))
    };
    let mut bad: Vec<String> = over(lengths(files), FILE_LINES_MAX).collect();
    bad.extend(over(functions(files), FUNCTION_LINES_MAX));
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let chars = line.chars().count();
            if file.is_code() && chars > LINE_CHARS_MAX {
                bad.push(format!(
                    "{}:{number}: {chars} characters, at most {LINE_CHARS_MAX}",
                    file.path
                ));
            }
            if (file.is_code() || file.is("md") || file.is("toml")) && line.ends_with([' ', '\t']) {
                bad.push(format!("{}:{number}: ends in spaces", file.path));
            }
        }
    }
    bad
}

/// Every file that holds code, with its lines.
pub(crate) fn lengths(files: &[File]) -> Vec<Sized> {
    let code = files.iter().filter(|file| file.is_code());
    code.map(|file| (file.path.clone(), file.text.lines().count())).collect()
}

/// Every function in Rust, WGSL and shell, with its lines from its name to its closing brace.
pub(crate) fn functions(files: &[File]) -> Vec<Sized> {
    let mut found = Vec::new();
    for file in files {
        if file.is("rs") || file.is("wgsl") {
            braced_functions(file, &mut found);
        } else if file.is_script() {
            shell_functions(file, &mut found);
        }
    }
    found
}

fn braced_functions(file: &File, found: &mut Vec<Sized>) {
    let words: Vec<_> = idents(&file.code).collect();
    for pair in words.windows(2) {
        let ((at, first), (name_at, name)) = (pair[0], pair[1]);
        if first != "fn" || !file.code[at + 2..name_at].trim().is_empty() {
            continue; // a function pointer type has no name
        }
        let Some(open) = body(&file.code, name_at) else { continue };
        let lines = file.line(closing(&file.code, open)) + 1 - file.line(at);
        found.push((format!("{}:{}: fn {name}", file.path, file.line(at)), lines));
    }
}

/// Where the body of the function named at `at` opens; a declaration has none.
fn body(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (i, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(i),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn shell_functions(file: &File, found: &mut Vec<Sized>) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_suffix("() {") else { continue };
        let length =
            lines[start..].iter().position(|l| *l == "}").map_or(lines.len() - start, |n| n + 1);
        found.push((format!("{}:{}: {name}", file.path, start + 1), length));
    }
}

/// The largest five, for people to see what grows.
pub(crate) fn top(mut things: Vec<Sized>) -> String {
    things.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    things.iter().take(5).map(|(name, lines)| format!("  {lines:5}  {name}\n")).collect()
}

/// Lines of code, without comments and blank lines, of each room and of everything else.
pub(crate) fn ledger(files: &[File]) -> String {
    let lines = |keep: &dyn Fn(&File) -> bool| -> usize {
        let code = files.iter().filter(|file| file.is_code() && keep(file));
        code.flat_map(|file| file.code.lines()).filter(|line| !line.trim().is_empty()).count()
    };
    let mut ledger = String::from("code lines per floor:\n");
    for (name, floor) in FLOORS {
        ledger +=
            &format!("  {:5}  {floor} {name}\n", lines(&|file| room(&file.path) == Some(name)));
    }
    for folder in ["kernels", "shaders", "tests", "benches", "examples"] {
        let prefix = format!("{folder}/");
        ledger += &format!("  {:5}  - {folder}\n", lines(&|file| file.path.starts_with(&prefix)));
    }
    ledger
}

#[cfg(test)]
mod tests {
    use super::{check, functions, ledger, top};
    use crate::source::File;

    fn long_function(lines: usize) -> String {
        format!(
            "/// Doc.\nfn long<T: Into<[u8; 4]>>(a: T) -> u8 {{\n{}}}\n",
            "    f();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let fits = File::new("src/a.rs", long_function(70));
        assert_eq!(check(&[fits]), Vec::<String>::new());
        let long = File::new("src/a.rs", long_function(71));
        assert_eq!(check(&[long]), ["src/a.rs:2: fn long: 71 lines, at most 70"]);
        let long = File::new("shaders/a.wgsl", "// x\n".repeat(501));
        assert_eq!(check(&[long]), ["shaders/a.wgsl: 501 lines, at most 500"]);
        let script = format!("#!/usr/bin/env bash\nlong() {{\n{}}}\n", "  x\n".repeat(69));
        assert_eq!(check(&[File::new("a.sh", script)]), ["a.sh:2: long: 71 lines, at most 70"]);
        assert_eq!(check(&[File::new("data.json", "[\n".repeat(900))]), Vec::<String>::new());
    }

    #[test]
    fn braces_in_literals_do_not_count() {
        let file = File::new(
            "a.rs",
            "fn a() {\n  let b = \"}\"; // }\n  c(|| {});\n}\nfn d();\ntype F = fn(u8) -> u8;",
        );
        assert_eq!(functions(&[file]), [("a.rs:1: fn a".to_owned(), 4)]);
    }

    #[test]
    fn wide_lines_and_trailing_spaces_are_found() {
        let wide = format!("{}\n{}\n", "é".repeat(120), "x".repeat(121));
        assert_eq!(
            check(&[File::new("a.rs", wide.clone())]),
            ["a.rs:2: 121 characters, at most 120"]
        );
        assert_eq!(check(&[File::new("a.md", wide)]), Vec::<String>::new());
        assert_eq!(check(&[File::new("a.md", "x\ny \n")]), ["a.md:2: ends in spaces"]);
    }

    #[test]
    fn ledger_counts_code_only() {
        let files = [
            File::new("src/base/a.rs", "//! Doc.\n\nuse a; // b\n/* c\nd */\nfn e() {}\n"),
            File::new("src/ring/a.rs", "x;\n"),
        ];
        let ledger = ledger(&files);
        assert!(
            ledger.contains("    2  0 base\n") && ledger.contains("    1  1 ring\n"),
            "{ledger}"
        );
        assert_eq!(top(vec![("a".into(), 1), ("b".into(), 3)]), "      3  b\n      1  a\n");
    }
}
