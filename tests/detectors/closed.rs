//! Scores of closed windows: they are those of two pipelines by hand, whatever the lanes and batches.

use crate::cuda_host::driver::cuda;
use crate::kernels::bed::software;
use crate::scores::{self, Reading, Scored, stream};
use pelton::{
    Aggregate, Closed, Device, Inline, Key, LaneOptions, Options, Order, Pipeline, Scores, Value,
    WindowScores, Windows, field,
};

fn windows() -> Windows<Reading> {
    Windows {
        key: Key::hashed(field!(Reading.wide)),
        values: vec![Value::exact(field!(Reading.other)), Value::fixed(field!(Reading.count), 0)],
        disorder: 1000,
        ..Windows::hopping(field!(Reading.at), 400, 200)
    }
}

fn query(aggregate: Aggregate) -> WindowScores<Reading> {
    let query = WindowScores::new(windows(), aggregate);
    WindowScores { scores: Scores { rate: 0.01, warm_up: 20, ..query.scores }, ..query }
}

fn options(device: &Device, batch: usize) -> Options {
    Options {
        batch_events: batch,
        result_rows: if batch < 100 { 5 } else { 64 },
        lane: LaneOptions { events: 1 << 14, ..LaneOptions::default() },
        keys: 1,
        seed: Some(7),
        ..Options::on(device.clone())
    }
}

fn keep(scored: &mut Scored, rows: &pelton::Rows) {
    for score in rows.scores() {
        let words = scores::words(&score);
        scored.entry(score.key()).or_default().push(words);
    }
}

/// One pipeline.
fn chained(device: &Device, aggregate: Aggregate, events: &[Reading], batch: usize) -> Scored {
    let mut inline = Inline::new(query(aggregate), options(device, batch)).expect("it runs");
    let mut lanes = [inline.lane().expect("a lane"), inline.lane().expect("another")];
    let mut scored = Scored::new();
    for (i, some) in events.chunks(700).enumerate() {
        for event in some {
            lanes[event.key as usize % 2].push(*event).expect("there is room");
        }
        inline.settle(|rows| keep(&mut scored, &rows)).expect("it runs");
        if i == 2 && batch == 1000 {
            inline.move_to(device.clone()).expect("it moves");
        }
    }
    drop(lanes);
    inline.finish();
    inline.settle(|rows| keep(&mut scored, &rows)).expect("it runs");
    let stats = inline.stats();
    assert_eq!(stats.events, events.len() as u64);
    assert_eq!(stats.late, inline.asides().len() as u64);
    scored
}

/// Two pipelines, the rows of the first sorted by hand.
fn by_hand(events: &[Reading], value: impl Fn(&pelton::Row<'_>) -> f64) -> Scored {
    let mut windows = Inline::new(windows(), options(&Device::cpu(), 1000)).expect("it runs");
    let mut lanes = [windows.lane().expect("a lane"), windows.lane().expect("another")];
    for event in events {
        lanes[event.key as usize % 2].push(*event).expect("there is room");
    }
    drop(lanes);
    windows.finish();
    let mut all = Vec::new();
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let value = |row: &pelton::Row<'_>| value(row) as f32;
    windows
        .settle(|rows| {
            all.extend(rows.iter().map(|row| Closed {
                end: row.end(),
                key: row.key(),
                value: value(&row),
                count: u32::try_from(row.count()).expect("few"),
            }));
        })
        .expect("it runs");
    all.sort_by_key(|closed| (closed.end, closed.key));
    let scores = query(Aggregate::Count).scores;
    let mut scores = Inline::new(scores, options(&Device::cpu(), 1000)).expect("it runs");
    let mut lane = scores.lane().expect("a lane");
    let mut scored = Scored::new();
    for some in all.chunks(1000) {
        some.iter().for_each(|&closed| lane.push(closed).expect("there is room"));
        scores.settle(|rows| keep(&mut scored, &rows)).expect("it runs");
    }
    scored
}

fn same(device: &Device, n: usize, batches: &[usize]) {
    let events = stream(11, n, 12);
    let want = [
        (Aggregate::Count, by_hand(&events, |row| row.count() as f64)),
        (Aggregate::Mean(0), by_hand(&events, |row| row.mean(0))),
        (Aggregate::Sum(1), by_hand(&events, |row| row.sum(1))),
        (Aggregate::Max(0), by_hand(&events, |row| row.max(0))),
        (Aggregate::Min(1), by_hand(&events, |row| row.min(1))),
    ];
    assert!(want[0].1.values().map(Vec::len).sum::<usize>() > n / 20);
    for (aggregate, want) in want.into_iter().take(if n < 5000 { 1 } else { 5 }) {
        for &batch in batches {
            let got = chained(device, aggregate, &events, batch);
            assert!(got == want, "{aggregate:?}, batches of {batch}");
        }
    }
}

#[test]
fn scores_of_windows_are_those_by_hand() {
    same(&Device::cpu(), 6000, &[1000, 7]);
}

#[test]
fn wgsl_scores_of_windows_are_those_by_hand() {
    if let Some(device) = software("closed::wgsl_scores_of_windows_are_those_by_hand") {
        same(&device, 500, &[500]);
    }
}

#[test]
fn cuda_scores_of_windows_are_those_by_hand() {
    if let Some(device) = cuda("closed::cuda_scores_of_windows_are_those_by_hand") {
        same(&device, 500, &[500]);
    }
}

#[test]
fn a_thread_brings_the_same() {
    let events = stream(12, 6000, 12);
    let want = by_hand(&events, |row| row.count() as f64);
    let options = options(&Device::cpu(), 512);
    let options = Options { outstanding: 2, in_flight: 2, ..options };
    let (feeds, results) =
        Pipeline::start(query(Aggregate::Count), options).expect("it runs").split();
    let mut lanes = [feeds.lane().expect("a lane"), feeds.lane().expect("another")];
    drop(feeds);
    let writer = std::thread::spawn(move || {
        for event in &events {
            lanes[event.key as usize % 2].push(*event).expect("it waits for room");
        }
    });
    let mut got = Scored::new();
    results.for_each(|rows| keep(&mut got, &rows.expect("it runs")));
    writer.join().expect("it has written");
    assert!(got == want);
}

#[test]
fn mistakes_are_named() {
    let refused = |query: WindowScores<Reading>| {
        let inline = Inline::new(query, Options::on(Device::cpu()));
        inline.expect_err("it is refused").to_string()
    };
    let plain = || query(Aggregate::Count);
    let late = Windows { lateness: 5, ..windows() };
    assert!(refused(WindowScores { windows: late, ..plain() }).contains("lateness"));
    let order = Scores { order: Order::event_time(0), ..plain().scores };
    assert!(refused(WindowScores { scores: order, ..plain() }).contains("order"));
    for aggregate in [Aggregate::Sum(2), Aggregate::Max(7)] {
        assert!(refused(WindowScores { aggregate, ..plain() }).contains("aggregate"));
    }
    let rate = Scores { rate: 0.5, ..plain().scores };
    assert!(refused(WindowScores { scores: rate, ..plain() }).contains("rate"));
}
