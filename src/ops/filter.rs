//! Which events take part: comparisons of fields, combined by and, or, not.
//!
//! Spec: an event passes when [`Filter::matches`](super::expr::Filter::matches) says so, which compares
//! Rust values as Rust does. Floats follow IEEE 754: a NaN is unequal to everything and in no order with
//! anything, and -0 equals +0. What fails is `DROPPED` and takes part in nothing afterwards. Time is judged
//! before the filter: an event that fails still moves its lane's watermark on, and one that is late is
//! late, not dropped.
//!
//! Numeric contract: exact, by integers. A comparison with a constant becomes one range of the value's
//! bits, made to sort as the value does; neither a NaN nor the other zero lies inside unless it belongs
//! there, so a kernel subtracts and compares once and never asks what is a float.
//!
//! Cost per event: the fields named (4 or 8 bytes each), 4 bytes of id written, a few operations a
//! comparison. On a processor a block's events are compared together, one field after another: under a
//! nanosecond a comparison with a constant, two for one of fields.

use super::batch::{self, DROPPED};
use crate::base::dtype::DType;
use crate::params;
use crate::plan::{Access, Args, Bind, Buf, Grid, Kernel, Memory, Plan, Role};

params! {
    /// What the kernel is told once.
    SiftParams {
        /// Words of an event.
        stride: u32,
        /// Instructions of the program.
        instructions: u32,
        /// Padding.
        pad0: u32,
        /// Padding.
        pad1: u32,
    }
}

/// Marks the events that fail as dropped, the others by 0. (`filter` is a reserved word of WGSL.)
pub static SIFT: Kernel = Kernel {
    name: "sift",
    params: SiftParams::FIELDS,
    events: true,
    binds: &[
        Bind { name: "code", access: Access::Read },
        Bind { name: "ids", access: Access::Write },
    ],
    wgsl: include_str!("../../shaders/sift.wgsl"),
    cpu: sift,
};

/// Outcomes of a comparison, as a set of bits.
pub(super) const LESS: u32 = 1;
pub(super) const EQUAL: u32 = 2;
pub(super) const GREATER: u32 = 4;
pub(super) const UNORDERED: u32 = 8;
pub(super) const ANY: u32 = 15;

/// Joint: the result goes onto the stack, or joins its top.
pub(super) const PUSH: u32 = 0;
pub(super) const AND: u32 = 1;
pub(super) const OR: u32 = 2;
/// Form: ordered bits of one word in a range; of two words; two fields; the two on top of the stack.
pub(super) const RANGE: u32 = 0;
pub(super) const RANGE_WIDE: u32 = 1;
pub(super) const FIELDS: u32 = 2;
const FOLD: u32 = 3;
/// Words of an instruction: joint (bits 0, 1), form (2, 3) and flags (4 to 7: outcomes of a comparison of
/// fields, or 1 to invert a range); left field; right field; nothing; first of the range (two words); last
/// less first (two).
const INSTRUCTION: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction {
    pub(super) join: u32,
    pub(super) form: u32,
    pub(super) flags: u32,
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) range: Option<(u64, u64)>,
}

impl Instruction {
    pub(super) const FOLD: Self =
        Self { join: PUSH, form: FOLD, flags: 0, left: 0, right: 0, range: Some((0, 0)) };

    fn words(&self) -> [u32; INSTRUCTION] {
        // An empty range is a full one turned around.
        let (first, span, empty) = match self.range {
            Some((first, last)) => (first, last - first, 0),
            None => (0, u64::MAX, 1),
        };
        let how = self.join | self.form << 2 | (self.flags ^ empty) << 4;
        let [first, span] = [first, span].map(|x| [batch::lo(x), batch::hi(x)]);
        [how, self.left, self.right, 0, first[0], first[1], span[0], span[1]]
    }
}

pub(super) const SIGN: u32 = 1 << 31;

