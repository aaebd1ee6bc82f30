//! A2 and A3: what scores cost beside a plain loop on one core, and whether their probabilities hold in control.
//!
//! A3-ewma: keyed events through the whole engine on the processor (lanes, batches, detector, decision, a row for each
//! event), against a plain loop over the same events: a table of 16 bytes a key (mean, variance, events, alerts), from
//! which it takes each event's distance in deviations, writes that to an array, counts it as an alert beyond five, and
//! learns the value with a fixed weight of one in a hundred. Nothing is checked, batched or copied. Both are compiled
//! for any processor of the kind and run on this thread; what they wrote is taken for read. Rounds take turns, and the
//! median of all parts of 16,384 events counts: what else the machine does lengthens some of them.
//!
//! A3-trees: events of three values through the whole engine, judged by half-space trees, against those of River with
//! as many trees of the same height and window, one key, one core each. `PELTON_RIVER` names a Python that has River
//! (`benches/peers/river`); it runs between our rounds.
//!
//! A3-profile: events of one value through the whole engine, judged by a left matrix profile, against the streaming one
//! of stumpy (`stumpi`) over as many points in windows of the same length, the oldest point leaving with each new one
//! (`egress`), one key, one core each. `PELTON_STUMPY` names a Python that has stumpy (`benches/peers/stumpy`); it
//! compiles once and measures between our rounds.
//!
//! A2: of each of five kinds of streams, ten keys of a million events; the share of events below a probability, by that
//! probability, warm-up aside. The worst of the five is printed. A2-young: the same of two thousand keys of
//! 5,000 events each.

#[path = "common/machine.rs"]
mod machine;
#[path = "common/streams.rs"]
mod streams;

use machine::machine;
use pelton::base::rng::SplitMix;
use pelton::{
    Art, Detector, Device, Forest, HalfSpaces, Inline, Key, LaneOptions, Loda, Member, Options,
    Pod, Profile, Result, Scores, Season, Spectral, SubPca, Zeroable, field,
};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;
use streams::{KINDS, Make, normal};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Reading {
    at: u64,
    key: u32,
    value: f32,
}

/// Events of a round.
const EVENTS: usize = 1 << 21;
/// Of which a part of so many is timed.
const PART: usize = 1 << 14;
const ROUNDS: usize = 9;
/// What A3 is held to, as a share of the loop's rate.
const GOAL: f64 = 0.5;
const SIZES: [(&str, u32); 3] =
    [("A3-ewma-1k", 1000), ("A3-ewma-100k", 100_000), ("A3-ewma-1m", 1_000_000)];
const RATES: [(&str, f64); 2] = [("1e-4", 1e-4), ("1e-5", 1e-5)];

#[allow(clippy::cast_possible_truncation, reason = "rounded")]
fn events(keys: u32) -> Vec<Reading> {
    let mut rng = SplitMix::new(u64::from(keys));
    let event = |at| {
        let key = u32::try_from(rng.below(keys.into())).expect("a key");
        Reading { at, key, value: normal(&mut rng) as f32 }
    };
    (0..EVENTS as u64).map(event).collect()
}

/// The loop: sixteen bytes a key.
#[derive(Clone, Copy, Default)]
struct Plain {
    mean: f32,
    variance: f32,
    seen: u32,
    alerts: u32,
}

fn plain(states: &mut [Plain], events: &[Reading], distances: &mut [f32]) {
    for (event, distance) in events.iter().zip(distances) {
        let state = &mut states[event.key as usize];
        let off = event.value - state.mean;
        let z = off / (state.variance + 1e-12).sqrt();
        state.alerts += u32::from(z.abs() > 5.0 && state.seen > 100);
        state.seen += 1;
        state.mean += 0.01 * off;
        state.variance = 0.99 * (state.variance + 0.01 * off * off);
        *distance = z;
    }
}

