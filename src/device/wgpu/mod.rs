//! Any GPU that speaks WGSL: Vulkan, Metal, DX12.

use super::Backend;
use crate::base::error::{Error, Result};
use std::sync::Arc;

pub(super) fn open(_part: &str, _software: bool) -> Result<Arc<dyn Backend>> {
    Err(Error::unsupported("wgpu", "no adapter here"))
}

pub(super) fn names() -> Vec<String> {
    Vec::new()
}
