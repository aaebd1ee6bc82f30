//! The example `nab`: its scorer against recorded numbers of an independent one, and the program from end to end.

#[path = "../../examples/nab/board.rs"]
#[allow(unreachable_pub, reason = "the example's own")]
mod board;

use crate::program::{run, skip};
use board::{Board, Judged, PROFILES, half};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pelton-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("temporary folders can be made");
        Self(path)
    }

    fn arg(&self) -> &str {
        self.0.to_str().expect("temporary folders have plain names")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// First and last row of each window.
type Windows = Vec<(usize, usize)>;

/// Three files of made-up scores, in thousandths so that many are equal, and their windows.
fn made() -> Vec<(Vec<f64>, Windows)> {
    let mut x = 12345u32;
    let mut scores = |rows: usize, windows: Windows| {
        let score = |row| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let inside = windows.iter().any(|&(from, to)| (from..=to).contains(&row));
            let bump = if inside && row % 7 == 0 { 300 } else { 0 };
            f64::from((x >> 16) % 1000 + bump) / 1000.0
        };
        ((0..rows).map(score).collect(), windows)
    };
    vec![
        scores(400, vec![(100, 140), (300, 320)]),
        scores(1000, vec![]),
        scores(6000, vec![(1000, 1200), (1201, 1300), (5990, 5999)]),
    ]
}

/// Recorded from a scorer in Python that gives every published detector its published score to four decimals.
#[test]
fn the_scorer_agrees_with_an_independent_one() {
    let made = made();
    let board = Board::new(made.iter().map(|(scores, windows)| Judged { scores, windows }));
    let recorded = [
        (75.936_441_101, 1.004, 58.123_016_760),
        (75.936_441_101, 1.004, 58.123_016_760),
        (77.290_960_734, 1.004, 58.748_677_840),
    ];
    for (profile, (best, threshold, fixed)) in PROFILES.iter().zip(recorded) {
        let point = board.best(profile);
        let got = [point.score, point.threshold, board.at(profile, 1.2)];
        for (got, want) in got.iter().zip([best, threshold, fixed]) {
            assert!((got - want).abs() < 1e-6, "{}: {got} for {want}", profile.name);
        }
    }
    let names = ["realTweets/Twitter_volume_AAPL.csv", "realTweets/Twitter_volume_IBM.csv"];
    assert_eq!(names.map(half), [0, 1], "zlib.crc32(name) & 1");
}

/// One series with a fault: half a day of 5-minute values.
fn series(fault: usize) -> String {
    let mut text = String::from("timestamp,value\n");
    for row in 0..2400 {
        let (day, hour, minute) = (1 + row / 288, row / 12 % 24, row % 12 * 5);
        let value = (row * 7919 % 101) as f64 / 10.0 + if row == fault { 60.0 } else { 0.0 };
        writeln!(text, "2024-03-{day:02} {hour:02}:{minute:02}:00,{value}").expect("memory");
    }
    text
}

