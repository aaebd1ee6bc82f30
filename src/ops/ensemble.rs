//! Several detectors for one query, and what they say together.
//!
//! Spec. Each detector, a *member*, has a share `a` of the false alarms; the shares sum to one, the first member having
//! what the others leave. By an ensemble the probability of an event is the least of `p / a` over its members, one at
//! most: the weighted form of Bonferroni's bound (Genovese, Roeder and Wasserman 2006), so the asked rate holds however
//! the members depend on each other. As surprises, `-ln p`: the largest of `s - ln(1 / a)`, at least 0.
//!
//! Each member scores as if it were alone, with its own past, warm-up and rules; see `ops::decide`. Then, member by
//! member:
//!
//! 1. What is no peak (`u <= 3`) by the first member keeps its surprise; by another it says nothing.
//! 2. A further member whose event is a peak, and which does not warm up, takes the event over where its surprise is
//!    larger than that so far, or where so far only members that warm up have spoken. Among equals the first stays.
//! 3. The member that has the event gives its value, what was expected of it, the parts of all values, and whether a
//!    rule keeps it from being an alert. The dense score is that of the first member.
//! 4. Rest and labels are those of the ensemble, with a state of its own in front of those of its members.
//! 5. Where any member drifts (`ops::drift`), the row says so; only that member begins anew.
//!
//! The first member writes the rows; each further one writes rows of its own, which the kernel `ensemble` takes in.

use super::adwin::WINDOW;
use super::batch::{self, ASIDE, OUT_ASIDE, OUT_FIXED};
use super::decide::{EXPONENT_MAX, announce};
use super::detector::Detector;
use super::drift::Drift;
use super::ewma::held;
use super::math::{exp, ln};
use super::page::{Page, slot_map};
use super::profile::Profile;
use super::score::{
    ALERT, CLAMPED, DETECTOR_SHIFT, DISMISSED, DRIFTED, ISOLATION_SHIFT, MISSING, RESTING, ROW,
    RULED_OUT, SEEN, SEEN_AGAIN, ScoreParams, USUAL, VALUE_SHIFT, WARMING, clock, left_of,
    row_words, state_words, state_words_with,
};
use super::season::Season;
use super::sub_pca::SubPca;
use super::walk;
use crate::base::error::{Error, Result};
use crate::plan::{Access, Args, Bind, Kernel};

/// Detectors of an ensemble beside the first, at most.
pub const FURTHER_MAX: usize = 3;

/// A detector beside the first of a query ([`Scores::ensemble`](crate::Scores::ensemble)).
///
/// ```
/// # use pelton::{Detector, Device, Forest, Inline, Key, Member, Options, Pod, Profile, Scores, Zeroable, field};
/// # #[repr(C)]
/// # #[derive(Clone, Copy, Pod, Zeroable)]
/// # struct Reading { at: u64, sensor: u32, value: f32 }
/// // Nine tenths of the false alarms for what is unusual by itself, one for what comes in an order that never was.
/// let orders = Detector::Profile(Profile { points: 1024, window: 64, shape: true });
/// let query = Scores {
///     key: Key::hashed(field!(Reading.sensor)),
///     detector: Detector::Forest(Forest::of(256)),
///     ensemble: vec![Member { detector: orders, share: 0.1 }],
///     ..Scores::new(field!(Reading.at), field!(Reading.value))
/// };
/// let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
/// let mut lane = inline.lane()?;
/// lane.push(Reading { at: 0, sensor: 7, value: 1.0 }).expect("there is room");
/// inline.settle(|rows| assert!(rows.scores().all(|score| score.detector() == 0 && score.warming())))?;
/// # Ok::<(), pelton::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// What judges events, too.
    pub detector: Detector,
    /// Its share of [`Scores::rate`](crate::Scores::rate), from a thousandth to less than one.
    pub share: f32,
}

impl Member {
    /// Members for a forest to judge beside where nothing is known of the values: what is usual value by value but in
    /// an order that never was, what is unusual for its time in a `season`, and what usual shapes leave over, each with
    /// a tenth of the false alarms. The forest has the rest.
    pub fn beside_forest(season: Season) -> Vec<Self> {
        let shapes = Detector::Profile(Profile { points: 1024, window: 64, shape: true });
        [shapes, Detector::Season(season), Detector::SubPca(SubPca::default())]
            .map(|detector| Self { detector, share: 0.1 })
            .to_vec()
    }
}

/// Checks the members beside the first.
///
/// # Errors
/// `Invalid` when there are too many, or a number is out of range, naming it.
pub fn check(members: &[Member]) -> Result<()> {
    if members.len() > FURTHER_MAX {
        return Err(Error::out_of_range("ensemble", members.len(), "3 members at most"));
    }
    for member in members {
        member.detector.check()?;
        if !(1e-3..1.0).contains(&member.share) {
            return Err(Error::out_of_range("ensemble.share", member.share, "0.001 to below 1"));
        }
    }
    let shares: f32 = members.iter().map(|member| member.share).sum();
    if shares > 0.999 {
        let accepted = "0.999 at most in all: the first detector has the rest";
        return Err(Error::out_of_range("ensemble.share", shares, accepted));
    }
    Ok(())
}

