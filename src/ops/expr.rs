//! Filter expressions: built in Rust, judged by [`Filter::matches`], compiled for the kernel in `filter.rs`.
//!
//! A comparison with a constant becomes one range of the value's bits, made to sort as the value does;
//! neither a NaN nor the other zero lies inside unless it belongs there. `!` turns comparisons and joints
//! around, so programs have no `not`, and comparisons of one field that stand together become one range.

use super::batch;
use super::filter::{
    AND, ANY, Code, EQUAL, FIELDS, GREATER, Instruction, LESS, OR, PUSH, RANGE, RANGE_WIDE, SIGN,
    UNORDERED, float, order,
};
use crate::base::dtype::{DType, Scalar};
use crate::base::error::{Error, Result};
use crate::base::field::{Column, Field};
use crate::base::limits::{FILTER_DEPTH_MAX, FILTER_TESTS_MAX};
use bytemuck::Pod;
use half::{bf16, f16};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{BitAnd, BitOr, Not};

/// An expression over the fields of one event: comparisons, combined by `&`, `|` and `!`.
///
/// ```
/// use pelton::{Filter, Pod, Zeroable, field};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// struct Trade { at: u64, account: u32, kind: u32, amount: f32, limit: f32 }
///
/// let large = Filter::ge(field!(Trade.amount), 100.0) & !Filter::eq(field!(Trade.kind), 3);
/// let odd = large | Filter::gt_field(field!(Trade.amount), field!(Trade.limit));
///
/// let trade = Trade { at: 1, account: 7, kind: 3, amount: 150.0, limit: 1000.0 };
/// assert!(!odd.matches(&trade));
/// assert!(odd.matches(&Trade { kind: 2, ..trade }));
/// assert!(odd.matches(&Trade { limit: 120.0, ..trade }));
/// assert!(!odd.matches(&Trade { amount: f32::NAN, ..trade }));
/// ```
pub struct Filter<E> {
    /// Postfix, so that no expression is too deep to walk, clone or drop.
    ops: Vec<Op>,
    /// Places on the stack that evaluation takes.
    depth: usize,
    of: PhantomData<fn(&E)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Test(Test),
    And,
    Or,
}

/// A comparison that holds when its outcome is in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Test {
    left: Column,
    outcomes: u32,
    right: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// The bits of a value of the left column's type.
    Value(u64),
    Column(Column),
}

macro_rules! comparisons {
    ($($name:ident $name_field:ident $sign:literal $outcomes:expr;)*) => {$(
        #[doc = concat!("The field `", $sign, "` the value.")]
        pub fn $name<T: Scalar>(field: Field<E, T>, value: T) -> Self {
            Self::test(field.column(), $outcomes, Right::Value(bits_of(value)))
        }

        #[doc = concat!("The first field `", $sign, "` the second.")]
        pub fn $name_field<T: Scalar>(left: Field<E, T>, right: Field<E, T>) -> Self {
            Self::test(left.column(), $outcomes, Right::Column(right.column()))
        }
    )*};
}

impl<E> Filter<E> {
    comparisons! {
        eq eq_field "==" EQUAL;
        ne ne_field "!=" ANY ^ EQUAL;
        lt lt_field "<" LESS;
        le le_field "<=" LESS | EQUAL;
        gt gt_field ">" GREATER;
        ge ge_field ">=" GREATER | EQUAL;
    }

    /// `from <=` the field `<= to`.
    pub fn between<T: Scalar>(field: Field<E, T>, from: T, to: T) -> Self {
        Self::ge(field, from) & Self::le(field, to)
    }

    fn test(left: Column, outcomes: u32, right: Right) -> Self {
        Self { ops: vec![Op::Test(Test { left, outcomes, right })], depth: 1, of: PhantomData }
    }

