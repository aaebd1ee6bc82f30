//! The Numenta Anomaly Benchmark as a stream: every file a key of one query, scored as it arrives.
//!
//! One frozen configuration, causal: nothing of a file is known before its time, neither its least or largest value,
//! nor its length, nor its labels. The seed of the key table is the only random number, and no score depends on it.

mod args;
mod board;
mod corpus;
mod timeline;

use args::{Emit, HELP};
use board::{Board, Judged, PROFILES};
use corpus::{Corpus, Series};
use pelton::{
    Detector, Device, Error, Forest, Inline, Key, Member, Options, Pod, Result, Rows, Score,
    Scores, Season, Zeroable, field,
};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use timeline::Point;

/// The rate of false alarms asked for, per row: the fixed threshold T is minus its decimal logarithm.
const RATE: f64 = 2e-3;
const T: f64 = 2.7;
/// Points of the samples that the forests keep.
const POINTS: u32 = 1024;
/// Ticks of a second: times are in nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// What people do repeats after a day.
const DAY: u64 = 86_400 * SECOND;

/// A row of a file.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    file: u32,
    value: f32,
}

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn run(args: &args::Args) -> std::result::Result<(), String> {
    let Some(data) = &args.data else {
        return Err(format!("--data: the folder to score\n{}", corpus::ORIGIN));
    };
    let device = Device::named(&args.device).map_err(|e| e.to_string())?;
    let corpus = corpus::read(data)?;
    let rows: usize = corpus.series.iter().map(|series| series.times.len()).sum();
    println!("{} files, {rows} rows, on {}", corpus.series.len(), device.caps().name);
    let began = Instant::now();
    let scored = score(device, &corpus, args).map_err(|e| e.to_string())?;
    let (took, alerts) = (began.elapsed().as_secs_f64(), scored.alerts);
    println!("scored in {took:.2} s, {alerts} alerts; T = {T}");
    if let Some(out) = &args.out {
        for (series, scores) in corpus.series.iter().zip(&scored.scores) {
            write(&out.join(&series.name), &table(series, scores))?;
        }
    }
    if let Some(svg) = &args.svg {
        for (series, points) in corpus.series.iter().zip(&scored.points) {
            let path = svg.join(&series.name).with_extension("svg");
            write(&path, &timeline::draw(series, points, T))?;
        }
    }
    if corpus.labelled {
        print_board(&corpus, &scored.scores, args.emit);
    }
    Ok(())
}

/// What came of the rows of each file, in order.
struct Scored {
    scores: Vec<Vec<f64>>,
    /// For pictures, where they are asked for.
    points: Vec<Vec<Point>>,
    alerts: usize,
}

/// Scores every row.
fn score(device: Device, corpus: &Corpus, args: &args::Args) -> Result<Scored> {
    let files = u32::try_from(corpus.series.len()).expect("fewer files than ids");
    let name = device.caps().name.clone();
    let query = Scores {
        key: Key::dense(field!(Reading.file), files),
        rate: RATE,
        detector: Detector::Forest(Forest { points: POINTS, period: Some(DAY) }),
        ensemble: Member::beside_forest(Season::days(SECOND)),
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    };
    let mut scores = vec![Vec::new(); corpus.series.len()];
    let mut points: Vec<Vec<Point>> = corpus.series.iter().map(|_| Vec::new()).collect();
    let mut alerts = 0;
    let mut take = |rows: Rows| {
        for score in rows.scores() {
            let file = usize::try_from(score.key()).expect("a file's number");
            alerts += usize::from(score.alert());
            if args.svg.is_some() {
                points[file].push(Point::of(&score));
            }
            scores[file].push(match args.emit {
                Emit::Score => score.isolation(),
                Emit::Decision => decision(&score),
            });
        }
    };
    let mut engine = Inline::new(query, Options::on(device))?;
    let mut lane = engine.lane()?;
    for (file, series) in (0..).zip(&corpus.series) {
        for (times, values) in series.times.chunks(1024).zip(series.values.chunks(1024)) {
            for (&at, &value) in times.iter().zip(values) {
                lane.push(Reading { at, file, value }).expect("it was emptied before");
            }
            engine.settle(&mut take)?;
        }
    }
    drop(lane);
    engine.finish();
    engine.settle(&mut take)?;
    let whole = |(scores, series): (&Vec<f64>, &Series)| scores.len() == series.times.len();
    if !scores.iter().zip(&corpus.series).all(whole) {
        return Err(Error::unsupported(name, "it does not score every row"));
    }
    Ok(Scored { scores, points, alerts })
}

/// The score when it is an alert; less than T otherwise, and half of that while a key rests or warms up.
fn decision(score: &Score<'_>) -> f64 {
    let below = score.score().min(T - 1e-6);
    match () {
        () if score.alert() => score.score().max(T),
        () if score.resting() || score.warming() => 0.5 * below,
        () => below,
    }
}

/// The rows of a file with their scores.
fn table(series: &Series, scores: &[f64]) -> String {
    let mut text = String::from("timestamp,value,anomaly_score\n");
    for (line, score) in series.lines.iter().zip(scores) {
        writeln!(text, "{},{score:.6}", line.trim_end()).expect("memory takes it");
    }
    text
}

/// Writes a file, and the folders that it needs.
fn write(path: &Path, text: &str) -> std::result::Result<(), String> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text)).map_err(|e| format!("{}: {e}", path.display()))
}

fn print_board(corpus: &Corpus, scores: &[Vec<f64>], emit: Emit) {
    let judged = |keep: &dyn Fn(&Series) -> bool| {
        let files = corpus.series.iter().zip(scores).filter(|(series, _)| keep(series));
        Board::new(files.map(|(series, scores)| Judged { scores, windows: &series.windows }))
    };
    let all = judged(&|_| true);
    let halves = [0, 1].map(|half| judged(&|series| board::half(&series.name) == half));
    println!("{:<20} {:>8} {:>10} {:>8} {:>16}", "profile", "best", "threshold", "at T", "halves");
    for profile in &PROFILES {
        let best = all.best(profile);
        let other =
            |half: usize| halves[half].at(profile, halves[1 - half].best(profile).threshold);
        // T is a threshold of decisions.
        let fixed = match emit {
            Emit::Decision => format!("{:.2}", all.at(profile, T)),
            Emit::Score => "-".to_owned(),
        };
        let (name, halves) = (profile.name, [1, 0].map(other));
        println!(
            "{name:<20} {:>8.2} {:>10.4} {fixed:>8} {:>8.2}{:>8.2}",
            best.score, best.threshold, halves[0], halves[1]
        );
    }
    println!(
        "for comparison: random scores get 17.7, silence 0; best: threshold chosen by the labels"
    );
}
