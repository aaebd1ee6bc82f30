//! Windows of levels: the same cuts as `learn::Adwin`, which agrees with River, and as the definition has them, over
//! the whole range of what they hold and of what they count.

use crate::scores::spec::window::Window;
use pelton::base::rng::SplitMix;
use pelton::learn::{Adwin, AdwinOptions};
use pelton::ops::adwin::{WINDOW, has_cut, insert, width};

/// The word that counts means.
const MEANS: usize = 2;

/// Means of several kinds: still, a step up or down, steps now and then, a ramp, all or nothing, constants.
fn mean(kind: u64, rng: &mut SplitMix, i: u32) -> u32 {
    let mut bell = |middle: f64, wide: f64| {
        let sum: f64 = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        (middle + wide * sum).clamp(0.0, 256.0).round()
    };
    let x = match kind {
        0 => bell(128.0, 6.0),
        1 => bell(if i < 200 { 128.0 } else { 140.0 }, 6.0),
        2 => bell(if i < 100 { 128.0 } else { 90.0 }, 20.0),
        3 => bell(100.0 + 9.0 * f64::from(i / 90 % 4), 6.0),
        4 => bell(60.0 + 0.1 * f64::from(i), 8.0),
        5 => [0.0, 256.0][usize::from(rng.below(3) == 2)],
        6 => [0.0, 256.0][usize::from(i >= 250)],
        _ => [256.0, 255.0][usize::from(i >= 300)],
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 256")]
    let x = x as u32;
    x
}

fn scale(delta: f64) -> f32 {
    #[allow(clippy::cast_possible_truncation, reason = "rounded")]
    let scale = (2.0 / delta).ln() as f32;
    scale
}

/// A window as long as it holds all, beside that of `learn`, for which eight units are one.
#[test]
fn cuts_are_those_of_the_learner() {
    let (mut cuts, mut steps) = (0, 0);
    for delta in [0.3, 0.002, 1e-5, 1e-12] {
        let options =
            AdwinOptions { delta, clock: 1, buckets: 4, shortest: 1, grace: 10, restart: true };
        for (kind, seed) in (0..8).flat_map(|kind| (0..6).map(move |seed| (kind, seed))) {
            let mut rng = SplitMix::new(seed);
            let mut learner = Adwin::new(options).expect("options in range");
            let mut words = [0; WINDOW];
            for i in 0..500 {
                let mean = mean(kind, &mut rng, i);
                insert(&mut words, mean);
                let cut = has_cut(&words, scale(delta));
                let context = format!("kind {kind}, seed {seed}, delta {delta}, mean {i}");
                let before = learner.width();
                assert_eq!(cut, learner.update(f64::from(mean) / 8.0), "{context}");
                if cut {
                    assert!(learner.width() <= before, "{context}: the older part went");
                    words = [0; WINDOW];
                    cuts += 1;
                } else {
                    assert_eq!(u64::from(width(&words)), learner.width(), "{context}");
                }
                steps += 1;
            }
        }
    }
    println!("{cuts} cuts among {steps} means");
    assert!(cuts > 200, "{cuts}");
}

/// Windows that lose what is oldest are those of the definition, and so they are where the count of means goes back.
#[test]
fn full_windows_are_those_of_the_definition() {
    for (kind, delta) in (0..8).flat_map(|kind| [(kind, 1e-3), (kind, 1e-20)]) {
        let mut rng = SplitMix::new(kind);
        let (mut words, mut naive) = ([0; WINDOW], Window::default());
        let (mut narrowest, mut cuts) = (u32::MAX, 0);
        for i in 0..4000 {
            if i == 2000 {
                // As far from the end as windows look alike: rows count by twos, and places by fours.
                words[MEANS] += (1 << 31) - 2048;
            }
            let mean = mean(kind, &mut rng, i);
            insert(&mut words, mean);
            naive.insert(f64::from(mean));
            assert_eq!(width(&words) as usize, naive.means().len(), "kind {kind}, mean {i}");
            let best = naive.best_cut(delta);
            let cut = has_cut(&words, scale(delta));
            assert!(
                cut == (best > 1.0) || (best - 1.0).abs() < 1e-4,
                "kind {kind}, mean {i}: {best}"
            );
            cuts += u32::from(cut);
            if i > 1000 {
                narrowest = narrowest.min(width(&words));
            }
            assert!(width(&words) <= 508);
        }
        assert!(words[MEANS] < 1 << 31 && words[MEANS] >= 1 << 30, "it has gone back");
        assert!(narrowest > 300, "{narrowest}");
        assert!(cuts > 0 || kind == 0 || kind > 4 || delta < 1e-3, "kind {kind}");
    }
}
