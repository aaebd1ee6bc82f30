//! The command line.

use lexopt::prelude::{Long, Short, ValueExt};
use std::ffi::OsString;
use std::ops::RangeInclusive;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
fraud: card payments with known fraud among them, watched by three queries, and how well they saw it

usage: fraud [options]

  --accounts N    cards that pay                            [2000]
  --terminals N   where they pay                            [400]
  --days N        how long                                  [84]
  --seed N        of the made payments                      [1]
  --alerts N      alerts to print, with their reasons       [10]
  --device NAME   best, cpu, wgpu, wgpu:PART-OF-NAME or cuda [best]
  --help          this text";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) accounts: u32,
    pub(crate) terminals: u32,
    pub(crate) days: u32,
    pub(crate) seed: u64,
    pub(crate) alerts: usize,
    pub(crate) device: String,
    pub(crate) help: bool,
}

fn number(
    name: &str,
    accepted: RangeInclusive<u32>,
    value: &OsString,
) -> Result<u32, lexopt::Error> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|number| accepted.contains(number)).ok_or_else(|| {
        format!("{name}: {} to {}, not {value:?}", accepted.start(), accepted.end()).into()
    })
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse<A: Into<OsString>>(
    args: impl IntoIterator<Item = A>,
) -> Result<Args, lexopt::Error> {
    let mut parsed = Args {
        accounts: 2000,
        terminals: 400,
        days: 84,
        seed: 1,
        alerts: 10,
        device: "best".into(),
        help: false,
    };
    let mut parser = lexopt::Parser::from_args(args.into_iter().map(Into::into));
    while let Some(arg) = parser.next()? {
        match arg {
            Long("accounts") => {
                parsed.accounts = number("--accounts", 10..=1_000_000, &parser.value()?)?;
            }
            Long("terminals") => {
                parsed.terminals = number("--terminals", 10..=100_000, &parser.value()?)?;
            }
            Long("days") => parsed.days = number("--days", 42..=3650, &parser.value()?)?,
            Long("seed") => parsed.seed = number("--seed", 0..=u32::MAX, &parser.value()?)?.into(),
            Long("alerts") => {
                let alerts = number("--alerts", 0..=1_000_000, &parser.value()?)?;
                parsed.alerts = usize::try_from(alerts).expect("a million fits");
            }
            Long("device") => parsed.device = parser.value()?.string()?,
            Long("help") | Short('h') => parsed.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(parsed)
}
