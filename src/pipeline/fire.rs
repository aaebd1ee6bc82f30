//! Which windows are due, and the work on whole slots that closing them takes.
//!
//! Tumbling windows are their slices. A hopping window of `n` slices is put together from at most three slots,
//! however large `n` is: time is cut into blocks of `n` slices; slices of the running block are added up in one
//! **prefix** as they end; when a block ends, its slices are turned into **suffixes** in place (each slice
//! takes in the one after it). The window that ends with a slice is then the suffix that begins `n - 1` slices
//! before, the prefix, and the window's own slot, which holds events that came when their slice was already
//! spoken for. This is van Herk's and Gil and Werman's running maximum, for any aggregate, per key.
//!
//! With allowed lateness a fired hopping window is kept in its own slot, so that late events can be added and
//! the window fired again; rows that did not change are not emitted again.

use super::batch::Places;
use super::clock::Rules;
use super::programs::Paged;
use crate::device::ProgramId;
use std::collections::VecDeque;

/// One piece of work for the device, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Adds slot `from` to slot `into`, for every key.
    Merge { into: u32, from: u32 },
    /// Emits a window from these slots and the window's own, if it has one.
    Fire { window: u64, slots: [Option<u32>; 2], own: Option<u32> },
    /// Empties a slot and gives it up.
    Release { slot: u32 },
}

/// The slot that takes others in, if one does, and those others.
pub(super) type Named = (Option<u32>, [Option<u32>; 2]);

impl Task {
    /// The program that works on ids whose records lie in this page.
    pub(super) fn program(&self, programs: &Paged, page: usize) -> ProgramId {
        match self {
            Self::Merge { .. } => programs.merge,
            Self::Fire { .. } => programs.fire[page],
            Self::Release { .. } => programs.clear,
        }
    }

    pub(super) const fn slots(&self) -> Named {
        match *self {
            Self::Merge { into, from } => (Some(into), [Some(from), None]),
            Self::Fire { slots, own, .. } => (own, slots),
            Self::Release { slot } => (None, [Some(slot), None]),
        }
    }
}

/// How far windows have come.
#[derive(Debug, Default)]
pub(super) struct Firing {
    /// All windows below this have been fired.
    pub(super) fired: u128,
    /// The block whose slices the prefix adds up.
    block: u64,
    prefix: Option<u32>,
    pub(super) tasks: VecDeque<Task>,
}

impl Firing {
    /// Queues the work that a watermark makes due: windows below `passed` fire, those below `over` are given up.
    /// `None` for both at the very end, when everything fires.
    pub(super) fn advance(
        &mut self,
        passed: Option<(u64, u64)>,
        places: &mut Places,
        rules: &Rules,
        keep: bool,
    ) {
        let to = passed.map_or(u128::from(u64::MAX) + 1, |(windows, _)| u128::from(windows));
        while let Some(window) = self.next(places, rules).filter(|&w| u128::from(w) < to) {
            if rules.shape.slices() == 1 {
                self.fire_tumbling(window, places, keep);
            } else {
                self.fire_hopping(window, places, rules, keep);
            }
            self.fired = u128::from(window) + 1;
        }
        self.fired = self.fired.max(passed.map_or(0, |(windows, _)| u128::from(windows)));
        self.give_up(passed.map_or(u64::MAX, |(_, over)| over), places, rules);
    }

    /// Fires windows again that got late events.
    pub(super) fn again(&mut self, windows: &[u64], places: &Places, tumbling: bool) {
        let own = if tumbling { &places.slices } else { &places.windows };
        for &window in windows {
            if let Some(&own) = own.get(&window) {
                self.tasks.push_back(Task::Fire { window, slots: [None; 2], own: Some(own) });
            }
        }
    }

    /// The first window not fired yet that has anything in it.
    fn next(&self, places: &Places, rules: &Rules) -> Option<u64> {
        let n = rules.shape.slices();
        let Ok(fired) = u64::try_from(self.fired) else { return None };
        // A slice matters as long as one of its windows has not fired.
        let first =
            places.slices.range(fired.saturating_sub(n - 1)..).next().map(|(&s, _)| s.max(fired));
        let own = places.windows.range(fired..).next().map(|(&w, _)| w);
        match (first, own) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn fire_tumbling(&mut self, window: u64, places: &mut Places, keep: bool) {
        let slot = places.slices[&window];
        if keep {
            self.tasks.push_back(Task::Fire { window, slots: [None; 2], own: Some(slot) });
        } else {
            self.tasks.push_back(Task::Fire { window, slots: [Some(slot), None], own: None });
            places.slices.remove(&window);
            self.tasks.push_back(Task::Release { slot });
        }
    }

    fn fire_hopping(&mut self, window: u64, places: &mut Places, rules: &Rules, keep: bool) {
        let n = rules.shape.slices();
        if window / n != self.block {
            self.turn(window / n, places, n);
        }
        if let Some(&slice) = places.slices.get(&window) {
            let slots = &mut places.slots;
            let into = *self.prefix.get_or_insert_with(|| slots.open());
            self.tasks.push_back(Task::Merge { into, from: slice });
        }
        let (first, block_start) = (window.saturating_sub(n - 1), window / n * n);
        let suffix =
            places.slices.range(first..block_start.max(first)).next().map(|(_, &slot)| slot);
        let own = if keep { Some(places.window(window)) } else { places.windows.remove(&window) };
        self.tasks.push_back(Task::Fire { window, slots: [suffix, self.prefix], own });
        if let (Some(slot), false) = (own, keep) {
            self.tasks.push_back(Task::Release { slot });
        }
        // The slice that only this window and those before it needed.
        while let Some((&slice, &slot)) = places.slices.iter().next() {
            if slice > first || slice + (n - 1) > window {
                break;
            }
            places.slices.remove(&slice);
            self.tasks.push_back(Task::Release { slot });
        }
    }

    /// Goes on to another block: the finished one's slices become suffixes, the prefix starts empty.
    fn turn(&mut self, block: u64, places: &mut Places, n: u64) {
        if let Some(slot) = self.prefix.take() {
            self.tasks.push_back(Task::Release { slot });
        }
        let mut after: Option<u32> = None;
        for (_, &slot) in places.slices.range(self.block * n..block * n).rev() {
            if let Some(from) = after {
                self.tasks.push_back(Task::Merge { into: slot, from });
            }
            after = Some(slot);
        }
        self.block = block;
    }

    /// Gives up windows that take no event any more.
    fn give_up(&mut self, over: u64, places: &mut Places, rules: &Rules) {
        let kept = if rules.shape.slices() == 1 { &mut places.slices } else { &mut places.windows };
        while let Some((&window, &slot)) = kept.iter().next() {
            if window >= over || u128::from(window) >= self.fired {
                break;
            }
            kept.remove(&window);
            self.tasks.push_back(Task::Release { slot });
        }
    }
}
