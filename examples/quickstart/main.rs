//! The quickstart: a stream of events, made here or read from a file, through event-time windows on a device.
//!
//! `made` and `file` are the two producers, `show` prints what comes back, `args` is the command line. This
//! file is what any program does with the library: choose a device, start a pipeline, feed lanes, take
//! results.

mod args;
mod file;
mod made;
mod show;

use args::{Args, Format};
use pelton::{
    Device, Error, Feed, Key, LaneOptions, Options, Pipeline, Pod, Results, Stats, Value, Windows,
    Zeroable, field,
};
use show::Show;
use std::io::{self, Write};
use std::process::ExitCode;
use std::task::Poll;
use std::thread::{self, JoinHandle};

/// One event: a trade of an account, or a row of a file.
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

/// A query as the command line describes it, over events that carry what a file has.
fn query(args: &Args) -> Windows<Event> {
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

fn run(args: &Args) -> Result<(), Failure> {
    let device = Device::named(&args.device)?;
    let mut show = Show::new(args);
    show.device(&device)?;
    let lane = LaneOptions { events: 1 << 16, ..LaneOptions::default() };
    let pipeline = Pipeline::start(query(args), Options { lane, ..Options::on(device) })?;
    let monitor = pipeline.monitor();
    let stats = if let Some(source) = &args.source {
        let (theirs, names) = show::names();
        let reader = file::Reader::open(source, theirs, args.strict)?;
        show.file(source, names)?;
        let lane = pipeline.lane()?;
        let read = spawn("reader", move || reader.read(lane))?;
        let (feeds, results) = pipeline.split();
        drop(feeds);
        take(results, &mut show)?;
        let read = join(read)?;
        show.end(&monitor.stats())?;
        read.report()?;
        monitor.stats()
    } else {
        let made = made::Plan::new(args);
        show.made(&made)?;
        let lanes = (0..made::PRODUCERS).map(|_| pipeline.lane());
        let lanes: Vec<Feed<Event>> = lanes.collect::<Result<_, _>>()?;
        let begin = pelton::base::clock::now_ns();
        let producers = (0..)
            .zip(lanes)
            .map(|(i, lane)| spawn("producer", move || made.produce(i, begin, lane)));
        let producers: Vec<_> = producers.collect::<Result<_, _>>()?;
        let (feeds, results) = pipeline.split();
        drop(feeds);
        take(results, &mut show)?;
        let ended = producers.into_iter().map(join).collect::<Result<Vec<_>, _>>()?;
        let stats = monitor.stats();
        show.rate(stats.events, ended.into_iter().max().unwrap_or(begin) - begin)?;
        show.end(&stats)?;
        stats
    };
    hint(&stats, args);
    Ok(())
}

/// Prints results until they end, and flushes whenever there is none to print.
fn take(mut results: Results<Event>, show: &mut Show) -> Result<(), Failure> {
    loop {
        let next = match results.try_next() {
            Poll::Ready(next) => next,
            Poll::Pending => {
                show.flush()?;
                results.next()
            }
        };
        match next {
            Some(rows) => show.rows(&rows?)?,
            None => return Ok(show.flush()?),
        }
    }
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
    let panicked = |_| Failure { code: INTERNAL, what: "a thread panicked".into() };
    thread.join().map_err(panicked)
}
