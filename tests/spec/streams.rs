//! Streams of readings from a seed, with everything in them that breaks window engines.
//!
//! Every lane has a front that moves over `span` ticks while the events are made; an event lies at its
//! lane's front, a random disorder behind it, or where one of the shares below puts it. The same `Stream`
//! always makes the same actions.

use super::peers::Zipf;
use super::{Action, Reading};
use half::{bf16, f16};
use pelton::base::limits::JUMP_EVENTS;
use pelton::base::rng::SplitMix;

/// How often each key comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Skew {
    Uniform,
    Zipf(f64),
}

/// What keys look like; `small` is made from the same rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStyle {
    /// The ranks themselves: fit for dense keys.
    Ranks,
    /// Three low words only: most pairs of keys differ in the high word alone.
    Twins,
    /// Random words, with 0 and the greatest key among them.
    Scattered,
}

/// What ordinary values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Multiples of a quarter in [0, 256).
    Quarters,
    /// Odd multiples of `2^-(fraction + 1)`: every one is a tie in fixed point.
    Ties { fraction: u32 },
    /// Normals of both signs over 40 powers of two around one.
    Wide,
    /// Any bits at all.
    Bits,
}

/// What a stream contains. Shares are probabilities per event.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub seed: u64,
    pub events: usize,
    /// 1 to 4 or more. All open at the beginning unless `joins`; all are closed at the end.
    pub lanes: u32,
    pub keys: usize,
    pub skew: Skew,
    pub key_style: KeyStyle,
    /// Share of keys at `keys` or above, some with a good low word; for `Ranks`.
    pub bad_keys: f64,
    /// Where the fronts start.
    pub base: u64,
    /// How far a front gets without jumps; fronts stop at `u64::MAX`.
    pub span: u64,
    /// An event lies up to this many ticks behind its front.
    pub disorder: u64,
    /// Lane `i`'s front is `i · lag` ticks behind lane 0's.
    pub lag: u64,
    /// Share and depth of events that lie up to `2 · depth` behind the front.
    pub too_late: (f64, u64),
    /// Share of events more than `horizon` ahead of the front.
    pub beyond: f64,
    pub horizon: u64,
    /// Runs of events beyond the horizon in one lane, some long enough to prove a jump, some not quite.
    pub jumps: usize,
    /// Idle phases.
    pub idles: usize,
    /// Share of events after which a lane's time is told, up to a little beyond its front.
    pub advances: f64,
    /// Whether all open lanes may be idle at once.
    pub all_idle: bool,
    /// Whether lanes other than the first open and close in the middle.
    pub joins: bool,
    /// Share of events exactly 2^32 ticks before or after the ordinary one before them.
    pub aliases: f64,
    /// Share of NaN, infinities, zeros of both signs, subnormals, the greatest and least, ties.
    pub specials: f64,
    pub numbers: Numbers,
}

impl Default for Stream {
    /// Ten thousand plain events in one lane.
    fn default() -> Self {
        Self {
            seed: 1,
            events: 10_000,
            lanes: 1,
            keys: 100,
            skew: Skew::Uniform,
            key_style: KeyStyle::Ranks,
            bad_keys: 0.0,
            base: 0,
            span: 10_000,
            disorder: 0,
            lag: 0,
            too_late: (0.0, 0),
            beyond: 0.0,
            horizon: u64::MAX,
            jumps: 0,
            idles: 0,
            advances: 0.0,
            all_idle: false,
            joins: false,
            aliases: 0.0,
            specials: 0.0,
            numbers: Numbers::Quarters,
        }
    }
}

impl Stream {
    /// The actions, in global order.
    pub fn actions(&self) -> Vec<Action> {
        assert!(self.lanes > 0 && self.keys > 0);
        let mut maker = Maker::new(self);
        for i in 0..self.events {
            maker.happenings(i);
            let lane = maker.lane(i);
            let at = maker.time(i, lane);
            let reading = maker.reading(at);
            maker.out.push(Action::Event(lane, reading));
            maker.advance(i);
        }
        maker.close_all();
        maker.out
    }
}

/// The actions before which an engine must have processed all earlier ones, because a lane then joins
/// at the watermark: openings, and first events after an idle mark.
pub fn settle_before(actions: &[Action]) -> Vec<usize> {
    let mut idle = std::collections::BTreeSet::new();
    let mut at = Vec::new();
    for (i, action) in actions.iter().enumerate() {
        let joins = match action {
            Action::Open(_) => true,
            Action::Event(lane, _) | Action::Advance(lane, _) => idle.remove(lane),
            Action::Idle(lane) => {
                idle.insert(*lane);
                false
            }
            Action::Close(lane) => {
                idle.remove(lane);
                false
            }
        };
        if joins {
            at.push(i);
        }
    }
    at
}

