//! A3-forest: one stream of one value scored and learnt by pelton's forest, lane to row, and by
//! random-cut-forest-by-aws with its own 50 trees, both with samples of 256 points and on one thread.
//!
//! pelton sums up the expected depth over endless trees instead of walking some, and does so for three samples, of the
//! value and of its means. Rounds take turns; the median of each counts.

use pelton::base::rng::SplitMix;
use pelton::{
    Detector, Device, Forest, Inline, LaneOptions, Options, Pod, Result, Scores, Zeroable, field,
};
use rcflib::rcf::{RCF, RCFBuilder, RCFOptionsBuilder};
use std::time::Instant;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    value: f32,
    pad: u32,
}

const POINTS: u32 = 256;
const TREES: usize = 50;
const ROUNDS: usize = 7;
/// Events of a round, and how many of them the rival gets.
const EVENTS: usize = 1 << 18;
const RIVAL_EVENTS: usize = 4000;
const GOAL: f64 = 20.0;

fn readings() -> Vec<Reading> {
    let mut rng = SplitMix::new(5);
    let reading = |at| {
        // About normal: four uniform numbers.
        let noise: f64 = (0..4).map(|_| rng.unit() - 0.5).sum();
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let value = ((at as f64 / 300.0).sin() + noise) as f32;
        Reading { at, value, pad: 0 }
    };
    (0..EVENTS as u64).map(reading).collect()
}

fn rival() -> Box<dyn RCF + Sync + Send> {
    let mut builder = RCFBuilder::<u64, u64>::new(1, 1);
    let builder = builder.tree_capacity(POINTS as usize).number_of_trees(TREES);
    let builder = builder.random_seed(17).parallel_enabled(false).time_decay(0.1 / 256.0);
    builder.build_default().expect("options in range")
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> Result<()> {
    let readings = readings();
    let query = Scores {
        detector: Detector::Forest(Forest::of(POINTS)),
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    };
    let lane = LaneOptions { events: 1 << 14, ..LaneOptions::default() };
    let mut engine = Inline::new(query, Options { lane, ..Options::on(Device::cpu()) })?;
    let (mut lane, mut rival) = (engine.lane()?, rival());
    let (mut ours, mut theirs, mut scored, mut sum) = (Vec::new(), Vec::new(), 0, 0.0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        for part in readings.chunks(1 << 12) {
            assert_eq!(lane.push_all(part), part.len(), "the lane has room");
            engine.settle(|rows| scored += rows.len())?;
        }
        let took = begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        for reading in &readings[..RIVAL_EVENTS] {
            sum += rival.score(&[reading.value]).expect("it scores");
            rival.update(&[reading.value], 0).expect("it learns");
        }
        // The first round fills the samples.
        if round > 0 {
            ours.push(EVENTS as f64 / took);
            theirs.push(RIVAL_EVENTS as f64 / begin.elapsed().as_secs_f64());
        }
        eprintln!("round {round}");
    }
    assert!(scored == EVENTS * (ROUNDS + 1) && sum > 0.0);
    let (ours, theirs) = (median(ours), median(theirs));
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let machine = info.lines().find_map(|line| line.strip_prefix("model name"));
    let machine = machine.map_or("cpu", |name| name.trim_start_matches(['\t', ' ', ':']));
    println!(
        "{{\"id\":\"A3-forest\",\"value\":{:.4},\"unit\":\"M events/s\",\"peer\":\"random-cut-forest-by-aws, {TREES} \
         trees\",\"version\":\"4.0.0\",\"peer_value\":{:.4},\"ratio\":{:.2},\"bound\":{GOAL},\"ok\":{},\"why\":\"lane \
         to row on one core, samples of {POINTS} points, three of them, 3.4 KB of state a key, all read \
         every event\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        ours / 1e6,
        theirs / 1e6,
        ours / theirs,
        ours / theirs >= GOAL,
        machine.replace('"', ""),
    );
    Ok(())
}
