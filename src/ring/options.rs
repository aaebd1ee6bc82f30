//! What a lane is made from, and what its producer is told when it is full.
//!
//! Being full is not an error: the policy decides, and every event that is refused or dropped is counted.

/// What a producer does when its lane is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Wait as [`wait`](LaneOptions::wait) says: nothing is lost.
    #[default]
    Block,
    /// Wait without ever giving the core away: for pinned cores only.
    Spin,
    /// Hand the event back at once.
    Reject,
    /// Drop what does not fit, count it and record a [`Gap`](super::Gap).
    DropNewest,
    /// Ask the consumer to drop the oldest runs that no device works on, and wait for the room.
    DropOldest,
}

/// How a producer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wait {
    /// Without giving the core away.
    Spin,
    /// Giving the core away to whoever wants it.
    Yield,
    /// Spinning a little, then asleep until there is room.
    #[default]
    Park,
}

/// What a lane is made from.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// Events the lane holds, rounded up to a power of two. At most 65,536 runs await the consumer, however
    /// many events the lane holds.
    pub events: usize,
    /// What happens when it is full.
    pub policy: Policy,
    /// How a producer waits for room.
    pub wait: Wait,
}

impl Default for LaneOptions {
    fn default() -> Self {
        Self { events: 1 << 14, policy: Policy::Block, wait: Wait::Park }
    }
}

/// There was no room, or nobody will ever make any: the event comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T = ()> {
    /// What could not be taken.
    pub event: T,
    /// The consumer is gone, so trying again is useless.
    pub closed: bool,
}

impl<T> std::fmt::Display for Full<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.closed { "the lane's consumer is gone" } else { "the lane is full" })
    }
}

// Without the event, so that events need not be `Debug` for `expect` and `?`.
impl<T> std::fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Full({self})")
    }
}

impl<T> std::error::Error for Full<T> {}
