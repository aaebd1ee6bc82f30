//! Ensembles: held to what their members say alone, and to rest and rules by a naive definition.

use crate::scores::judge::{of_key, surprise};
use crate::scores::labels::same_labelled;
use crate::scores::{Reading, Scored, Setup, Words, dense, ensemble, run, stream, wide};
use pelton::ops::score::{
    ALERT, DETECTOR_SHIFT, ISOLATION_SHIFT, MISSING, RESTING, RULED_OUT, USUAL, WARMING,
};
use pelton::{Detector, Device, Forest, Inline, Member, Options, Scores, Side};

/// What an ensemble says of an event by what its members say, but for the alert.
struct Said {
    surprise: f64,
    member: usize,
    /// Whether it is a peak, of a member that is warm, and no rule speaks against it.
    flags: u32,
    /// How near another member came.
    margin: f64,
}

/// The definition: the largest of the surprises less what their shares take.
fn said(shares: &[f64], members: &[&Words]) -> Said {
    let of = |i: usize| {
        let usual = members[i][4] & USUAL != 0;
        let left = (surprise(members[i]) - (1.0 / shares[i]).ln()).max(0.0);
        if usual { surprise(members[i]) } else { left }
    };
    let mut said = Said { surprise: of(0), member: 0, flags: members[0][4], margin: f64::MAX };
    for (i, words) in members.iter().enumerate().skip(1) {
        if words[4] & (USUAL | WARMING | MISSING) != 0 {
            continue;
        }
        let other = of(i);
        if said.flags & WARMING == 0 {
            said.margin = said.margin.min((other - said.surprise).abs());
        }
        if said.flags & WARMING != 0 || other > said.surprise {
            said = Said { surprise: other, member: i, flags: words[4], ..said };
        }
    }
    said
}

/// Holds a key's scores to the definition; returns how many alerts there were, and how many events each member had.
fn judge(
    query: &Scores<Reading>,
    events: &[Reading],
    members: &[&[Words]],
    got: &[Words],
) -> Vec<usize> {
    let mut shares: Vec<f64> = query.ensemble.iter().map(|m| f64::from(m.share)).collect();
    shares.insert(0, 1.0 - shares.iter().sum::<f64>());
    let asked = -query.rate.ln();
    let spacing = query.spacing.expect("known here") as f64;
    let (mut rest, mut peak, mut latest) = (0.0f64, 0.0f64, None::<u64>);
    let mut had = vec![0; shares.len() + 1];
    for (i, (event, got)) in events.iter().zip(got).enumerate() {
        let rows: Vec<&Words> = members.iter().map(|rows| &rows[i]).collect();
        let context = || format!("event {i} {event:?}: {got:x?}, {rows:x?}");
        if let Some(latest) = latest.filter(|&latest| event.at > latest) {
            rest = (rest - ((event.at - latest) as f64 / spacing).min(4096.0)).max(0.0);
        }
        latest = latest.max(Some(event.at));
        let want = said(&shares, &rows);
        assert_eq!(got[4] >> ISOLATION_SHIFT, rows[0][4] >> ISOLATION_SHIFT, "{}", context());
        assert_eq!((got[4] & MISSING, got[9]), (rows[0][4] & MISSING, rows[0][9]), "{}", context());
        let member = (got[4] >> DETECTOR_SHIFT & 7) as usize;
        if member != want.member {
            assert!(want.margin < 1e-4, "{}", context());
        }
        assert!(
            (surprise(got) - want.surprise).abs() < 1e-4 * (1.0 + want.surprise),
            "{}",
            context()
        );
        assert_eq!(got[6..9], rows[member][6..9], "{}", context());
        had[member] += 1;
        if got[4] & MISSING != 0 {
            continue;
        }
        let s = surprise(got);
        let candidate = got[4] & USUAL == 0 && s > asked;
        assert_eq!(got[4] & WARMING, rows[member][4] & WARMING, "{}", context());
        if candidate {
            assert_eq!(got[4] & RULED_OUT, rows[member][4] & RULED_OUT, "{}", context());
        }
        let resting = rest > 0.0 && !(got[4] & USUAL == 0 && s > 1.2 * peak);
        let alert = candidate && got[4] & (WARMING | RULED_OUT) == 0 && !resting;
        assert_eq!(
            got[4] & (ALERT | RESTING),
            u32::from(alert) | u32::from(resting) << 2,
            "{}",
            context()
        );
        if alert {
            (rest, peak) = (f64::from(query.rest), s);
            had[shares.len()] += 1;
        }
    }
    had
}

/// A member's scores as if it were alone.
fn alone(query: &Scores<Reading>, detector: Detector, events: &[Reading]) -> Scored {
    let query = Scores { detector, ensemble: Vec::new(), ..query.clone() };
    run(&Device::cpu(), query, &Setup::default(), events).0
}

#[test]
fn ensembles_say_what_their_members_say() {
    let mut had = vec![0; 5];
    for (seed, side, least) in [(1, Side::Both, 0.0), (2, Side::Above, 4.0)] {
        let events = stream(seed, 30_000, 40);
        // A power of two, so that spacings are exact.
        let query = Scores { spacing: Some(8), side, least, ..ensemble(dense(40)) };
        let (got, _) = run(&Device::cpu(), query.clone(), &Setup::default(), &events);
        let detectors =
            [query.detector].into_iter().chain(query.ensemble.iter().map(|m| m.detector));
        let members: Vec<Scored> = detectors.map(|d| alone(&query, d, &events)).collect();
        for key in 0..40 {
            let rows: Vec<&[Words]> = members.iter().map(|m| m[&key.into()].as_slice()).collect();
            let counts = judge(&query, &of_key(&events, key), &rows, &got[&key.into()]);
            had.iter_mut().zip(counts).for_each(|(all, one)| *all += one);
        }
    }
    println!("events that each member had, and alerts: {had:?}");
    assert!(had.iter().all(|&count| count >= 5), "{had:?}");
}

#[test]
fn batches_lanes_and_other_keys_do_not_show() {
    let events = stream(3, 12_000, 9);
    for query in [ensemble(wide()), ensemble(dense(40))] {
        let (want, _) = run(&Device::cpu(), query.clone(), &Setup::default(), &events);
        for (batch, chunk, lanes, in_flight) in
            [(1, 500, 1, 1), (7, 3000, 3, 4), (1024, 7, 9, 2), (65_536, 9000, 2, 3)]
        {
            let setup = Setup { batch, chunk, lanes, in_flight, ..Setup::default() };
            assert!(run(&Device::cpu(), query.clone(), &setup, &events).0 == want);
        }
    }
}

#[test]
fn labels_speak_to_the_ensemble() {
    same_labelled(&Device::cpu(), || ensemble(wide()), (3, 6000));
}

#[test]
fn mistakes_are_named() {
    let forest = |share| Member { detector: Detector::Forest(Forest::of(64)), share };
    let odd = Member { detector: Detector::Forest(Forest::of(100)), share: 0.1 };
    for (members, want) in [
        (vec![forest(0.1); 4], "ensemble: 4; accepted are 3 members at most"),
        (vec![forest(0.0)], "ensemble.share: 0; accepted are 0.001 to below 1"),
        (vec![forest(f32::NAN)], "ensemble.share: NaN"),
        (vec![forest(0.5), forest(0.5)], "ensemble.share: 1; accepted are 0.999 at most in all"),
        (vec![odd], "detector.points: 100"),
    ] {
        let query = Scores { ensemble: members, ..dense(4) };
        let error = Inline::new(query, Options::on(Device::cpu())).expect_err(want).to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
}