/// What judges the events of a query, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judges {
    /// The first.
    pub first: Detector,
    /// The others of an ensemble.
    pub further: [Option<Detector>; FURTHER_MAX],
    /// Whether each of them has a window of its levels, by which its keys drift (`ops::adwin`).
    pub windows: bool,
}

impl Judges {
    /// A detector, and such members of an ensemble as [`check`] accepts, whose keys drift by this test.
    pub fn new(first: Detector, members: &[Member], drift: Option<Drift>) -> Self {
        let further = std::array::from_fn(|i| members.get(i).map(|m| m.detector));
        Self { first, further, windows: matches!(drift, Some(Drift::Adwin { .. })) }
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = Detector> {
        std::iter::once(self.first).chain(self.further.into_iter().flatten())
    }

    /// Words of the state that an ensemble has in front of those of its members; one detector alone has none.
    pub fn head(self) -> usize {
        if self.further[0].is_some() { state_words(1) } else { 0 }
    }

    /// Words of the window behind the state of each; 0 where there is none.
    pub fn window(self) -> usize {
        if self.windows { WINDOW } else { 0 }
    }

    /// Where the state of each begins in that of a key, and how many words it has.
    pub fn places(self, values: usize) -> impl Iterator<Item = (usize, usize, Detector)> {
        self.iter().scan(self.head(), move |at, detector| {
            let words = state_words_with(values, detector) + self.window();
            *at += words;
            Some((*at - words, words, detector))
        })
    }

    /// Words of a key's state.
    pub fn words(self, values: usize) -> usize {
        self.places(values).fold(self.head(), |all, (_, words, _)| all + words)
    }
}

/// Takes a further member in: `row` holds what was said before, `by` what it says.
fn take(state: &mut [u32], p: &ScoreParams, by: &[u32], row: &mut [u32]) {
    let [before, discount] = [p.shape0, p.shape1].map(f32::from_bits);
    let drifted = (row[4] | by[4]) & DRIFTED;
    let mut flags = row[4] & !(ALERT | RESTING | DISMISSED);
    let mut surprise = f32::from_bits(row[5]);
    if flags & USUAL == 0 {
        surprise = left_of(surprise, before);
    }
    if by[4] & (USUAL | WARMING | MISSING) == 0 {
        let other = left_of(f32::from_bits(by[5]), discount);
        let so_far = match flags & USUAL {
            0 => surprise,
            _ => ln(1.0 + exp(held(surprise, EXPONENT_MAX))),
        };
        if flags & WARMING != 0 || other > so_far {
            let kept = by[4] & (RULED_OUT | CLAMPED | 7 << VALUE_SHIFT);
            flags = flags >> ISOLATION_SHIFT << ISOLATION_SHIFT | kept | p.shape2 << DETECTOR_SHIFT;
            surprise = other;
            row[6..9].copy_from_slice(&by[6..9]);
            row[ROW..].copy_from_slice(&by[ROW..]);
        }
    }
    if surprise <= p.asked {
        flags &= !RULED_OUT;
    }
    if p.shape3 != 0 {
        clock(state, p, batch::join(row[2], row[3]));
        if flags & MISSING == 0 {
            state[SEEN] = state[SEEN].checked_add(1).unwrap_or(SEEN_AGAIN);
            flags = announce(state, p, surprise, flags);
        }
    }
    (row[4], row[5]) = (flags | drifted, surprise.to_bits());
}

/// Takes the rows of a further member into those of the ones before it, per key in order. `shape0` and `shape1` of its
/// parameters are the discounts `ln(1 / a)` of what was said before, 0 but for the first, and of this member, as
/// floats; `shape2` is the member's number, and `shape3` is 1 for the last one.
pub static ENSEMBLE: Kernel = Kernel {
    name: "ensemble",
    params: ScoreParams::FIELDS,
    events: false,
    binds: &[
        Bind { name: "order", access: Access::Read },
        Bind { name: "segments", access: Access::Read },
        Bind { name: "map", access: Access::Read },
        Bind { name: "states", access: Access::Write },
        Bind { name: "rows", access: Access::Read },
        Bind { name: "out", access: Access::Write },
    ],
    wgsl: concat!(
        include_str!("../../shaders/window.wgsl"),
        include_str!("../../shaders/state.wgsl"),
        include_str!("../../shaders/ensemble.wgsl")
    ),
    cpu: ensemble,
};

fn ensemble(args: Args<'_>) {
    let p: ScoreParams = args.params();
    let head = args.head;
    let [ids, _segments, map, states, rows, out] = args.binds();
    let page = Page { first: p.first_block, blocks: p.blocks };
    let [rows_at, out_at] = [&*rows, &*out].map(|rows| OUT_FIXED + rows[OUT_ASIDE] as usize);
    let width = row_words(p.values as usize);
    let from = rows[rows_at..].chunks_exact(width);
    let mut pairs = from.zip(out[out_at..].chunks_exact_mut(width));
    let map = slot_map(map, walk::slot(head));
    for chunk in batch::chunks(head) {
        let ids = &ids[chunk.first as usize..][..chunk.events as usize];
        for &id in ids.iter().filter(|&&id| id < ASIDE) {
            let (by, row) = pairs.next().expect("room for every event");
            if let Some(at) = page.row_at(map, id, p.state_words as usize) {
                take(&mut states[at..][..state_words(1)], &p, by, row);
            }
        }
    }
}