/// A lane of the generator: `opens` and `closes` are event numbers.
struct Track {
    opens: usize,
    closes: usize,
    open: bool,
    /// Idle until this event number.
    idle_until: Option<usize>,
    /// Ticks that jumps have added to the front.
    shift: u64,
}

/// A run of events beyond the horizon in one lane.
struct Burst {
    lane: u32,
    left: usize,
    at: u64,
    spread: u64,
}

struct Maker<'s> {
    stream: &'s Stream,
    rng: SplitMix,
    zipf: Option<Zipf>,
    tracks: Vec<Track>,
    jumps_at: Vec<usize>,
    idles_at: Vec<usize>,
    burst: Option<Burst>,
    /// The time of the latest ordinary event.
    near: u64,
    out: Vec<Action>,
}

impl<'s> Maker<'s> {
    fn new(stream: &'s Stream) -> Self {
        let mut rng = SplitMix::new(stream.seed);
        let mut moments = |n: usize| {
            let mut at: Vec<usize> = (0..n).map(|_| index(&mut rng, stream.events)).collect();
            at.sort_unstable_by(|a, b| b.cmp(a));
            at
        };
        let (jumps_at, idles_at) = (moments(stream.jumps), moments(stream.idles));
        let mut opens = moments(stream.lanes as usize);
        let closes = moments(stream.lanes as usize);
        opens.reverse();
        let track = |lane: usize| {
            let whole = lane == 0 || !stream.joins;
            // Even lanes close early if they can; openings keep the order of the lanes.
            let early = !whole && lane.is_multiple_of(2) && closes[lane] > opens[lane];
            Track {
                opens: if whole { 0 } else { opens[lane] },
                closes: if early { closes[lane] } else { usize::MAX },
                open: false,
                idle_until: None,
                shift: 0,
            }
        };
        let tracks = (0..stream.lanes as usize).map(track).collect();
        let zipf = match stream.skew {
            Skew::Uniform => None,
            Skew::Zipf(s) => Some(Zipf::new(stream.keys, s)),
        };
        let out = Vec::with_capacity(stream.events + 64);
        Self { stream, rng, zipf, tracks, jumps_at, idles_at, burst: None, near: stream.base, out }
    }

    /// Opens, closes, idles and bursts that are due before event `i`.
    fn happenings(&mut self, i: usize) {
        for lane in 0..self.tracks.len() {
            let track = &mut self.tracks[lane];
            let name = u32::try_from(lane).expect("few lanes");
            if track.opens == i {
                track.open = true;
                self.out.push(Action::Open(name));
            }
            if track.closes == i && (self.stream.all_idle || self.others_active(lane)) {
                self.tracks[lane].open = false;
                self.out.push(Action::Close(name));
            }
        }
        while self.idles_at.pop_if(|at| *at == i).is_some() {
            self.idle(i);
        }
        while self.jumps_at.pop_if(|at| *at == i).is_some() {
            self.start_burst(i);
        }
    }

    fn active(&self, lane: usize) -> bool {
        self.tracks[lane].open && self.tracks[lane].idle_until.is_none()
    }

    fn others_active(&self, lane: usize) -> bool {
        (0..self.tracks.len()).any(|other| other != lane && self.active(other))
    }

    fn idle(&mut self, i: usize) {
        let lane = index(&mut self.rng, self.tracks.len());
        let pause = 1 + index(&mut self.rng, self.stream.events / 4 + 1);
        if self.active(lane) && (self.stream.all_idle || self.others_active(lane)) {
            self.tracks[lane].idle_until = Some(i + pause);
            self.out.push(Action::Idle(u32::try_from(lane).expect("few lanes")));
        }
    }

    /// Now and then some open lane, perhaps an idle one, says how far its time has come.
    fn advance(&mut self, i: usize) {
        if self.rng.unit() >= self.stream.advances {
            return;
        }
        let lane = index(&mut self.rng, self.tracks.len());
        if self.tracks[lane].open {
            self.tracks[lane].idle_until = None;
            let ahead = self.rng.below(self.stream.disorder.saturating_add(2));
            let at = self.front(i, lane).saturating_add(ahead);
            self.out.push(Action::Advance(u32::try_from(lane).expect("few lanes"), at));
        }
    }

