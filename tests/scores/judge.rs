//! One key's scores against the definition's.

use super::spec::{Ask, State};
use super::{Reading, Words};
use pelton::ops::score::{ALERT, CLAMPED, DRIFTED, MISSING, RESTING, RULED_OUT, USUAL, WARMING};

/// The surprise of a score, as the library has it.
pub fn surprise(words: &Words) -> f64 {
    let x = f64::from(f32::from_bits(words[5]));
    match words[4] {
        flags if flags & MISSING != 0 => 0.0,
        flags if flags & USUAL != 0 => x.exp().ln_1p(),
        _ => x,
    }
}

/// Compares one key's scores with the definition's; returns how many flags differed where a rounding may decide.
pub fn judge(
    ask: &Ask,
    events: &[Reading],
    values: fn(&Reading) -> Vec<f64>,
    got: &[Words],
) -> usize {
    let mut state = State::new(values(&events[0]).len());
    assert_eq!(events.len(), got.len(), "a score for each event");
    let mut doubtful = 0;
    for (i, (event, got)) in events.iter().zip(got).enumerate() {
        let want = state.step(ask, event.at, &values(event));
        let flags = got[4];
        let is = |flag| flags & flag != 0;
        let close = |got: u32, want: f64, scale: f64| {
            (f64::from(f32::from_bits(got)) - want).abs() <= 1e-3 * (want.abs() * 1e-3 + scale)
        };
        let context = || format!("event {i} {event:?}: {got:x?}, {want:?}");
        assert_eq!((is(MISSING), is(CLAMPED)), (want.missing, want.clamped), "{}", context());
        assert_eq!(u64::from(got[9]), u64::from(state.seen), "{}", context());
        if want.choice < 1e-4 {
            doubtful += 1;
            continue;
        }
        let tolerance = 1e-4 + 4e-3 * want.surprise;
        assert!((surprise(got) - want.surprise).abs() <= tolerance, "{}", context());
        if !want.missing && (flags >> 8 & 7) as usize == want.value && want.tie > 1e-3 {
            let scale = want.variance.sqrt() + 1e-6;
            assert!(close(got[7], want.expected, scale + want.expected.abs()), "{}", context());
            assert!(close(got[8], want.variance, 10.0 * (want.variance + 1e-9)), "{}", context());
        }
        let decided = [
            (is(ALERT), want.alert),
            (is(RESTING), want.resting),
            (is(WARMING), want.warming),
            (is(RULED_OUT), want.ruled_out),
            (is(DRIFTED), want.drifted),
        ];
        if decided.iter().any(|(got, want)| got != want) {
            assert!(want.margin < 4e-3, "{}", context());
            doubtful += 1;
        }
        if is(DRIFTED) {
            state = State::new(values(event).len());
        }
    }
    doubtful
}

/// The events of a key.
pub fn of_key(events: &[Reading], key: u32) -> Vec<Reading> {
    events.iter().filter(|event| event.key == key).copied().collect()
}
