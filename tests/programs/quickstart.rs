//! The quickstart from end to end: the program as built, on files, judged by its output to the byte.

#[path = "../quickstart/files.rs"]
mod files;

use crate::naive::{self, Event, Query, parse};
use crate::program::{Ran, Temporary, example, run, skip};
use files::exact;
use pelton::base::rng::SplitMix;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const HEADER: &str = "key,start,end,count,sum,min,max,mean\n";

/// Runs the quickstart over a file with columns `at`, `k` and `v`, on the processor, with rows as CSV.
fn over(file: &Temporary, more: &str) -> Ran {
    let said = ["--csv", file.arg(), "--time", "at", "--value", "v", "--device", "cpu"];
    let more: Vec<&str> = more.split_whitespace().collect();
    run("quickstart", &[&said[..], &["--format", "csv"], &more].concat())
}

/// As [`over`], where all must go well; the rows.
fn rows(name: &str, text: &str, more: &str) -> String {
    let ran = over(&Temporary::new(name, text.as_bytes()), more);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out.strip_prefix(HEADER).unwrap_or_else(|| panic!("no header: {ran:?}")).to_owned()
}

#[test]
fn rows_come_by_window_then_key() {
    let text = "at,k,v\n0,b,1\n59.999999999,a,2.5\n60,b,4\n10,b,3\n";
    let want = "a,0,60,1,2.5,2.5,2.5,2.5\nb,0,60,2,4,1,3,2\nb,60,120,1,4,4,4,4\n";
    assert_eq!(rows("order", text, "--key k --size 1m --disorder 1m"), want);
}

#[test]
fn without_a_key_all_rows_are_one_group() {
    let text = "at,v\n1,0.1\n2,0.2\n";
    let sum = f64::from(0.1f32) + f64::from(0.2f32);
    let (min, max) = (f64::from(0.1f32), f64::from(0.2f32));
    let want = format!("0,0,3600,2,{sum},{min},{max},{}\n", sum / 2.0);
    assert_eq!(rows("keyless", text, ""), want);
}

#[test]
fn sums_are_exact() {
    let text = "at,v\n1,1e30\n2,1\n3,-1e30\n4,1e-30\n5,0.5\n";
    let got = rows("exact", text, "");
    let fields: Vec<&str> = got.trim_end().split(',').collect();
    assert_eq!(fields[4], "1.5", "{got}");
}

#[test]
fn keys_are_printed_as_the_file_has_them() {
    let text = "at,k,v\n1,\"a, b\",1\n1,\"say \"\"x\"\"\",2\n1,\"two\nlines\",3\n1, spaced ,4\n\
                1,007,5\n1,,6\n1,é,7\n";
    let got = rows("keys", text, "--key k --size 1s");
    let want = ",1,2,1,6,6,6,6\n spaced ,1,2,1,4,4,4,4\n007,1,2,1,5,5,5,5\n\"a, b\",1,2,1,1,1,1,1\n\
                \"say \"\"x\"\"\",1,2,1,2,2,2,2\n\"two\nlines\",1,2,1,3,3,3,3\né,1,2,1,7,7,7,7\n";
    assert_eq!(got, want);
}

#[test]
fn times_are_epoch_seconds_or_iso_8601() {
    let text = "at,v\n2015-02-26 21:42:53,1\n1424986973.25,2\n2015-02-26T22:42:53.5+01:00,4\n\
                2015-02-26T21:42:54Z,8\n";
    let want = "0,1424986973,1424986973.5,2,3,1,2,1.5\n0,1424986973.5,1424986974,1,4,4,4,4\n\
                0,1424986974,1424986974.5,1,8,8,8,8\n";
    assert_eq!(rows("times", text, "--size 500ms"), want);
}

#[test]
fn late_rows_fire_again_within_the_lateness_and_are_counted_beyond() {
    let file = Temporary::new("late", b"at,v\n5,1\n12,2\n6,4\n25,8\n7,16\n");
    let ran = over(&file, "--size 10s --lateness 10s");
    let last = |start: &str| {
        let at = |line: &&str| line.starts_with(&format!("0,{start},"));
        ran.out.lines().rfind(at).map(str::to_owned)
    };
    assert_eq!(
        last("0").as_deref(),
        Some("0,0,10,2,5,1,4,2.5"),
        "6 came in time, 7 did not: {ran:?}"
    );
    assert_eq!(last("20").as_deref(), Some("0,20,30,1,8,8,8,8"));
    assert!(ran.err.contains("1 late"), "{}", ran.err);
    assert!(ran.err.contains("--lateness"), "it says what would help: {}", ran.err);
}