fn query(keys: u32) -> Scores<Reading> {
    Scores {
        key: Key::dense(field!(Reading.key), keys),
        ..Scores::new(field!(Reading.at), field!(Reading.value))
    }
}

fn options() -> Options {
    let lane = LaneOptions { events: 1 << 16, ..LaneOptions::default() };
    Options { lane, ..Options::on(Device::cpu()) }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Seconds that a part takes the engine, and the loop.
fn cost(keys: u32) -> Result<(f64, f64)> {
    let mut events = events(keys);
    let mut states = vec![Plain::default(); keys as usize];
    let mut distances = vec![0.0; EVENTS];
    let mut engine = Inline::new(query(keys), options())?;
    let mut lane = engine.lane()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut scored = 0;
    for round in 0..=ROUNDS {
        // Time goes on: a clock that stands still would spare us the decay.
        events.iter_mut().for_each(|event| event.at += EVENTS as u64);
        for part in events.chunks(PART) {
            let begin = Instant::now();
            assert_eq!(lane.push_all(part), part.len(), "the lane has room");
            engine.settle(|rows| scored += rows.len())?;
            ours.push(begin.elapsed().as_secs_f64());
        }
        for (part, distances) in events.chunks(PART).zip(distances.chunks_mut(PART)) {
            let begin = Instant::now();
            plain(&mut states, black_box(part), distances);
            black_box((&mut states, distances));
            theirs.push(begin.elapsed().as_secs_f64());
        }
        // The first round meets memory that nobody has touched.
        if round == 0 {
            ours.clear();
            theirs.clear();
        }
    }
    assert!(scored == EVENTS * (ROUNDS + 1));
    Ok((median(ours), median(theirs)))
}

fn print_cost(id: &str, keys: u32) -> Result<()> {
    let (ours, theirs) = cost(keys)?;
    let rate = |seconds: f64| PART as f64 / seconds / 1e6;
    let ratio = theirs / ours;
    println!(
        "{{\"id\":\"{id}\",\"value\":{:.2},\"unit\":\"M events/s\",\"peer\":\"plain loop, one EWMA a key\",\
         \"version\":null,\"peer_value\":{:.2},\"ratio\":{ratio:.3},\"bound\":{GOAL},\"ok\":{},\"why\":\"lane to \
         row on one core, {keys} uniform keys, three horizons and decision; 256 bytes of state a key, \
         of them an event changes 64 and reads 16 more; 16 bytes of event read and 40 of row written\",\
         \"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        rate(ours),
        rate(theirs),
        ratio >= GOAL,
        machine(),
    );
    Ok(())
}

/// The share of events below each probability, by that probability.
#[allow(clippy::cast_possible_truncation, reason = "rounded")]
fn held(make: Make, (keys, judged_by): (u32, JudgedBy)) -> Result<[f64; 2]> {
    let mut engine = Inline::new(judged_by(query(keys)), options())?;
    let mut lane = engine.lane()?;
    let mut rngs: Vec<_> = (0..keys).map(|key| (SplitMix::new(key.into()), 0.0)).collect();
    let (mut all, mut below) = (0u64, [0u64; 2]);
    for i in 0..IN_CONTROL / keys {
        for (key, (rng, x)) in (0..).zip(&mut rngs) {
            let value = make(rng, i, x) as f32;
            let pushed = lane.push(Reading { at: i.into(), key, value });
            assert!(pushed.is_ok(), "the lane has room");
        }
        if i % (10_000 / keys) == 10_000 / keys - 1 {
            engine.settle(|rows| {
                for score in rows.scores().filter(|score| !score.warming()) {
                    all += 1;
                    let tail = score.tail();
                    for (below, (_, rate)) in below.iter_mut().zip(RATES) {
                        *below += u64::from(tail < rate);
                    }
                }
            })?;
        }
    }
    Ok([0, 1].map(|i| below[i] as f64 / all as f64 / RATES[i].1))
}

type JudgedBy = fn(Scores<Reading>) -> Scores<Reading>;

/// Events in control of a kind of stream.
const IN_CONTROL: u32 = 10_000_000;

/// What is held to its probabilities, and by how many keys.
const JUDGED_BY: [(&str, u32, JudgedBy); 11] = [
    ("A2", 10, |query| query),
    ("A2-young", 2000, |query| query),
    ("A2-forest", 10, forests),
    ("A2-ensemble", 10, |query| {
        let ensemble = Member::beside_forest(Season::of(288, 48));
        Scores { ensemble, ..forests(query) }
    }),
    ("A2-season", 10, |query| by(Detector::Season(Season::learnt(6, 64)), query)),
    ("A2-subpca", 10, |query| by(Detector::SubPca(SubPca::default()), query)),
    ("A2-spectral", 10, |query| by(Detector::Spectral(Spectral::default()), query)),
    ("A2-art", 10, |query| by(Detector::Art(Art::default()), query)),
    ("A2-loda", 10, |query| by(Detector::Loda(Loda::default()), query)),
    ("A2-trees", 10, |query| by(Detector::HalfSpaces(HalfSpaces::default()), query)),
    ("A2-profile", 10, |query| {
        by(Detector::Profile(Profile { points: 1024, window: 64, shape: true }), query)
    }),
];

fn by(detector: Detector, query: Scores<Reading>) -> Scores<Reading> {
    Scores { detector, ..query }
}

fn forests(query: Scores<Reading>) -> Scores<Reading> {
    by(Detector::Forest(Forest { points: 1024, period: Some(288) }), query)
}

/// The rows of one of [`JUDGED_BY`] that are wanted.
fn print_held((name, keys, judged_by): (&str, u32, JudgedBy), wanted: &str) -> Result<()> {
    let ids = RATES.map(|(rate, _)| format!("{name}-{rate}"));
    let is_wanted = |id: &String| wanted.is_empty() || id == wanted || name == wanted;
    if !ids.iter().any(is_wanted) {
        return Ok(());
    }
    let mut held_by = Vec::new();
    for (kind, make) in KINDS {
        held_by.push((kind, held(make, (keys, judged_by))?));
    }
    for (i, (id, (_, rate))) in ids.iter().zip(RATES).enumerate() {
        if !is_wanted(id) {
            continue;
        }
        let all: Vec<String> =
            held_by.iter().map(|(kind, held)| format!("{kind} {:.2}", held[i])).collect();
        let far = |x: f64| if x < 1.0 { 1.0 / x } else { x };
        let worst =
            held_by.iter().map(|(_, held)| held[i]).max_by(|&a, &b| far(a).total_cmp(&far(b)));
        let worst = worst.expect("five kinds");
        println!(
            "{{\"id\":\"{id}\",\"value\":{worst:.3},\"unit\":\"times the asked rate\",\"peer\":null,\"version\":null,\
             \"peer_value\":null,\"ratio\":{worst:.3},\"bound\":2,\"ok\":{},\"why\":\"asked {rate}: {}; {keys} keys of \
             {} events each\",\"rounds\":1,\"machine\":\"{}\"}}",
            far(worst) <= 2.0,
            all.join(", "),
            IN_CONTROL / keys,
            machine(),
        );
    }
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Point {
    at: u64,
    key: u32,
    a: f32,
    b: f32,
    c: f32,
}

/// Events of a round of trees, and how many of them River gets.
const POINTS: usize = 1 << 19;
const RIVER_POINTS: usize = 20_000;
const TREES: HalfSpaces = HalfSpaces { trees: 10, height: 8, window: 250 };
/// What A3-trees is held to, as a multiple of River's rate.
const TREES_GOAL: f64 = 50.0;

/// Events a second of ours, by rounds, with so many keys; `between` runs between two rounds.
fn trees(keys: u32, mut between: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut rng = SplitMix::new(7);
    let point = |at| {
        let key = u32::try_from(rng.below(keys.into())).expect("a key");
        #[allow(clippy::cast_possible_truncation, reason = "rounded")]
        let [a, b, c] = [0; 3].map(|_| normal(&mut rng) as f32);
        Point { at, key, a, b, c }
    };
    let points: Vec<Point> = (0..POINTS as u64).map(point).collect();
    let query = Scores {
        key: Key::dense(field!(Point.key), keys),
        values: vec![field!(Point.a).into(), field!(Point.b).into(), field!(Point.c).into()],
        detector: Detector::HalfSpaces(TREES),
        ..Scores::new(field!(Point.at), field!(Point.a))
    };
    let mut engine = Inline::new(query, options())?;
    let mut lane = engine.lane()?;
    let (mut rates, mut scored) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        for part in points.chunks(1 << 12) {
            assert_eq!(lane.push_all(part), part.len(), "the lane has room");
            engine.settle(|rows| scored += rows.len())?;
        }
        if round > 0 {
            rates.push(POINTS as f64 / begin.elapsed().as_secs_f64());
            between()?;
        }
    }
    assert_eq!(scored, POINTS * (ROUNDS + 1));
    Ok(rates)
}

/// Events a second of River's trees.
fn river(python: &std::ffi::OsStr) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/river/trees.py");
    let HalfSpaces { trees, height, window } = TREES;
    let args = [trees, height, window].map(|n| n.to_string());
    let out = Command::new(python).arg(script).args(args).arg(RIVER_POINTS.to_string()).output();
    let failed = |what: String| pelton::Error::source(script, what);
    let out = out.map_err(|e| failed(e.to_string()))?;
    let said = String::from_utf8_lossy(&out.stdout);
    let rate = said.trim().parse();
    rate.map_err(|_| failed(format!("{said}{}", String::from_utf8_lossy(&out.stderr))))
}

