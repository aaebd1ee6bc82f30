//! An engine on the caller's thread, fed in the scenario's order and polled in between.

use super::{Gathered, Setup, windows};
use crate::spec::compare::EngineOutput;
use crate::spec::{Action, Query, Reading};
use pelton::base::rng::SplitMix;
use pelton::{Feed, Inline, Policy, Result, Rows, SharedFeed};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

enum Lane {
    Own(Feed<Reading>),
    Shared(SharedFeed<Reading>),
}

impl Lane {
    /// Feeds as many as there is room for, by one of the ways in.
    fn feed(&mut self, events: &[Reading], way: u64) -> usize {
        match (self, way) {
            (Self::Own(lane), 0) => usize::from(lane.push(events[0]).is_ok()),
            (Self::Own(lane), 1) => lane.write(events.len()).map_or(0, |mut run| {
                let n = run.len();
                run.copy_from_slice(&events[..n]);
                run.commit(n);
                n
            }),
            (Self::Own(lane), _) => lane.push_all(events),
            (Self::Shared(lane), 0) => usize::from(lane.push(events[0]).is_ok()),
            (Self::Shared(lane), _) => lane.push_all(events),
        }
    }
}

struct Runner<'a> {
    engine: Inline<Reading>,
    lanes: BTreeMap<u32, (Lane, Vec<Reading>)>,
    gathered: Gathered<'a>,
    held: VecDeque<Rows>,
    setup: &'a Setup,
    rng: SplitMix,
    moved: usize,
}

/// Runs a whole scenario. `filtered` is what the specification says the filter drops.
pub fn run(
    query: &Query,
    actions: &[Action],
    setup: &Setup,
    filtered: u64,
) -> Result<EngineOutput> {
    let mut runner = Runner {
        engine: Inline::new(windows(query, setup), setup.options(Policy::Reject))?,
        lanes: BTreeMap::new(),
        gathered: Gathered::new(query, setup),
        held: VecDeque::new(),
        setup,
        rng: SplitMix::new(setup.seed),
        moved: 0,
    };
    let idlers: BTreeSet<u32> = actions
        .iter()
        .filter_map(|a| match a {
            Action::Idle(l) | Action::Advance(l, _) => Some(*l),
            _ => None,
        })
        .collect();
    let (mut idle, mut events) = (BTreeSet::new(), 0);
    for action in actions {
        if let Action::Event(lane, reading) = action {
            events += 1;
            let returns = idle.remove(lane);
            if returns {
                runner.settle()?;
            }
            runner.event(*lane, *reading)?;
            if !returns {
                continue;
            }
        } else {
            runner.settle()?;
            runner.happen(action, &idlers)?;
            match action {
                Action::Idle(lane) => _ = idle.insert(*lane),
                Action::Advance(lane, _) => _ = idle.remove(lane),
                _ => {}
            }
        }
        runner.settle()?;
    }
    runner.engine.finish();
    runner.settle()?;
    assert!(!runner.poll()?, "nothing comes after the end");
    let stats = runner.engine.stats();
    assert_eq!(stats.moves, runner.moved as u64);
    Ok(runner.gathered.finish(&stats, events, filtered))
}

impl Runner<'_> {
    fn happen(&mut self, action: &Action, idlers: &BTreeSet<u32>) -> Result<()> {
        match action {
            Action::Open(name) => {
                let lane = if self.setup.shared && !idlers.contains(name) {
                    Lane::Shared(self.engine.feeds().expect("not finished").shared()?)
                } else {
                    Lane::Own(self.engine.lane()?)
                };
                self.lanes.insert(*name, (lane, Vec::new()));
            }
            Action::Idle(name) => match self.lanes.get_mut(name) {
                Some((Lane::Own(lane), _)) => lane.idle(),
                _ => panic!("lane {name} is its producer's own"),
            },
            Action::Advance(name, at) => match self.lanes.get_mut(name) {
                Some((Lane::Own(lane), _)) => lane.advance(*at),
                _ => panic!("lane {name} is its producer's own"),
            },
            Action::Close(name) => {
                self.lanes.remove(name);
            }
            Action::Event(..) => unreachable!("events are fed"),
        }
        Ok(())
    }

    fn event(&mut self, name: u32, reading: Reading) -> Result<()> {
        let (_, waiting) = self.lanes.get_mut(&name).expect("an open lane");
        waiting.push(reading);
        if waiting.len() >= self.setup.chunk {
            self.flush()?;
            for _ in 0..self.rng.below(3) {
                self.poll()?;
            }
            if !self.setup.moves.is_empty() && self.rng.below(3) == 0 {
                let device = &self.setup.moves[self.moved % self.setup.moves.len()];
                self.engine.move_to(device.clone())?;
                assert_eq!(self.engine.stats().device, device.caps().name);
                self.moved += 1;
            }
        }
        Ok(())
    }

    /// Feeds what waits in all lanes.
    fn flush(&mut self) -> Result<()> {
        let names: Vec<u32> = self.lanes.keys().copied().collect();
        for name in names {
            let mut done = 0;
            loop {
                let (lane, waiting) = self.lanes.get_mut(&name).expect("an open lane");
                if done == waiting.len() {
                    waiting.clear();
                    break;
                }
                let fed = lane.feed(&waiting[done..], self.rng.below(4));
                done += fed;
                if fed == 0 {
                    self.poll()?;
                }
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<bool> {
        let Self { engine, held, .. } = self;
        let progress = engine.poll(|rows| held.push_back(rows))?;
        while self.held.len() > self.setup.hold {
            self.release();
        }
        let asides = self.engine.asides();
        self.gathered.asides(asides);
        if !self.setup.device.caps().serial {
            // The device works on threads of its own.
            std::thread::yield_now();
        }
        if !progress && !self.held.is_empty() {
            self.release();
            return Ok(true);
        }
        Ok(progress)
    }

    fn release(&mut self) {
        if let Some(rows) = self.held.pop_front() {
            self.gathered.rows(&rows);
        }
    }

    /// Everything fed is processed and in hand.
    fn settle(&mut self) -> Result<()> {
        self.flush()?;
        while self.poll()? {}
        Ok(())
    }
}
