//! What the quickstart prints: windows as they close, for people or as CSV, alerts as they come, and how the
//! run went.
//!
//! With `--format csv` standard output holds rows and nothing else; all that is said to people goes to
//! standard error. With `--format text` everything is on standard output.

use super::ALARM_RATE;
use super::args::{Args, Format, Source};
use super::faults::{FAULTS, Judge};
use super::made::{PRODUCERS, Plan, RATE, SECOND, SENSORS};
use pelton::base::clock;
use pelton::connect::csv::Quoted;
use pelton::connect::text::{Epoch, Iso};
use pelton::{Device, Rows, Score, Stats};
use std::fmt::{self, Display};
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The names of keys, in the order of their numbers: sent by the producer before the first event that bears
/// one.
pub(crate) struct Names {
    arriving: Receiver<String>,
    known: Vec<String>,
}

/// Where names are sent, and where they arrive.
pub(crate) fn names() -> (Sender<String>, Names) {
    let (sender, arriving) = channel();
    (sender, Names { arriving, known: Vec::new() })
}

/// One key's row of the window at hand.
struct Line {
    key: u64,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
}

/// Prints to standard output.
pub(crate) struct Show {
    out: BufWriter<io::Stdout>,
    format: Format,
    names: Option<Names>,
    /// Whether rows of text are worth a line each: a file's are, those of a made stream are summed up.
    keyed: bool,
    begun: bool,
    lines: Vec<Line>,
    /// How many events were scored and how many alerts there were; whether they were right.
    scored: u64,
    alerts: u64,
    judge: Option<Judge>,
}

impl Show {
    pub(crate) fn new(args: &Args) -> Self {
        let out = BufWriter::with_capacity(1 << 16, io::stdout());
        let (format, keyed) = (args.format, args.source.as_ref().is_some_and(|s| s.key.is_some()));
        let (lines, judge) = (Vec::new(), None);
        Self { out, format, names: None, keyed, begun: false, lines, scored: 0, alerts: 0, judge }
    }

    /// A line for people.
    fn say(&mut self, what: impl Display) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{what}"),
            Format::Csv => {
                let _ = writeln!(io::stderr(), "{what}");
                Ok(())
            }
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Says what the windows run on, and why on that.
    pub(crate) fn device(&mut self, device: &Device) -> io::Result<()> {
        let caps = device.caps();
        self.say(format_args!("device   {} ({}): {}", caps.name, caps.driver, device.why()))?;
        // The reason of a device that was chosen holds why CUDA was not; one that was asked for does not.
        if !caps.name.starts_with("cuda") && !device.why().contains("cuda") {
            let why = Device::named("cuda").err().map_or("it was not asked for".into(), short);
            self.say(format_args!("no cuda  {why}"))?;
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, source: &Source, names: Names) -> io::Result<()> {
        self.names = Some(names);
        let key = source.key.as_deref().map(|key| format!(" by {key}")).unwrap_or_default();
        let (path, value) = (source.path.display(), &source.value);
        self.say(format_args!("stream   {value}{key} at {} of {path}", source.time))
    }

    pub(crate) fn made(&mut self, plan: &Plan) -> io::Result<()> {
        self.say(format_args!(
            "stream   {} readings a second of {} sensors from {PRODUCERS} threads; \
             event time runs {} times as fast as the clock",
            Grouped(RATE),
            Grouped(SENSORS),
            plan.speed()
        ))?;
        self.judge = Some(Judge::new(plan.faults));
        self.say(format_args!("faults   {FAULTS} sensors will fail in the second half"))?;
        self.flush()
    }

    /// Takes rows of a window, and prints the window when it is complete.
    pub(crate) fn rows(&mut self, rows: &Rows) -> io::Result<()> {
        self.lines.extend(rows.iter().map(|row| Line {
            key: row.key(),
            count: row.count(),
            sum: row.sum(0),
            min: row.min(0),
            max: row.max(0),
            mean: row.mean(0),
        }));
        if !rows.complete {
            return Ok(());
        }
        let mut lines = std::mem::take(&mut self.lines);
        self.learn_names();
        lines.sort_by(|a, b| match &self.names {
            Some(names) => names.of(a.key).cmp(names.of(b.key)),
            None => a.key.cmp(&b.key),
        });
        match self.format {
            Format::Csv => self.csv(rows, &lines)?,
            Format::Text if self.names.is_none() => self.summary(rows, &lines)?,
            Format::Text => self.table(rows, &lines)?,
        }
        lines.clear();
        self.lines = lines;
        Ok(())
    }

    fn learn_names(&mut self) {
        if let Some(names) = &mut self.names {
            names.known.extend(names.arriving.try_iter());
        }
    }

    /// Takes scores of events, and prints the alerts among them.
    pub(crate) fn alerts(&mut self, rows: &Rows) -> io::Result<()> {
        self.scored += rows.len() as u64;
        for score in rows.scores().filter(Score::alert) {
            self.alerts += 1;
            self.alert(&score)?;
            self.flush()?;
        }
        Ok(())
    }

    /// An alert with its reasons: what was read, what was expected, where 3 deviations around that end, and how
    /// surprising it is.
    fn alert(&mut self, score: &Score<'_>) -> io::Result<()> {
        self.learn_names();
        let who = match &self.names {
            Some(names) if self.keyed => names.of(score.key()).to_owned(),
            Some(_) => "it".to_owned(),
            None => format!("sensor {}", score.key()),
        };
        let truth = self.judge.as_mut().map(|judge| judge.alert(score.key(), score.time()));
        let truth = match truth {
            None => String::new(),
            Some(None) => ": a false alarm".into(),
            Some(Some(kind)) => format!(": {kind}"),
        };
        let (at, usual) = (Iso(score.time() / SECOND * SECOND), score.band(3.0));
        self.say(format_args!(
            "alert    {at}  {who} reads {:.2}, expected {:.2} ({:.2} to {:.2}), surprise {:.1}{truth}",
            score.value(),
            score.expected(),
            usual.start(),
            usual.end(),
            score.score()
        ))
    }

    fn csv(&mut self, window: &Rows, lines: &[Line]) -> io::Result<()> {
        self.header()?;
        for line in lines {
            let Line { key, count, sum, min, max, mean } = *line;
            match &self.names {
                Some(names) => write!(self.out, "{}", Quoted(names.of(key)))?,
                None => write!(self.out, "{key}")?,
            }
            let (start, end) = (Epoch(window.start), Epoch(window.end));
            writeln!(self.out, ",{start},{end},{count},{sum},{min},{max},{mean}")?;
        }
        Ok(())
    }

    /// The first row of a CSV output, once.
    fn header(&mut self) -> io::Result<()> {
        if self.format == Format::Csv && !std::mem::replace(&mut self.begun, true) {
            writeln!(self.out, "key,start,end,count,sum,min,max,mean")?;
        }
        Ok(())
    }

    /// A made stream's window on one line.
    fn summary(&mut self, window: &Rows, lines: &[Line]) -> io::Result<()> {
        let events: u64 = lines.iter().map(|line| line.count).sum();
        let sum: f64 = lines.iter().map(|line| line.sum).sum();
        let Some(busiest) = lines.iter().max_by_key(|line| line.count) else { return Ok(()) };
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let mean = sum / events as f64;
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let after_ms = clock::now_ns().saturating_sub(window.closed_ns) as f64 / 1e6;
        writeln!(
            self.out,
            "{}  {:>5} sensors  {:>9} readings  mean {mean:.2}  busiest {} with {}  \
             {after_ms:.1} ms after it closed",
            Iso(window.start),
            Grouped(lines.len() as u64),
            Grouped(events),
            busiest.key,
            Grouped(busiest.count),
        )
    }

    /// A file's window: one line, or one for each key.
    #[allow(clippy::cast_possible_truncation, reason = "they are f32 values, printed as such")]
    fn table(&mut self, window: &Rows, lines: &[Line]) -> io::Result<()> {
        write!(self.out, "{} to {}", Iso(window.start), Iso(window.end))?;
        if self.keyed {
            writeln!(self.out)?;
        }
        for line in lines {
            let Line { key, count, sum, min, max, mean } = *line;
            if let (true, Some(names)) = (self.keyed, &self.names) {
                write!(self.out, "  {:<20}", names.of(key))?;
            }
            let (min, max) = (min as f32, max as f32);
            writeln!(self.out, "  count {count}  sum {sum}  min {min}  max {max}  mean {mean}")?;
        }
        Ok(())
    }

    /// The rate that was reached.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn rate(&mut self, events: u64, took_ns: u64) -> io::Result<()> {
        let seconds = took_ns as f64 / 1e9;
        self.say(format_args!(
            "rate     {:.0} events a second, for {seconds:.2} s",
            events as f64 / seconds.max(1e-9)
        ))
    }

