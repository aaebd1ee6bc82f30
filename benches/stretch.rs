//! A3-subpca and A3-spectral: what detectors of stretches cost beside a plain loop of the same arithmetic in f64.
//!
//! Events of one value through the whole engine on the processor (lane, batches, distances, detector, decision, a row
//! for each event), against a loop over scaled numbers that does the detector's part alone: it keeps the latest ones,
//! learns what the detector learns, and adds up what is unusual. The loop is as one would write it, with the functions
//! of the standard library and vectors as they come; it has no distances, no decision, no keys and no rows. One key,
//! one thread each, in turns; the median round counts. There is no streaming implementation of either that is compiled,
//! so a loop is the peer. Predicted before the first run: 1.5 times the loop's rate for components, 4 for spectra.

use pelton::base::rng::SplitMix;
use pelton::{
    Detector, Device, Inline, Key, LaneOptions, Options, Pod, Result, Scores, Spectral, SubPca,
    Zeroable, field,
};
use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::Instant;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    key: u32,
    value: f32,
}

/// Events of a round.
const EVENTS: usize = 1 << 18;
const ROUNDS: usize = 9;
/// What both are held to, as a multiple of the loop's rate.
const GOAL: f64 = 1.0;

#[allow(clippy::cast_possible_truncation, reason = "rounded")]
fn events(keys: u32) -> Vec<Reading> {
    let mut rng = SplitMix::new(9);
    let event = |at: u64| {
        let noise: f64 = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let key = u32::try_from(rng.below(keys.into())).expect("a key");
        Reading { at, key, value: ((at as f64 / 9.0).sin() + 0.3 * noise) as f32 }
    };
    (0..EVENTS as u64).map(event).collect()
}

/// The plain loop of principal components.
struct Components {
    ring: Vec<f64>,
    vectors: Vec<Vec<f64>>,
    learnt: f64,
}

impl Components {
    fn new(SubPca { window, rank }: SubPca) -> Self {
        let zeros = vec![0.0; window as usize];
        Self { vectors: vec![zeros.clone(); rank as usize], ring: zeros, learnt: 0.0 }
    }

    fn step(&mut self, number: f64) -> f64 {
        self.ring.rotate_right(1);
        self.ring[0] = number;
        let share = (3.0 / (self.learnt + 3.0)).max(1.0 / 1024.0);
        self.learnt += 1.0;
        let mut left = self.ring.clone();
        for vector in &mut self.vectors {
            let along: f64 = left.iter().zip(&*vector).map(|(r, v)| r * v).sum();
            let size: f64 = vector.iter().map(|v| v * v).sum();
            if size < 1e-12 {
                vector.copy_from_slice(&left);
                break;
            }
            let (part, gain) = (along / size, share * along / size.sqrt());
            for (v, r) in vector.iter_mut().zip(&mut left) {
                let before = *v;
                *v = before * (1.0 - share) + gain * *r;
                *r -= part * before;
            }
        }
        left.iter().map(|r| r * r).sum::<f64>() / left.len() as f64
    }
}

/// The plain loop of spectral residuals.
struct Spectra {
    ring: Vec<f64>,
    turns: Vec<(f64, f64)>,
}

impl Spectra {
    fn new(Spectral { window }: Spectral) -> Self {
        let turn = |f: u32| (TAU * f64::from(f) / f64::from(window)).sin_cos();
        Self { ring: vec![0.0; window as usize], turns: (0..=window / 2).map(turn).collect() }
    }