/// The bits of a float type's infinity and how far left its bits are moved to lie at the top of a word.
pub(super) const fn float(dtype: DType) -> Option<(u32, u32)> {
    match dtype {
        DType::F32 => Some((0x7F80_0000, 0)),
        DType::F16 => Some((0x7C00_0000, 16)),
        DType::Bf16 => Some((0x7F80_0000, 16)),
        DType::I32 | DType::U32 | DType::U64 => None,
    }
}

/// Bits at the top of a word, made to sort as the value does.
#[inline(always)]
pub(super) const fn order(dtype: DType, bits: u32) -> u32 {
    match dtype {
        DType::U32 | DType::U64 => bits,
        DType::I32 => bits ^ SIGN,
        DType::F32 | DType::F16 | DType::Bf16 if bits & SIGN != 0 => !bits,
        DType::F32 | DType::F16 | DType::Bf16 => bits ^ SIGN,
    }
}

/// A compiled filter: what its buffer is filled with, once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code {
    words: Vec<u32>,
}

impl Code {
    pub(super) fn new(instructions: &[Instruction]) -> Self {
        Self { words: instructions.iter().flat_map(Instruction::words).collect() }
    }

    /// The program's words.
    pub fn words(&self) -> &[u32] {
        &self.words
    }
}

/// Records the filter into a plan that reads events, before whatever finds their ids, and returns the
/// buffer that is to be filled with the code's words before the first batch.
///
/// ```
/// use pelton::device::{Device, QueueOptions};
/// use pelton::ops::{batch, filter};
/// use pelton::plan::{Memory, Plan, Role};
/// use pelton::ring::{LaneOptions, lane};
/// use pelton::{Filter, Pod, Zeroable, field};
///
/// #[repr(C)]
/// #[derive(Debug, Clone, Copy, Pod, Zeroable)]
/// struct Trade { account: u32, amount: f32 }
///
/// let code = Filter::between(field!(Trade.amount), 10.0, 20.0).compile()?;
/// let mut memory = Memory::default();
/// let ids = memory.buffer::<u32>("ids", Role::Scratch, 4);
/// let mut plan = Plan::new("example", 64);
/// (plan.events_max, plan.stride) = (4, 2);
/// let program = filter::record(&mut plan, &mut memory, &code, ids);
///
/// let mut queue = Device::cpu().queue(QueueOptions { in_flight: 1, outputs: 1 })?;
/// queue.alloc(&memory.buffers)?;
/// queue.write(program.id, 0, code.words())?;
/// let compiled = queue.compile(&plan, &memory)?;
///
/// let (mut lane, mut tail) = lane::<Trade>(&LaneOptions::default())?;
/// for amount in [9.0, 10.0, f32::NAN, 20.0] {
///     lane.push(Trade { account: 1, amount }).expect("the lane has room");
/// }
/// while tail.next().is_some() {}
/// let mut head = vec![0; batch::FIXED];
/// (head[batch::GROUPS], head[batch::CHUNKS], head[batch::EVENTS]) = (1, 1, 4);
/// let chunk = batch::Chunk {
///     first: 0, events: 4, spans_at: 0, spans: 0, all: false, lane: 0, seq: 0, range: 0, at: 0,
/// };
/// head.extend(chunk.words());
/// queue.submit(compiled, &head, vec![tail.lease(0, 4)])?;
///
/// let mut passed = [0; 4];
/// queue.read(ids.id, 0, &mut passed)?;
/// assert_eq!(passed, [batch::DROPPED, 0, batch::DROPPED, 0]);
/// # Ok::<(), pelton::Error>(())
/// ```
///
/// # Panics
/// When the plan's events are smaller than a field the code names.
pub fn record(plan: &mut Plan, memory: &mut Memory, code: &Code, ids: Buf<u32>) -> Buf<u32> {
    let words = |i: &[u32; INSTRUCTION]| Load::new(i[1]).last.max(Load::new(i[2]).last);
    let last = code.words.as_chunks().0.iter().map(words).max();
    assert!(last.is_some_and(|last| last < plan.stride), "a filter of other events");
    let buffer = memory.buffer::<u32>("filter", Role::State, code.words.len());
    let narrow = |n: usize| u32::try_from(n).expect("limits keep it small");
    let params = SiftParams {
        stride: narrow(plan.stride),
        instructions: narrow(code.words.len() / INSTRUCTION),
        pad0: 0,
        pad1: 0,
    };
    plan.step(&SIFT, Grid::Head(batch::GROUPS), params, &[buffer.id, ids.id]);
    buffer
}

