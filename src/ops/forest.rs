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
//! Each value has such a forest of itself, and of its means over two horizons, a 128th and a 16th of the longest, so
//! that what lasts shows, too. These means are plain: those of `ops::ewma` are held back by outliers, and a long
//! anomaly would hardly move them. With a *period*, such as a day, there is a fourth forest, of what lasts beside the
//! time of the day: the period is cut in 24 slots, counted from time 0; each has the mean of its latest 64 values or
//! so, and of the value's distance to the mean of its slot there is a mean over the shorter horizon. A slot that saw
//! nothing takes the value for its mean.
//!
//! The isolation of all is the root of their mean square. It comes in two grains. The *fine* one, over all points,
//! decides: it times log2 of the number of points is the level of `ops::decide`. The *coarse* one is over some 32
//! quantiles of the sample, and varies less from event to event. The dense score is halfway from it to its mean over
//! the shorter horizon: it rises at once and stays up while an anomaly lasts.
//!
//! A sample is sorted, of 64 to 1024 points. Its first points are the first values; afterwards the `n`-th value
//! replaces a random point with a probability of points by `n` (reservoir sampling, Vitter 1985), `n` at most 65,536,
//! so that the past is forgotten slowly. Draws are a hash of `n` and of the sample's number, nothing else; the point
//! that goes is a rank. The four outermost points on either side stay as long as nothing is forgotten, so that what
//! was as far out before is not rare again: where the draw would have no point go, or one of these, a value farther
//! out than one of them takes the place of the innermost of its side, and another is not learnt. So which points there
//! are is decided by integers and by comparisons of values alone.
//!
//! State for each key: a line of counts, then for each value a line of means, 192 bytes more of slots with a period,
//! and a sample for each forest: 12 KiB for 1024 points and one value, 16 KiB with a period. Cost for each event and
//! value: a sum over all points of each sample, of a division each.

use super::batch;
use super::detector::{Apart, Judge, Learnt, Level, out_of_range};
use super::ewma::{Distance, OFF_MAX, near_zero, positive};
use super::math::{inverse, ln};
use super::score::{BINDS, LEVEL_FIRST, ScoreParams, scores_wgsl};
use super::state::WEIGHT_MAX;
use super::walk;
use crate::base::error::Result;
use crate::base::limits::word;
use crate::base::time::Ticks;
use crate::plan::Kernel;

/// The kernel `ops::score` with forests.
pub static FOREST: Kernel = Kernel {
    name: "forest",
    params: ScoreParams::FIELDS,
    events: true,
    binds: BINDS,
    wgsl: scores_wgsl!("forest.wgsl"),
    cpu: |args| {
        let p: ScoreParams = args.params();
        walk::score(args, Forests(Forest::unpacked([p.shape0, p.shape1, p.shape2, p.shape3])));
    },
};

/// Most samples of a value: of itself, of its two means, of what lasts beside the time of the period.
pub const SAMPLES_MAX: usize = 4;
/// Points from which a sample says anything.
pub const POINTS_FIRST: u32 = 8;
/// Fewest points of a sample.
pub const POINTS_MIN: u32 = 64;
/// Most points of a sample.
pub const POINTS_MAX: u32 = 1024;
/// Words of the counts of the values that the samples saw.
pub const COUNTS: usize = 16;
/// Words of a value's means.
pub const MEANS: usize = 16;
/// Among the means: weight and mean over the shorter horizon.
const SHORT: usize = 0;
/// Weight and mean over the longer one.
const LONG: usize = 2;
/// The mean of what lies beside the time of the period.
const LASTS: usize = 4;
/// The mean of the coarse isolation.
const COARSE_MEAN: usize = 5;
/// Slots of a period.
pub const SLOTS: usize = 24;
/// Words of all slots: how many values each saw, up to 64, and their mean.
pub const SLOTS_WORDS: usize = 2 * SLOTS;
/// The longest period.
pub const PERIOD_MAX: Ticks = 1 << 58;
/// Points lie no further from zero.
const Q_MAX: f32 = 2.0 * OFF_MAX;
/// Values that a slot's mean is of.
const SLOT_MEMORY: u32 = 64;
/// Quantiles of the coarse grain, up to twice as many while there are few points.
const COARSE: u32 = 32;
/// Points on either side that stay.
pub const EDGE: usize = 4;
/// Values that a sample stands for, at most.
const MEMORY: u32 = 1 << 16;
/// Sums that run side by side: the terms of one are this far apart.
const STRANDS: usize = 16;

/// Random cut forests: how large, and what they know of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forest {
    /// Points of a sample: a power of two from 64 to 1024.
    pub points: u32,
    /// Ticks after which values are expected to repeat, such as a day, 24 to 2^58; `None` when nothing is known. It
    /// costs one sample more, and little where nothing repeats.
    pub period: Option<Ticks>,
}

