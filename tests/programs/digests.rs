//! The shared benchmark input is the one that every engine was measured on: its digests are known.

#[path = "../../benches/common/peers.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the benches")]
mod peers;

use peers::{Digest, Dist, WINDOW_MS};

#[test]
fn digests_of_twenty_million_events() {
    assert_eq!(Digest::of(20_000_000, WINDOW_MS, &Dist::zipf()), Digest::ZIPF_20M);
    assert_eq!(Digest::of(20_000_000, WINDOW_MS, &Dist::Uniform), Digest::UNIFORM_20M);
}
