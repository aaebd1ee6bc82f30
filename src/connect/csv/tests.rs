//! Tests of the CSV reader: the standard, the errors, and files that mean harm.

use super::{Columns, Csv, Quoted, ROW_BYTES_MAX, ROW_FIELDS_MAX, Row};
use crate::base::error::Error;
use crate::base::rng::SplitMix;
use std::io::{self, Read};

const COLUMNS: Columns<'_> = Columns { time: "t", value: "v", key: Some("k") };

/// Rows as owned tuples, bad rows as their messages.
type Read1 = Result<(u64, String, f32, u64), String>;

fn rows_of(input: impl Read, columns: &Columns<'_>) -> Result<Vec<Read1>, Error> {
    let mut csv = Csv::new("f.csv", input, columns)?;
    let mut rows = Vec::new();
    while let Some(row) = csv.next_row()? {
        rows.push(match row {
            Ok(Row { time, key, value, line }) => {
                Ok((time / 1_000_000_000, key.to_owned(), value, line))
            }
            Err(error) => Err(error.to_string()),
        });
    }
    assert!(csv.next_row()?.is_none(), "the end stays the end");
    Ok(rows)
}

fn rows(file: &str) -> Vec<Read1> {
    rows_of(file.as_bytes(), &COLUMNS).unwrap()
}

fn good(time: u64, key: &str, value: f32, line: u64) -> Read1 {
    Ok((time, key.to_owned(), value, line))
}

/// The only row of a file must be bad in this way.
fn bad(file: &str) -> String {
    let mut rows = rows(file);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.pop().unwrap().unwrap_err()
}

/// A reader that gives one byte at a time and is interrupted in between.
struct Drip<'a>(&'a [u8], bool);

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = usize::from(!self.0.is_empty());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn the_standard_is_read() {
    let file = "\u{feff}t,\"k\",x, v \r\n1,\"a, b\",,0.5\r\n2,\"say \"\"hi\"\"\",,-1e3\r\n\r\n\
                3,\"two\nlines\",, 2 \r\n4,é,,7\n\n\n\"5\",last,\"\",\"8\"";
    let want = vec![
        good(1, "a, b", 0.5, 2),
        good(2, "say \"hi\"", -1000.0, 3),
        good(3, "two\nlines", 2.0, 5),
        good(4, "é", 7.0, 7),
        good(5, "last", 8.0, 10),
    ];
    assert_eq!(rows(file), want);
    assert_eq!(rows_of(Drip(file.as_bytes(), false), &COLUMNS).unwrap(), want);
}

#[test]
fn without_a_key_column_the_key_is_zero() {
    let columns = Columns { key: None, ..COLUMNS };
    assert_eq!(rows_of("v,t\n5,1\n".as_bytes(), &columns).unwrap(), [good(1, "0", 5.0, 2)]);
}

#[test]
fn one_column_may_serve_twice() {
    let columns = Columns { time: "t", value: "t", key: Some("t") };
    assert_eq!(rows_of("t\n07\n".as_bytes(), &columns).unwrap(), [good(7, "07", 7.0, 2)]);
}

#[test]
fn keys_stay_as_written() {
    let got = rows("t,k,v\n1, 07 ,1\n1,,1\n1,\"\",1\n");
    assert_eq!(got, [good(1, " 07 ", 1.0, 2), good(1, "", 1.0, 3), good(1, "", 1.0, 4)]);
}

#[test]
fn values_are_any_float() {
    let got = rows("t,k,v\n1,,inf\n1,,-Infinity\n1,,nan\n1,,-0\n1,,1e99\n1,,.5\n1,,16777217\n");
    let values: Vec<f32> = got.into_iter().map(|row| row.unwrap().2).collect();
    assert_eq!(values[..2], [f32::INFINITY, f32::NEG_INFINITY]);
    assert!(values[2].is_nan() && values[3].is_sign_negative());
    assert_eq!(values[4..], [f32::INFINITY, 0.5, 16_777_216.0]);
}

