//! How many points of a key's recent past lie around an event's point: half-space trees.
//!
//! Spec (Tan, Ting and Liu 2011, Fast Anomaly Detection for Streaming Data). A tree of height `h` cuts space in halves
//! `h` times. The root holds all points, its children those of either half of its space, and so on. Each node counts
//! the points of the running window, its *latest* mass; when a window of so many events is full, the latest mass
//! becomes the *reference* mass, and counting begins anew. An event goes down each tree and adds up, over the nodes on
//! its way, the reference mass times two to the power of the depth: since nodes of one depth are of one size, that is
//! a density. It stops behind the first node with less than a tenth of a window. What is least likely has the smallest
//! sum. The event is judged first, then learnt. Before the first window is full nothing is known.
//!
//! No tree is stored but its masses. A value's place in space is a *coordinate* from 0 to 65,535. Each tree sees it
//! moved by an *offset* of its own from 0 to 65,535, in a space twice as wide, so that no point lies near the edge of a
//! cell in all trees, and halves that space: the `n`-th cut of a dimension on the way asks for the `n`-th bit of the
//! sum, from the top. Which dimension a node cuts is a hash of tree and node, and an offset is one of tree and
//! dimension. From the coordinates on all is integer, and so the same on every device.
//!
//! Coordinates follow the key: `z` is the value's distance to its mean over the longest horizon (`ops::ewma`), in
//! deviations, the value being learnt; its place is `z / (4 + |z|)`, stretched from -1 and 1 to 0 and 65,535. A missing
//! value of an event lies in the middle, where it was expected. A single value has three dimensions: itself and its
//! means over the short and the middle horizon, so that what lasts shows, too.
//!
//! The *level* that decides (`ops::decide`) is the logarithm of the largest possible sum by the sum: 0 where all points
//! were in one place with this one, the more the fewer were around it. By its largest value it is the *rarity*, the
//! dense score.
//!
//! The *part* of one of several values is how many bits the cuts of its dimension took of the reference mass on all
//! ways down, beyond the one that a cut takes of an even spread: for each node behind a cut the position of the highest
//! bit of the mass before it, less that of the node's own (of 1 where it is 0), less one, where that is more than 0.
//!
//! State for each key: a line of counts and coordinates, then a word for each node, the reference mass in its high
//! half: 20 KB for ten trees of height eight. Cost for each event: height + 1 words of each tree read and written, and
//! all of them when a window is full.

use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, held, near_zero};
use super::math::{inverse, ln};
use super::score::{BINDS, ScoreParams, add_part, scores_wgsl};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::{VALUES_MAX, word};
use crate::plan::Kernel;
use std::array::from_fn;

/// The kernel `ops::score` with half-space trees.
pub static HALF_SPACE: Kernel = Kernel {
    name: "half_space",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("half_space.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, Trees::new(HalfSpaces::unpacked(p.shape0), p.values));
    },
};

/// State: events of the running window.
pub const COUNT: usize = 0;
/// State: whether a window was full.
pub const KNOWN: usize = 1;
/// State: the coordinates of the event that is being scored.
pub const POINT: usize = 8;
/// State: where masses begin.
pub const MASSES: usize = POINT + VALUES_MAX;
/// Most trees.
pub const TREES_MAX: usize = 64;
/// Most words of the masses of a key.
pub const MASSES_MAX: usize = 1 << 15;
/// The coordinate of what is expected.
pub const MIDDLE: u32 = 1 << 15;
/// Trees that the processor goes down side by side: as many as registers hold.
const ABREAST: usize = 5;
/// Deviations that lie halfway from the middle to the edge.
const HALFWAY: f32 = 4.0;

/// Half-space trees: how many, how fine, and how long they look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HalfSpaces {
    /// Trees, 1 to 64; more of them vary less.
    pub trees: u32,
    /// Halvings of space, 1 to 10. A tree takes 4 bytes times 2^(height + 1) a key; all trees 128 KiB at most.
    pub height: u32,
    /// Events of a window, 16 to 32,768.
    pub window: u32,
}