#[test]
fn rows_beyond_the_horizon_move_nothing() {
    let file = Temporary::new("beyond", b"at,v\n5,1\n99999,2\n6,4\n");
    let ran = over(&file, "--size 10s --horizon 1h");
    assert_eq!(ran.out, format!("{HEADER}0,0,10,2,5,1,4,2.5\n"));
    assert!(ran.err.contains("1 beyond the horizon"), "{}", ran.err);
}

#[test]
fn hopping_windows_overlap() {
    let want = "0,0,10,1,1,1,1,1\n0,0,20,2,3,1,2,1.5\n0,0,30,2,3,1,2,1.5\n0,10,40,1,2,2,2,2\n";
    assert_eq!(rows("hop", "at,v\n5,1\n15,2\n", "--size 30s --slide 10s"), want);
}

#[test]
fn bad_rows_are_left_out_and_named() {
    let text = b"at,k,v\n1,a,1\nyesterday,a,2\n2,a,x\n3,a\n4,a,4,4\n5,b,8\n6,\"b,9\n";
    let file = Temporary::new("bad", text);
    let ran = over(&file, "--key k --size 1m");
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.out, format!("{HEADER}a,0,60,1,1,1,1,1\nb,0,60,1,8,8,8,8\n"));
    for want in [
        "line 3, column 1 (at): bad time: \"yesterday\"",
        "line 4, column 3 (v): bad number: \"x\"",
        "line 5, column 3: ragged row: 2 fields where the header has 3",
        "line 6, column 4: ragged row: 4 fields",
        "a quote is opened and never closed",
        "5 of 7 rows are bad",
    ] {
        assert!(ran.err.contains(want), "{want}: {}", ran.err);
    }
    assert!(ran.err.contains(file.path().to_str().unwrap()));
}

#[test]
fn strict_ends_at_the_first_bad_row() {
    let file = Temporary::new("strict", b"at,v\n1,1\n2,x\n3,y\n");
    let ran = over(&file, "--strict");
    assert_eq!(ran.code, Some(65), "{}", ran.err);
    assert!(ran.err.contains("line 3, column 2 (v): bad number: \"x\""), "{}", ran.err);
    assert!(!ran.err.contains("line 4"), "{}", ran.err);
    assert_eq!(over(&Temporary::new("strict-fine", b"at,v\n1,1\n"), "--strict").code, Some(0));
}

#[test]
fn files_without_the_columns_are_refused() {
    for (name, text, want) in [
        (
            "missing",
            "time,v\n1,1\n",
            "line 1, column 3: missing column \"at\"; pick one of those the file has: \"time\", \"v\"",
        ),
        ("empty", "", "line 1, column 1: the file is empty; its first row must name the columns"),
        ("twice", "at,v,v\n1,1,1\n", "a second column is called \"v\""),
    ] {
        let ran = over(&Temporary::new(name, text.as_bytes()), "");
        assert_eq!((ran.code, ran.out.as_str()), (Some(65), ""), "{name}: {}", ran.err);
        assert!(ran.err.contains(want), "{name}: {}", ran.err);
    }
    assert_eq!(rows("header-only", "at,v\n", ""), "");
}

