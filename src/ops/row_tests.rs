//! Tests of the arithmetic that all window results rest on.

use super::*;
use crate::base::rng::SplitMix;

/// The fixed point by integer operations on the bits, as the shaders do it.
fn fixed_by_bits(bits: u32, fraction: u32) -> Option<i32> {
    let exponent = i64::from(bits >> 23 & 0xFF);
    let significand = u128::from(bits & 0x7F_FFFF | u32::from(exponent > 0) << 23);
    let shift = exponent.max(1) - 150 + i64::from(fraction);
    if exponent == 255 || shift > 40 {
        return (significand == 0 && exponent != 255).then_some(0);
    }
    let magnitude = if shift >= 0 {
        significand << shift
    } else if shift < -60 {
        0
    } else {
        let (whole, half) = (significand >> -shift, 1u128 << (-shift - 1));
        let rest = significand & ((1 << -shift) - 1);
        whole + u128::from(rest > half || rest == half && whole & 1 == 1)
    };
    let signed = i64::try_from(magnitude).ok()? * if bits >> 31 == 1 { -1 } else { 1 };
    i32::try_from(signed).ok()
}

#[test]
fn fixed_point_by_floats_is_fixed_point_by_bits() {
    let mut rng = SplitMix::new(1);
    let edges =
        [0, 0x8000_0000, 1, 0x4F00_0000, 0xCF00_0000, 0x4EFF_FFFF, 0x7F80_0000, 0xFF80_0000];
    for i in 0..2_000_000u64 {
        let bits = match i {
            0..8 => edges[usize::try_from(i).unwrap()],
            // Half of them near one, where rounding happens.
            _ if i % 2 == 0 => {
                (rng.next_u64() as u32 & 0x807F_FFFF) | (100 + rng.below(60) as u32) << 23
            }
            _ => rng.next_u64() as u32,
        };
        let fraction = rng.below(32) as u32;
        if !Kind::F32.is_nan(bits) {
            assert_eq!(
                Kind::F32.fixed(bits, fraction),
                fixed_by_bits(bits, fraction),
                "{bits:#x} {fraction}"
            );
        }
    }
}

#[test]
fn order_is_the_order_of_floats() {
    let values =
        [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-45, -0.0, 0.0, 1e-45, 2.0, f32::MAX, f32::INFINITY];
    for pair in values.windows(2) {
        assert!(
            Kind::F32.ordered(pair[0].to_bits()) < Kind::F32.ordered(pair[1].to_bits()),
            "{pair:?}"
        );
    }
    for v in values {
        let back = Kind::F32.unordered(Kind::F32.ordered(v.to_bits()));
        assert_eq!(back.to_bits(), f64::from(v).to_bits());
    }
    for v in [i32::MIN, -1, 0, 1, i32::MAX] {
        assert_eq!(Kind::I32.unordered(Kind::I32.ordered(v.cast_unsigned())), f64::from(v));
    }
}

#[test]
fn halves_are_decoded() {
    let word =
        u32::from(f16::from_f32(1.5).to_bits()) | u32::from(f16::from_f32(-2.0).to_bits()) << 16;
    assert_eq!(f32::from_bits(Kind::F16Lower.bits(word)), 1.5);
    assert_eq!(f32::from_bits(Kind::F16Upper.bits(word)), -2.0);
    let word =
        u32::from(bf16::from_f32(3.0).to_bits()) | u32::from(bf16::from_f32(-0.5).to_bits()) << 16;
    assert_eq!(f32::from_bits(Kind::Bf16Lower.bits(word)), 3.0);
    assert_eq!(f32::from_bits(Kind::Bf16Upper.bits(word)), -0.5);
}

fn sum_of(values: &[f32]) -> f64 {
    let mut limbs = [0u32; 2 * LIMBS];
    values.iter().for_each(|v| add_exact(&mut limbs, 0, v.to_bits()));
    exact_sum(&limbs)
}

#[test]
fn exact_sums_lose_nothing() {
    assert_eq!(sum_of(&[]), 0.0);
    assert_eq!(sum_of(&[0.0, -0.0]), 0.0);
    assert_eq!(sum_of(&[1e38, 1e-45, -1e38]), f64::from(1e-45f32));
    assert_eq!(sum_of(&[f32::MAX, f32::MAX, f32::MAX]), 3.0 * f64::from(f32::MAX));
    assert_eq!(sum_of(&[f32::MIN, f32::MIN]), 2.0 * f64::from(f32::MIN));
    assert_eq!(sum_of(&[-1e-45]), f64::from(-1e-45f32));
    assert_eq!(sum_of(&[1.0, -1.0, 0.1, 0.2, -0.2]), f64::from(0.1f32));
    // Half way between two doubles: ties go to even, and the smallest bit below breaks the tie.
    let tie = 2f32.powi(53);
    assert_eq!(sum_of(&[tie, 1.0]), 9_007_199_254_740_992.0);
    assert_eq!(sum_of(&[tie, 1.0, 1e-45]), 9_007_199_254_740_994.0);
    assert_eq!(sum_of(&[-tie, -1.0, -1e-45]), -9_007_199_254_740_994.0);
}

#[test]
fn exact_sums_agree_with_doubles_where_those_are_exact() {
    let mut rng = SplitMix::new(9);
    for _ in 0..2000 {
        let n = rng.below(100) as usize;
        let values: Vec<f32> = (0..n).map(|_| (rng.below(1 << 24) as f32 - 8e6) * 0.25).collect();
        assert_eq!(sum_of(&values), values.iter().map(|&v| f64::from(v)).sum::<f64>());
    }
}

#[test]
fn merging_is_adding() {
    let parts = EXTREMES | FIXED | SQUARES | EXACT | FIRST | LAST;
    let l = Layout::new(parts);
    let mut rng = SplitMix::new(3);
    for _ in 0..200 {
        let (mut one, mut two, mut both) = (vec![0; l.words], vec![0; l.words], vec![0; l.words]);
        for i in 0..rng.below(40) {
            let word = rng.next_u64() as u32;
            let place = Place { time: rng.below(5), lane: 1 + rng.below(3) as u32, seq: i };
            for row in [if rng.below(2) == 0 { &mut one } else { &mut two }, &mut both] {
                add_value(row, &l, parts, Kind::F32, 8, word);
                if !Kind::F32.is_nan(word) {
                    add_ends(row, &l, parts, place, word);
                }
            }
        }
        merge(&mut one, &two, &l);
        assert_eq!(one, both);
    }
}

#[test]
fn rows_are_as_small_as_their_parts() {
    assert_eq!(Layout::new(0).words, 4);
    assert_eq!(Layout::new(EXTREMES | FIXED).words, 8);
    assert_eq!(Layout::new(EXACT).words, 24);
    assert_eq!(Layout::new(EXTREMES | FIXED | SQUARES | FIRST | LAST).words, 28);
}
