//! Streams through several lanes, scored by event time, and what must come out whatever the lanes do meanwhile.

use super::labels::{Said, run_labelled};
use super::{Reading, Scored, settle, stream};
use pelton::base::rng::SplitMix;
use pelton::{Device, Inline, Label, LaneOptions, Options, Order, Reason, Scores, Stats};

/// What a lane brings.
#[derive(Debug, Clone, Copy)]
pub enum Item {
    Event(Reading),
    Label(u64, Label),
}

/// A stream spread over lanes, each key over all of them, with times out of order and labels here and there.
pub fn lanes_of(seed: u64, n: usize, lanes: usize) -> Vec<Vec<Item>> {
    let mut rng = SplitMix::new(seed);
    let mut items = vec![Vec::new(); lanes];
    for (i, event) in stream(seed, n, 12).into_iter().enumerate() {
        let lane = usize::try_from(rng.below(lanes as u64)).expect("few lanes");
        items[lane].push(Item::Event(event));
        if i % 97 == 96 {
            let score = if i % 2 == 0 { 3.0 } else { 9.0 };
            let label = if i % 3 == 0 { Label::Anomaly } else { Label::Normal { score } };
            items[lane].push(Item::Label(event.wide, label));
        }
    }
    items
}

/// By the definition: each lane's events that are late or beyond go aside, all others are sorted by time, lane, place.
pub fn sorted(
    lanes: &[Vec<Item>],
    disorder: u64,
    horizon: u64,
) -> (Vec<Reading>, Vec<Said>, [u64; 2]) {
    let mut all: Vec<(u64, usize, usize, Item)> = Vec::new();
    let mut aside = [0, 0];
    for (lane, items) in lanes.iter().enumerate() {
        let mut max: Option<u64> = None;
        for (place, &item) in items.iter().enumerate() {
            let time = match item {
                Item::Label(..) => max.unwrap_or(0),
                Item::Event(Reading { at, .. }) => {
                    if max.is_some_and(|max| at > max.saturating_add(horizon)) {
                        aside[1] += 1;
                        continue;
                    }
                    if max.is_some_and(|max| at < max.saturating_sub(disorder)) {
                        aside[0] += 1;
                        continue;
                    }
                    max = max.max(Some(at));
                    at
                }
            };
            all.push((time, lane, place, item));
        }
    }
    all.sort_by_key(|&(time, lane, place, _)| (time, lane, place));
    let (mut events, mut said) = (Vec::new(), Vec::new());
    for (.., item) in all {
        match item {
            Item::Event(event) => events.push(event),
            Item::Label(key, label) => said.push(Said { after: events.len(), key, label }),
        }
    }
    (events, said, aside)
}

/// Runs lanes against each other as `seed` says.
pub fn interleaved(
    device: &Device,
    query: Scores<Reading>,
    lanes: &[Vec<Item>],
    (batch, seed): (usize, u64),
) -> (Scored, Stats, Vec<Reason>) {
    let options = Options {
        batch_events: batch,
        in_flight: 3,
        lane: LaneOptions { events: 1 << 14, ..LaneOptions::default() },
        keys: 1,
        seed: Some(7),
        ..Options::on(device.clone())
    };
    let mut rng = SplitMix::new(seed);
    let mut engine = Inline::new(query, options).expect("the query runs");
    let mut feeds: Vec<_> = lanes.iter().map(|_| engine.lane().ok()).collect();
    let mut scored = Scored::new();
    let mut at = vec![0; lanes.len()];
    // All lanes are there before the first event is taken: one that joins later does so at the watermark.
    settle(&mut engine, &mut scored);
    while feeds.iter().any(Option::is_some) {
        let lane = usize::try_from(rng.below(lanes.len() as u64)).expect("few lanes");
        let Some(feed) = &mut feeds[lane] else { continue };
        for _ in 0..rng.below(40) {
            match lanes[lane].get(at[lane]) {
                Some(Item::Event(event)) => feed.push(*event).expect("there is room"),
                Some(Item::Label(key, label)) => feed.feedback(*key, *label),
                None => break,
            }
            at[lane] += 1;
        }
        if at[lane] == lanes[lane].len() {
            feeds[lane] = None;
        }
        if rng.below(4) == 0 {
            settle(&mut engine, &mut scored);
        }
    }
    engine.finish();
    settle(&mut engine, &mut scored);
    let reasons = engine.asides().iter().map(|aside| aside.reason).collect();
    (scored, engine.stats(), reasons)
}

/// Holds what a device makes of lanes in several interleavings to the definition.
pub fn same_by_time(
    device: &Device,
    query: impl Fn() -> Scores<Reading>,
    (seed, n, lanes): (u64, usize, usize),
    (disorder, horizon): (u64, u64),
) {
    let query = || Scores { rate: 0.01, warm_up: 50, ..query() };
    let lanes = lanes_of(seed, n, lanes);
    let (events, said, [late, beyond]) = sorted(&lanes, disorder, horizon);
    let (want, was) = run_labelled(&Device::cpu(), query(), (1024, 1000), &events, &said);
    let by_time = || Scores { order: Order::EventTime { disorder, horizon }, ..query() };
    for (batch, seed) in [(64, 1), (7, 2), (64, 3)] {
        let (got, stats, reasons) = interleaved(device, by_time(), &lanes, (batch, seed));
        assert!(got == want, "batches of {batch}, interleaving {seed}");
        assert_eq!([stats.late, stats.beyond], [late, beyond]);
        assert_eq!(reasons.iter().filter(|&&r| r == Reason::Late).count() as u64, late);
        assert_eq!((stats.labels, stats.labels_unknown), (was.labels, was.labels_unknown));
        assert_eq!(stats.events, n as u64);
    }
}
