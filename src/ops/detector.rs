//! What events are judged by, between their distances (`ops::ewma`) and the decision (`ops::decide`).
//!
//! A query has one detector. Each is a file of its own that holds its spec, its numbers, its state behind that of all
//! keys, and its kernel: the walk of `ops::score` with the detector's own part, a `Judge` here, the functions
//! `missing_value`, `value_of` and `level_of` of a shader, a struct of these in CUDA. A new one is such a file and an
//! arm of each function here.

use super::art::{ART, Art};
use super::decide;
use super::ewma::{Distance, HORIZONS, Track};
use super::forest::{FOREST, Forest};
use super::half_space::{HALF_SPACE, HalfSpaces};
use super::loda::{LODA, Loda};
use super::profile::{PROFILE, Profile};
use super::score::{LEVEL_FIRST, SCORE, ScoreParams};
use super::season::{SEASON, Season};
use super::spectral::{SPECTRAL, Spectral};
use super::stretch;
use super::sub_pca::{SUB_PCA, SubPca};
use crate::base::error::{Error, Result};
use crate::plan::Kernel;
use std::fmt;

/// What judges the events of [`Scores`](crate::Scores), beside their distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Detector {
    /// Distances from means over three horizons, in deviations, and nothing else (`ops::ewma`).
    #[default]
    Distances,
    /// Random cut forests over samples of each value, of its means and, with a period, of what lasts beside the time of
    /// the period (`ops::forest`). They find what is unusual although it lies within the deviations, take 12 bytes a
    /// point and value for each key, 16 with a period, and a microsecond or two an event. Mesa's software adapter for
    /// WGSL ends a thread after 65,535 turns of its loops, in silence; there batches may have 64 events at most
    /// (`Options::batch_events`), or rows are wrong.
    Forest(Forest),
    /// Half-space trees that judge all values of an event together, as one point (`ops::half_space`). They find what
    /// is unusual in combination, each value being usual by itself, and know of the latest one or two windows only.
    /// [`HalfSpaces::default`] takes 20 KB a key, and less than a microsecond an event. On Mesa's software adapter (see
    /// above) batches may have 256 events at most.
    HalfSpaces(HalfSpaces),
    /// Random projections of all values of an event, each with a histogram (`ops::loda`). They find what half-space
    /// trees find, from a longer past and with less state: [`Loda::default`] takes 2 KB a key, and less than a
    /// microsecond an event. On Mesa's software adapter (see above) batches may have 256 events at most.
    Loda(Loda),
    /// Distances from what a value's season makes likely at its time (`ops::season`), for keys that are found to have
    /// one; from means alone for others. They find what is unusual for its time of the day or week. [`Season::days`]
    /// takes 5 KB a value for each key, and less than a microsecond an event. [`Season::learnt`] finds the length of
    /// the season, too, for 20 bytes a slot of the longest; on Mesa's software adapter (see above) batches may then
    /// have 32,768 events by that number of slots at most.
    Season(Season),
    /// Left matrix profiles of each value: how far its latest stretch lies from the nearest one before
    /// (`ops::profile`). They find what is usual number by number, but not in this order, and rank best of all while an
    /// anomaly lasts. [`Profile::default`] takes 8 KB a key and value, and less than a microsecond an event.
    Profile(Profile),
    /// Streaming principal components of each value's latest stretch: how much of it its usual shapes leave over
    /// (`ops::sub_pca`). They find what matrix profiles find where stretches are mixtures of a few shapes, with less
    /// state and for less: [`SubPca::default`] takes 704 bytes a key and value, and a fraction of a microsecond an
    /// event. On Mesa's software adapter (see above) batches may have 256 events at most.
    SubPca(SubPca),
    /// Spectral residuals of each value's latest stretch: how salient its latest number is (`ops::spectral`). They find
    /// single numbers that jump out of what is around them, whatever its scale, and little else, with the least state
    /// of all that look at stretches: [`Spectral::default`] takes 320 bytes a key and value, and a microsecond or two
    /// an event. On Mesa's software adapter (see above) batches may have 64 events at most.
    Spectral(Spectral),
    /// Distances, and beside them how far the shape of each value's latest numbers lies from all shapes that it is
    /// known by: fuzzy ART over windows (`ops::art`). It finds what comes in a shape that never was, and knows the
    /// others for as long as they come again now and then. [`Art::default`] takes 2.5 KB a key and value, and less than
    /// a microsecond an event. On Mesa's software adapter (see above) batches may have 256 events at most.
    Art(Art),
}

