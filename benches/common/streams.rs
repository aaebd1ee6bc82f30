//! Streams of keys that stay as they are: what scores are held to their probabilities by.

use pelton::base::rng::SplitMix;

/// A value of one kind of stream, by its number and what the stream keeps.
pub(crate) type Make = fn(&mut SplitMix, u32, &mut f64) -> f64;

/// The kinds.
pub(crate) const KINDS: [(&str, Make); 5] = [
    ("Gaussian", |rng, _, _| normal(rng)),
    ("Student-3", |rng, _, _| {
        let chi = (0..3).map(|_| normal(rng).powi(2)).sum::<f64>() / 3.0;
        normal(rng) / chi.sqrt()
    }),
    ("gamma", |rng, _, _| -(unit(rng).ln() + unit(rng).ln())),
    ("seasonal", |rng, i, _| seasonal(rng, i, 288.0)),
    ("autocorrelated", |rng, _, x| autocorrelated(rng, x, 0.9)),
];

/// A number above 0, up to 1.
fn unit(rng: &mut SplitMix) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

pub(crate) fn normal(rng: &mut SplitMix) -> f64 {
    (-2.0 * unit(rng).ln()).sqrt() * (std::f64::consts::TAU * unit(rng)).cos()
}

pub(crate) fn seasonal(rng: &mut SplitMix, i: u32, period: f64) -> f64 {
    3.0 * (f64::from(i) * std::f64::consts::TAU / period).sin() + normal(rng)
}

/// `x` is the value before, of which this share stays.
pub(crate) fn autocorrelated(rng: &mut SplitMix, x: &mut f64, share: f64) -> f64 {
    *x = share * *x + normal(rng);
    *x
}
