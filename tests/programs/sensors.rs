//! The sensors example from end to end, on this very machine.

use crate::program;
use std::process::{Command, Stdio};

#[test]
fn counters_come_back_in_windows() {
    let command = Command::new(program::example("sensors"))
        .args(["--seconds", "1.3", "--hz", "50", "--device", "cpu"])
        .stdin(Stdio::null())
        .output();
    let ran = command.expect("the example starts");
    let out = String::from_utf8(ran.stdout).expect("it prints UTF-8");
    assert!(ran.status.success(), "{out}");
    // Four windows a second begin, and those still open at the end come as well.
    let windows = out.lines().filter(|line| line.contains(" s to ")).count();
    assert!(windows >= 6, "{out}");
    let late: Vec<&str> =
        out.lines().filter(|line| line.starts_with("self wake late us")).collect();
    assert_eq!(late.len(), windows, "{out}");
    for line in late {
        let numbers: Vec<f64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [min, mean, max, last] = numbers[..] else { panic!("{line}") };
        assert!(min <= mean && mean <= max && (min..=max).contains(&last), "{line}");
    }
    if cfg!(target_os = "linux") {
        assert!(
            ["cpu0 busy %", "MemAvailable MiB", "load"].iter().all(|name| out.contains(name)),
            "{out}"
        );
    }
    assert!(out.contains("latency result n="), "{out}");
    // Each reading was scored, and nothing alerts before its counter is known.
    let sum = out.lines().find(|line| line.contains(" scored, ")).expect("a sum");
    let numbers: Vec<&str> = sum.split(' ').filter(|word| word.parse::<f64>().is_ok()).collect();
    let [readings, _, scored, alerts] = numbers[..] else { panic!("{sum}") };
    assert!(readings == scored && readings.parse::<u32>().is_ok_and(|n| n > 300), "{sum}");
    assert_eq!(alerts, "0", "{out}");
}

#[test]
fn mistakes_are_named() {
    for (args, want) in [
        (["--hz", "0"], "--hz: 1 to 1000"),
        (["--rate", "0.5"], "rate: 0.5; accepted are"),
        (["--device", "warp"], "no such device"),
    ] {
        let ran = Command::new(program::example("sensors")).args(args).output().expect("it starts");
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && err.contains(want), "{err}");
    }
}