fn print_trees() -> Result<()> {
    let python = std::env::var_os("PELTON_RIVER");
    let mut theirs = Vec::new();
    let ours = median(trees(1, || {
        theirs.extend(python.as_deref().map(river).transpose()?);
        Ok(())
    })?);
    let many = median(trees(10_000, || Ok(()))?);
    let peer = (!theirs.is_empty()).then(|| median(theirs));
    let or_null = |x: Option<f64>| x.map_or("null".to_owned(), |x| format!("{x:.4}"));
    let ratio = peer.map(|peer| ours / peer);
    println!(
        "{{\"id\":\"A3-trees\",\"value\":{:.3},\"unit\":\"M events/s\",\"peer\":\"River HalfSpaceTrees\",\
         \"version\":\"0.26.1\",\"peer_value\":{},\"ratio\":{},\"bound\":{TREES_GOAL},\"ok\":{},\"why\":\"lane to row \
         on one core, three values, 10 trees of height 8, 20 KB of state a key, 720 bytes of it touched an event; \
         {:.3} with 10,000 keys\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        ours / 1e6,
        or_null(peer.map(|peer| peer / 1e6)),
        or_null(ratio),
        ratio.is_some_and(|ratio| ratio >= TREES_GOAL),
        many / 1e6,
        machine(),
    );
    Ok(())
}

