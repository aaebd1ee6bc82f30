//! The nodes that the lines of a season's models run between (`ops::season`): one where each slot begins, each with a
//! weight, a mean, and what it adds to a level.

use super::batch;
use super::ewma::{held, near_zero, positive};
use super::math::inverse;
use super::season::{FIRST, LATEST, MEAN_MAX, NODE, NODES, Place, STARTED};

/// What a node keeps of its weight from one season to the next.
const KEPT: f32 = 0.875;

/// The two nodes that an event lies between.
pub(super) struct Nodes {
    /// Where they begin.
    at: [usize; 2],
    /// Their shares in the event.
    shares: [f32; 2],
    /// Whether a season has passed, and both were seen.
    pub(super) known: bool,
}

impl Nodes {
    /// Those of a place; they forget when it is in another slot than the one before.
    pub(super) fn arrive(state: &mut [u32], [slots, number]: [u32; 2], place: Place) -> Self {
        let here = batch::lo(place.slot);
        let next = if number + 1 == slots { 0 } else { number + 1 };
        let at = [number, next].map(|number| NODES + NODE * number as usize);
        if state[STARTED] == 0 {
            (state[STARTED], state[FIRST], state[LATEST]) = (1, here, here);
        }
        let before = std::mem::replace(&mut state[LATEST], here);
        let moved = here != before;
        for (at, forgets) in at.into_iter().zip([moved && here != before.wrapping_add(1), moved]) {
            if forgets {
                put(state, at, positive(get(state, at) * KEPT));
            }
        }
        let share = place.part as f32 * (1.0 / 256.0);
        let seen = at.map(|at| get(state, at) > 0.0);
        let passed = here.wrapping_sub(state[FIRST]) >= slots;
        let known = passed && seen[0] && (seen[1] || place.part == 0);
        Self { at, shares: [1.0 - share, share], known }
    }

    /// What stands at a node in a word behind its weight; `unseen` where it was never seen.
    #[inline(always)]
    fn word(&self, state: &[u32], node: usize, at: usize, unseen: f32) -> f32 {
        let node = self.at[node];
        if get(state, node) > 0.0 { get(state, node + at) } else { unseen }
    }

    /// What stands between them.
    #[inline(always)]
    pub(super) fn mean(&self, state: &[u32], at: usize, unseen: f32) -> f32 {
        let [here, next] = [0, 1].map(|node| self.word(state, node, at, unseen));
        self.shares[0] * here + self.shares[1] * next
    }

    /// Both learn a residual of slots, and what is to be added by Holt-Winters.
    pub(super) fn learn(&self, state: &mut [u32], residual: f32, adds: f32, unseen: f32) {
        for node in [0, 1].into_iter().filter(|&node| self.shares[node] > 0.0) {
            let (mean, added) = (self.word(state, node, 1, unseen), self.word(state, node, 2, 0.0));
            let (at, share) = (self.at[node], self.shares[node]);
            let weight = get(state, at) + share;
            let share = share * inverse(weight);
            put(state, at, weight);
            put(state, at + 1, kept(mean + residual * share));
            put(state, at + 2, kept(added + adds * share));
        }
    }
}

/// A mean, of a size that its sums stay finite.
#[inline(always)]
pub(super) fn kept(mean: f32) -> f32 {
    held(near_zero(mean), MEAN_MAX)
}

/// A number of a state.
#[inline(always)]
pub(super) fn get(state: &[u32], at: usize) -> f32 {
    f32::from_bits(state[at])
}

/// Puts a number down in a state.
#[inline(always)]
pub(super) fn put(state: &mut [u32], at: usize, x: f32) {
    state[at] = x.to_bits();
}