    /// Both sides and what joins them; the side that needs more stack goes first, so that depth grows with
    /// the logarithm of the length. Order means nothing else: comparisons have no effects.
    fn join(mut self, mut other: Self, op: Op) -> Self {
        if (other.depth, other.ops.len() > 1) > (self.depth, self.ops.len() > 1) {
            std::mem::swap(&mut self, &mut other);
        }
        // A lone comparison joins the top of the stack without a place of its own.
        if other.ops.len() > 1 && self.depth == other.depth {
            self.depth += 1;
        }
        self.ops.append(&mut other.ops);
        self.ops.push(op);
        self
    }

    /// Whether an event passes: the reference that every kernel is held to.
    pub fn matches(&self, event: &E) -> bool
    where
        E: Pod,
    {
        let event = bytemuck::bytes_of(event);
        let mut stack = Vec::with_capacity(self.depth + 1);
        for op in &self.ops {
            let top = match op {
                Op::Test(test) => test.holds(event),
                Op::And | Op::Or => {
                    let (b, a) = (stack.pop() == Some(true), stack.pop() == Some(true));
                    if *op == Op::And { a && b } else { a || b }
                }
            };
            stack.push(top);
        }
        stack == [true]
    }

    /// The program that the kernel runs.
    ///
    /// # Errors
    /// `Invalid` when there are more than `limits::FILTER_TESTS_MAX` comparisons.
    pub fn compile(&self) -> Result<Code> {
        let tests = self.ops.iter().filter(|op| matches!(op, Op::Test(_))).count();
        if tests > FILTER_TESTS_MAX {
            return Err(Error::invalid(format!(
                "filter: {tests} comparisons, at most {FILTER_TESTS_MAX}: \
                 put what they decide into a field of the event"
            )));
        }
        assert!(self.depth <= FILTER_DEPTH_MAX, "depth grows with the logarithm of the length");
        let mut code: Vec<Instruction> = Vec::with_capacity(self.ops.len());
        let mut lone = false;
        for op in &self.ops {
            match op {
                Op::Test(test) => code.push(test.compile()),
                Op::And | Op::Or => {
                    let join = if *op == Op::And { AND } else { OR };
                    match code.last_mut() {
                        Some(last) if lone => last.join = join,
                        _ => code.push(Instruction { join, ..Instruction::FOLD }),
                    }
                    merge(&mut code);
                }
            }
            lone = matches!(op, Op::Test(_));
        }
        Ok(Code::new(&code))
    }
}

impl<E> BitAnd for Filter<E> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        self.join(other, Op::And)
    }
}

impl<E> BitOr for Filter<E> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.join(other, Op::Or)
    }
}

impl<E> Not for Filter<E> {
    type Output = Self;
    /// Turns every comparison and every joint around, so that no program holds a `not`.
    fn not(mut self) -> Self {
        for op in &mut self.ops {
            match op {
                Op::Test(test) => test.outcomes ^= ANY,
                Op::And => *op = Op::Or,
                Op::Or => *op = Op::And,
            }
        }
        self
    }
}

impl<E> Clone for Filter<E> {
    fn clone(&self) -> Self {
        Self { ops: self.ops.clone(), depth: self.depth, of: PhantomData }
    }
}

impl<E> fmt::Debug for Filter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.ops).finish()
    }
}

/// The bits of a value, as words of an event hold them.
fn bits_of<T: Scalar>(value: T) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
    u64::from_le_bytes(bytes)
}

impl Test {
    /// The comparison as Rust makes it.
    fn holds(&self, event: &[u8]) -> bool {
        let right = match &self.right {
            Right::Value(bits) => &bits.to_le_bytes()[..self.left.dtype.bytes()],
            Right::Column(column) => at(event, *column),
        };
        let left = at(event, self.left);
        let outcome = match self.left.dtype {
            DType::F32 => compare::<f32>(left, right),
            DType::F16 => compare::<f16>(left, right),
            DType::Bf16 => compare::<bf16>(left, right),
            DType::I32 => compare::<i32>(left, right),
            DType::U32 => compare::<u32>(left, right),
            DType::U64 => compare::<u64>(left, right),
        };
        self.outcomes & outcome != 0
    }

