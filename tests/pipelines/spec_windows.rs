//! The specification of windows against tables worked out by hand, and against another program's digests.

use crate::spec::exact::ExactSum;
use crate::spec::peers::{Digest, Dist, peers_event};
use crate::spec::windows::{SpecOutput, answer};
use crate::spec::{
    Action, Filter, KeyField, Mode, Query, Reading, Reason, Stats, Value, ValueField,
};
use half::{bf16, f16};

/// Windows of 10 ticks, no tolerance, the exact sum of `value`.
fn tumbling() -> Query {
    Query {
        size: 10,
        slide: 10,
        disorder: 0,
        lateness: 0,
        horizon: u64::MAX,
        key: KeyField::Wide,
        dense: None,
        filter: Filter::Everything,
        values: vec![Value { field: ValueField::Value, mode: Mode::Exact }],
    }
}

fn reading(at: u64, value: f32) -> Reading {
    Reading { at, key: 7, value, ..Reading::default() }
}

fn event(lane: u32, at: u64) -> Action {
    Action::Event(lane, reading(at, 1.0))
}

/// One lane with an event at each time.
fn times(at: &[u64]) -> Vec<Action> {
    let mut actions = vec![Action::Open(0)];
    actions.extend(at.iter().map(|at| event(0, *at)));
    actions.push(Action::Close(0));
    actions
}

fn table(out: &SpecOutput) -> Vec<(u64, u64, u64, u64)> {
    out.rows.iter().map(|((_, window), row)| (*window, row.start, row.end, row.count)).collect()
}

fn asides(out: &SpecOutput) -> Vec<(u64, Reason)> {
    out.asides.iter().map(|(reading, reason)| (reading.at, *reason)).collect()
}

/// What one window says about `values`, summed up in `mode`.
fn stats(mode: Mode, values: &[f32]) -> Stats {
    let query = Query { values: vec![Value { field: ValueField::Value, mode }], ..tumbling() };
    let mut actions = vec![Action::Open(0)];
    actions.extend(values.iter().map(|value| Action::Event(0, reading(3, *value))));
    let out = answer(&query, &actions);
    assert_eq!(table(&out), [(0, 0, 10, values.len() as u64)]);
    out.rows[&(7, 0)].values[0]
}

#[test]
fn tumbling_windows() {
    let out = answer(&tumbling(), &times(&[0, 9, 10, 25]));
    assert_eq!(table(&out), [(0, 0, 10, 2), (1, 10, 20, 1), (2, 20, 30, 1)]);
    assert_eq!(out.rows[&(7, 0)].values[0].sum, 2.0);
    assert_eq!((out.counters.accepted, out.asides.len()), (4, 0));
}

#[test]
fn hopping_windows_begin_at_tick_zero() {
    let query = Query { size: 30, ..tumbling() };
    let out = answer(&query, &times(&[5, 25]));
    let expected = [(0, 0, 10, 1), (1, 0, 20, 1), (2, 0, 30, 2), (3, 10, 40, 1), (4, 20, 50, 1)];
    assert_eq!(table(&out), expected);
}

#[test]
fn lateness_is_judged_against_the_lane_before_the_event() {
    let query = Query { disorder: 2, lateness: 3, ..tumbling() };
    // 14: cut 9. 9 counts: slice 0 has not ended. 15: cut 10. 9 is late, 10 is not. 24: cut 19,
    // 10 counts. 25: cut 20, 19 is late, 20 is not.
    let out = answer(&query, &times(&[14, 9, 15, 9, 10, 24, 10, 25, 19, 20]));
    assert_eq!(asides(&out), [(9, Reason::Late), (19, Reason::Late)]);
    assert_eq!(table(&out), [(0, 0, 10, 1), (1, 10, 20, 4), (2, 20, 30, 3)]);
    assert_eq!((out.counters.accepted, out.counters.late), (8, 2));
}

#[test]
fn an_event_counts_in_those_of_its_windows_that_have_not_ended() {
    let query = Query { size: 30, ..tumbling() };
    // 35 ends slices 0 to 2: 12 (windows 1, 2, 3) counts in 3 only, 9 (0, 1, 2) nowhere.
    let out = answer(&query, &times(&[35, 12, 9]));
    assert_eq!(table(&out), [(3, 10, 40, 2), (4, 20, 50, 1), (5, 30, 60, 1)]);
    assert_eq!(asides(&out), [(9, Reason::Late)]);
}

