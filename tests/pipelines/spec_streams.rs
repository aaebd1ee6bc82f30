//! The generators against their promises, and the judge against engines that are almost right.

use crate::spec::compare::{EngineOutput, EngineRow, compare};
use crate::spec::scenario::Scenario;
use crate::spec::streams::{Stream, settle_before};
use crate::spec::windows::SpecOutput;
use crate::spec::{self, Action, Counters, Reading, Reason};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn readings(actions: &[Action]) -> Vec<Reading> {
    let events = actions.iter().filter_map(|action| match action {
        Action::Event(_, reading) => Some(*reading),
        _ => None,
    });
    events.collect()
}

/// An engine that agrees, and says everything twice, wrongly the first time.
fn agreeing(spec: &SpecOutput) -> EngineOutput {
    let last = spec.rows.iter().map(|((key, _), row)| EngineRow::of(*key, row));
    let first = last.clone().map(|row| EngineRow { count: row.count + 1, ..row });
    EngineOutput {
        rows: first.chain(last).collect(),
        asides: spec.asides.iter().rev().copied().collect(),
        counters: spec.counters,
    }
}

/// Lanes open once, in order, before anything else happens to them; idle marks are on active lanes.
fn assert_well_formed(scenario: &Scenario, actions: &[Action]) {
    let mut lanes: BTreeMap<u32, &str> = BTreeMap::new();
    for action in actions {
        match action {
            Action::Open(lane) => {
                assert!(lanes.keys().all(|other| other < lane), "lanes open in order");
                lanes.insert(*lane, "active");
            }
            Action::Event(lane, _) | Action::Advance(lane, _) => {
                assert_ne!(lanes[lane], "closed");
                lanes.insert(*lane, "active");
            }
            Action::Idle(lane) => {
                assert_eq!(lanes.insert(*lane, "idle"), Some("active"));
            }
            Action::Close(lane) => {
                assert_ne!(lanes.insert(*lane, "closed"), Some("closed"));
            }
        }
        let all_idle = lanes.values().all(|state| *state != "active");
        let ending = lanes.get(&0) == Some(&"closed");
        assert!(!all_idle || ending || scenario.stream.all_idle, "somebody is active");
    }
    assert!(lanes.values().all(|state| *state == "closed"), "all lanes are closed at the end");
}

/// Every kind of trouble comes up, and counters add up.
#[test]
fn random_scenarios_have_everything() {
    let mut sum = Counters::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..300 {
        let scenario = Scenario::random(seed);
        let actions = scenario.actions();
        assert!(actions == scenario.actions(), "the same seed makes the same actions");
        assert_well_formed(&scenario, &actions);
        let events = readings(&actions);
        assert_eq!(events.len(), scenario.stream.events);
        let out = scenario.expected();
        let c = out.counters;
        assert_eq!(c.accepted + c.late + c.beyond, events.len() as u64);
        let once: u64 = out.rows.values().map(|row| row.count).sum();
        let windows = scenario.query.size / scenario.query.slide;
        let counted = c.accepted - c.bad_key - c.filtered;
        assert!((counted..=counted * windows).contains(&once));
        sum.late += c.late;
        sum.beyond += c.beyond;
        sum.bad_key += c.bad_key;
        sum.filtered += c.filtered;
        sum.jumps += c.jumps;
        let opens = actions.iter().filter(|a| matches!(a, Action::Open(_))).count();
        let marks = [
            ("joins", actions[opens..].iter().any(|a| matches!(a, Action::Open(_)))),
            ("returns", settle_before(&actions).len() > opens),
            ("the end of time", events.iter().any(|e| e.at == u64::MAX)),
            ("a partly late event", !windows.is_power_of_two() && !once.is_multiple_of(windows)),
            ("an infinity", events.iter().any(|e| e.value.is_infinite())),
            ("twins", events.iter().any(|e| e.key > 1 << 32 && e.key & 0xFFFF_FFFF < 3)),
            (
                "something outside",
                out.rows.values().any(|r| r.values.iter().any(|v| v.outside > 0)),
            ),
        ];
        for (mark, there) in marks {
            *seen.entry(mark).or_default() += usize::from(there);
        }
    }
    assert!(seen.values().all(|times| *times >= 5), "{seen:?}");
    let parts = [sum.late, sum.beyond, sum.bad_key, sum.filtered];
    assert!(parts.iter().all(|n| *n > 1000) && sum.jumps > 20, "{sum:?}");
}