#[test]
fn a_folder_is_scored_and_written_and_judged() {
    let (data, out) = (Folder::new("nab-data"), Folder::new("nab-out"));
    for (file, fault) in [("a.csv", 1500), ("b.csv", 2200)] {
        let path = data.0.join("group");
        fs::create_dir_all(&path).expect("it can be made");
        fs::write(path.join(file), series(fault)).expect("it can be written");
    }
    let ran = run(
        "nab",
        &["--data", data.arg(), "--out", out.arg(), "--svg", out.arg(), "--device", "cpu"],
    );
    assert!(ran.code == Some(0) && ran.out.contains("2 files, 4800 rows, on cpu"), "{ran:?}");
    assert!(ran.out.contains("2 alerts; T = 2.7") && !ran.out.contains("profile"), "{ran:?}");
    for (file, fault) in [("a.csv", 1500), ("b.csv", 2200)] {
        let written = fs::read_to_string(out.0.join("group").join(file)).expect("it is there");
        let mut lines = written.lines();
        assert_eq!(lines.next(), Some("timestamp,value,anomaly_score"));
        let score = |line: &str| -> f64 {
            line.rsplit(',').next().and_then(|score| score.parse().ok()).expect("a number")
        };
        let alerts: Vec<usize> =
            lines.enumerate().filter(|(_, line)| score(line) >= 2.7).map(|(row, _)| row).collect();
        assert_eq!(alerts, [fault]);
        // The picture has the alert, where its row is, and what was written of it.
        let file = out.0.join("group").join(file).with_extension("svg");
        let svg = fs::read_to_string(file).expect("it is there");
        let circles: Vec<&str> = svg.lines().filter(|line| line.contains("\"alert\"")).collect();
        let place = format!("cx=\"{:.1}\"", 24.0 + fault as f64 / 2.0);
        assert!(circles.len() == 1 && circles[0].contains(&place), "{circles:?}");
        assert!(circles[0].contains("<title>2024-03-0") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(["signal", "band", "score", "threshold"].iter().all(|part| {
            svg.contains(&format!("class=\"{part}\" d=\"M24.0 "))
                || svg.contains(&format!("class=\"{part}\" d=\"M24 "))
        }));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
    fs::create_dir_all(data.0.join("labels")).expect("it can be made");
    let labels = r#"{"group/a.csv": [["2024-03-06 04:00:00.000000", "2024-03-06 06:00:00.000000"]],
        "group/b.csv": []}"#;
    fs::write(data.0.join("labels/combined_windows.json"), labels).expect("it can be written");
    let ran = run("nab", &["--data", data.arg(), "--svg", out.arg(), "--device", "cpu"]);
    assert!(ran.code == Some(0) && ran.out.contains("low false positives"), "{ran:?}");
    let labels = |name| {
        let svg = fs::read_to_string(out.0.join("group").join(name)).expect("it is there");
        svg.matches("class=\"label\"").count()
    };
    assert_eq!(["a.svg", "b.svg"].map(labels), [1, 0]);
    let ran = run("nab", &["--data", data.arg(), "--device", "null"]);
    assert!(ran.code == Some(1) && ran.err.contains("does not score every row"), "{ran:?}");
    for (from, to) in [("06:00", "04:00"), ("06:00", "06:00\", \"2024-03-06 07:00")] {
        let labels = format!(
            r#"{{"group/a.csv": [["2024-03-06 {from}:00", "2024-03-06 {to}:00"]], "group/b.csv": []}}"#
        );
        fs::write(data.0.join("labels/combined_windows.json"), labels).expect("it can be written");
        let ran = run("nab", &["--data", data.arg(), "--device", "cpu"]);
        assert!(ran.code == Some(1) && ran.err.contains("labels are pairs of times"), "{ran:?}");
    }
    let labels = r#"{"group/a.csv": [], "group/b.csv": []}"#;
    fs::write(data.0.join("labels/combined_windows.json"), labels).expect("it can be written");
    let ran = run("nab", &["--data", data.arg(), "--device", "cpu"]);
    assert!(ran.code == Some(0) && !ran.out.contains("NaN"), "{ran:?}");
}

#[test]
fn mistakes_are_named() {
    let nowhere = Path::new("no-such-folder");
    let ran = run("nab", &["--data", nowhere.to_str().expect("plain")]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("no-such-folder") && ran.err.contains("ea702d75"), "{ran:?}");
    let ran = run("nab", &["--emit", "noise"]);
    assert!(ran.code == Some(2) && ran.err.contains("--emit noise: decision or score"), "{ran:?}");
}

/// The corpus, where it is at hand: the configuration is frozen, so the score may not fall.
#[test]
fn the_corpus_scores_what_it_scored() {
    const TEST: &str = "nab::the_corpus_scores_what_it_scored";
    let data = std::env::var_os("PELTON_DATA").map(|data| PathBuf::from(data).join("nab"));
    let Some(data) = data.filter(|data| data.join("labels/combined_windows.json").is_file()) else {
        return skip(TEST, "PELTON_DATA holds no nab/labels/combined_windows.json");
    };
    let ran = run("nab", &["--data", data.to_str().expect("a plain path"), "--device", "cpu"]);
    assert!(ran.code == Some(0) && ran.out.contains("58 files, 365558 rows"), "{ran:?}");
    // At the best threshold and at the fixed one.
    for (profile, best, fixed) in [
        ("standard", 70.6, 69.2),
        ("low false positives", 63.5, 62.4),
        ("low false negatives", 74.9, 73.4),
    ] {
        let line = ran.out.lines().find_map(|line| line.strip_prefix(profile)).expect("a line");
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        assert!(numbers[0] > best && numbers[2] > fixed, "{}", ran.out);
    }
}
