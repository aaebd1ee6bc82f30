//! The alerts of the quickstart: the faults that it makes are found, and what it says of that is true.

#[path = "../../examples/quickstart/faults.rs"]
mod faults;

/// What `faults` takes of the program.
mod made {
    pub(crate) const PRODUCERS: u64 = 2;
    pub(crate) const SENSORS: u64 = 1_000;
}

use crate::program::{Temporary, run};
use faults::{FAULTS, Fault, Judge, Kind};
use std::collections::BTreeSet;

/// An alert as it was printed.
#[derive(Debug, PartialEq)]
struct Alert {
    sensor: String,
    /// What was read and expected, where the band begins and ends, and the surprise.
    numbers: [f64; 5],
    /// What was at fault.
    truth: String,
}

/// `alert    TIME  sensor N reads A, expected B (C to D), surprise E: TRUTH`
fn alert(line: &str) -> Alert {
    let (event, truth) = line.rsplit_once(": ").unwrap();
    let (who, reasons) = event.split_once(" reads ").unwrap();
    let words = reasons.split(|c: char| c == ' ' || "(),".contains(c));
    let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    let sensor = who.rsplit(' ').next().unwrap().to_owned();
    Alert { sensor, numbers: numbers.try_into().expect(line), truth: truth.to_owned() }
}

/// The lines of alerts in what was printed.
fn lines(said: &str) -> BTreeSet<&str> {
    said.lines().filter(|line| line.starts_with("alert ")).collect()
}

#[test]
fn alerts_depend_on_nothing_but_the_stream() {
    let short = ["--seconds", "1.1", "--device", "cpu", "--format"];
    let [text, csv] =
        ["text", "csv"].map(|format| run("quickstart", &[&short[..], &[format]].concat()));
    assert_eq!((text.code, csv.code), (Some(0), Some(0)), "{}{}", text.err, csv.err);
    assert_eq!(lines(&text.out), lines(&csv.err));
    let missed = text.out.lines().filter(|line| line.starts_with("missed "));
    let missed: Vec<_> = missed.map(|line| line.split_whitespace().nth(1)).collect();
    assert!(missed.iter().all(|kind| *kind == Some("drift")), "short drifts at most: {}", text.out);
    let want = format!("faults   {} of 8 found", 8 - missed.len());
    assert!(text.out.contains(&want), "{want}: {}", text.out);
}

#[test]
fn faults_are_found_and_counted() {
    let text = run("quickstart", &["--device", "cpu"]);
    assert_eq!(text.code, Some(0), "{}", text.err);
    let alerts: Vec<Alert> = lines(&text.out).into_iter().map(alert).collect();
    let (wrong, right): (Vec<_>, Vec<_>) =
        alerts.iter().partition(|alert| alert.truth == "a false alarm");
    let found: BTreeSet<_> = right.iter().map(|alert| (&alert.sensor, &alert.truth)).collect();
    assert_eq!(found.len(), 8, "{}", text.out);
    for kind in ["spike", "jump", "drift", "stuck"] {
        assert_eq!(found.iter().filter(|(_, truth)| *truth == kind).count(), 2, "{kind}");
    }
    // Of normal noise six in ten million lie five deviations off: 3 of these readings.
    assert!(wrong.len() <= 10, "{}", text.out);
    for Alert { numbers: [value, expected, low, high, surprise], truth, .. } in &alerts {
        assert!((value - expected).abs() > 4.99 && *surprise > 3.99, "{text:?}");
        assert!(
            low < expected && expected < high && !(*low..=*high).contains(&value.min(*high + 1.0))
        );
        assert!(truth != "stuck" || *value == 0.0);
    }
    let want = format!("faults   8 of 8 found, false alarms: {}; the rate alone", wrong.len());
    assert!(text.out.contains(&want), "{want}: {}", text.out);
    let want = format!("alerts   {} of 5,000,000 scored;", alerts.len());
    assert!(text.out.contains(&want), "{want}: {}", text.out);
}

#[test]
fn alerts_of_a_file_name_its_keys() {
    let row = |i: u64| {
        let value = if i == 5000 { 30 } else { 10 + i * 2_654_435_761 % 1000 % 3 };
        format!("{i},{},{value}\n", if i.is_multiple_of(2) { "boiler" } else { "pump" })
    };
    let text: String = (0..6000).map(row).collect();
    let file = Temporary::new("alerts", format!("at,k,v\n{text}").as_bytes());
    let args =
        ["--csv", file.arg(), "--time", "at", "--value", "v", "--key", "k", "--device", "cpu"];
    let ran = run("quickstart", &args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().filter(|line| line.starts_with("alert")).collect();
    assert_eq!(lines.len(), 2, "one alert and how many there were: {lines:?}");
    assert!(lines[0].contains("01:23:20Z  boiler reads 30.00, expected 1"), "{lines:?}");
    assert!(lines[1].starts_with("alerts   1 of 6,000 scored;"), "{lines:?}");
    assert!(!ran.out.contains("faults "), "nobody made any");
}

/// The judge itself: neither an alert before a fault nor one beside it finds anything.
#[test]
fn alerts_are_judged_by_what_was_made() {
    let faults = Fault::plan(1000, |reading| reading * 10);
    let sensors: BTreeSet<_> = faults.iter().map(|fault| fault.sensor).collect();
    assert_eq!(sensors.len(), FAULTS, "one each");
    let mut judge = Judge::new(faults);
    for fault in faults {
        assert!(fault.from == fault.reading * 10 && (500..=900).contains(&fault.reading));
        assert!(fault.is_of(fault.sensor % 2) && !fault.is_of((fault.sensor + 1) % 2));
        assert_eq!(judge.alert(fault.sensor, fault.from - 1), None);
    }
    assert_eq!(judge.alert(0, u64::MAX), None, "no fault of sensor 0");
    assert_eq!((judge.missed().len(), judge.false_alarms), (FAULTS, 9));
    for fault in faults {
        let later = judge.alert(fault.sensor, fault.from + 1);
        assert_eq!(later, (fault.kind != Kind::Spike).then_some(fault.kind));
    }
    let missed = judge.missed();
    assert!(missed.len() == 2 && missed.iter().all(|fault| fault.kind == Kind::Spike));
    for fault in faults {
        assert_eq!(judge.alert(fault.sensor, fault.from), Some(fault.kind));
        let read = [0.0, 0.5].map(|slides| fault.reads(20.0, slides));
        let want = match fault.kind {
            Kind::Spike => [30.0, 30.0],
            Kind::Jump => [28.0, 28.0],
            Kind::Drift => [20.0, 80.0],
            Kind::Stuck => [0.0, 0.0],
        };
        assert!(read.iter().zip(want).all(|(read, want)| read.to_bits() == f64::to_bits(want)));
    }
    assert!(judge.missed().is_empty());
    assert_eq!(judge.false_alarms, 11, "two spikes were over");
}
