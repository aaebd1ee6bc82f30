//! bench_devices: the same events, query and load on every device, checked before it is scored.
//!
//! For each device: the digest of the events' windows, which has to be right; the closed loop, for peak and
//! steady throughput; the open loop at shares of that throughput, for latencies; what it costs the host. The
//! report goes to `benches/results`, from which `--table` makes the README's table and `--compare` ratios.

mod args;
#[cfg(feature = "cuda")]
#[path = "../../benches/common/bus.rs"]
#[allow(dead_code, reason = "shared with the benches")]
mod bus;
mod compare;
mod host;
mod json;
mod load;
#[path = "../../benches/common/peers.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the benches")]
mod peers;
mod report;
mod sample;
mod upload;

use args::{Args, Task};
use json::{Json, object};
use load::Source;
use pelton::Device;
use report::Protocol;
use sample::{Sample, Steady, people};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNLIKE: u8 = 3;
const IO: u8 = 74;

/// Prints a line; nobody listening is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn main() -> ExitCode {
    let done = args::parse(std::env::args_os().skip(1)).map_err(|what| (USAGE, what));
    let done = done.and_then(|args| match &args.task {
        Task::Help => {
            say(args::HELP);
            Ok(true)
        }
        Task::Measure => measure(&args),
        Task::Compare(a, b) => {
            say(&compare::compare(&read(a)?, &read(b)?).map_err(|why| (UNLIKE, why))?);
            Ok(true)
        }
        Task::Table => table(&args),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAILED.into(),
        Err((code, what)) => {
            let _ = writeln!(io::stderr(), "bench_devices: {what}");
            code.into()
        }
    }
}

type Fallible<T> = Result<T, (u8, String)>;

