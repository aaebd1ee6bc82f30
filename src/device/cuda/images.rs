//! The kernels as they ship: machine code for every supported card, and what the manifest says is in it.
//!
//! `kernels/build.sh` makes both files; a user needs a driver, never a compiler. The driver picks the code for its
//! card, or compiles the PTX for a card that none of it fits.

/// What the driver is given: aligned as its loader reads it.
#[repr(C, align(16))]
struct Image<T: ?Sized>(T);

static IMAGE: &Image<[u8]> = &Image(*include_bytes!("../../../kernels/image/pelton.fatbin"));
#[cfg(test)]
const MANIFEST: &str = include_str!("../../../kernels/image/manifest.txt");

/// The fat binary of all kernels.
pub(super) fn image() -> &'static [u8] {
    &IMAGE.0
}

/// The names of the kernels in it, sorted.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    let rows = MANIFEST.lines().filter(|line| !line.starts_with('#'));
    // A kernel's row is its name and six numbers; every other line has fewer or other words.
    let kernel = |line: &'static str| {
        let (name, numbers) = line.split_once(' ')?;
        numbers.split_whitespace().all(|n| n.parse::<u32>().is_ok()).then_some(name)
    };
    let mut names: Vec<_> = rows.filter_map(kernel).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::{image, names};

    #[test]
    fn the_image_is_a_fat_binary_of_named_kernels() {
        // What the loader knows a fat binary by.
        assert_eq!(image()[..4], 0xBA55_ED50_u32.to_le_bytes());
        assert!(image().as_ptr().addr().is_multiple_of(16));
        assert!(names().contains(&"fold") && names().is_sorted());
    }
}
