//! A window of levels as `ops::adwin` defines it, in f64, with its buckets as lists of what is in them.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]

use std::collections::VecDeque;

/// The window of one key.
#[derive(Debug, Clone, Default)]
pub struct Window {
    events: Vec<f64>,
    /// Row by row buckets of means, the oldest first.
    rows: [VecDeque<Vec<f64>>; 7],
}

impl Window {
    /// Takes in an event's `u`; with a mean by how much the best cut is one: above 1 the key has drifted.
    pub fn step(&mut self, u: f64, delta: f64) -> Option<f64> {
        self.events.push(((u.clamp(-4.0, 4.0) + 4.0) * 256.0).round());
        if self.events.len() < 32 {
            return None;
        }
        let mean = (self.events.drain(..).sum::<f64>() / 256.0).round();
        self.insert(mean);
        Some(self.best_cut(delta))
    }

    /// Takes in a mean.
    pub fn insert(&mut self, mean: f64) {
        let mut bucket = vec![mean];
        for row in &mut self.rows {
            row.push_back(bucket);
            if row.len() <= 4 {
                return;
            }
            bucket = row.drain(..2).flatten().collect();
        }
    }

    /// All means, the oldest first.
    pub fn means(&self) -> Vec<f64> {
        self.rows.iter().rev().flatten().flatten().copied().collect()
    }

    /// The most that the means of two parts differ by what chance allows; 0 for a window that is not cut.
    pub fn best_cut(&self, delta: f64) -> f64 {
        let all = self.means();
        let n = all.len() as f64;
        if n <= 10.0 {
            return 0.0;
        }
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let middle = mean(&all);
        let variance = all.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / n;
        let d = (2.0 * n.ln() / delta).ln();
        let (mut at, mut best) = (0, 0.0f64);
        for bucket in self.rows.iter().rev().flatten() {
            at += bucket.len();
            if at < all.len() {
                let (older, newer) = all.split_at(at);
                let m = 1.0 / older.len() as f64 + 1.0 / newer.len() as f64;
                let allowed = (2.0 * m * variance * d).sqrt() + 2.0 / 3.0 * 8.0 * m * d;
                best = best.max((mean(older) - mean(newer)).abs() / allowed);
            }
        }
        best
    }
}
