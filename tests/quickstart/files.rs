//! Runs the quickstart on files of the test's own, and reads files of others.

use super::naive::Event;
use super::program::example;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a program wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs an example to its end.
pub(crate) fn run(name: &str, args: &[&str]) -> Ran {
    let command = Command::new(example(name)).args(args).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = command.expect("the example starts");
    let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A file that is gone when the test is over.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// A file of this text; `name` tells it from those of other tests.
    pub(crate) fn new(name: &str, text: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("pelton-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("temporary files can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn arg(&self) -> &str {
        self.0.to_str().expect("temporary folders have plain names")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reports that a test could not run.
pub(crate) fn skip(test: &str, why: &str) {
    use std::io::Write;
    let line = format!("SKIP {test}: {why}");
    println!("{line}");
    if let Some(path) = std::env::var_os("PELTON_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .expect("the list of skips can be written");
    }
}

/// A reading of the form `2014-07-01 00:00:00,10844`, of no key.
pub(crate) fn exact(line: &str) -> Event {
    let (time, value) = line.split_once(',').expect("two fields");
    let number = |from: usize, to: usize| time[from..to].parse::<u64>().expect("digits");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
    let mut days: u64 = (1970..year).map(|y| 365 + u64::from(leap(y))).sum();
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months.iter().take(usize::try_from(month).unwrap() - 1).sum::<u64>() + day - 1;
    let at = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    Event { at, key: "0".into(), value: value.trim().parse().expect("a number") }
}