    /// How the run went.
    pub(crate) fn end(&mut self, stats: &Stats) -> io::Result<()> {
        self.header()?;
        let Stats { events, accepted, late, beyond, fired, rows, keys, batches, .. } = *stats;
        let [events, accepted, late, beyond] = [events, accepted, late, beyond].map(Grouped);
        self.say(format_args!(
            "events   {events}: {accepted} in windows, {late} late, {beyond} beyond the horizon"
        ))?;
        let [rows, keys, fired, batches] = [rows, keys, fired, batches].map(Grouped);
        self.say(format_args!(
            "windows  {fired} fired, {rows} rows of {keys} keys, from {batches} batches"
        ))?;
        self.judged()?;
        let ladder = stats.ladder().to_string();
        self.say(ladder.trim_end())?;
        self.flush()
    }

    /// How many events alerted, and how right that was.
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn judged(&mut self) -> io::Result<()> {
        let [alerts, scored] = [self.alerts, self.scored].map(Grouped);
        self.say(format_args!(
            "alerts   {alerts} of {scored} scored; surprise 6 is one in 10^6 in the past of its key"
        ))?;
        let Some(judge) = self.judge.take() else { return Ok(()) };
        let (missed, asked) = (judge.missed(), ALARM_RATE * self.scored as f64);
        self.say(format_args!(
            "faults   {} of {FAULTS} found, false alarms: {}; the rate alone would allow {asked:.0}",
            FAULTS - missed.len(),
            judge.false_alarms
        ))?;
        for fault in missed {
            let (kind, from) = (fault.kind, Iso(fault.from / SECOND * SECOND));
            self.say(format_args!("missed   {kind} of sensor {} from {from}", fault.sensor))?;
        }
        Ok(())
    }
}

impl Names {
    fn of(&self, key: u64) -> &str {
        usize::try_from(key).ok().and_then(|key| self.known.get(key)).map_or("?", String::as_str)
    }
}

/// An error without the device's name in front of every part of it.
fn short(error: pelton::Error) -> String {
    match error {
        pelton::Error::Unsupported { what, .. } => what
            .split("; devices here")
            .next()
            .unwrap_or("")
            .trim_start_matches("cuda: ")
            .to_owned(),
        other => other.to_string(),
    }
}

/// A count with its thousands apart.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}