#[test]
fn bad_values_name_place_and_fix() {
    for value in ["", " ", "abc", "1,5\"", "1_000", "0x10", "1e", "--1"] {
        let value = format!("\"{}\"", value.replace('"', "\"\""));
        let message = bad(&format!("t,k,v\n1,a,{value}\n"));
        assert!(message.starts_with("f.csv, line 2, column 3 (v): bad number: "), "{message}");
        assert!(message.contains("write a decimal number"), "{message}");
    }
}

#[test]
fn bad_times_name_place_and_fix() {
    for (time, why) in [("", "empty"), ("-5", "1970"), ("noon", "neither"), ("2015-02-29", "exist")]
    {
        let message = bad(&format!("k,v,t\n\"a\nb\",1,{time}\n"));
        assert!(message.starts_with("f.csv, line 2, column 3 (t): bad time: "), "{message}");
        assert!(message.contains(why) && message.contains("1424986973.25"), "{message}");
    }
}

#[test]
fn ragged_rows_name_the_first_field_amiss() {
    let short = bad("t,k,v\n1,a\n");
    assert!(
        short.starts_with("f.csv, line 2, column 3: ragged row: 2 fields where the header has 3"),
        "{short}"
    );
    let long = bad("t,k,v\n1,a,2,3,4\n");
    assert!(
        long.starts_with("f.csv, line 2, column 4: ragged row: 5 fields where the header has 3"),
        "{long}"
    );
}

#[test]
fn reading_goes_on_after_a_bad_row() {
    let got = rows("t,k,v\nx,a,1\n1,a\n1,a,b\n\n2,a,3\n");
    let lines: Vec<String> = got[..3].iter().map(|r| r.clone().unwrap_err()).collect();
    for (line, message) in (2..).zip(&lines) {
        assert!(message.contains(&format!("line {line}, ")), "{message}");
    }
    assert_eq!(got[3..], [good(2, "a", 3.0, 6)]);
}

#[test]
fn a_quote_left_open_is_not_a_row() {
    let got = rows("t,k,v\n1,a,2\n3,a,\"4\n5,a,6\n");
    assert_eq!(got[0], good(1, "a", 2.0, 2));
    let message = got[1].clone().unwrap_err();
    assert!(message.starts_with("f.csv, line 3, column 3: a quote is opened"), "{message}");
}

#[test]
fn text_that_is_not_utf8_is_named() {
    let got = rows_of(&b"t,k,v\n1,\xff,2\n1,a,\xff\n\xff,a,1\n"[..], &COLUMNS).unwrap();
    let messages: Vec<String> = got.into_iter().map(Result::unwrap_err).collect();
    assert!(messages[0].contains("line 2, column 2 (k): bad key") && messages[0].contains("UTF-8"));
    assert!(messages[1].contains("line 3, column 3 (v): bad number"));
    assert!(messages[2].contains("line 4, column 1 (t): bad time"));
}

#[test]
fn files_without_what_was_asked_for_are_named() {
    for (file, want) in [
        ("", "f.csv, line 1, column 1: the file is empty; its first row must name the columns"),
        ("\n\r\n", "f.csv, line 1, column 1: the file is empty"),
        ("\u{feff}", "f.csv, line 1, column 1: the file is empty"),
        (
            "a,b\n",
            "f.csv, line 1, column 3: missing column \"t\"; pick one of those the file has: \"a\", \"b\"",
        ),
        ("\n\nt,k\n1,2\n", "f.csv, line 3, column 3: missing column \"v\""),
        ("t,k,v,t\n", "f.csv, line 1, column 4: a second column is called \"t\""),
    ] {
        let error = rows_of(file.as_bytes(), &COLUMNS).unwrap_err();
        assert!(matches!(error, Error::Source { .. }));
        assert!(error.to_string().starts_with(want), "{error}");
    }
    assert_eq!(rows("t,k,v"), [], "a header alone is a file of no rows");
}

