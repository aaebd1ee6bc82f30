//! Seasons as `ops::season` defines them, in f64, one value of one season at a time.

use super::{HUBER, Horizon, Most, Track};
use std::collections::BTreeMap;

/// What is asked: slots in ticks, seasons in slots.
#[derive(Debug, Clone, Copy, Default)]
pub struct Season {
    pub slot: u64,
    pub seasons: [u32; 4],
}

/// An event of a value: what is known before it is learnt.
pub(super) struct Event<'a> {
    pub time: u64,
    pub x: f64,
    /// The value's own track, which has learnt it.
    pub own: &'a Track,
    pub far: Most,
    /// What each horizon keeps, the shortest first.
    pub decays: [f64; 3],
    pub steps: f64,
    pub horizon: f64,
}

/// Where a season's slot begins.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    weight: f64,
    mean: f64,
    adds: f64,
}

/// Mean squares of what forecasts were off, for each horizon.
type Errors = [f64; 3];

/// What a value keeps of a season.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    first: Option<u64>,
    latest: u64,
    weight: f64,
    errors: [Errors; 3],
    /// Level and trend, without a season and of Holt-Winters.
    holt: [(f64, f64); 2],
    residuals: [Track; 3],
    nodes: BTreeMap<u64, Node>,
}

fn least(errors: &Errors) -> f64 {
    errors.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The distance of a value that has these seasons; how far the choice among them is from another one, relative.
pub(super) fn distance(kept: &mut Vec<Kept>, season: &Season, event: &Event<'_>) -> (Most, f64) {
    let seasons: Vec<u64> = season.seasons.iter().filter(|&&s| s > 0).map(|&s| s.into()).collect();
    kept.resize(seasons.len(), Kept::default());
    let mut shares = vec![(0.75, event.far)];
    for (kept, slots) in kept.iter_mut().zip(seasons) {
        kept.step(season.slot, slots, event, &mut shares);
    }
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let margin = shares.get(1).map_or(f64::INFINITY, |next| next.0 / shares[0].0 - 1.0);
    (shares[0].1, margin)
}

impl Kept {
    /// Adds the models that may speak to `shares`.
    fn step(&mut self, slot: u64, slots: u64, event: &Event<'_>, shares: &mut Vec<(f64, Most)>) {
        let (here, part) = (event.time / slot, (event.time % slot) * 256 / slot);
        let share = part as f64 / 256.0;
        let pair = [(here % slots, 1.0 - share), ((here + 1) % slots, share)];
        if self.first.is_none() {
            self.latest = here;
        }
        let first = *self.first.get_or_insert(here);
        let origin = event.own.origin.expect("it has learnt");
        let x = event.x - origin;
        if here != self.latest {
            self.nodes.entry(pair[1].0).or_default().weight *= 0.875;
            if here != self.latest + 1 {
                self.nodes.entry(pair[0].0).or_default().weight *= 0.875;
            }
        }
        self.latest = here;
        let node = |at| self.nodes.get(&at).copied().unwrap_or_default();
        let seen = |&(at, share): &(u64, f64)| share == 0.0 || node(at).weight > 0.0;
        // Slots are told apart by 32 bits of their number.
        let passed = here.wrapping_sub(first) & 0xFFFF_FFFF >= slots;
        let known = passed && pair.iter().all(seen);

        let [short, _, long] = event.own.horizons;
        let gain = 1.0 / short.weight;
        let drift = (1.0 - event.decays[0]) * event.horizon / 64.0;
        let levels = self.holt.map(|(level, trend)| level + trend * drift);
        let stands = |at| if node(at).weight > 0.0 { node(at).mean } else { long.mean };
        let expected = [
            levels[0],
            pair.iter().map(|&(at, share)| share * stands(at)).sum::<f64>(),
            levels[1] + pair.iter().map(|&(at, share)| share * node(at).adds).sum::<f64>(),
        ];
        let weight = self.weight;
        let errors = self.errors;
        let settled = weight >= 16.0;
        if known {
            self.weight = weight * event.decays[2] + 1.0;
        }
        let mut learnt = [0.0; 3];
        for model in 0..3 {
            let residual = (x - expected[model]).clamp(-1e12, 1e12);
            let (error, own) = (least(&errors[model]), least(&errors[0]));
            let limit = if settled && error > 0.0 { 4.0 * error.sqrt() } else { f64::INFINITY };
            learnt[model] = residual.clamp(-limit, limit);
            if !known {
                continue;
            }
            let track = &mut self.residuals[model];
            compare(&mut self.errors[model], track, residual, self.weight, settled);
            let found = track.step(residual, event.decays);
            if model > 0 && weight >= 32.0 && own > 0.0 {
                let expected = origin + expected[model] + found.expected;
                shares.push((error / own, Most { expected, ..found }));
            }
        }
        let stood = pair.map(|(at, _)| stands(at));
        self.learn(pair, stood, learnt, gain);
        for (i, residual) in [learnt[0], learnt[2]].into_iter().enumerate() {
            let turn = gain * gain / 4.0 * residual / event.steps.max(1.0);
            self.holt[i] = (levels[i] + gain * residual, self.holt[i].1 * event.decays[0] + turn);
        }
    }

    /// Nodes learn residuals; `stood` is where they were.
    fn learn(&mut self, pair: [(u64, f64); 2], stood: [f64; 2], learnt: [f64; 3], gain: f64) {
        for ((at, share), mean) in pair.into_iter().zip(stood) {
            if share == 0.0 {
                continue;
            }
            let node = self.nodes.entry(at).or_default();
            if node.weight == 0.0 {
                (node.mean, node.adds) = (mean, 0.0);
            }
            node.weight += share;
            node.mean += share / node.weight * learnt[1];
            node.adds += share / node.weight * learnt[2] * (1.0 - gain);
        }
    }
}

/// Learns how far a number was from the means of a track.
fn compare(errors: &mut Errors, track: &Track, x: f64, weight: f64, settled: bool) {
    let x = x - track.origin.unwrap_or(x);
    for (error, Horizon { mean, .. }) in errors.iter_mut().zip(&track.horizons) {
        let square = (x - mean).powi(2);
        let most = if settled && *error > 0.0 { HUBER * HUBER * *error } else { f64::INFINITY };
        *error += (square.min(most) - *error) / weight;
    }
}
