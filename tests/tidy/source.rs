//! The files of the repository, and their code without comments and literals.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Extensions of files that hold code, as against prose and data.
const CODE: &[&str] = &["rs", "wgsl", "cu", "cuh", "h", "cpp", "sh", "py"];

/// One file: where it is, what it says, and what of that is code.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with every byte of a comment, string or character replaced by a space.
    pub(crate) code: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let braces = matches!(extension(&path), "rs" | "wgsl" | "cu" | "cuh" | "h" | "cpp");
        let code = if braces { blank(&text) } else { text.clone() };
        Self { path, text, code }
    }

    pub(crate) fn is(&self, ext: &str) -> bool {
        extension(&self.path) == ext
    }

    /// Whether the file holds code at all; scripts without an extension begin with `#!`.
    pub(crate) fn is_code(&self) -> bool {
        CODE.contains(&extension(&self.path)) || self.text.starts_with("#!/")
    }

    pub(crate) fn is_script(&self) -> bool {
        self.is("sh") || self.text.starts_with("#!/usr/bin/env bash")
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1
    }
}

fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or("", |(stem, ext)| if stem.is_empty() { "" } else { ext })
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository: what git knows and does not ignore, or what lies there without git.
pub(crate) fn repository() -> Vec<File> {
    let root = root();
    let mut paths = tracked(&root).unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(&root, &root, &mut found);
        found
    });
    paths.sort();
    let read = |path: String| {
        std::fs::read_to_string(root.join(&path)).ok().map(|text| File::new(path, text))
    };
    paths.into_iter().filter_map(read).collect()
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let out = Command::new("git")
        .args(args)
        .current_dir(root)
        .output()
        .ok()
        .filter(|o| o.status.success())?;
    let list = String::from_utf8(out.stdout).ok()?;
    let paths: Vec<String> = list.lines().map(str::to_owned).collect();
    // A package unpacked inside somebody else's repository has a git that knows none of its files.
    paths.iter().any(|path| path == "Cargo.toml").then_some(paths)
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(root, &path, found);
            }
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// Identifiers and keywords of blanked code with the bytes at which they begin.
pub(crate) fn idents(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(word)?;
        let end = code[start..].find(|c| !word(c)).map_or(code.len(), |n| start + n);
        at = end;
        Some((start, &code[start..end]))
    })
}

/// The byte of the brace that closes the one at `open`, in blanked code.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (i, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return i,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// The text with comments, strings and characters blanked, byte for byte; line ends stay.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal(bytes, at);
        if end > at {
            let inside = out[at..end].iter_mut().filter(|b| **b != b'\n');
            inside.for_each(|b| *b = b' ');
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole literals are blanked, so what is left is whole characters")
}

/// Where the comment or literal that begins at `at` ends, or `at` when none begins there.
fn literal(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |stop: fn(&[u8]) -> usize| at + stop(rest);
    match rest {
        [b'/', b'/', ..] => until(|r| r.iter().position(|&b| b == b'\n').unwrap_or(r.len())),
        [b'/', b'*', ..] => until(block_comment),
        [b'"', ..] => until(string),
        [b'\'', b'\\', ..] => {
            until(|r| 3 + r[3.min(r.len())..].iter().take_while(|&&b| b != b'\'').count() + 1)
                .min(bytes.len())
        }
        [b'\'', first, ..] => {
            // A quote after one character makes it a character; a lifetime has none there.
            let width = match first {
                0..0x80 => 1,
                0..0xe0 => 2,
                0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') { at + width + 2 } else { at }
        }
        [b'r', b'"' | b'#', ..] if !in_word(bytes, at) => until(raw_string),
        _ => at,
    }
}

/// Whether the `r` at `at` ends an identifier; the prefixes of `br""` and `cr""` are none.
fn in_word(bytes: &[u8], at: usize) -> bool {
    let word = |i: usize| bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_';
    match at {
        0 => false,
        1 => word(0) && !matches!(bytes[0], b'b' | b'c'),
        _ => word(at - 1) && (!matches!(bytes[at - 1], b'b' | b'c') || word(at - 2)),
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0; // a raw identifier
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(end.len()).position(|w| w == end);
    found.map_or(rest.len(), |n| body + n + end.len())
}

#[cfg(test)]
mod tests {
    use super::{File, blank, closing, idents};

    #[test]
    fn only_code_is_left() {
        for (text, want) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", z)"#, "f(      , z)"),
            ("f('\"', 'a, '\\'', '\\u{1}')", "f(   , 'a,     ,        )"),
            ("let c = 'é';", "let c =     ;"),
            ("r\"\\\" + 1", "     + 1"),
            ("br#\"a\"b\"# + 1", "b         + 1"),
            ("attr\"s\"", "attr   "),
            ("r#type", "r#type"),
            ("&'a str", "&'a str"),
            ("\"two\nlines\" x", "    \n       x"),
            ("\"open", "     "),
        ] {
            assert_eq!(blank(text), want, "{text}");
        }
    }

    #[test]
    fn words_braces_and_lines_are_found() {
        let words: Vec<_> = idents("fn a_1(b)->é{}").map(|(_, word)| word).collect();
        assert_eq!(words, ["fn", "a_1", "b", "é"]);
        assert_eq!(closing("{ { } }", 0), 6);
        assert_eq!(File::new("a.rs", "x\ny\nz").line(4), 3);
    }

    #[test]
    fn kinds_of_files_are_told_apart() {
        assert!(File::new("a/b.wgsl", "").is_code() && !File::new("a.md", "").is_code());
        assert!(File::new(".ci/run", "#!/usr/bin/env bash\n").is_script());
        assert!(!File::new(".gitignore", "").is("gitignore"));
    }
}
