//! What each value stands for in a score: that it adds up, is a matter of the values and not of their order, and points
//! at what went wrong.

use crate::scores::{normal, unit};
use pelton::base::rng::SplitMix;
use pelton::{
    Art, Detector, Device, Forest, HalfSpaces, Inline, Key, Loda, Member, Options, Pod, Profile,
    Scores, Spectral, SubPca, Zeroable, field,
};

const VALUES: usize = 8;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    key: u64,
    values: [f32; VALUES],
}

/// The same with a name for each value.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Named {
    at: u64,
    key: u64,
    a: f32,
    b: f32,
    c: f32,
    d: f32,
    e: f32,
    f: f32,
    g: f32,
    h: f32,
}

/// What comes out for an event.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    score: f64,
    parts: Vec<f64>,
    missing: bool,
    detector: usize,
    field: usize,
}

/// By the values of these numbers, in this order.
fn query(detector: Detector, order: &[usize]) -> Scores<Named> {
    let fields = [
        field!(Named.a),
        field!(Named.b),
        field!(Named.c),
        field!(Named.d),
        field!(Named.e),
        field!(Named.f),
        field!(Named.g),
        field!(Named.h),
    ];
    Scores {
        key: Key::hashed(field!(Named.key)),
        values: order.iter().map(|&i| fields[i].into()).collect(),
        detector,
        ..Scores::new(field!(Named.at), fields[0])
    }
}

fn run(query: Scores<Named>, events: &[Event]) -> Vec<Said> {
    let mut inline = Inline::new(query, Options::on(Device::cpu())).expect("it runs");
    let mut lane = inline.lane().expect("a lane");
    let mut said = Vec::new();
    for some in events.chunks(1000) {
        some.iter().for_each(|&event| lane.push(bytemuck::cast(event)).expect("there is room"));
        let take = |rows: pelton::Rows| {
            said.extend(rows.scores().map(|score| Said {
                score: score.score(),
                parts: score.attribution().collect(),
                missing: score.missing(),
                detector: score.detector(),
                field: score.field(),
            }));
        };
        inline.settle(take).expect("it runs");
    }
    assert_eq!(said.len(), events.len());
    said
}

const SEASON: pelton::Season = pelton::Season { slot: 10, seasons: [24, 7, 0, 0], longest: 0 };

fn detectors() -> [Detector; 9] {
    [
        Detector::Distances,
        Detector::Forest(Forest::of(64)),
        Detector::HalfSpaces(HalfSpaces { trees: 20, height: 7, window: 100 }),
        Detector::Loda(Loda { projections: 64, cells: 32, window: 200 }),
        Detector::Season(SEASON),
        Detector::Profile(Profile { points: 256, window: 8, shape: false }),
        Detector::SubPca(SubPca { window: 8, rank: 2 }),
        Detector::Spectral(Spectral { window: 32 }),
        Detector::Art(Art::default()),
    ]
}

/// Values of every kind, one key after another.
fn hostile(n: u64, seed: u64) -> Vec<Event> {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 1e-40, 0.0, -0.0, 1e12];
    let mut rng = SplitMix::new(seed);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event = |at: u64| {
        let all_missing = rng.below(50) == 0;
        let values = std::array::from_fn(|i| match rng.below(30) {
            _ if all_missing => f32::NAN,
            n @ 0..9 => odd[usize::try_from(n).expect("an index")],
            _ if i == 1 => 7.0,
            _ => 1e6 + normal(&mut rng) as f32,
        });
        let at = if rng.below(10) == 0 { rng.below(1 << 20) } else { 10 * at };
        Event { at, key: rng.below(3), values }
    };
    (0..n).map(event).collect()
}

#[test]
fn parts_add_up_whatever_comes() {
    let events = hostile(4000, 1);
    for detector in detectors() {
        for order in [&[0][..], &[0, 1], &[2, 0, 5], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            let (mut missing, mut several) = (0, 0);
            for (said, event) in run(query(detector, order), &events).iter().zip(&events) {
                let context = format!("{detector}, {order:?}: {said:?} of {event:?}");
                let sum: f64 = said.parts.iter().sum();
                assert!((sum - said.score).abs() <= 1e-12 * (1.0 + said.score), "{context}");
                assert_eq!(said.parts.len(), order.len(), "{context}");
                for (part, &value) in said.parts.iter().zip(order) {
                    assert!((0.0..=said.score).contains(part), "{context}");
                    assert!(*part == 0.0 || !event.values[value].is_nan(), "{context}");
                }
                assert_eq!(said.missing, order.iter().all(|&i| event.values[i].is_nan()));
                missing += usize::from(said.missing && said.parts.iter().all(|&part| part == 0.0));
                several += usize::from(said.parts.iter().filter(|part| **part > 0.0).count() > 1);
            }
            assert!(missing > 20 && (order.len() == 1 || several > 1000), "{missing}, {several}");
        }
    }
}

