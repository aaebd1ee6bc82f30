//! Scores by event time on the processor: they are those of the sorted events, whatever the lanes do meanwhile.

use crate::scores::order::{Item, interleaved, lanes_of, same_by_time, sorted};
use crate::scores::{self, Scored, dense, wide};
use pelton::{
    Device, Inline, Key, LaneOptions, Options, Order, Pipeline, Pod, Policy, Scores, Zeroable,
    field,
};

#[test]
fn interleavings_of_lanes_do_not_show() {
    for (seed, lanes) in [(1, 1), (2, 2), (3, 7)] {
        same_by_time(&Device::cpu(), wide, (seed, 5000, lanes), (1000, u64::MAX));
        same_by_time(&Device::cpu(), wide, (seed, 5000, lanes), (0, u64::MAX));
    }
    // Jumps beyond the horizon are as rare as one in a thousand: none is believed.
    same_by_time(&Device::cpu(), || dense(12), (4, 5000, 3), (300, 1 << 62));
}

/// Threads that write as they can bring the same scores.
#[test]
fn threads_do_not_show() {
    let lanes = lanes_of(5, 6000, 3);
    let (events, ..) = sorted(&lanes, 500, u64::MAX);
    let query = || Scores { order: Order::event_time(500), ..wide() };
    let (want, ..) = interleaved(&Device::cpu(), query(), &lanes, (64, 1));
    assert_eq!(want.values().map(Vec::len).sum::<usize>(), events.len());
    for _ in 0..3 {
        let options = Options {
            lane: LaneOptions { events: 64, ..LaneOptions::default() },
            keys: 1,
            ..Options::on(Device::cpu())
        };
        let (opens, results) = Pipeline::start(query(), options).expect("it runs").split();
        // The lanes are open before the first event, in this order.
        let feeds: Vec<_> = lanes.iter().map(|_| opens.lane().expect("it takes lanes")).collect();
        drop(opens);
        let mut got = Scored::new();
        std::thread::scope(|scope| {
            for (mut feed, items) in feeds.into_iter().zip(&lanes) {
                scope.spawn(move || {
                    for item in items {
                        match item {
                            Item::Event(event) => feed.push(*event).expect("it waits for room"),
                            Item::Label(key, label) => feed.feedback(*key, *label),
                        }
                    }
                });
            }
            for rows in results {
                let rows = rows.expect("it runs");
                for score in rows.scores() {
                    let words = scores::words(&score);
                    got.entry(score.key()).or_default().push(words);
                }
            }
        });
        assert!(got == want);
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Tick {
    at: u64,
    value: f32,
    key: u32,
}

fn ticks(order: Order) -> Inline<Tick> {
    let query = Scores {
        key: Key::hashed(field!(Tick.key)),
        order,
        ..Scores::new(field!(Tick.at), field!(Tick.value))
    };
    let lane = LaneOptions { events: 1 << 12, policy: Policy::Reject, ..LaneOptions::default() };
    Inline::new(query, Options { lane, ..Options::on(Device::cpu()) }).expect("it runs")
}

fn times(inline: &mut Inline<Tick>) -> Vec<u64> {
    let mut times = Vec::new();
    inline.settle(|rows| times.extend(rows.scores().map(|score| score.time()))).expect("it runs");
    times
}

#[test]
fn quiet_lanes_hold_up_until_they_say_so() {
    let mut inline = ticks(Order::event_time(10));
    let (mut a, mut b) = (inline.lane().expect("a lane"), inline.lane().expect("another"));
    let tick = |at| Tick { at, value: 1.0, key: 0 };
    for at in [100, 95, 130, 140] {
        a.push(tick(at)).expect("there is room");
    }
    assert!(times(&mut inline).is_empty(), "the other lane had no event yet");
    b.advance(106);
    assert_eq!(times(&mut inline), [95], "both are past 96");
    b.idle();
    assert_eq!(times(&mut inline), [100]);
    a.push(tick(120)).expect("there is room");
    a.push(tick(100)).expect("there is room");
    assert!(times(&mut inline).is_empty());
    let late = inline.asides();
    assert_eq!((late.len(), late[0].event.at), (2, 120), "120 is more than 10 behind 140");
}

/// What a lane brings waits in bounded memory where another one is quiet; then its policy decides.
#[test]
fn what_waits_is_bounded() {
    let mut inline = ticks(Order::event_time(0));
    let (mut quiet, mut busy) = (inline.lane().expect("a lane"), inline.lane().expect("another"));
    let mut at = 0;
    let mut refused = 0;
    while refused < 2 {
        let tick = Tick { at, value: 1.0, key: 0 };
        if busy.push(tick).is_ok() {
            (at, refused) = (at + 1, 0);
        } else {
            assert!(times(&mut inline).is_empty());
            refused += 1;
        }
        assert!(at < 2 << 20, "it is refused some time");
    }
    assert!(at >= 1 << 20);
    quiet.advance(u64::MAX);
    drop((quiet, busy));
    inline.finish();
    let times = times(&mut inline);
    assert!(times.iter().copied().eq(0..at), "all of them, in order");
}

#[test]
fn hostile_times_do_no_harm() {
    for disorder in [0, 5, u64::MAX] {
        let mut inline = ticks(Order::EventTime { disorder, horizon: u64::MAX - 7 });
        let mut lane = inline.lane().expect("a lane");
        let hostile = [u64::MAX, 0, 1 << 63, u64::MAX - 1, 0, u64::MAX, 1, u64::MAX];
        for (key, at) in (0..).zip(hostile) {
            lane.push(Tick { at, value: f32::NAN, key }).expect("there is room");
        }
        drop(lane);
        inline.finish();
        let times = times(&mut inline);
        assert!(times.is_sorted(), "{times:?}");
        let stats = inline.stats();
        assert_eq!(times.len() as u64 + stats.late + stats.beyond, 8);
    }
    // No event at all, and a lane that was never written.
    let mut inline = ticks(Order::event_time(3));
    drop(inline.lane());
    inline.finish();
    assert!(times(&mut inline).is_empty());
}

/// A lane that joins late does so at the watermark, and that shows.
#[test]
fn lanes_join_at_the_watermark() {
    let mut inline = ticks(Order::event_time(0));
    let tick = |at| Tick { at, value: 1.0, key: 0 };
    let mut first = inline.lane().expect("a lane");
    [10, 20, 30].into_iter().for_each(|at| first.push(tick(at)).expect("there is room"));
    assert_eq!(times(&mut inline), [10, 20]);
    let mut second = inline.lane().expect("a lane");
    [25, 30, 35].into_iter().for_each(|at| second.push(tick(at)).expect("there is room"));
    first.push(tick(32)).expect("there is room");
    assert_eq!(times(&mut inline), [30, 30]);
    let stats = inline.stats();
    assert_eq!((stats.late, stats.late_after_join), (1, 1));
}
