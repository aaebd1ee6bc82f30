//! The command line of the quickstart: what was asked for, or what to write instead.

use lexopt::prelude::{Long, Short, Value, ValueExt};
use pelton::base::time::Shape;
use pelton::connect::text::duration;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
quickstart: a stream of events through keyed event-time windows, with alerts on what is unusual

usage: quickstart [options]                                              makes its own events
       quickstart --csv FILE --time COL --value COL [--key COL] [options]      reads a file

  --csv FILE         a CSV file with a header row
  --time COL         its column of event times: epoch seconds or ISO 8601, UTC
  --value COL        its column of values
  --key COL          its column of keys; without it all rows are one group
  --size TIME        length of a window                                  [1h]
  --slide TIME       from one window's start to the next; divides size   [size]
  --disorder TIME    how far behind the newest an event may be           [0s]
  --lateness TIME    how long a closed window still takes events         [0s]
  --horizon TIME     events further ahead than this are set aside        [30d]
  --seconds N        how long to make events when there is no file       [5]
  --device NAME      best, cpu, null, wgpu, wgpu:PART-OF-NAME or cuda    [best]
  --format NAME      text, or csv: windows on standard output            [text]
  --strict           a bad row ends the run (exit 65)
  --help             this text

TIME is a number and a unit: ns, us, ms, s, m, h, d or w, such as 500ms or 1.5h.";

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// `key,start,end,count,sum,min,max,mean` on standard output, everything else on standard error.
    Csv,
}

/// A file and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) time: String,
    pub(crate) value: String,
    pub(crate) key: Option<String>,
}

/// Everything the command line says; times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args {
    /// The file to read, or none to make events.
    pub(crate) source: Option<Source>,
    pub(crate) shape: Shape,
    pub(crate) disorder: u64,
    pub(crate) lateness: u64,
    pub(crate) horizon: u64,
    pub(crate) run_for: u64,
    pub(crate) device: String,
    pub(crate) format: Format,
    pub(crate) strict: bool,
    pub(crate) help: bool,
}

/// Options as written, before they are checked against each other.
#[derive(Default)]
struct Raw {
    csv: Option<PathBuf>,
    time: Option<String>,
    value: Option<String>,
    key: Option<String>,
    size: Option<u64>,
    slide: Option<u64>,
    disorder: Option<u64>,
    lateness: Option<u64>,
    horizon: Option<u64>,
    seconds: Option<u64>,
    device: Option<String>,
    format: Option<Format>,
    strict: bool,
    help: bool,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// One line for the user that names the option and what it takes; the program exits with 2.
pub(crate) fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Args, String> {
    let mut raw = Raw::default();
    read(&mut raw, lexopt::Parser::from_args(args))
        .map_err(|e| format!("{e}; --help lists all options"))?;
    if raw.help {
        // Whoever asks for help is not told what else is missing.
        raw = Raw { help: true, ..Raw::default() };
    }
    check(raw)
}

/// Reads every option into its place; the last one of a name counts.
fn read(raw: &mut Raw, mut parser: lexopt::Parser) -> Result<(), lexopt::Error> {
    while let Some(arg) = parser.next()? {
        let Long(name) = arg else {
            match arg {
                Short('h') => raw.help = true,
                Value(word) => {
                    return Err(format!("{word:?} stands alone: options begin with --").into());
                }
                other => return Err(other.unexpected()),
            }
            continue;
        };
        let name = name.to_owned();
        match name.as_str() {
            "csv" => raw.csv = Some(parser.value()?.into()),
            "time" => raw.time = Some(parser.value()?.string()?),
            "value" => raw.value = Some(parser.value()?.string()?),
            "key" => raw.key = Some(parser.value()?.string()?),
            "size" => raw.size = Some(time(&mut parser, &name)?),
            "slide" => raw.slide = Some(time(&mut parser, &name)?),
            "disorder" => raw.disorder = Some(time(&mut parser, &name)?),
            "lateness" => raw.lateness = Some(time(&mut parser, &name)?),
            "horizon" => raw.horizon = Some(time(&mut parser, &name)?),
            "seconds" => raw.seconds = Some(seconds(&mut parser)?),
            "device" => raw.device = Some(parser.value()?.string()?),
            "format" => raw.format = Some(format_of(&parser.value()?.string()?)?),
            "strict" => raw.strict = true,
            "help" => raw.help = true,
            _ => return Err(Long(&name).unexpected()),
        }
    }
    Ok(())
}

fn time(parser: &mut lexopt::Parser, name: &str) -> Result<u64, lexopt::Error> {
    duration(&parser.value()?.string()?).map_err(|e| format!("--{name}: {e}").into())
}

fn seconds(parser: &mut lexopt::Parser) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    let number = text.strip_suffix('s').unwrap_or(&text);
    match duration(&format!("{number}s")) {
        Ok(ns) if ns > 0 => Ok(ns),
        _ => {
            Err(format!("--seconds: {text:?} is no time to run; write a number above 0, such as 5")
                .into())
        }
    }
}

fn format_of(text: &str) -> Result<Format, lexopt::Error> {
    match text {
        "text" => Ok(Format::Text),
        "csv" => Ok(Format::Csv),
        _ => Err(format!("--format: {text:?} is not one of text, csv").into()),
    }
}

/// Fills in what was left out and refuses what does not go together.
fn check(raw: Raw) -> Result<Args, String> {
    let source = match (raw.csv, raw.time, raw.value) {
        (Some(path), Some(time), Some(value)) => Some(Source { path, time, value, key: raw.key }),
        (None, None, None) if raw.key.is_none() => None,
        (None, ..) => {
            return Err("--time, --value and --key name columns of a file: add --csv FILE".into());
        }
        (_, None, _) => return Err("--csv needs --time COL, the name of its time column".into()),
        (_, _, None) => return Err("--csv needs --value COL, the name of its value column".into()),
    };
    let default = |text| duration(text).map_err(|e| e.to_string());
    let size = raw.size.map_or_else(|| default("1h"), Ok)?;
    let shape =
        Shape::new(size, raw.slide.unwrap_or(size)).map_err(|e| format!("--size, --slide: {e}"))?;
    Ok(Args {
        source,
        shape,
        disorder: raw.disorder.unwrap_or(0),
        lateness: raw.lateness.unwrap_or(0),
        horizon: raw.horizon.map_or_else(|| default("30d"), Ok)?,
        run_for: raw.seconds.map_or_else(|| default("5s"), Ok)?,
        device: raw.device.unwrap_or_else(|| "best".to_owned()),
        format: raw.format.unwrap_or(Format::Text),
        strict: raw.strict,
        help: raw.help,
    })
}
