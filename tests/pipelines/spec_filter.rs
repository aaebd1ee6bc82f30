//! The filter's reference, [`Filter::matches`], against Rust's own operators.

use half::{bf16, f16};
use pelton::base::dtype::Scalar;
use pelton::base::limits::FILTER_TESTS_MAX;
use pelton::{Error, Field, Filter, Pod, Zeroable, field};

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Event {
    wide: [u64; 2],
    real: [f32; 2],
    half: [f16; 2],
    brain: [bf16; 2],
    whole: [i32; 2],
    count: [u32; 2],
}

macro_rules! pair {
    ($name:ident: $ty:ty) => {
        (
            Field::<Event, $ty>::new(std::mem::offset_of!(Event, $name), |e| e.$name[0]),
            Field::<Event, $ty>::new(std::mem::offset_of!(Event, $name) + size_of::<$ty>(), |e| {
                e.$name[1]
            }),
        )
    };
}

/// Every comparison of every pair of values, as constant and as field, plain and turned around.
fn check<T: Scalar + PartialOrd + std::fmt::Debug>(
    (left, right): (Field<Event, T>, Field<Event, T>),
    values: &[T],
    set: impl Fn(&mut Event, T, T),
) {
    for &a in values {
        for &b in values {
            let mut event = Event::zeroed();
            set(&mut event, a, b);
            let cases = [
                (Filter::eq(left, b), Filter::eq_field(left, right), a == b),
                (Filter::ne(left, b), Filter::ne_field(left, right), a != b),
                (Filter::lt(left, b), Filter::lt_field(left, right), a < b),
                (Filter::le(left, b), Filter::le_field(left, right), a <= b),
                (Filter::gt(left, b), Filter::gt_field(left, right), a > b),
                (Filter::ge(left, b), Filter::ge_field(left, right), a >= b),
            ];
            for (i, (constant, fields, expected)) in cases.into_iter().enumerate() {
                assert_eq!(constant.matches(&event), expected, "case {i}: {a:?} {b:?}");
                assert_eq!(fields.matches(&event), expected, "case {i}, fields: {a:?} {b:?}");
                assert_eq!((!constant).matches(&event), !expected, "case {i}, not: {a:?} {b:?}");
                assert_eq!((!fields).matches(&event), !expected, "case {i}, not: {a:?} {b:?}");
            }
            for &c in values {
                let inside = Filter::between(left, b, c).matches(&event);
                assert_eq!(inside, b <= a && a <= c, "{b:?} <= {a:?} <= {c:?}");
            }
        }
    }
}

const REALS: [f32; 15] = [
    f32::NEG_INFINITY,
    f32::MIN,
    -1.5,
    -1.0,
    -f32::MIN_POSITIVE,
    -1e-45,
    -0.0,
    0.0,
    1e-45,
    f32::MIN_POSITIVE,
    1.0,
    1.5,
    f32::MAX,
    f32::INFINITY,
    f32::NAN,
];

#[test]
fn comparisons_are_those_of_rust() {
    let (halves, brains) = (REALS.map(f16::from_f32), REALS.map(bf16::from_f32));
    let mut reals = REALS.to_vec();
    reals.push(-f32::NAN);
    check(pair!(real: f32), &reals, |e, a, b| e.real = [a, b]);
    check(pair!(half: f16), &halves, |e, a, b| e.half = [a, b]);
    check(pair!(brain: bf16), &brains, |e, a, b| e.brain = [a, b]);
    let wholes = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX];
    check(pair!(whole: i32), &wholes, |e, a, b| e.whole = [a, b]);
    let counts = [0, 1, 2, 1 << 31, u32::MAX - 1, u32::MAX];
    check(pair!(count: u32), &counts, |e, a, b| e.count = [a, b]);
    let wides = [0, 1, u64::from(u32::MAX), 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX];
    check(pair!(wide: u64), &wides, |e, a, b| e.wide = [a, b]);
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Trade {
    kind: u32,
    amount: f32,
}

#[test]
fn joints_are_those_of_rust() {
    for bits in 0..16u32 {
        let filter =
            |i: u32| Filter::eq(field!(Trade.kind), bits | u32::from(bits >> i & 1 == 0) << 9);
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| bits >> i & 1 == 1);
        let [fa, fb, fc, fd] = [0, 1, 2, 3].map(filter);
        let trade = Trade { kind: bits, amount: 0.0 };
        let f = |x: &Filter<Trade>| x.clone();
        for (filter, expected) in [
            (f(&fa) & f(&fb), a && b),
            (f(&fa) | f(&fb), a || b),
            (!(f(&fa) & f(&fb)), !(a && b)),
            (!(f(&fa) | !f(&fb)), !a && b),
            ((f(&fa) & f(&fb)) | (f(&fc) & f(&fd)), (a && b) || (c && d)),
            ((f(&fa) | f(&fb)) & (f(&fc) | f(&fd)), (a || b) && (c || d)),
            (!((f(&fa) | f(&fb)) & !(f(&fc) | f(&fd))), !((a || b) && !(c || d))),
            (f(&fa) | (f(&fb) & (f(&fc) | !f(&fd))), a || (b && (c || !d))),
        ] {
            assert_eq!(filter.matches(&trade), expected, "{bits:04b} {filter:?}");
        }
    }
}

#[test]
fn no_expression_is_too_deep_but_some_are_too_long() {
    let leaf = |i: u32| Filter::eq(field!(Trade.kind), i);
    // Every other step turns all before it around; what joins last and is not turned decides.
    let deep = (0..20_000).fold(leaf(0), |all, i| if i % 2 == 0 { all | leaf(i) } else { !all });
    for kind in [0, 1, 2, 19_997, 19_998, 20_000] {
        let step = |all, i| if i % 2 == 0 { all || kind == i } else { !all };
        let expected = (0..20_000).fold(kind == 0, step);
        assert_eq!(deep.matches(&Trade { kind, amount: 0.0 }), expected, "{kind}");
    }
    match deep.compile() {
        Err(Error::Invalid(what)) => {
            assert!(what.contains("10001 comparisons, at most 128"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    let most = (1..u32::try_from(FILTER_TESTS_MAX).unwrap()).fold(leaf(0), |all, i| all | leaf(i));
    assert!(most.clone().compile().is_ok());
    assert!((most | leaf(1)).compile().is_err());
}

#[test]
fn ranges_of_one_field_become_one_comparison() {
    let one = Filter::gt(field!(Trade.amount), 1.0).compile().unwrap().words().len();
    let between = Filter::between(field!(Trade.amount), 1.0, 2.0);
    assert_eq!(between.clone().compile().unwrap().words().len(), one);
    assert_eq!((!between.clone()).compile().unwrap().words().len(), one);
    let three = between & Filter::ne(field!(Trade.kind), 3) & Filter::lt(field!(Trade.kind), 9);
    assert_eq!(three.compile().unwrap().words().len(), 3 * one);
}
