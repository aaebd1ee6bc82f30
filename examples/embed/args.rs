//! The command line of `embed`: what was asked for, or what to write instead.

use lexopt::prelude::{Long, Short, ValueExt};
use pelton::model::Precision;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
embed: text lines on standard input to one JSON array of numbers per line on standard output

usage: embed --model DIR [options]

  --model DIR              a folder of sentence-transformers or Hugging Face, as it is: config.json,
                           tokenizer.json, model.safetensors, and modules.json with its pooling
  --dtype TYPE             f32, f16, bf16 or int8: of the linear layers; the rest is f32  [as in DIR]
                           int8 looks at its inputs over some texts of ours first: that takes a second or two
  --device NAME            best, cpu, wgpu, wgpu:PART-OF-NAME or cuda           [best]
  --max-batch-tokens N     tokens that are taken together, at most              [512 on cpu, else 8192]
  --help                   this text

An empty line is an empty text. A line that is not UTF-8 gives {\"error\": ...}, the others are unharmed.
Throughput and latency, from a line read to its result written, go to standard error.";

/// Everything the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) model: PathBuf,
    pub(crate) device: String,
    /// `None`: as the folder has it.
    pub(crate) precision: Option<Precision>,
    /// 0: what suits the device.
    pub(crate) batch_tokens: usize,
    pub(crate) help: bool,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// One line for the user that names the option and what it takes; the program exits with 2.
pub(crate) fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Args, String> {
    let mut parsed = Args { device: "best".into(), ..Args::default() };
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
            Long("device") => args.device = parser.value()?.string()?,
            Long("dtype") => {
                let text = parser.value()?.string()?;
                let wrong =
                    |_| format!("--dtype: {text:?} is not built; there are: f32, f16, bf16, int8");
                args.precision = Some(text.parse().map_err(wrong)?);
            }
            Long("max-batch-tokens") => {
                let text = parser.value()?.string()?;
                let wrong =
                    || format!("--max-batch-tokens: {text:?} is no number of tokens above 0");
                args.batch_tokens = text.parse().ok().filter(|&n| n > 0).ok_or_else(wrong)?;
            }
            Long("help") | Short('h') => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(())
}
