//! The example `fraud` from end to end: what it finds, that it finds the same each time, and how it refuses.

use crate::program::run;

const SMALL: [&str; 10] = [
    "--device",
    "cpu",
    "--accounts",
    "300",
    "--terminals",
    "60",
    "--days",
    "70",
    "--alerts",
    "1000",
];

/// Cases, those found, and the rest of a pattern's line.
fn pattern(out: &str, name: &str) -> (f64, f64) {
    let line = out.lines().find(|line| line.starts_with(name)).expect("each pattern has a line");
    let mut numbers = line.split_whitespace().skip(1).map(|word| word.parse().expect("a number"));
    (numbers.next().expect("cases"), numbers.next().expect("found"))
}

#[test]
fn fraud_is_found_with_reasons() {
    let ran = run("fraud", &SMALL);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("payments a second"), "{}", ran.err);
    let (cases, found) = pattern(&ran.out, "testing");
    assert!(cases >= 8.0 && found >= 0.8 * cases, "{}", ran.out);
    let (takeovers, _) = pattern(&ran.out, "takeover");
    let (crowds, of_them) = pattern(&ran.out, "cash-out");
    assert!(takeovers > 0.0 && crowds > 0.0 && of_them >= 0.5 * crowds, "{}", ran.out);
    let reasons: Vec<&str> = ran.out.lines().filter(|line| line.ends_with(']')).collect();
    let right = reasons.iter().filter(|line| !line.ends_with("[honest]")).count();
    assert!(right as f64 >= found && 3 * right >= reasons.len(), "{}", ran.out);
    for word in ["times in half an hour; usual is", "payments in three hours; usual is"] {
        assert!(reasons.iter().any(|line| line.contains(word)), "{}", ran.out);
    }
    assert_eq!(run("fraud", &SMALL).out, ran.out, "the same each time");
}

#[test]
fn mistakes_are_named() {
    for (args, want) in [
        (["--days", "3"], "--days: 42 to 3650"),
        (["--accounts", "many"], "--accounts: 10 to 1000000"),
        (["--device", "warp"], "no such device"),
    ] {
        let ran = run("fraud", &args);
        assert!(ran.code == Some(2) && ran.err.contains(want), "{}", ran.err);
    }
}
