//! This very machine's own counters as a stream: processors, memory, disks and network through sliding
//! windows, and each reading scored by the past of its counter.
//!
//! On Linux the counters are those of `/proc`, read many times a second. Elsewhere it is what any program can
//! see of its machine: how late it is woken, and how much work it gets done. Each counter is a key of two
//! queries: windows of one second, one every quarter of a second, are printed as they close, alerts as they come.
//! A third query scores a few counters together, as one event, and its alerts say which of them stand out.

mod counters;

use counters::Counters;
use lexopt::prelude::{Long, Short, ValueExt};
use pelton::base::clock;
use pelton::connect::keys::Keys;
use pelton::connect::text::duration;
use pelton::pipeline::Monitor;
use pelton::{
    Device, Feed, Key, Options, Pipeline, Pod, Rows, Score, Scores, Value, Windows, Zeroable, field,
};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

const HELP: &str = "\
sensors: this machine's own counters through windows of 1 s, one every 250 ms, and alerts of unusual readings

usage: sensors [options]

  --seconds N     how long                                            [5]
  --hz N          readings a second, 1 to 1000                        [100]
  --rate P        false alarms to hold, per reading                   [1e-5]
  --device NAME   best, cpu, null, wgpu, wgpu:PART-OF-NAME or cuda    [best]
  --help          this text";

/// One reading of one counter.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    counter: u32,
    value: f32,
}

/// Counters that are scored together, by name. Where one is not there, its value is missing.
const TOGETHER: [&str; 4] = ["self wake late us", "running", "MemAvailable MiB", "Dirty MiB"];

/// What they read at one time.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Moment {
    at: u64,
    late: f32,
    running: f32,
    available: f32,
    dirty: f32,
}

struct Args {
    run_for: u64,
    hz: u64,
    rate: f64,
    device: String,
    help: bool,
}

