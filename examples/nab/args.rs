//! The command line.

use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
nab: the Numenta Anomaly Benchmark, or any folder of series, scored as a stream, and its score

usage: nab [options]

  --data DIR      a folder of group/file.csv with timestamp,value     [$PELTON_DATA/nab]
  --out DIR       where timestamp,value,anomaly_score is written      [nowhere]
  --svg DIR       where a picture of each series is written           [nowhere]
  --emit WHAT     decision: one alert for what belongs together, alert = score >= T; score: the dense one [decision]
  --device NAME   best, cpu, wgpu, wgpu:PART-OF-NAME or cuda          [best]
  --help          this text

Where the folder has labels/combined_windows.json the score of the board is printed: at the best threshold, at the
fixed one T that no label has touched, and for each half of the files at the best threshold of the other half.";

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emit {
    Decision,
    Score,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) data: Option<PathBuf>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) emit: Emit,
    pub(crate) device: String,
    pub(crate) help: bool,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse<A: Into<OsString>>(
    args: impl IntoIterator<Item = A>,
) -> Result<Args, lexopt::Error> {
    let data = std::env::var_os("PELTON_DATA").map(|data| PathBuf::from(data).join("nab"));
    let mut parsed = Args {
        data,
        out: None,
        svg: None,
        emit: Emit::Decision,
        device: "best".into(),
        help: false,
    };
    let mut parser = lexopt::Parser::from_args(args.into_iter().map(Into::into));
    while let Some(arg) = parser.next()? {
        match arg {
            Long("data") => parsed.data = Some(parser.value()?.into()),
            Long("out") => parsed.out = Some(parser.value()?.into()),
            Long("svg") => parsed.svg = Some(parser.value()?.into()),
            Long("emit") => {
                parsed.emit = match parser.value()?.string()?.as_str() {
                    "decision" => Emit::Decision,
                    "score" => Emit::Score,
                    other => {
                        return Err(format!("--emit {other}: decision or score").into());
                    }
                };
            }
            Long("device") => parsed.device = parser.value()?.string()?,
            Long("help") | Short('h') => parsed.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(parsed)
}