impl Detector {
    /// As parameters: which it is, and its numbers.
    pub const fn shape(self) -> [u32; 5] {
        match self {
            Self::Distances => [0; 5],
            Self::Forest(forest) => {
                let [a, b, c, d] = forest.packed();
                [1, a, b, c, d]
            }
            Self::HalfSpaces(spaces) => [2, spaces.packed(), 0, 0, 0],
            Self::Loda(Loda { projections, cells, window }) => [3, projections, cells, window, 0],
            Self::Season(season) => {
                let [a, b, c, d] = season.packed();
                [4, a, b, c, d]
            }
            Self::Profile(profile) => [5, profile.packed(), 0, 0, 0],
            Self::SubPca(pca) => [6, pca.packed(), 0, 0, 0],
            Self::Spectral(Spectral { window }) => [7, window, 0, 0, 0],
            Self::Art(Art { categories, vigilance, window }) => {
                [8, categories, vigilance, window, 0]
            }
        }
    }

    /// From what [`Detector::shape`] made; `None` for anything else. The numbers may be out of range.
    pub const fn from_shape(shape: [u32; 5]) -> Option<Self> {
        match shape {
            [0, 0, 0, 0, 0] => Some(Self::Distances),
            [1, a, b, c, 0] => Some(Self::Forest(Forest::unpacked([a, b, c, 0]))),
            [2, spaces, 0, 0, 0] => Some(Self::HalfSpaces(HalfSpaces::unpacked(spaces))),
            [3, projections, cells, window, 0] => {
                Some(Self::Loda(Loda { projections, cells, window }))
            }
            [4, a, b, c, d] => Some(Self::Season(Season::unpacked([a, b, c, d]))),
            [5, profile, 0, 0, 0] => Some(Self::Profile(Profile::unpacked(profile))),
            [6, pca, 0, 0, 0] => Some(Self::SubPca(SubPca::unpacked(pca))),
            [7, window, 0, 0, 0] => Some(Self::Spectral(Spectral { window })),
            [8, categories, vigilance, window, 0] => {
                Some(Self::Art(Art { categories, vigilance, window }))
            }
            _ => None,
        }
    }

    /// # Errors
    /// `Invalid` when a number is out of range, naming it.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Distances => Ok(()),
            Self::Forest(forest) => forest.check(),
            Self::HalfSpaces(spaces) => spaces.check(),
            Self::Loda(loda) => loda.check(),
            Self::Season(season) => season.check(),
            Self::Profile(profile) => profile.check(),
            Self::SubPca(pca) => pca.check(),
            Self::Spectral(spectral) => spectral.check(),
            Self::Art(art) => art.check(),
        }
    }

    /// Words of its state for a key, in whole lines of 64 bytes; they stand behind everything else.
    pub const fn words(self, values: usize) -> usize {
        match self {
            Self::Distances => 0,
            Self::Forest(forest) => forest.words(values),
            Self::HalfSpaces(spaces) => spaces.words(),
            Self::Loda(loda) => loda.words(),
            Self::Season(season) => season.words(values),
            Self::Profile(profile) => values * profile.words(),
            Self::SubPca(pca) => values * pca.words(),
            Self::Spectral(spectral) => values * spectral.words(),
            Self::Art(art) => values * art.words(),
        }
    }

    /// The kernel that scores with it.
    pub fn kernel(self) -> &'static Kernel {
        match self {
            Self::Distances => &SCORE,
            Self::Forest(_) => &FOREST,
            Self::HalfSpaces(_) => &HALF_SPACE,
            Self::Loda(_) => &LODA,
            Self::Season(_) => &SEASON,
            Self::Profile(_) => &PROFILE,
            Self::SubPca(_) => &SUB_PCA,
            Self::Spectral(_) => &SPECTRAL,
            Self::Art(_) => &ART,
        }
    }

    /// The share of chance in the surprise of a peak, to begin with, and what it makes of a level of one more beyond
    /// 1.3 (`ops::decide`); 0 where the key's own past alone decides.
    pub const fn chance(self) -> [f32; 2] {
        match self {
            Self::Forest(_) => [0.75, 10.0],
            Self::HalfSpaces(_) => [0.5, 0.0],
            _ => [0.0; 2],
        }
    }

    /// The first word of its state that no stream of so many values leads to, after `seen` events.
    pub fn misfit(self, own: &[u32], values: usize, seen: u32) -> Option<usize> {
        match self {
            Self::Distances => None,
            Self::Forest(forest) => forest.misfit(own, values),
            Self::HalfSpaces(spaces) => spaces.misfit(own, seen),
            Self::Loda(loda) => loda.misfit(own),
            Self::Season(season) => season.misfit(own, values),
            Self::Profile(profile) => profile.misfit(own, values, seen),
            Self::SubPca(pca) => stretch::misfit(pca, own, values, seen),
            Self::Spectral(spectral) => stretch::misfit(spectral, own, values, seen),
            Self::Art(art) => art.misfit(own, values, seen),
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Distances => write!(f, "distances"),
            Self::Forest(Forest { points, period: None }) => {
                write!(f, "a forest of {points} points")
            }
            Self::Forest(Forest { points, period: Some(period) }) => {
                write!(f, "a forest of {points} points with a period of {period} ticks")
            }
            Self::HalfSpaces(HalfSpaces { trees, height, window }) => {
                write!(f, "{trees} half-space trees of height {height} with windows of {window}")
            }
            Self::Loda(Loda { projections, cells, window }) => {
                write!(f, "{projections} projections on {cells} cells with windows of {window}")
            }
            Self::Season(Season { slot, seasons, longest: 0 }) => {
                write!(f, "seasons of {seasons:?} slots of {slot} ticks")
            }
            Self::Season(Season { slot, seasons, longest }) => {
                write!(f, "seasons of {seasons:?} and up to {longest} slots of {slot} ticks")
            }
            Self::Profile(Profile { points, window, shape }) => {
                let kind = if shape { "shapes" } else { "values" };
                write!(
                    f,
                    "a matrix profile of {points} points by the {kind} of windows of {window}"
                )
            }
            Self::SubPca(SubPca { window, rank }) => {
                write!(f, "{rank} principal components of windows of {window}")
            }
            Self::Spectral(Spectral { window }) => {
                write!(f, "spectral residuals of windows of {window}")
            }
            Self::Art(Art { categories, vigilance, window }) => write!(
                f,
                "fuzzy ART of {categories} categories, {vigilance} thousandths vigilant, with windows of {window}"
            ),
        }
    }
}

