//! A model folder to a smaller one: linear layers in 16 or 8 bits, within a budget, with a report of what it costs.
//!
//! The new folder loads like the old one, and every product of every layer runs in the type it was given. Half of the
//! texts calibrate, the others judge.

use lexopt::prelude::{Long, Short, Value, ValueExt};
use pelton::model::{Model, Precision, Quantised, quantise};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
quantise: the folder of a sentence encoder or classifier to one with smaller linear layers

usage: quantise DIR OUT --dtype TYPE [options]

  DIR                      a folder that pelton loads
  OUT                      a folder to be made: the new weights, the other files of DIR as they are, report.txt
  --dtype TYPE             f16, bf16 or int8: the narrowest type that a layer may get
  --budget GAP             widen as few layers as keep every judging text's 1 - cosine within this [none: widen none]
  --text FILE              lines of text like those to come, eight at least: every other one judges [texts of ours]
  --help                   this text";

/// Everything the command line says.
struct Args {
    from: PathBuf,
    to: PathBuf,
    precision: Precision,
    budget: Option<f64>,
    text: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = parse().and_then(|args| args.map_or(Ok(()), |args| run(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quantise: {error}; --help lists all options");
            ExitCode::from(2)
        }
    }
}

/// What was asked for; nothing when that was help.
fn parse() -> Result<Option<Args>, String> {
    let (mut folders, mut precision, mut budget, mut text) = (Vec::new(), None, None, None);
    let mut parser = lexopt::Parser::from_env();
    let said = |error: lexopt::Error| error.to_string();
    while let Some(arg) = parser.next().map_err(said)? {
        match arg {
            Value(folder) if folders.len() < 2 => folders.push(PathBuf::from(folder)),
            Long("dtype") => {
                let text = parser.value().and_then(|value| value.string()).map_err(said)?;
                let known = [Precision::F16, Precision::Bf16, Precision::Int8];
                let found = text.parse().ok().filter(|precision| known.contains(precision));
                precision = Some(
                    found.ok_or_else(|| format!("--dtype: {text:?} is none of f16, bf16, int8"))?,
                );
            }
            Long("budget") => {
                let text = parser.value().and_then(|value| value.string()).map_err(said)?;
                let found = text.parse().ok().filter(|gap: &f64| *gap > 0.0 && gap.is_finite());
                budget =
                    Some(found.ok_or_else(|| format!("--budget: {text:?} is no number above 0"))?);
            }
            Long("text") => text = Some(parser.value().map_err(said)?.into()),
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(None);
            }
            other => return Err(said(other.unexpected())),
        }
    }
    let Ok([from, to]) = <[PathBuf; 2]>::try_from(folders) else {
        return Err(
            "two folders are needed: DIR, which is there, and OUT, which is to be made".into()
        );
    };
    let precision = precision.ok_or("--dtype TYPE is missing: f16, bf16 or int8")?;
    Ok(Some(Args { from, to, precision, budget, text }))
}

fn run(args: &Args) -> Result<(), String> {
    let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let model = Model::load(&args.from).map_err(|error| error.to_string())?;
    let text = args
        .text
        .as_ref()
        .map(|path| std::fs::read_to_string(path).map_err(|error| at(path, error)));
    let text = text.transpose()?;
    let texts: Option<Vec<&str>> = text.as_ref().map(|text| text.lines().collect());
    let made = quantise(&model, args.precision, args.budget, texts.as_deref())
        .map_err(|error| error.to_string())?;
    // Made under another name first, so that no half of a folder is left behind.
    if args.to.exists() {
        return Err(format!(
            "{}: it is there already; name a folder to be made",
            args.to.display()
        ));
    }
    let part = args.to.with_extension("part");
    let report = report(&made);
    let write = || -> std::io::Result<()> {
        copy(&args.from, &part)?;
        std::fs::write(part.join("model.safetensors"), &made.safetensors)?;
        std::fs::write(part.join("report.txt"), &report)?;
        std::fs::rename(&part, &args.to)
    };
    if let Err(error) = write() {
        let _ = std::fs::remove_dir_all(&part);
        return Err(at(&args.to, error));
    }
    print!("{report}");
    if let Some(budget) = args.budget
        && made.gap.0 > budget
    {
        return Err(format!("even F32 throughout is not within {budget:e}"));
    }
    Ok(())
}

/// Copies a folder's files and folders, except the weights.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if name != "model.safetensors" {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn report(made: &Quantised) -> String {
    let mut text = String::from("layer  product           dtype  loss\n");
    for product in &made.products {
        let (layer, name, dtype) = (product.layer, product.name, product.precision.to_string());
        text += &format!("{layer:<6} {name:<17} {dtype:<6} {:.2e}\n", product.loss);
    }
    text += "loss: how far a product is off on the calibrating texts, relative, root of the mean square\n";
    let (most, mean) = made.gap;
    text += &format!("judged {} texts that did not calibrate, against F32\n", made.judged);
    text += &format!("gap    1 - cosine: {most:.2e} at most, {mean:.2e} on average\n");
    text += &format!(
        "same   {:.1} % of nearest texts, or most likely classes\n",
        made.agreement * 100.0
    );
    text += &format!("bytes  {}\n", made.safetensors.len());
    text
}