#[test]
fn files_that_cannot_be_opened_or_read_say_so() {
    let error = Csv::open("no/such/file.csv", &COLUMNS).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.csv: cannot be opened"), "{error}");
    let error = Csv::open("src", &COLUMNS).unwrap_err().to_string();
    assert!(error.contains("src"), "{error}");

    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 1 {
                return Err(io::Error::other("the disk is gone"));
            }
            buf[..6].copy_from_slice(b"t,k,v\n");
            Ok(6)
        }
    }
    let mut csv = Csv::new("f.csv", Broken(0), &COLUMNS).unwrap();
    let error = csv.next_row().unwrap_err().to_string();
    assert_eq!(error, "f.csv, line 2: cannot be read: the disk is gone");
    assert!(csv.next_row().unwrap().is_none(), "and nothing more is tried");
}

#[test]
fn rows_without_end_are_refused_in_bounded_memory() {
    let quote = io::repeat(b'x').take(1 << 24);
    for endless in [
        Box::new(quote) as Box<dyn Read>,
        Box::new(io::repeat(b',').take(1 << 24)),
        Box::new((&b"\"\n"[..]).chain(io::repeat(b'\n').take(1 << 24))),
    ] {
        let input = (&b"t,k,v\n1,a,2\n"[..]).chain(endless);
        let mut csv = Csv::new("f.csv", input, &COLUMNS).unwrap();
        assert!(csv.next_row().unwrap().unwrap().is_ok());
        let error = csv.next_row().unwrap_err().to_string();
        assert!(error.starts_with("f.csv, line 3, column 1: a row of over"), "{error}");
        assert!(csv.next_row().unwrap().is_none());
        assert!(csv.records.bytes.len() <= 2 * ROW_BYTES_MAX);
        assert!(csv.records.ends.len() <= 2 * ROW_FIELDS_MAX);
    }
}

/// Writes rows with every kind of quoting and reads them back.
#[test]
fn what_is_written_is_read() {
    let mut rng = SplitMix::new(5);
    let alphabet: Vec<char> = "ab,\"\n\r é".chars().collect();
    for round in 0..200 {
        let (mut file, mut want) = (String::from("k,t,v\n"), Vec::new());
        let mut line = 2;
        for i in 0..rng.below(50) {
            let letter = |rng: &mut SplitMix| alphabet[usize::try_from(rng.below(8)).unwrap()];
            let key: String = (0..rng.below(6)).map(|_| letter(&mut rng)).collect();
            let value = f32::from_bits(u32::try_from(rng.below(0x7f80_0000)).unwrap());
            let end = if rng.below(2) == 0 { "\n" } else { "\r\n" };
            file += &format!("{},{i},{value}{end}", Quoted(&key));
            want.push(good(i, &key, value, line));
            line += 1 + key.matches('\n').count() as u64;
        }
        let got = if round % 10 == 0 {
            rows_of(Drip(file.as_bytes(), false), &COLUMNS).unwrap()
        } else {
            rows(&file)
        };
        assert_eq!(got, want, "{file:?}");
    }
}

/// No mutation of a file may panic, loop for ever, or give a row that its text does not hold.
#[test]
fn mutated_files_never_panic() {
    let mut rng = SplitMix::new(9);
    let seed =
        b"t,k,v\n1424986973.25,\"a \"\"b\"\", c\",0.5\r\n2015-02-26T21:42:53.5+02:00,x,1e3\n";
    let spice = b"\",\n\r\0\xff\xef0-.:TZ";
    let index = |rng: &mut SplitMix, n: usize| usize::try_from(rng.below(n as u64)).unwrap();
    for _ in 0..20_000 {
        let mut file = seed.to_vec();
        for _ in 0..=rng.below(8) {
            let at = index(&mut rng, file.len() + 1);
            match rng.below(4) {
                0 => file.insert(at, spice[index(&mut rng, spice.len())]),
                1 => file.truncate(at),
                2 => drop(file.splice(at.min(file.len() / 2)..file.len() / 2, [])),
                _ if at < file.len() => file[at] = spice[index(&mut rng, spice.len())],
                _ => {}
            }
        }
        let whole = rows_of(&file[..], &COLUMNS);
        let drip = rows_of(Drip(&file, false), &COLUMNS);
        assert_eq!(format!("{whole:?}"), format!("{drip:?}"), "however it is read: {file:?}");
        if let Ok(rows) = whole {
            assert!(rows.len() <= file.len());
        }
    }
}
