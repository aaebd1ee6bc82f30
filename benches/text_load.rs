//! T6: a model over a stream of texts on the processor, under load: deadlines, memory, and an account of every event.
//!
//! First its capacity, in a closed loop. Then bursts on a schedule of their own at 90 % of that: the share of events
//! that are done within the deadline, the memory after a tenth of the time and at the end, and what was allocated
//! between. Last bursts at 150 %, once for each policy of a full lane. Some events are no texts. Each answer is
//! compared with the vector that its text has alone, to the bit, and each event is found again by its id: answered,
//! dropped or handed back.
//!
//! With all-MiniLM-L6-v2 where `PELTON_MINILM` names its folder, else with random weights of its shape.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rate, as a number of events"
)]

#[path = "common/machine.rs"]
mod machine;
#[path = "../tests/encoder/model.rs"]
mod model;
#[path = "../tests/steady/mod.rs"]
#[allow(dead_code, reason = "the allocator is what is used here")]
mod steady;
#[path = "common/text_load.rs"]
mod text_load;

use machine::machine;
use model::{SMALL, Shape, files};
use pelton::model::Model;
use pelton::{Policy, Result};
use std::fs::File;
use std::io::Read;
use std::time::Duration;
use text_load::{Load, Outcome, Pace, Phase, Sample};

/// Rows, and how long the load lasts.
const ROWS: [(&str, f64); 2] = [("T6-load", 600.0), ("T6-brief", 60.0)];
/// Of the capacity.
const LOAD: f64 = 0.9;
const OVERLOAD: f64 = 1.5;
const DEADLINE: Duration = Duration::from_millis(500);
/// What T6 is held to: deadlines kept, and growth of memory in KiB, a hundred pages of it for what a system does.
const GOAL: f64 = 0.999;
const GROWTH_MAX: u64 = 400;
const POLICIES: [Policy; 4] =
    [Policy::Block, Policy::Reject, Policy::DropNewest, Policy::DropOldest];

fn model() -> Result<(Model, &'static str)> {
    if let Some(folder) = std::env::var_os("PELTON_MINILM") {
        return Ok((Model::load(folder)?, "all-MiniLM-L6-v2"));
    }
    let shape = Shape { hidden: 384, heads: 12, layers: 6, inner: 1536, ..SMALL };
    Ok((Model::from_files(files(&shape, 1))?, "random weights of MiniLM's shape"))
}

/// Allocations so far, and KiB of memory in use, 0 where the system does not say. Allocates nothing.
fn sample() -> Sample {
    let mut bytes = [0; 4096];
    let read = File::open("/proc/self/status").and_then(|mut file| file.read(&mut bytes));
    let status = std::str::from_utf8(&bytes[..read.unwrap_or(0)]).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    [steady::allocations(), kib.unwrap_or(0)]
}

fn tell(what: &str, outcome: &Outcome) {
    let Outcome { sent, answered, errors, dropped, rejected, latency, .. } = outcome;
    eprintln!(
        "{what}: {sent} events: {answered} vectors, {errors} errors, {dropped} dropped, {rejected} handed back; \
         {:.1} answers/s, {:.4} of them in time; {latency}",
        outcome.rate(),
        outcome.share_kept(),
    );
}

/// `text_load [ID]`: that row, or the shorter one.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with("T6"));
    let (id, seconds) =
        ROWS.into_iter().find(|(id, _)| wanted.as_deref() == Some(id)).unwrap_or(ROWS[1]);
    let (model, name) = model()?;
    let mut load = Load::new(&model, DEADLINE);
    let run =
        |load: &Load, policy, pace, seconds| load.run(Phase { policy, pace, seconds }, sample);
    let closed = run(&load, Policy::Block, Pace::Closed, (seconds / 20.0).max(10.0));
    let capacity = closed.rate();
    tell("capacity", &closed);
    // Lanes hold what is done in a quarter of the deadline.
    load.held = (capacity * DEADLINE.as_secs_f64() / 4.0) as usize + 1;
    let steady = run(&load, Policy::Block, Pace::Bursts(LOAD * capacity), seconds);
    tell("90 %", &steady);
    for policy in POLICIES {
        let pace = Pace::Bursts(OVERLOAD * capacity);
        tell(&format!("150 %, {policy:?}"), &run(&load, policy, pace, seconds / 40.0 + 5.0));
    }
    let [early, late] = &steady.samples;
    let (allocated, grown) = (late[0] - early[0], late[1].saturating_sub(early[1]));
    let (kept, latency) = (steady.share_kept(), &steady.latency);
    let ms = |q| latency.quantile(q).map_or(f64::NAN, |ns| ns as f64 / 1e6);
    println!(
        "{{\"id\":\"{id}\",\"value\":{kept:.5},\"unit\":\"of deadlines kept\",\"peer\":null,\"version\":null,\
         \"peer_value\":null,\"ratio\":null,\"bound\":{GOAL},\"ok\":{},\"why\":\"{name}; capacity {capacity:.1} \
         events/s in a closed loop; {} events in bursts at {LOAD} of it for {seconds} s, deadline {} ms: p50 {:.1} \
         p99 {:.1} p999 {:.1} max {:.1} ms; memory +{grown} KiB and {allocated} allocations from a tenth of the time \
         to the end; every event accounted for, also at {OVERLOAD} of capacity under four policies\",\"rounds\":1,\
         \"machine\":\"{}\"}}",
        kept >= GOAL && grown <= GROWTH_MAX,
        steady.sent,
        DEADLINE.as_millis(),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        latency.max() as f64 / 1e6,
        machine(),
    );
    Ok(())
}
