//! Runs the example programs that `cargo test` has built, on files of the test's own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A built example: beside the folder of this test's own program.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test is a program");
    let built = own.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let path = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{path:?} is not built; plain `cargo test` builds it, or `cargo build --examples`"
    );
    path
}

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

/// Runs an example to its end, with this on its standard input.
pub(crate) fn run_on(name: &str, args: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(example(name))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // It may leave before it has read everything.
    let writer = std::thread::spawn(move || _ = stdin.write_all(&input));
    let ran = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic");
    let text = |bytes| String::from_utf8(bytes).expect("programs print UTF-8");
    Ran { code: ran.status.code(), out: text(ran.stdout), err: text(ran.stderr) }
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
    let line = format!("SKIP {test}: {why}");
    println!("{line}");
    if let Some(path) = std::env::var_os("PELTON_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .expect("the list of skips can be written");
    }
}
