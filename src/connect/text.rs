//! Times and durations as people and files write them, read and printed exactly.
//!
//! Nothing here passes through a float: a tenth of a second is a hundred million nanoseconds, in both
//! directions, over all of `u64`.

use crate::base::error::{Error, Result};
use crate::base::time::Ticks;
use std::fmt;

const SECOND: u64 = 1_000_000_000;

/// Units of a duration with their nanoseconds, as [`duration`] reads them.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("min", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
    ("w", 7 * 86_400 * SECOND),
];

/// The nanoseconds of a duration such as `1h`, `30d`, `1.5s`, `500ms` or `10us`; a bare `0` is no time.
///
/// ```
/// use pelton::connect::text::duration;
/// assert_eq!(duration("1.5s").unwrap(), 1_500_000_000);
/// assert!(duration("1.5").unwrap_err().to_string().contains("unit"));
/// ```
///
/// # Errors
/// `Invalid` when there is no number or no known unit, when the duration is not a whole number of
/// nanoseconds, and when it does not fit 64 bits of them (about 584 years).
pub fn duration(text: &str) -> Result<u64> {
    let invalid = |what: &str| Error::invalid(format!("duration {text:?}: {what}"));
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    if number == "0" && unit.is_empty() {
        return Ok(0);
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(invalid("write a number and a unit, such as 1h, 1.5s or 500ms"));
    }
    let Some(&(_, ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(invalid("its unit must be one of ns, us, ms, s, m, h, d, w, as in 500ms"));
    };
    let long = || invalid("at most about 584 years fit");
    let total = digits(whole).and_then(|n| n.checked_mul(ns)).ok_or_else(long)?;
    // A fraction that is whole in nanoseconds has at most 17 digits, even in weeks.
    let fraction = fraction.trim_end_matches('0');
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX).min(18));
    let scaled = u128::from(ns) * u128::from(digits(fraction).unwrap_or(0));
    if fraction.len() > 17 || !scaled.is_multiple_of(scale) {
        return Err(invalid("not a whole number of nanoseconds"));
    }
    let rest = u64::try_from(scaled / scale).unwrap_or(u64::MAX);
    total.checked_add(rest).ok_or_else(long)
}

/// The number that a run of ASCII digits writes; `None` when it overflows, is empty or is no such run.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |n, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// What is wrong with a time, in words that fit after "a time that".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadTime {
    /// There is nothing.
    Empty,
    /// Neither decimal seconds nor a date.
    Unreadable,
    /// A date, an hour or an offset that no calendar or clock has.
    Impossible,
    /// Before 1970-01-01T00:00:00Z.
    Negative,
    /// After 2554-07-21T23:34:33.709551615Z, where 64 bits of nanoseconds end.
    Late,
}

impl fmt::Display for BadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Unreadable => "is neither epoch seconds nor ISO 8601",
            Self::Impossible => "names a date, an hour or an offset that does not exist",
            Self::Negative => "lies before 1970",
            Self::Late => "lies after July 2554, where 64 bits of nanoseconds end",
        })
    }
}

/// Nanoseconds since 1970 of a time in a file.
///
/// Either decimal epoch seconds (`1424986973`, `1424986973.25`) or ISO 8601: a date, alone or with a time
/// after a `T` or a space, with or without seconds, their fraction, and `Z` or an offset such as `+02:00`.
/// Without an offset it is UTC. Digits after the ninth of a fraction are cut off.
///
/// ```
/// use pelton::connect::text::time;
/// assert_eq!(time("1424986973.25"), time("2015-02-26 21:42:53.25"));
/// ```
///
/// # Errors
/// [`BadTime`] says why the text is no such time.
pub fn time(text: &str) -> std::result::Result<Ticks, BadTime> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(BadTime::Empty);
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let ns = seconds(unsigned)?;
        // Minus zero is zero; everything else below it has no tick.
        return if unsigned.len() < text.len() && ns > 0 { Err(BadTime::Negative) } else { Ok(ns) };
    }
    iso8601(text)
}

/// Decimal seconds without a sign.
fn seconds(text: &str) -> std::result::Result<u64, BadTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(BadTime::Unreadable);
    }
    let whole = digits(whole).and_then(|n| n.checked_mul(SECOND));
    whole.and_then(|ns| ns.checked_add(nanos(fraction))).ok_or(BadTime::Late)
}

/// The nanoseconds of the digits after a decimal point; those after the ninth are cut off.
fn nanos(fraction: &str) -> u64 {
    let mut ns = 0;
    let mut place = SECOND / 10;
    for digit in fraction.bytes() {
        ns += u64::from(digit - b'0') * place;
        place /= 10;
    }
    ns
}

