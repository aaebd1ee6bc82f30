//! How soon random cuts set a value apart from a sample of its key's past: a random cut forest of endless trees.
//!
//! Spec. A random cut tree over points on a line cuts the range they span at a uniformly random place, and goes on with
//! either side until each point is alone (Guha et al. 2016). An unusual point is alone after few cuts: its expected
//! depth over all trees is small. On a line that expectation needs no tree. A gap between two neighbouring points lies
//! on a point's path exactly if, of the stretch from the point to the gap's far end, the first cut falls into the gap:
//! with a probability of the gap by that stretch. So the depth of `q` in a sorted sample is the sum, on each side, of
//!
//! ```text
//! (z[j+1] - z[j]) / (q - z[j])
//! ```
//!
//! over the gaps, 1 for the nearest; and log2(d + 1) where `d` points equal `q`, which no cut sets apart. A value's
//! *isolation* is 1 / (1 + depth): a half when the first cut sets it apart.
//!
//! Each value has three such forests, of the value itself and of its means over the short and the middle horizon
//! (`ops::ewma`), so that what lasts shows, too. The isolation of the three is the root of their mean square. It comes
//! in two grains. The *fine* one, over all points, decides: it times log2 of the number of points is the level of
//! `ops::decide`. The *coarse* one, over some 32 quantiles of the sample, is the dense score: it varies less from event
//! to event and stays up while an anomaly lasts.
//!
//! A sample is sorted, of 64 to 1024 points. Its first points are the first values; afterwards the `n`-th value
//! replaces a random point with a probability of points by `n` (reservoir sampling, Vitter 1985), `n` at most 65,536,
//! so that the past is forgotten slowly. Draws are a hash of `n` and of the sample's number, nothing else; the point
//! that goes is a rank. So which points there are is decided by integers and by comparisons of values alone.
//!
//! State for each key: a line of counts, then 12 bytes a point and value: 12 KiB for 1024 points and one value. Cost
//! for each event and value: three sums over all points, of a division each.

use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, OFF_MAX, near_zero};
use super::math::{inverse, ln};
use super::score::{BINDS, LEVEL_FIRST, ScoreParams, scores_wgsl};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::word;
use crate::plan::Kernel;

/// The kernel `ops::score` with forests.
pub static FOREST: Kernel = Kernel {
    name: "forest",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("forest.wgsl"),
    cpu: |args| walk::score(args, Forests),
};

/// Forests of a value: of itself, and of its short and its middle mean.
pub const SAMPLES: usize = 3;
/// Points from which a sample says anything.
pub const POINTS_FIRST: u32 = 8;
/// Fewest points of a sample.
pub const POINTS_MIN: u32 = 64;
/// Most points of a sample.
pub const POINTS_MAX: u32 = 1024;
/// Words of the counts of the values that the samples saw.
pub const COUNTS: usize = 16;
/// Quantiles of the coarse grain, up to twice as many while there are few points.
const COARSE: u32 = 32;
/// Values that a sample stands for, at most.
const MEMORY: u32 = 1 << 16;
/// Sums that run side by side: the terms of one are this far apart.
const STRANDS: usize = 16;

/// Words of a key's forests, in whole lines of 64 bytes.
pub const fn words(values: usize, points: u32) -> usize {
    (COUNTS + values * SAMPLES * points as usize).next_multiple_of(16)
}

/// Whether samples can be of so many points.
pub(super) fn check(points: u32) -> Result<()> {
    if points.is_power_of_two() && (POINTS_MIN..=POINTS_MAX).contains(&points) {
        return Ok(());
    }
    Err(out_of_range("points", points, "64, 128, 256, 512, 1024"))
}

/// The first word of a key's forests that is out of order.
pub(super) fn misfit(forest: &[u32], values: usize, points: u32) -> Option<usize> {
    let size = points as usize;
    for value in 0..values {
        let held = forest[value].min(points) as usize;
        for sample in 0..SAMPLES {
            let from = COUNTS + (value * SAMPLES + sample) * size;
            let mut least = -OFF_MAX;
            for (at, &word) in (from..).zip(&forest[from..from + held]) {
                let x = number(word);
                if !(least..=OFF_MAX).contains(&x) {
                    return Some(at);
                }
                least = x;
            }
        }
    }
    None
}

/// Forests on a serial device.
struct Forests;

impl Judge for Forests {
    fn value(
        &mut self,
        own: &mut [u32],
        p: &ScoreParams,
        &Learnt { value, x, track, .. }: &Learnt<'_>,
        _: &mut Distance<f32>,
    ) -> Apart {
        let [short, middle, _] = track.horizons.map(|past| past.spread.mean);
        let q = [near_zero(x - track.origin), short, middle];
        let Isolation { fine, coarse } = isolation(own, value, p.shape0, q);
        Apart { by: fine, dense: coarse }
    }

    fn level(
        &mut self,
        _: &mut [u32],
        p: &ScoreParams,
        _: &Distance<f32>,
        apart: Apart,
        seen: u32,
    ) -> Level {
        let levels = seen.saturating_sub(LEVEL_FIRST + 1);
        let level = apart.by * p.shape0.trailing_zeros() as f32;
        Level { known: seen > LEVEL_FIRST, levels, level, dense: apart.dense }
    }
}

