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

/// Events of key 0 behind a stream: an outlier, as many usual ones as a label of it holds for and some more, and then
/// outliers like it.
fn outlast(events: &mut Vec<Reading>) {
    let template =
        events.iter().rfind(|e| e.key == 0 && e.value.is_finite() && e.other.is_finite());
    let template = *template.expect("a key 0");
    let begin = events.iter().map(|event| event.at).max().expect("events");
    let event = |i: u16| {
        let outlier = if i == 0 || i > HELD && i.is_multiple_of(12) { 25.0 } else { 0.0 };
        let value = 20.0 + f32::from(i * 37 % 41) / 20.0 - 1.0 + outlier;
        Reading { at: begin + 100 * u64::from(i + 1), value, ..template }
    };
    events.extend((0..=OUTLASTED).map(event));
}

/// Events behind the first outlier of [`outlast`] in which there is none, and all of them.
const HELD: u16 = 300;
const OUTLASTED: u16 = HELD + 120;

/// Holds a key's flags to the definition, event by event, given the scores; returns how many were dismissed, and how
/// many would have been, had the label not been over.
fn judge((asked, horizon): (f32, f32), events: &[(usize, Words)], said: &[&Said]) -> [usize; 2] {
    let (mut bar, mut counts, mut seen) = ((0.0f32, 0u32), [0; 2], 0);
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
        let like_it = candidate && !kept_back && surprise <= bar.0;
        let below = like_it && (seen - bar.1) as f32 <= 16.0 * horizon;
        assert_eq!(is(DISMISSED), below, "event {place}: {words:x?}, bar {bar:?}");
        assert_eq!(is(ALERT), candidate && !kept_back && !below, "event {place}: {words:x?}");
        counts[0] += usize::from(below);
        counts[1] += usize::from(like_it && !below);
        if is(DRIFTED) {
            (bar, seen) = ((0.0, 0), 0);
        }
    }
    counts
}

/// Holds what labels do to their definition on one device; whatever the batches, it is the same, and the same as on the
/// processor.
pub fn same_labelled(
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
    let mut events = if drifts { moving(seed, n, 3) } else { stream(seed, n, 12) };
    outlast(&mut events);
    let (before, _) = run_labelled(&cpu, query(), (1024, 1000), &events, &[]);
    let mut said = labels_for(&events, &before);
    // All was nothing at the end of the stream, and of what comes then nobody says a thing.
    said.retain(|said| said.after <= n + 5);
    said.iter_mut().filter(|said| said.after > n).for_each(|said| {
        said.label = Label::Normal { score: 4.0 };
    });
    let (want, stats) = run_labelled(&cpu, query(), (1024, 1000), &events, &said);
    let mut counts = [0; 2];
    for (&key, rows) in &want {
        let is_wide = want.keys().any(|&key| key > 1 << 32);
        let of_key = |event: &Reading| key == if is_wide { event.wide } else { event.key.into() };
        let places = events.iter().enumerate().filter(|(_, event)| of_key(event)).map(|(i, _)| i);
        let rows: Vec<_> = places.zip(rows.iter().copied()).collect();
        let said: Vec<_> = said.iter().filter(|said| said.key == key).collect();
        let of_key = judge((4.605_170_2, 16.0), &rows, &said);
        counts = [0, 1].map(|i| counts[i] + of_key[i]);
    }
    assert_eq!((stats.labels, stats.labels_unknown), (said.len() as u64, 0));
    let [dismissed, over] = counts;
    let context = format!("{} labels dismissed {dismissed}, {over} would have been", said.len());
    assert!(said.len() > 3 && dismissed > 0 && (over > 0 || drifts), "{context}");
    assert!(!drifts || stats.drifts > 0, "no drift");
    for (batch, chunk) in [(64, n), (33, 600)] {
        let (got, stats) = run_labelled(device, query(), (batch, chunk), &events, &said);
        assert!(got == want, "the same with batches of {batch}");
        assert_eq!(stats.labels, said.len() as u64);
    }
}
