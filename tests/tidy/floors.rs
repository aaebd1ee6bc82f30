//! Floors: a file uses its own floor or lower, and two pairs of floors do not see each other.

use super::source::{File, closing, idents};
use std::collections::HashMap;

/// Every room of `src` with its floor. Rooms of floors 1 and 2 do not see their neighbours.
pub(crate) const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("ring", 1),
    ("plan", 1),
    ("device", 2),
    ("ops", 2),
    ("model", 3),
    ("pipeline", 4),
    ("learn", 5),
    ("connect", 5),
    ("observe", 5),
];

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|&(_, floor)| floor)
}

/// The room a file of `src` is in; `lib.rs` is in none.
pub(crate) fn room(path: &str) -> Option<&str> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    let first = first.strip_suffix(".rs").unwrap_or(first);
    (first != "lib").then_some(first)
}

/// Every use of a room that its user must not know of.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let names = root_names(files);
    let mut bad = Vec::new();
    for file in files.iter().filter(|file| file.is("rs")) {
        let Some(own) = room(&file.path) else { continue };
        if floor(own).is_none() {
            bad.push(format!(
                "{}: {own} is on no floor; give it one in tests/tidy/floors.rs",
                file.path
            ));
            continue;
        }
        for (at, path) in paths(file) {
            let first = path.first().map_or("*", String::as_str);
            let used = names.get(first).map_or(first, String::as_str);
            if let Some(why) = refuse(own, used) {
                bad.push(format!("{}:{}: {}: {why}", file.path, file.line(at), path.join("::")));
            }
        }
    }
    bad
}

/// Why `own` must not use `used`, if it must not.
fn refuse(own: &str, used: &str) -> Option<String> {
    if used == "*" {
        return Some("a glob of the root hides which floor is used".into());
    }
    if used == EXTERNAL || used == own {
        return None;
    }
    let (mine, Some(theirs)) = (floor(own)?, floor(used)) else {
        return Some(format!("{used} is no room, re-export or macro of the root"));
    };
    if theirs > mine {
        Some(format!("{own} is on floor {mine}, {used} above it on {theirs}"))
    } else if theirs == mine && matches!(mine, 1 | 2) {
        Some(format!("{own} and {used} are neighbours on floor {mine} and do not see each other"))
    } else {
        None
    }
}

const EXTERNAL: &str = "another package";

/// What can be reached as `crate::NAME` although it is no room: re-exports and macros, with their room.
fn root_names(files: &[File]) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for file in files.iter().filter(|file| file.is("rs")) {
        let words: Vec<_> = idents(&file.code).collect();
        for pair in words.windows(2) {
            let ((_, first), (at, second)) = (pair[0], pair[1]);
            if let (Some(room), "macro_rules") = (room(&file.path), first) {
                names.insert(second.to_owned(), room.to_owned());
            }
            if file.path == "src/lib.rs" && first == "use" {
                for path in expand(&file.code[at..]) {
                    let from = path[0].as_str();
                    let from = if floor(from).is_some() { from } else { EXTERNAL };
                    names.insert(path[path.len() - 1].clone(), from.to_owned());
                }
            }
        }
    }
    names
}

/// Every path of a file that goes through the root, from the root, with the byte where it begins.
fn paths(file: &File) -> Vec<(usize, Vec<String>)> {
    let code = &file.code;
    let inline = inline_modules(code);
    let mut found = Vec::new();
    for (at, word) in idents(code) {
        let after = code[at + word.len()..].trim_start();
        let chained = code[..at]
            .trim_end()
            .strip_suffix("::")
            .is_some_and(|c| c.trim_end().ends_with("super"));
        if !after.starts_with("::") || chained || !matches!(word, "crate" | "super" | "pelton") {
            continue;
        }
        for path in expand(&code[at..]) {
            let mut from: Vec<String> =
                if word == "super" { module(&file.path) } else { Vec::new() };
            if word == "super" {
                let around = inline.iter().filter(|(start, end, _)| (*start..*end).contains(&at));
                from.extend(around.map(|(_, _, name)| name.clone()));
            }
            let ups = path.iter().take_while(|step| *step == "super").count();
            from.truncate(from.len().saturating_sub(ups));
            let skip = if word == "super" { ups } else { 1 };
            from.extend(path[skip..].iter().cloned());
            found.push((at, from));
        }
    }
    found
}

/// The module that a file is, from the root.
fn module(path: &str) -> Vec<String> {
    let stem = path.strip_prefix("src/").and_then(|p| p.strip_suffix(".rs")).unwrap_or(path);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.split('/').map(str::to_owned).collect()
}

/// Modules written inside a file: where their braces are, and their names, outer ones first.
fn inline_modules(code: &str) -> Vec<(usize, usize, String)> {
    let words: Vec<_> = idents(code).collect();
    let mut found = Vec::new();
    for pair in words.windows(2) {
        let ((_, first), (at, name)) = (pair[0], pair[1]);
        let end = at + name.len();
        if first == "mod" && code[end..].trim_start().starts_with('{') {
            let open = end + code[end..].find('{').unwrap_or(0);
            found.push((open, closing(code, open), name.to_owned()));
        }
    }
    found
}

/// The paths of a use tree or a path expression at the start of `code`: `a::{b, c::d}` is `a::b`, `a::c::d`.
fn expand(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    tree(code, &mut Vec::new(), &mut found);
    found
}

