//! The judge: the first difference between what the specification says and what an engine did.

use super::windows::SpecOutput;
use super::{Counters, Reading, Reason, Row, Stats};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What an engine did, as the harness gathered it.
#[derive(Debug, Clone, Default)]
pub struct EngineOutput {
    /// In order of arrival: a later row replaces an earlier one of the same key, start and end.
    pub rows: Vec<EngineRow>,
    /// In any order.
    pub asides: Vec<(Reading, Reason)>,
    pub counters: Counters,
}

impl EngineOutput {
    /// The final revisions in order, as text: NaN equals NaN, and -0 is not 0.
    pub fn last_rows(&self) -> Vec<String> {
        let last: BTreeMap<_, _> =
            self.rows.iter().map(|row| ((row.key, row.start, row.end), row)).collect();
        last.values().map(|row| format!("{row:?}")).collect()
    }
}

/// One revision of one (key, window).
#[derive(Debug, Clone)]
pub struct EngineRow {
    pub key: u64,
    pub start: u64,
    pub end: u64,
    pub count: u64,
    pub values: Vec<EngineStats>,
}

/// What an engine says about one field; `None` was not asked for and is not compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineStats {
    pub nan: Option<u64>,
    pub outside: Option<u64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub sum: Option<f64>,
    pub mean: Option<f64>,
    pub variance: Option<f64>,
    pub sample_variance: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
}

impl From<Stats> for EngineStats {
    fn from(stats: Stats) -> Self {
        Self {
            nan: Some(stats.nan),
            outside: Some(stats.outside),
            min: Some(stats.min),
            max: Some(stats.max),
            sum: Some(stats.sum),
            mean: Some(stats.mean),
            variance: Some(stats.variance),
            sample_variance: Some(stats.sample_variance),
            first: Some(stats.first),
            last: Some(stats.last),
        }
    }
}

impl EngineRow {
    /// A row that says what the specification says.
    pub fn of(key: u64, row: &Row) -> Self {
        let values = row.values.iter().map(|stats| EngineStats::from(*stats)).collect();
        Self { key, start: row.start, end: row.end, count: row.count, values }
    }
}

/// `Ok` when rows, asides and counters are the same, to the bit; else the first difference of each.
pub fn compare(spec: &SpecOutput, engine: &EngineOutput) -> Result<(), String> {
    let parts = [
        ("asides", compare_asides(&spec.asides, &engine.asides)),
        ("counters", compare_counters(&spec.counters, &engine.counters)),
        ("rows", compare_rows(spec, &engine.rows)),
    ];
    let mut report = String::new();
    for (part, result) in parts {
        if let Err(difference) = result {
            writeln!(report, "{part}: {difference}").expect("a string");
        }
    }
    if report.is_empty() { Ok(()) } else { Err(report) }
}

fn compare_rows(spec: &SpecOutput, engine: &[EngineRow]) -> Result<(), String> {
    let last: BTreeMap<_, _> =
        engine.iter().map(|row| ((row.key, row.start, row.end), row)).collect();
    let named: BTreeMap<_, _> =
        spec.rows.iter().map(|((key, w), row)| ((*key, row.start, row.end), (*w, row))).collect();
    assert_eq!(named.len(), spec.rows.len(), "start and end name a window");
    let sizes = format!("({} rows specified, {} engine rows)", named.len(), last.len());
    if let Some(name) = last.keys().find(|name| !named.contains_key(*name)) {
        let (key, start, end) = name;
        let count = last[name].count;
        return Err(format!(
            "key {key:#x}, [{start}, {end}): the engine has a row with count {count}, the \
             specification has none {sizes}"
        ));
    }
    for ((key, start, end), (window, row)) in &named {
        let place = format!("key {key:#x}, window {window} [{start}, {end})");
        let Some(found) = last.get(&(*key, *start, *end)) else {
            return Err(format!("{place}: no row, expected count {} {sizes}", row.count));
        };
        compare_row(row, found).map_err(|what| format!("{place}, {what} {sizes}"))?;
    }
    Ok(())
}

fn compare_row(spec: &Row, engine: &EngineRow) -> Result<(), String> {
    if spec.count != engine.count {
        return Err(format!("count: expected {}, found {}", spec.count, engine.count));
    }
    if spec.values.len() != engine.values.len() {
        let (expected, found) = (spec.values.len(), engine.values.len());
        return Err(format!("values: expected {expected}, found {found}"));
    }
    for (i, (stats, found)) in spec.values.iter().zip(&engine.values).enumerate() {
        let whole = [("nan", stats.nan, found.nan), ("outside", stats.outside, found.outside)];
        for (name, expected, found) in whole {
            if found.is_some_and(|found| found != expected) {
                return Err(format!("values[{i}].{name}: expected {expected}, found {found:?}"));
            }
        }
        let real = [
            ("min", stats.min, found.min),
            ("max", stats.max, found.max),
            ("sum", stats.sum, found.sum),
            ("mean", stats.mean, found.mean),
            ("variance", stats.variance, found.variance),
            ("sample_variance", stats.sample_variance, found.sample_variance),
            ("first", stats.first, found.first),
            ("last", stats.last, found.last),
        ];
        for (name, expected, found) in real {
            let Some(found) = found else { continue };
            if !same(expected, found) {
                return Err(format!(
                    "values[{i}].{name}: expected {expected:?} ({:#018x}), found {found:?} ({:#018x})",
                    expected.to_bits(),
                    found.to_bits()
                ));
            }
        }
    }
    Ok(())
}

/// The same bits, or both NaN.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

fn compare_asides(spec: &[(Reading, Reason)], engine: &[(Reading, Reason)]) -> Result<(), String> {
    // By time first, so that the first difference is the earliest.
    type Name<'a> = (u64, Reason, &'a [u8]);
    let mut balance: BTreeMap<Name<'_>, (i64, &Reading)> = BTreeMap::new();
    for (events, one) in [(spec, 1), (engine, -1)] {
        for (reading, reason) in events {
            let name = (reading.at, *reason, bytemuck::bytes_of(reading));
            balance.entry(name).or_insert((0, reading)).0 += one;
        }
    }
    let Some(((_, reason, _), (n, reading))) = balance.iter().find(|(_, (n, _))| *n != 0) else {
        return Ok(());
    };
    let who = if *n > 0 { "only the specification sets" } else { "only the engine sets" };
    let (expected, found) = (spec.len(), engine.len());
    Err(format!(
        "{who} aside as {reason:?}, {} times more: {reading:?} ({expected} specified, {found} by \
         the engine)",
        n.abs()
    ))
}

fn compare_counters(spec: &Counters, engine: &Counters) -> Result<(), String> {
    if spec == engine {
        return Ok(());
    }
    Err(format!("expected {spec:?}, found {engine:?}"))
}
