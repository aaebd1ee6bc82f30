//! The latency mode: a kernel that stays on the device and serves one batch after the other, without a launch.
//!
//! The host leaves a batch in its place in flight, as for a graph, and rings by one word; the kernel
//! (`kernels/resident.cu`) polls that word, runs the plan's steps from a table, and leaves the batch's mark. It leaves
//! the device when it is told to, when nothing came for a while, and after a while in any case; then it is launched
//! again with the next batch. Whatever else a queue is asked for goes behind it: it is told to leave first.

use super::Gpu;
use super::context::Context;
use super::memory::{Memory, Pinned};
use super::stream::{Arguments, Event, Function, Stream};
use crate::base::error::{Error, Result};
use crate::device::Ticket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The kernels that it runs, by the numbers that its table has for them.
const KERNELS: [&str; 17] = [
    "sift",
    "dense",
    "keys",
    "settle",
    "resolve",
    "fold",
    "elect",
    "ends",
    "merge",
    "clear",
    "fire",
    "group_count",
    "group_scan",
    "group_scatter",
    "group_mark",
    "group_segments",
    "score",
];

// The table, as `kernels/resident.cu` reads it.
pub(super) const RECORD: usize = 64;
pub(super) const ORDER_SPANS: usize = 4;
pub(super) const STEP_PARAMS: usize = 4;
pub(super) const STEP_SPANS: usize = 36;
/// Words of a step's parameters, at most.
pub(super) const PARAMS_MAX: usize = STEP_SPANS - STEP_PARAMS;

// What the kernel tells: a number that changes while it lives, and the last launch that is over.
const HEARTBEAT: usize = 0;
const GONE: usize = 1;

/// A command that one block serves alone.
const ALONE: u32 = 1 << 31;
/// The command to leave.
const LEAVE: u32 = u32::MAX;

/// Blocks of a batch, the steps' and those that take it, that one block serves alone: it saves a barrier of all blocks
/// for each step.
const ALONE_BLOCKS: u32 = 2;
/// Blocks that stay on the device, at most, and the share of it that they may take: barriers cost more the more there
/// are, and others want to run, too.
const BLOCKS_MAX: u32 = 32;
const SHARE: u32 = 4;

/// Overrides how often the kernel looks for a batch: in vain until it leaves, and at all.
const OVERRIDE: &str = "PELTON_CUDA_LOOKS";
/// A look is a trip over the bus and a nap: so it leaves after some thirty milliseconds without a batch, and after
/// something more than a second in any case.
const LOOKS: (u32, u32) = (20_000, 1 << 20);

/// How long the kernel may show no sign of life: longer than others may keep it from being launched.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of a kernel that the resident one runs.
pub(super) fn number(kernel: &str) -> Option<u32> {
    KERNELS.iter().zip(0..).find(|(name, _)| **name == kernel).map(|(_, number)| number)
}

/// Signs of life, for the queue and for the thread that watches its batches.
pub(super) struct Pulse {
    context: Arc<Context>,
    words: Pinned,
    /// The newest launch; the kernel writes it down when that is over.
    launch: AtomicU32,
    /// Behind the newest launch.
    ended: Event,
    /// The last heartbeat that was new, and when it was seen.
    seen: Mutex<(u32, Instant)>,
    quiet: AtomicBool,
}