/// The isolation of a value, by all points and by some.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Isolation {
    /// By all points: it decides.
    pub fine: f32,
    /// By quantiles: the dense score.
    pub coarse: f32,
}

/// A random word for the `n`-th value of a sample (the finaliser of Wellons, "lowbias32").
#[inline(always)]
fn draw(n: u32, sample: u32) -> u32 {
    let x =
        n.wrapping_mul(0x27D4_EB2F).wrapping_add(sample.wrapping_mul(0x9E37_79B9)) ^ 0x5BF0_3635;
    let x = (x ^ x >> 16).wrapping_mul(0x7FEB_352D);
    let x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
    x ^ x >> 16
}

#[inline(always)]
fn number(word: u32) -> f32 {
    f32::from_bits(word)
}

/// The expected depth of `q` in sorted points, and how many of them are less.
pub fn depth(points: &[u32], q: f32) -> (f32, usize) {
    let less = points.partition_point(|&z| number(z) < q);
    let up_to = less + points[less..].partition_point(|&z| number(z) <= q);
    let (left, right) = (&points[..less], &points[up_to..]);
    let mut strands = [0.0f32; STRANDS];
    if left.len() > 1 {
        add(&mut strands, &left[..left.len() - 1], &left[1..], |near, far| {
            (near - far) * inverse(q - far)
        });
    }
    if right.len() > 1 {
        add(&mut strands, &right[1..], &right[..right.len() - 1], |near, far| {
            (far - near) * inverse(far - q)
        });
    }
    let mut sum = 0.0;
    for strand in strands {
        sum += strand;
    }
    sum += if left.is_empty() { 0.0 } else { 1.0 };
    sum += if right.is_empty() { 0.0 } else { 1.0 };
    let equal = up_to - less;
    if equal > 0 {
        sum += ln(equal as f32 + 1.0) * std::f32::consts::LOG2_E;
    }
    (sum, less)
}

/// Adds the terms of one side to the strands.
#[inline(always)]
fn add(
    strands: &mut [f32; STRANDS],
    far: &[u32],
    near: &[u32],
    term: impl Fn(f32, f32) -> f32 + Copy,
) {
    let (fars, far_rest) = far.as_chunks::<STRANDS>();
    let (nears, near_rest) = near.as_chunks::<STRANDS>();
    for (far, near) in fars.iter().zip(nears) {
        for i in 0..STRANDS {
            strands[i] += term(number(near[i]), number(far[i]));
        }
    }
    for (strand, (&far, &near)) in strands.iter_mut().zip(far_rest.iter().zip(near_rest)) {
        *strand += term(number(near), number(far));
    }
}

/// The depth of `q` by some 32 quantiles.
fn coarse(points: &[u32], q: f32) -> f32 {
    let stride = (points.len() / COARSE as usize).max(1);
    let mut some = [0; 2 * COARSE as usize];
    let mut count = 0;
    for &z in points.iter().skip(stride / 2).step_by(stride) {
        some[count] = z;
        count += 1;
    }
    depth(&some[..count], q).0
}

/// Puts `q`, which `less` points are less than, into a sample that saw `n` values.
fn learn(sample: &mut [u32], n: u32, number: u32, q: f32, less: usize) {
    let points = word(sample.len());
    if n < points {
        sample.copy_within(less..n as usize, less + 1);
        sample[less] = q.to_bits();
        return;
    }
    let among = if n < MEMORY { n + 1 } else { MEMORY };
    let rank = (((draw(n, number) >> 16) * among) >> 16) as usize;
    if rank < less {
        sample.copy_within(rank + 1..less, rank);
        sample[less - 1] = q.to_bits();
    } else if rank < sample.len() {
        sample.copy_within(less..rank, less + 1);
        sample[less] = q.to_bits();
    }
}

/// The isolation of a value of an event, which is then learnt: `q` is what its samples are of. `forest` is the state
/// of the key's forests.
pub fn isolation(forest: &mut [u32], value: usize, points: u32, q: [f32; SAMPLES]) -> Isolation {
    let n = forest[value];
    let held = if n < points { n } else { points } as usize;
    let size = points as usize;
    let first = COUNTS + value * SAMPLES * size;
    let samples = forest[first..first + SAMPLES * size].chunks_exact_mut(size);
    let (mut fine, mut some) = (0.0, 0.0);
    for (number, (sample, q)) in (0..).zip(samples.zip(q)) {
        let q = near_zero(q);
        let (depth, less) = depth(&sample[..held], q);
        let by = inverse(1.0 + depth);
        fine += by * by;
        let by = inverse(1.0 + coarse(&sample[..held], q));
        some += by * by;
        learn(sample, n, number, q, less);
    }
    // Beyond its memory only the low bits of the count matter: to draw anew.
    forest[value] = if n == u32::MAX { MEMORY } else { n + 1 };
    if n < POINTS_FIRST {
        return Isolation { fine: 0.0, coarse: 0.0 };
    }
    let third = 1.0 / SAMPLES as f32;
    Isolation { fine: (fine * third).sqrt(), coarse: (some * third).sqrt() }
}