#[test]
fn events_beyond_the_horizon_move_nothing() {
    let query = Query { horizon: 100, ..tumbling() };
    let out = answer(&query, &times(&[50, 151, 50, 150, 251, 250]));
    assert_eq!(asides(&out), [(151, Reason::Beyond), (251, Reason::Beyond)]);
    assert_eq!(table(&out), [(5, 50, 60, 2), (15, 150, 160, 1), (25, 250, 260, 1)]);
}

#[test]
fn thirty_two_events_that_agree_are_a_jump() {
    let query = Query { horizon: 100, ..tumbling() };
    let mut at = vec![50];
    at.extend([1000; 32]);
    at.extend([1001, 50]);
    let out = answer(&query, &times(&at));
    assert_eq!(table(&out), [(5, 50, 60, 1), (100, 1000, 1010, 2)]);
    let c = out.counters;
    assert_eq!((c.accepted, c.beyond, c.late, c.jumps), (3, 31, 1, 1));
}

#[test]
fn a_run_is_broken_by_any_near_event_and_by_a_far_one() {
    let query = Query { horizon: 100, ..tumbling() };
    for near in [50, 20] {
        let mut at = vec![50];
        at.extend([1000; 31]);
        at.push(near);
        at.extend([1000; 31]);
        let c = answer(&query, &times(&at)).counters;
        assert_eq!((c.beyond, c.jumps, c.late), (62, 0, u64::from(near == 20)));
    }
    // 1101 is 101 from the anchor 1000 and becomes the anchor; 31 more agree with it, 1201 included.
    let mut at = vec![50];
    at.extend([1000; 31]);
    at.push(1101);
    at.extend([1001; 30]);
    at.push(1201);
    let out = answer(&query, &times(&at));
    assert_eq!((out.counters.beyond, out.counters.jumps), (62, 1));
    assert_eq!(table(&out), [(5, 50, 60, 1), (120, 1200, 1210, 1)]);
}

#[test]
fn a_lane_that_opens_joins_at_the_watermark() {
    let query = Query { disorder: 5, ..tumbling() };
    // Lanes 0 and 1 open before there is a watermark. Lane 0 at 100, lane 1 at 37: W = 32. Lane 2
    // joins with M = 37, cut 32: 29 is late, 30 is not.
    let actions = [
        Action::Open(0),
        Action::Open(1),
        event(0, 100),
        event(1, 37),
        Action::Open(2),
        event(2, 29),
        event(2, 30),
    ];
    let out = answer(&query, &actions);
    assert_eq!(asides(&out), [(29, Reason::Late)]);
    assert_eq!(table(&out), [(3, 30, 40, 2), (10, 100, 110, 1)]);
    // Without lane 1's event there is no watermark, and lane 2 starts anywhere.
    let out = answer(&query, &[&actions[..3], &actions[4..]].concat());
    assert_eq!(out.counters.late, 0);
}

#[test]
fn a_lane_that_returns_joins_at_the_watermark() {
    let query = Query { disorder: 5, ..tumbling() };
    let begin = [Action::Open(0), Action::Open(1), event(1, 20), event(0, 97)];
    // Lane 1 holds the watermark at 15 until it is idle; then W = 92, and lane 1 returns with M = 97.
    let late = [Action::Idle(1), event(1, 89), event(1, 90)];
    let out = answer(&query, &[&begin[..], &late[..]].concat());
    assert_eq!(asides(&out), [(89, Reason::Late)]);
    // Never idle, 89 is welcome.
    let out = answer(&query, &[&begin[..], &late[1..]].concat());
    assert_eq!(out.counters.late, 0);
    // Once back it holds the watermark at 92 and does not join again: 93 is welcome.
    let back = [Action::Idle(1), event(1, 97), event(0, 200), event(1, 93)];
    assert_eq!(answer(&query, &[&begin[..], &back[..]].concat()).counters.late, 0);
    // While lane 0 has said nothing there is no watermark: lane 1 returns with its own M = 20, cut 15.
    let alone = [&begin[..3], &[Action::Idle(1), event(1, 9), event(1, 12)]].concat();
    assert_eq!(asides(&answer(&query, &alone)), [(9, Reason::Late)]);
}