/// Reads one tree, adds its paths behind `prefix`, and returns what follows.
fn tree<'a>(code: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut code = code.trim_start();
    let depth = prefix.len();
    loop {
        if let Some(mut inner) = code.strip_prefix('{') {
            loop {
                inner = tree(inner, prefix, found);
                inner = inner.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
                if inner.is_empty() || inner.starts_with('}') {
                    break;
                }
            }
            code = inner.strip_prefix('}').unwrap_or(inner);
            prefix.truncate(depth);
            return code;
        }
        let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let end = if end == 0 { code.len().min(1) } else { end };
        if end == 0 {
            break;
        }
        let (step, rest) =
            (&code[..code.ceil_char_boundary(end)], &code[code.ceil_char_boundary(end)..]);
        prefix.push(step.to_owned());
        code = rest;
        match rest.trim_start().strip_prefix("::") {
            Some(more) if !more.trim_start().starts_with('<') => code = more.trim_start(),
            _ => break,
        }
    }
    if prefix.len() > depth {
        found.push(prefix.clone());
    }
    prefix.truncate(depth);
    // Inside braces a tree ends at a comma or a brace, whatever alias stands before it.
    code.find([',', '}']).map_or("", |end| &code[end..])
}

#[cfg(test)]
mod tests {
    use super::{check, expand, room};
    use crate::source::File;

    /// What the rule says of one file beside the usual root.
    fn bad(path: &str, text: &str) -> String {
        let lib = "pub mod base;\npub use base::error::{Error, Result};\npub use bytemuck::Pod;\n\
                   pub use pipeline::run::Pipeline;\n";
        let field = "macro_rules! field { () => { $crate::base::x } }";
        let files = [
            File::new("src/lib.rs", lib),
            File::new("src/base/field.rs", field),
            File::new(path, text),
        ];
        check(&files).join("\n")
    }

    #[test]
    fn lower_floors_may_be_used() {
        for (path, text) in [
            ("src/ring/lane.rs", "use crate::base::{error::Result, limits::X};"),
            (
                "src/ring/lane.rs",
                "use crate::ring::slab::Slab; use super::slab; use super::super::base::x;",
            ),
            ("src/ring/lane.rs", "use crate::{Error, Pod, field}; crate::field!(A.b);"),
            (
                "src/ring/lane.rs",
                "// use crate::device::Device;\nconst A: &str = \"crate::ops::B\";",
            ),
            (
                "src/ring/lane.rs",
                "pub(crate) fn f() {} mod tests { use super::super::slab; use super::*; }",
            ),
            ("src/pipeline/run.rs", "use crate::{device::cpu, ops, ring::lane, plan};"),
            ("src/connect/csv/tests.rs", "use super::Csv; use crate::observe::x;"),
            ("src/lib.rs", "pub use device::Device; use crate::pipeline::x;"),
        ] {
            assert_eq!(bad(path, text), "", "{path}: {text}");
        }
    }

    #[test]
    fn higher_floors_may_not() {
        for (path, text, want) in [
            (
                "src/base/time.rs",
                "use crate::ring::lane;",
                "src/base/time.rs:1: ring::lane: base is on floor 0",
            ),
            (
                "src/plan/mod.rs",
                "use crate::{base::x, ops::{tumble, slide}};",
                "ops::tumble: plan is on floor 1",
            ),
            (
                "src/ops/x.rs",
                "\nfn f() { crate::pipeline::run::go() }",
                "src/ops/x.rs:2: pipeline::run::go",
            ),
            ("src/ops/x.rs", "use super::super::model::Y;", "model::Y: ops is on floor 2"),
            ("src/ops/mod.rs", "use super::{base, model};", "model: ops is on floor 2"),
            (
                "src/ops/x.rs",
                "mod tests { use super::super::super::model; }",
                "model: ops is on floor 2",
            ),
            (
                "src/ops/x.rs",
                "use crate::Pipeline;",
                "Pipeline: ops is on floor 2, pipeline above it",
            ),
            ("src/ops/x.rs", "use pelton::pipeline::run;", "pipeline::run: ops is on floor 2"),
        ] {
            let found = bad(path, text);
            assert!(found.contains(want), "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn neighbours_do_not_see_each_other() {
        assert!(bad("src/ring/a.rs", "use crate::plan::b;").contains("neighbours on floor 1"));
        assert!(bad("src/ops/a.rs", "use crate::device::b;").contains("neighbours on floor 2"));
        assert!(bad("src/device/cpu.rs", "crate::ops::KERNELS").contains("neighbours on floor 2"));
    }

    #[test]
    fn nothing_hides() {
        assert!(bad("src/ops/a.rs", "use crate::*;").contains("glob of the root"));
        assert!(bad("src/ops/mod.rs", "use super::*;").contains("glob of the root"));
        assert!(bad("src/ops/a.rs", "use crate::Unknown;").contains("no room, re-export or macro"));
        assert!(bad("src/attic/a.rs", "").contains("attic is on no floor"));
    }

    #[test]
    fn trees_are_expanded() {
        let paths = |code| expand(code).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
        assert_eq!(
            paths("crate::{a::{b, c as d}, e::*, f}; x"),
            ["crate::a::b", "crate::a::c", "crate::e::*", "crate::f"]
        );
        assert_eq!(paths("crate::a::B::<T>::new()"), ["crate::a::B"]);
        assert_eq!(paths("crate::a::\n    b(1)"), ["crate::a::b"]);
        assert_eq!(room("src/lib.rs"), None);
    }
}
