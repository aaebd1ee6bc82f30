//! The command line of bench_devices: what was asked for, or what to write instead.

use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
bench_devices: every device of this machine under the same load, after a check of its answers

usage: bench_devices [options]                 measures, prints, and writes one file a device
       bench_devices --compare A.json B.json   prints B's figures over A's
       bench_devices --table                   writes the README's table from the files there are

  --device NAME      cpu, null, wgpu, wgpu:PART-OF-NAME or cuda; may be repeated   [all but null]
  --seconds N        how long the closed loop and each point of the curve take     [2]
  --quick            a short run that shows that all of it works
  --grade NAME       smoke, or measured on a machine that does nothing else        [smoke]
  --out FILE         where the report of the one device goes
  --results DIR      where reports lie                                             [benches/results]
  --readme FILE      what --table rewrites                                         [README.md]
  --help             this text

Exit codes: 1 a device failed or answered wrongly, 2 the command line, 3 reports that cannot be compared.";

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    Measure,
    Compare(PathBuf, PathBuf),
    Table,
    Help,
}

/// Everything the command line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Args {
    pub(crate) task: Task,
    pub(crate) devices: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
    pub(crate) grade: String,
    pub(crate) out: Option<PathBuf>,
    pub(crate) results: PathBuf,
    pub(crate) readme: PathBuf,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// One line for the user; the program exits with 2.
pub(crate) fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Args, String> {
    let mut read = Args {
        task: Task::Measure,
        devices: Vec::new(),
        seconds: 2.0,
        quick: false,
        grade: "smoke".into(),
        out: None,
        results: "benches/results".into(),
        readme: "README.md".into(),
    };
    options(&mut read, lexopt::Parser::from_args(args))
        .map_err(|e| format!("{e}; --help lists all options"))?;
    if read.out.is_some() && read.devices.len() != 1 {
        return Err("--out FILE is for one --device; --results DIR takes all of them".into());
    }
    Ok(read)
}

fn options(read: &mut Args, mut parser: lexopt::Parser) -> Result<(), lexopt::Error> {
    while let Some(arg) = parser.next()? {
        match arg {
            Long("device") => read.devices.push(parser.value()?.string()?),
            Long("seconds") => {
                read.seconds = parser.value()?.parse()?;
                if !(0.1..=3600.0).contains(&read.seconds) {
                    return Err("--seconds: 0.1 to 3600".into());
                }
            }
            Long("quick") => read.quick = true,
            Long("grade") => {
                read.grade = parser.value()?.string()?;
                if !["smoke", "measured"].contains(&read.grade.as_str()) {
                    return Err("--grade: smoke or measured".into());
                }
            }
            Long("out") => read.out = Some(parser.value()?.into()),
            Long("results") => read.results = parser.value()?.into(),
            Long("readme") => read.readme = parser.value()?.into(),
            Long("compare") => {
                let first = parser.value()?.into();
                read.task = Task::Compare(first, parser.value()?.into());
            }
            Long("table") => read.task = Task::Table,
            Long("help") | Short('h') => read.task = Task::Help,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Task, parse};

    #[test]
    fn options_are_read() {
        let line = "--device cpu --quick --seconds 0.5 --out a.json --grade measured";
        let read = parse(line.split(' ')).unwrap();
        assert_eq!((read.devices, read.quick, read.seconds), (vec!["cpu".into()], true, 0.5));
        assert_eq!(read.out, Some("a.json".into()));
        let read = parse(["--compare", "a", "b"]).unwrap();
        assert_eq!(read.task, Task::Compare("a".into(), "b".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lines =
            ["--seconds 0", "--seconds x", "--out a.json", "--grade fine", "x", "--compare a"];
        for line in lines {
            assert!(parse(line.split(' ')).is_err(), "{line}");
        }
    }
}
