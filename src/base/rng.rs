//! `splitmix64`: one multiply-and-shift stream of random words, for seeds, tests and generators.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

/// The golden ratio as a 64-bit odd fraction: the step between two states.
pub const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A small, fast, seedable generator. Not for secrets.
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// The stream of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The `i`-th word of the stream of `seed`, without the words before it.
    #[inline]
    pub const fn at(seed: u64, i: u64) -> u64 {
        let mut z = seed.wrapping_add(i.wrapping_add(1).wrapping_mul(GOLDEN));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next word.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        let word = Self::at(self.0, 0);
        self.0 = self.0.wrapping_add(GOLDEN);
        word
    }

    /// A number below `n`; every one is equally likely to within `n / 2^64`.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next_u64()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix;

    #[test]
    fn stream_and_random_access_agree() {
        let mut stream = SplitMix::new(42);
        for i in 0..100 {
            assert_eq!(stream.next_u64(), SplitMix::at(42, i));
        }
    }

    #[test]
    fn known_vector() {
        // First outputs of the reference implementation for seed 1234567.
        let mut rng = SplitMix::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_stays_below() {
        let mut rng = SplitMix::new(7);
        assert!((0..1000).all(|_| rng.below(10) < 10));
        assert_eq!(rng.below(1), 0);
    }
}
