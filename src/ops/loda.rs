//! How rare an event's point is among shadows of its key's recent past: a lightweight online detector of anomalies.
//!
//! Spec (Pevny 2016, Loda: Lightweight On-line Detector of Anomalies). Each of some random projections casts all points
//! on a line and keeps a histogram of them; a point is the more anomalous the fewer points share its cells, by the mean
//! over all projections of minus the logarithm of that share. A projection uses but few of the dimensions, the root of
//! their number rounded up.
//!
//! A value's place is the *coordinate* of `ops::half_space`, from 0 to 65,535, which follows the key's mean and
//! deviation; a missing value lies in the middle, and a single value brings its short and its middle mean. Projection
//! `j` goes through the dimensions and takes the `i`-th, when `taken` of `needed` are, if a hash of `j` and `i` says so
//! with a probability of `needed - taken` by those left (selection sampling, Fan et al. 1962); its factor is an odd
//! number from -255 to 255 from the same hash. The *shadow* of a point is the sum of factors times coordinates counted
//! from the middle, by the sum of the factors' sizes, from 0 to 65,535 at most; its cell is one of a power of two of
//! equal ones. All of that is integer, and so the same on every device.
//!
//! A histogram counts all events; when they are two windows, all counts are halved, rounded down, and so is their
//! number: an event counts half as much after a window, roughly. An event is judged first, then learnt. Before a window
//! is full nothing is known.
//!
//! The *level* that decides (`ops::decide`) is the mean over all projections of `ln((n + 1) / (c + 1))`, `n` the number
//! of events and `c` the count of the event's cell, added up in the order of projections; by its largest value, `ln(n +
//! 1)`, it is the dense score.
//!
//! The *part* of one of several values: a shadow's distance from the middle is a sum with a term for each dimension
//! that the projection uses, factor times coordinate, so each has its share in the sum of their squares. Of each
//! projection the dimensions get these shares of the square of the logarithm above: what lies in rare cells by no doing
//! of its own gets little. (Pevny compares the means with a dimension and without it, which needs some without
//! it: of two dimensions every projection uses both.)
//!
//! State for each key: a line of counts and coordinates, then 2 bytes a cell: 2 KB for 32 projections of 32 cells. Cost
//! for each event and projection: a hash for each dimension, one division, a half-word read and written, a logarithm.

use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::Distance;
use super::half_space::{MIDDLE, dimensions, put_point};
use super::math::{inverse, ln};
use super::number::Number;
use super::score::{BINDS, ScoreParams, add_part, scores_wgsl};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::VALUES_MAX;
use crate::plan::Kernel;
use std::array::from_fn;

/// The kernel `ops::score` with random projections.
pub static LODA: Kernel = Kernel {
    name: "loda",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("loda.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, Projections::new(&p));
    },
};

/// State: events in the histograms.
pub const EVENTS: usize = 0;
/// State: the coordinates of the event that is being scored.
pub const POINT: usize = 8;
/// State: where cells begin, two in a word, the even one low.
pub const CELLS: usize = POINT + VALUES_MAX;
/// Most projections.
pub const PROJECTIONS_MAX: u32 = 256;

/// Projections: how many, how fine their histograms, and how long those look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loda {
    /// Projections, 1 to 256; more of them vary less.
    pub projections: u32,
    /// Cells of a histogram: a power of two from 8 to 256. A projection takes 2 bytes a cell and key.
    pub cells: u32,
    /// Events of a window, 16 to 32,767.
    pub window: u32,
}

impl Default for Loda {
    fn default() -> Self {
        Self { projections: 32, cells: 32, window: 1024 }
    }
}

/// What the projections say of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shadows {
    /// Whether there was a full window to judge by.
    pub known: bool,
    /// The level that decides.
    pub level: f32,
    /// From 0 to 1: the dense score.
    pub rarity: f32,
}

/// A number from -255 to 255, or none: what a projection multiplies a dimension by.
pub type Factors = [i32; VALUES_MAX];

