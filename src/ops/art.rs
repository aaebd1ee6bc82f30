//! How far the shape of a key's latest values lies from all shapes that it is known by: fuzzy ART over windows.
//!
//! Spec (Carpenter, Grossberg and Rosen 1991, Fuzzy ART; Carpenter and Gjaja 1994, Fuzzy ART choice functions). Of each
//! value the latest 32 numbers make a *point* of eight coordinates. A *category* is a box of points, given by its lower
//! and its upper corner, which is what complement coding comes to, with a count of the points that it has taken. The
//! distance of a point to a box is the sum of its coordinates' distances, 0 inside. A point is judged by its distance
//! to the nearest box; then it is learnt:
//!
//! 1. Among all boxes the nearest is chosen, of equally near ones the smallest, then the first (choice by difference,
//!    in the limit of a small parameter); a box's size is the sum of its edges.
//! 2. Where the box, grown to hold the point, is no larger than the *vigilance* lets it be, it grows to do so, at once
//!    (fast learning), and its count rises by one. With a vigilance of `v` that is `1 - v` of what all edges can be.
//! 3. Otherwise the point becomes a box of its own, counted once, in place of the one with the least count, the first
//!    of these. One that counts 0 is no box but a free place.
//! 4. After two windows of points all counts are halved, rounded down, and so is the number of points. So what did not
//!    come again is forgotten, the sooner the rarer it was.
//!
//! A number is kept as its *place* (`ops::profile`): its distance to the key's mean over the longest horizon in whole
//! 64ths of a deviation. Three coordinates are levels: the latest place, and those of the short and the middle mean.
//! Five are details of Haar's wavelets: the mean of the latest 1, 2, 4, 8 and 16 places less that of as many before
//! them. A coordinate is `x / (8 + |x|)` by its number of deviations, stretched from -1 and 1 to 0 and 1022, rounded
//! towards the middle. From the places on all is integer, and so the same on every device.
//!
//! The *level* that decides (`ops::decide`) is that of the largest distance of `ops::ewma` and, added to it, the
//! logarithm of one more than the mean distance of a coordinate to the nearest box. Alone the latter would be 0 for
//! nearly all events, and no tail could be fitted to the few others. Of an event's values the one farthest from its
//! boxes counts; its distance, by the largest there could be, is the dense score. Missing numbers are in no window.
//! Nothing is known before 64 points.
//!
//! State for each key and value: 256 bytes of counts, sums, places and the point, then 36 bytes a category: 2.5 KB for
//! 64 of them. Cost for each event and value: all boxes read, six operations a corner, one box written.

use super::decide;
use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, SETTLED, near_zero};
use super::math::{inverse, ln};
use super::profile::{PLACE_MAX, place};
use super::score::{BINDS, SEEN_AGAIN, ScoreParams, scores_wgsl};
use super::simd::{Wide, wide};
use super::walk;
use crate::base::error::Result;
use crate::base::limits::{VALUES_MAX, word};
use crate::plan::Kernel;

/// The kernel `ops::score` with fuzzy ART.
pub static ART: Kernel = Kernel {
    name: "art",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("together.wgsl", "art.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        let art = Art { categories: p.shape0, vigilance: p.shape1, window: p.shape2 };
        walk::score(args, Shapes { art, farthest: None });
    },
};