/// How the bits of a field are found in an event and made to sort as its values do.
#[derive(Clone, Copy)]
struct Load {
    word: usize,
    last: usize,
    shift: u32,
    mask: u32,
    /// What is turned around in values whose sign bit is set, and in the others.
    flip: [u32; 2],
    /// The bits of infinity; all of them for integers.
    infinity: u32,
}

impl Load {
    fn new(load: u32) -> Self {
        let dtype = DTYPES[(load >> 12 & 7).min(5) as usize];
        let word = (load & 0xFFF) as usize;
        let upper = load >> 16 & 1 != 0;
        let half = dtype.bytes() == 2;
        Self {
            word,
            last: word + usize::from(dtype == DType::U64),
            shift: if half && !upper { 16 } else { 0 },
            mask: if half { 0xFFFF_0000 } else { u32::MAX },
            flip: [order(dtype, 0), order(dtype, SIGN) ^ SIGN],
            infinity: float(dtype).map_or(u32::MAX, |(infinity, _)| infinity),
        }
    }

    #[inline(always)]
    fn sorted(&self, bits: u32) -> u32 {
        let negative = (bits.cast_signed() >> 31).cast_unsigned();
        bits ^ self.flip[0] ^ (negative & (self.flip[0] ^ self.flip[1]))
    }

    /// Ordered bits of a field of one word.
    #[inline(always)]
    fn key(&self, word: u32) -> u32 {
        self.sorted((word << self.shift) & self.mask)
    }

    /// The same with one zero for both, and whether it is a number.
    #[inline(always)]
    fn value(&self, word: u32) -> (u32, bool) {
        let bits = (word << self.shift) & self.mask;
        if self.infinity == u32::MAX {
            return (self.sorted(bits), true);
        }
        let size = bits & !SIGN;
        (self.sorted(if size == 0 { 0 } else { bits }), size <= self.infinity)
    }
}

/// Types by number.
const DTYPES: [DType; 6] =
    [DType::F32, DType::F16, DType::Bf16, DType::I32, DType::U32, DType::U64];
const _: () = {
    let mut i = 0;
    while i < DTYPES.len() {
        assert!(DTYPES[i] as usize == i, "types by their numbers");
        i += 1;
    }
};

/// Events that one instruction takes at a time, so that their stacks stay in the nearest cache.
const BLOCK: usize = 512;

/// Room for two fields of a block's events, moved together so that comparing them can be vectorized.
type Columns = [[u32; BLOCK]; 2];

fn sift(args: Args<'_>) {
    let p: SiftParams = args.params();
    let (head, events) = (args.head, args.events);
    let [code, ids] = args.binds();
    let stride = p.stride as usize;
    let code = &code.as_chunks::<INSTRUCTION>().0[..p.instructions as usize];
    let mut columns: Columns = [[0; BLOCK]; 2];
    for chunk in batch::chunks(head) {
        let words = batch::event_words(events, &chunk, stride);
        let ids = &mut ids[chunk.first as usize..][..chunk.events as usize];
        for (ids, words) in ids.chunks_mut(BLOCK).zip(words.chunks(BLOCK * stride)) {
            let mut block = Block { words, stride, columns: &mut columns };
            if let [only] = code {
                block.test(only, ids, |_, passes| verdict(passes));
                continue;
            }
            // The id of an event is its stack until the program ends.
            for instruction in code {
                block.step(instruction, ids);
            }
            ids.iter_mut().for_each(|id| *id = verdict(*id & 1));
        }
    }
}