/// Events of a round of profiles, how many of them stumpy gets, and the rounds: its compilers take their time.
const NUMBERS: usize = 1 << 18;
const STUMPY_NUMBERS: usize = 5000;
const PROFILES: [(&str, &str, Profile); 2] = [
    ("A3-profile", "values", Profile { points: 1024, window: 64, shape: false }),
    ("A3-profile-shape", "shape", Profile { points: 1024, window: 64, shape: true }),
];
/// What A3-profile is held to, as a multiple of stumpy's rate.
const PROFILE_GOAL: f64 = 20.0;

/// Events a second of ours, by rounds, with so many keys; `between` runs between two rounds.
fn profiles(
    profile: Profile,
    keys: u32,
    mut between: impl FnMut() -> Result<()>,
) -> Result<Vec<f64>> {
    let events = &events(keys)[..NUMBERS];
    let query = Scores { detector: Detector::Profile(profile), ..query(keys) };
    let mut engine = Inline::new(query, options())?;
    let mut lane = engine.lane()?;
    let (mut rates, mut scored) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        for part in events.chunks(1 << 12) {
            assert_eq!(lane.push_all(part), part.len(), "the lane has room");
            engine.settle(|rows| scored += rows.len())?;
        }
        if round > 0 {
            rates.push(NUMBERS as f64 / begin.elapsed().as_secs_f64());
            between()?;
        }
    }
    assert_eq!(scored, NUMBERS * (ROUNDS + 1));
    Ok(rates)
}

