//! Rows of a CSV file as a time, a key and a value, streamed, with errors that name the place and the fix.
//!
//! RFC 4180 as `csv-core` reads it: quoted fields, doubled quotes, line ends of either kind, line ends inside
//! quotes, a byte order mark. Memory is bounded by one row, whatever the file holds.

use super::text;
use crate::base::error::{Error, Result};
use crate::base::time::Ticks;
use csv_core::ReadRecordResult;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Bytes in one row, at most: beyond it a quote was surely left open.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Fields in one row, at most.
pub const ROW_FIELDS_MAX: usize = 1 << 16;
/// Bytes read from the file at a time.
const BUFFER_BYTES: usize = 1 << 16;
/// Key of every row of a file that has no key column.
const NO_KEY: &str = "0";

/// Which columns to read, by the names in the header row.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Event time: epoch seconds or ISO 8601, as [`text::time`] reads it.
    pub time: &'a str,
    /// A decimal number, stored as `f32`.
    pub value: &'a str,
    /// What to group by; without it every row has the key `0`.
    pub key: Option<&'a str>,
}

/// One row, as long as the next is not asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Nanoseconds since 1970.
    pub time: Ticks,
    /// The key as written in the file.
    pub key: &'a str,
    /// The value; NaN and infinities are values.
    pub value: f32,
    /// The line on which the row begins, from 1.
    pub line: u64,
}

/// A column that is read: where it is and what it is called.
#[derive(Debug)]
struct Column {
    index: usize,
    name: String,
}

/// A CSV file being read.
///
/// ```
/// use pelton::connect::csv::{Columns, Csv};
/// let file = "at,sensor,reading\n1424986973.25,\"a, b\",7.5\n";
/// let columns = Columns { time: "at", value: "reading", key: Some("sensor") };
/// let mut csv = Csv::new("sensors.csv", file.as_bytes(), &columns)?;
/// let row = csv.next_row()?.expect("a row").expect("a good one");
/// assert_eq!((row.time, row.key, row.value), (1_424_986_973_250_000_000, "a, b", 7.5));
/// assert!(csv.next_row()?.is_none());
/// # Ok::<(), pelton::Error>(())
/// ```
pub struct Csv<R> {
    records: Records<R>,
    fields: usize,
    time: Column,
    value: Column,
    key: Option<Column>,
}

impl Csv<File> {
    /// Opens a file and reads its header row.
    ///
    /// # Errors
    /// `Source` when the file cannot be read, is empty, or lacks a column.
    pub fn open(path: impl AsRef<Path>, columns: &Columns<'_>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let file = File::open(&path)
            .map_err(|e| Error::source(&name, format!("cannot be opened: {e}")))?;
        Self::new(name, file, columns)
    }
}

impl<R: Read> Csv<R> {
    /// Reads the header row of anything that reads; `name` stands for it in errors.
    ///
    /// # Errors
    /// `Source` when it cannot be read, is empty, or lacks a column.
    pub fn new(name: impl Into<String>, input: R, columns: &Columns<'_>) -> Result<Self> {
        let mut records = Records::new(name.into(), input);
        let Some(line) = records.advance()? else {
            let fix = "the file is empty; its first row must name the columns";
            return Err(Error::source(format!("{}, line 1, column 1", records.name), fix));
        };
        let header: Vec<String> = (0..records.fields())
            .map(|i| String::from_utf8_lossy(records.field(i)).trim().to_owned())
            .collect();
        let find = |wanted: &str| find_column(&records.name, line, &header, wanted);
        let (time, value) = (find(columns.time)?, find(columns.value)?);
        let key = columns.key.map(find).transpose()?;
        Ok(Self { records, fields: header.len(), time, value, key })
    }

    /// The next row; `Ok(Some(Err(_)))` is a bad row, after which the next can be asked for.
    ///
    /// # Errors
    /// `Source` when the file cannot be read any further.
    pub fn next_row(&mut self) -> Result<Option<Result<Row<'_>>>> {
        Ok(self.records.advance()?.map(|line| self.row(line)))
    }

    /// The record that was read last, as a row.
    fn row(&self, line: u64) -> Result<Row<'_>> {
        let records = &self.records;
        if records.open_quote {
            let what =
                "a quote is opened and never closed; close it, or double a quote that is meant";
            return Err(records.bad(line, records.fields(), None, what));
        }
        if records.fields() != self.fields {
            return Err(self.ragged(line));
        }
        let at = |column: &Column, what: String| {
            records.bad(line, column.index + 1, Some(&column.name), what)
        };
        let time = records.text(self.time.index);
        let time = text::time(&time).map_err(|why| {
            at(
                &self.time,
                format!(
                    "bad time: {time:?} {why}; write epoch seconds (1424986973.25) or ISO 8601 in UTC \
                     (2015-02-26T21:42:53Z)"
                ),
            )
        })?;
        let value = records.text(self.value.index);
        let value = value.trim().parse::<f32>().map_err(|_| {
            let fix = "write a decimal number such as 0.5, or leave the row out";
            at(&self.value, format!("bad number: {value:?}; {fix}"))
        })?;
        let key = match &self.key {
            None => NO_KEY,
            Some(column) => std::str::from_utf8(records.field(column.index)).map_err(|_| {
                let key = records.text(column.index);
                at(column, format!("bad key: {key:?} is not UTF-8; save the file as UTF-8"))
            })?,
        };
        Ok(Row { time, key, value, line })
    }

    /// The error of a record with more or fewer fields than the header has.
    fn ragged(&self, line: u64) -> Error {
        let (has, wants) = (self.records.fields(), self.fields);
        let (column, what) =
            if has < wants { (has + 1, "missing") } else { (wants + 1, "too many") };
        let what = format!(
            "ragged row: {has} fields where the header has {wants} ({what} from here); \
             add or remove fields, and quote those that hold a comma"
        );
        self.records.bad(line, column, None, what)
    }
}

