//! Reads files of others as the quickstart's tests need them.

use super::naive::Event;

/// A reading of the form `2014-07-01 00:00:00,10844`, of no key.
pub(crate) fn exact(line: &str) -> Event {
    let (time, value) = line.split_once(',').expect("two fields");
    let number = |from: usize, to: usize| time[from..to].parse::<u64>().expect("digits");
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
    let mut days: u64 = (1970..year).map(|y| 365 + u64::from(leap(y))).sum();
    let february = 28 + u64::from(leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months.iter().take(usize::try_from(month).unwrap() - 1).sum::<u64>() + day - 1;
    let at = ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * 60 + number(17, 19);
    Event { at, key: "0".into(), value: value.trim().parse().expect("a number") }
}
