//! Periods as `ops::period` defines them: all slots by their numbers, in a map, nothing packed.

use std::collections::BTreeMap;

/// What one lag is known by.
#[derive(Debug, Clone, Copy, Default)]
struct Lag {
    differences: i64,
    /// In 2048ths of a place.
    mean: i64,
}

/// What is kept of a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// The open slot with its places.
    open: Option<(i64, Vec<i64>)>,
    closed: BTreeMap<i64, i64>,
    lags: BTreeMap<i64, Lag>,
    closings: u64,
    candidate: Option<i64>,
    looks: i64,
    pub(crate) period: Option<i64>,
    begin: i64,
    pub(crate) found: u32,
}

fn log2(n: i64) -> u32 {
    (0..63).take_while(|&power| 1 << (power + 1) <= n).count().try_into().expect("few")
}

fn near(a: Option<i64>, b: Option<i64>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= 1 + b / 16 || a == b,
        _ => false,
    }
}

impl Kept {
    /// Where in the period a slot is.
    pub(crate) fn number(&self, slot: i64) -> Option<i64> {
        // Slots are told apart by 32 bits.
        self.period.map(|period| (slot - self.begin).rem_euclid(1 << 32) % period)
    }

    /// Takes an event's place; whether the period changed.
    pub(crate) fn step(&mut self, longest: i64, slot: i64, place: i64) -> bool {
        let mut changed = false;
        if let Some((open, places)) = self.open.take_if(|(open, _)| *open != slot) {
            if (1..=longest).contains(&(open - slot)) {
                self.open = Some((open, places));
                return false;
            }
            changed = self.close(longest, open, &places, slot);
            if !(0..=longest).contains(&(slot - open)) {
                self.closed.clear();
            }
        }
        let (_, places) = self.open.get_or_insert_with(|| (slot, Vec::new()));
        if places.len() < 4096 {
            places.push(place);
        }
        changed
    }

    fn close(&mut self, longest: i64, open: i64, places: &[i64], next: i64) -> bool {
        let count = i64::try_from(places.len()).expect("few");
        let mean = (places.iter().sum::<i64>() + count / 2) / count;
        let memory = (0..).find(|&power| 1 << power >= longest).expect("small").max(8);
        for lag in 1..=longest {
            let Some(past) = self.closed.get(&(open - lag)) else { continue };
            let kept = self.lags.entry(lag).or_default();
            kept.differences = (kept.differences + 1).min(2047);
            let share = 1i64 << log2(kept.differences).min(memory);
            let off = (mean - past).abs() * 2048 - kept.mean;
            kept.mean += (off + share / 2).div_euclid(share);
        }
        self.closed.insert(open, mean);
        self.closings += 1;
        self.closings.is_multiple_of(8) && {
            let candidate = self.look(memory);
            self.follow(candidate, next)
        }
    }

    /// A lag's mean difference in 64ths of a place, where it is known.
    fn known(&self, lag: i64) -> Option<(i64, u32)> {
        let kept = self.lags.get(&lag)?;
        let least = (2 * lag).clamp(64, 2047);
        (kept.differences >= least).then(|| (kept.mean / 32, log2(kept.differences)))
    }

    fn look(&self, memory: u32) -> Option<i64> {
        let first: Option<Vec<i64>> = (1..=16).map(|lag| Some(self.known(lag)?.0)).collect();
        let first: i64 = first?.iter().sum();
        let mut best: Option<(i64, i64)> = None;
        let mut before: Vec<i64> = Vec::new();
        for &lag in self.lags.keys() {
            let Some((mean, power)) = self.known(lag) else { continue };
            let (sum, lags) = (before.iter().sum::<i64>(), before.len() as i64);
            before.push(mean);
            if lag == 1 {
                continue;
            }
            let share = match (Some(lag) == self.period, power) {
                (true, _) => 56,
                (_, 6) => 32,
                (_, 7) => 41,
                _ => 44,
            };
            let below = |sum: i64, lags: i64| mean * lags * 64 < share * sum;
            let amount = 4096 * 64 / (1 << power.min(memory + 1));
            if !below(sum, lags) || lag <= 16 && !below(first, 16) || sum < amount * lags {
                continue;
            }
            if best.is_none_or(|(at, least)| {
                mean < least && lag - at <= 1 + at / 16 || 4 * mean < 3 * least
            }) {
                best = Some((lag, mean));
            }
        }
        best.map(|(lag, _)| lag)
    }

    fn follow(&mut self, candidate: Option<i64>, next: i64) -> bool {
        if near(candidate, self.period) {
            let mean = |lag: Option<i64>| lag.map(|lag| self.lags[&lag].mean / 32);
            if let (Some(new), Some(old), Some(length)) =
                (mean(candidate), mean(self.period), candidate)
                && 16 * new < 15 * old
            {
                let number = self.number(next).expect("a period") % length;
                (self.period, self.begin) = (candidate, next - number - 8 * length);
            }
            (self.candidate, self.looks) = (self.period, 0);
            return false;
        }
        let again = self.looks > 0 && near(candidate, self.candidate);
        self.looks = if again { self.looks + 1 } else { 1 };
        self.candidate = candidate;
        let persists = candidate.or(self.period).expect("they differ").max(64);
        if 8 * self.looks < persists {
            return false;
        }
        (self.period, self.looks) = (candidate, 0);
        if let Some(period) = candidate {
            self.found += 1;
            self.begin = next - 8 * period;
        }
        true
    }
}