fn args() -> Result<Args, lexopt::Error> {
    let mut args =
        Args { run_for: 5 * SECOND, hz: 100, rate: 1e-5, device: "best".into(), help: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => {
                let text = parser.value()?.string()?;
                args.run_for = duration(&format!("{text}s")).map_err(|e| e.to_string())?;
            }
            Long("hz") => args.hz = parser.value()?.parse()?,
            Long("rate") => args.rate = parser.value()?.parse()?,
            Long("device") => args.device = parser.value()?.string()?,
            Long("help") | Short('h') => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    if !(1..=1000).contains(&args.hz) {
        return Err("--hz: 1 to 1000".into());
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("sensors: {error}; --help lists all options");
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
            eprintln!("sensors: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::named(&args.device)?;
    let mut out = io::stdout();
    if !heard(writeln!(out, "device   {}: {}", device.caps().name, device.why()))? {
        return Ok(());
    }
    let windows = Windows {
        key: Key::hashed(field!(Reading.counter)),
        values: vec![Value { last: true, ..Value::exact(field!(Reading.value)) }],
        ..Windows::hopping(field!(Reading.at), SECOND, SECOND / 4)
    };
    let scores = Scores {
        key: Key::hashed(field!(Reading.counter)),
        rate: args.rate,
        // A counter that never moved is no surprise when it moves a little.
        least_share: 0.1,
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    };
    let together = Scores {
        values: vec![
            field!(Moment.late).into(),
            field!(Moment.running).into(),
            field!(Moment.available).into(),
            field!(Moment.dirty).into(),
        ],
        rate: args.rate,
        ..Scores::new(field!(Moment.at), field!(Moment.late))
    };
    let windows = Pipeline::start(windows, Options::on(device.clone()))?;
    let scores = Pipeline::start(scores, Options::on(device.clone()))?;
    let together = Pipeline::start(together, Options::on(device))?;
    let monitors = [windows.monitor(), scores.monitor()];
    let lanes = ([windows.lane()?, scores.lane()?], together.lane()?);
    let (feeds, closed) = windows.split();
    drop(feeds);
    let (feeds, scored) = scores.split();
    drop(feeds);
    let (feeds, of_moments) = together.split();
    drop(feeds);
    let names = Mutex::new(Keys::default());
    thread::scope(|scope| {
        let names = &names;
        let sampler = scope.spawn(move || sample(lanes, names, args.hz, args.run_for));
        let watcher = scope.spawn(move || watch(scored, |s| alert(s, &name(names, s.key()))));
        let of_all = scope.spawn(move || watch(of_moments, alert_together));
        let shown = print_windows(closed, names);
        let took = sampler.join().map_err(|_| "the sampler panicked")?;
        let alerts = watcher.join().map_err(|_| "the watcher panicked")??;
        let alerts = alerts + of_all.join().map_err(|_| "the watcher panicked")??;
        if shown? {
            sum_up(&monitors, alerts, took)?;
        }
        Ok(())
    })
}

/// How the run went.
fn sum_up([windows, scores]: &[Monitor; 2], alerts: usize, took_ns: u64) -> io::Result<bool> {
    let (stats, took) = (windows.stats(), Duration::from_nanos(took_ns).as_secs_f64());
    let (readings, scored) = (stats.events, scores.stats().rows);
    let said = format!(
        "\n{readings} readings in {took:.2} s, {scored} scored, {alerts} alerts\n{}",
        stats.ladder()
    );
    heard(io::stdout().write_all(said.as_bytes()))
}

/// Prints windows until they end; false when nobody reads any more.
fn print_windows(
    closed: impl Iterator<Item = pelton::Result<Rows>>,
    names: &Mutex<Keys>,
) -> Result<bool, Box<dyn std::error::Error>> {
    let mut rows = BTreeMap::new();
    for part in closed {
        let part = part?;
        for row in part.iter() {
            let name = name(names, row.key());
            rows.insert(name, [row.min(0), row.mean(0), row.max(0), row.last(0)]);
        }
        if part.complete && !show(&part, &std::mem::take(&mut rows))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Prints alerts as they come; returns how many there were.
fn watch(
    scored: impl Iterator<Item = pelton::Result<Rows>>,
    line: impl Fn(&Score<'_>) -> String,
) -> Result<usize, String> {
    let mut alerts = 0;
    for rows in scored {
        let rows = rows.map_err(|e| e.to_string())?;
        for score in rows.scores().filter(Score::alert) {
            alerts += 1;
            let line = line(&score);
            if !heard(writeln!(io::stdout(), "{line}")).map_err(|e| e.to_string())? {
                return Ok(alerts);
            }
        }
    }
    Ok(alerts)
}

/// An alert on one line: what was read, and what would have been usual.
fn alert(score: &Score<'_>, name: &str) -> String {
    let (usual, at) = (score.band(3.0), Duration::from_nanos(score.time()).as_secs_f64());
    format!(
        "alert    {at:.2} s  {name} {:.2}, usually {:.2} to {:.2}: one reading in 10^{:.1}",
        score.value(),
        usual.start(),
        usual.end(),
        score.score()
    )
}

/// An alert of several counters on one line: which of them stand for how much of it, the largest first.
fn alert_together(score: &Score<'_>) -> String {
    let mut parts: Vec<_> = score.attribution().zip(TOGETHER).collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shares = parts.iter().map(|(part, name)| (100.0 * part / score.score(), name));
    let shares =
        shares.filter(|(share, _)| *share >= 1.0).map(|(s, name)| format!("{name} {s:.0} %"));
    let (said, at) = (shares.collect::<Vec<_>>(), Duration::from_nanos(score.time()).as_secs_f64());
    format!("alert    {at:.2} s  all together, one in 10^{:.1}: {}", score.score(), said.join(", "))
}

/// What a counter is called.
fn name(names: &Mutex<Keys>, key: u64) -> String {
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    names.name(key).unwrap_or("?").to_owned()
}

/// Prints a window; false when nobody reads any more.
fn show(window: &Rows, rows: &BTreeMap<String, [f64; 4]>) -> io::Result<bool> {
    let mut text = format!(
        "\n{:.2} s to {:.2} s\n{:<28} {:>14} {:>14} {:>14} {:>14}\n",
        Duration::from_nanos(window.start).as_secs_f64(),
        Duration::from_nanos(window.end).as_secs_f64(),
        "",
        "min",
        "mean",
        "max",
        "last"
    );
    for (name, [min, mean, max, last]) in rows {
        text += &format!("{name:<28} {min:>14.2} {mean:>14.2} {max:>14.2} {last:>14.2}\n");
    }
    let mut out = io::stdout().lock();
    heard(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Whether somebody still reads what was written.
fn heard(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads all counters `hz` times a second into all lanes, and returns how long it did.
fn sample(
    (mut lanes, mut together): ([Feed<Reading>; 2], Feed<Moment>),
    names: &Mutex<Keys>,
    hz: u64,
    run_for: u64,
) -> u64 {
    let (mut counters, begin) = (Counters::default(), clock::now_ns());
    for due in (0..run_for).step_by(usize::try_from(SECOND / hz).unwrap_or(1)) {
        let now = clock::now_ns() - begin;
        thread::sleep(Duration::from_nanos(due.saturating_sub(now)));
        let at = clock::now_ns() - begin;
        let mut several = [f32::NAN; TOGETHER.len()];
        for (name, value) in counters.read(at, at.saturating_sub(due)) {
            let id = names.lock().unwrap_or_else(PoisonError::into_inner).id(&name);
            let counter = u32::try_from(id).unwrap_or(u32::MAX);
            #[allow(clippy::cast_possible_truncation, reason = "a reading needs no more digits")]
            let reading = Reading { at, counter, value: value as f32 };
            if lanes.iter_mut().any(|lane| lane.push(reading).is_err()) {
                return at;
            }
            if let Some(which) = TOGETHER.iter().position(|counter| *counter == name) {
                several[which] = reading.value;
            }
        }
        let [late, running, available, dirty] = several;
        if together.push(Moment { at, late, running, available, dirty }).is_err() {
            return at;
        }
    }
    clock::now_ns() - begin
}