/// A cursor over the text of a date and time.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    /// Takes exactly `n` digits.
    fn number(&mut self, n: usize) -> std::result::Result<u64, BadTime> {
        let head = self.0.get(..n).ok_or(BadTime::Unreadable)?;
        let number = digits(head).ok_or(BadTime::Unreadable)?;
        self.0 = &self.0[n..];
        Ok(number)
    }

    /// Takes one of `chars` when it comes next.
    fn take(&mut self, chars: &[char]) -> Option<char> {
        let next = self.0.chars().next().filter(|c| chars.contains(c))?;
        self.0 = &self.0[next.len_utf8()..];
        Some(next)
    }

    /// Takes one of `chars`, or the text is not a time.
    fn expect(&mut self, chars: &[char]) -> std::result::Result<(), BadTime> {
        self.take(chars).map(|_| ()).ok_or(BadTime::Unreadable)
    }

    /// Takes as many digits as there are, at least one, as a fraction of a second.
    fn fraction(&mut self) -> std::result::Result<u64, BadTime> {
        let end = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(end);
        if digits.is_empty() {
            return Err(BadTime::Unreadable);
        }
        self.0 = rest;
        Ok(nanos(digits))
    }

    /// `HH:MM`, checked.
    fn clock(&mut self) -> std::result::Result<(u64, u64), BadTime> {
        let hour = self.number(2)?;
        self.expect(&[':'])?;
        let minute = self.number(2)?;
        if hour > 23 || minute > 59 { Err(BadTime::Impossible) } else { Ok((hour, minute)) }
    }

    /// Seconds east of Greenwich: nothing, `Z`, `+HH:MM`, `+HHMM` or `+HH`, and so for `-`.
    fn offset(&mut self) -> std::result::Result<i64, BadTime> {
        if self.0.is_empty() || self.take(&['Z', 'z']).is_some() {
            return Ok(0);
        }
        let sign = self.take(&['+', '-']).ok_or(BadTime::Unreadable)?;
        let hours = self.number(2)?;
        let colon = self.take(&[':']).is_some();
        let minutes = if colon || !self.0.is_empty() { self.number(2)? } else { 0 };
        if hours > 23 || minutes > 59 {
            return Err(BadTime::Impossible);
        }
        let east = (hours * 3600 + minutes * 60).cast_signed();
        Ok(if sign == '-' { -east } else { east })
    }
}

/// A date and time as ISO 8601 writes them.
fn iso8601(text: &str) -> std::result::Result<Ticks, BadTime> {
    let mut cursor = Cursor(text);
    let year = cursor.number(4)?;
    cursor.expect(&['-'])?;
    let month = cursor.number(2)?;
    cursor.expect(&['-'])?;
    let day = cursor.number(2)?;
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return Err(BadTime::Impossible);
    }
    let (mut hour, mut minute, mut second, mut ns, mut east) = (0, 0, 0, 0, 0);
    if !cursor.0.is_empty() {
        cursor.expect(&['T', 't', ' '])?;
        (hour, minute) = cursor.clock()?;
        if cursor.take(&[':']).is_some() {
            second = cursor.number(2)?;
            if second > 59 {
                return Err(BadTime::Impossible);
            }
            if cursor.take(&['.']).is_some() {
                ns = cursor.fraction()?;
            }
        }
        east = cursor.offset()?;
        if !cursor.0.is_empty() {
            return Err(BadTime::Unreadable);
        }
    }
    let clock = (hour * 3600 + minute * 60 + second).cast_signed();
    let utc = days_since_1970(year, month, day) * 86_400 + clock - east;
    let utc = u64::try_from(utc).map_err(|_| BadTime::Negative)?;
    utc.checked_mul(SECOND).and_then(|t| t.checked_add(ns)).ok_or(BadTime::Late)
}

/// Whether the Gregorian year has a 29th of February.
const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days in a month of 1 to 12.
const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date that exists; negative before it.
fn days_since_1970(year: u64, month: u64, day: u64) -> i64 {
    // Days before the year, counted from year 0, which is a leap year.
    let before =
        |y: u64| if y == 0 { 0 } else { y * 365 + 1 + (y - 1) / 4 - (y - 1) / 100 + (y - 1) / 400 };
    let months: u64 = (1..month).map(|m| days_of(year, m)).sum();
    (before(year) + months + day - 1).cast_signed() - before(1970).cast_signed()
}

/// Prints nanoseconds since 1970 as epoch seconds: the shortest decimal that is exact.
///
/// ```
/// use pelton::connect::text::Epoch;
/// assert_eq!(Epoch(1_424_986_973_250_000_000).to_string(), "1424986973.25");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub Ticks);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut ns) = (self.0 / SECOND, self.0 % SECOND);
        if ns == 0 {
            return write!(f, "{whole}");
        }
        let mut width = 9;
        while ns.is_multiple_of(10) {
            ns /= 10;
            width -= 1;
        }
        write!(f, "{whole}.{ns:0width$}")
    }
}

/// Prints nanoseconds since 1970 as ISO 8601 in UTC, with the fraction of a second where there is one.
///
/// ```
/// use pelton::connect::text::Iso;
/// assert_eq!(Iso(1_424_986_973_250_000_000).to_string(), "2015-02-26T21:42:53.25Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iso(pub Ticks);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / SECOND;
        // Years that begin in March put the odd day last, and 400 of them always have as many days.
        let days = seconds / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let march = (5 * day + 2) / 153;
        let day = day - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
        // The fraction as `Epoch` prints it, behind the seconds of the minute.
        let second = Epoch(self.0 % (60 * SECOND)).to_string();
        let pad = if seconds % 60 < 10 { "0" } else { "" };
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{pad}{second}Z")
    }
}

#[cfg(test)]
mod tests;
