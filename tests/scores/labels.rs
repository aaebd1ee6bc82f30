//! Streams with labels among their events, and what must become of the alerts: judged from the scores, one by one.

use super::{Reading, Scored, Words, moving, settle, stream};
use pelton::ops::score::{ALERT, DISMISSED, DRIFTED, MISSING, RESTING, RULED_OUT, USUAL, WARMING};
use pelton::{Device, Inline, Label, LaneOptions, Options, Scores, Stats};

/// A label, and how many events of the stream come before it.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub after: usize,
    pub key: u64,
    pub label: Label,
}

/// Scores a stream with labels among its events, all through one lane.
pub fn run_labelled(
    device: &Device,
    query: Scores<Reading>,
    (batch, chunk): (usize, usize),
    events: &[Reading],
    said: &[Said],
) -> (Scored, Stats) {
    let options = Options {
        batch_events: batch,
        in_flight: 3,
        lane: LaneOptions { events: 1 << 14, ..LaneOptions::default() },
        keys: 1,
        seed: Some(7),
        ..Options::on(device.clone())
    };
    let mut engine = Inline::new(query, options).expect("the query runs");
    let mut lane = engine.lane().expect("it takes lanes");
    let (mut scored, mut said) = (Scored::new(), said.iter().peekable());
    for (i, event) in events.iter().enumerate() {
        while let Some(said) = said.next_if(|said| said.after <= i) {
            lane.feedback(said.key, said.label);
        }
        lane.push(*event).expect("there is room");
        if i % chunk == chunk - 1 {
            settle(&mut engine, &mut scored);
        }
    }
    said.for_each(|said| lane.feedback(said.key, said.label));
    drop(lane);
    engine.finish();
    settle(&mut engine, &mut scored);
    (scored, engine.stats())
}

/// Labels for the alerts of a stream, each a few events after it: mostly normal; and some for what was none.
pub fn labels_for(events: &[Reading], scored: &Scored) -> Vec<Said> {
    let is_wide = scored.keys().any(|&key| key > 1 << 32);
    let mut said = Vec::new();
    let mut at: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
    for (i, event) in events.iter().enumerate() {
        let key = if is_wide { event.wide } else { event.key.into() };
        let place = at.entry(key).or_default();
        let words = &scored[&key][*place];
        *place += 1;
        if words[4] & ALERT != 0 {
            let score = f64::from(f32::from_bits(words[5])) / std::f64::consts::LN_10;
            let is_wrong = said.len() % 3 < 2;
            let label = if is_wrong { Label::Normal { score } } else { Label::Anomaly };
            said.push(Said { after: i + 1 + i % 5, key, label });
        }
    }
    said.sort_by_key(|said| said.after);
    said
}

/// Holds a key's flags to the definition, event by event, given the scores; returns how many were dismissed.
fn judge((asked, horizon): (f32, f32), events: &[(usize, Words)], said: &[&Said]) -> usize {
    let (mut bar, mut dismissed, mut seen) = ((0.0f32, 0u32), 0, 0);
    let mut said = said.iter().peekable();
    let take = |said: &Said, bar: &mut (f32, u32), seen: u32| {
        if (seen - bar.1) as f32 > 16.0 * horizon {
            bar.0 = 0.0;
        }
        match said.label {
            Label::Normal { score } => {
                #[allow(clippy::cast_possible_truncation, reason = "as the library rounds it")]
                let surprise = (score * std::f64::consts::LN_10) as f32;
                *bar = (bar.0.max(1.2 * surprise), seen);
            }
            Label::Anomaly => bar.0 = 0.0,
        }
    };
    for (place, words) in events {
        while let Some(said) = said.next_if(|said| said.after <= *place) {
            take(said, &mut bar, seen);
        }
        seen = words[9];
        let surprise = f32::from_bits(words[5]);
        let is = |flag| words[4] & flag != 0;
        let candidate = !is(USUAL) && !is(MISSING) && surprise > asked;
        let kept_back = is(WARMING) || is(RESTING) || is(RULED_OUT);
        let below = surprise <= bar.0 && (seen - bar.1) as f32 <= 16.0 * horizon;
        let below = candidate && !kept_back && below;
        assert_eq!(is(DISMISSED), below, "event {place}: {words:x?}, bar {bar:?}");
        assert_eq!(is(ALERT), candidate && !kept_back && !below, "event {place}: {words:x?}");
        dismissed += usize::from(below);
        if is(DRIFTED) {
            (bar, seen) = ((0.0, 0), 0);
        }
    }
    dismissed
}

/// Holds what labels do to their definition on one device; whatever the batches, it is the same, and the same as on the
/// processor.
pub fn same_labelled(
    device: &Device,
    query: impl Fn() -> Scores<Reading>,
    (seed, n): (u64, usize),
) {
    same_labelled_of(12, device, query, (seed, n));
}

/// The same of so many keys, but where drift is looked for.
pub fn same_labelled_of(
    keys: u32,
    device: &Device,
    query: impl Fn() -> Scores<Reading>,
    (seed, n): (u64, usize),
) {
    // Bars hold for 256 events.
    let query = || Scores {
        rate: 0.01,
        rest: 0.1,
        horizon: 16.0,
        spacing: Some(4000),
        warm_up: 20,
        ..query()
    };
    let cpu = Device::cpu();
    let drifts = query().drift.is_some();
    let events = if drifts { moving(seed, n, 3) } else { stream(seed, n, keys) };
    let (before, _) = run_labelled(&cpu, query(), (1024, 1000), &events, &[]);
    let said = labels_for(&events, &before);
    let (want, stats) = run_labelled(&cpu, query(), (1024, 1000), &events, &said);
    let mut dismissed = 0;
    for (&key, rows) in &want {
        let is_wide = want.keys().any(|&key| key > 1 << 32);
        let of_key = |event: &Reading| key == if is_wide { event.wide } else { event.key.into() };
        let places = events.iter().enumerate().filter(|(_, event)| of_key(event)).map(|(i, _)| i);
        let rows: Vec<_> = places.zip(rows.iter().copied()).collect();
        let said: Vec<_> = said.iter().filter(|said| said.key == key).collect();
        dismissed += judge((4.605_170_2, 16.0), &rows, &said);
    }
    assert_eq!((stats.labels, stats.labels_unknown), (said.len() as u64, 0));
    assert!(said.len() > 3 && dismissed > 0, "{} labels dismissed {dismissed}", said.len());
    assert!(!drifts || stats.drifts > 0, "no drift");
    for (batch, chunk) in [(64, n), (33, 600)] {
        let (got, stats) = run_labelled(device, query(), (batch, chunk), &events, &said);
        assert!(got == want, "the same with batches of {batch}");
        assert_eq!(stats.labels, said.len() as u64);
    }
}
