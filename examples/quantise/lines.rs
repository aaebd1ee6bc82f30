//! Files of a text or a label a line, read with errors that name file and line.

use std::collections::BTreeMap;
use std::path::Path;

/// Labels that an error names, at most.
const NAMED_MAX: usize = 16;

/// The lines of a file, without their ends.
///
/// # Errors
/// For a file that cannot be read, and a line that is not UTF-8.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        wrong(path, good.split(|byte| *byte == b'\n').count() - 1, "not UTF-8")
    })?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The class that each line names, of so many texts: one of a classifier's labels by its name, or else by its number
/// from 0; without a classifier equal lines are a class.
///
/// # Errors
/// For a file that cannot be read, a number of lines other than that of the texts, a line without a label, and a label
/// that the classifier has not.
pub(crate) fn classes(
    path: &Path,
    known: Option<&[String]>,
    texts: usize,
) -> Result<Vec<usize>, String> {
    let lines = lines(path)?;
    if lines.len() != texts {
        let (path, count) = (path.display(), lines.len());
        return Err(format!("{path}: {count} lines for {texts} texts; write a label for each"));
    }
    let mut seen = BTreeMap::new();
    let class = |(i, line): (usize, &String)| {
        let label = line.trim();
        if label.is_empty() {
            return Err(wrong(path, i, "no label"));
        }
        let Some(known) = known else {
            let next = seen.len();
            return Ok(*seen.entry(label.to_owned()).or_insert(next));
        };
        let number = || label.parse().ok().filter(|number| *number < known.len());
        known.iter().position(|known| known == label).or_else(number).ok_or_else(|| {
            let (names, last) = (known[..known.len().min(NAMED_MAX)].join(", "), known.len() - 1);
            let more = if known.len() > NAMED_MAX { ", ..." } else { "" };
            let what = format!("{label:?} is no label of the model: {names}{more}, or 0 to {last}");
            wrong(path, i, &what)
        })
    };
    lines.iter().enumerate().map(class).collect()
}

/// What is wrong with a line, counted from 0 here and from 1 there.
fn wrong(path: &Path, line: usize, what: &str) -> String {
    format!("{}, line {}: {what}", path.display(), line + 1)
}