#[test]
fn a_lane_s_time_can_be_told_without_an_event() {
    let query = Query { disorder: 5, horizon: 100, ..tumbling() };
    let begin = [Action::Open(0), Action::Open(1), event(1, 20), event(0, 97)];
    // Told to be at 300, beyond the horizon, lane 1 has M = 300, cut 295; told less than it has, it stays.
    let told = [Action::Advance(1, 300), Action::Advance(1, 7), event(1, 289), event(1, 290)];
    let out = answer(&query, &[&begin[..], &told[..]].concat());
    assert_eq!(asides(&out), [(289, Reason::Late)]);
    // It ends idleness as an event does: lane 1 returns at W = 92, and so does a lane that joins.
    let back = [Action::Idle(1), Action::Advance(1, 21), event(0, 190), Action::Open(2)];
    let joins = [event(2, 89), event(2, 90)];
    let out = answer(&query, &[&begin[..], &back[..], &joins[..]].concat());
    assert_eq!(asides(&out), [(89, Reason::Late)], "W never falls");
}

#[test]
fn a_lane_alone_keeps_its_place_when_idle() {
    let query = Query { disorder: 5, lateness: 5, ..tumbling() };
    // W = 25 stays; M = 30, cut 20.
    let actions = [
        Action::Open(0),
        event(0, 30),
        Action::Idle(0),
        Action::Idle(0),
        event(0, 19),
        event(0, 20),
    ];
    assert_eq!(asides(&answer(&query, &actions)), [(19, Reason::Late)]);
    // Near tick 0 W saturates: W = 0, so M = 5 on return, and 5 + horizon is allowed, not 2 + horizon.
    let query = Query { horizon: 100, ..query };
    let actions = [Action::Open(0), event(0, 2), Action::Idle(0), event(0, 105)];
    assert_eq!(answer(&query, &actions).counters.beyond, 0);
}

#[test]
fn keys_and_filters_come_after_time() {
    let query = Query { dense: Some(8), filter: Filter::OtherAtLeast(0), ..tumbling() };
    let with = |at, key, other| Action::Event(0, Reading { key, other, ..reading(at, 1.0) });
    let actions = [
        Action::Open(0),
        with(10, 7, 0),
        with(20, 8, 0),        // bad key, but it moves the lane on: the next is late
        with(19, 7, 0),        // late
        with(19, 8, 0),        // late before its key is looked at
        with(30, 7, -1),       // filtered, moves the lane on
        with(29, 7, -1),       // late
        with(30, 8, -1),       // filtered before its key is looked at
        with(30, 1 << 32, 0),  // bad, whatever the low word
        with(30, u64::MAX, 5), // bad
        with(30, 0, i32::MAX), // good
    ];
    let out = answer(&query, &actions);
    let c = out.counters;
    assert_eq!((c.accepted, c.late, c.bad_key, c.filtered), (7, 3, 3, 2));
    let keys: Vec<_> = out.rows.keys().copied().collect();
    assert_eq!(keys, [(0, 3), (7, 1)]);
    let bad = out.asides.iter().filter(|(_, reason)| *reason == Reason::Key);
    assert_eq!(bad.map(|(reading, _)| reading.key).collect::<Vec<_>>(), [8, 1 << 32, u64::MAX]);
}