#[inline(always)]
const fn verdict(passes: u32) -> u32 {
    // 0 becomes all ones, 1 becomes 0.
    const { assert!(DROPPED == u32::MAX) };
    passes.wrapping_sub(1)
}

/// A block's events.
struct Block<'a> {
    words: &'a [u32],
    stride: usize,
    columns: &'a mut Columns,
}

impl Block<'_> {
    /// One instruction on the stacks of the events.
    fn step(&mut self, instruction: &[u32; INSTRUCTION], ids: &mut [u32]) {
        match (instruction[0] >> 2 & 3, instruction[0] & 3) {
            (FOLD, AND) => ids.iter_mut().for_each(|s| *s = *s >> 1 & (*s | !1)),
            (FOLD, _) => ids.iter_mut().for_each(|s| *s = *s >> 1 | *s & 1),
            (_, PUSH) => self.test(instruction, ids, |s, passes| s << 1 | passes),
            (_, AND) => self.test(instruction, ids, |s, passes| s & (passes | !1)),
            (_, _) => self.test(instruction, ids, |s, passes| s | passes),
        }
    }

    /// One comparison; `put` makes an event's new stack of the old one and the bit.
    #[inline(always)]
    fn test(
        &mut self,
        instruction: &[u32; INSTRUCTION],
        ids: &mut [u32],
        put: impl Fn(u32, u32) -> u32,
    ) {
        let &[how, left, right, _, first, first_high, span, span_high] = instruction;
        let (flags, left, right) = (how >> 4 & 15, Load::new(left), Load::new(right));
        let wide = left.last > left.word;
        if how >> 2 & 3 != FIELDS && !wide {
            gather(&mut self.columns[0], self.words, self.stride, left.word);
            in_range(ids, &self.columns[0], left, (first, span), |s, inside| {
                put(s, inside ^ flags)
            });
        } else if how >> 2 & 3 != FIELDS {
            let (first, span) = (batch::join(first, first_high), batch::join(span, span_high));
            for (id, event) in ids.iter_mut().zip(self.words.chunks_exact(self.stride)) {
                let key = batch::join(event[left.word], event[left.last]);
                *id = put(*id, u32::from(key.wrapping_sub(first) <= span) ^ flags);
            }
        } else if wide {
            for (id, event) in ids.iter_mut().zip(self.words.chunks_exact(self.stride)) {
                let [a, b] = [left, right].map(|at| batch::join(event[at.word], event[at.last]));
                *id = put(*id, u32::from(flags & outcome(a, b) != 0));
            }
        } else {
            let [a, b] = &mut *self.columns;
            gather(a, self.words, self.stride, left.word);
            gather(b, self.words, self.stride, right.word);
            for (id, (&a, &b)) in ids.iter_mut().zip(a.iter().zip(&*b)) {
                let ((a, a_is), (b, b_is)) = (left.value(a), right.value(b));
                let found = if a_is & b_is { outcome(a, b) } else { UNORDERED };
                *id = put(*id, u32::from(flags & found != 0));
            }
        }
    }
}

/// Moves one word of each event together. Not inlined, so that the loop knows its slices apart.
#[inline(never)]
fn gather(to: &mut [u32; BLOCK], words: &[u32], stride: usize, word: usize) {
    assert!(word < stride);
    for (to, event) in to.iter_mut().zip(words.chunks_exact(stride)) {
        *to = event[word];
    }
}

/// One comparison of fields moved together; as [`gather`].
#[inline(never)]
fn in_range(
    ids: &mut [u32],
    fields: &[u32; BLOCK],
    load: Load,
    (first, span): (u32, u32),
    put: impl Fn(u32, u32) -> u32,
) {
    for (id, &word) in ids.iter_mut().zip(fields) {
        *id = put(*id, u32::from(load.key(word).wrapping_sub(first) <= span));
    }
}

#[inline(always)]
fn outcome<T: Ord>(a: T, b: T) -> u32 {
    (u32::from(a < b) * LESS) | (u32::from(a == b) * EQUAL) | (u32::from(a > b) * GREATER)
}