/// State: numbers kept so far; from twice a window on it goes back by a window, so that it tells where the latest lies.
pub const KEPT: usize = 0;
/// State: points learnt. At two windows counts are halved; the next one is the first behind one window.
pub const POINTS: usize = 1;
/// State of the first value: events that had a level, counted as `score::SEEN`.
pub const LEVELS: usize = 2;
/// State: the sums of the latest 2, 4, 8, 16 and 32 places.
pub const SUMS: usize = 3;
/// State of the first value: for each value whether the latest event has a point of it.
pub const FRESH: usize = 8;
/// State: where the ring of places begins. The latest is at `-kept` modulo 32, the one before it next to it.
pub const RING: usize = FRESH + VALUES_MAX;
/// State: the latest point.
pub const POINT: usize = RING + LATEST;
/// State: where the counts of categories begin. The boxes stand behind them: for each coordinate the edges of all
/// categories, the lower end in the low half of a word.
pub const COUNTS: usize = 64;
/// Numbers that a point is made of.
pub const LATEST: usize = 32;
/// Coordinates of a point.
pub const COORDINATES: usize = 8;
/// The largest coordinate; half of it is where nothing is unusual.
pub const COORDINATE_MAX: u32 = 1022;
/// The largest distance, and what all edges of the largest box come to.
pub const EXTENT: u32 = 8 * COORDINATE_MAX;
/// Most categories.
pub const CATEGORIES_MAX: u32 = 64;
/// Points before anything is known.
pub const FIRST: u32 = 64;
/// 64ths of a deviation that lie halfway from the middle to the edge.
const HALFWAY: u32 = 512;
/// No sum of 16 places is farther from another.
const OFF_MAX: u32 = 1 << 17;
/// State: behind the latest point.
const POINT_END: usize = POINT + COORDINATES;
/// Levels among the coordinates.
const MEANS: usize = 3;
/// More than the key of any box: 13 bits of distance, 13 of size, 6 of number.
const NONE: u32 = u32::MAX;

/// Fuzzy ART: how many categories, how large they may grow, and how long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Art {
    /// Categories, 16, 32 or 64. One takes 36 bytes a key and value.
    pub categories: u32,
    /// The vigilance, in thousandths, 1 to 999: the higher, the smaller the boxes of the categories stay.
    pub vigilance: u32,
    /// Points after two times which all counts are halved, 64 to 2^20.
    pub window: u32,
}

impl Default for Art {
    fn default() -> Self {
        Self { categories: 64, vigilance: 720, window: 4096 }
    }
}

impl Art {
    /// Words of a value's state, in whole lines of 64 bytes.
    pub const fn words(self) -> usize {
        COUNTS + (1 + COORDINATES) * self.categories as usize
    }

    /// What the edges of a box may come to.
    pub const fn size_max(self) -> u32 {
        (1000 - self.vigilance) * EXTENT / 1000
    }

    /// # Errors
    /// `Invalid` when a number is out of range, naming it.
    pub(super) fn check(self) -> Result<()> {
        if ![16, 32, 64].contains(&self.categories) {
            return Err(out_of_range("categories", self.categories, "16, 32, 64"));
        }
        if !(1..1000).contains(&self.vigilance) {
            return Err(out_of_range("vigilance", self.vigilance, "1 to 999 thousandths"));
        }
        if !(64..=1 << 20).contains(&self.window) {
            return Err(out_of_range("window", self.window, "64 to 2^20"));
        }
        Ok(())
    }

    /// The first word of a key's categories of so many values that is out of range, after `seen` events.
    pub(super) fn misfit(self, own: &[u32], values: usize, seen: u32) -> Option<usize> {
        let mut states = own[..values * self.words()].chunks_exact(self.words()).enumerate();
        states.find_map(|(i, own)| self.misfit_of(own, seen).map(|at| i * self.words() + at))
    }

