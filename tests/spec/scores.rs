//! Scores as `ops::score` defines them, one event at a time, in f64 and with the machine's own logarithms.

#[path = "season.rs"]
mod season;
#[path = "window.rs"]
pub mod window;
pub use season::Season;
use window::Window;

/// How drift is looked for.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// Page's, with its delta and threshold.
    Page(f64, f64),
    /// By a window, with its delta.
    Adwin(f64),
}

/// What is asked: the settings of `pelton::Scores`, in the terms of the definition.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub horizon: f64,
    /// Ticks between events; 0: learnt.
    pub spacing: f64,
    pub warm: u32,
    /// Asked rate of false alarms.
    pub rate: f64,
    pub rest: f64,
    pub up: bool,
    pub down: bool,
    pub least: f64,
    pub least_share: f64,
    pub season: Season,
    pub drift: Option<Test>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            horizon: 2048.0,
            spacing: 0.0,
            warm: 256,
            rate: 1e-4,
            rest: 128.0,
            up: true,
            down: true,
            least: 0.0,
            least_share: 0.0,
            season: Season::default(),
            drift: None,
        }
    }
}

/// What comes out for one event.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scored {
    /// Minus the natural logarithm of the tail probability.
    pub surprise: f64,
    pub expected: f64,
    pub variance: f64,
    pub value: usize,
    pub alert: bool,
    pub resting: bool,
    pub warming: bool,
    pub missing: bool,
    pub ruled_out: bool,
    pub clamped: bool,
    /// Whether the key has drifted: it is to begin anew.
    pub drifted: bool,
    /// How far the event is from a decision that a rounding could turn, relative.
    pub margin: f64,
    /// How far the season that speaks is from another, relative.
    pub choice: f64,
    /// How far the squared distances of two horizons are from one another: a rounding may say which is larger.
    pub tie: f64,
}

/// Events with a weight, forgotten at a rate.
#[derive(Debug, Clone, Copy, Default)]
struct Horizon {
    weight: f64,
    mean: f64,
    squares: f64,
}

/// Mean and variance of what is forgotten at a rate of one in 2048.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    count: u32,
    mean: f64,
    variance: f64,
}

#[derive(Debug, Clone, Default)]
struct Track {
    origin: Option<f64>,
    horizons: [Horizon; 3],
    /// By how much the largest squared distance of the latest value was that.
    tie: f64,
}

/// One key's state.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub seen: u32,
    last: u64,
    spacing: f64,
    rest: f64,
    peak: f64,
    tracks: Vec<Track>,
    seasons: Vec<Vec<season::Kept>>,
    level: Level,
    drift: f64,
    window: Window,
    pub trials: u32,
    pub peaks: u32,
    excess: f64,
    least_excess: f64,
    slope: f64,
    ring: [f64; 32],
}

const VALUE_MAX: f64 = 1e12;
const Z2_MAX: f64 = 1e8;
const HUBER: f64 = 8.0;
const MEMORY: f64 = 2048.0;
const LEVEL_FIRST: u32 = 8;
const PEAK: f64 = 3.0;
const RING: u32 = 32;
const AGAIN: f64 = 1.2;
const PRIOR: f64 = 10.0;
const TRIALS_MAX: u32 = 1 << 18;

/// The event's most surprising value.
#[derive(Clone, Copy)]
struct Most {
    z2: f64,
    off: f64,
    expected: f64,
    variance: f64,
    value: usize,
}

impl State {
    pub fn new(values: usize) -> Self {
        let slope = 39f64.ln() / PEAK;
        let (tracks, seasons) = (vec![Track::default(); values], vec![Vec::new(); values]);
        Self { tracks, seasons, slope, ..Self::default() }
    }

