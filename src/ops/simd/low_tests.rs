//! Products of low precision: each tier against the spec, tier against tier, and rows that know nothing of each other.

#![allow(clippy::cast_possible_truncation, reason = "judged in f64")]

use super::super::tier::TIERS;
use super::*;
use crate::base::rng::SplitMix;
use crate::ops::gemm::Activation;
use crate::ops::low::{pack_halves, pack_int8, quantise};

/// A product's parts, made up.
struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    a: Vec<f32>,
    w: Vec<f32>,
    smooth: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

const SHAPES: [(usize, usize, usize); 7] = [
    (1, 1, 32),
    (2, 64, 32),
    (13, 7, 64),
    (32, 96, 96),
    (100, 33, 32),
    (129, 384, 32),
    (203, 130, 64),
];

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn case((rows, depth, columns): (usize, usize, usize)) -> Case {
    let mut rng = SplitMix::new(3);
    let mut random =
        |n: usize| -> Vec<f32> { (0..n).map(|_| rng.below(2001) as f32 * 1e-3 - 1.0).collect() };
    let (a, w) = (random(rows * depth), random(columns * depth));
    let smooth = random(depth).iter().map(|x| 0.1 + x.abs()).collect();
    let (bias, residual) = (random(columns), random(rows * columns));
    Case { rows, depth, columns, a, w, smooth, bias, residual }
}

impl Case {
    fn run(
        &self,
        tier: Tier,
        precision: Precision,
        rows: std::ops::Range<usize>,
        after: bool,
    ) -> Vec<f32> {
        let (codes, scales) = quantise(&self.w, self.depth, &self.smooth);
        let panels = match precision {
            Precision::Int8 => pack_int8(&codes, self.columns, self.depth),
            _ => pack_halves(&self.w, self.columns, self.depth, precision),
        };
        let residual = &self.residual[rows.start * self.columns..];
        let some = After {
            bias: Some(&self.bias),
            activation: Activation::GeluErf,
            residual: Some(residual),
        };
        let low = Low {
            a: &self.a[rows.start * self.depth..],
            a_stride: self.depth,
            rows: rows.len(),
            depth: self.depth,
            columns: self.columns,
            precision,
            panels: &panels,
            scales: &scales,
            smooth: &self.smooth,
            after: if after { some } else { After::NONE },
            out_stride: self.columns,
        };
        let mut out = vec![7.0; rows.len() * self.columns];
        multiply_on(tier, &low, &mut out);
        out
    }

    /// Sums in `f64` and what they may be off by, of inputs rounded one by one as the spec says.
    fn spec(&self, precision: Precision) -> Vec<(f64, f64)> {
        let wide = |x: &f32| f64::from(*x);
        let smooth: Vec<f64> = self.smooth.iter().map(wide).collect();
        let code = |row: &[f32], by: &dyn Fn(usize) -> f64| -> (Vec<f64>, f64) {
            let scaled: Vec<f32> = row.iter().enumerate().map(|(k, x)| x * by(k) as f32).collect();
            let most = scaled.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            let codes = scaled.iter().map(|x| wide(&(x * (127.0 / most)).round_ties_even()));
            (codes.collect(), wide(&(most / 127.0)))
        };
        let round = |row: &[f32]| -> (Vec<f64>, f64) {
            let round = |x: &f32| match precision {
                Precision::F16 => half::f16::from_f32(*x).to_f32(),
                _ => half::bf16::from_f32(*x).to_f32(),
            };
            (row.iter().map(|x| wide(&round(x))).collect(), 1.0)
        };
        let rounded = |rows: &[f32], by: &dyn Fn(usize) -> f64| -> Vec<(Vec<f64>, f64)> {
            let rows = rows.chunks(self.depth);
            rows.map(|row| if precision == Precision::Int8 { code(row, by) } else { round(row) })
                .collect()
        };
        let a = rounded(&self.a, &|k| smooth[k]);
        let w = rounded(&self.w, &|k| f64::from(1.0 / self.smooth[k]));
        let pairs = a.iter().flat_map(|a| w.iter().map(move |w| (a, w)));
        pairs
            .map(|((a, s), (w, t))| {
                let products = || a.iter().zip(w).map(|(a, w)| a * w * s * t);
                (products().sum(), products().map(f64::abs).sum())
            })
            .collect()
    }
}

