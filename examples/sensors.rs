//! This very machine's own counters as a stream: processors, memory, disks and network through sliding
//! windows.
//!
//! On Linux the counters are those of `/proc`, read many times a second. Elsewhere it is what any program can
//! see of its machine: how late it is woken, and how much work it gets done. Each counter is a key; windows
//! of one second, one every quarter of a second, are printed as they close.

use lexopt::prelude::{Long, Short, ValueExt};
use pelton::base::clock;
use pelton::connect::keys::Keys;
use pelton::connect::text::duration;
use pelton::{Device, Feed, Key, Options, Pipeline, Pod, Rows, Value, Windows, Zeroable, field};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

const HELP: &str = "\
sensors: this machine's own counters through windows of 1 s, one every 250 ms

usage: sensors [options]

  --seconds N     how long                                            [5]
  --hz N          readings a second, 1 to 1000                        [100]
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

struct Args {
    run_for: u64,
    hz: u64,
    device: String,
    help: bool,
}

fn args() -> Result<Args, lexopt::Error> {
    let mut args = Args { run_for: 5 * SECOND, hz: 100, device: "best".into(), help: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => {
                let text = parser.value()?.string()?;
                args.run_for = duration(&format!("{text}s")).map_err(|e| e.to_string())?;
            }
            Long("hz") => args.hz = parser.value()?.parse()?,
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
    let pipeline = Pipeline::start(windows, Options::on(device))?;
    let (monitor, lane) = (pipeline.monitor(), pipeline.lane()?);
    let (names, arriving) = channel();
    let (hz, run_for) = (args.hz, args.run_for);
    let sampler = thread::spawn(move || sample(lane, &names, hz, run_for));
    let (feeds, results) = pipeline.split();
    drop(feeds);
    let mut known: Vec<String> = Vec::new();
    let mut rows = BTreeMap::new();
    for part in results {
        let part = part?;
        known.extend(arriving.try_iter());
        for row in part.iter() {
            let name = known.get(usize::try_from(row.key())?).cloned().unwrap_or_default();
            rows.insert(name, [row.min(0), row.mean(0), row.max(0), row.last(0)]);
        }
        if part.complete && !show(&part, &std::mem::take(&mut rows))? {
            return Ok(());
        }
    }
    let took_ns = sampler.join().map_err(|_| "the sampler panicked")?;
    let stats = monitor.stats();
    let took = Duration::from_nanos(took_ns).as_secs_f64();
    let said = write!(out, "\n{} readings in {took:.2} s\n{}", stats.events, stats.ladder());
    heard(said).map(|_| ()).map_err(Into::into)
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

/// Reads all counters `hz` times a second into the lane, and returns how long it did.
fn sample(mut lane: Feed<Reading>, names: &Sender<String>, hz: u64, run_for: u64) -> u64 {
    let (mut keys, mut counters, begin) = (Keys::default(), Counters::default(), clock::now_ns());
    for due in (0..run_for).step_by(usize::try_from(SECOND / hz).unwrap_or(1)) {
        let now = clock::now_ns() - begin;
        thread::sleep(Duration::from_nanos(due.saturating_sub(now)));
        let at = clock::now_ns() - begin;
        for (name, value) in counters.read(at, at.saturating_sub(due)) {
            let new = keys.len();
            let id = keys.id(&name);
            if id == new as u64 && names.send(name).is_err() {
                return at;
            }
            let counter = u32::try_from(id).unwrap_or(u32::MAX);
            #[allow(clippy::cast_possible_truncation, reason = "a reading needs no more digits")]
            if lane.push(Reading { at, counter, value: value as f32 }).is_err() {
                return at;
            }
        }
    }
    clock::now_ns() - begin
}

/// Counters that only grow, as rates since the reading before; levels as they are.
#[derive(Default)]
struct Counters {
    before: BTreeMap<String, (u64, f64)>,
    wakes: f64,
}

impl Counters {
    fn read(&mut self, at: u64, late_ns: u64) -> Vec<(String, f64)> {
        self.wakes += 1.0;
        #[allow(clippy::cast_precision_loss, reason = "microseconds for people")]
        let mut found = vec![("self wake late us".to_owned(), late_ns as f64 / 1e3)];
        let wakes = self.wakes;
        found.extend(self.rate(at, "self wakes /s", wakes));
        self.processors(at, &mut found);
        self.levels(&mut found);
        self.traffic(at, &mut found);
        found
    }

    /// How much a counter grew in a second, ten times a second: kernels count many of them in steps of ten
    /// milliseconds, and over less time than several of those a rate would be noise.
    fn rate(&mut self, at: u64, name: &str, value: f64) -> Option<(String, f64)> {
        let (then, before) = *self.before.entry(name.to_owned()).or_insert((at, value));
        if at - then < SECOND / 10 {
            return None;
        }
        self.before.insert(name.to_owned(), (at, value));
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let seconds = (at - then) as f64 / 1e9;
        Some((name.to_owned(), (value - before) / seconds))
    }

    /// Busy ticks of each processor, in hundredths of a second; switches, interrupts and new processes.
    fn processors(&mut self, at: u64, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/stat") {
            let (name, numbers) = split(&line);
            let counter = match (name.as_str(), numbers.as_slice()) {
                (cpu, [user, nice, system, ..]) if cpu.starts_with("cpu") && cpu != "cpu" => {
                    (format!("{cpu} busy %"), user + nice + system)
                }
                ("ctxt", [n, ..]) => ("context switches /s".to_owned(), *n),
                ("intr", [n, ..]) => ("interrupts /s".to_owned(), *n),
                ("processes", [n, ..]) => ("new processes /s".to_owned(), *n),
                ("procs_running", [n, ..]) => {
                    found.push(("running".to_owned(), *n));
                    continue;
                }
                _ => continue,
            };
            found.extend(self.rate(at, &counter.0, counter.1));
        }
    }

    fn levels(&self, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/meminfo") {
            let (name, numbers) = split(&line);
            if let ("MemAvailable:" | "Dirty:" | "Cached:", [kib, ..]) =
                (name.as_str(), numbers.as_slice())
            {
                found.push((format!("{} MiB", name.trim_end_matches(':')), kib / 1024.0));
            }
        }
        if let Some(line) = lines("/proc/loadavg").first()
            && let Some(load) = line.split(' ').next().and_then(|load| load.parse().ok())
        {
            found.push(("load".to_owned(), load));
        }
    }

    fn traffic(&mut self, at: u64, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/net/dev") {
            let (name, numbers) = split(&line);
            if let [received, _, _, _, _, _, _, _, sent, ..] = numbers.as_slice() {
                let name = name.trim_end_matches(':');
                found.extend(self.rate(at, &format!("net {name} in B/s"), *received));
                found.extend(self.rate(at, &format!("net {name} out B/s"), *sent));
            }
        }
        for line in lines("/proc/diskstats") {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, name, _, _, read, _, _, _, written, ..] = fields.as_slice() else {
                continue;
            };
            for (what, sectors) in [("read", read), ("write", written)] {
                if let Ok(sectors) = sectors.parse::<f64>() {
                    let name = format!("disk {name} {what} B/s");
                    found.extend(self.rate(at, &name, sectors * 512.0));
                }
            }
        }
    }
}

/// The lines of a file of the system; none where it has no such file.
fn lines(path: &str) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The first word of a line, and the numbers behind it.
fn split(line: &str) -> (String, Vec<f64>) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    (name, words.map_while(|word| word.parse().ok()).collect())
}
