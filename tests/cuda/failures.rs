//! Every call of the driver fails in turn: a typed error or the right answer, no hang, and all is given back.

use super::child::{child, role};
use super::cuda_host::driver::{StandIn, over_stand_in};
use super::kernels::bed::is_device_error;
use super::{COPY_BYTES, latency, scenario};
use pelton::{Device, Error, Result};

/// Ranges below this many bytes are gathered, the others copied: the scenario has both.
const BOTH_WAYS: (&str, &str) = (COPY_BYTES, "16384");
/// What a call answers that concerns it alone: no memory, a wrong argument.
const MILD: [i32; 2] = [2, 1];
/// What only a dead device answers: a failed launch, nobody knows what.
const DEADLY: [i32; 2] = [719, 999];
/// Calls of one function that are made to fail, at most.
const TRIES: u64 = 12;

/// Some of the numbers from 1 to `count`, the ends among them.
fn some(count: u64, tries: u64) -> impl Iterator<Item = u64> {
    let step = count.div_ceil(tries).max(1);
    (1..=count).filter(move |n| (n - 1).is_multiple_of(step) || *n == count)
}

/// What a queue is asked for, or the engine in the latency mode.
type Scenario = fn() -> Result<Vec<u32>>;

fn latency_scenario() -> Result<Vec<u32>> {
    latency::scenario_on(&Device::named("cuda")?)
}

/// The scenario that a word of a role stands for.
fn scenario_of(word: &str) -> Scenario {
    if word == "latency" { latency_scenario } else { scenario }
}

/// Runs the scenario with one call failing and judges what comes out.
fn strike(
    (stand_in, scenario): (&StandIn, Scenario),
    good: &[u32],
    function: &str,
    n: u64,
    code: i32,
) {
    stand_in.fail(function, n, code);
    let what = format!("call {n} of {function} answers {code}");
    match scenario() {
        Err(error) => assert!(is_device_error(&error), "{what}: {error}"),
        Ok(found) => assert!(found == good, "{what}: a wrong answer"),
    }
    // A call that was not made must not fail later.
    stand_in.fail(function, 0, 0);
    let report = stand_in.report();
    assert!(report.is_empty(), "{what}: {report:?}");
}

/// The calls that the scenario makes of each function, and what it finds.
fn well(stand_in: &StandIn, scenario: Scenario) -> (Vec<(String, u64)>, Vec<u32>) {
    let before = stand_in.calls();
    let found = scenario().expect("nothing fails");
    let calls_before = |name: &str| before.iter().find(|(n, _)| n == name).map_or(0, |(_, c)| *c);
    let calls = stand_in.calls().into_iter();
    let calls = calls.map(|(name, calls)| (calls - calls_before(&name), name));
    (calls.map(|(calls, name)| (name, calls)).collect(), found)
}

/// In the child: every function's calls, or some of them, fail mildly.
fn sweep(scenario: Scenario, tries: u64) {
    let stand_in = StandIn::load().expect("it is there for the parent");
    let (calls, good) = well(stand_in, scenario);
    assert!(calls.len() > 35, "{} functions: {calls:?}", calls.len());
    for (function, calls) in &calls {
        for n in some(*calls, tries) {
            MILD.iter().for_each(|&code| strike((stand_in, scenario), &good, function, n, code));
        }
    }
    assert_eq!(scenario().as_deref(), Ok(&good[..]), "nothing of it is left");
}

#[test]
fn cuda_every_driver_call_may_fail() {
    const TEST: &str = "failures::cuda_every_driver_call_may_fail";
    if role(TEST).is_some() {
        sweep(scenario, TRIES);
    } else if over_stand_in(TEST).is_some() {
        child(TEST, "sweep", &[BOTH_WAYS]);
    }
}

#[test]
fn cuda_latency_every_driver_call_may_fail() {
    const TEST: &str = "failures::cuda_latency_every_driver_call_may_fail";
    if role(TEST).is_some() {
        sweep(latency_scenario, 3);
    } else if over_stand_in(TEST).is_some() {
        child(TEST, "sweep", &[]);
    }
}

/// In the child: one call finds the device dead, or all calls are counted.
fn die(role: &str) {
    let stand_in = StandIn::load().expect("it is there for the parent");
    let words: Vec<&str> = role.split(' ').collect();
    if let ["count", kind] = words[..] {
        for (function, calls) in well(stand_in, scenario_of(kind)).0 {
            println!("calls {function} {calls}");
        }
        return;
    }
    let [kind, function, n, code] = words[..] else { panic!("{role}") };
    let scenario = scenario_of(kind);
    let (n, code) = (n.parse().expect("a number"), code.parse().expect("a number"));
    stand_in.fail(function, n, code);
    let error = scenario().err();
    assert!(error.as_ref().is_none_or(is_device_error), "{role}: {error:?}");
    let report = stand_in.report();
    assert!(report.is_empty(), "{role}: {report:?}");
    // Whatever came of it, the process knows from then on.
    let struck = stand_in.calls_of(function) >= n;
    let again = scenario();
    assert!(!struck || matches!(again, Err(Error::Unsupported { .. })), "{role}: {again:?}");
}

/// Each of some calls of every function finds the device dead, in a process of its own.
fn deaths(test: &str, kind: &str, variables: &[(&str, &str)]) {
    let counted = child(test, &format!("count {kind}"), variables);
    let calls = counted.lines().filter_map(|line| line.split_once("calls ")?.1.split_once(' '));
    let mut cases = Vec::new();
    for (i, (function, calls)) in calls.enumerate() {
        for n in some(calls.parse().expect("a number"), 2) {
            cases.push(format!("{kind} {function} {n} {}", DEADLY[i % DEADLY.len()]));
        }
    }
    assert!(cases.len() > 60, "{cases:?}");
    cases.iter().for_each(|case| drop(child(test, case, variables)));
}

#[test]
fn cuda_every_driver_call_may_meet_a_dead_device() {
    const TEST: &str = "failures::cuda_every_driver_call_may_meet_a_dead_device";
    if let Some(role) = role(TEST) {
        die(&role);
    } else if over_stand_in(TEST).is_some() {
        deaths(TEST, "graphs", &[BOTH_WAYS]);
    }
}

#[test]
fn cuda_latency_every_driver_call_may_meet_a_dead_device() {
    const TEST: &str = "failures::cuda_latency_every_driver_call_may_meet_a_dead_device";
    if let Some(role) = role(TEST) {
        die(&role);
    } else if over_stand_in(TEST).is_some() {
        deaths(TEST, "latency", &[]);
    }
}