impl Pulse {
    pub(super) fn new(context: &Arc<Context>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            words: Pinned::new(context, "the signs of life of a kernel", 16)?,
            launch: AtomicU32::new(0),
            ended: Event::new(context)?,
            seen: Mutex::new((0, Instant::now())),
            quiet: AtomicBool::new(false),
        }))
    }

    /// Whether the kernel has left. The marks of all batches that it served were written before.
    pub(super) fn is_gone(&self) -> bool {
        let launch = self.launch.load(Ordering::Acquire);
        // A launch may be over before it is written down here.
        self.words.word(GONE).load(Ordering::Acquire).wrapping_sub(launch) <= u32::MAX / 2
    }

    /// Whether it was given up: it may be on the device for ever.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }

    /// An error when no more is to be expected of the kernel.
    pub(super) fn check(&self) -> Result<()> {
        let heartbeat = self.words.word(HEARTBEAT).load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != heartbeat {
            *seen = (heartbeat, Instant::now());
            return Ok(());
        }
        // The device may have died, which the driver knows.
        let ended = self.ended.passed()?;
        if self.is_gone() {
            return Ok(());
        }
        if ended {
            let what = "the resident kernel ended without a word";
            return Err(Error::unsupported(&self.context.name, what));
        }
        if seen.1.elapsed() < PATIENCE {
            return Ok(());
        }
        self.quiet.store(true, Ordering::Release);
        Err(self.context.lose(format!(
            "the resident kernel of the latency mode was quiet for {PATIENCE:?}: the device hangs, or others \
             keep it busy"
        )))
    }

    /// Waits until the kernel has left.
    fn wait_gone(&self) -> Result<()> {
        for look in 1_u32.. {
            if self.is_gone() {
                return Ok(());
            }
            if look.is_multiple_of(64) {
                self.check()?;
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// A queue's resident kernel.
pub(super) struct Resident {
    function: Function,
    blocks: u32,
    looks: (u32, u32),
    /// For each batch in flight, and one more to leave, a ticket and what to do.
    commands: Pinned,
    slots: usize,
    /// Words of its barrier.
    shared: Memory,
    /// What its steps are given: on the device, and where that came from. `None` when it has to be written anew.
    table: Option<(Memory, Pinned)>,
    pub(super) pulse: Arc<Pulse>,
    /// Whether it was launched and not yet seen to be gone for good.
    running: bool,
    launches: u32,
    /// The newest ticket that a command was for, or that is behind it for good.
    rung: Ticket,
}

impl Resident {
    pub(super) fn new(gpu: &Gpu, in_flight: usize, pulse: Arc<Pulse>) -> Result<Self> {
        let context = &gpu.context;
        if !gpu.caps.latency_mode {
            return Err(Error::unsupported(
                &context.name,
                "no latency mode: this device launches no cooperative kernels; leave Options::latency_mode off",
            ));
        }
        let function = gpu.module.function("resident")?;
        let there = gpu.multiprocessors.saturating_mul(gpu.module.blocks_each(function)?);
        let slots = (in_flight + 2).next_power_of_two();
        Ok(Self {
            function,
            blocks: (there / SHARE).clamp(1, BLOCKS_MAX).min(there.max(1)),
            looks: looks()?,
            commands: Pinned::new(context, "the commands of a resident kernel", 2 * slots)?,
            slots,
            shared: Memory::new(context, "the barrier of a resident kernel", 4)?,
            table: None,
            pulse,
            running: false,
            launches: 0,
            rung: Ticket(0),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// The kernel has left, and nothing is left to do.
    pub(super) fn rest(&mut self) {
        self.running = false;
    }

    pub(super) fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// What the table says has changed. Its memory stays until the next one is written.
    pub(super) fn set_table(&mut self, table: Option<(Memory, Pinned)>) {
        self.table = table;
    }

    /// Tells the kernel to serve a batch by an order of the table.
    pub(super) fn ring(&mut self, ticket: Ticket, order: u32, blocks: u32) {
        let alone = if blocks <= ALONE_BLOCKS { ALONE } else { 0 };
        self.command(ticket, order | alone);
    }

    fn command(&mut self, ticket: Ticket, what: u32) {
        let slot = usize::try_from(ticket.0 % self.slots as u64).unwrap_or(0);
        let low = ticket.0 & u64::from(u32::MAX);
        // Release: the batch was left in its place before.
        self.commands.pair(slot).store(u64::from(what) << 32 | low, Ordering::Release);
        self.rung = ticket;
    }

    /// Launches the kernel behind all that the stream was told; it serves what was rung for after ticket `done`.
    ///
    /// # Safety
    /// What the table names is not given back or used by others before the kernel is gone.
    pub(super) unsafe fn launch(&mut self, stream: &Stream, done: Ticket) -> Result<()> {
        let Some((table, _)) = &self.table else { return Ok(()) };
        self.launches = self.launches.wrapping_add(1);
        let word = |n: usize| crate::base::limits::word(n);
        #[allow(clippy::cast_possible_truncation, reason = "the low word is meant")]
        let params =
            [done.0 as u32, word(self.slots), self.launches, self.looks.0, self.looks.1, 0, 0, 0];
        let mut arguments = Arguments::default();
        arguments.push(&params);
        let commands = self.commands.span();
        let spans =
            [self.pulse.words.span(), commands, self.shared.span(4), table.span(table.words())];
        spans.iter().for_each(|&span| arguments.push(&[span]));
        // SAFETY: the barrier's words are this queue's, and the kernel before has left them. The arguments are what
        // the kernel declares: a test compares them with its source; what they name is the queue's and stays, as the
        // caller promises of what the table names.
        unsafe {
            stream.zero(&self.shared, 0)?;
            stream.launch_together(self.function, self.blocks, &mut arguments)?;
        }
        self.running = true;
        let recorded = stream.record(&self.pulse.ended);
        *self.pulse.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            (self.pulse.words.word(HEARTBEAT).load(Ordering::Relaxed), Instant::now());
        self.pulse.launch.store(self.launches, Ordering::Release);
        recorded
    }

    /// Tells the kernel to leave behind all that was rung for, and waits until it has.
    pub(super) fn leave(&mut self) -> Result<()> {
        let (rung, next) = (self.rung, Ticket(self.rung.0 + 1));
        self.command(next, LEAVE);
        self.rung = rung;
        self.pulse.wait_gone()
    }
}

/// How often to look: in vain, and at all.
fn looks() -> Result<(u32, u32)> {
    let Ok(text) = std::env::var(OVERRIDE) else { return Ok(LOOKS) };
    let both = text.split_once(',').map(|(vain, all)| (vain.trim().parse(), all.trim().parse()));
    match both {
        Some((Ok(vain @ 1..), Ok(all @ 1..))) => Ok((vain, all)),
        _ => Err(Error::invalid(format!(
            "{OVERRIDE}={text}: two numbers from 1 on, looks in vain and looks at all, such as 20000,1000000"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{KERNELS, number};

    #[test]
    fn numbers_are_those_of_the_source() {
        let source = include_str!("../../../kernels/resident.cu");
        let (_, rest) = source.split_once("enum Kernel : uint32_t {").expect("it has them");
        let (names, _) = rest.split_once('}').expect("they end");
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_lowercase()).collect();
        assert_eq!(names, KERNELS);
        assert_eq!((number("sift"), number("score"), number("rehash")), (Some(0), Some(16), None));
    }

    #[test]
    fn the_table_is_laid_out_as_the_source_says() {
        let source = include_str!("../../../kernels/resident.cu");
        for (name, value) in [
            ("RECORD", super::RECORD),
            ("ORDER_SPANS", super::ORDER_SPANS),
            ("STEP_PARAMS", super::STEP_PARAMS),
            ("STEP_SPANS", super::STEP_SPANS),
            ("HEARTBEAT", super::HEARTBEAT),
            ("GONE", super::GONE),
        ] {
            let line = format!("constexpr uint32_t {name} = {value};");
            assert!(source.contains(&line), "no {line}");
        }
        assert!(source.contains(&format!("ALONE = {:#x}u", super::ALONE)));
        assert!(source.contains(&format!("LEAVE = {:#x}u", super::LEAVE)));
    }
}
