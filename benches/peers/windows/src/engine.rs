//! Pelton on the caller's thread: columns are written into a lane in place, result rows go into a digest.

use crate::events::Columns;
use crate::peers::Digest;
use bytemuck::{Pod, Zeroable};
use pelton::{Device, Feed, Inline, Key, Options, Stats, Value, Windows, field};

/// How far an event may lie behind, in milliseconds.
pub const DISORDER_MS: u64 = 1_000;
/// Events written into the lane at once.
pub const RUN: usize = 1_024;
/// Events whose keys, and values, fill a cache line.
const LINE: usize = 16;
/// How many events ahead of those it writes the producer asks for. Writing comes in bursts, between which the
/// processor forgets where it was in the columns. The loop, which never leaves them, gets slower when it asks.
const AHEAD: usize = 512;

/// 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    key: u32,
    value: f32,
}

/// One engine with one lane, and what it has emitted so far.
pub struct Engine {
    inline: Inline<Event>,
    lane: Feed<Event>,
    digest: Digest,
}

impl Engine {
    /// Count, sum, minimum and maximum by key in windows of `size` milliseconds, one every `slide`.
    pub fn new(size: u64, slide: u64) -> Self {
        // Values are multiples of a quarter.
        let mut value = Value::fixed(field!(Event.value), 2);
        value.variance = false;
        let windows = Windows {
            key: Key::hashed(field!(Event.key)),
            values: vec![value],
            disorder: DISORDER_MS,
            ..Windows::hopping(field!(Event.at), size, slide)
        };
        let inline = Inline::new(windows, Options::on(Device::cpu())).expect("a query for the CPU");
        let lane = inline.lane().expect("memory for a lane");
        Self { inline, lane, digest: Digest::default() }
    }

    fn poll(&mut self) {
        let digest = &mut self.digest;
        let polled = self.inline.poll(|rows| {
            for row in rows.iter() {
                digest.add(row.count(), row.sum(0), row.min(0), row.max(0));
            }
        });
        polled.expect("the CPU does not fail");
    }

    /// Takes events in, in runs whose lengths come from `runs`.
    pub fn take(&mut self, events: Columns<'_>, mut runs: impl FnMut() -> usize) {
        let mut done = 0;
        while done < events.len() {
            while !self.lane.is_ready() {
                self.poll();
            }
            let wanted = runs().min(events.len() - done);
            let mut run = self.lane.write(wanted).expect("the lane is ready");
            let n = run.len();
            for (i, to) in run.chunks_mut(LINE).enumerate() {
                let from = done + i * LINE;
                events.fetch(from + AHEAD);
                let part = events.part(from, from + to.len());
                let times_and_keys = part.at.iter().zip(part.key);
                for (event, ((&at, &key), &value)) in
                    to.iter_mut().zip(times_and_keys.zip(part.value))
                {
                    *event = Event { at, key, value };
                }
            }
            run.commit(n);
            done += n;
        }
    }

    /// Fires what is left.
    pub fn finish(self) -> (Digest, Stats) {
        let Self { mut inline, lane, mut digest } = self;
        lane.close();
        inline.finish();
        let settled = inline.settle(|rows| {
            for row in rows.iter() {
                digest.add(row.count(), row.sum(0), row.min(0), row.max(0));
            }
        });
        settled.expect("the CPU does not fail");
        (digest, inline.stats())
    }

    /// What has been counted so far.
    pub fn stats(&mut self) -> Stats {
        self.inline.stats()
    }
}

/// All of it, from nothing to the digest.
pub fn run(events: Columns<'_>, size: u64, slide: u64) -> (Digest, Stats) {
    let mut engine = Engine::new(size, slide);
    engine.take(events, || RUN);
    engine.finish()
}