impl Default for HalfSpaces {
    fn default() -> Self {
        Self { trees: 10, height: 8, window: 256 }
    }
}

/// What the trees say of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mass {
    /// Whether there was a full window to judge by.
    pub known: bool,
    /// The sum over all trees; 0 when nothing is known.
    pub sum: u32,
    /// The level that decides.
    pub level: f32,
    /// From 0 to 1: the dense score.
    pub rarity: f32,
}

impl HalfSpaces {
    /// As one parameter: 16 bits of window, 8 of height, 8 of trees.
    pub const fn packed(self) -> u32 {
        self.window << 16 | self.height << 8 | self.trees
    }

    /// From what [`HalfSpaces::packed`] made.
    pub const fn unpacked(word: u32) -> Self {
        Self { trees: word & 0xFF, height: word >> 8 & 0xFF, window: word >> 16 }
    }

    /// Words of all masses of a key; node 1 is a tree's root, the children of node `i` are `2 i` and `2 i + 1`.
    pub const fn masses(self) -> usize {
        (self.trees as usize) << (self.height + 1)
    }

    /// Words of a key's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        (MASSES + self.masses()).next_multiple_of(16)
    }

    /// Whether there can be such trees.
    pub(super) fn check(self) -> Result<()> {
        let ranges = [
            ("trees", self.trees, 1..=word(TREES_MAX)),
            ("height", self.height, 1..=10),
            ("window", self.window, 16..=32_768),
        ];
        for (name, value, accepted) in ranges {
            if !accepted.contains(&value) {
                let accepted = format!("{} to {}", accepted.start(), accepted.end());
                return Err(out_of_range(name, value, &accepted));
            }
        }
        if self.masses() > MASSES_MAX {
            let accepted = "fewer trees, or lower ones: trees x 2^(height + 1) up to 32,768";
            return Err(out_of_range("trees", self.trees, accepted));
        }
        Ok(())
    }

    /// The first word of a key's trees that is out of range, after `seen` events. Once a window was full, a root has
    /// all of its events.
    pub(super) fn misfit(self, trees: &[u32], seen: u32) -> Option<usize> {
        let known = trees[KNOWN];
        if trees[COUNT] >= self.window || known != u32::from(seen >= self.window) {
            return Some(COUNT);
        }
        if let Some(i) = trees[POINT..MASSES].iter().position(|&place| place > 0xFFFF) {
            return Some(POINT + i);
        }
        let size = 2 << self.height;
        let mut masses = trees[MASSES..][..self.masses()].iter().enumerate();
        let is_wrong = |(i, &mass): (usize, &u32)| {
            let (reference, latest) = (mass >> 16, mass & 0xFFFF);
            let is_root = i % size == 1;
            reference > self.window
                || latest > self.window
                || is_root && reference != known * self.window
        };
        masses.position(is_wrong).map(|i| MASSES + i)
    }

    /// The largest sum: all points of a window in one place.
    pub const fn sum_max(self) -> u32 {
        self.trees * self.window * ((2 << self.height) - 1)
    }

    /// The mass around the point in the state, which is then learnt; adds to `taken`, where it is asked for, the bits
    /// that the cuts of each dimension took.
    pub fn mass(self, state: &mut [u32], cuts: &Cuts, taken: Option<&mut Taken>) -> Mass {
        match taken {
            None => self.mass_as::<false>(state, cuts, &mut [0; VALUES_MAX]),
            Some(taken) => self.mass_as::<true>(state, cuts, taken),
        }
    }

    fn mass_as<const PARTS: bool>(self, state: &mut [u32], cuts: &Cuts, taken: &mut Taken) -> Mass {
        let (head, masses) = state.split_at_mut(MASSES);
        let point: &[u32; VALUES_MAX] = head[POINT..].first_chunk().expect("a line");
        let masses = &mut masses[..self.masses()];
        let nodes = 2usize << self.height;
        let (mut sum, mut first) = (0, 0);
        let mut several = masses.chunks_exact_mut(ABREAST * nodes);
        for masses in &mut several {
            sum += self.walk::<ABREAST, PARTS>(masses, first, (point, cuts), taken);
            first += ABREAST;
        }
        for masses in several.into_remainder().chunks_exact_mut(nodes) {
            sum += self.walk::<1, PARTS>(masses, first, (point, cuts), taken);
            first += 1;
        }
        let known = head[KNOWN] != 0;
        head[COUNT] += 1;
        if head[COUNT] == self.window {
            (head[COUNT], head[KNOWN]) = (0, 1);
            masses.iter_mut().for_each(|mass| *mass <<= 16);
        }
        if !known {
            return Mass { known, sum: 0, level: 0.0, rarity: 0.0 };
        }
        let level = ln(real(self.sum_max()) * inverse(real(sum)));
        let rarity = level * cuts.by_largest;
        Mass { known, sum, level, rarity: if rarity > 1.0 { 1.0 } else { rarity } }
    }

    /// Goes down some trees, from the `first` on, side by side, since each step waits for the one before it: the sum
    /// over the nodes of each up to the first light one; adds one to all nodes on the ways, and with `PARTS`
    /// what cuts took to `taken`.
    #[inline(always)]
    fn walk<const TREES: usize, const PARTS: bool>(
        self,
        masses: &mut [u32],
        first: usize,
        (point, cuts): (&[u32; VALUES_MAX], &Cuts),
        taken: &mut Taken,
    ) -> u32 {
        let nodes = 2usize << self.height;
        let dimensions = &cuts.dimensions[first * nodes..][..TREES * nodes];
        let masses = &mut masses[..TREES * nodes];
        let offsets = &cuts.offsets[first..][..TREES];
        // The 17 bits of a place stand at the top: the next one is what falls out.
        let mut places: [[u32; VALUES_MAX]; TREES] =
            from_fn(|tree| from_fn(|i| (point[i] + offsets[tree][i]) << 15));
        let light = self.window.div_ceil(10) << 16;
        // `heavy` lets reference masses through up to the first light node.
        let (mut node, mut heavy, mut sum) = ([1usize; TREES], [0xFFFF_0000; TREES], 0);
        // The zeros above the highest bit of the mass before.
        let mut zeros = [0; TREES];
        for tree in 0..TREES {
            let root = &mut masses[tree * nodes + 1];
            sum += *root >> 16;
            zeros[tree] = zeros_above(*root);
            *root += 1;
        }
        for depth in 1..=self.height {
            for tree in 0..TREES {
                let cut = usize::from(dimensions[tree * nodes + node[tree]]) % VALUES_MAX;
                let place = &mut places[tree][cut];
                let (rest, right) = place.overflowing_add(*place);
                *place = rest;
                node[tree] = 2 * node[tree] + usize::from(right);
                let mass = &mut masses[tree * nodes + node[tree]];
                sum += (*mass & heavy[tree]) >> (16 - depth);
                if PARTS {
                    let before = std::mem::replace(&mut zeros[tree], zeros_above(*mass));
                    taken[cut] += zeros[tree].saturating_sub(before + 1) & heavy[tree] >> 16;
                }
                heavy[tree] = if *mass < light { 0 } else { heavy[tree] };
                *mass += 1;
            }
        }
        sum
    }
}

