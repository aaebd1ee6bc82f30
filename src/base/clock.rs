//! Monotonic time since the process first asked, for stamps and latencies.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds on a monotonic clock whose zero is this process's first call.
#[inline]
pub fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let elapsed = start.elapsed();
    // 584 years of nanoseconds fit.
    elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
}
