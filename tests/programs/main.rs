//! The examples, run as users run them, and the scripts.

#[cfg(feature = "model")]
#[path = "../encoder/family.rs"]
mod family;
#[cfg(feature = "model")]
#[path = "../encoder/folder.rs"]
mod folder;
#[path = "../../examples/bench_devices/json.rs"]
#[allow(dead_code, reason = "shared with the example")]
mod json;
#[cfg(feature = "model")]
#[path = "../encoder/model.rs"]
mod model;
#[path = "../quickstart/naive.rs"]
mod naive;
#[path = "../support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;

mod bench_devices;
mod digests;
#[cfg(feature = "model")]
mod embed;
mod fraud;
#[cfg(all(unix, feature = "tokio"))]
mod gateway;
#[cfg(unix)]
mod gpu_run;
#[cfg(feature = "model")]
mod moderation;
mod nab;
#[cfg(feature = "model")]
mod quantise;
mod quickstart;
mod quickstart_alerts;
mod quickstart_args;
mod sensors;
