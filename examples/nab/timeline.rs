//! A series as a picture: its values, the band that was expected of them, alerts, and labelled windows, as SVG.
//!
//! A column of the picture stands for as many rows as it must: it spans the least and largest of their values, so no
//! spike is lost however long the series is.

use super::corpus::Series;
use pelton::Score;
use std::fmt::Write as _;

/// Columns of the picture.
const WIDTH: usize = 1200;
/// Height of the part with the values.
const HEIGHT: f64 = 260.0;
/// Height of the strip with the scores below it.
const STRIP: f64 = 60.0;
/// Around everything.
const MARGIN: f64 = 24.0;
/// Deviations to either side of what was expected that the band takes.
const BAND: f64 = 3.0;

/// What a picture needs of a score.
pub(crate) struct Point {
    low: f64,
    high: f64,
    score: f64,
    alert: bool,
}

impl Point {
    pub(crate) fn of(score: &Score<'_>) -> Self {
        let (low, high) = score.band(BAND).into_inner();
        Self { low, high, score: score.score(), alert: score.alert() }
    }
}

/// The least and the largest of some numbers; those that are none do not count.
#[derive(Clone, Copy)]
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    const NONE: Self = Self { least: f64::INFINITY, most: f64::NEG_INFINITY };

    fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        numbers.into_iter().filter(|x| x.is_finite()).fold(Self::NONE, |range, x| Self {
            least: range.least.min(x),
            most: range.most.max(x),
        })
    }

    fn is_none(self) -> bool {
        self.least > self.most
    }

    /// Where a number lies, from 0 at the least to 1 at the largest; beyond that it lies at the edge.
    fn place(self, x: f64) -> f64 {
        let size = self.most - self.least;
        if size > 0.0 { ((x - self.least) / size).clamp(0.0, 1.0) } else { 0.5 }
    }
}

/// The picture of a series; `threshold` is the score that alerts.
pub(crate) fn draw(series: &Series, points: &[Point], threshold: f64) -> String {
    let rows = series.values.len();
    let columns = rows.clamp(1, WIDTH);
    // Rows of a column, and the column of a row.
    let rows_of = |column: usize| column * rows / columns..(column + 1) * rows / columns;
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let x_of = |row: usize| MARGIN + row as f64 * WIDTH as f64 / rows.max(1) as f64;
    let values = Range::of(series.values.iter().map(|&x| f64::from(x)));
    let most = points.iter().map(|point| point.score).fold(2.0 * threshold, f64::max);
    let y_of = |x: f64| MARGIN + HEIGHT * (1.0 - values.place(x));
    let floor = MARGIN + HEIGHT + STRIP + 12.0;
    let strip = |score: f64| floor - STRIP * (score / most).clamp(0.0, 1.0);

    let mut svg = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| {
        svg.write_fmt(line).and_then(|()| svg.write_char('\n')).expect("memory takes it");
    };
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let (width, height) = (WIDTH as f64 + 2.0 * MARGIN, floor + MARGIN);
    put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">"#
    ));
    put(format_args!("<title>{}</title>", escaped(&series.name)));
    put(format_args!(r#"<rect width="{width}" height="{height}" fill="white"/>"#));
    for &(from, to) in &series.windows {
        let (x, width) = (x_of(from), (x_of(to + 1) - x_of(from)).max(1.0));
        let height = floor - MARGIN;
        put(format_args!(
            r##"<rect class="label" x="{x:.1}" y="{MARGIN}" width="{width:.1}" height="{height}" fill="#ffe2b8"/>"##
        ));
    }
    let each = |top: &dyn Fn(usize) -> Range| {
        let mut path = String::new();
        for column in 0..columns {
            let range = rows_of(column).map(top).fold(Range::NONE, |all, range| Range {
                least: all.least.min(range.least),
                most: all.most.max(range.most),
            });
            if !range.is_none() {
                let x = x_of(rows_of(column).start);
                write!(path, "M{x:.1} {:.1}V{:.1}", y_of(range.most), y_of(range.least) + 1.0)
                    .expect("memory takes it");
            }
        }
        path
    };
    let band = each(&|row| points.get(row).map_or(Range::NONE, |p| Range::of([p.low, p.high])));
    put(format_args!(r##"<path class="band" d="{band}" stroke="#cfe3f7" stroke-width="1.4"/>"##));
    let signal = each(&|row| Range::of([f64::from(series.values[row])]));
    put(format_args!(r##"<path class="signal" d="{signal}" stroke="#1f4e79"/>"##));
    let mut path = String::new();
    for column in 0..columns {
        let score = rows_of(column).filter_map(|row| points.get(row)).map(|point| point.score);
        let (x, y) = (x_of(rows_of(column).start), strip(score.fold(0.0, f64::max)));
        write!(path, "M{x:.1} {floor}V{y:.1}").expect("memory takes it");
    }
    put(format_args!(r##"<path class="score" d="{path}" stroke="#888888"/>"##));
    let y = strip(threshold);
    put(format_args!(
        r##"<path class="threshold" d="M{MARGIN} {y:.1}H{:.1}" stroke="#c0392b" stroke-dasharray="4 3"/>"##,
        width - MARGIN
    ));
    for (row, _) in points.iter().enumerate().filter(|(_, point)| point.alert) {
        let (x, y) = (x_of(row), series.values.get(row).map_or(MARGIN, |&x| y_of(f64::from(x))));
        put(format_args!(
            r##"<circle class="alert" cx="{x:.1}" cy="{y:.1}" r="4" fill="none" stroke="#c0392b" stroke-width="2"><title>{}</title></circle>"##,
            escaped(&series.lines[row])
        ));
    }
    let name = escaped(&series.name);
    let ends = if values.is_none() {
        "no values".to_owned()
    } else {
        format!("{:.5} to {:.5}", values.least, values.most)
    };
    put(format_args!(
        r#"<text x="{MARGIN}" y="16">{name}: {rows} rows, {ends}; band of {BAND} deviations, circles are alerts, shaded what is labelled, below the score and T = {threshold}</text>"#
    ));
    put(format_args!("</svg>"));
    svg
}

/// Text as XML takes it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