/// For each dimension the bits that its cuts took.
pub type Taken = [u32; VALUES_MAX];

/// The zeros above the highest bit of a node's reference mass, of 1 where that is 0.
#[inline(always)]
const fn zeros_above(mass: u32) -> u32 {
    (mass >> 16 | 1).leading_zeros()
}

/// All that trees are by their numbers: worked out once a batch, a few microseconds.
pub struct Cuts {
    /// For each node, where its mass lies, which dimension it cuts.
    dimensions: [u8; MASSES_MAX],
    /// By how much each tree sees each dimension moved.
    offsets: [[u32; VALUES_MAX]; TREES_MAX],
    /// One by the largest level.
    by_largest: f32,
}

impl Cuts {
    /// Those of trees in a space of so many dimensions.
    pub fn new(spaces: HalfSpaces, dimensions: u32) -> Self {
        let by_largest = inverse(ln(real((2 << spaces.height) - 1)));
        let mut cuts =
            Self { dimensions: [0; MASSES_MAX], offsets: [[0; VALUES_MAX]; TREES_MAX], by_largest };
        let trees = cuts.dimensions.chunks_exact_mut(2 << spaces.height).zip(&mut cuts.offsets);
        for (tree, (nodes, offsets)) in (0..spaces.trees).zip(trees) {
            for (node, cut) in (0..).zip(nodes) {
                #[allow(clippy::cast_possible_truncation, reason = "8 at most")]
                let dimension = dimension(tree, node, dimensions) as u8;
                *cut = dimension;
            }
            for (dimension, moved) in (0..dimensions).zip(offsets) {
                *moved = offset(tree, dimension);
            }
        }
        cuts
    }
}

