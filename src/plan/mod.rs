//! Floor 1: plans are data: buffers and steps, recorded once, compiled by a device, replayed per batch.
//!
//! Nothing here knows a device or an operator, so a plan can be printed, hashed, checked and compared
//! before anything runs. What changes between two replays is one small header, binding 0 of every kernel.

pub mod check;
pub mod kernel;
pub mod record;

pub use kernel::{Access, Args, Bind, EventWords, Kernel, ParamField};
pub use record::{Buf, BufId, BufferDecl, Grid, Memory, OUTPUT_HEAD, Plan, Role, Step};
