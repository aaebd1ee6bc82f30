//! A model folder to a smaller one: linear layers in 16 or 8 bits, within a budget, with a report of what it costs.
//!
//! The new folder loads like the old one, and every product of every layer runs in the type it was given. Half of the
//! texts calibrate, the others judge.

mod lines;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use lines::{classes, lines};
use pelton::model::{Accuracy, Model, Precision, QuantiseOptions, Quantised, quantise};
use std::cmp::Ordering;
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
  --labels FILE            a line for each of those texts, what is right for it: a classifier's label by name or number,
                           else any word that texts of a kind share; the report says how many are still found
  --help                   this text";

/// Everything the command line says.
struct Args {
    from: PathBuf,
    to: PathBuf,
    precision: Precision,
    budget: Option<f64>,
    text: Option<PathBuf>,
    labels: Option<PathBuf>,
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
    let (mut folders, mut precision, mut budget) = (Vec::new(), None, None);
    let (mut text, mut labels) = (None, None);
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
            Long("labels") => labels = Some(parser.value().map_err(said)?.into()),
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
    if labels.is_some() && text.is_none() {
        return Err(
            "--labels FILE says what is right for the lines of --text FILE; give that, too".into(),
        );
    }
    Ok(Some(Args { from, to, precision, budget, text, labels }))
}

fn run(args: &Args) -> Result<(), String> {
    let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let model = Model::load(&args.from).map_err(|error| error.to_string())?;
    let text = args.text.as_ref().map(|path| lines(path)).transpose()?;
    let texts: Option<Vec<&str>> = text.as_ref().map(|lines| lines.iter().map(|x| &**x).collect());
    let count = texts.as_ref().map_or(0, Vec::len);
    let classes = args.labels.as_ref().map(|path| classes(path, model.labels(), count));
    let classes = classes.transpose()?;
    let options = QuantiseOptions {
        budget: args.budget,
        texts: texts.as_deref(),
        classes: classes.as_deref(),
    };
    let made = quantise(&model, args.precision, &options).map_err(|error| error.to_string())?;
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
    if let Some(accuracy) = made.accuracy {
        text += &judgement(accuracy, made.judged);
    }
    text += &format!("bytes  {}\n", made.safetensors.len());
    text
}

/// What the labels say, and what that comes to.
#[allow(clippy::cast_precision_loss, reason = "few texts")]
fn judgement(Accuracy { exact, found, lost }: Accuracy, judged: usize) -> String {
    let share = |count: usize| 100.0 * count as f64 / judged as f64;
    let points = share(exact.abs_diff(found));
    let says = match found.cmp(&exact) {
        Ordering::Less => format!("{points:.1} points are lost"),
        Ordering::Equal => "nothing is lost".into(),
        Ordering::Greater => format!("{points:.1} points are gained"),
    };
    let gained = lost + found - exact;
    format!(
        "right  {:.1} % of {judged} labels in F32, {:.1} % as written: {says}\n       \
         {lost} of them in F32 alone, {gained} as written alone\n",
        share(exact),
        share(found),
    )
}
