//! Floor 2: operators: a spec in words, the kernels, and how they are recorded into plans.
//!
//! One operator is one file here, one shader under `shaders/`, one CUDA source under `kernels/`, one naive
//! spec and one property list under `tests/`, and one line in [`KERNELS`]. Operators know plans, never devices.
//! Those of encoders are there with the feature `model` only.

/// The source of a window kernel's shader: what all of them share, then its own file.
macro_rules! window_shader {
    ($name:literal) => {
        concat!(
            include_str!("../../shaders/window.wgsl"),
            include_str!(concat!("../../shaders/", $name, ".wgsl"))
        )
    };
}

pub mod adwin;
pub mod art;
#[cfg(feature = "model")]
pub mod attention;
pub mod batch;
pub mod decide;
pub mod detector;
pub mod drift;
#[cfg(feature = "model")]
pub mod embed;
pub mod ends;
pub mod ensemble;
pub mod ewma;
pub mod expire;
pub mod expr;
pub mod filter;
pub mod fire;
#[cfg(feature = "model")]
pub mod float;
pub mod fold;
pub mod forest;
#[cfg(feature = "model")]
pub mod gelu;
#[cfg(feature = "model")]
pub mod gemm;
pub mod group;
pub mod half_space;
pub mod keys;
pub mod label;
pub mod loda;
#[cfg(feature = "model")]
pub mod low;
pub mod math;
pub mod merge;
mod nodes;
mod number;
pub mod page;
pub mod period;
#[cfg(feature = "model")]
pub mod pool;
pub mod profile;
pub mod row;
pub mod score;
pub mod season;
pub(crate) mod simd;
pub mod spectral;
pub mod state;
pub mod stretch;
pub mod sub_pca;
#[cfg(feature = "model")]
pub mod tokens;
mod walk;

use crate::plan::Kernel;

/// Every kernel: what the tests, the documentation and the benches walk.
pub const KERNELS: &[&Kernel] = &[
    &filter::SIFT,
    &group::GROUP_COUNT,
    &group::GROUP_SCAN,
    &group::GROUP_SCATTER,
    &group::GROUP_MARK,
    &group::GROUP_SEGMENTS,
    &keys::KEYS,
    &keys::DENSE,
    &keys::SETTLE,
    &keys::RESOLVE,
    &keys::REHASH,
    &expire::EXPIRE,
    &fold::FOLD,
    &score::SCORE,
    &forest::FOREST,
    &half_space::HALF_SPACE,
    &loda::LODA,
    &season::SEASON,
    &profile::PROFILE,
    &sub_pca::SUB_PCA,
    &spectral::SPECTRAL,
    &art::ART,
    &ensemble::ENSEMBLE,
    &ends::ELECT,
    &ends::ENDS,
    &merge::MERGE,
    &merge::CLEAR,
    &merge::ZERO,
    &fire::FIRE,
    #[cfg(feature = "model")]
    &embed::EMBED,
    #[cfg(feature = "model")]
    &gemm::GEMM,
    #[cfg(feature = "model")]
    &gemm::GEMM_NORM,
    #[cfg(feature = "model")]
    &attention::ATTENTION,
    #[cfg(feature = "model")]
    &pool::POOL,
];