    /// The same for one value. Counts are those of points, and boxes are in order and no larger than they may be.
    fn misfit_of(self, own: &[u32], seen: u32) -> Option<usize> {
        let most = |at: usize| match at {
            KEPT => 2 * word(LATEST) - 1,
            POINTS => 2 * self.window,
            LEVELS => seen,
            SUMS..FRESH => PLACE_MAX << (at - SUMS + 1),
            FRESH..RING => 1,
            RING..POINT => PLACE_MAX,
            POINT..POINT_END => COORDINATE_MAX,
            _ => 0,
        };
        let (head, categories) = own.split_at(COUNTS);
        if let Some(at) = (0..COUNTS).find(|&at| head[at] > most(at)) {
            return Some(at);
        }
        let (counts, boxes) = categories.split_at(self.categories as usize);
        if counts.iter().map(|&count| u64::from(count)).sum::<u64>() > head[POINTS].into() {
            return Some(COUNTS);
        }
        let is_wrong = |edge: &u32| edge & 0xFFFF > edge >> 16 || edge >> 16 > COORDINATE_MAX;
        if let Some(at) = boxes.iter().position(is_wrong) {
            return Some(COUNTS + counts.len() + at);
        }
        let size = |j| {
            let edges = boxes.iter().skip(j).step_by(counts.len());
            edges.map(|edge| (edge >> 16) - (edge & 0xFFFF)).sum::<u32>()
        };
        let too_large = (0..counts.len()).find(|&j| size(j) > self.size_max());
        too_large.map(|j| COUNTS + counts.len() + j)
    }

    /// How far the point in the state lies from the nearest box, where that is known; then it is learnt.
    pub fn distance(self, state: &mut [u32]) -> Option<u32> {
        let (head, categories) = state[..self.words()].split_at_mut(COUNTS);
        let points = if head[POINTS] == 2 * self.window { self.window } else { head[POINTS] } + 1;
        head[POINTS] = points;
        let point: &[u32; COORDINATES] = head[POINT..].first_chunk().expect("a point");
        let mut found = Found { nearest: NONE, rarest: NONE };
        wide(Look { point, categories, found: &mut found });
        let (apart, size) = (found.nearest >> 19, found.nearest >> 6 & 0x1FFF);
        let grows = found.nearest != NONE && apart + size <= self.size_max();
        let j = (if grows { found.nearest } else { found.rarest } & 63) as usize;
        let (counts, boxes) = categories.split_at_mut(self.categories as usize);
        counts[j] = if grows { counts[j] + 1 } else { 1 };
        if points == 2 * self.window {
            counts.iter_mut().for_each(|count| *count /= 2);
        }
        let edges = boxes.iter_mut().skip(j).step_by(counts.len());
        for (edge, &x) in edges.zip(point) {
            let (lower, upper) = if grows { (*edge & 0xFFFF, *edge >> 16) } else { (x, x) };
            *edge = x.min(lower) | x.max(upper) << 16;
        }
        (points > FIRST && found.nearest != NONE).then_some(apart)
    }
}

/// Keeps a number by its place, beside the places of the short and the middle mean; with enough of them, the point in
/// the state is theirs. Returns whether it is.
pub fn keep(state: &mut [u32], levels: [u32; MEANS]) -> bool {
    let kept = state[KEPT] + 1;
    state[KEPT] = if kept == 2 * word(LATEST) { word(LATEST) } else { kept };
    let at = kept.wrapping_neg() as usize % LATEST;
    let place = levels[0];
    let mut shorter = place;
    for i in 0..COORDINATES - MEANS {
        // Of the longest sum what leaves it lies where the new number will.
        let gone = state[RING + (at + (2 << i)) % LATEST];
        let sum = state[SUMS + i].wrapping_add(place).wrapping_sub(gone);
        state[SUMS + i] = sum;
        let off = shorter.wrapping_add(shorter).wrapping_sub(sum);
        state[POINT + MEANS + i] = coordinate(off.cast_signed(), HALFWAY << i);
        shorter = sum;
    }
    state[RING + at] = place;
    for (i, level) in levels.into_iter().enumerate() {
        let off = level.wrapping_sub(PLACE_MAX / 2).cast_signed();
        state[POINT + i] = coordinate(off, HALFWAY);
    }
    kept >= word(LATEST)
}

/// Where a number lies that is so far off, by what lies halfway to the edge.
#[inline(always)]
pub fn coordinate(off: i32, halfway: u32) -> u32 {
    let half = COORDINATE_MAX / 2;
    let size = off.unsigned_abs().min(OFF_MAX);
    let steps = half * size / (halfway + size);
    if off < 0 { half - steps } else { half + steps }
}

