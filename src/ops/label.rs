//! What a person says of an alert, and what a key's state makes of it.
//!
//! Spec. A key has a *bar*, which begins at 0.
//!
//! - **Normal**, the alert was wrong: the bar rises to a fifth above the alert's surprise, unless it is there already.
//!   For the next 16 horizons of events what would alert, up to the bar, is *dismissed*: marked, and no alert. A
//!   label speaks of one kind of alert, so what is more surprising alerts as ever.
//! - **Anomaly**, the alert was right: the bar falls to 0, so that the like of it alerts again, whatever was said.
//!   (Not to below its surprise: the second of two equal events is less surprising.) The asked rate of false alarms
//!   stays: what is confirmed is no reason for more alarms.
//!
//! The score itself does not change, only what becomes of it. The kernel compares and counts (`ops::decide`); labels
//! are rare, so the host writes them into the state, between two batches.

use super::score::{AGAIN, BAR, BAR_SEEN, SEEN};

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label {
    /// Nothing was wrong: for a while alerts of its key like it, up to a fifth more surprising, are dismissed.
    Normal {
        /// The alert's [`Score::score`](crate::Score::score).
        score: f64,
    },
    /// It was right: nothing of its key is dismissed any more, whatever was said before.
    Anomaly,
}

/// Horizons of events that a bar holds for.
pub const BAR_HORIZONS: f32 = 16.0;
/// The highest surprise that is believed.
const SURPRISE_MAX: f64 = 1e15;

/// Whether the bar still holds, at this rate of forgetting.
#[inline(always)]
fn holds(state: &[u32], rate: f32) -> bool {
    state[SEEN].wrapping_sub(state[BAR_SEEN]) as f32 * rate <= BAR_HORIZONS
}

/// Whether a label says that alerts up to this surprise are none.
#[inline(always)]
pub(super) fn is_dismissed(state: &[u32], rate: f32, surprise: f32) -> bool {
    surprise <= f32::from_bits(state[BAR]) && holds(state, rate)
}

/// Takes a label in. `rate` is one by the longest horizon, in events.
pub fn apply(state: &mut [u32], rate: f32, label: Label) {
    let Label::Normal { score } = label else {
        state[BAR] = 0;
        return;
    };
    // A number that is none is no surprise.
    let surprise = score * std::f64::consts::LN_10;
    #[allow(clippy::cast_possible_truncation, reason = "rounded, within range")]
    let surprise = if surprise > 0.0 { surprise.min(SURPRISE_MAX) as f32 } else { 0.0 };
    let bar = if holds(state, rate) { f32::from_bits(state[BAR]) } else { 0.0 };
    state[BAR] = bar.max(surprise * AGAIN).to_bits();
    state[BAR_SEEN] = state[SEEN];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::score::state_words;

    fn normal(surprise: f64) -> Label {
        Label::Normal { score: surprise / std::f64::consts::LN_10 }
    }

    fn bar(state: &[u32]) -> f32 {
        f32::from_bits(state[BAR])
    }

    #[test]
    fn a_label_moves_the_bar_and_back() {
        let mut state = vec![0; state_words(1)];
        apply(&mut state, 0.01, normal(20.0));
        assert!((bar(&state) - 24.0).abs() < 1e-5);
        apply(&mut state, 0.01, normal(10.0));
        assert!((bar(&state) - 24.0).abs() < 1e-5, "less surprising: covered already");
        assert!(is_dismissed(&state, 0.01, 23.9) && !is_dismissed(&state, 0.01, 24.1));
        apply(&mut state, 0.01, Label::Anomaly);
        assert!(!is_dismissed(&state, 0.01, 1e-3));
        for score in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            apply(&mut state, 0.01, Label::Normal { score });
            assert!(bar(&state) == 0.0);
        }
        apply(&mut state, 0.01, Label::Normal { score: f64::INFINITY });
        assert!(bar(&state) <= 2e15);
    }

    #[test]
    fn a_bar_holds_for_sixteen_horizons() {
        let mut state = vec![0; state_words(1)];
        apply(&mut state, 0.01, normal(20.0));
        state[SEEN] = 1600;
        assert!(is_dismissed(&state, 0.01, 20.0));
        state[SEEN] = 1601;
        assert!(!is_dismissed(&state, 0.01, 20.0));
        apply(&mut state, 0.01, normal(5.0));
        assert!((bar(&state) - 6.0).abs() < 1e-5, "what is over is not taken up again");
        // Where counts go back, a bar that was raised before is over.
        (state[SEEN], state[BAR_SEEN]) = (0xfffe_0000, 0xffff_fff0);
        assert!(!is_dismissed(&state, 0.01, 5.0));
    }
}