    /// Scores one event and learns it.
    pub fn step(&mut self, ask: &Ask, time: u64, values: &[f64]) -> Scored {
        let (margin, choice) = (f64::INFINITY, f64::INFINITY);
        let mut out = Scored { margin, choice, tie: f64::INFINITY, ..Scored::default() };
        if self.seen == 0 {
            self.last = time;
        }
        let gap = time.saturating_sub(self.last) as f64;
        self.last = self.last.max(time);
        if gap > 0.0 {
            let share = (1.0 / f64::from(self.seen)).max(1.0 / 64.0);
            let heard = if self.spacing > 0.0 { gap.min(8.0 * self.spacing) } else { gap };
            self.spacing += (heard - self.spacing) * share;
        }
        let spacing = if ask.spacing > 0.0 { ask.spacing } else { self.spacing };
        let steps = if spacing > 0.0 { (gap / spacing).min(4096.0) } else { 0.0 };
        let decay = (-steps / ask.horizon).exp();
        let decays = [decay.powi(64), decay.powi(8), decay];
        let mut most: Option<Most> = None;
        for (value, &x) in values.iter().enumerate() {
            if x.is_nan() {
                continue;
            }
            out.clamped |= x.abs() > VALUE_MAX;
            let x = x.clamp(-VALUE_MAX, VALUE_MAX);
            let far = self.tracks[value].step(x, decays);
            let own = self.tracks[value].clone();
            let horizon = ask.horizon;
            let event = season::Event { time, x, own: &own, far, decays, steps, horizon };
            let (found, choice) = season::distance(&mut self.seasons[value], &ask.season, &event);
            out.choice = out.choice.min(choice);
            out.tie = out.tie.min(self.tracks[value].tie);
            let found = Most { value, ..found };
            if most.is_none_or(|most| found.z2 > most.z2) {
                most = Some(found);
            }
        }
        let left = self.rest - steps;
        if self.rest > 0.0 {
            out.margin = out.margin.min(left.abs());
        }
        self.rest = left.max(0.0);
        let Some(most) = most else {
            out.missing = true;
            return out;
        };
        self.seen += 1;
        let settled = self.tracks[most.value].horizons[1].weight >= 16.0;
        let few = self.peaks < 10 && self.seen / 4 <= ask.warm;
        out.warming = self.seen <= ask.warm || few || !settled;
        (out.expected, out.variance, out.value) = (most.expected, most.variance, most.value);
        if self.seen > LEVEL_FIRST {
            self.judge(ask, most, &mut out);
        } else {
            out.surprise = 2f64.ln();
        }
        out
    }

    fn judge(&mut self, ask: &Ask, most: Most, out: &mut Scored) {
        let level = (1.0 + most.z2 / 5.0).ln();
        let deviation = self.level.variance.sqrt();
        let mut off = level - self.level.mean;
        let known = self.level.count >= 8;
        let u = if known { (off / (deviation + 1e-6)).clamp(-1e6, 1e6) } else { 0.0 };
        if known {
            off = off.clamp(-8.0 * deviation - 1e-3, 8.0 * deviation + 1e-3);
        }
        self.level.add(off);
        let by = match ask.drift.filter(|_| !out.warming) {
            None => 0.0,
            Some(Test::Page(delta, threshold)) => {
                self.drift = (self.drift + u.min(4.0) - delta).max(0.0);
                self.drift / threshold
            }
            Some(Test::Adwin(delta)) => self.window.step(u, delta).unwrap_or(0.0),
        };
        out.drifted = by > 1.0;
        out.margin = out.margin.min((by - 1.0).abs());
        let excess = u - PEAK;
        out.margin = out.margin.min((excess / PEAK).abs());
        if excess <= 0.0 {
            out.surprise = (self.slope * u).exp().ln_1p();
        } else {
            out.surprise = self.tail(excess);
            let (candidate, asked) = (out.surprise, -ask.rate.ln());
            out.margin = out.margin.min((candidate / asked - 1.0).abs());
            let far = most.off.abs();
            let floor = ask.least.max(ask.least_share * most.expected.abs());
            if floor > 0.0 {
                out.margin = out.margin.min((far / floor - 1.0).abs());
            }
            let watched = if most.off > 0.0 { ask.up } else { ask.down };
            out.ruled_out = candidate > asked && (far < floor || !watched);
        }
        let again = excess > 0.0 && out.surprise > AGAIN * self.peak;
        if self.rest > 0.0 {
            out.margin = out.margin.min((out.surprise / (AGAIN * self.peak) - 1.0).abs());
        }
        out.resting = self.rest > 0.0 && !again;
        out.alert = excess > 0.0
            && out.surprise > -ask.rate.ln()
            && !out.warming
            && !out.ruled_out
            && !out.resting;
        if out.alert {
            (self.rest, self.peak) = (ask.rest, out.surprise);
        }
        self.learn(excess);
    }

