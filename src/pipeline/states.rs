//! What scores have learnt of their keys, outside of a device: to keep, to send, to give to another pipeline.

use super::scores::check_values;
use crate::base::error::{Error, Result};
use crate::ops::detector::Detector;
use crate::ops::ensemble::{FURTHER_MAX, Judges};
use crate::ops::period::Period;
use crate::ops::score::state_words;
use crate::ops::state::{STATE_VERSION, misfit};
use std::fmt;

/// How files of states begin.
const MAGIC: &[u8; 8] = b"PLTSCORE";
/// Bytes before the keys.
const HEAD: usize = 8 + 4 * (3 + 5 * (1 + FURTHER_MAX)) + 8;
/// The shape of no detector.
const NONE: [u32; 5] = [u32::MAX; 5];

/// What queries must agree on to understand each other's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) values: u32,
    pub(super) judges: Judges,
}

impl Kind {
    /// Words of a state.
    pub(super) fn words(self) -> usize {
        self.judges.words(self.values as usize)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values by ", self.values)?;
        for (i, detector) in self.judges.iter().enumerate() {
            write!(f, "{}{detector}", if i == 0 { "" } else { ", " })?;
        }
        if self.judges.windows { write!(f, "; drift by ADWIN") } else { Ok(()) }
    }
}

/// What [`Scores`](super::Scores) have learnt of some keys: a value of its own, independent of devices.
///
/// A query hands over the states of keys that it forgets ([`Results::forgotten`](super::Results::forgotten)) and of all
/// its keys when asked ([`Inline::states`](super::Inline::states), [`Monitor::states`](super::Monitor::states)). It
/// takes them in by `restore`, also another query on another device and day: a restored key goes on as if it had never
/// been away. A key that is new can begin with what its like have learnt:
///
/// ```
/// # use pelton::{Device, Inline, Key, Options, Pod, Scores, Zeroable, field};
/// # #[repr(C)]
/// # #[derive(Clone, Copy, Pod, Zeroable)]
/// # struct Reading { at: u64, sensor: u32, value: f32 }
/// # let query = Scores {
/// #     key: Key::hashed(field!(Reading.sensor)),
/// #     ..Scores::new(field!(Reading.at), field!(Reading.value))
/// # };
/// # let mut inline = Inline::new(query, Options::on(Device::cpu()))?;
/// # let mut lane = inline.lane()?;
/// # for at in 0..1000u64 {
/// #     lane.push(Reading { at, sensor: 7, value: (at % 5) as f32 }).expect("there is room");
/// # }
/// # inline.settle(|_| ())?;
/// let mut like = inline.states()?;
/// like.retain(|sensor| sensor == 7);
/// like.rename(|_| 8);
/// inline.restore(&like)?; // Sensor 8 has seen 1000 events, too.
/// # lane.push(Reading { at: 1000, sensor: 8, value: 1.0 }).expect("there is room");
/// # let mut seen = 0;
/// # inline.settle(|rows| seen = rows.scores().map(|score| score.seen()).sum())?;
/// # assert_eq!(seen, 1001);
/// # Ok::<(), pelton::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct States {
    kind: Kind,
    keys: Vec<u64>,
    /// One state after another.
    words: Vec<u32>,
}

