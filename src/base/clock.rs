//! Monotonic time since the process first asked, for stamps and latencies.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds on a monotonic clock whose zero is this process's first call.
#[inline]
pub fn now_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    // 584 years of nanoseconds fit; an overflow would be a broken clock, so saturate.
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