/// What a distance to the nearest box adds to the level.
#[inline(always)]
pub fn level(apart: u32) -> f32 {
    ln(1.0 + apart as f32 * (1.0 / COORDINATES as f32))
}

/// The dense score of a distance, from 0 to 1.
#[inline(always)]
pub fn dense(apart: u32) -> f32 {
    apart as f32 * inverse(EXTENT as f32)
}

/// What is found among the categories: keys, of which the least is the one that is looked for.
struct Found {
    /// By distance, size and number.
    nearest: u32,
    /// By count and number.
    rarest: u32,
}

/// Looks at all categories.
struct Look<'a> {
    point: &'a [u32; COORDINATES],
    /// Their counts, then their boxes.
    categories: &'a [u32],
    found: &'a mut Found,
}

impl Wide for Look<'_> {
    #[inline(always)]
    fn run(self) {
        let (mut aparts, mut sizes) =
            ([0u32; CATEGORIES_MAX as usize], [0u32; CATEGORIES_MAX as usize]);
        let (counts, boxes) = self.categories.split_at(self.categories.len() / (1 + COORDINATES));
        for (&x, edges) in self.point.iter().zip(boxes.chunks_exact(counts.len())) {
            for ((apart, size), &edge) in aparts.iter_mut().zip(&mut sizes).zip(edges) {
                let (lower, upper) = (edge & 0xFFFF, edge >> 16);
                let below = lower.saturating_sub(x);
                let above = x.saturating_sub(upper);
                *apart += below + above;
                *size += upper - lower;
            }
        }
        let Found { nearest, rarest } = self.found;
        let both = aparts.iter().zip(&sizes);
        for (j, (&count, (&apart, &size))) in (0..).zip(counts.iter().zip(both)) {
            let key = if count == 0 { NONE } else { apart << 19 | size << 6 | j };
            *nearest = if key < *nearest { key } else { *nearest };
            let key = count << 6 | j;
            *rarest = if key < *rarest { key } else { *rarest };
        }
    }
}

/// Fuzzy ART on a serial device.
struct Shapes {
    art: Art,
    /// Of the event's values so far the largest distance.
    farthest: Option<u32>,
}

impl Judge for Shapes {
    fn missing(&mut self, own: &mut [u32], value: usize) {
        own[FRESH + value] = 0;
    }

    fn value(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        &Learnt { value, x, track, .. }: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart {
        let state = &mut own[value * self.art.words()..];
        let mut part = decide::level(found.z2);
        let [short, middle, longest] = track.horizons;
        if state[KEPT] > 0 || longest.weight >= SETTLED {
            let offs = [near_zero(x - track.origin), short.spread.mean, middle.spread.mean];
            let long = longest.spread;
            let fresh = keep(state, offs.map(|off| place(off - long.mean, long.variance)));
            if fresh {
                let apart = self.art.distance(state);
                part += apart.map_or(0.0, level);
                self.farthest = apart.max(self.farthest);
            }
            own[FRESH + value] = u32::from(fresh);
        }
        Apart { by: found.z2, dense: 0.0, part }
    }

    fn level(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        (far, _): (&Distance<f32>, Apart),
        _: u32,
        _: &mut [u32],
    ) -> Level {
        let Some(apart) = self.farthest.take() else {
            return Level { known: false, levels: 0, level: 0.0, dense: 0.0 };
        };
        let levels = own[LEVELS];
        own[LEVELS] = levels.checked_add(1).unwrap_or(SEEN_AGAIN);
        let level = decide::level(far.z2) + level(apart);
        Level { known: true, levels, level, dense: dense(apart) }
    }
}

const _: () = assert!(EXTENT < 1 << 13 && CATEGORIES_MAX == 1 << 6, "as keys are made");
const _: () =
    assert!(SUMS + COORDINATES - MEANS == FRESH && POINT_END <= COUNTS, "as states have it");
const _: () = assert!(PLACE_MAX << 4 < OFF_MAX, "as sums can be");
