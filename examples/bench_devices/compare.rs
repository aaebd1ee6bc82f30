//! Two reports beside each other, and all of them in a table.
//!
//! Reports of unlike workload, precision or protocol are never put beside each other as ratios.

use super::json::Json;
use super::sample::people;
use std::fmt::Write;

/// What has to be equal in two reports.
const LIKE: [&str; 5] = ["schema", "kind", "workload", "precision", "protocol"];
/// Where the table stands in the README.
const OPEN: &str = "<!-- devices -->";
const CLOSE: &str = "<!-- /devices -->";
const COLUMNS: usize = 11;
const NOT_MEASURED: &str = "not measured";
/// What pelton runs on, and what the names of such devices begin with: one that nobody has measured has a row that
/// says so. A software adapter is no GPU.
const PATHS: [(&str, &str); 3] = [("CPU", "cpu"), ("CUDA", "cuda"), ("WGSL on a GPU", "wgpu:")];
/// The load that the table shows latencies at, or the nearest one whose measurement holds.
const SHARE: f64 = 50.0;

/// The first field in which two values differ, and both of its values.
fn differs(path: &str, a: Option<&Json>, b: Option<&Json>) -> Option<String> {
    if a == b {
        return None;
    }
    if let (Some(Json::Object(pairs)), Some(Json::Object(others))) = (a, b) {
        let find = |pairs: &[(String, Json)], name: &str| {
            pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
        };
        let mut names = pairs.iter().chain(others).map(|(name, _)| name);
        return names.find_map(|name| {
            let (a, b) = (find(pairs, name), find(others, name));
            differs(&format!("{path}.{name}"), a.as_ref(), b.as_ref())
        });
    }
    let text = |value: Option<&Json>| value.map_or_else(|| "nothing".into(), Json::to_string);
    Some(format!("{path} differs: {} and {}", text(a), text(b)))
}

/// The points of the curve that hold, each with its share of the closed loop's throughput.
fn points(report: &Json) -> impl Iterator<Item = (f64, &Json)> {
    let points = report.items("score.curve").iter();
    let points = points.filter(|point| point.text("verdict") == Some("ok"));
    points.filter_map(|point| Some((point.number("share_percent")?, point)))
}

/// The second report's figures over the first's.
///
/// # Errors
/// Why the two cannot be compared, naming the field.
pub(crate) fn compare(a: &Json, b: &Json) -> Result<String, String> {
    for field in LIKE {
        if let Some(why) = differs(field, a.at(field), b.at(field)) {
            return Err(why);
        }
    }
    for report in [a, b] {
        if !matches!(report.at("score"), Some(Json::Object(_))) {
            let name = report.text("device.name").unwrap_or("a report");
            return Err(format!("score: {name} has none"));
        }
    }
    let mut text = String::new();
    let mut row = |what: &str, a: Option<f64>, b: Option<f64>| {
        let ratio = a.zip(b).filter(|(a, _)| *a > 0.0);
        let ratio = ratio.map_or_else(|| "n/a".into(), |(a, b)| format!("{:.3}", b / a));
        let show = |value: Option<f64>| value.map_or_else(|| "n/a".into(), |v| format!("{v:.1}"));
        let _ = writeln!(text, "{what:<32} {:>16} {:>16} {ratio:>10}", show(a), show(b));
    };
    for (what, path) in [
        ("events/s steady", "score.closed.steady"),
        ("events/s peak", "score.closed.peak"),
        ("CPU ns/event", "score.host.cpu_ns_per_event"),
        ("CPU ns/event engine", "score.host.cpu_ns_per_event_engine"),
        ("copy bytes/s of the host", "score.host.copy_bytes_per_second"),
    ] {
        row(what, a.number(path), b.number(path));
    }
    let shares = a.items("protocol.shares_percent").iter();
    let listed =
        shares.filter_map(|share| if let Json::Number(n) = share { Some(*n) } else { None });
    for share in listed {
        for q in ["p50", "p99", "p999"] {
            let point =
                |report| points(report).find(|(at, _)| *at == share).map(|(_, point)| point);
            let at = |report| point(report)?.number(&format!("event_ns.{q}"));
            row(&format!("event {q} ns at {share} % load"), at(a), at(b));
        }
    }
    let name = |report: &Json, path| report.text(path).unwrap_or("unknown").to_owned();
    let head = |path| format!("{} -> {}\n", name(a, path), name(b, path));
    let other = ["grade", "context.cpu", "context.commit", "context.profile"];
    let notes = other.iter().filter_map(|path| differs(path, a.at(path), b.at(path)));
    let notes: String = notes.map(|note| format!("note: {note}\n")).collect();
    Ok(head("device.name") + &notes + &text)
}

