//! What this machine counts: `/proc` on Linux, elsewhere how late a program is woken and how often.

use super::SECOND;
use std::collections::BTreeMap;

/// Counters that only grow, as rates since the reading before; levels as they are.
#[derive(Default)]
pub(crate) struct Counters {
    before: BTreeMap<String, (u64, f64)>,
    wakes: f64,
}

impl Counters {
    /// Every counter's name with its value, `at` nanoseconds after the first, `late_ns` later than meant.
    pub(crate) fn read(&mut self, at: u64, late_ns: u64) -> Vec<(String, f64)> {
        self.wakes += 1.0;
        #[allow(clippy::cast_precision_loss, reason = "microseconds for people")]
        let mut found = vec![("self wake late us".to_owned(), late_ns as f64 / 1e3)];
        let wakes = self.wakes;
        found.extend(self.rate(at, "self wakes /s", wakes));
        self.processors(at, &mut found);
        self.levels(&mut found);
        self.traffic(at, &mut found);
        found
    }

    /// How much a counter grew in a second, ten times a second: kernels count many of them in steps of ten
    /// milliseconds, and over less time than several of those a rate would be noise.
    fn rate(&mut self, at: u64, name: &str, value: f64) -> Option<(String, f64)> {
        let (then, before) = *self.before.entry(name.to_owned()).or_insert((at, value));
        if at - then < SECOND / 10 {
            return None;
        }
        self.before.insert(name.to_owned(), (at, value));
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let seconds = (at - then) as f64 / 1e9;
        Some((name.to_owned(), (value - before) / seconds))
    }

    /// Busy ticks of each processor, in hundredths of a second; switches, interrupts and new processes.
    fn processors(&mut self, at: u64, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/stat") {
            let (name, numbers) = split(&line);
            let counter = match (name.as_str(), numbers.as_slice()) {
                (cpu, [user, nice, system, ..]) if cpu.starts_with("cpu") && cpu != "cpu" => {
                    (format!("{cpu} busy %"), user + nice + system)
                }
                ("ctxt", [n, ..]) => ("context switches /s".to_owned(), *n),
                ("intr", [n, ..]) => ("interrupts /s".to_owned(), *n),
                ("processes", [n, ..]) => ("new processes /s".to_owned(), *n),
                ("procs_running", [n, ..]) => {
                    found.push(("running".to_owned(), *n));
                    continue;
                }
                _ => continue,
            };
            found.extend(self.rate(at, &counter.0, counter.1));
        }
    }

    fn levels(&self, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/meminfo") {
            let (name, numbers) = split(&line);
            if let ("MemAvailable:" | "Dirty:" | "Cached:", [kib, ..]) =
                (name.as_str(), numbers.as_slice())
            {
                found.push((format!("{} MiB", name.trim_end_matches(':')), kib / 1024.0));
            }
        }
        if let Some(line) = lines("/proc/loadavg").first()
            && let Some(load) = line.split(' ').next().and_then(|load| load.parse().ok())
        {
            found.push(("load".to_owned(), load));
        }
    }

    fn traffic(&mut self, at: u64, found: &mut Vec<(String, f64)>) {
        for line in lines("/proc/net/dev") {
            let (name, numbers) = split(&line);
            if let [received, _, _, _, _, _, _, _, sent, ..] = numbers.as_slice() {
                let name = name.trim_end_matches(':');
                found.extend(self.rate(at, &format!("net {name} in B/s"), *received));
                found.extend(self.rate(at, &format!("net {name} out B/s"), *sent));
            }
        }
        for line in lines("/proc/diskstats") {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, name, _, _, read, _, _, _, written, ..] = fields.as_slice() else {
                continue;
            };
            for (what, sectors) in [("read", read), ("write", written)] {
                if let Ok(sectors) = sectors.parse::<f64>() {
                    let name = format!("disk {name} {what} B/s");
                    found.extend(self.rate(at, &name, sectors * 512.0));
                }
            }
        }
    }
}

/// The lines of a file of the system; none where it has no such file.
fn lines(path: &str) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The first word of a line, and the numbers behind it.
fn split(line: &str) -> (String, Vec<f64>) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    (name, words.map_while(|word| word.parse().ok()).collect())
}
