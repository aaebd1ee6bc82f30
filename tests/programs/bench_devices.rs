//! The benchmark of devices from end to end: a quick run of the program as built, and what it writes.

#[path = "../../examples/bench_devices/args.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod args;
#[path = "../../examples/bench_devices/compare.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod compare;
#[path = "../../examples/bench_devices/host.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod host;
#[path = "../../examples/bench_devices/sample.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod sample;

use crate::json::{self, Json};
use crate::program::{self, Ran, Temporary};

fn bench(args: &[&str]) -> Ran {
    program::run("bench_devices", args)
}

/// A quick run on this device: how it ended, its report, and the file that holds it.
fn quick(device: &str) -> (Ran, Json, Temporary) {
    let file = Temporary::new(&format!("{device}.json"), b"");
    let ran = bench(&["--quick", "--device", device, "--out", file.arg()]);
    let text = std::fs::read_to_string(file.path()).expect("it writes a report");
    let report = Json::parse(&text).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
    (ran, report, file)
}

/// The counts of a latency's buckets and its percentiles belong together.
fn expect_latency(point: &Json, what: &str) {
    let buckets = point.items(&format!("{what}.buckets"));
    let counts = buckets.iter().map(|bucket| match bucket {
        Json::List(pair) => match pair[..] {
            [Json::Number(ns), Json::Number(count)] if ns > 0.0 => count,
            _ => panic!("{bucket}"),
        },
        _ => panic!("{bucket}"),
    });
    assert_eq!(point.number(&format!("{what}.count")), Some(counts.sum()), "{what}");
    for q in ["p50", "p99", "p999", "max"] {
        let figure = point.at(&format!("{what}.{q}"));
        let known = matches!(figure, Some(Json::Number(_)));
        assert!(known || figure == Some(&"n/a".into()), "{what} {q}: {figure:?}");
    }
}

#[test]
fn the_processor_is_measured_and_compared() {
    let (ran, report, file) = quick("cpu");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(report.number("schema"), Some(1.0));
    assert_eq!(report.at("digest.ok"), Some(&true.into()));
    assert_eq!(report.text("device.name"), Some("cpu"));
    let rate = |path| report.number(path).expect(path);
    assert!(rate("score.closed.peak") >= rate("score.closed.steady"));
    assert!(rate("score.closed.steady") > 0.0 && rate("score.host.copy_bytes_per_second") > 0.0);
    let curve = report.items("score.curve");
    assert_eq!(curve.len(), report.items("protocol.shares_percent").len());
    for point in curve {
        for what in ["event_ns", "result_ns", "generator_lag_ns"] {
            expect_latency(point, what);
        }
        assert!(point.number("event_ns.count") > Some(0.0), "{point}");
    }
    for field in ["commit", "rustc", "profile", "cpu", "kernel", "date", "temperature"] {
        assert!(report.text(&format!("context.{field}")).is_some_and(|text| !text.is_empty()));
    }
    assert_eq!([report.text("energy"), report.text("cost")], [Some("not measured"); 2]);

    let like = bench(&["--compare", file.arg(), file.arg()]);
    assert_eq!(like.code, Some(0), "{like:?}");
    assert!(like.out.contains("events/s steady") && like.out.contains(" 1.000"), "{like:?}");
    let other = report.to_string().replace("\"window_ms\": 1000", "\"window_ms\": 2000");
    let other = Temporary::new("other.json", other.as_bytes());
    let unlike = bench(&["--compare", file.arg(), other.arg()]);
    assert_eq!(unlike.code, Some(3), "{unlike:?}");
    assert!(unlike.err.contains("workload.window_ms"), "{unlike:?}");
}

#[test]
fn a_device_that_answers_wrongly_has_no_score() {
    let (ran, report, file) = quick("null");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("MISMATCH"), "{ran:?}");
    assert_eq!(report.at("digest.ok"), Some(&false.into()));
    assert_eq!(report.at("score"), Some(&Json::Null));
    assert_eq!(bench(&["--compare", file.arg(), file.arg()]).code, Some(3));
}

#[test]
fn the_table_is_rewritten_between_its_marks() {
    let readme = Temporary::new("readme.md", b"a\n<!-- devices -->\n<!-- /devices -->\nb\n");
    let results = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results");
    if !std::path::Path::new(results).exists() {
        // The published package leaves results out.
        return program::skip("bench_devices --table", "no results beside this package");
    }
    let ran = bench(&["--table", "--readme", readme.arg(), "--results", results]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = std::fs::read_to_string(readme.path()).expect("it is there");
    assert!(
        text.starts_with("a\n<!-- devices -->\n| device |") && text.contains("| cpu |"),
        "{text}"
    );
    assert!(text.ends_with("<!-- /devices -->\nb\n"), "{text}");
    // The README's table is the one that its results make.
    let own = include_str!("../../README.md");
    let cut = |text: &str| text.split("devices -->").nth(1).map(str::to_owned);
    assert_eq!(cut(own), cut(&text), "run bench_devices --table");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for line in [&["--device", "cuda:none"][..], &["--out", "x.json"], &["--what"]] {
        assert_eq!(bench(line).code, Some(2), "{line:?}");
    }
}
