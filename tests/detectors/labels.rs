//! Labels on the processor: what they do to the alerts of their key, whatever the batches, and nothing else.

use crate::scores::labels::{labels_for, run_labelled, same_labelled};
use crate::scores::{cutting, dense, forest, half_spaces, stream, wide};
use pelton::{Device, Inline, Key, Label, Options, Pod, Scores, States, Windows, Zeroable, field};

#[test]
fn labels_do_as_their_definition_says() {
    for seed in 0..6 {
        same_labelled(&Device::cpu(), wide, (seed, 6000));
        same_labelled(&Device::cpu(), || dense(12), (seed, 6000));
        same_labelled(&Device::cpu(), || cutting(wide()), (seed, 6000));
    }
    same_labelled(&Device::cpu(), || forest(64), (7, 6000));
    same_labelled(&Device::cpu(), || half_spaces(pelton::HalfSpaces::default()), (8, 6000));
}

/// Scores, and so what was learnt, are what they are without labels.
#[test]
fn labels_change_flags_alone() {
    let query = || Scores { rate: 0.01, rest: 0.0, ..dense(12) };
    let events = stream(3, 8000, 12);
    let (before, _) = run_labelled(&Device::cpu(), query(), (500, 900), &events, &[]);
    let said = labels_for(&events, &before);
    let (after, stats) = run_labelled(&Device::cpu(), query(), (500, 900), &events, &said);
    assert!(stats.labels > 0);
    for (key, rows) in &before {
        for (mut was, mut is) in rows.iter().copied().zip(after[key].iter().copied()) {
            (was[4], is[4]) = (0, 0);
            assert_eq!(was, is);
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    value: f32,
    sensor: u32,
}

fn watch() -> Scores<Reading> {
    Scores {
        key: Key::hashed(field!(Reading.sensor)),
        rest: 8.0,
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    }
}

/// A jump to `high` every 500 events from the 3,000th on, and what becomes of each: an alert, dismissed, or neither.
fn seen_of(inline: &mut Inline<Reading>, from: u64, high: f32, is_wrong: bool) -> Vec<char> {
    let mut lane = inline.lane().expect("it takes lanes");
    let mut seen = Vec::new();
    for at in from..from + 2000 {
        let noise = (at * 2_654_435_761 % 1000) as f32 / 1000.0;
        let is_high = at >= 3000 && at % 500 == 0;
        let event = Reading { at, sensor: 7, value: if is_high { high } else { noise } };
        lane.push(event).expect("there is room");
        let mut alerts = Vec::new();
        let mut take = |rows: pelton::Rows| {
            for score in rows.scores().filter(|score| score.time() % 500 == 0 && is_high) {
                let is = (score.alert(), score.dismissed());
                seen.push(match is {
                    (true, false) => 'a',
                    (false, true) => 'd',
                    _ => '-',
                });
            }
            alerts.extend(rows.scores().filter(|s| s.alert()).map(|s| (s.key(), s.score())));
        };
        inline.settle(&mut take).expect("it runs");
        for &(key, score) in alerts.iter().filter(|_| is_wrong) {
            lane.feedback(key, Label::Normal { score });
        }
    }
    seen
}

#[test]
fn a_false_alarm_is_not_repeated_until_it_is_confirmed() {
    let options = || Options { seed: Some(3), ..Options::on(Device::cpu()) };
    let mut inline = Inline::new(watch(), options()).expect("it runs");
    assert!(seen_of(&mut inline, 0, 6.0, false).is_empty());
    let seen = seen_of(&mut inline, 2000, 6.0, true);
    assert_eq!(seen, ['a', 'd'], "3000 and 3500");
    // States carry it elsewhere.
    let states = States::from_bytes(&inline.states().expect("it has some").to_bytes());
    let mut other = Inline::new(watch(), options()).expect("it runs");
    other.restore(&states.expect("as they were made")).expect("of the same query");
    assert_eq!(seen_of(&mut other, 4000, 6.0, false)[0], 'd');
    // The like of it is confirmed.
    let mut lane = inline.lane().expect("it takes lanes");
    lane.feedback(7, Label::Anomaly);
    lane.feedback(8, Label::Anomaly);
    inline.settle(|_| ()).expect("it runs");
    let stats = inline.stats();
    assert_eq!(stats.labels_unknown, 1);
    drop(lane);
    assert!(!seen_of(&mut inline, 4000, 6.0, false).contains(&'d'));
}

/// Labels for a query without alerts are counted, and keys that nobody has seen, or cannot be, do no harm.
#[test]
fn labels_of_nothing_are_counted() {
    let windows = Windows::tumbling(field!(Reading.at), 10);
    let mut inline = Inline::new(windows, Options::on(Device::cpu())).expect("it runs");
    let mut lane = inline.lane().expect("it takes lanes");
    lane.feedback(0, Label::Normal { score: 9.0 });
    lane.push(Reading { at: 3, value: 1.0, sensor: 1 }).expect("there is room");
    lane.feedback(u64::MAX, Label::Anomaly);
    inline.settle(|_| ()).expect("it runs");
    assert_eq!(inline.stats().labels_unknown, 2);
    for query in [watch(), Scores { key: Key::none(), ..watch() }] {
        let mut inline = Inline::new(query, Options::on(Device::cpu())).expect("it runs");
        let mut lane = inline.lane().expect("it takes lanes");
        lane.feedback(0, Label::Normal { score: 9.0 });
        (0..5).for_each(|at| lane.push(Reading { at, value: 1.0, sensor: 1 }).expect("room"));
        lane.feedback(2, Label::Anomaly);
        lane.feedback(1 << 40, Label::Normal { score: f64::NAN });
        lane.close();
        inline.finish();
        inline.settle(|_| ()).expect("it runs");
        assert_eq!((inline.stats().labels, inline.stats().labels_unknown), (0, 3));
    }
}
