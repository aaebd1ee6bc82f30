//! A folder of `group/file.csv` with `timestamp,value`, and the windows in which it is labelled anomalous.

use pelton::connect::csv::{Columns, Csv};
use pelton::connect::text;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the corpus comes from, for those who do not have it.
pub(crate) const ORIGIN: &str = "\
The corpus is NAB v1.1, https://github.com/numenta/NAB at commit ea702d75cc2258d9d7dd35ca8e5e2539d71f3140 (its folder
`data`, and `labels/combined_windows.json` below it), licence MIT: 58 files, 365,558 rows, 116 labelled windows.";

/// One file.
#[derive(Debug)]
pub(crate) struct Series {
    /// `group/file.csv`.
    pub(crate) name: String,
    /// Its rows as they are written, without the header.
    pub(crate) lines: Vec<String>,
    pub(crate) times: Vec<u64>,
    pub(crate) values: Vec<f32>,
    /// First and last row of each labelled window.
    pub(crate) windows: Vec<(usize, usize)>,
}

/// All of it, and whether there are labels.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) series: Vec<Series>,
    pub(crate) labelled: bool,
}

/// Reads the folder. Files whose rows are not all good are an error that names the place.
pub(crate) fn read(folder: &Path) -> Result<Corpus, String> {
    let labels = folder.join("labels/combined_windows.json");
    let windows = if labels.is_file() {
        let json = fs::read_to_string(&labels).map_err(|e| format!("{}: {e}", labels.display()))?;
        Some(parse_windows(&json).map_err(|e| format!("{}: {e}", labels.display()))?)
    } else {
        None
    };
    let mut series = Vec::new();
    for group in sorted(folder)?.iter().filter(|path| path.is_dir()) {
        for file in
            sorted(group)?.iter().filter(|path| path.extension().is_some_and(|e| e == "csv"))
        {
            let name = file.strip_prefix(folder).expect("it was listed there");
            let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
            let name = parts.join("/");
            let labelled =
                windows.as_ref().map_or(Some(&[][..]), |all| all.get(&name).map(|w| &w[..]));
            if let Some(ends) = labelled {
                series.push(read_series(file, name, ends)?);
            }
        }
    }
    if series.is_empty() {
        return Err(format!("{}: no group/file.csv in it\n{ORIGIN}", folder.display()));
    }
    Ok(Corpus { series, labelled: windows.is_some() })
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let error = |e| format!("{}: {e}\n{ORIGIN}", folder.display());
    let entries = fs::read_dir(folder).map_err(error)?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn read_series(path: &Path, name: String, ends: &[u64]) -> Result<Series, String> {
    let file = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let columns = Columns { time: "timestamp", value: "value", key: None };
    let mut csv = Csv::new(path.display().to_string(), file.as_bytes(), &columns)
        .map_err(|e| e.to_string())?;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    while let Some(row) = csv.next_row().map_err(|e| e.to_string())? {
        let row = row.map_err(|e| e.to_string())?;
        times.push(row.time);
        values.push(row.value);
    }
    let lines: Vec<String> =
        file.lines().skip(1).filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.len() != times.len() {
        return Err(format!("{}: a row goes over several lines; write one a line", path.display()));
    }
    let place = |end: &u64| {
        let found = times.iter().position(|time| time == end);
        found.ok_or_else(|| format!("{}: a label names a time that no row has", path.display()))
    };
    let places = ends.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let (pairs, odd) = places.as_chunks::<2>();
    if !odd.is_empty() || !places.is_sorted() {
        return Err(format!(
            "{}: labels are pairs of times, first and last, in order",
            path.display()
        ));
    }
    let windows = pairs.iter().map(|&[from, to]| (from, to)).collect();
    Ok(Series { name, lines, times, values, windows })
}

/// The times in `{"group/file.csv": [["from", "to"], …], …}`, by file: all that such a file holds is strings.
fn parse_windows(json: &str) -> Result<BTreeMap<String, Vec<u64>>, String> {
    let mut windows: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut file: Option<String> = None;
    for string in json.split('"').skip(1).step_by(2) {
        if string.ends_with(".csv") {
            windows.insert(string.to_owned(), Vec::new());
            file = Some(string.to_owned());
        } else {
            let time = text::time(string)
                .map_err(|_| format!("`{string}` is neither a time nor a .csv file"))?;
            let file = file.as_ref().ok_or("a time stands before any file")?;
            windows.get_mut(file).expect("inserted").push(time);
        }
    }
    Ok(windows)
}