/// An error about a detector's number.
pub(super) fn out_of_range(name: &str, value: impl fmt::Display, accepted: &str) -> Error {
    Error::out_of_range(format!("detector.{name}"), value, accepted)
}

/// A value of an event that its track has learnt.
pub(super) struct Learnt<'a> {
    /// Which of the event's values.
    pub(super) value: usize,
    /// The number, held to +-10^12.
    pub(super) x: f32,
    /// Its track, this number learnt.
    pub(super) track: &'a Track<f32>,
    /// When it came.
    pub(super) moment: &'a Moment,
}

/// When an event came.
pub(super) struct Moment {
    /// Its time.
    pub(super) time: u64,
    /// Spacings since the one before.
    pub(super) steps: f32,
    /// What each horizon keeps of what came before, the shortest first.
    pub(super) decays: [f32; HORIZONS],
}

/// How a value stands out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apart {
    /// By how much: the value that stands out most is the one that its row tells of.
    pub(super) by: f32,
    /// Its dense score, from 0 to 1.
    pub(super) dense: f32,
    /// How much of the event's score is its part, at least 0.
    pub(super) part: f32,
}

/// What a detector makes of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Whether there is a past to judge by.
    pub(super) known: bool,
    /// Events that had a level before.
    pub(super) levels: u32,
    /// What the decision is taken by.
    pub(super) level: f32,
    /// The dense score, from 0 to 1.
    pub(super) dense: f32,
}

/// A detector on a serial device. `own` is its state of the event's key.
pub(super) trait Judge {
    /// Hears that a value of the event is missing.
    fn missing(&mut self, own: &mut [u32], value: usize) {
        let _ = (own, value);
    }

    /// How a value stands out, whose distance is `found`.
    fn value(
        &mut self,
        own: &mut [u32],
        p: &ScoreParams,
        learnt: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart;

    /// What to make of an event, the `seen`th of its key, of whose values that of such a distance stands out most, and
    /// how. `parts` are those of several values, which may be added to; there are none of one.
    fn level(
        &mut self,
        own: &mut [u32],
        p: &ScoreParams,
        most: (&Distance<f32>, Apart),
        seen: u32,
        parts: &mut [u32],
    ) -> Level;
}

/// Distances alone.
pub(super) struct ByDistance;

impl Judge for ByDistance {
    #[inline(always)]
    fn value(
        &mut self,
        _: &mut [u32],
        _: &ScoreParams,
        _: &Learnt<'_>,
        found: &mut Distance<f32>,
    ) -> Apart {
        Apart { by: found.z2, dense: 0.0, part: found.z2 }
    }

    #[inline(always)]
    fn level(
        &mut self,
        _: &mut [u32],
        _: &ScoreParams,
        (far, _): (&Distance<f32>, Apart),
        seen: u32,
        _: &mut [u32],
    ) -> Level {
        let levels = seen.saturating_sub(LEVEL_FIRST + 1);
        Level { known: seen > LEVEL_FIRST, levels, level: decide::level(far.z2), dense: 0.0 }
    }
}