impl States {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, keys: Vec::new(), words: Vec::new() }
    }

    pub(super) fn push(&mut self, key: u64, state: &[u32]) {
        debug_assert_eq!(state.len(), self.kind.words());
        self.keys.push(key);
        self.words.extend_from_slice(state);
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose they are.
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Bytes of all states.
    pub const fn bytes(&self) -> usize {
        self.words.len() * 4
    }

    /// Each key with the words of its state, which `ops::score` describes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, &[u32])> {
        self.keys.iter().copied().zip(self.words.chunks_exact(self.kind.words()))
    }

    /// The seasons that were found where nobody named them ([`Season::learnt`](crate::Season::learnt)): for each key
    /// and value, and each detector that looks for one, the key, the number of the value and its [`Period`].
    pub fn seasons(&self) -> impl Iterator<Item = (u64, usize, Period)> {
        let values = self.kind.values as usize;
        self.iter().flat_map(move |(key, state)| {
            let places = self.kind.judges.places(values);
            places.flat_map(move |(at, words, detector)| {
                let own = &state[at..at + words][state_words(values)..];
                let found = match detector {
                    Detector::Season(season) => Some(season.found(own, values)),
                    _ => None,
                };
                let found = found.into_iter().flatten().enumerate();
                found.map(move |(value, period)| (key, value, period))
            })
        })
    }

    /// Keeps only the states of keys for which this holds.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        let mut kept = Self::new(self.kind);
        for (key, state) in self.iter().filter(|&(key, _)| keep(key)) {
            kept.push(key, state);
        }
        *self = kept;
    }

    /// Gives every state to another key. Where several come to the same one, the last of them is its.
    pub fn rename(&mut self, to: impl FnMut(u64) -> u64) {
        self.keys = std::mem::take(&mut self.keys).into_iter().map(to).collect();
    }

    /// Adds states of a query of the same kind. Where a key has several, the last one is its.
    ///
    /// # Errors
    /// `Invalid` when the other states are of another number of values, or by another detector.
    pub fn extend(&mut self, other: &Self) -> Result<()> {
        if other.kind != self.kind {
            return Err(Error::invalid(format!("states of {}, not of {}", other.kind, self.kind)));
        }
        self.keys.extend_from_slice(&other.keys);
        self.words.extend_from_slice(&other.words);
        Ok(())
    }

    /// All as bytes, the same on every machine: 8 that say what they are, then words of 32 bits, low byte first:
    /// version, values, 1 for windows by which keys drift, five for each of four detectors ([`Detector::shape`], all
    /// ones for none), how many states (two words); then all keys, two words each; then all states.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Kind { values, judges: Judges { first, further, windows } } = self.kind;
        let shapes = further.map(|detector| detector.map_or(NONE, Detector::shape));
        let shapes = [first.shape()].into_iter().chain(shapes);
        let head = [STATE_VERSION, values, windows.into()].into_iter().chain(shapes.flatten());
        let mut bytes = Vec::with_capacity(HEAD + self.keys.len() * 8 + self.bytes());
        bytes.extend_from_slice(MAGIC);
        head.for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend((self.keys.len() as u64).to_le_bytes());
        self.keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
        self.words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    /// States from bytes that [`States::to_bytes`] made. They may come from anywhere: whatever they are, scores stay
    /// finite.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong: not states, another version, too short or too long, or numbers that no stream
    /// leads to.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("states: {what}"));
        let Some((head, rest)) =
            bytes.split_first_chunk::<HEAD>().filter(|(h, _)| h[..8] == *MAGIC)
        else {
            return Err(wrong("these bytes are something else; States::to_bytes makes them"));
        };
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let long = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let [version, values, windows] = [8, 12, 16].map(|at| word(&head[at..at + 4]));
        if version != STATE_VERSION {
            return Err(wrong(&format!("version {version}; this is version {STATE_VERSION}")));
        }
        check_values(values as usize)?;
        if windows > 1 {
            return Err(wrong("neither with windows nor without"));
        }
        let judges = judges(&head[20..HEAD - 8], windows == 1)?;
        let kind = Kind { values, judges };
        let each = 8 + 4 * kind.words() as u64;
        let count = long(&head[HEAD - 8..]);
        if count.checked_mul(each) != Some(rest.len() as u64) {
            let (have, need) = (rest.len(), u128::from(count) * u128::from(each));
            return Err(wrong(&format!("{have} bytes for {count} states, which take {need}")));
        }
        let keys = rest.len() / usize::try_from(each).expect("fits, as the bytes do") * 8;
        let (keys, words) = rest.split_at(keys);
        let states = Self {
            kind,
            keys: keys.chunks_exact(8).map(long).collect(),
            words: words.chunks_exact(4).map(word).collect(),
        };
        for (key, state) in states.iter() {
            if let Some(at) = misfit(state, values as usize, judges) {
                return Err(wrong(&format!("key {key}: word {at} is as no stream makes it")));
            }
        }
        Ok(states)
    }
}

/// The detectors that bytes name.
fn judges(bytes: &[u8], windows: bool) -> Result<Judges> {
    let mut all = [None; 1 + FURTHER_MAX];
    for (i, bytes) in bytes.chunks_exact(20).enumerate() {
        let word = |at: usize| u32::from_le_bytes(bytes[4 * at..][..4].try_into().expect("four"));
        let shape = std::array::from_fn(word);
        // Behind the last one there is none.
        let ends = i > 0 && shape == NONE;
        let detector = if ends { None } else { Detector::from_shape(shape) };
        if detector.is_none() && !ends || i > 1 && !ends && all[i - 1].is_none() {
            return Err(Error::invalid("states: of no detector"));
        }
        detector.map_or(Ok(()), Detector::check)?;
        all[i] = detector;
    }
    let [first, further @ ..] = all;
    Ok(Judges { first: first.expect("named above"), further, windows })
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({} keys, of {})", self.len(), self.kind)
    }
}
