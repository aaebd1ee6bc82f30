//! Mistakes planted in the kernels, one at a time, and whether what judges a device finds each of them.

use super::{HURRY, Library, Plant, compiler, side_by_side, skip};
use pelton::Device;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A line of a list of mistakes: the file, what stands there once, and what is put in its place.
pub const fn plant<'a>(file: &'a str, from: &'a str, to: &'a str) -> Plant<'a> {
    Plant { file, from, to }
}

/// What makes a device of a library of kernels and an order of threads.
pub type Open = fn(&Library<'_>, u64) -> Option<Device>;

/// Holds these kernels as they are to be right, and each planted mistake to be found, by a wrong answer or a panic, in
/// one of these orders of threads.
///
/// # Panics
/// When one is not found.
pub fn find(
    kernels: &Library<'_>,
    open: Open,
    test: &str,
    plants: &[(&str, Plant<'_>)],
    orders: Range<u64>,
    is_right: impl Fn(&Device, u64) -> bool + Sync,
) {
    if compiler().is_none() {
        return skip(test, "no C++ compiler");
    }
    let sound = Library { flags: HURRY, ..*kernels };
    let sound = open(&sound, 1).expect("the compiler is there");
    assert!(is_right(&sound, 1), "nothing is planted yet");
    // Most of the time is the compiler's, which takes one core.
    side_by_side(plants, |(what, plant)| {
        let library = Library { plant: Some(*plant), ..*kernels };
        let found = orders.clone().find_map(|order| found(&library, open, order, &is_right));
        println!("{what}\n  {}", found.as_deref().unwrap_or("NOT FOUND"));
        assert!(found.is_some(), "{what} is not found: {plant:?}");
    });
}

/// What shows a planted mistake in this order, if anything does.
fn found(
    library: &Library<'_>,
    open: Open,
    order: u64,
    is_right: impl Fn(&Device, u64) -> bool,
) -> Option<String> {
    let device = open(library, order).expect("the compiler is there");
    match catch_unwind(AssertUnwindSafe(|| is_right(&device, order))) {
        Ok(right) => (!right).then(|| format!("other results in order {order}")),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            Some(format!("order {order}: {}", said.lines().next().unwrap_or_default()))
        }
    }
}
