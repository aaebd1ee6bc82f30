//! Batches built by hand: real lanes, a header without spans, and every device that is here to judge.

#![allow(dead_code, reason = "each test that includes this uses its part of it")]

use crate::cuda_host;
use pelton::Pod;
use pelton::device::{Device, ProgramId, Queue};
use pelton::ops::batch::{CHUNKS, Chunk, EVENTS, FIXED, GROUPS};
use pelton::ring::{Lane, LaneOptions, Lease, Tail, lane};
use std::io::Write;

/// The processor, the CUDA kernels on it in two orders of their threads, and the software adapter where there is one;
/// a test that goes without says so.
pub(crate) fn devices(test: &str) -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    devices.extend([0, 1].into_iter().filter_map(|seed| cuda_host::device::open(test, seed)));
    match Device::named("wgpu:llvmpipe") {
        Ok(device) => devices.push(device),
        Err(error) if cfg!(feature = "wgpu") => skip(test, &error.to_string()),
        Err(_) => {}
    }
    devices
}

fn skip(test: &str, why: &str) {
    eprintln!("{test}: {why}");
    if let Some(path) = std::env::var_os("PELTON_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let line = format!("SKIP {test}: no software Vulkan adapter\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list can be written");
    }
}

/// Events in lanes of their own, one a range; no range is empty.
pub(crate) struct Ranges<E: Pod>(Vec<(Lane<E>, Tail, u64)>);

impl<E: Pod> Ranges<E> {
    pub(crate) fn new(ranges: &[&[E]]) -> Self {
        let fill = |events: &&[E]| {
            let options = LaneOptions { events: events.len(), ..LaneOptions::default() };
            let (mut lane, mut tail) = lane(&options).expect("events of whole words");
            let mut run = lane.write(events.len()).expect("the lane is empty");
            run.copy_from_slice(events);
            run.commit(events.len(), 0, u64::MAX);
            tail.next().expect("a run was committed");
            (lane, tail, events.len() as u64)
        };
        Self(ranges.iter().map(fill).collect())
    }

    /// All of them, leased once.
    pub(crate) fn leases(&mut self) -> Vec<Lease> {
        self.0.iter_mut().map(|(_, tail, events)| tail.lease(0, *events)).collect()
    }
}

/// Events of one range that a header names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) range: usize,
    pub(crate) at: usize,
    pub(crate) events: usize,
}

/// A header that names these events of ranges of these sizes, in chunks as the device takes them.
pub(crate) fn head(device: &Device, ranges: &[usize], pieces: &[Piece]) -> Vec<u32> {
    let word = |n: usize| u32::try_from(n).expect("small");
    let most = if device.caps().in_place { usize::MAX } else { 256 };
    let mut head = vec![0; FIXED];
    head[EVENTS] = word(ranges.iter().sum());
    for piece in pieces {
        let first: usize = ranges[..piece.range].iter().sum::<usize>() + piece.at;
        let mut done = 0;
        while done < piece.events {
            let events = most.min(piece.events - done);
            let chunk = Chunk {
                first: word(first + done),
                events: word(events),
                spans_at: 0,
                spans: 0,
                all: false,
                lane: 0,
                seq: 0,
                range: word(piece.range),
                at: word(piece.at + done),
            };
            head.extend(chunk.words());
            head[CHUNKS] += 1;
            done += events;
        }
    }
    head[GROUPS] = head[CHUNKS];
    head
}

/// All events of ranges of these sizes.
pub(crate) fn whole(ranges: &[usize]) -> Vec<Piece> {
    let piece = |(range, &events)| Piece { range, at: 0, events };
    ranges.iter().enumerate().map(piece).filter(|p| p.events > 0).collect()
}

/// Submits a batch and waits for it.
pub(crate) fn run(queue: &mut dyn Queue, program: ProgramId, head: &[u32], leases: Vec<Lease>) {
    let ticket = queue.submit(program, head, leases).expect("the device is there");
    loop {
        if let Some(done) = queue.poll().expect("the device is there") {
            assert_eq!(done.ticket, ticket);
            return;
        }
        std::thread::yield_now();
    }
}
