//! The engine against the specification of windows: the same rows, asides and counters, to the bit.
//!
//! Scenarios and setups are drawn from seeds; a failure names both. More than 10^7 events run by default. As many as
//! there is time for run under
//!
//! ```text
//! PELTON_SOAK_EVENTS=1000000000 cargo test --release --no-default-features --test pipelines \
//!     -- --nocapture soak
//! ```
//!
//! which takes seeds from `PELTON_SOAK_SEED` (0) on and says now and then how far it is.

use crate::engine::Setup;
use crate::engine::case::{Case, long_setup, many, random};
use crate::spec::scenario::Scenario;
use crate::spec::streams::Stream;
use crate::spec::{Filter, KeyField, Query};
use pelton::Device;
use pelton::base::rng::SplitMix;
use std::time::Instant;

#[test]
fn batches_of_1() {
    assert!(random(&Device::cpu(), 1, 60_000, 5000, 0) >= 10_000);
}

#[test]
fn batches_of_7() {
    assert!(random(&Device::cpu(), 7, 100_000, 5000, 1000) >= 10_000);
}

#[test]
fn batches_of_1024() {
    random(&Device::cpu(), 1024, 600_000, 20_000, 2000);
}

#[test]
fn batches_of_65536() {
    random(&Device::cpu(), 65_536, 300_000, 20_000, 3000);
}

#[test]
fn ten_million_events() {
    assert!(many(&Device::cpu(), 10_000_000, 500_000, 0) >= 10_000_000);
}

#[test]
fn a_million_events_in_hopping_windows() {
    let case = Case::new("million", &Scenario::million(1));
    case.run(&long_setup(&Device::cpu(), 1 << 14, 1));
}

/// The same rows in the same order, once revisions are left out.
#[test]
fn nothing_of_the_setup_shows() {
    for seed in 0..24 {
        let case = Case::of(seed + 500, 3000);
        let mut first = None;
        for (i, batch) in [1, 7, 100, 1024, 65_536].into_iter().enumerate() {
            let setup = Setup {
                all_parts: true,
                ..Setup::random(&Device::cpu(), batch, SplitMix::at(seed, i as u64))
            };
            let Some(found) = case.judged(&setup) else { continue };
            let last = found.last_rows();
            assert_eq!(&last, first.get_or_insert_with(|| last.clone()), "{}", case.name);
        }
    }
}

/// Late events of windows with many slices: each goes to all windows that are left, and a header holds only so many.
#[test]
fn late_events_of_windows_with_many_slices() {
    for (slices, lateness) in [(300, 400), (2000, 900), (20_000, 0)] {
        let query = Query {
            size: 10 * slices,
            slide: 10,
            disorder: 20,
            lateness: 10 * lateness,
            horizon: u64::MAX,
            key: KeyField::Wide,
            dense: None,
            filter: Filter::Everything,
            values: vec![],
        };
        let stream = Stream {
            events: 400_000 / usize::try_from(slices).expect("small") + 20,
            keys: 1,
            base: 10 * slices,
            span: 10 * slices,
            too_late: (0.5, 10 * slices),
            ..Stream::default()
        };
        let case = Case::new(format!("{slices} slices"), &Scenario { query, stream });
        for batch in [7, 4096] {
            assert!(case.run(&Setup { keys: 1, ..Setup::new(&Device::cpu(), batch) }) > 0);
        }
    }
}

#[test]
fn soak() {
    let number = |name: &str, or: u64| {
        std::env::var(name).map_or(or, |text| text.parse().expect("a number of events or a seed"))
    };
    let wanted = usize::try_from(number("PELTON_SOAK_EVENTS", 200_000)).expect("fits");
    let (mut seed, mut done, mut said) = (number("PELTON_SOAK_SEED", 0), 0, 0);
    let (cpu, start) = (Device::cpu(), Instant::now());
    while done < wanted {
        // Five long streams to one hundred short and odd ones; less of both where little is asked for.
        let long = wanted.min(5_000_000);
        done += many(&cpu, long, long.div_ceil(5), seed);
        done += (0..(wanted as u64 / 10_000).min(100))
            .map(|i| Case::random(seed + i).run(&Setup::any(&cpu, seed + i)))
            .sum::<usize>();
        seed += 100;
        if done / 20_000_000 > said {
            said = done / 20_000_000;
            println!("{done} events compared, next seed {seed}, {:?}", start.elapsed());
        }
    }
    println!("{done} events compared, next seed {seed}, {:?}: no difference", start.elapsed());
}