    fn compile(&self) -> Instruction {
        let left = load_word(self.left);
        let wide = self.left.dtype == DType::U64;
        match self.right {
            Right::Column(right) => Instruction {
                form: FIELDS,
                flags: self.outcomes,
                left,
                right: load_word(right),
                ..Instruction::FOLD
            },
            Right::Value(bits) => {
                // What holds for a NaN is what does not hold for the other outcomes.
                let inverted = self.outcomes & UNORDERED != 0;
                let outcomes = if inverted { self.outcomes ^ ANY } else { self.outcomes };
                Instruction {
                    form: if wide { RANGE_WIDE } else { RANGE },
                    flags: u32::from(inverted),
                    left,
                    range: range(self.left.dtype, outcomes, bits),
                    ..Instruction::FOLD
                }
            }
        }
    }
}

fn at(event: &[u8], column: Column) -> &[u8] {
    &event[column.byte as usize..][..column.dtype.bytes()]
}

fn compare<T: Pod + PartialOrd>(left: &[u8], right: &[u8]) -> u32 {
    let (left, right) =
        (bytemuck::pod_read_unaligned::<T>(left), bytemuck::pod_read_unaligned::<T>(right));
    match left.partial_cmp(&right) {
        Some(Ordering::Less) => LESS,
        Some(Ordering::Equal) => EQUAL,
        Some(Ordering::Greater) => GREATER,
        None => UNORDERED,
    }
}

/// The ordered bits of the values whose comparison with a constant comes out so, first and last; `None`
/// when there are none. The outcomes are a run of less, equal, greater.
fn range(dtype: DType, outcomes: u32, bits: u64) -> Option<(u64, u64)> {
    let Some((infinity, shift)) = float(dtype) else {
        let max = if dtype == DType::U64 { u64::MAX } else { u64::from(u32::MAX) };
        let key = match dtype {
            DType::U64 => bits,
            _ => u64::from(order(dtype, batch::lo(bits))),
        };
        return run(outcomes, (0, max), (key, key));
    };
    let bits = batch::lo(bits) << shift;
    let key = |bits| u64::from(order(dtype, bits));
    let limits = (key(infinity | SIGN), key(infinity));
    match bits & !SIGN {
        0 => run(outcomes, limits, (key(SIGN), key(0))),
        size if size > infinity => None,
        _ => run(outcomes, limits, (key(bits), key(bits))),
    }
}

/// The part of `limits` below, at, or above `equal`.
fn run(outcomes: u32, limits: (u64, u64), equal: (u64, u64)) -> Option<(u64, u64)> {
    let first = match outcomes {
        o if o & LESS != 0 => limits.0,
        o if o & EQUAL != 0 => equal.0,
        _ => equal.1.checked_add(1)?,
    };
    let last = match outcomes {
        o if o & GREATER != 0 => limits.1,
        o if o & EQUAL != 0 => equal.1,
        _ => equal.0.checked_sub(1)?,
    };
    (first <= last).then_some((first, last))
}

/// A field: its word (bits 0 to 11), its type (12 to 15), and whether it is the upper half (16).
fn load_word(column: Column) -> u32 {
    (column.byte / 4) | (column.dtype as u32) << 12 | u32::from(column.upper()) << 16
}

/// Makes one range of the last two instructions where they are ranges of one field that must both hold, or,
/// both turned around, of which one must.
fn merge(code: &mut Vec<Instruction>) {
    let Some([a, b]) = code.last_chunk_mut::<2>() else { return };
    let inverted = u32::from(b.join == OR);
    let ranges = (a.form, a.left) == (b.form, b.left) && a.form <= RANGE_WIDE;
    if !ranges || a.flags != inverted || b.flags != inverted || (a.join != PUSH && a.join != b.join)
    {
        return;
    }
    a.range = a.range.zip(b.range).and_then(|(a, b)| {
        let both = (a.0.max(b.0), a.1.min(b.1));
        (both.0 <= both.1).then_some(both)
    });
    code.pop();
}
