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

#[cfg(test)]
mod tests {
    use super::{BadTime, Epoch, SECOND, duration, time};
    use crate::base::rng::SplitMix;

    #[test]
    fn durations_are_exact() {
        let hour = 3_600 * SECOND;
        for (text, ns) in [
            ("0s", 0),
            ("0", 0),
            ("1ns", 1),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("500ms", SECOND / 2),
            ("1.5s", 1_500_000_000),
            ("0.000000001s", 1),
            ("1.500000000000000000000s", 1_500_000_000),
            ("0.00000000005m", 3),
            ("90min", 90 * 60 * SECOND),
            ("1h", hour),
            ("30d", 720 * hour),
            ("2w", 14 * 24 * hour),
            ("18446744073709551615ns", u64::MAX),
            ("18446744073.709551615s", u64::MAX),
        ] {
            assert_eq!(duration(text).unwrap(), ns, "{text}");
        }
    }

    #[test]
    fn bad_durations_say_what_to_write() {
        for (text, what) in [
            ("", "write a number and a unit"),
            ("h", "write a number"),
            ("1.s", "write a number"),
            ("1.2.3s", "write a number"),
            ("-1s", "write a number"),
            ("5", "unit"),
            ("1 h", "unit"),
            ("1hour", "unit"),
            ("1H", "unit"),
            ("0.5ns", "whole number of nanoseconds"),
            ("0.0000000001s", "whole number of nanoseconds"),
            ("0.000000000000000000000001w", "whole number of nanoseconds"),
            ("18446744073709551616ns", "584 years"),
            ("18446744073.709551616s", "584 years"),
            ("99999999999999999999d", "584 years"),
        ] {
            let error = duration(text).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn epoch_seconds_keep_nine_digits() {
        for (text, ns) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            (" 1424986973 ", 1_424_986_973_000_000_000),
            ("1424986973.25", 1_424_986_973_250_000_000),
            ("1.123456789", 1_123_456_789),
            ("1.1234567899999", 1_123_456_789),
            ("0.0000000009", 0),
            ("18446744073.709551615", u64::MAX),
            ("18446744073.7095516159", u64::MAX),
        ] {
            assert_eq!(time(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn iso_dates_are_utc_unless_they_say_otherwise() {
        let base = 1_424_986_973;
        for (text, seconds) in [
            ("2015-02-26 21:42:53", base),
            ("2015-02-26T21:42:53Z", base),
            ("2015-02-26t21:42:53z", base),
            ("2015-02-26T21:42:53+00:00", base),
            ("2015-02-26T21:42:53-00:00", base),
            ("2015-02-26T23:42:53+02:00", base),
            ("2015-02-26T23:42:53+02", base),
            ("2015-02-27T03:12:53+0530", base),
            ("2015-02-26T13:42:53-08:00", base),
            ("2015-02-26T21:42", base - 53),
            ("2015-02-26", base - 53 - 21 * 3600 - 42 * 60),
            ("1970-01-01", 0),
            ("1969-12-31T23:30:00-01:00", 1800),
            ("1972-02-29", 68_169_600),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2100-03-01", 4_107_542_400),
            ("2400-02-29", 13_574_563_200),
        ] {
            assert_eq!(time(text), Ok(seconds * SECOND), "{text}");
        }
        assert_eq!(time("2015-02-26T21:42:53.123Z"), Ok(base * SECOND + 123_000_000));
        assert_eq!(time("2015-02-26T21:42:53.1234567891+00:00"), Ok(base * SECOND + 123_456_789));
        assert_eq!(time("2554-07-21T23:34:33.709551615Z"), Ok(u64::MAX));
    }

    #[test]
    fn bad_times_say_why() {
        use BadTime::{Empty, Impossible, Late, Negative, Unreadable};
        for (text, why) in [
            ("", Empty),
            ("  ", Empty),
            ("-1", Negative),
            ("-0.000000001", Negative),
            ("1969-12-31T23:59:59Z", Negative),
            ("1970-01-01T00:30+01:00", Negative),
            ("18446744073.709551616", Late),
            ("99999999999999999999999", Late),
            ("2554-07-21T23:34:33.709551616Z", Late),
            ("9999-12-31", Late),
            ("2015-02-29", Impossible),
            ("1900-02-29", Impossible),
            ("2015-13-01", Impossible),
            ("2015-00-01", Impossible),
            ("2015-01-00", Impossible),
            ("2015-04-31", Impossible),
            ("2015-01-01T24:00:00", Impossible),
            ("2015-01-01T23:60:00", Impossible),
            ("2015-01-01T23:59:60", Impossible),
            ("2015-01-01T00:00:00+24:00", Impossible),
            ("noon", Unreadable),
            ("1e9", Unreadable),
            ("+5", Unreadable),
            ("--5", Unreadable),
            ("1.", Unreadable),
            (".5", Unreadable),
            ("1.2.3", Unreadable),
            ("2015-1-1", Unreadable),
            ("2015-01-01X00:00", Unreadable),
            ("2015-01-01T00:00:00.Z", Unreadable),
            ("2015-01-01T00:00:00Z!", Unreadable),
            ("2015-01-01T00:00:00+1", Unreadable),
            ("2015-01-01T00:00:00é", Unreadable),
            ("２０１５-01-01", Unreadable),
        ] {
            assert_eq!(time(text), Err(why), "{text}");
        }
    }

    #[test]
    fn epoch_prints_the_shortest_exact_decimal() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_424_986_973 * SECOND, "1424986973"),
            (1_424_986_973_250_000_000, "1424986973.25"),
            (10_000_000, "0.01"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(Epoch(ns).to_string(), text);
        }
    }

    #[test]
    fn printed_times_read_back() {
        let mut rng = SplitMix::new(11);
        for shift in (0..60).cycle().take(10_000) {
            let ns = rng.next_u64() >> shift;
            assert_eq!(time(&Epoch(ns).to_string()), Ok(ns));
        }
    }

    #[test]
    fn random_text_never_panics() {
        let alphabet: Vec<char> = "0123456789.-+:TZ eshdnµ,\u{0}é".chars().collect();
        let mut rng = SplitMix::new(3);
        for _ in 0..50_000 {
            let len = rng.below(24);
            let pick = |rng: &mut SplitMix| {
                alphabet[usize::try_from(rng.below(30)).unwrap() % alphabet.len()]
            };
            let text: String = (0..len).map(|_| pick(&mut rng)).collect();
            let _ = (time(&text), duration(&text));
        }
    }
}