/// The one column called `wanted`, or an error that lists those there are.
fn find_column(file: &str, line: u64, header: &[String], wanted: &str) -> Result<Column> {
    let mut found = (0..header.len()).filter(|&i| header[i] == wanted.trim());
    let list = || header.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let Some(index) = found.next() else {
        let what = format!("missing column {wanted:?}; pick one of those the file has: {}", list());
        return Err(Error::source(
            format!("{file}, line {line}, column {}", header.len() + 1),
            what,
        ));
    };
    if let Some(second) = found.next() {
        let what = format!("a second column is called {wanted:?}; rename one of: {}", list());
        return Err(Error::source(format!("{file}, line {line}, column {}", second + 1), what));
    }
    Ok(Column { index, name: wanted.trim().to_owned() })
}

/// Records of a file, one at a time in the same buffers.
struct Records<R> {
    name: String,
    input: R,
    core: csv_core::Reader,
    buffer: Box<[u8]>,
    unread: std::ops::Range<usize>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    /// Whether the file ended inside the quotes of the last record.
    open_quote: bool,
    done: bool,
}

impl<R: Read> Records<R> {
    fn new(name: String, input: R) -> Self {
        Self {
            name,
            input,
            core: csv_core::Reader::new(),
            buffer: vec![0; BUFFER_BYTES].into(),
            unread: 0..0,
            bytes: vec![0; 256],
            ends: vec![0; 16],
            fields: 0,
            open_quote: false,
            done: false,
        }
    }

    /// Reads one record and returns the line it begins on; `None` at the end of the file and ever after.
    fn advance(&mut self) -> Result<Option<u64>> {
        if self.done {
            return Ok(None);
        }
        let (mut bytes, mut ends, mut quotes) = (0, 0, 0);
        loop {
            let at_end = self.fill()?;
            let input = &self.buffer[self.unread.clone()];
            let (result, read, wrote, ended) =
                self.core.read_record(input, &mut self.bytes[bytes..], &mut self.ends[ends..]);
            quotes += input[..read].iter().filter(|&&b| b == b'"').count();
            let newline = read > 0 && input[read - 1] == b'\n';
            self.unread.start += read;
            bytes += wrote;
            ends += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if bytes < ROW_BYTES_MAX => {
                    self.bytes.resize(bytes * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if ends < ROW_FIELDS_MAX => {
                    self.ends.resize(ends * 2, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(self.endless(bytes));
                }
                ReadRecordResult::Record => {
                    self.fields = ends;
                    self.open_quote = at_end && quotes % 2 == 1;
                    return Ok(Some(self.core.line() - u64::from(newline) - self.newlines(bytes)));
                }
                ReadRecordResult::End => {
                    self.done = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Makes sure that there is unread input; true when there is none left.
    fn fill(&mut self) -> Result<bool> {
        // A byte order mark is only known by its three bytes together, and what is left without it must not
        // look like the end of the file: at first wait for one byte more.
        let wanted = if self.unread.end == 0 { 4 } else { 1 };
        if !self.unread.is_empty() {
            return Ok(false);
        }
        self.unread = 0..0;
        while self.unread.end < wanted {
            match self.input.read(&mut self.buffer[self.unread.end..]) {
                Ok(0) => break,
                Ok(n) => self.unread.end += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    self.done = true;
                    let at = format!("{}, line {}", self.name, self.core.line());
                    return Err(Error::source(at, format!("cannot be read: {e}")));
                }
            }
        }
        Ok(self.unread.is_empty())
    }

    /// The error of a row that does not end where any row would.
    fn endless(&mut self, bytes: usize) -> Error {
        self.done = true;
        let line = self.core.line() - self.newlines(bytes);
        let what = format!(
            "a row of over {ROW_BYTES_MAX} bytes or {ROW_FIELDS_MAX} fields begins here; \
             close its quotes, or split it"
        );
        Error::source(format!("{}, line {line}, column 1", self.name), what)
    }

    /// Line ends inside the quotes of the first bytes of this record.
    fn newlines(&self, bytes: usize) -> u64 {
        self.bytes[..bytes].iter().filter(|&&b| b == b'\n').count() as u64
    }

    fn fields(&self) -> usize {
        self.fields
    }

    fn field(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    fn text(&self, i: usize) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.field(i))
    }

    /// The error of a bad field: file, line, column by number and, where it has one, by name.
    fn bad(
        &self,
        line: u64,
        column: usize,
        name: Option<&str>,
        what: impl std::fmt::Display,
    ) -> Error {
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        Error::source(format!("{}, line {line}, column {column}{name}", self.name), what)
    }
}

impl<R> std::fmt::Debug for Csv<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Csv({}, line {})", self.records.name, self.records.core.line())
    }
}

/// Prints a text as a CSV field: as it is, or quoted where it must be.
///
/// ```
/// use pelton::connect::csv::Quoted;
/// assert_eq!(Quoted("plain").to_string(), "plain");
/// assert_eq!(Quoted("a \"b\", c").to_string(), "\"a \"\"b\"\", c\"");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.contains(['"', ',', '\n', '\r']) {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        } else {
            f.write_str(self.0)
        }
    }
}

#[cfg(test)]
mod tests;