    fn step(&mut self, number: f64) -> f64 {
        self.ring.rotate_right(1);
        self.ring[0] = number;
        let (x, n) = (&self.ring, self.ring.len());
        let next = x[5] + (1..6).map(|i| (x[1] - x[1 + i]) / i as f64).sum::<f64>();
        let spectrum = |&(sine, cosine): &(f64, f64)| {
            let (mut re, mut im) = (0.0, 0.0);
            let mut add = |number: f64| {
                (re, im) = (re * cosine + im * sine + number, im * cosine - re * sine);
            };
            x[1..n - 5].iter().for_each(|&number| add(number));
            (0..5).for_each(|_| add(next));
            add(x[0]);
            (re, im)
        };
        let spectrum: Vec<(f64, f64)> = self.turns.iter().map(spectrum).collect();
        let log = |(re, im): &(f64, f64)| (1.0 + (re * re + im * im) * 4096.0 / n as f64).ln();
        let logs: Vec<f64> = spectrum.iter().map(log).collect();
        let half = n / 2;
        let white = |f: usize| {
            let below = logs[if f == 0 { 1 } else { f - 1 }];
            let above = logs[if f == half { f - 1 } else { f + 1 }];
            let times = if f == 0 || f == half { 1.0 } else { 2.0 };
            spectrum[f].0 * times * ((below + logs[f] + above) / -6.0).exp()
        };
        let salient: f64 = (0..=half).map(white).sum();
        salient * salient * 4096.0 / (n * n) as f64
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Events a second of ours with so many keys, by rounds; `between` runs between two.
fn ours(detector: Detector, keys: u32, mut between: impl FnMut(&[Reading])) -> Result<f64> {
    let events = events(keys);
    let query = Scores {
        key: Key::dense(field!(Reading.key), keys),
        detector,
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    };
    let lane = LaneOptions { events: 1 << 16, ..LaneOptions::default() };
    let mut engine = Inline::new(query, Options { lane, ..Options::on(Device::cpu()) })?;
    let mut lane = engine.lane()?;
    let (mut rates, mut scored) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        for part in events.chunks(1 << 12) {
            assert_eq!(lane.push_all(part), part.len(), "the lane has room");
            engine.settle(|rows| scored += rows.len())?;
        }
        if round > 0 {
            rates.push(EVENTS as f64 / begin.elapsed().as_secs_f64());
            between(&events);
        }
    }
    assert_eq!(scored, EVENTS * (ROUNDS + 1));
    Ok(median(rates))
}

/// Prints a row: ours against a loop's step.
fn print(id: &str, what: &str, detector: Detector, mut step: impl FnMut(f64) -> f64) -> Result<()> {
    let mut theirs = Vec::new();
    let one = ours(detector, 1, |events| {
        let begin = Instant::now();
        let sum: f64 = events.iter().map(|event| step(event.value.into())).sum();
        assert!(black_box(sum) > 0.0);
        theirs.push(EVENTS as f64 / begin.elapsed().as_secs_f64());
    })?;
    let many = ours(detector, 10_000, |_| ())?;
    let (peer, state) = (median(theirs), 4 * detector.words(1));
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let machine = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    println!(
        "{{\"id\":\"{id}\",\"value\":{:.3},\"unit\":\"M events/s\",\"peer\":\"a plain loop in f64\",\
         \"version\":null,\"peer_value\":{:.3},\"ratio\":{:.3},\"bound\":{GOAL},\"ok\":{},\"why\":\"lane to row on \
         one core, {what}; {state} bytes of state a key beside 256; {:.3} with 10,000 keys\",\"rounds\":{ROUNDS},\
         \"machine\":\"{}\"}}",
        one / 1e6,
        peer / 1e6,
        one / peer,
        one / peer >= GOAL,
        many / 1e6,
        machine.trim_start_matches(['\t', ':', ' ']),
    );
    Ok(())
}

/// `stretch [ID]`: that row, or both.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with('A')).unwrap_or_default();
    if "A3-subpca".starts_with(&wanted) {
        let (pca, what) = (SubPca::default(), "4 principal components of 32 numbers");
        let mut plain = Components::new(pca);
        print("A3-subpca", what, Detector::SubPca(pca), |number| plain.step(number))?;
    }
    if "A3-spectral".starts_with(&wanted) {
        let (spectral, what) = (Spectral::default(), "spectral residuals of 64 numbers");
        let mut plain = Spectra::new(spectral);
        print("A3-spectral", what, Detector::Spectral(spectral), |number| plain.step(number))?;
    }
    Ok(())
}
