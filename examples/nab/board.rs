//! The score of the Numenta Anomaly Benchmark, as Lavin and Ahmad define it (2015, arXiv:1510.03336).
//!
//! Rows in the first 15 % of a file, 750 at most, are ignored. A labelled window is credited with its best placed
//! detection, the earlier the better, or costs what a miss costs; a detection outside windows costs the more the
//! farther it lies behind one. One threshold holds for all files. 100 is perfect, 0 is never to detect anything.

/// What a hit, a miss and a false alarm weigh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    hit: f64,
    miss: f64,
    alarm: f64,
}

/// The three profiles of the board.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { name: "standard", hit: 1.0, miss: 1.0, alarm: 0.11 },
    Profile { name: "low false positives", hit: 1.0, miss: 1.0, alarm: 0.22 },
    Profile { name: "low false negatives", hit: 1.0, miss: 2.0, alarm: 0.11 },
];

/// A file to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    /// The score of each row.
    pub(crate) scores: &'a [f64],
    /// First and last row of each labelled window, in order.
    pub(crate) windows: &'a [(usize, usize)],
}

#[derive(Debug)]
struct Row {
    score: f64,
    /// What a detection here is worth, between -1 and 1.
    weight: f64,
    /// The window that it lies in, counted over all files.
    window: Option<usize>,
}

/// All rows that count, by falling score.
#[derive(Debug)]
pub(crate) struct Board {
    rows: Vec<Row>,
    windows: usize,
    /// Windows that have a row which counts.
    live: usize,
}

/// A threshold and what it scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) score: f64,
    pub(crate) threshold: f64,
}

/// Rows at the beginning of a file that do not count.
fn probation(rows: usize) -> usize {
    (rows * 15 / 100).min(750)
}

fn shape(y: f64) -> f64 {
    if y > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * y).exp()) - 1.0 }
}

/// Weight and window of each row of a file.
fn weights(rows: usize, windows: &[(usize, usize)], first: usize) -> Vec<(f64, Option<usize>)> {
    let mut weights = vec![(-1.0, None); rows];
    for (i, &(from, to)) in windows.iter().enumerate() {
        let width = (to - from + 1) as f64;
        for (row, weight) in weights[from..=to].iter_mut().enumerate() {
            let left = width - row as f64;
            *weight = (shape(-left / width) / shape(-1.0), Some(first + i));
        }
        let next = windows.get(i + 1).map_or(rows, |&(next, _)| next);
        let width = ((to - from) as f64).max(1e-300);
        for (row, weight) in weights[(to + 1).min(next)..next].iter_mut().enumerate() {
            weight.0 = shape((row + 1) as f64 / width);
        }
    }
    weights
}

impl Board {
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = Judged<'a>>) -> Self {
        let (mut rows, mut windows) = (Vec::new(), 0);
        for file in files {
            let weights = weights(file.scores.len(), file.windows, windows);
            windows += file.windows.len();
            let all = file.scores.iter().zip(weights).skip(probation(file.scores.len()));
            rows.extend(all.map(|(&score, (weight, window))| Row { score, weight, window }));
        }
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut seen = vec![false; windows];
        rows.iter().filter_map(|row| row.window).for_each(|window| seen[window] = true);
        let live = seen.iter().filter(|&&seen| seen).count();
        Self { rows, windows, live }
    }

    /// The best threshold of all; above every score when to detect nothing is best.
    pub(crate) fn best(&self, profile: &Profile) -> Point {
        let mut best = Point { score: 0.0, threshold: f64::INFINITY };
        self.walk(profile, |point| {
            if point.score > best.score {
                best = point;
            }
        });
        best
    }

    /// What a threshold scores.
    pub(crate) fn at(&self, profile: &Profile, threshold: f64) -> f64 {
        let mut score = 0.0;
        self.walk(profile, |point| {
            if point.threshold >= threshold {
                score = point.score;
            }
        });
        score
    }

    /// Every threshold that makes a difference, from the highest down.
    fn walk(&self, profile: &Profile, mut each: impl FnMut(Point)) {
        if self.windows == 0 {
            return; // Nothing to find is no score.
        }
        let nothing = -profile.miss * self.live as f64;
        let perfect = self.windows as f64 * profile.hit;
        let mut best: Vec<Option<f64>> = vec![None; self.windows];
        let mut sum = nothing;
        for (i, row) in self.rows.iter().enumerate() {
            match row.window {
                None => sum += row.weight * profile.alarm,
                Some(window) => {
                    let before = best[window];
                    if before.is_none_or(|before| row.weight > before) {
                        sum += profile.hit * (row.weight - before.unwrap_or(0.0));
                        sum += if before.is_none() { profile.miss } else { 0.0 };
                        best[window] = Some(row.weight);
                    }
                }
            }
            if self.rows.get(i + 1).is_none_or(|next| next.score < row.score) {
                let score = 100.0 * (sum - nothing) / (perfect - nothing);
                each(Point { score, threshold: row.score });
            }
        }
    }
}

/// Which half of the corpus a file belongs to: the lowest bit of the CRC-32 of its name.
pub(crate) fn half(name: &str) -> usize {
    let mut crc = u32::MAX;
    for byte in name.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ 0xEDB8_8320 & (crc & 1).wrapping_neg();
        }
    }
    usize::from(crc & 1 == 0)
}
