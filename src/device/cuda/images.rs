//! The kernels as they ship: machine code for every supported card, PTX for those that come after them.
//!
//! `kernels/build.sh` makes the image, its manifest says what is in it, and `tests/cuda_image.rs` holds both to the
//! sources; a user needs a driver, never a compiler. The driver picks the code for its card.

/// What the driver is given: aligned as its loader reads it.
#[repr(C, align(16))]
struct Image<T: ?Sized>(T);

static IMAGE: &Image<[u8]> = &Image(*include_bytes!("../../../kernels/image/pelton.fatbin"));

/// The fat binary of all kernels.
pub(super) fn image() -> &'static [u8] {
    &IMAGE.0
}

#[cfg(test)]
mod tests {
    use super::image;

    #[test]
    fn the_image_is_one_whole_fat_binary() {
        // What the loader knows it by, and the length it goes by: header and body.
        let head = image();
        assert_eq!(head[..4], 0xBA55_ED50_u32.to_le_bytes());
        assert!(head.as_ptr().addr().is_multiple_of(16));
        let header = usize::from(u16::from_le_bytes([head[6], head[7]]));
        let body = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        assert_eq!(head.len() as u64, header as u64 + body);
    }
}
