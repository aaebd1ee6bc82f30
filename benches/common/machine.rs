//! What a measurement ran on.

/// The processor, in a word that JSON takes.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or("cpu", |model| model.trim_start_matches(['\t', ' ', ':'])).replace('"', "")
}
