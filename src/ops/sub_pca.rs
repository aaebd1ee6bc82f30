//! How much of the latest stretch of a key's values its usual shapes leave over: streaming principal components.
//!
//! Spec. `rank` vectors follow the principal components of the stretches so far (`ops::stretch`), that is, the shapes
//! that they are mostly made of. What is unusual about a stretch is its *residual*, what is left when its parts along
//! these vectors are taken away (the squared prediction error of Jackson and Mudholkar 1979). Numbers being scaled,
//! stretches need no mean taken away.
//!
//! Learning is candid covariance-free (CCIPCA; Weng, Zhang and Hwang 2003, after Oja 1982 and Sanger 1989). With `r`
//! the stretch, for each vector `v` in turn, by its values before:
//!
//! ```text
//! along = r.v    size = v.v
//! v' = (1 - s) v + s (along / sqrt(size)) r
//! r' = r - (along / size) v
//! ```
//!
//! So `v` points along a component and is as long as that component's variance is large, and `r` goes on without its
//! part along `v`; behind the last vector it is the residual. Each step takes an orthogonal part away, so no residual
//! is longer than its stretch, whatever the vectors, and they need not be made orthogonal again. The share `s` is that
//! of the stretch in what is learnt, the amnesic mean of the paper. A vector whose `size` is below 10^-12 is none: it
//! becomes what is left of the stretch, and those behind it wait for the next one.
//!
//! State for each key and value: a line of counts and means, then the numbers, then the vectors: 704 bytes for 32
//! numbers and 4 vectors. Cost for each event and value: all of it read and most of it written, eight operations for
//! each number and vector.

use super::detector::out_of_range;
use super::ewma::near_zero;
use super::math::inverse;
use super::score::{BINDS, ScoreParams, scores_wgsl};
use super::simd::{Wide, wide};
use super::stretch::{self, ByExcess, Latest, NUMBER_MAX, STRANDS, Stretch, folded};
use super::walk;
use crate::base::error::Result;
use crate::plan::Kernel;

/// The kernel `ops::score` with streaming principal components.
pub static SUB_PCA: Kernel = Kernel {
    name: "sub_pca",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("together.wgsl", "stretch.wgsl", "sub_pca.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, ByExcess::new(SubPca::unpacked(p.shape0)));
    },
};

/// Shortest window.
pub const WINDOW_MIN: u32 = 8;
/// Longest window.
pub const WINDOW_MAX: u32 = 64;
/// Most vectors.
pub const RANK_MAX: u32 = 8;
/// The least squared length of a vector.
const SIZE_MIN: f32 = 1e-12;

/// Streaming principal components of the latest stretch of each value: how long it is, and how many shapes are usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubPca {
    /// Numbers of a stretch: 8, 16, 32 or 64.
    pub window: u32,
    /// Vectors, 1 to 8.
    pub rank: u32,
}

impl Default for SubPca {
    fn default() -> Self {
        Self { window: 32, rank: 4 }
    }
}

impl SubPca {
    /// As one parameter: 16 bits of window, 16 of rank.
    pub const fn packed(self) -> u32 {
        self.window << 16 | self.rank
    }

    /// From what [`SubPca::packed`] made.
    pub const fn unpacked(word: u32) -> Self {
        Self { window: word >> 16, rank: word & 0xFFFF }
    }

    /// Words of a value's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        stretch::words(self.window, (self.window * self.rank) as usize)
    }

    /// # Errors
    /// `Invalid` when a number is out of range, naming it.
    pub(super) fn check(self) -> Result<()> {
        if !self.window.is_power_of_two() || !(WINDOW_MIN..=WINDOW_MAX).contains(&self.window) {
            return Err(out_of_range("window", self.window, "8, 16, 32, 64"));
        }
        if !(1..=RANK_MAX).contains(&self.rank) {
            return Err(out_of_range("rank", self.rank, "1 to 8"));
        }
        Ok(())
    }

    /// Keeps a scaled number; the excess of the stretch that it ends, where there is a past to judge by.
    pub fn excess(self, state: &mut [u32], number: f32) -> Option<f32> {
        stretch::excess(self, state, number)
    }
}

impl Stretch for SubPca {
    fn window(self) -> u32 {
        self.window
    }

    fn learnt(self) -> usize {
        (self.window * self.rank) as usize
    }

    /// A vector is at most as long as the square of a stretch.
    fn learnt_max(self) -> f32 {
        self.window as f32 * NUMBER_MAX * NUMBER_MAX
    }

    fn unusual_max(self) -> f32 {
        NUMBER_MAX * NUMBER_MAX
    }

    fn unusual(self, latest: &Latest<'_>, vectors: &mut [u32]) -> f32 {
        let mut squares = 0.0;
        wide(Step { latest, vectors, squares: &mut squares });
        // One by a power of two is exact.
        squares * inverse(self.window as f32)
    }
}

/// Takes from a stretch what each vector explains, and has each learn it.
struct Step<'a> {
    latest: &'a Latest<'a>,
    vectors: &'a mut [u32],
    /// What comes out: the sum of squares of what is left.
    squares: &'a mut f32,
}

impl Wide for Step<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { latest, vectors, squares } = self;
        let (window, share) = (latest.ring.len(), latest.share);
        let mut left = [0.0f32; WINDOW_MAX as usize];
        let left = &mut left[..window];
        latest.copy_to(left);
        for vector in vectors.chunks_exact_mut(window) {
            let [along, size] = sums(left, vector);
            if size < SIZE_MIN {
                for (word, &number) in vector.iter_mut().zip(&*left) {
                    *word = number.to_bits();
                }
                break;
            }
            let part = along * inverse(size);
            let gain = along * inverse(size.sqrt()) * share;
            let keep = 1.0 - share;
            for (word, number) in vector.iter_mut().zip(left.iter_mut()) {
                let before = f32::from_bits(*word);
                *word = near_zero(before * keep + *number * gain).to_bits();
                *number = near_zero(*number - before * part);
            }
        }
        let mut strands = [0.0f32; STRANDS];
        let (whole, rest) = left.as_chunks::<STRANDS>();
        let mut add = |numbers: &[f32]| {
            for (strand, &number) in strands.iter_mut().zip(numbers) {
                *strand += number * number;
            }
        };
        whole.iter().for_each(|numbers| add(numbers));
        add(rest);
        *squares = folded(&strands);
    }
}

/// The sums of products of numbers and a vector, and of the vector's squares.
#[inline(always)]
fn sums(numbers: &[f32], vector: &[u32]) -> [f32; 2] {
    let (mut along, mut size) = ([0.0f32; STRANDS], [0.0f32; STRANDS]);
    let mut add = |numbers: &[f32], vector: &[u32]| {
        let strands = along.iter_mut().zip(&mut size);
        for ((along, size), (&number, &word)) in strands.zip(numbers.iter().zip(vector)) {
            let of_vector = f32::from_bits(word);
            *along += number * of_vector;
            *size += of_vector * of_vector;
        }
    };
    // Of a length that the compiler knows, where there are so many.
    let (whole, rest) = numbers.as_chunks::<STRANDS>();
    let (whole_vector, vector_rest) = vector.as_chunks::<STRANDS>();
    whole.iter().zip(whole_vector).for_each(|(numbers, vector)| add(numbers, vector));
    add(rest, vector_rest);
    [near_zero(folded(&along)), folded(&size)]
}
