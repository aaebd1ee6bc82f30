//! The producer that reads a file: rows become events, bad rows are counted and reported.

use super::args::Source;
use super::{BAD_DATA, Event, Failure, NO_INPUT, warn};
use pelton::connect::csv::{Columns, Csv};
use pelton::connect::keys::Keys;
use pelton::{Error, Feed};
use std::fs::File;
use std::sync::mpsc::Sender;

/// How many bad rows are shown; all are counted.
const SHOWN: u64 = 5;

/// A file whose header has been read.
pub(crate) struct Reader {
    csv: Csv<File>,
    name: String,
    keys: Keys,
    /// Tells whoever prints what each new number stands for.
    names: Sender<String>,
    strict: bool,
}

/// How the reading ended.
pub(crate) struct Read {
    name: String,
    rows: u64,
    bad: u64,
    /// What ended it before its time.
    fatal: Option<Error>,
}

impl Reader {
    pub(crate) fn open(
        source: &Source,
        names: Sender<String>,
        strict: bool,
    ) -> Result<Self, Failure> {
        let name = source.path.display().to_string();
        let no_input = |why: String| Failure {
            code: NO_INPUT,
            what: format!("{name}: cannot be read: {why}"),
        };
        let file = File::open(&source.path).map_err(|e| no_input(e.to_string()))?;
        if file.metadata().is_ok_and(|m| m.is_dir()) {
            return Err(no_input("it is a folder".into()));
        }
        let columns =
            Columns { time: &source.time, value: &source.value, key: source.key.as_deref() };
        let csv = Csv::new(&name, file, &columns)?;
        Ok(Self { csv, name, keys: Keys::default(), names, strict })
    }

    /// Reads to the end, or to what ends it. A bad row is left out; when `strict` it is the end, as if the
    /// file stopped before it.
    pub(crate) fn read(mut self, mut lanes: [Feed<Event>; 2]) -> Read {
        let (mut rows, mut bad) = (0, 0);
        let fatal = loop {
            let row = match self.csv.next_row() {
                Ok(Some(Ok(row))) => row,
                Ok(Some(Err(error))) if self.strict => break Some(error),
                Ok(Some(Err(error))) => {
                    bad += 1;
                    if bad <= SHOWN {
                        warn(&format!("left out: {error}"));
                    }
                    continue;
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let known = self.keys.len();
            let id = self.keys.id(row.key);
            let Ok(key) = u32::try_from(id) else {
                break Some(Error::source(&self.name, "more than 4 billion different keys"));
            };
            if self.keys.len() > known && self.names.send(row.key.to_owned()).is_err() {
                break None;
            }
            rows += 1;
            // A lane that blocks refuses only when the pipeline has ended, and that says why by itself.
            let event = Event { at: row.time, key, value: row.value };
            if lanes.iter_mut().any(|lane| lane.push(event).is_err()) {
                break None;
            }
        };
        Read { name: self.name, rows, bad, fatal }
    }
}

impl Read {
    /// Says what was left out, and fails when the reading did.
    pub(crate) fn report(self) -> Result<(), Failure> {
        let Self { name, rows, bad, fatal } = self;
        if bad > 0 {
            let total = rows + bad;
            warn(&format!("{name}: {bad} of {total} rows are bad and were left out"));
        }
        match fatal {
            None => Ok(()),
            Some(error) => {
                let what =
                    format!("{error}\nstopped there: the windows hold the {rows} rows before");
                Err(Failure { code: BAD_DATA, what })
            }
        }
    }
}