    /// Minus the logarithm of the probability of such an excess or a larger one, by all that the peaks may mean.
    fn tail(&self, excess: f64) -> f64 {
        let zeta = (f64::from(self.peaks) + 0.5) / (f64::from(self.trials) + 20.0);
        let n = f64::from(self.peaks);
        let mean = (self.excess * n + 1.0) / (n + 1.0);
        let least = (self.least_excess * n + mean / 4.0 * PRIOR) / (n + PRIOR);
        let spread = (mean - 2.0 * least).max(0.02 * mean);
        let xi = (2.0 - mean / spread).clamp(-0.5, 0.75) + 2.0 / (n + PRIOR);
        // Nodes and weights of a mean over a normal variable (Gauss and Hermite).
        let aside = (3.0f64).sqrt() * (4.0 / 3.0 / (n + PRIOR)).sqrt();
        let nodes = [(xi - aside, 1.0), (xi, 4.0), (xi + aside, 1.0)];
        let predicted =
            nodes.map(|(xi, weight)| (pareto(excess, mean, xi.clamp(-0.5, 0.9)), weight));
        let least = predicted.iter().map(|&(beyond, _)| beyond).fold(f64::INFINITY, f64::min);
        let sum: f64 =
            predicted.iter().map(|&(beyond, weight)| weight * (least - beyond).exp()).sum();
        least - (sum / 6.0).ln() - zeta.ln()
    }

    fn learn(&mut self, excess: f64) {
        self.trials += 1;
        if excess > 0.0 {
            let excess = excess.min(16.0);
            let before = self.peaks.min(8);
            let at = |i| if self.peaks < RING { i } else { (self.peaks + i) % RING };
            let least: f64 = (0..before).map(|i| self.ring[at(i) as usize].min(excess)).sum();
            let n = f64::from(self.peaks);
            self.excess += (excess - self.excess) / (n + 1.0);
            if before > 0 {
                self.least_excess += (0.5 * least / f64::from(before) - self.least_excess) / n;
            }
            self.ring[(self.peaks % RING) as usize] = excess;
            self.peaks += 1;
            let zeta = (f64::from(self.peaks) + 0.5) / (f64::from(self.trials) + 20.0);
            self.slope = (1.0 / zeta - 1.0).ln() / PEAK;
        }
        if self.trials >= TRIALS_MAX {
            self.trials /= 2;
            self.peaks /= if self.peaks >= 64 { 2 } else { 1 };
        }
    }
}

impl Horizon {
    fn add(&mut self, off: f64, decay: f64) {
        self.weight = self.weight * decay + 1.0;
        let step = off / self.weight;
        self.mean += step;
        self.squares = self.squares * decay + off * (off - step);
    }
}

impl Level {
    fn add(&mut self, off: f64) {
        self.count += 1;
        let share = 1.0 / (MEMORY * (1.0 - (-f64::from(self.count) / MEMORY).exp()));
        let (old, before) = (self.mean, self.variance);
        self.mean += off * share;
        // The part of those before, and that of the new one, each about the new mean.
        let (moved, left) = (self.mean - old, old + off - self.mean);
        self.variance = (1.0 - share) * (before + moved * moved) + share * left * left;
    }
}

impl Track {
    fn step(&mut self, x: f64, decays: [f64; 3]) -> Most {
        let origin = *self.origin.get_or_insert(x);
        let x = x - origin;
        self.tie = f64::INFINITY;
        let mut most = Most { z2: -1.0, off: 0.0, expected: 0.0, variance: 0.0, value: 0 };
        for (h, decay) in self.horizons.iter_mut().zip(decays) {
            let mut off = x - h.mean;
            let variance = h.squares / h.weight.max(1.0);
            let z2 =
                if h.weight >= 8.0 { (off * off / (variance + 1e-24)).min(Z2_MAX) } else { 0.0 };
            self.tie = self.tie.min((z2 - most.z2).abs());
            if z2 > most.z2 {
                let expected = origin + h.mean;
                most = Most { z2, off, expected, variance, value: 0 };
            }
            if h.weight >= 16.0 && h.squares > 0.0 && z2 > HUBER * HUBER {
                let limit = HUBER * variance.sqrt();
                off = off.clamp(-limit, limit);
            }
            h.add(off, decay);
        }
        most
    }
}

/// Minus the logarithm of the probability of such an excess or a larger one, of a mean and a shape.
fn pareto(excess: f64, mean: f64, xi: f64) -> f64 {
    let y = excess / (mean * (1.0 - xi));
    let at = 1.0 + xi * y;
    if xi.abs() < 1e-3 {
        y
    } else if at >= 0.25 {
        at.ln() / xi
    } else {
        // On along the tangent, so that no finite end makes all that is beyond alike.
        0.25f64.ln() / xi + (y + 0.75 / xi) / 0.25
    }
}
