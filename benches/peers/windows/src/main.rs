//! Keyed windows beside their rivals: one JSON line for each claim.
//!
//! `windows` runs all, `windows ID` one of them; `windows profile-zipf N` and `profile-uniform N` run the query of S4 N
//! times and nothing else, for a profiler. Every run's digest is checked. Rivals take turns, so that whatever else
//! the machine does hits all alike; medians of CPU seconds are compared. Progress goes to stderr.

mod batch;
mod engine;
mod events;
mod measure;
#[path = "../../../common/peers.rs"]
#[allow(dead_code, reason = "shared with tests that use the rest")]
mod peers;
mod python;
mod rival;

use batch::Score;
use engine::{DISORDER_MS, Engine, RUN};
use events::{EVENTS, Events};
use measure::{Line, median, peak_bytes, timed};
use peers::{Digest, Dist, KEYS, WINDOW_MS};
use pelton::base::rng::SplitMix;

/// Rounds before the batch engines have their turn, and after it.
const ROUNDS: [usize; 2] = [6, 5];
const GATE: (f64, f64) = (1.0, 2.0);
const GOAL: (f64, f64) = (1.3, 3.0);

fn stream(zipf: bool) -> (Events, Digest) {
    let (dist, want) =
        if zipf { (Dist::zipf(), Digest::ZIPF_20M) } else { (Dist::Uniform, Digest::UNIFORM_20M) };
    (Events::new(EVENTS, &dist), want)
}

fn rate(seconds: &[f64]) -> f64 {
    EVENTS as f64 / median(seconds) / 1e6
}

/// The digest of the table that all engines must print.
fn s2(id: &'static str, zipf: bool) {
    let (events, want) = stream(zipf);
    let mut random = (0..).map(|i| 64 + (SplitMix::at(7, i) % 961) as usize);
    let mut engine = Engine::new(WINDOW_MS, WINDOW_MS);
    engine.take(events.columns(), || random.next().unwrap_or(RUN));
    let (got, stats) = engine.finish();
    Line {
        id,
        value: got.rows as f64,
        unit: "rows",
        peer: Some(("table of digests", want.rows as f64)),
        bound: Some("rows, count, sum, min and max exactly".to_owned()),
        ok: Some(got == want && stats.late == 0),
        why: format!("{got:?}, runs of 64 to 1,024 events, {} late", stats.late),
        rounds: 1,
        ..Line::default()
    }
    .print();
}

/// One key's row for each window, against the loop and the batch engines.
fn s4(id: &'static str, zipf: bool) {
    let (events, want) = stream(zipf);
    let events = events.columns();
    let [mut own, mut rival] = [const { Vec::new() }; 2];
    let mut scores = Err(String::new());
    for (part, rounds) in ROUNDS.into_iter().enumerate() {
        if part == 1 {
            scores = batch::scores(events, &want);
        }
        for _ in 0..rounds {
            let (size, disorder) = (WINDOW_MS as i64, DISORDER_MS as i64);
            let (got, seconds) = timed(|| rival::hash_and_watermark(events, KEYS, size, disorder));
            assert_eq!(got, (want, 0), "the loop");
            rival.push(seconds);
            let ((got, _), seconds) = timed(|| engine::run(events, WINDOW_MS, WINDOW_MS));
            assert_eq!(got, want, "pelton");
            own.push(seconds);
            eprintln!(
                "{id} {}: pelton {seconds:.3} s, loop {:.3} s",
                own.len(),
                rival[own.len() - 1]
            );
        }
    }
    s4_line(id, &own, &rival, scores).print();
}

fn s4_line(
    id: &'static str,
    own: &[f64],
    rival: &[f64],
    scores: Result<Vec<Score>, String>,
) -> Line {
    let (value, peer_value) = (rate(own), rate(rival));
    let ratio = value / peer_value;
    let paired: Vec<f64> = own.iter().zip(rival).map(|(own, rival)| rival / own).collect();
    let paired = format!("median of the rounds' ratios {:.3}", median(&paired));
    let (ok, why) = match scores {
        Ok(scores) => {
            let best = &scores[0];
            let over = value / best.value;
            let met = |bound: (f64, f64)| ratio >= bound.0 && over >= bound.1;
            let verdict = match (met(GOAL), met(GATE)) {
                (true, _) => "goal met",
                (false, true) => "gate met, goal missed",
                (false, false) => "gate missed",
            };
            let Score { name, version, value } = best;
            let why = format!(
                "{verdict} (gate {}x and {}x); best batch engine {name} {version} at {value:.1}, ratio \
                 {over:.2}; {paired}",
                GATE.0, GATE.1
            );
            (Some(met(GOAL)), why)
        }
        Err(error) => (None, format!("no batch engine to compare with: {error}; {paired}")),
    };
    Line {
        id,
        value,
        unit: "Mevents per CPU s",
        peer: Some(("hash + watermark loop", peer_value)),
        ratio: Some(ratio),
        bound: Some(format!("{}x the loop and {}x the best batch engine", GOAL.0, GOAL.1)),
        ok,
        why,
        rounds: own.len(),
    }
}

