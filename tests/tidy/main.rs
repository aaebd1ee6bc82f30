//! Reads the sources and keeps the house: floors, sizes, unsafe, twins, purpose, and what no file says.
//!
//! `cargo test --test tidy -- --nocapture` prints the ledger beside the verdicts. Each rule lives in a file
//! of its own with tests that show it can fail.

mod floors;
mod sizes;
mod source;
mod twins;
mod words;

use source::repository;

/// Fails with one line for each thing amiss.
fn expect_none(bad: &[String]) {
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}

#[test]
fn every_file_uses_its_own_floor_or_lower() {
    expect_none(&floors::check(&repository()));
}

#[test]
fn files_functions_and_lines_stay_small() {
    let files = repository();
    println!("largest files:\n{}", sizes::top(sizes::lengths(&files)));
    println!("largest functions:\n{}", sizes::top(sizes::functions(&files)));
    println!("{}", sizes::ledger(&files));
    expect_none(&sizes::check(&files));
}

#[test]
fn nothing_undone_and_no_places() {
    expect_none(&words::check(&repository()));
}

#[test]
fn every_file_opens_with_its_purpose() {
    expect_none(&words::purpose(&repository()));
}

#[test]
fn unsafe_is_listed_and_argued() {
    expect_none(&words::unsafety(&repository(), words::UNSAFE_FILES));
}

#[test]
fn every_kernel_has_its_twins() {
    let files = repository();
    expect_none(&twins::check(&files));
}

#[test]
fn every_package_named_is_in_use() {
    expect_none(&twins::packages(&repository(), twins::PACKAGES_AWAITED));
}

#[test]
fn the_readme_example_fits_one_glance() {
    expect_none(&twins::readme(&repository()));
}

#[test]
fn the_repository_is_read() {
    let files = repository();
    for path in ["Cargo.toml", "src/lib.rs", "src/base/error.rs", "tests/tidy/main.rs"] {
        assert!(files.iter().any(|file| file.path == path), "{path}");
    }
    assert!(
        !files.iter().any(|file| file.path.starts_with("target/")),
        "built files are not sources"
    );
    for file in files.iter().filter(|file| file.is("rs") || file.is("wgsl")) {
        let count = |brace| file.code.matches(brace).count();
        assert_eq!(count('{'), count('}'), "{}: a literal or comment was misread", file.path);
    }
}