fn broken(path: &Path) -> impl Fn(io::Error) -> (u8, String) {
    move |error| (IO, format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Fallible<Json> {
    let text = std::fs::read_to_string(path).map_err(broken(path))?;
    Json::parse(&text).map_err(|why| (USAGE, format!("{}: {why}", path.display())))
}

/// Rewrites the table in the README from all reports, in the order of their files' names. A file may be the report of
/// one device, or of a whole machine with many `devices`.
fn table(args: &Args) -> Fallible<bool> {
    let entries = std::fs::read_dir(&args.results).map_err(broken(&args.results))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    paths.sort();
    let mut reports = Vec::new();
    for path in &paths {
        let report = read(path)?;
        match report.at("devices") {
            Some(Json::List(devices)) => reports.extend(devices.iter().cloned()),
            _ => reports.push(report),
        }
    }
    let readme = std::fs::read_to_string(&args.readme).map_err(broken(&args.readme))?;
    let readme = compare::replace(&readme, &compare::table(&reports))
        .map_err(|why| (USAGE, format!("{}: {why}", args.readme.display())))?;
    std::fs::write(&args.readme, readme).map_err(broken(&args.readme))?;
    say(&format!("{} reports in {}", reports.len(), args.readme.display()));
    Ok(true)
}

fn protocol(args: &Args) -> Protocol {
    let time = |seconds| Duration::from_secs_f64(seconds);
    let seconds = if args.quick { args.seconds.min(0.3) } else { args.seconds };
    Protocol {
        time: time(seconds),
        warm: time(if args.quick { 0.1 } else { (seconds / 4.0).clamp(0.5, 10.0) }),
        shares: if args.quick { vec![10, 50, 90] } else { vec![10, 25, 50, 75, 90] },
        events: peers::RATE * if args.quick { 2 } else { 5 },
        grade: args.grade.clone(),
    }
}

/// Measures every device that was asked for; false when one failed or answered wrongly.
fn measure(args: &Args) -> Fallible<bool> {
    let devices = if args.devices.is_empty() {
        // The device that computes nothing has nothing to say unless it is asked.
        Device::all().into_iter().filter(|device| device.caps().name != "null").collect()
    } else {
        let named = args.devices.iter().map(|name| Device::named(name));
        named.collect::<Result<Vec<_>, _>>().map_err(|error| (USAGE, error.to_string()))?
    };
    let protocol = protocol(args);
    let source = Source::new(protocol.events);
    let mut good = true;
    for device in &devices {
        say(&format!("{} ({})", device.caps().name, device.caps().driver));
        let mut report = report::front(device, &protocol);
        let score = match score(device, &source, &protocol, &mut report) {
            Ok(score) => score,
            Err(error) => {
                say(&format!("  no score: {error}"));
                report.push(("error".into(), error.to_string().into()));
                None
            }
        };
        good &= score.is_some();
        report.push(("score".into(), score.into()));
        report.push(("energy".into(), "not measured".into()));
        report.push(("cost".into(), "not measured".into()));
        report.push(("context".into(), host::context()));
        let path = args.out.clone().unwrap_or_else(|| args.results.join(file_name(device)));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(broken(folder))?;
        }
        std::fs::write(&path, format!("{}\n", Json::Object(report))).map_err(broken(&path))?;
        say(&format!("  written to {}", path.display()));
    }
    Ok(good)
}

/// A file's name from the device's and the processor's, which say nothing about whose machine it is.
fn file_name(device: &Device) -> String {
    let slug = |name: &str| {
        let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        words.collect::<Vec<_>>().join("-").to_lowercase()
    };
    format!("{}-{}.json", slug(&device.caps().name), slug(&host::cpu_model()))
}

/// Everything measured of a device; `None` when its answers are wrong.
fn score(
    device: &Device,
    source: &Source,
    protocol: &Protocol,
    report: &mut Vec<(String, Json)>,
) -> pelton::Result<Option<Json>> {
    let (got, want) = load::digest(device, source)?;
    report.push(("digest".into(), report::digest(&got, &want)));
    if got != want {
        say(&format!("  digest of {} events MISMATCH, no score", source.events()));
        say(&format!("    got  {got:?}\n    want {want:?}"));
        return Ok(None);
    }
    say(&format!("  digest of {} events ok", source.events()));
    let times = (protocol.warm, protocol.time);
    let closed = load::closed(device, source, times)?;
    let steady = Steady::of(&closed.slots);
    let million = |rate: f64| format!("{:.3} M events/s", rate / 1e6);
    let (mean, peak) = (million(steady.mean), million(steady.peak));
    say(&format!("  closed loop {mean}, best slot {peak}, {}", steady.verdict()));
    let mut curve = Vec::new();
    for &share in &protocol.shares {
        #[allow(clippy::cast_precision_loss, reason = "a percentage")]
        let open = load::open(device, source, steady.mean * share as f64 / 100.0, times)?;
        let verdict = report::verdict(&open);
        say(&format!("  open loop {share:>2} %, {}: {verdict}", million(open.achieved)));
        for (what, sample) in
            [("event", &open.event), ("result", &open.result), ("generator lag", &open.lag)]
        {
            say(&format!("    {what:<13} {}", ladder(sample)));
        }
        curve.push(report::open(&open, share));
    }
    let copy = host::copy_bandwidth();
    let upload = upload::bandwidth(device, protocol.time)?;
    let costs = report::costs(&closed, &steady, copy, upload);
    let gb = |path| match costs.number(path) {
        Some(bytes) => format!("{:.3} GB/s", bytes / 1e9),
        None => costs.text(path).unwrap_or(host::UNKNOWN).to_owned(),
    };
    let cpu = costs.number("cpu_ns_per_event").map(|ns| format!("{ns:.1} ns"));
    let cpu = cpu.unwrap_or_else(|| host::UNKNOWN.into());
    let (moved, copy) = (gb("event_bytes_per_second"), gb("copy_bytes_per_second"));
    let upload = gb("upload_bytes_per_second");
    say(&format!(
        "  host CPU {cpu} an event; events {moved}, memory copies {copy}, upload {upload}"
    ));
    Ok(Some(object([
        ("closed", report::closed(&closed, &steady)),
        ("curve", curve.into()),
        ("host", costs),
    ])))
}

/// Percentiles with their number of samples, for people.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn ladder(sample: &Sample) -> String {
    let at = |q| people(sample.quantile(q).map(|ns| ns as f64));
    let max = people(sample.max().map(|ns| ns as f64));
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    format!("n {} p50 {p50} p99 {p99} p99.9 {p999} max {max}", sample.count())
}