/// The README's table of devices.
pub(crate) fn table(reports: &[Json]) -> String {
    let mut text = String::from(
        "| device | driver | events/s steady (peak) | load | event p50 | p99 | p99.9 \
         | CPU ns/event | of the bus | joules | grade |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for report in reports {
        let cell = |value: Option<String>| value.unwrap_or_else(|| NOT_MEASURED.into());
        let name = |path| cell(report.text(path).map(|name| name.replace('|', "/")));
        let million = |path| report.number(path).map(|rate| format!("{:.2} M", rate / 1e6));
        let (steady, peak) = (million("score.closed.steady"), million("score.closed.peak"));
        let unsteady = report.at("score.closed.is_steady") == Some(&Json::Bool(false));
        let mark = if unsteady { " NOT STEADY" } else { "" };
        let rate = steady.zip(peak).map(|(steady, peak)| format!("{steady}{mark} ({peak})"));
        let far = |(share, _): &(f64, &Json)| (share - SHARE).abs();
        let shown = points(report).min_by(|a, b| far(a).total_cmp(&far(b)));
        let load = shown.map(|(share, _)| format!("{share} %"));
        let at = |q: &str| {
            let (_, point) = shown?;
            point.at(&format!("event_ns.{q}")).map(|ns| match ns {
                Json::Number(ns) => people(Some(*ns)),
                _ => people(None),
            })
        };
        let cpu = report.number("score.host.cpu_ns_per_event").map(|ns| format!("{ns:.0}"));
        let bus = report.at("score.host.share_of_upload").map(|share| match share {
            Json::Number(share) => format!("{:.1} %", share * 100.0),
            Json::Text(words) => words.clone(),
            _ => NOT_MEASURED.into(),
        });
        let cells = [
            name("device.name"),
            name("device.driver"),
            cell(rate),
            cell(load),
            cell(at("p50")),
            cell(at("p99")),
            cell(at("p999")),
            cell(cpu),
            cell(bus),
            name("energy"),
            name("grade"),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    for (path, _) in PATHS.iter().filter(|(_, name)| !reports.iter().any(|r| is_of(r, name))) {
        let _ = writeln!(text, "| {path} |{}", format!(" {NOT_MEASURED} |").repeat(COLUMNS - 1));
    }
    text
}

/// Whether a report has a score of a device whose name begins so, and that is no software adapter.
fn is_of(report: &Json, name: &str) -> bool {
    let device = report.text("device.name").is_some_and(|device| device.starts_with(name));
    let software = report.at("device.software") == Some(&Json::Bool(true));
    device && !software && report.number("score.closed.steady").is_some()
}

/// The README with another table between its marks.
///
/// # Errors
/// Which mark is missing.
pub(crate) fn replace(readme: &str, table: &str) -> Result<String, String> {
    let (before, rest) = readme.split_once(OPEN).ok_or(format!("there is no {OPEN}"))?;
    let (_, after) = rest.split_once(CLOSE).ok_or(format!("there is no {CLOSE} after {OPEN}"))?;
    Ok(format!("{before}{OPEN}\n{table}{CLOSE}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, compare, replace, table};
    use crate::json::Json;

    fn report(window: u64, score: &str) -> Json {
        let text = format!(
            r#"{{"schema": 1, "kind": "k", "workload": {{"keys": 5, "window_ms": {window}}}, "precision": "p",
            "protocol": {{"shares_percent": [50]}}, "device": {{"name": "cpu"}}, "score": {score}}}"#
        );
        Json::parse(&text).unwrap()
    }

    const SCORE: &str = r#"{"closed": {"steady": 2000000, "peak": 3000000, "is_steady": false}, "curve": [
        {"share_percent": 50, "verdict": "ok", "event_ns": {"p50": 1500, "p99": 9000, "p999": "n/a"}}]}"#;

    #[test]
    fn like_reports_are_compared() {
        let text = compare(&report(1, SCORE), &report(1, &SCORE.replace("1500", "3000"))).unwrap();
        let row = text.lines().find(|line| line.starts_with("event p50")).unwrap();
        assert!(row.contains(" at 50 % load") && row.ends_with(" 2.000"), "{text}");
        let row = text.lines().find(|line| line.starts_with("event p999")).unwrap();
        assert!(row.ends_with(" n/a"), "{text}");
    }

    #[test]
    fn unlike_reports_are_refused_by_field() {
        let why = compare(&report(1, SCORE), &report(2, SCORE)).unwrap_err();
        assert_eq!(why, "workload.window_ms differs: 1 and 2");
        let why = compare(&report(1, SCORE), &report(1, "null")).unwrap_err();
        assert_eq!(why, "score: cpu has none");
    }

    #[test]
    fn the_table_says_what_is_not_there() {
        let text = table(&[report(1, SCORE), report(1, "null")]);
        let rows: Vec<&str> = text.lines().skip(2).collect();
        let want = "| cpu | not measured | 2.00 M NOT STEADY (3.00 M) | 50 % | 1.5 us | 9.0 us | n/a | \
                    not measured | not measured | not measured | not measured |";
        assert_eq!(rows[0], want);
        assert_eq!(rows[1].matches("not measured").count(), 10);
        let names = |row: &&str| row.split('|').nth(1).map(|name| name.trim().to_owned());
        let there: Vec<_> = rows.iter().filter_map(names).collect();
        assert_eq!(there, ["cpu", "cpu", "CUDA", "WGSL on a GPU"], "the processor has a score");
        assert!(rows.iter().all(|row| row.matches('|').count() == COLUMNS + 1), "{text}");
        let readme = "a\n<!-- devices -->\nold\n<!-- /devices -->\nb\n";
        let new = "a\n<!-- devices -->\nnew\n<!-- /devices -->\nb\n";
        assert_eq!(replace(readme, "new\n").as_deref(), Ok(new));
        assert!(replace("a", "b").is_err());
    }
}
