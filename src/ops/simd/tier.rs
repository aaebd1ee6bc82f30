//! The instructions that an encoder's operators run on: the best that the processor has, its *tier*.
//!
//! `PELTON_CPU_TIER` in the environment forces one: `plain` (any processor, the reference), `neon` (NEON with products
//! of bytes, on AArch64), `avx2` (AVX2 with FMA), `avx512` (AVX-512 with VNNI and BF16), or `amx` (its tiles, on
//! Linux). Products of low precision are a tier's own. What is F32 takes the widest vectors, AVX-512 without VNNI and
//! BF16 among them, and with `avx2` those of AVX2. Vectors of all widths fuse and add in the same order, so F32, F16
//! and INT8 give the same bytes on all tiers.

use crate::base::error::{Error, Result};
use std::sync::OnceLock;

/// What forces a tier.
const VARIABLE: &str = "PELTON_CPU_TIER";

/// Instructions for products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Tier {
    /// Those that any processor has.
    Plain,
    /// NEON with SDOT.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 with VNNI and BF16.
    Avx512,
    /// Tiles of AMX beside AVX-512.
    Amx,
}

/// All of them.
pub(super) const TIERS: [(&str, Tier); 5] = [
    ("plain", Tier::Plain),
    ("neon", Tier::Neon),
    ("avx2", Tier::Avx2),
    ("avx512", Tier::Avx512),
    ("amx", Tier::Amx),
];

impl Tier {
    /// As it is asked for.
    pub(in crate::ops) fn name(self) -> &'static str {
        TIERS.into_iter().find(|(_, tier)| *tier == self).map_or("plain", |(name, _)| name)
    }

    /// Whether this processor has it.
    pub(super) fn is_there(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => super::wide::avx2_is_there(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                super::available()
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
                    && std::arch::is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => Self::Avx512.is_there() && super::amx::available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            Self::Amx => false,
        }
    }
}

/// The best tier, or that which was asked for.
fn choose(asked: Option<&str>) -> Result<Tier> {
    let there = || TIERS.into_iter().filter(|(_, tier)| tier.is_there());
    let Some(asked) = asked else {
        return Ok(there().next_back().map_or(Tier::Plain, |(_, tier)| tier));
    };
    if let Some((_, tier)) = there().find(|(name, _)| *name == asked) {
        return Ok(tier);
    }
    let names: Vec<&str> = there().map(|(name, _)| name).collect();
    let names = names.join(", ");
    Err(Error::invalid(format!(
        "{VARIABLE}: {asked:?} is none of what this processor has: {names}"
    )))
}

/// The tier that products run on.
///
/// # Errors
/// `Invalid` when the environment asks for one that is not there.
pub(in crate::ops) fn tier() -> Result<Tier> {
    static TIER: OnceLock<Result<Tier>> = OnceLock::new();
    let chosen = TIER.get_or_init(|| match std::env::var_os(VARIABLE) {
        Some(asked) => choose(Some(&asked.to_string_lossy())),
        None => choose(None),
    });
    chosen.clone()
}

/// Whether the environment asks for this tier, and it is there.
#[cfg(target_arch = "x86_64")]
pub(super) fn is_asked(of: Tier) -> bool {
    std::env::var_os(VARIABLE).is_some() && tier() == Ok(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_that_is_not_there_is_refused_by_name() {
        assert_eq!(choose(Some("plain")), Ok(Tier::Plain));
        assert!(choose(None).is_ok_and(Tier::is_there));
        let error = choose(Some("amx9")).expect_err("there is none").to_string();
        assert!(error.starts_with(
            "invalid: PELTON_CPU_TIER: \"amx9\" is none of what this processor has: plain"
        ));
    }
}