/// Half-space trees on a serial device.
struct Trees {
    spaces: HalfSpaces,
    cuts: Cuts,
}

impl Trees {
    fn new(spaces: HalfSpaces, values: u32) -> Self {
        Self { spaces, cuts: Cuts::new(spaces, dimensions(values)) }
    }
}

impl Judge for Trees {
    fn missing(&mut self, own: &mut [u32], value: usize) {
        own[POINT + value] = MIDDLE;
    }

    fn value(
        &mut self,
        own: &mut [u32],
        p: &ScoreParams,
        learnt: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart {
        put_point(&mut own[POINT..MASSES], p, learnt);
        Apart { by: found.z2, dense: 0.0, part: 0.0 }
    }

    fn level(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        _: (&Distance<f32>, Apart),
        seen: u32,
        parts: &mut [u32],
    ) -> Level {
        let mut taken = [0; VALUES_MAX];
        let asked = (!parts.is_empty()).then_some(&mut taken);
        let mass = self.spaces.mass(own, &self.cuts, asked);
        for (value, &bits) in taken.iter().enumerate().take(parts.len()) {
            add_part(parts, value, bits as f32);
        }
        let levels = seen.saturating_sub(self.spaces.window + 1);
        Level { known: mass.known, levels, level: mass.level, dense: mass.rarity }
    }
}

/// Puts down where a value lies.
pub(super) fn put_point(
    point: &mut [u32],
    p: &ScoreParams,
    &Learnt { value, x, track, .. }: &Learnt<'_>,
) {
    let [short, middle, long] = track.horizons.map(|past| past.spread);
    let place = |off| coordinate(off - long.mean, long.variance);
    let places = [near_zero(x - track.origin), short.mean, middle.mean].map(place);
    let some = if p.values == 1 { places.len() } else { 1 };
    point[value..][..some].copy_from_slice(&places[..some]);
}

/// Where a distance to the mean lies, by the variance around it.
pub fn coordinate(off: f32, variance: f32) -> u32 {
    let z = held(off * inverse(variance.sqrt() + 1e-12), 1e6);
    let size = if z < 0.0 { -z } else { z };
    let place = z * inverse(HALFWAY + size) * 32767.0 + 32768.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 65,535")]
    let place = place as u32;
    place
}

/// Dimensions of an event's point: a single value brings its short and its middle mean.
#[inline(always)]
pub fn dimensions(values: u32) -> u32 {
    if values == 1 { 3 } else { values }
}

/// Which dimension a node cuts.
#[inline(always)]
pub fn dimension(tree: u32, node: u32, dimensions: u32) -> u32 {
    ((hash(tree << 16 | node) >> 16) * dimensions) >> 16
}

/// By how much a tree sees a dimension moved.
#[inline(always)]
pub fn offset(tree: u32, dimension: u32) -> u32 {
    hash(0x8000_0000 | tree << 16 | dimension) >> 16
}

/// The finaliser of Wellons, "lowbias32".
#[inline(always)]
fn hash(x: u32) -> u32 {
    let x = (x ^ x >> 16 ^ 0x5BF0_3635).wrapping_mul(0x7FEB_352D);
    let x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
    x ^ x >> 16
}

/// A whole number as a float, rounded once.
#[inline(always)]
fn real(n: u32) -> f32 {
    (n >> 16) as f32 * 65536.0 + (n & 0xFFFF) as f32
}
