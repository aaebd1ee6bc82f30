//! The host: what it is, what its processor spends, and how fast its memory is.
//!
//! What a system does not tell is "unknown", never a guess and never zero.

use super::json::{Json, object};
use pelton::base::clock;
use std::process::Command;

/// What is written where nothing is known.
pub(crate) const UNKNOWN: &str = "unknown";

fn known(text: Option<String>) -> Json {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.into()).into()
}

fn file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// CPU seconds of this process, all its threads, those that ended included; to a hundredth on Linux.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = file("/proc/self/stat")?;
    // The name of the program stands in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    // Linux shows programs hundredths of a second, whatever its own clock does.
    Some(ticks / 100.0)
}

/// CPU seconds of the calling thread.
pub(crate) fn thread_seconds() -> Option<f64> {
    let stat = file("/proc/thread-self/schedstat")?;
    let ns: f64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(ns / 1e9)
}

/// Bytes a second that one thread copies from memory to memory, counted once: the best of five passes over
/// far more than a cache holds.
#[allow(clippy::cast_precision_loss, reason = "bytes and nanoseconds of a short measurement")]
pub(crate) fn copy_bandwidth() -> f64 {
    const BYTES: usize = 64 << 20;
    let from = vec![1u8; BYTES];
    let mut to = vec![0u8; BYTES];
    let pass = |_| {
        let begin = clock::now_ns();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        BYTES as f64 * 1e9 / (clock::now_ns() - begin).max(1) as f64
    };
    (0..5).map(pass).fold(0.0, f64::max)
}

/// The processor as it calls itself.
pub(crate) fn cpu_model() -> String {
    let info = file("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or(UNKNOWN, |l| l.trim_start_matches([' ', '\t', ':'])).to_owned()
}

fn memory_bytes() -> Json {
    let info = file("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or_else(|| UNKNOWN.into(), |kib| (kib << 10).into())
}

fn kernel() -> Json {
    let release = file("/proc/sys/kernel/osrelease").unwrap_or_default();
    known(file("/proc/sys/kernel/ostype").map(|os| format!("{} {}", os.trim(), release.trim())))
}

fn load() -> Json {
    let loads = file("/proc/loadavg").and_then(|text| {
        let loads = text.split_whitespace().take(3).map(str::parse::<f64>);
        loads.collect::<Result<Vec<_>, _>>().ok()
    });
    loads.map_or_else(|| UNKNOWN.into(), Json::from)
}

/// What a program in the repository prints, if it is there and succeeds.
fn ask(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let out = out.ok().filter(|out| out.status.success())?;
    Some(String::from_utf8(out.stdout).ok()?.trim().to_owned())
}

/// What the machine that built this program said of the build, when it was another one, or a program says now.
fn built(variable: &str, program: &str, args: &[&str]) -> Option<String> {
    std::env::var(variable).ok().or_else(|| ask(program, args))
}

/// The day as `YYYY-MM-DD`, UTC.
fn date() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let Ok(since) = since else { return UNKNOWN.into() };
    let (year, month, day) = civil(since.as_secs() / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The day that lies `days` after 1970-01-01, counted out.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, length) in (1..).zip(months) {
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    unreachable!("the days left are fewer than the year's")
}

/// Everything about the host and the build that may explain a figure.
pub(crate) fn context() -> Json {
    // Files that git does not know cannot have been built into the library under test.
    let status = built("PELTON_CHANGES", "git", &["status", "--porcelain", "--untracked-files=no"]);
    let dirty = status.map_or_else(|| UNKNOWN.into(), |status| (!status.is_empty()).into());
    let cores = std::thread::available_parallelism().map(|n| n.get() as u64);
    object([
        ("pelton", env!("CARGO_PKG_VERSION").into()),
        ("commit", known(built("PELTON_COMMIT", "git", &["rev-parse", "HEAD"]))),
        ("dirty", dirty),
        ("rustc", known(built("PELTON_RUSTC", "rustc", &["--version"]))),
        ("profile", if cfg!(debug_assertions) { "debug" } else { "release" }.into()),
        ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS).into()),
        ("cpu", cpu_model().into()),
        ("cores", cores.map_or_else(|_| UNKNOWN.into(), Json::from)),
        ("memory_bytes", memory_bytes()),
        ("kernel", kernel()),
        ("load", load()),
        ("date", date().into()),
        ("clocks", UNKNOWN.into()),
        ("temperature", UNKNOWN.into()),
        ("power_limit", UNKNOWN.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!((civil(0), civil(59)), ((1970, 1, 1), (1970, 3, 1)));
        assert_eq!((civil(11_016), civil(19_782)), ((2000, 2, 29), (2024, 2, 29)));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }
}
