//! What the events' way to the device can bear, which bounds how many of them it can take.
//!
//! For CUDA it is the bus itself. Elsewhere it is what the seam gives: a plan that takes events to the device and reads
//! one word of them.

use super::host::UNKNOWN;
use super::json::Json;
use super::load::EVENT_BYTES;
use pelton::Result;
use pelton::base::clock;
use pelton::device::{Device, QueueOptions};
use pelton::plan::{Access, Bind, Grid, Kernel, Memory, Plan, Role};
use pelton::ring::{LaneOptions, lane};
use std::time::Duration;

/// Events of a batch: as many as a pipeline's by default.
const EVENTS: usize = 1 << 14;
const IN_FLIGHT: usize = 3;
const WORDS: usize = EVENT_BYTES / 4;

/// Reads one word, so that no driver finds out that the events are not wanted.
static TOUCH: Kernel = Kernel {
    name: "touch",
    params: &[],
    events: true,
    binds: &[Bind { name: "sink", access: Access::Write }],
    wgsl: "
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(2) var<storage, read> events: array<u32>;
@group(0) @binding(3) var<storage, read_write> sink: array<u32>;
@compute @workgroup_size(256)
fn touch(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    let i = group_index(wid, n) * 256u + lane;
    if i == 0u { sink[0] = events[0] + head[1]; }
}
",
    cpu: |_| {},
};

/// Bytes a second that can reach the device, or in words why there is no such figure.
///
/// # Errors
/// What the device reports.
pub(crate) fn bandwidth(device: &Device, time: Duration) -> Result<Json> {
    if device.caps().in_place {
        Ok("in place".into())
    } else if device.caps().name.starts_with("cuda") {
        Ok(bus().unwrap_or_else(|why| format!("{UNKNOWN}: {why}").into()))
    } else {
        seam(device, time).map(Json::from)
    }
}

#[cfg(feature = "cuda")]
fn bus() -> std::result::Result<Json, String> {
    super::bus::measure().map(|bus| bus.to_device.into())
}

#[cfg(not(feature = "cuda"))]
fn bus() -> std::result::Result<Json, String> {
    Err("built without the feature `cuda`".into())
}

/// Bytes a second that reach the device, three batches in flight, for about this long.
///
/// # Errors
/// What the device reports.
#[allow(clippy::cast_precision_loss, reason = "bytes and nanoseconds of a short run")]
fn seam(device: &Device, time: Duration) -> Result<f64> {
    let mut queue = device.queue(QueueOptions { in_flight: IN_FLIGHT, outputs: IN_FLIGHT })?;
    let mut memory = Memory::default();
    let sink = memory.buffer::<u32>("sink", Role::Scratch, 4);
    queue.alloc(&memory.buffers)?;
    let mut plan = Plan::new("upload", 4);
    (plan.events_max, plan.stride) = (EVENTS, WORDS);
    plan.step(&TOUCH, Grid::Groups(1), (), &[sink.id]);
    let program = queue.compile(&plan, &memory)?;
    let options = LaneOptions { events: 8 * EVENTS, ..LaneOptions::default() };
    let (mut lane, mut tail) = lane::<[u32; WORDS]>(&options)?;
    device.register(tail.slab())?;
    let head = [1, u32::try_from(EVENTS).expect("a batch is small"), 1, 0];
    let (mut begin, mut sent, mut done, mut counted) = (clock::now_ns(), 0u64, 0u64, 0u64);
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    loop {
        let over = counted > 0 && clock::now_ns() - begin >= time;
        while !over && queue.room(program) {
            tail.reclaim();
            lane.write(EVENTS).expect("the lane has room").commit(EVENTS, 0, 0);
            let note = tail.next().expect("a run was committed");
            queue.submit(program, &head, vec![tail.lease(note.from, note.to)])?;
            sent += 1;
        }
        queue.flush()?;
        match queue.poll()? {
            Some(_) => done += 1,
            None if done == sent => break,
            None => std::thread::yield_now(),
        }
        // The first ones only warm up.
        if counted == 0 && done > 2 * IN_FLIGHT as u64 {
            (begin, counted) = (clock::now_ns(), done);
        }
    }
    let bytes = (done - counted) * (EVENTS * EVENT_BYTES) as u64;
    Ok(bytes as f64 * 1e9 / (clock::now_ns() - begin).max(1) as f64)
}