/// What is lower than F32.
const LOW: [Precision; 3] = [Precision::F16, Precision::Bf16, Precision::Int8];

fn tiers() -> Vec<Tier> {
    TIERS.into_iter().map(|(_, tier)| tier).filter(|tier| tier.is_there()).collect()
}

#[test]
fn every_tier_computes_what_the_spec_says() {
    for shape in SHAPES {
        let case = case(shape);
        for precision in LOW {
            let spec = case.spec(precision);
            for tier in tiers() {
                let found = case.run(tier, precision, 0..case.rows, false);
                for (i, (found, (want, size))) in found.iter().zip(&spec).enumerate() {
                    let off = (f64::from(*found) - want).abs();
                    assert!(
                        off <= size / f64::from(1 << 20),
                        "{tier:?} {precision} {shape:?} {i}: {off:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn int8_and_f16_are_the_same_on_every_tier_bit_for_bit() {
    for (shape, precision) in
        SHAPES.iter().flat_map(|shape| [Precision::Int8, Precision::F16].map(|of| (*shape, of)))
    {
        let mut case = case(shape);
        case.a[shape.0 / 2 * shape.1] = f32::NAN;
        case.a[shape.0 / 3 * shape.1] = f32::INFINITY;
        case.a[(shape.0 - 1) * shape.1..].fill(0.0);
        let bits = |tier| -> Vec<u32> {
            let found = case.run(tier, precision, 0..case.rows, true);
            found.into_iter().map(|x| if x.is_finite() { x.to_bits() } else { !0 }).collect()
        };
        let plain = bits(Tier::Plain);
        for tier in tiers() {
            assert_eq!(bits(tier), plain, "{tier:?} {precision} {shape:?}");
        }
        assert_eq!(
            plain.contains(&!0),
            shape.0 > 1,
            "rows with NaN and infinities, but no others: {precision} {shape:?}"
        );
    }
}

/// Numbers of every size: zeros for those below F16's normal ones, infinities above its largest, and nothing lost
/// between.
#[test]
fn f16_holds_what_it_holds_and_no_more() {
    for tier in tiers() {
        for (x, w, want) in [
            (6.1e-5, 1.0, 0.0),
            (2f32.powi(-14), 2f32.powi(-14), 2f32.powi(-28)),
            (65504.0, 65504.0, 65504.0 * 65504.0),
            (-65519.0, 1.0, -65504.0),
            (65520.0, 1.0, f32::INFINITY),
            (f32::MIN_POSITIVE / 2.0, 1.0, 0.0),
            (f32::MAX, -1.0, f32::NEG_INFINITY),
        ] {
            let mut case = case((3, 1, 32));
            (case.a, case.w) = (vec![x; 3], vec![w; 32]);
            let found = case.run(tier, Precision::F16, 0..3, false);
            // An infinity times what fills a row up is none.
            let same = |found: &f32| *found == want || want.is_infinite() && !found.is_finite();
            assert!(found.iter().all(same), "{tier:?}: {x:e} times {w:e} is {:e}", found[0]);
        }
    }
}

#[test]
fn rows_do_not_know_of_each_other() {
    for shape in SHAPES {
        let case = case(shape);
        for precision in LOW {
            for tier in tiers() {
                let all = case.run(tier, precision, 0..case.rows, true);
                for row in [0, case.rows / 2, case.rows - 1] {
                    let alone = case.run(tier, precision, row..row + 1, true);
                    let among = &all[row * case.columns..][..case.columns];
                    assert_eq!(alone, among, "{tier:?} {precision} {shape:?} {row}");
                }
            }
        }
    }
}

#[test]
fn no_number_stays_none_and_harms_no_other_row() {
    for precision in LOW {
        for tier in tiers() {
            let mut case = case((20, 70, 32));
            let good = case.run(tier, precision, 0..20, true);
            case.a[7 * 70 + 69] = f32::NAN;
            let found = case.run(tier, precision, 0..20, true);
            for (row, (found, good)) in found.chunks(32).zip(good.chunks(32)).enumerate() {
                let as_before =
                    if row == 7 { found.iter().all(|x| x.is_nan()) } else { found == good };
                assert!(as_before, "{tier:?} {precision} row {row}");
            }
        }
    }
}

#[test]
fn nothing_is_multiplied_into_nothing() {
    for tier in tiers() {
        assert!(case((5, 64, 32)).run(tier, Precision::Int8, 0..0, true).is_empty());
    }
}
