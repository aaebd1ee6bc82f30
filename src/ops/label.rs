//! What a person says of an alert, and what a key's state makes of it.
//!
//! Spec. A key keeps its latest four alerts, each as a mark of the event's time, `low ^ (high * 0x9E3779B9)`, and its
//! surprise; the score kernel writes them. A label names one by its time; of any other time it changes nothing.
//!
//! - **Normal**, the alert was wrong: the key's *bar* rises to a fifth above the alert's surprise, unless it is there
//!   already. For the next 16 horizons of events a candidate up to the bar is *dismissed*: it is marked, and no alert.
//!   A label speaks of one kind of alert, so what is more surprising alerts as ever.
//! - **Anomaly**, the alert was right: the key has no bar any more, so that the like of it alerts again, whatever was
//!   said before. (Not a lower bar: the second of two equal events is less surprising.) The asked rate of false alarms
//!   stays: what is confirmed is no reason for more alarms.
//!
//! The score itself does not change, only what becomes of it. The kernel compares and counts (`ops::decide`); labels are
//! rare, so the host writes them into the state, between two batches.

use super::batch::{hi, lo};
use super::score::{AGAIN, ALERTS, ALERTS_KEPT, BAR, BAR_SEEN, SEEN};
use crate::base::time::Ticks;

/// What an alert turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Nothing is wrong: for a while alerts of its key like it, up to a fifth more surprising, are dismissed.
    Normal,
    /// It was right: nothing of its key is dismissed any more, whatever was said before.
    Anomaly,
}

/// Horizons of events that a bar holds for.
pub const BAR_HORIZONS: f32 = 16.0;

/// What is kept of an alert's time, to find it by.
#[inline(always)]
pub const fn mark(time: [u32; 2]) -> u32 {
    time[0] ^ time[1].wrapping_mul(0x9E37_79B9)
}

/// Whether the bar still holds, after so many events, at this rate of forgetting.
#[inline(always)]
pub(super) fn holds(state: &[u32], rate: f32) -> bool {
    state[SEEN].wrapping_sub(state[BAR_SEEN]) as f32 * rate <= BAR_HORIZONS
}

/// Keeps an alert; the oldest one goes.
pub(super) fn keep_alert(state: &mut [u32], time: [u32; 2], surprise: f32) {
    state.copy_within(ALERTS..ALERTS + 2 * (ALERTS_KEPT - 1), ALERTS + 2);
    (state[ALERTS], state[ALERTS + 1]) = (mark(time), surprise.to_bits());
}

/// Takes a label in; false when the state knows of no alert at this time. `rate` is one by the longest horizon.
pub fn apply(state: &mut [u32], rate: f32, time: Ticks, label: Label) -> bool {
    let wanted = mark([lo(time), hi(time)]);
    let alerts = state[ALERTS..ALERTS + 2 * ALERTS_KEPT].chunks_exact(2);
    let kept = alerts.map(|alert| (alert[0], f32::from_bits(alert[1])));
    let Some((_, surprise)) =
        kept.into_iter().find(|&(at, surprise)| at == wanted && surprise > 0.0)
    else {
        return false;
    };
    let bar = if holds(state, rate) { f32::from_bits(state[BAR]) } else { 0.0 };
    match label {
        Label::Normal => {
            state[BAR] = bar.max(surprise * AGAIN).to_bits();
            state[BAR_SEEN] = state[SEEN];
        }
        Label::Anomaly => state[BAR] = 0,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::score::state_words;

    fn bar(state: &[u32]) -> f32 {
        f32::from_bits(state[BAR])
    }

    #[test]
    fn a_label_moves_the_bar_of_its_alert_and_back() {
        let mut state = vec![0; state_words(1)];
        assert!(!apply(&mut state, 0.01, 0, Label::Normal), "no alert was at time 0");
        for (at, surprise) in [(5, 10.0), (1 << 40, 20.0), (7, 30.0)] {
            keep_alert(&mut state, [lo(at), hi(at)], surprise);
        }
        assert!(apply(&mut state, 0.01, 1 << 40, Label::Normal));
        assert!((bar(&state) - 24.0).abs() < 1e-5);
        assert!(apply(&mut state, 0.01, 5, Label::Normal), "less surprising: covered already");
        assert!((bar(&state) - 24.0).abs() < 1e-5);
        assert!(apply(&mut state, 0.01, 1 << 40, Label::Anomaly));
        assert!(bar(&state) == 0.0);
        assert!(apply(&mut state, 0.01, 7, Label::Normal));
        assert!((bar(&state) - 36.0).abs() < 1e-5);
        assert!(!apply(&mut state, 0.01, 6, Label::Anomaly), "no alert was at time 6");
    }

    #[test]
    fn four_alerts_are_kept_and_a_bar_holds_for_sixteen_horizons() {
        let mut state = vec![0; state_words(1)];
        (1..=5).for_each(|at| keep_alert(&mut state, [at, 0], 10.0));
        assert!(!apply(&mut state, 0.01, 1, Label::Normal), "the fifth one back");
        assert!(apply(&mut state, 0.01, 2, Label::Normal));
        state[SEEN] = 1600;
        assert!(holds(&state, 0.01));
        state[SEEN] = 1601;
        assert!(!holds(&state, 0.01));
        keep_alert(&mut state, [6, 0], 5.0);
        assert!(apply(&mut state, 0.01, 6, Label::Normal));
        assert!((bar(&state) - 6.0).abs() < 1e-5, "what is over is not taken up again");
    }
}