    /// 28 to 40 events: just too few or enough for a jump. Long ones move the fronts along.
    fn start_burst(&mut self, i: usize) {
        let horizon = self.stream.horizon;
        let lane = index(&mut self.rng, self.tracks.len());
        let left = JUMP_EVENTS as usize - 4 + index(&mut self.rng, 13);
        let reach = self.rng.below(horizon.saturating_add(1));
        let front = self.front(i, lane);
        let at = front.saturating_add(horizon).saturating_add(1).saturating_add(reach);
        let spread = [0, horizon / 2, horizon.saturating_mul(2)][index(&mut self.rng, 3)];
        if !self.tracks[lane].open || at == u64::MAX {
            return;
        }
        if left >= JUMP_EVENTS as usize && spread <= horizon {
            let everyone = self.rng.below(2) == 0;
            for (other, track) in self.tracks.iter_mut().enumerate() {
                if everyone || other == lane {
                    track.shift = track.shift.saturating_add(at - front);
                }
            }
        }
        self.burst =
            Some(Burst { lane: u32::try_from(lane).expect("few lanes"), left, at, spread });
    }

    /// The lane of event `i`: a burst's own, else any that is open and not idle; returning lanes first.
    fn lane(&mut self, i: usize) -> u32 {
        if let Some(burst) = &self.burst {
            let lane = burst.lane as usize;
            if self.tracks[lane].open {
                self.tracks[lane].idle_until = None;
                return burst.lane;
            }
            self.burst = None;
        }
        let lanes = self.tracks.len();
        let any = index(&mut self.rng, lanes);
        let mut order = (0..lanes).map(|step| (any + step) % lanes);
        let ready = |track: &Track| track.open && track.idle_until.is_none_or(|until| until <= i);
        let lane = order.clone().find(|lane| ready(&self.tracks[*lane]));
        let lane = lane.or_else(|| order.find(|lane| self.tracks[*lane].open));
        let lane = lane.expect("lane 0 stays open");
        self.tracks[lane].idle_until = None;
        u32::try_from(lane).expect("few lanes")
    }

    fn front(&self, i: usize, lane: usize) -> u64 {
        let stream = self.stream;
        let moved = u128::from(stream.span) * i as u128 / stream.events.max(1) as u128;
        let front = u128::from(stream.base) + u128::from(self.tracks[lane].shift) + moved;
        let front = u64::try_from(front).unwrap_or(u64::MAX);
        front.saturating_sub(stream.lag.saturating_mul(lane as u64))
    }

    fn time(&mut self, i: usize, lane: u32) -> u64 {
        if let Some(burst) = &mut self.burst {
            let at = burst.at.saturating_add(self.rng.below(burst.spread.saturating_add(1)));
            burst.left -= 1;
            if burst.left == 0 {
                self.burst = None;
            }
            return at;
        }
        let stream = self.stream;
        let front = self.front(i, lane as usize);
        let behind = self.rng.below(stream.disorder.saturating_add(1));
        let at = front.saturating_sub(behind);
        if self.chance(stream.too_late.0) {
            let depth = self.rng.below(stream.too_late.1.saturating_mul(2).saturating_add(1));
            return front.saturating_sub(depth);
        }
        if self.chance(stream.beyond) {
            let bits = 1 + self.rng.below(40);
            let reach = self.rng.below(1 << bits);
            return front.saturating_add(stream.horizon).saturating_add(1).saturating_add(reach);
        }
        if self.chance(stream.aliases) {
            let later = self.rng.below(2) == 0;
            let near = self.near;
            let alias = if later { near.checked_add(1 << 32) } else { near.checked_sub(1 << 32) };
            return alias.unwrap_or(at);
        }
        self.near = at;
        at
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.unit() < share
    }