#[test]
fn what_is_not_there_is_said() {
    let file = Temporary::new("there", b"at,v\n1,1\n");
    for (device, want) in [("warp", "no such device"), ("wgpu:no such adapter", "cpu, null")] {
        let args = ["--csv", file.arg(), "--time", "at", "--value", "v", "--device", device];
        let ran = run("quickstart", &args);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{}", ran.err);
        assert!(ran.err.contains(want) && ran.err.contains("devices here: "), "{}", ran.err);
    }
    let ran = run("quickstart", &["--csv", "no/such/file", "--time", "at", "--value", "v"]);
    assert_eq!(ran.code, Some(66), "{}", ran.err);
    assert!(ran.err.contains("no/such/file"), "{}", ran.err);
    let ran = run("quickstart", &["--csv", file.arg()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--csv needs --time COL"), "{}", ran.err);
    let ran = run("quickstart", &["--help"]);
    assert!(ran.code == Some(0) && ran.out.contains("--slide TIME"));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let rows: String = (0..20_000).map(|i| format!("{i},1\n")).collect();
    let file = Temporary::new("pipe", format!("at,v\n{rows}").as_bytes());
    let mut child = Command::new(example("quickstart"))
        .args(["--csv", file.arg(), "--time", "at", "--value", "v", "--size", "1s"])
        .args(["--format", "csv", "--device", "cpu"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, HEADER);
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && !err.contains("panicked"), "{err}");
}

#[test]
fn events_are_made_and_windows_printed() {
    let ran = run("quickstart", &["--seconds", "1.1", "--device", "cpu"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let windows = ran.out.lines().filter(|line| line.starts_with("2026-01-01T0")).count();
    assert!(windows >= 4, "four a second: {}", ran.out);
    for want in ["device   cpu", "no cuda  ", "sensors", "rate     ", "1,100,000: "] {
        assert!(ran.out.contains(want), "{want}: {}", ran.out);
    }
    for stage in ["ring", "device", "event", "result"] {
        let line = ran.out.lines().find(|line| line.starts_with(&format!("latency {stage} n=")));
        let line = line.unwrap_or_else(|| panic!("{stage}: {}", ran.out));
        assert!([" p50=", " p99=", " p999=", " max="].iter().all(|q| line.contains(q)), "{line}");
    }
    let none = run("quickstart", &["--seconds", "0.1", "--device", "null", "--format", "csv"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), HEADER), "it computes nothing");
}

/// A thousand rows in a file, in disorder, some of them late for good.
#[test]
fn disorder_is_as_a_naive_reading_has_it() {
    for (seed, query) in [
        (1, Query { size: 60, slide: 60, disorder: 0, lateness: 0 }),
        (2, Query { size: 60, slide: 60, disorder: 40, lateness: 0 }),
        (3, Query { size: 60, slide: 20, disorder: 10, lateness: 40 }),
        (4, Query { size: 120, slide: 30, disorder: 20, lateness: 0 }),
    ] {
        let mut rng = SplitMix::new(seed);
        let events: Vec<Event> = (0..1000)
            .map(|i| Event {
                at: 1000 + i + rng.below(30) - if rng.below(20) == 0 { rng.below(200) } else { 0 },
                key: format!("k{}", rng.below(7)),
                #[allow(clippy::cast_precision_loss, reason = "small quarters")]
                value: rng.below(1000) as f32 / 4.0 - 100.0,
            })
            .collect();
        let line = |e: &Event| format!("{},{},{}\n", e.at, e.key, e.value);
        let text: String = events.iter().map(line).collect();
        let said = format!(
            "--key k --size {}s --slide {}s --disorder {}s --lateness {}s",
            query.size, query.slide, query.disorder, query.lateness
        );
        let got = rows(&format!("naive-{seed}"), &format!("at,k,v\n{text}"), &said);
        let (want, late) = query.run(&events);
        assert_eq!(parse(&got), want, "{said}");
        let ran = over(&Temporary::new("again", format!("at,k,v\n{text}").as_bytes()), &said);
        assert!(ran.err.contains(&format!(", {late} late,")), "{said}: {late}: {}", ran.err);
    }
}

#[test]
fn real_readings_by_the_hour() {
    const TEST: &str = "real_readings_by_the_hour";
    let Some(data) = std::env::var_os("PELTON_DATA") else {
        return skip(TEST, "PELTON_DATA names no folder of data sets");
    };
    let root = std::path::PathBuf::from(data);
    let places = ["nab/realKnownCause/nyc_taxi.csv", "nab/data/realKnownCause/nyc_taxi.csv"];
    let Some(path) = places.iter().map(|place| root.join(place)).find(|path| path.exists()) else {
        return skip(TEST, "PELTON_DATA holds no nab/realKnownCause/nyc_taxi.csv");
    };
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Event> =
        text.lines().skip(1).filter(|line| !line.is_empty()).map(exact).collect();
    assert!(events.len() > 10_000);
    for (size, slide, said) in [(3600, 3600, "--size 1h"), (86_400, 21_600, "--size 1d --slide 6h")]
    {
        let (want, late) = Query { size, slide, disorder: 0, lateness: 0 }.run(&events);
        assert_eq!(late, 0, "the readings are in order");
        let file = path.to_str().unwrap();
        let mut args = vec!["--csv", file, "--time", "timestamp", "--value", "value"];
        args.extend(["--format", "csv", "--strict", "--device", "cpu"]);
        args.extend(said.split(' '));
        let ran = run("quickstart", &args);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(parse(ran.out.strip_prefix(HEADER).unwrap()), want, "{said}");
    }
}
