//! Batch engines through Python, in processes of their own.

use crate::events::Columns;
use crate::measure::median;
use crate::peers::Digest;
use crate::python::{output, package, python};
use std::process::Command;

/// Each engine, and each way to run it.
const ENGINES: [&str; 4] = ["duckdb", "polars-streaming", "polars-memory", "datafusion"];
/// One, and what the engine takes by itself.
const THREADS: [&str; 2] = ["1", "0"];
/// Repetitions; the first warms up and does not count.
const REPETITIONS: usize = 6;

/// What one engine reached.
#[derive(Debug, Clone)]
pub struct Score {
    pub name: String,
    pub version: String,
    /// Million events a CPU second.
    pub value: f64,
}

fn score(line: &str, engine: &str, threads: &str, events: usize, want: &Digest) -> Option<Score> {
    let mut words = line.split_whitespace();
    let version = words.next()?.to_owned();
    let numbers: Vec<f64> = words.map_while(|word| word.parse().ok()).collect();
    let [rows, count, sum, min, max, _warm, seconds @ ..] = &numbers[..] else { return None };
    let exact = [*rows, *count] == [want.rows as f64, want.count as f64];
    assert!(exact && [*sum, *min, *max] == [want.sum, want.min, want.max], "{engine}: {line}");
    let value = events as f64 / median(seconds) / 1e6;
    let threads = if threads == "0" { "its own number of threads" } else { "one thread" };
    Some(Score { name: format!("{engine} on {threads}"), version, value })
}

/// The scores of all engines, the best one first. An engine that does not run has none.
///
/// # Errors
/// Why there are no scores.
pub fn scores(events: Columns<'_>, want: &Digest) -> Result<Vec<Score>, String> {
    let python = python()?;
    let folder = events.write().map_err(|e| e.to_string())?;
    let mut scores = Vec::new();
    for engine in ENGINES {
        for threads in THREADS {
            let mut command = Command::new(&python);
            command.arg(package().join("batch.py")).arg(folder.path());
            command.args([engine, threads, &REPETITIONS.to_string()]);
            match output(&mut command) {
                Ok(line) => {
                    eprintln!("{engine} {threads}: {}", line.trim());
                    scores.extend(score(&line, engine, threads, events.len(), want));
                }
                Err(error) => eprintln!("{engine}: {error}"),
            }
        }
    }
    scores.sort_by(|a, b| b.value.total_cmp(&a.value));
    if scores.is_empty() { Err("no engine ran".to_owned()) } else { Ok(scores) }
}