#[test]
fn keys_differ_in_any_bit() {
    let with = |key, small| Action::Event(0, Reading { key, small, ..reading(3, 1.0) });
    let actions = [Action::Open(0), with(5, 1), with(5 | 1 << 32, 1), with(5 | 1 << 63, u32::MAX)];
    assert_eq!(answer(&tumbling(), &actions).rows.len(), 3);
    let query = Query { key: KeyField::Small, ..tumbling() };
    let counts: Vec<_> = answer(&query, &actions).rows.values().map(|row| row.count).collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn times_are_exact_to_the_end() {
    let far = u64::MAX / 10;
    let out = answer(&tumbling(), &times(&[5, 5 + (1 << 32), u64::MAX - 6, u64::MAX]));
    let expected = [
        (0, 0, 10, 1),
        (429_496_730, 4_294_967_300, 4_294_967_310, 1),
        (far - 1, far * 10 - 10, far * 10, 1),
        (far, far * 10, u64::MAX, 1),
    ];
    assert_eq!(table(&out), expected);
    let query = Query { size: u64::MAX, slide: u64::MAX, ..tumbling() };
    let out = answer(&query, &times(&[0, u64::MAX - 1, u64::MAX]));
    assert_eq!(table(&out), [(0, 0, u64::MAX, 2), (1, u64::MAX, u64::MAX, 1)]);
}

#[test]
fn values_that_no_sum_can_take() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let s = stats(Mode::Exact, &[nan, inf, -0.0, 0.0, 1.5, -inf, -nan]);
    assert_eq!((s.nan, s.outside, s.min, s.max), (2, 2, f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!((s.sum, s.mean, s.first, s.last), (1.5, 0.5, f64::INFINITY, f64::NEG_INFINITY));
    assert!(s.variance.is_nan() && s.sample_variance.is_nan(), "exact sums have no squares");
    let s = stats(Mode::Exact, &[nan, -nan]);
    assert_eq!((s.nan, s.outside), (2, 0));
    for value in [s.min, s.max, s.sum, s.mean, s.first, s.last] {
        assert!(value.is_nan());
    }
    let s = stats(Mode::Exact, &[inf]);
    assert_eq!((s.outside, s.min, s.last), (1, f64::INFINITY, f64::INFINITY));
    assert!(s.sum.is_nan() && s.mean.is_nan());
    let s = stats(Mode::Exact, &[0.0, -0.0, 0.0]);
    let bits = [s.min, s.max, s.sum, s.mean].map(f64::to_bits);
    assert_eq!(bits, [(-0.0f64).to_bits(), 0, 0, 0]);
    assert_eq!(stats(Mode::Exact, &[-0.0]).sum.to_bits(), 0);
}

#[test]
fn fixed_point_rounds_half_to_even_and_fits_an_i32() {
    let fixed = |fraction, values: &[f32]| stats(Mode::Fixed { fraction }, values);
    for (value, sum) in [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, 0.0), (-1.5, -2.0), (0.75, 1.0)]
    {
        assert_eq!(fixed(0, &[value]).sum.to_bits(), f64::to_bits(sum), "{value}");
    }
    let two_31 = 2_147_483_648.0;
    let s = fixed(0, &[two_31, -two_31, 2_147_483_520.0, f32::INFINITY]);
    assert_eq!((s.outside, s.sum, s.min, s.max), (2, -128.0, -2_147_483_648.0, f64::INFINITY));
    assert_eq!((s.mean, s.first, s.last), (-64.0, 2_147_483_648.0, f64::INFINITY));
    let s = fixed(16, &[32_768.0, -32_768.0, 32_767.998, 1e-30]);
    assert_eq!((s.outside, s.sum), (1, -0.001_953_125));
    let s = fixed(0, &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!((s.sum, s.mean, s.variance, s.sample_variance), (10.0, 2.5, 1.25, 5.0 / 3.0));
    let s = fixed(1, &[0.5, 1.0]);
    assert_eq!((s.sum, s.variance, s.sample_variance), (1.5, 0.0625, 0.125));
    let s = fixed(0, &[9.0]);
    assert_eq!((s.variance, s.sample_variance.is_nan()), (0.0, true));
}

#[test]
fn every_type_of_value() {
    let fields = [ValueField::Value, ValueField::Other, ValueField::Half, ValueField::Brain];
    let values = fields.map(|field| Value { field, mode: Mode::Exact }).to_vec();
    let one = |other, half: u16, brain: u16| {
        let (half, brain) = (f16::from_bits(half), bf16::from_bits(brain));
        Action::Event(0, Reading { other, half, brain, ..reading(0, 0.1) })
    };
    // f16: 65504, the least subnormal 2^-24. bf16: -1, a NaN.
    let actions = [Action::Open(0), one(i32::MIN, 0x7BFF, 0xBF80), one(i32::MAX, 1, 0x7FC0)];
    let out = answer(&Query { values, ..tumbling() }, &actions);
    let [value, other, half, brain] = out.rows[&(7, 0)].values[..] else { panic!("four") };
    assert_eq!((value.sum, value.min), (f64::from(0.1f32) * 2.0, f64::from(0.1f32)));
    assert_eq!((other.sum, other.mean, other.min), (-1.0, -0.5, -2_147_483_648.0));
    // n·Σx² − (Σx)² = 2·(2^62 + (2^31 − 1)²) − 1 = (2^32 − 1)², and the variance is a quarter of it.
    assert_eq!(other.variance, 4_294_967_295.0f64.powi(2) / 4.0);
    assert_eq!((half.sum, half.last), (65_504.0 + 2f64.powi(-24), 2f64.powi(-24)));
    assert_eq!((brain.sum, brain.nan, brain.last), (-1.0, 1, -1.0));
}

#[test]
fn exact_sums() {
    let big = 2f32.powi(100);
    let tiny = f32::from_bits(1);
    let two_53 = 2f64.powi(53);
    let half_up = 2f32.powi(53);
    let cases: [(&[f32], f64); 8] = [
        (&[big, 1.0, -big], 1.0),
        (&[f32::MAX, f32::MAX], f64::from(f32::MAX) * 2.0),
        (&[half_up, 1.0], two_53), // a tie, to even
        (&[half_up, 1.0, tiny], two_53 + 2.0),
        (&[-half_up, -1.0, -tiny], -two_53 - 2.0),
        (&[half_up, 1.0, 2.0], two_53 + 4.0), // a tie, to even
        (&[tiny, tiny, tiny], 3.0 * 2f64.powi(-149)),
        (&[big, tiny, -big, -tiny], 0.0),
    ];
    for (values, expected) in cases {
        assert_eq!(stats(Mode::Exact, values).sum.to_bits(), expected.to_bits(), "{values:?}");
    }
}

#[test]
fn both_ways_to_round_agree() {
    let mut rng = pelton::base::rng::SplitMix::new(3);
    for n in 0..2000 {
        let mut sum = ExactSum::default();
        for _ in 0..n % 9 {
            let bits = u32::try_from(rng.below(1 << 32)).unwrap();
            let narrow = bits & 0x80FF_FFFF | 0x3F00_0000;
            let value = f32::from_bits(if n % 2 == 0 { bits } else { narrow });
            if value.is_finite() {
                sum.add(value);
            }
        }
        assert_eq!(sum.round().to_bits(), sum.round_decimal().to_bits());
    }
}

#[test]
fn first_and_last_go_by_time_lane_and_position() {
    let query = Query { disorder: 10, ..tumbling() };
    let at = |lane, at, value| Action::Event(lane, reading(at, value));
    let opened = [Action::Open(0), Action::Open(1)];
    let ends = |events: &[Action]| {
        let out = answer(&query, &[&opened[..], events].concat());
        let s = out.rows[&(7, 0)].values[0];
        (s.first, s.last)
    };
    assert_eq!(ends(&[at(1, 5, 1.0), at(0, 5, 2.0), at(0, 5, 3.0)]), (2.0, 1.0));
    assert_eq!(ends(&[at(0, 5, 2.0), at(0, 5, 3.0)]), (2.0, 3.0));
    assert_eq!(ends(&[at(0, 6, 1.0), at(0, 4, 2.0), at(1, 5, 3.0)]), (2.0, 1.0));
    assert_eq!(ends(&[at(0, 4, f32::NAN), at(1, 5, 3.0), at(0, 9, f32::NAN)]), (3.0, 3.0));
}

/// The digests were computed by the program that made the columns for all engines.
#[test]
fn the_shared_input_has_the_known_digests() {
    let digest = |rows, min, max| Digest { rows, count: 200_000, sum: 25_572_186.5, min, max };
    let cases = [
        (Dist::zipf(), 10_000, digest(9651, 502_466.0, 1_965_507.0)),
        (Dist::zipf(), 100, digest(42_941, 4_278_561.0, 6_703_359.25)),
        (Dist::Uniform, 10_000, digest(10_000, 127_824.5, 2_431_871.75)),
        (Dist::Uniform, 100, digest(86_440, 7_610_158.0, 14_542_875.25)),
    ];
    for (dist, size, expected) in cases {
        assert_eq!(Digest::of(200_000, size, &dist), expected);
        let mut actions = vec![Action::Open(0)];
        actions.extend((0..200_000).map(|i| {
            let (at, small, value) = peers_event(i, &dist);
            Action::Event(0, Reading { small, ..reading(at, value) })
        }));
        let query = Query { size, slide: size, key: KeyField::Small, ..tumbling() };
        let mut found = Digest::default();
        for row in answer(&query, &actions).rows.values() {
            let stats = row.values[0];
            found.add(row.count, stats.sum, stats.min, stats.max);
        }
        assert_eq!(found, expected);
    }
}