impl Forest {
    /// Forests of so many points that know of no period.
    pub const fn of(points: u32) -> Self {
        Self { points, period: None }
    }

    /// As parameters.
    pub const fn packed(self) -> [u32; 4] {
        let period = match self.period {
            Some(period) => period,
            None => 0,
        };
        [self.points, batch::lo(period), batch::hi(period), 0]
    }

    /// From what [`Forest::packed`] made.
    pub const fn unpacked([points, low, high, _]: [u32; 4]) -> Self {
        let period = batch::join(low, high);
        Self { points, period: if period == 0 { None } else { Some(period) } }
    }

    /// Whether the numbers are in range.
    pub(super) fn check(self) -> Result<()> {
        let Self { points, period } = self;
        if !points.is_power_of_two() || !(POINTS_MIN..=POINTS_MAX).contains(&points) {
            return Err(out_of_range("points", points, "64, 128, 256, 512, 1024"));
        }
        match period {
            Some(period) if !(SLOTS as Ticks..=PERIOD_MAX).contains(&period) => {
                Err(out_of_range("period", period, "24 to 2^58 ticks, or None"))
            }
            _ => Ok(()),
        }
    }

    /// Samples of a value.
    pub const fn samples(self) -> usize {
        if self.period.is_none() { SAMPLES_MAX - 1 } else { SAMPLES_MAX }
    }

    /// Words of a value before its samples.
    pub const fn head(self) -> usize {
        if self.period.is_none() { MEANS } else { MEANS + SLOTS_WORDS }
    }

    /// Words of a value.
    pub const fn value_words(self) -> usize {
        self.head() + self.samples() * self.points as usize
    }

    /// Words of a key's forests, in whole lines of 64 bytes.
    pub const fn words(self, values: usize) -> usize {
        COUNTS + values * self.value_words()
    }

    /// The first word of a key's forests that no stream leads to.
    pub(super) fn misfit(self, forest: &[u32], values: usize) -> Option<usize> {
        let out = |at: usize, most: f32| !(-most..=most).contains(&number(forest[at]));
        let size = self.points as usize;
        for value in 0..values {
            let first = COUNTS + value * self.value_words();
            let weights = [SHORT, LONG]
                .map(|at| first + at)
                .into_iter()
                .find(|&at| !(0.0..=WEIGHT_MAX).contains(&number(forest[at])));
            let means = [SHORT + 1, LONG + 1, LASTS]
                .map(|at| first + at)
                .into_iter()
                .find(|&at| out(at, Q_MAX));
            let dense =
                Some(first + COARSE_MEAN).filter(|&at| !(0.0..=1.0).contains(&number(forest[at])));
            let slots = (first + MEANS..first + self.head()).step_by(2).find_map(|at| {
                let counted = (forest[at] > SLOT_MEMORY).then_some(at);
                counted.or_else(|| out(at + 1, Q_MAX).then_some(at + 1))
            });
            if let Some(at) = weights.or(means).or(dense).or(slots) {
                return Some(at);
            }
            let held = forest[value].min(self.points) as usize;
            for sample in 0..self.samples() {
                let from = first + self.head() + sample * size;
                let mut least = -Q_MAX;
                for (at, &word) in (from..).zip(&forest[from..from + held]) {
                    let x = number(word);
                    if !(least..=Q_MAX).contains(&x) {
                        return Some(at);
                    }
                    least = x;
                }
            }
        }
        None
    }
}

/// Forests on a serial device.
struct Forests(Forest);

impl Judge for Forests {
    fn value(
        &mut self,
        own: &mut [u32],
        _: &ScoreParams,
        learnt: &Learnt<'_>,
        _: &mut Distance<f32>,
    ) -> Apart {
        let off = near_zero(learnt.x - learnt.track.origin);
        let [short, middle, _] = learnt.moment.decays;
        let kept = [short, middle].map(|decay| positive(decay * decay));
        let judged = judge(self.0, own, learnt.value, off, learnt.moment.time, kept);
        let square = judged.isolation * judged.isolation;
        Apart { by: judged.isolation, dense: judged.dense, part: square * square }
    }

    fn level(
        &mut self,
        _: &mut [u32],
        _: &ScoreParams,
        (_, apart): (&Distance<f32>, Apart),
        seen: u32,
        _: &mut [u32],
    ) -> Level {
        let levels = seen.saturating_sub(LEVEL_FIRST + 1);
        let level = apart.by * self.0.points.trailing_zeros() as f32;
        Level { known: seen > LEVEL_FIRST, levels, level, dense: apart.dense }
    }
}