/// Another order of the fields is another order of the parts, bit for bit, where each value is judged by itself.
#[test]
fn parts_go_with_their_values() {
    let mut rng = SplitMix::new(2);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event =
        |at: u64| Event { at, key: 0, values: [0; VALUES].map(|_| normal(&mut rng) as f32) };
    let mut events: Vec<Event> = (0..3000).map(event).collect();
    events.iter_mut().step_by(97).for_each(|event| event.values[3] = 20.0);
    events.iter_mut().step_by(31).for_each(|event| event.values[6] = f32::NAN);
    let order = [5, 3, 7, 0, 6, 1, 4, 2];
    for detector in detectors() {
        let by_itself = !matches!(detector, Detector::HalfSpaces(_) | Detector::Loda(_));
        let plain = run(query(detector, &[0, 1, 2, 3, 4, 5, 6, 7]), &events);
        let moved = run(query(detector, &order), &events);
        for (i, (plain, moved)) in plain.iter().zip(&moved).enumerate().filter(|_| by_itself) {
            assert_eq!(plain.score.to_bits(), moved.score.to_bits(), "{detector}, event {i}");
            for (at, &value) in order.iter().enumerate() {
                let (want, got) = (plain.parts[value], moved.parts[at]);
                // The parts are the same bits; their sum is added up in another order.
                assert!((want - got).abs() <= 1e-12 * plain.score, "{detector}, event {i}");
            }
        }
        // Trees and projections are others, but say the same of what stands out.
        let largest = |parts: &[f64]| (0..VALUES).max_by(|&a, &b| parts[a].total_cmp(&parts[b]));
        let agree = |i: &usize| {
            largest(&plain[*i].parts) == Some(3) && largest(&moved[*i].parts) == Some(1)
        };
        let faults = (970..3000).filter(|i| i % 97 == 0);
        let (all, alike) = (faults.clone().count(), faults.filter(agree).count());
        // What compares stretches takes a spike that comes again for common.
        let compares = matches!(detector, Detector::Profile(_) | Detector::SubPca(_));
        let least = if compares { 0 } else { all * 9 / 10 };
        assert!(alike >= least, "{detector}: {alike} of {all}");
    }
}

/// What goes wrong in one value is mostly that value's; all others take what is left.
#[test]
fn a_fault_is_its_values() {
    for detector in detectors() {
        for of in [2, 3, VALUES] {
            let order: Vec<usize> = (0..of).collect();
            let mut shares = Vec::new();
            for faulty in 0..of {
                let mut rng = SplitMix::new(10 + faulty as u64);
                #[allow(clippy::cast_possible_truncation, reason = "rounded")]
                let event = |at: u64| {
                    let mut values = [0; VALUES].map(|_| normal(&mut rng) as f32);
                    values[faulty] += if at >= 1500 { 9.0 } else { 0.0 };
                    Event { at, key: 0, values }
                };
                let events: Vec<Event> = (0..1504).map(event).collect();
                let said = run(query(detector, &order), &events);
                let share = |said: &Said| said.parts[faulty] / said.score;
                shares.push(share(&said[1500]));
            }
            let mean = shares.iter().sum::<f64>() / of as f64;
            println!("{detector}, {of} values: the faulty one has {mean:.2} ({shares:.2?})");
            assert!(mean > 0.5, "{detector}, {of} values: {shares:.2?}");
        }
    }
}

/// Before anything stands out, those that there are share alike.
#[test]
fn constants_share_alike() {
    let values = [1.0, f32::NAN, -3e9, 0.0, 5.0, 6.0, 7.0, 8.0];
    let events: Vec<Event> = (0..20).map(|at| Event { at, key: 0, values }).collect();
    for said in run(query(Detector::Distances, &[0, 1, 2]), &events) {
        let half = said.score / 2.0;
        assert_eq!((said.parts, half > 0.1), (vec![half, 0.0, half], true));
    }
}

/// An ensemble's parts are those of the member that has the event.
#[test]
fn an_ensemble_has_its_members_parts() {
    let mut rng = SplitMix::new(5);
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let event = |at: u64| {
        let side = if unit(&mut rng) < 0.5 { 10.0 } else { -10.0 };
        let mut values = [0; VALUES].map(|_| (side + normal(&mut rng)) as f32);
        values[1] = if at % 300 == 299 { -values[1] } else { values[1] };
        values[2] = if at % 300 == 150 { 80.0 } else { values[2] };
        Event { at, key: 0, values }
    };
    let events: Vec<Event> = (0..6000).map(event).collect();
    let order = [0, 1, 2];
    let spaces = Detector::HalfSpaces(HalfSpaces::default());
    let members = [Detector::Distances, spaces].map(|one| run(query(one, &order), &events));
    let ensemble = vec![Member { detector: spaces, share: 0.5 }];
    let query = Scores { ensemble, ..query(Detector::Distances, &order) };
    let mut had = [0; 2];
    for (i, said) in run(query, &events).iter().enumerate() {
        let member = &members[said.detector][i];
        had[said.detector] += 1;
        assert_eq!(said.field, member.field, "event {i}");
        for (part, of_member) in said.parts.iter().zip(&member.parts) {
            let (got, want) = (part / said.score, of_member / member.score);
            assert!((got - want).abs() < 1e-9, "event {i}: {said:?}, {member:?}");
        }
    }
    assert!(had.iter().all(|&count| count > 10), "{had:?}");
}