    fn close_all(&mut self) {
        for (lane, track) in self.tracks.iter().enumerate() {
            if track.open {
                self.out.push(Action::Close(u32::try_from(lane).expect("few lanes")));
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
    fn reading(&mut self, at: u64) -> Reading {
        let stream = self.stream;
        let rank = match &self.zipf {
            Some(zipf) => zipf.rank(self.rng.next_u64() as u32) as u64,
            None => self.rng.below(stream.keys as u64),
        };
        let (mut key, mut small) = keys(stream.key_style, rank);
        if self.chance(stream.bad_keys) {
            let past = [stream.keys as u64, u64::MAX, rank + (1 << 32), rank + (1 << 31)];
            key = past[index(&mut self.rng, past.len())];
            let past = [stream.keys as u32, u32::MAX, rank as u32 | 1 << 31];
            small = past[index(&mut self.rng, past.len())];
        }
        let (word, more) = (self.rng.next_u64(), self.rng.next_u64());
        let special = self.chance(stream.specials);
        let value = if special { special_f32(word) } else { number(stream.numbers, word) };
        let other = if special { special_i32(more) } else { integer(stream.numbers, more) };
        let (low, high) = (more as u16, (more >> 16) as u16);
        let (half, brain) = match stream.numbers {
            Numbers::Bits => (f16::from_bits(low), bf16::from_bits(high)),
            _ if special => (special_f16(more), bf16::from_f32(special_f32(more >> 8))),
            numbers => (
                f16::from_f32(number(numbers, more)),
                bf16::from_f32(number(numbers, more.rotate_left(20))),
            ),
        };
        Reading { at, key, small, value, other, half, brain }
    }
}

fn index(rng: &mut SplitMix, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).expect("below a usize")
}

/// The key of a rank in both widths.
#[allow(clippy::cast_possible_truncation, reason = "the low word is meant")]
fn keys(style: KeyStyle, rank: u64) -> (u64, u32) {
    match style {
        KeyStyle::Ranks => (rank, rank as u32),
        KeyStyle::Twins => {
            ((rank % 3) | ((rank / 3) << 32), ((rank % 3) | ((rank / 3) << 16)) as u32)
        }
        KeyStyle::Scattered => match rank {
            0 => (u64::MAX, u32::MAX),
            1 => (0, 0),
            2 => (u64::from(u32::MAX), u32::MAX - 1),
            rank => (SplitMix::at(7, rank), SplitMix::at(11, rank) as u32),
        },
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any bits will do")]
fn number(numbers: Numbers, word: u64) -> f32 {
    match numbers {
        Numbers::Quarters => (word & 1023) as f32 * 0.25,
        Numbers::Ties { fraction } => {
            let odd = (word & 0xFFFF) as f32 - 32_767.5;
            odd * 0.5f32.powi(i32::try_from(fraction).expect("a small number"))
        }
        Numbers::Wide => {
            let exponent = 107 + (word >> 32) as u32 % 40;
            f32::from_bits((word as u32 & 0x807F_FFFF) | exponent << 23)
        }
        Numbers::Bits => f32::from_bits(word as u32),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any bits will do")]
fn integer(numbers: Numbers, word: u64) -> i32 {
    match numbers {
        Numbers::Quarters => (word >> 40 & 1023) as i32,
        _ => (word >> 32) as i32,
    }
}

/// Values that engines get wrong.
#[allow(clippy::cast_possible_truncation, reason = "a choice")]
fn special_f32(word: u64) -> f32 {
    const SPECIALS: [u32; 24] = [
        0x7FC0_0000, // NaN
        0xFFC0_0001, // a negative NaN with a payload
        0x7F80_0001, // a signalling NaN
        0x7F80_0000, // infinity
        0xFF80_0000, // -infinity
        0x0000_0000, // 0
        0x8000_0000, // -0
        0x0000_0001, // the least subnormal
        0x8000_0001,
        0x007F_FFFF, // the greatest subnormal
        0x0080_0000, // the least normal
        0x7F7F_FFFF, // the greatest
        0xFF7F_FFFF,
        0x4F00_0000, // 2^31: one past an i32
        0x4EFF_FFFF, // the greatest f32 in an i32
        0xCF00_0000, // -2^31: the least i32
        0xCF00_0001, // past it
        0x4700_0000, // 2^15: one past an i32 with 16 fraction bits
        0xC700_0000, // -2^15
        0x3F00_0000, // 0.5: a tie to 0
        0x3FC0_0000, // 1.5: a tie to 2
        0xBF00_0000, // -0.5
        0x3EFF_FFFF, // just below a tie
        0x4AFF_FFFF, // 8388607.5: a tie with all bits in use
    ];
    f32::from_bits(SPECIALS[word as usize % SPECIALS.len()])
}

#[allow(clippy::cast_possible_truncation, reason = "a choice")]
fn special_f16(word: u64) -> f16 {
    const SPECIALS: [u16; 13] = [
        0x7E00, 0xFE01, 0x7C01, 0x7C00, 0xFC00, 0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x7BFF,
        0xFBFF, 0x3800,
    ];
    f16::from_bits(SPECIALS[word as usize % SPECIALS.len()])
}

#[allow(clippy::cast_possible_truncation, reason = "a choice")]
fn special_i32(word: u64) -> i32 {
    const SPECIALS: [i32; 6] = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX];
    SPECIALS[word as usize % SPECIALS.len()]
}