/// What forests say of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// By all points: it decides.
    pub isolation: f32,
    /// The dense score, from 0 to 1.
    pub dense: f32,
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
    let mut rank = (((draw(n, number) >> 16) * among) >> 16) as usize;
    let inner = EDGE..sample.len() - EDGE;
    if rank >= sample.len() || (n < MEMORY && !inner.contains(&rank)) {
        rank = match () {
            () if q > f32::from_bits(sample[inner.end]) => inner.end,
            () if q < f32::from_bits(sample[inner.start - 1]) => inner.start - 1,
            () => return,
        };
    }
    if rank < less {
        sample.copy_within(rank + 1..less, rank);
        sample[less - 1] = q.to_bits();
    } else {
        sample.copy_within(less..rank, less + 1);
        sample[less] = q.to_bits();
    }
}

/// A mean at `at` learns a number, with this share.
#[inline(always)]
fn learn_mean(state: &mut [u32], at: usize, q: f32, share: f32) -> f32 {
    let mean = number(state[at]);
    let mean = mean + near_zero(q - mean) * share;
    state[at] = mean.to_bits();
    mean
}

/// The distance of a value to the mean of its slot, which learns it.
fn beside(slots: &mut [u32], time: Ticks, period: Ticks, off: f32) -> f32 {
    #[allow(clippy::cast_possible_truncation, reason = "less than 24")]
    let at = 2 * (time % period * SLOTS as Ticks / period) as usize;
    let seen = slots[at];
    let beside = if seen == 0 { 0.0 } else { near_zero(off - number(slots[at + 1])) };
    slots[at] = if seen < SLOT_MEMORY { seen + 1 } else { SLOT_MEMORY };
    let share = inverse(slots[at] as f32);
    learn_mean(slots, at + 1, off, share);
    beside
}

/// What the samples of a value are of, which its means learn, and the share of an event in the shorter ones.
fn points_of(
    forest: Forest,
    head: &mut [u32],
    off: f32,
    time: Ticks,
    kept: [f32; 2],
) -> ([f32; SAMPLES_MAX], f32) {
    let (means, slots) = head.split_at_mut(MEANS);
    let mut share_of = |at: usize, kept: f32| {
        let weight = number(means[at]) * kept + 1.0;
        means[at] = weight.to_bits();
        inverse(weight)
    };
    let shares = [share_of(SHORT, kept[0]), share_of(LONG, kept[1])];
    let short = learn_mean(means, SHORT + 1, off, shares[0]);
    let long = learn_mean(means, LONG + 1, off, shares[1]);
    let mut lasts = 0.0;
    if let Some(period) = forest.period {
        lasts = learn_mean(means, LASTS, beside(slots, time, period, off), shares[0]);
    }
    ([off, near_zero(short), near_zero(long), near_zero(lasts)], shares[0])
}

/// The isolation of an event whose points are `q`, one for each of the samples, by all points and by some. The samples,
/// which saw `n` events, then learn them.
pub fn isolation(samples: &mut [u32], n: u32, q: &[f32]) -> [f32; 2] {
    let size = samples.len() / q.len();
    let held = if n < word(size) { n as usize } else { size };
    let (mut fine, mut some) = (0.0, 0.0);
    for (number, (sample, &q)) in (0..).zip(samples.chunks_exact_mut(size).zip(q)) {
        let (depth, less) = depth(&sample[..held], q);
        let by = inverse(1.0 + depth);
        fine += by * by;
        let by = inverse(1.0 + coarse(&sample[..held], q));
        some += by * by;
        learn(sample, n, number, q, less);
    }
    if n < POINTS_FIRST {
        return [0.0; 2];
    }
    let part = if q.len() < SAMPLES_MAX { 1.0 / 3.0 } else { 0.25 };
    [(fine * part).sqrt(), (some * part).sqrt()]
}

/// What forests say of a value of an event, `off` its origin, which they then learn. `state` is that of the key's
/// forests; `kept` is what the shorter and the longer horizon keep of what came before.
pub fn judge(
    forest: Forest,
    state: &mut [u32],
    value: usize,
    off: f32,
    time: Ticks,
    kept: [f32; 2],
) -> Judged {
    let n = state[value];
    // Beyond its memory only the low bits of the count matter: to draw anew.
    state[value] = if n == u32::MAX { MEMORY } else { n + 1 };
    let own = &mut state[COUNTS + value * forest.value_words()..][..forest.value_words()];
    let (head, samples) = own.split_at_mut(forest.head());
    let (points, share) = points_of(forest, head, off, time, kept);
    let [fine, coarse] = isolation(samples, n, &points[..forest.samples()]);
    let mean = learn_mean(head, COARSE_MEAN, coarse, share);
    Judged { isolation: fine, dense: 0.5 * (coarse + mean) }
}
