//! Wraps a device and makes its calls fail in turn, to rehearse what a driver does on its worst day.
//!
//! A test runs a program once to count the calls it makes over the seam, then once for each of them with
//! that call failing: whatever the engine was doing, it must answer with a typed error, lose no event it
//! still holds, and never hang.
//!
//! ```
//! use pelton::device::fault::{Failure, Fault, FaultScript};
//! use pelton::device::QueueOptions;
//! use pelton::{Device, Error};
//!
//! let script = FaultScript::new().at(2, Failure::Lost);
//! let device = Fault::new(Device::cpu(), script.clone());
//! let options = QueueOptions { in_flight: 1, outputs: 1 };
//! let mut queue = device.queue(options).unwrap();
//! assert!(matches!(queue.flush(), Err(Error::DeviceLost { .. })));
//! assert!(matches!(queue.flush(), Err(Error::DeviceLost { .. })), "lost is for good");
//! assert_eq!(script.calls(), 3);
//! ```

use super::{Backend, Caps, Device, Done, ProgramId, Queue, QueueOptions, Ticket, Wake};
use crate::base::error::{Error, Result};
use crate::plan::{BufId, BufferDecl, Kernel, Memory, Plan};
use crate::ring::lane::Lease;
use crate::ring::slab::Slab;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The calls of the seam that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Backend::register`].
    Register,
    /// [`Backend::queue`].
    Queue,
    /// [`Queue::alloc`].
    Alloc,
    /// [`Queue::resize`].
    Resize,
    /// [`Queue::compile`].
    Compile,
    /// [`Queue::submit`].
    Submit,
    /// [`Queue::flush`].
    Flush,
    /// [`Queue::poll`].
    Poll,
    /// [`Queue::read`].
    Read,
    /// [`Queue::write`].
    Write,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The device is gone: this call and every later one, of all its queues, returns `DeviceLost`.
    Lost,
    /// This call, and only this one, returns `Unsupported` and does nothing. Where the seam's contract
    /// knows only `DeviceLost` (submit, flush, read, write) it is [`Failure::Lost`], as with a driver.
    OutOfMemory,
    /// The call works, and from it on this many of the queue's polls find nothing done.
    Late(u32),
}

/// When a failure strikes.
#[derive(Debug, Clone, Copy)]
enum When {
    /// At the n-th call of any kind, from 1.
    Any(u64),
    /// At the n-th call of this kind, from 1.
    Kind(Call, u64),
}

/// Which calls fail, and how; also the count of the calls made so far. A clone is another handle to the same
/// script, so keep one to look at.
#[derive(Debug, Clone, Default)]
pub struct FaultScript {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Mutex<Vec<(When, Failure)>>,
    /// Calls of each kind, in the order of `Call`.
    kinds: [AtomicU64; 10],
    calls: AtomicU64,
    lost: AtomicBool,
}

impl FaultScript {
    /// A script in which nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `n`-th call fail, counted from 1 over all kinds of call and all queues.
    #[must_use]
    pub fn at(self, n: u64, failure: Failure) -> Self {
        self.push(When::Any(n), failure)
    }

    /// Makes the `n`-th call of one kind fail, counted from 1.
    #[must_use]
    pub fn nth(self, call: Call, n: u64, failure: Failure) -> Self {
        self.push(When::Kind(call, n), failure)
    }

    fn push(self, when: When, failure: Failure) -> Self {
        self.state.rules.lock().unwrap_or_else(PoisonError::into_inner).push((when, failure));
        self
    }

    /// Calls made so far. `caps`, `room` and `on_done` cannot fail and do not count.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Calls of one kind made so far.
    pub fn calls_of(&self, call: Call) -> u64 {
        self.state.kinds[call as usize].load(Ordering::SeqCst)
    }
}

/// What a call is to do, after it was counted.
enum Verdict {
    Work,
    Late(u32),
    Fail(Error),
}

impl State {
    fn judge(&self, device: &str, call: Call) -> Verdict {
        let any = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let kind = self.kinds[call as usize].fetch_add(1, Ordering::SeqCst) + 1;
        if self.lost.load(Ordering::SeqCst) {
            return Verdict::Fail(Error::lost(device, "lost by script"));
        }
        let struck = |when: When| match when {
            When::Any(n) => n == any,
            When::Kind(of, n) => of == call && n == kind,
        };
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = rules.iter().find(|(when, _)| struck(*when)).map(|(_, failure)| *failure);
        let knows_memory = !matches!(call, Call::Submit | Call::Flush | Call::Read | Call::Write);
        match failure {
            None => Verdict::Work,
            Some(Failure::Late(polls)) => Verdict::Late(polls),
            Some(Failure::OutOfMemory) if knows_memory => Verdict::Fail(Error::unsupported(
                device,
                format!("out of memory by script in {call:?}"),
            )),
            Some(Failure::OutOfMemory | Failure::Lost) => {
                self.lost.store(true, Ordering::SeqCst);
                Verdict::Fail(Error::lost(device, format!("lost by script in {call:?}")))
            }
        }
    }
}

/// A device that follows a [`FaultScript`].
pub struct Fault {
    inner: Device,
    caps: Caps,
    state: Arc<State>,
}

impl Fault {
    /// Wraps a device; it keeps the device's abilities and is named `fault:<its name>`.
    #[allow(clippy::new_ret_no_self, reason = "what a user holds is a device")]
    pub fn new(inner: Device, script: FaultScript) -> Device {
        let mut caps = inner.caps().clone();
        caps.name = format!("fault:{}", caps.name);
        let why = format!("failures are rehearsed on {}", inner.caps().name);
        Device::new(Arc::new(Self { inner, caps, state: script.state }), &why)
    }

    fn wrap(&self, inner: Box<dyn Queue>) -> Box<dyn Queue> {
        Box::new(FaultQueue {
            inner,
            device: self.caps.name.clone(),
            state: Arc::clone(&self.state),
            late: 0,
            wake: None,
        })
    }

    fn enter(&self, call: Call) -> Result<()> {
        match self.state.judge(&self.caps.name, call) {
            Verdict::Work | Verdict::Late(_) => Ok(()),
            Verdict::Fail(error) => Err(error),
        }
    }
}

impl Backend for Fault {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn register(&self, slab: &Arc<Slab>) -> Result<()> {
        self.enter(Call::Register)?;
        self.inner.register(slab)
    }

    unsafe fn add_kernel(&self, kernel: &'static Kernel, cuda: &str) -> Result<()> {
        // SAFETY: promised by the caller.
        unsafe { self.inner.add_kernel(kernel, cuda) }
    }

    fn queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        self.enter(Call::Queue)?;
        Ok(self.wrap(self.inner.queue(options)?))
    }

    fn latency_queue(&self, options: QueueOptions) -> Result<Box<dyn Queue>> {
        self.enter(Call::Queue)?;
        Ok(self.wrap(self.inner.latency_queue(options)?))
    }
}

struct FaultQueue {
    inner: Box<dyn Queue>,
    device: String,
    state: Arc<State>,
    /// Polls that still find nothing.
    late: u32,
    wake: Option<Wake>,
}

impl FaultQueue {
    fn enter(&mut self, call: Call) -> Result<()> {
        match self.state.judge(&self.device, call) {
            Verdict::Work => Ok(()),
            Verdict::Late(polls) => {
                self.late += polls;
                Ok(())
            }
            Verdict::Fail(error) => Err(error),
        }
    }
}

impl Queue for FaultQueue {
    fn alloc(&mut self, buffers: &[BufferDecl]) -> Result<()> {
        self.enter(Call::Alloc)?;
        self.inner.alloc(buffers)
    }

    fn resize(&mut self, buffer: BufId, words: usize) -> Result<()> {
        self.enter(Call::Resize)?;
        self.inner.resize(buffer, words)
    }

    fn compile(&mut self, plan: &Plan, memory: &Memory) -> Result<ProgramId> {
        self.enter(Call::Compile)?;
        self.inner.compile(plan, memory)
    }

    fn room(&mut self, program: ProgramId) -> bool {
        self.inner.room(program)
    }

    fn submit(&mut self, program: ProgramId, head: &[u32], leases: Vec<Lease>) -> Result<Ticket> {
        self.enter(Call::Submit)?;
        self.inner.submit(program, head, leases)
    }

    fn flush(&mut self) -> Result<()> {
        self.enter(Call::Flush)?;
        self.inner.flush()
    }

    fn poll(&mut self) -> Result<Option<Done>> {
        self.enter(Call::Poll)?;
        if self.late == 0 {
            return self.inner.poll();
        }
        self.late -= 1;
        // The device inside may have woken the engine already, or never will; who sleeps now must be woken
        // again.
        if let Some(wake) = self.wake.clone() {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(100));
                wake();
            });
        }
        // Work is handed over all the same, as by any poll.
        self.inner.flush().map(|()| None)
    }

    fn read(&mut self, buffer: BufId, at: usize, into: &mut [u32]) -> Result<()> {
        self.enter(Call::Read)?;
        self.inner.read(buffer, at, into)
    }

    fn write(&mut self, buffer: BufId, at: usize, words: &[u32]) -> Result<()> {
        self.enter(Call::Write)?;
        self.inner.write(buffer, at, words)
    }

    fn on_done(&mut self, wake: Wake) {
        self.wake = Some(Arc::clone(&wake));
        self.inner.on_done(wake);
    }
}