/// Sixty windows over each event, against one.
fn s4_hopping() {
    const SIZE: u64 = 60_000;
    const SLIDES: u64 = 60;
    let (events, want) = stream(true);
    let events = events.columns();
    let [mut hopping, mut tumbling] = [const { Vec::new() }; 2];
    let mut rows = 0;
    for round in 0..ROUNDS.iter().sum() {
        let ((got, _), seconds) = timed(|| engine::run(events, SIZE, SIZE));
        assert_eq!((got.count, got.sum), (want.count, want.sum), "each event once");
        tumbling.push(seconds);
        let ((got, _), seconds) = timed(|| engine::run(events, SIZE, SIZE / SLIDES));
        let times = SLIDES as f64 * want.sum;
        assert_eq!((got.count, got.sum), (SLIDES * want.count, times), "each event sixty times");
        hopping.push(seconds);
        rows = got.rows;
        eprintln!("S4-hopping {round}: hopping {seconds:.3} s, tumbling {:.3} s", tumbling[round]);
    }
    let ratio = median(&hopping) / median(&tumbling);
    Line {
        id: "S4-hopping",
        value: rate(&hopping),
        unit: "Mevents per CPU s",
        peer: Some(("pelton, tumbling 60 s", rate(&tumbling))),
        ratio: Some(ratio),
        bound: Some("time of hopping 60 s / 1 s at most 2.0x that of tumbling 60 s".to_owned()),
        ok: Some(ratio <= 2.0),
        why: format!("the ratio is of times; hopping emits {rows} rows; zipf keys"),
        rounds: hopping.len(),
    }
    .print();
}

/// Ten million keys: what they cost in time and memory.
fn s4_keys() {
    const MANY: u64 = 10_000_000;
    const PER_KEY: u64 = 4;
    const SIZE: u64 = 100_000;
    const PART: u64 = 1 << 16;
    // Each key once, scattered, then as chance wills.
    let event = |i: u64| {
        let word = SplitMix::at(42, i);
        let index = if i < MANY { i * 7_654_321 % MANY } else { ((word >> 32) * MANY) >> 32 };
        let key = (index as u32).wrapping_mul(0x9E37_79B1);
        (i * 1000 / peers::RATE, key, (word & 1023) as f32 * 0.25)
    };
    let mut part = Events::default();
    let (mut engine, mut seconds) = timed(|| Engine::new(SIZE, SIZE));
    let (mut sum, total) = (0.0, MANY * PER_KEY);
    let before = peak_bytes();
    for from in (0..total).step_by(PART as usize) {
        part.refill((from..total.min(from + PART)).map(event));
        let columns = part.columns();
        sum += columns.value.iter().copied().map(f64::from).sum::<f64>();
        seconds += timed(|| engine.take(columns, || RUN)).1;
    }
    let state = engine.stats();
    let ((got, _), last) = timed(|| engine.finish());
    seconds += last;
    let right = got.count == total && got.sum == sum && state.keys == MANY;
    assert!(right, "{got:?} instead of {total} events that sum to {sum}; {} keys", state.keys);
    let per_key = |bytes: u64| bytes as f64 / MANY as f64;
    let peak = peak_bytes().zip(before).map_or("unknown".to_owned(), |(peak, before)| {
        format!("{:.0} MiB, {:.1} a key", peak as f64 / 1048576.0, per_key(peak - before))
    });
    Line {
        id: "S4-keys",
        value: total as f64 / seconds / 1e6,
        unit: "Mevents per CPU s",
        why: format!(
            "{MANY} keys, {PER_KEY} events a key, {} windows, {} rows; state {:.0} MiB, {:.1} bytes a key; \
             peak memory of the process {peak}; {} rehashes",
            total * 1000 / peers::RATE / SIZE,
            got.rows,
            state.state_bytes as f64 / 1048576.0,
            per_key(state.state_bytes),
            state.rehashes
        ),
        rounds: 1,
        ..Line::default()
    }
    .print();
}

fn profile(zipf: bool, times: usize) {
    let (events, want) = stream(zipf);
    for round in 0..times {
        let ((got, stats), seconds) = timed(|| engine::run(events.columns(), WINDOW_MS, WINDOW_MS));
        assert_eq!(got, want);
        eprintln!("{round}: {seconds:.3} s, {:.2} ns an event", seconds * 1e9 / EVENTS as f64);
        if round + 1 == times {
            eprint!("{}", stats.ladder());
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let only = args.next();
    if let Some(keys @ ("zipf" | "uniform")) =
        only.as_deref().and_then(|id| id.strip_prefix("profile-"))
    {
        return profile(keys == "zipf", args.next().and_then(|n| n.parse().ok()).unwrap_or(10));
    }
    let all: [(&str, fn()); 6] = [
        ("S2-zipf", || s2("S2-zipf", true)),
        ("S2-uniform", || s2("S2-uniform", false)),
        ("S4-zipf", || s4("S4-zipf", true)),
        ("S4-uniform", || s4("S4-uniform", false)),
        ("S4-hopping", s4_hopping),
        ("S4-keys", s4_keys),
    ];
    let known = only.as_deref().is_none_or(|id| all.iter().any(|(name, _)| *name == id));
    let names = all.map(|(name, _)| name).join(" | ");
    assert!(known, "windows [{names} | profile-zipf N | profile-uniform N]");
    for (id, run) in all {
        if only.as_deref().is_none_or(|only| only == id) {
            run();
        }
    }
}
