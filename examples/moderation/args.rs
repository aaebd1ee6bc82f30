//! The command line of `moderation`: what was asked for, or what to write instead.

use lexopt::prelude::{Long, Short, ValueExt};
use pelton::Policy;
use pelton::connect::text::duration;
use pelton::model::Precision;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
moderation: messages on standard input, one a line, each judged as it comes, to one JSON object a line

usage: moderation --model DIR [--topics FILE] [options]

  --model DIR       a model folder as it is; one with a classification head gives messages its labels
  --topics FILE     for a model of embeddings: a topic a line, `label<TAB>example` or a text that is both;
                    a message gets the label of the nearest example, by cosine
  --dtype TYPE      f32, f16, bf16 or int8: of the linear layers; the rest is f32 [the folder's]
  --device NAME     best, cpu, wgpu, wgpu:PART-OF-NAME or cuda                   [best]
  --deadline TIME   when a message should be judged, from when it was read       [100ms]
  --full WHAT       when messages come faster than the model reads: wait,
                    reject (an error on that line), drop (the oldest, counted)   [wait]
  --made N          judge N made messages instead of standard input
  --rate N          made messages a second; 0: as fast as they are taken         [0]
  --seed N          which messages are made                                      [1]
  --help            this text

A line is {\"message\": its number, \"label\": ..., \"score\": ..., \"latency_us\": ...}; for one that cannot be
read it is {\"message\": ..., \"error\": ...}, and the others are unharmed. Lines come as they are done. Scores are the
classifier's outputs through a softmax, or the cosine. Counts, throughput and latency go to standard error.";

/// Everything the command line says.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) model: PathBuf,
    pub(crate) topics: Option<PathBuf>,
    /// `None`: as the folder has it.
    pub(crate) precision: Option<Precision>,
    pub(crate) device: String,
    pub(crate) deadline: Duration,
    pub(crate) policy: Policy,
    pub(crate) made: Option<u64>,
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    pub(crate) help: bool,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// One line for the user that names the option and what it takes; the program exits with 2.
pub(crate) fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Args, String> {
    let mut parsed = Args {
        model: PathBuf::new(),
        topics: None,
        precision: None,
        device: "best".into(),
        deadline: Duration::from_millis(100),
        policy: Policy::Block,
        made: None,
        rate: 0,
        seed: 1,
        help: false,
    };
    read(&mut parsed, lexopt::Parser::from_args(args)).map_err(|error| error.to_string())?;
    if parsed.model.as_os_str().is_empty() && !parsed.help {
        return Err("--model DIR is missing: the folder of a model".into());
    }
    Ok(parsed)
}

fn read(args: &mut Args, mut parser: lexopt::Parser) -> Result<(), lexopt::Error> {
    while let Some(arg) = parser.next()? {
        match arg {
            Long("model") => args.model = parser.value()?.into(),
            Long("topics") => args.topics = Some(parser.value()?.into()),
            Long("device") => args.device = parser.value()?.string()?,
            Long("dtype") => {
                let text = parser.value()?.string()?;
                let wrong =
                    |_| format!("--dtype: {text:?} is not built; there are: f32, f16, bf16, int8");
                args.precision = Some(text.parse().map_err(wrong)?);
            }
            Long("deadline") => {
                let text = parser.value()?.string()?;
                let ns = duration(&text).map_err(|error| format!("--deadline: {error}"))?;
                args.deadline = Duration::from_nanos(ns);
            }
            Long("full") => {
                args.policy = match &*parser.value()?.string()? {
                    "wait" => Policy::Block,
                    "reject" => Policy::Reject,
                    "drop" => Policy::DropOldest,
                    other => {
                        return Err(format!("--full: {other:?}; known: wait, reject, drop").into());
                    }
                };
            }
            Long("made") => args.made = Some(number("--made", &mut parser)?),
            Long("rate") => args.rate = number("--rate", &mut parser)?,
            Long("seed") => args.seed = number("--seed", &mut parser)?,
            Long("help") | Short('h') => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}

fn number(name: &str, parser: &mut lexopt::Parser) -> Result<u64, lexopt::Error> {
    let text = parser.value()?.string()?;
    text.parse().map_err(|_| format!("{name}: {text:?} is no whole number").into())
}