#[test]
fn the_low_word_of_time_wraps_and_aliases_live() {
    let wraps = Stream { base: (1 << 32) - 5000, ..Stream::default() };
    let at: Vec<u64> = readings(&wraps.actions()).iter().map(|e| e.at).collect();
    assert!(at[0] < 1 << 32 && *at.last().unwrap() > 1 << 32);
    let aliases = Stream { base: 3 << 32, aliases: 0.3, ..Stream::default() };
    let at: std::collections::BTreeSet<u64> =
        readings(&aliases.actions()).iter().map(|e| e.at).collect();
    assert!(at.iter().filter(|t| at.contains(&(**t + (1 << 32)))).count() > 1000);
}

#[test]
fn settling_points_are_openings_and_returns() {
    let event = |lane| Action::Event(lane, Reading::default());
    let actions = [
        Action::Open(0),
        event(0),
        Action::Open(1),
        Action::Idle(0),
        Action::Idle(0),
        event(1),
        event(0),
        event(0),
        Action::Idle(1),
        Action::Close(1),
    ];
    assert_eq!(settle_before(&actions), [0, 2, 6]);
}

#[test]
fn the_judge_agrees_with_an_engine_that_agrees() {
    for seed in 0..50 {
        let spec = Scenario::random(seed).expected();
        assert_eq!(compare(&spec, &agreeing(&spec)), Ok(()));
    }
}

#[test]
fn the_judge_names_the_first_difference() {
    let spec = (0..).map(|seed| Scenario::random_of(seed, 3000).expected()).find(|out| {
        let some = out.rows.values().next().is_some_and(|row| row.values.len() > 1);
        some && out.counters.late > 0
    });
    let spec = spec.expect("a scenario with a value and late events");
    let whole = agreeing(&spec);
    let fails = |change: fn(&mut EngineOutput), words: &[&str]| {
        let mut engine = whole.clone();
        change(&mut engine);
        let report = compare(&spec, &engine).expect_err("a difference");
        assert!(words.iter().all(|word| report.contains(word)), "{report}");
    };
    fails(|e| e.rows.last_mut().unwrap().count += 1, &["rows: key", "window", "count: expected"]);
    fails(|e| e.rows.last_mut().unwrap().key ^= 1 << 63, &["rows: key", "specification has none"]);
    fails(|e| e.rows.clear(), &["rows: key", "no row"]);
    let sum = |e: &mut EngineOutput| {
        e.rows.last_mut().unwrap().values[1].sum.as_mut().map(|sum| *sum += 1e9).unwrap();
    };
    fails(sum, &["values[1].sum: expected"]);
    let sign = |e: &mut EngineOutput| e.rows.last_mut().unwrap().values[1].min = Some(-0.12345);
    fails(sign, &["values[1].min: expected", "0x"]);
    fails(|e| e.rows.last_mut().unwrap().values.clear(), &["values: expected"]);
    fails(
        |e| e.asides.truncate(e.asides.len() - 1),
        &["asides: only the specification sets aside as"],
    );
    fails(|e| e.asides.push(e.asides[0]), &["asides: only the engine sets aside as"]);
    fails(|e| e.asides[0].1 = Reason::Key, &["asides: only"]);
    fails(|e| e.counters.jumps += 1, &["counters: expected", "jumps"]);
    let silent = |e: &mut EngineOutput| {
        e.rows
            .iter_mut()
            .for_each(|row| row.values.iter_mut().for_each(|v| *v = Default::default()));
    };
    let mut engine = whole.clone();
    silent(&mut engine);
    assert_eq!(compare(&spec, &engine), Ok(()), "what was not asked for is not compared");
}

/// Generous: a busy machine, and a build that is not the fastest.
#[test]
fn a_million_events_take_seconds() {
    let scenario = Scenario::million(1);
    let begin = Instant::now();
    let actions = scenario.actions();
    let made = begin.elapsed();
    let out = spec::windows::answer(&scenario.query, &actions);
    println!("made in {made:?}, answered in {:?}: {:?}", begin.elapsed() - made, out.counters);
    assert!(out.rows.len() > 10_000 && out.counters.late > 100 && out.counters.beyond > 10);
    assert!(begin.elapsed() < Duration::from_secs(60));
}