/// Asks stumpy for its rate, in a process that has compiled; the answer to nothing is nothing.
fn stumpy(kind: &str, profile: Profile) -> Result<Option<impl FnMut() -> Result<f64> + use<>>> {
    let Some(python) = std::env::var_os("PELTON_STUMPY") else { return Ok(None) };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/stumpy/nearest.py");
    let failed = move |what: String| pelton::Error::source(script, what);
    let args = [profile.points, profile.window].map(|n| n.to_string());
    let child = Command::new(python)
        .arg(script)
        .args(args)
        .arg(STUMPY_NUMBERS.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| failed(e.to_string()))?;
    let (Some(mut ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("no pipes".into()));
    };
    let (mut answers, kind) = (BufReader::new(answers), kind.to_owned());
    Ok(Some(move || {
        let mut line = String::new();
        writeln!(ask, "{kind}").map_err(|e| failed(e.to_string()))?;
        answers.read_line(&mut line).map_err(|e| failed(e.to_string()))?;
        line.trim().parse().map_err(|_| failed(format!("it said {line:?}")))
    }))
}

fn print_profile(id: &str, kind: &str, profile: Profile) -> Result<()> {
    let mut stumpy = stumpy(kind, profile)?;
    let mut theirs = Vec::new();
    let ours = median(profiles(profile, 1, || {
        theirs.extend(stumpy.as_mut().map(|rate| rate()).transpose()?);
        Ok(())
    })?);
    let many = median(profiles(profile, 10_000, || Ok(()))?);
    let peer = (!theirs.is_empty()).then(|| median(theirs));
    let or_null = |x: Option<f64>| x.map_or("null".to_owned(), |x| format!("{x:.5}"));
    let ratio = peer.map(|peer| ours / peer);
    let state = 4 * profile.words();
    println!(
        "{{\"id\":\"{id}\",\"value\":{:.3},\"unit\":\"M events/s\",\"peer\":\"stumpy.stumpi\",\
         \"version\":\"1.14.1\",\"peer_value\":{},\"ratio\":{},\"bound\":{PROFILE_GOAL},\"ok\":{},\"why\":\
         \"lane to row on one core, 1,024 points, windows of 64; {state} bytes of state a key, all of \
         them touched an event; {:.3} with 10,000 keys\",\"rounds\":{ROUNDS},\"machine\":\"{}\"}}",
        ours / 1e6,
        or_null(peer.map(|peer| peer / 1e6)),
        or_null(ratio),
        ratio.is_some_and(|ratio| ratio >= PROFILE_GOAL),
        many / 1e6,
        machine(),
    );
    Ok(())
}

/// `score [ID]`: that row, or all.
fn main() -> Result<()> {
    let wanted = std::env::args().skip(1).find(|arg| arg.starts_with('A')).unwrap_or_default();
    for (id, keys) in SIZES {
        if id.starts_with(&wanted) {
            print_cost(id, keys)?;
        }
    }
    if "A3-trees".starts_with(&wanted) {
        print_trees()?;
    }
    for (id, kind, profile) in PROFILES {
        if id == wanted || wanted.is_empty() {
            print_profile(id, kind, profile)?;
        }
    }
    for judged_by in JUDGED_BY {
        print_held(judged_by, &wanted)?;
    }
    Ok(())
}
