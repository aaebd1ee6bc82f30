//! CPU seconds, medians, memory, and the line of JSON that every bench prints.

use rustix::time::{ClockId, clock_gettime};

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// What `f` returns, and the CPU seconds of this process meanwhile.
pub fn timed<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let begin = cpu_seconds();
    let value = std::hint::black_box(f());
    (value, cpu_seconds() - begin)
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Most bytes of memory this process has had so far, where the system says so.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} x{cores}", model.trim_start_matches([' ', '\t', ':']))
}

/// What a bench found out.
#[derive(Debug, Default)]
pub struct Line {
    pub id: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// The rival and what it reached.
    pub peer: Option<(&'static str, f64)>,
    pub ratio: Option<f64>,
    pub bound: Option<String>,
    /// Whether it is as it should be; `None` when that cannot be said.
    pub ok: Option<bool>,
    pub why: String,
    pub rounds: usize,
}

impl Line {
    pub fn print(&self) {
        let text = |text: &str| format!("\"{}\"", text.replace(['"', '\\', '\n'], " "));
        let or_null = |field: Option<String>| field.unwrap_or_else(|| "null".to_owned());
        println!(
            "{{\"id\":{},\"value\":{:.3},\"unit\":{},\"peer\":{},\"version\":null,\"peer_value\":{},\
             \"ratio\":{},\"bound\":{},\"ok\":{},\"why\":{},\"rounds\":{},\"machine\":{}}}",
            text(self.id),
            self.value,
            text(self.unit),
            or_null(self.peer.map(|(name, _)| text(name))),
            or_null(self.peer.map(|(_, value)| format!("{value:.3}"))),
            or_null(self.ratio.map(|ratio| format!("{ratio:.3}"))),
            or_null(self.bound.as_deref().map(text)),
            or_null(self.ok.map(|ok| ok.to_string())),
            text(&self.why),
            self.rounds,
            text(&machine()),
        );
    }
}