impl Loda {
    /// Words of a key's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        (CELLS + (self.projections * self.cells / 2) as usize).next_multiple_of(16)
    }

    /// Whether there can be such projections.
    pub(super) fn check(self) -> Result<()> {
        if !(1..=PROJECTIONS_MAX).contains(&self.projections) {
            return Err(out_of_range("projections", self.projections, "1 to 256"));
        }
        if !self.cells.is_power_of_two() || !(8..=256).contains(&self.cells) {
            return Err(out_of_range("cells", self.cells, "8, 16, 32, 64, 128, 256"));
        }
        if !(16..=32_767).contains(&self.window) {
            return Err(out_of_range("window", self.window, "16 to 32767"));
        }
        Ok(())
    }

    /// The first word of a key's histograms that is out of range. Halving rounds counts down, so that cells may have
    /// fewer events than there are, never more.
    pub(super) fn misfit(self, own: &[u32]) -> Option<usize> {
        let events = own[EVENTS];
        if events >= 2 * self.window {
            return Some(EVENTS);
        }
        if let Some(i) = own[POINT..CELLS].iter().position(|&place| place > 0xFFFF) {
            return Some(POINT + i);
        }
        let size = self.cells as usize / 2;
        let histograms = own[CELLS..].chunks_exact(size).take(self.projections as usize);
        let is_over = |cells: &[u32]| {
            cells.iter().map(|pair| u64::from(pair >> 16) + u64::from(pair & 0xFFFF)).sum::<u64>()
                > events.into()
        };
        histograms.map(is_over).position(|over| over).map(|j| CELLS + j * size)
    }

    /// What all projections multiply dimensions by.
    pub fn factors(self, dimensions: u32) -> Vec<Factors> {
        (0..self.projections).map(|projection| factors(projection, dimensions)).collect()
    }

    /// How rare the point in the state is, which is then learnt; adds to the parts of several values.
    pub fn shadows(self, state: &mut [u32], factors: &[Factors], parts: &mut [u32]) -> Shadows {
        let (head, cells) = state.split_at_mut(CELLS);
        let point: &[u32; VALUES_MAX] = head[POINT..].first_chunk().expect("a line");
        let events = head[EVENTS];
        let halved = events + 1 == 2 * self.window;
        let of_all = events as f32 + 1.0;
        let mut sum = 0.0;
        for (factors, cells) in factors.iter().zip(cells.chunks_exact_mut(self.cells as usize / 2))
        {
            let cell = shadow(factors, point) / (65_536 / self.cells);
            let (pair, up) = (&mut cells[cell as usize / 2], 16 * (cell % 2));
            let count = *pair >> up & 0xFFFF;
            // At least one, but for a rounding.
            let rare = ln((of_all * inverse(count as f32 + 1.0)).no_less(1.0));
            sum += rare;
            if !parts.is_empty() {
                share_out(rare * rare, &terms(factors, point), parts);
            }
            *pair += 1 << up;
            if halved {
                cells.iter_mut().for_each(|pair| *pair = *pair >> 1 & 0x7FFF_7FFF);
            }
        }
        head[EVENTS] = if halved { self.window } else { events + 1 };
        if events < self.window {
            return Shadows { known: false, level: 0.0, rarity: 0.0 };
        }
        let level = sum * inverse(self.projections as f32);
        let rarity = level * inverse(ln(of_all));
        let rarity = if rarity > 1.0 { 1.0 } else { rarity };
        Shadows { known: true, level, rarity }
    }
}

/// Random projections on a serial device.
struct Projections {
    loda: Loda,
    /// What each multiplies dimensions by: worked out once a batch.
    factors: Vec<Factors>,
}

impl Projections {
    fn new(p: &ScoreParams) -> Self {
        let loda = Loda { projections: p.shape0, cells: p.shape1, window: p.shape2 };
        Self { loda, factors: loda.factors(dimensions(p.values)) }
    }
}

impl Judge for Projections {
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
        put_point(&mut own[POINT..CELLS], p, learnt);
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
        let Shadows { known, level, rarity } = self.loda.shadows(own, &self.factors, parts);
        Level { known, levels: seen.saturating_sub(self.loda.window + 1), level, dense: rarity }
    }
}

/// What a projection multiplies each dimension by.
#[inline(always)]
pub fn factors(projection: u32, dimensions: u32) -> Factors {
    let needed = needed(dimensions);
    let (mut factors, mut taken) = ([0; VALUES_MAX], 0);
    for i in 0..dimensions {
        let hash = hash(projection << 8 | i);
        if ((hash >> 16) * (dimensions - i)) >> 16 < needed - taken {
            factors[i as usize] = (hash & 0xFF).cast_signed() * 2 - 255;
            taken += 1;
        }
    }
    factors
}

/// How many dimensions a projection uses: the root of their number, rounded up.
#[inline(always)]
pub const fn needed(dimensions: u32) -> u32 {
    match dimensions {
        1 => 1,
        2..=4 => 2,
        _ => 3,
    }
}

/// What each dimension adds to a point's shadow; 23 bits and a sign.
#[inline(always)]
fn terms(factors: &Factors, point: &[u32; VALUES_MAX]) -> [i32; VALUES_MAX] {
    from_fn(|i| factors[i] * (point[i].cast_signed() - MIDDLE.cast_signed()))
}

/// Shares what is rare out among the dimensions by the squares of their terms.
#[inline(always)]
fn share_out(rare: f32, terms: &[i32; VALUES_MAX], parts: &mut [u32]) {
    let squares = terms.map(|term| term as f32 * term as f32);
    let mut all = 0.0;
    for square in squares {
        all += square;
    }
    if all > 0.0 {
        let each = rare * inverse(all);
        for (value, square) in squares.into_iter().enumerate().filter(|(_, square)| *square > 0.0) {
            add_part(parts, value, square * each);
        }
    }
}

/// Where a point's shadow falls, from 0 to 65,535.
#[inline(always)]
pub fn shadow(factors: &Factors, point: &[u32; VALUES_MAX]) -> u32 {
    let sum: i32 = terms(factors, point).into_iter().sum();
    let size: u32 = factors.iter().map(|factor| factor.unsigned_abs()).sum();
    let place = (sum + (size * MIDDLE).cast_signed()).cast_unsigned() / size;
    if place > 0xFFFF { 0xFFFF } else { place }
}

/// The finaliser of Wellons, "lowbias32".
#[inline(always)]
fn hash(x: u32) -> u32 {
    let x = (x ^ x >> 16 ^ 0x3C6E_F372).wrapping_mul(0x7FEB_352D);
    let x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
    x ^ x >> 16
}

const _: () = assert!(VALUES_MAX == 8, "as `needed` knows");
