//! Times and durations as text, against tables and against each other.

use super::{BadTime, Epoch, Iso, SECOND, duration, time};
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
        let pick =
            |rng: &mut SplitMix| alphabet[usize::try_from(rng.below(30)).unwrap() % alphabet.len()];
        let text: String = (0..len).map(|_| pick(&mut rng)).collect();
        let _ = (time(&text), duration(&text));
    }
}

#[test]
fn dates_are_printed_as_they_are_read() {
    for text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2100-03-01T12:00:09.000000001Z"] {
        assert_eq!(Iso(time(text).unwrap()).to_string(), text);
    }
    let mut rng = SplitMix::new(8);
    for ticks in (0..20_000).map(|_| rng.next_u64()).chain([0, u64::MAX]) {
        assert_eq!(time(&Iso(ticks).to_string()), Ok(ticks));
    }
}
