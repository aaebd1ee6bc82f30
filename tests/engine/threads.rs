//! A running pipeline: a producer thread for each lane, its own thread for the engine, results on the caller's.

use super::{Gathered, Setup, windows};
use crate::spec::compare::EngineOutput;
use crate::spec::{Action, Query, Reading};
use pelton::{Pipeline, Policy, Result};
use std::time::Duration;

/// Runs a scenario whose lanes neither idle nor join: all open before the first event. `slow` makes the consumer
/// sleep on each batch of results.
pub fn run(
    query: &Query,
    actions: &[Action],
    setup: &Setup,
    (policy, slow): (Policy, Option<Duration>),
    filtered: u64,
) -> Result<EngineOutput> {
    let pipeline = Pipeline::start(windows(query, setup), setup.options(policy))?;
    let monitor = pipeline.monitor();
    let lanes = actions.iter().filter(|a| matches!(a, Action::Open(_))).count();
    let lanes = u32::try_from(lanes).expect("few lanes");
    let events_of = |lane: u32| {
        let of = move |action: &Action| match action {
            Action::Event(l, reading) if *l == lane => Some(*reading),
            _ => None,
        };
        actions.iter().filter_map(of).collect::<Vec<Reading>>()
    };
    let feeds = (0..lanes).map(|lane| pipeline.lane().map(|feed| (feed, events_of(lane))));
    let feeds = feeds.collect::<Result<Vec<_>>>()?;
    let events = feeds.iter().map(|(_, events)| events.len() as u64).sum();
    let (opener, mut results) = pipeline.split();
    drop(opener);
    let chunk = setup.chunk;
    let producers: Vec<_> = feeds
        .into_iter()
        .map(|(mut feed, events)| {
            std::thread::spawn(move || {
                for part in events.chunks(chunk) {
                    assert_eq!(feed.push_all(part), part.len(), "it waits for room");
                }
            })
        })
        .collect();
    let mut gathered = Gathered::new(query, setup);
    let mut failed = None;
    for rows in &mut results {
        match rows {
            Ok(rows) => gathered.rows(&rows),
            Err(error) => failed = Some(error),
        }
        slow.inspect(|slow| std::thread::sleep(*slow));
    }
    for producer in producers {
        producer.join().expect("a producer");
    }
    gathered.asides(results.asides());
    match failed {
        Some(error) => Err(error),
        None => Ok(gathered.finish(&monitor.stats(), events, filtered)),
    }
}
