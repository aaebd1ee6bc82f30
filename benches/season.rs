//! A3-season: what a season costs whose length each key finds by itself, beside the same season named.
//!
//! Events of one value through the whole engine on the processor (lane, batches, distances, detector, decision, a row
//! for each event), once by a season of 48 slots that the query names, once by one of up to 336 slots that is to be
//! found, in turns. Time is that of this thread on the processor, where the system tells it, so that others on the
//! machine do not count; the median round counts. Before anything is timed the season has been found, and is the named
//! one. Predicted: 0.8 times the rate of the named one with twelve events a slot, 0.3 with one.

#[path = "common/machine.rs"]
mod machine;

use machine::machine;
use pelton::base::rng::SplitMix;
use pelton::{
    Detector, Device, Feed, Inline, LaneOptions, Options, Pod, Result, Scores, Season, Zeroable,
    field,
};
use std::f64::consts::TAU;
use std::time::Instant;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    value: f32,
    unused: u32,
}

/// Events of a round.
const EVENTS: u64 = 1 << 17;
const ROUNDS: u64 = 9;
/// Slots of the season, and of the longest one.
const SLOTS: u32 = 48;
const LONGEST: u32 = 336;
/// Identifier, events a slot, and what the rate is held to, as a share of that of the named season.
const ROWS: [(&str, u32, f64); 2] = [("A3-season", 12, 0.8), ("A3-season-one", 1, 0.3)];

/// One round's events, of so many a slot.
fn events(round: u64, each: u32) -> Vec<Reading> {
    let mut rng = SplitMix::new(round);
    let event = |at: u64| {
        let noise: f64 = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let turn = at as f64 / f64::from(SLOTS * each);
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let value = (3.0 * (TAU * turn).sin() + noise) as f32;
        Reading { at, value, unused: 0 }
    };
    (round * EVENTS..(round + 1) * EVENTS).map(event).collect()
}

/// Seconds of this thread on the processor, or of the clock on the wall where the system does not tell.
fn seconds(begin: Instant) -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = spent.and_then(|spent| spent.split(' ').next()?.parse::<u64>().ok());
    spent.map_or(begin.elapsed().as_secs_f64(), |ns| ns as f64 / 1e9)
}

/// An engine by one season.
struct Engine {
    inline: Inline<Reading>,
    lane: Feed<Reading>,
    seconds: Vec<f64>,
}

impl Engine {
    fn new(season: Season) -> Result<Self> {
        let query = Scores {
            detector: Detector::Season(season),
            ..Scores::new(field!(Reading.at), field!(Reading.value))
        };
        let lane = LaneOptions { events: 1 << 14, ..LaneOptions::default() };
        let inline = Inline::new(query, Options { lane, ..Options::on(Device::cpu()) })?;
        let lane = inline.lane()?;
        Ok(Self { inline, lane, seconds: Vec::new() })
    }

    fn round(&mut self, events: &[Reading]) -> Result<()> {
        let clock = Instant::now();
        let begin = seconds(clock);
        for part in events.chunks(1 << 12) {
            assert_eq!(self.lane.push_all(part), part.len(), "the lane has room");
            self.inline.settle(|_| ())?;
        }
        self.seconds.push(seconds(clock) - begin);
        Ok(())
    }

    /// Nanoseconds an event, the first round aside.
    fn cost(&self) -> f64 {
        let mut all = self.seconds[1..].to_vec();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2] / EVENTS as f64 * 1e9
    }
}

fn print(id: &str, each: u32, goal: f64) -> Result<()> {
    let slot = u64::from(each);
    let mut named = Engine::new(Season { slot, seasons: [SLOTS, 0, 0, 0], longest: 0 })?;
    let mut found = Engine::new(Season::learnt(slot, LONGEST))?;
    for round in 0..=ROUNDS {
        let events = events(round, each);
        named.round(&events)?;
        found.round(&events)?;
        let states = found.inline.states()?;
        let period = states.seasons().find_map(|(_, _, period)| period.slots);
        assert!(period.is_some_and(|slots| slots.abs_diff(SLOTS) <= 1), "found {period:?}");
    }
    let (named, found) = (named.cost(), found.cost());
    let ratio = named / found;
    println!(
        "{{\"id\":\"{id}\",\"value\":{:.3},\"unit\":\"M events/s\",\"peer\":\"the same season, named\",\
         \"version\":null,\"peer_value\":{:.3},\"ratio\":{ratio:.3},\"bound\":{goal},\"ok\":{},\"why\":\"lane to \
         row on one core, one key, {each} events a slot, up to {LONGEST} slots: {found:.0} ns an event against \
         {named:.0} of processor time\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        1e3 / found,
        1e3 / named,
        ratio >= goal,
        machine(),
    );
    Ok(())
}

/// `season [ID]`: that row, or both.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with('A'));
    for (id, each, goal) in ROWS {
        if wanted.as_deref().is_none_or(|wanted| wanted == id) {
            print(id, each, goal)?;
        }
    }
    Ok(())
}
