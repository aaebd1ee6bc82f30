//! The quickstart: a stream of events, made here or read from a file, through event-time windows on a device,
//! with an alert for each event that is unusual by the past of its key.
//!
//! `made` and `file` are the two producers, `faults` is what goes wrong with made sensors, `show` prints what
//! comes back, `args` is the command line. This file is what any program does with the library: choose a
//! device, start a pipeline for each query, feed lanes, take results.

mod args;
mod faults;
mod file;
mod made;
mod show;

use args::{Args, Format};
use pelton::{
    Device, Error, Key, LaneOptions, Options, Pipeline, Pod, Results, Scores, Stats, Value,
    Windows, Zeroable, field,
};
use show::Show;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};

/// One event: a reading of a sensor, or a row of a file.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    key: u32,
    value: f32,
}

/// The program's end before its time: an exit code and what to tell the user.
struct Failure {
    code: u8,
    what: String,
}

/// False alarms to hold, per event: what is less probable than that in the past of its key is an alert.
const ALARM_RATE: f64 = 1e-4;

/// Exit codes, those of `sysexits.h` where it has one.
const USAGE: u8 = 2;
const BAD_DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const INTERNAL: u8 = 70;
const IO: u8 = 74;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Invalid(_) | Error::Unsupported { .. } => USAGE,
            Error::Source { .. } => BAD_DATA,
            _ => INTERNAL,
        };
        Self { code, what: error.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever reads our output has seen enough: that is no failure.
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { IO };
        Self { code, what: format!("standard output: {error}") }
    }
}

/// Says something on standard error; nobody listening is no reason to fail.
fn warn(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(what) => {
            warn(&format!("quickstart: {what}"));
            return USAGE.into();
        }
    };
    if args.help {
        let _ = writeln!(io::stdout(), "{}", args::HELP);
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, what }) => {
            if code != 0 {
                warn(&format!("quickstart: {what}"));
            }
            code.into()
        }
    }
}

/// Windows as the command line describes them, over events that carry what a file has.
fn windows(args: &Args) -> Windows<Event> {
    let (size, slide) = (args.shape.size(), args.shape.slide());
    Windows {
        key: Key::hashed(field!(Event.key)),
        values: vec![Value::exact(field!(Event.value))],
        disorder: args.disorder,
        lateness: args.lateness,
        horizon: args.horizon,
        ..Windows::hopping(field!(Event.at), size, slide)
    }
}

/// Each event by the past of its key: what was expected of it, and how improbable it is. What lies nearer than
/// `least` to what was expected is no alert, however improbable.
fn scores(least: f32) -> Scores<Event> {
    Scores {
        key: Key::hashed(field!(Event.key)),
        rate: ALARM_RATE,
        least,
        ..Scores::new(field!(Event.at), field!(Event.value))
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let device = Device::named(&args.device)?;
    let mut show = Show::new(args);
    show.device(&device)?;
    let lane = LaneOptions { events: 1 << 16, ..LaneOptions::default() };
    let options = Options { lane, ..Options::on(device) };
    let least = if args.source.is_none() { made::HARMLESS } else { 0.0 };
    let windows = Pipeline::start(windows(args), options.clone())?;
    let scores = Pipeline::start(scores(least), options)?;
    let monitor = windows.monitor();
    let lanes = || Ok::<_, Error>([windows.lane()?, scores.lane()?]);
    if let Some(source) = &args.source {
        let (theirs, names) = show::names();
        let reader = file::Reader::open(source, theirs, args.strict)?;
        show.file(source, names)?;
        let lanes = lanes()?;
        let read = spawn("reader", move || reader.read(lanes))?;
        let mut show = watch(windows, scores, show)?;
        let read = join(read)?;
        show.end(&monitor.stats())?;
        read.report()?;
    } else {
        let made = made::Plan::new(args);
        show.made(&made)?;
        let lanes: Vec<_> = (0..made::PRODUCERS).map(|_| lanes()).collect::<Result<_, _>>()?;
        let begin = pelton::base::clock::now_ns();
        let producers = (0..)
            .zip(lanes)
            .map(|(i, lanes)| spawn("producer", move || made.produce(i, begin, lanes)));
        let producers: Vec<_> = producers.collect::<Result<_, _>>()?;
        let mut show = watch(windows, scores, show)?;
        let ended = producers.into_iter().map(join).collect::<Result<Vec<_>, _>>()?;
        let stats = monitor.stats();
        show.rate(stats.events, ended.into_iter().max().unwrap_or(begin) - begin)?;
        show.end(&stats)?;
    }
    hint(&monitor.stats(), args);
    Ok(())
}

/// Prints windows and alerts as they come, until the lanes that are open now have closed.
fn watch(windows: Pipeline<Event>, scores: Pipeline<Event>, show: Show) -> Result<Show, Failure> {
    let [(feeds, closed), (more_feeds, scored)] = [windows.split(), scores.split()];
    drop((feeds, more_feeds));
    let show = Mutex::new(show);
    thread::scope(|scope| {
        let alerts = scope.spawn(|| {
            for rows in scored {
                lock(&show).alerts(&rows?)?;
            }
            Ok(())
        });
        take(closed, &show)?;
        alerts.join().unwrap_or_else(|_| Err(panicked()))
    })?;
    Ok(show.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Prints windows until they end, and flushes whenever there is none to print.
fn take(mut results: Results<Event>, show: &Mutex<Show>) -> Result<(), Failure> {
    loop {
        let next = match results.try_next() {
            Poll::Ready(next) => next,
            Poll::Pending => {
                lock(show).flush()?;
                results.next()
            }
        };
        match next {
            Some(rows) => lock(show).rows(&rows?)?,
            None => return Ok(lock(show).flush()?),
        }
    }
}

fn lock(show: &Mutex<Show>) -> MutexGuard<'_, Show> {
    show.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What to change when events were left out.
fn hint(stats: &Stats, args: &Args) {
    let Stats { late, beyond, .. } = *stats;
    if late > 0 && args.format == Format::Csv {
        warn(&format!("{late} events came too late; --disorder or --lateness waits for them"));
    }
    if beyond > 0 {
        warn(&format!("{beyond} events lie ahead of the --horizon and were set aside"));
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|e| Failure { code: INTERNAL, what: format!("{name} thread: {e}") })
}

fn join<T>(thread: JoinHandle<T>) -> Result<T, Failure> {
    thread.join().map_err(|_| panicked())
}

fn panicked() -> Failure {
    Failure { code: INTERNAL, what: "a thread panicked".into() }
}
