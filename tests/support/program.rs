//! Finds the example programs that `cargo test` has built.

use std::path::PathBuf;

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
