//! Which waiting events make the next batch: by deadline, by length, within a budget of tokens.
//!
//! The event with the earliest deadline always goes, so none waits for ever. Behind it, in the order of their
//! deadlines, go those that still fit: a long one that does not is passed over for shorter ones. What fits is the
//! budget, or less where a batch that large would be done after that first deadline, by what batches have taken so far.
//! When not even the first can be in time any more, the budget alone counts: smaller batches would only make the device
//! slower.
//!
//! A serial device does a batch's tokens one after another, and all results come at its end. So there a batch is no
//! larger than what makes its fixed time small: the first results come sooner, and none later.
//!
//! Nothing of this shows in an event's result: kernels add up each sequence for itself.

/// Share of the time to the deadline that a batch may be planned to take: what is estimated is not certain.
const PLANNED: f64 = 0.75;
/// On a serial device, tokens that a batch may have in any case: a matrix product takes a few dozen at its best.
const SERIAL_TOKENS: usize = 64;
/// On a serial device, how many times its fixed time a batch may take.
const SERIAL_FIXED: f64 = 20.0;
/// What a batch leaves of the weight of those before it: about thirty count.
const KEEP: f64 = 0.97;

/// What batches take: a fixed time and a time for each token, the line through what those so far took, by least squares
/// with weights that fade.
#[derive(Debug, Default)]
struct Cost {
    n: f64,
    tokens: f64,
    squares: f64,
    ns: f64,
    products: f64,
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
impl Cost {
    fn learn(&mut self, tokens: usize, ns: u64) {
        let (x, y) = (tokens as f64, ns as f64);
        let add = |sum: &mut f64, value: f64| *sum = *sum * KEEP + value;
        add(&mut self.n, 1.0);
        add(&mut self.tokens, x);
        add(&mut self.squares, x * x);
        add(&mut self.ns, y);
        add(&mut self.products, x * y);
    }

    /// Nanoseconds of a batch and of each token; zeros before there was one.
    fn line(&self) -> (f64, f64) {
        if self.n == 0.0 {
            return (0.0, 0.0);
        }
        let each = self.ns / self.tokens;
        let spread = self.n * self.squares - self.tokens * self.tokens;
        // Batches of one size say nothing of a fixed time.
        if spread <= 1e-3 * self.tokens * self.tokens {
            return (0.0, each);
        }
        let slope = (self.n * self.products - self.tokens * self.ns) / spread;
        let slope = slope.clamp(0.0, each);
        ((self.ns - slope * self.tokens) / self.n, slope)
    }
}

/// What batches may have.
#[derive(Debug)]
pub(super) struct Packing {
    tokens_max: usize,
    sequences_max: usize,
    deadline_ns: Option<u64>,
    serial: bool,
    cost: Cost,
}

impl Packing {
    pub(super) fn new(tokens_max: usize, sequences_max: usize, deadline_ns: Option<u64>) -> Self {
        Self { tokens_max, sequences_max, deadline_ns, serial: false, cost: Cost::default() }
    }

    /// For a device that does one token after another.
    pub(super) fn serial(self, serial: bool) -> Self {
        Self { serial, ..self }
    }

    /// Tokens of a batch beyond which more gain nothing.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, clamped"
    )]
    fn budget(&self) -> usize {
        if !self.serial {
            return self.tokens_max;
        }
        let (fixed, each) = self.cost.line();
        let worth = SERIAL_FIXED * fixed / each.max(1e-9);
        (worth.min(self.tokens_max as f64) as usize).max(SERIAL_TOKENS.min(self.tokens_max))
    }

    /// A batch of so many tokens took so long on the device, by itself.
    pub(super) fn learn(&mut self, tokens: usize, ns: u64) {
        self.cost.learn(tokens, ns);
    }

    /// When an event that was committed then is to be done.
    pub(super) fn deadline(&self, stamp_ns: u64) -> u64 {
        self.deadline_ns.map_or(u64::MAX, |ns| stamp_ns.saturating_add(ns))
    }

    /// Tokens of events that may wait for batches: those of two batches, and no more than take half of the time to a
    /// deadline. What does not wait here waits in a lane, whose policy knows what to do with it.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, clamped"
    )]
    pub(super) fn admitted(&self) -> usize {
        let most = 2 * self.tokens_max;
        let Some(deadline_ns) = self.deadline_ns else { return most };
        let (fixed, each) = self.cost.line();
        let fits = (deadline_ns as f64 / 2.0 - fixed) / each.max(1e-9);
        // One event is taken in any case.
        fits.clamp(1.0, most as f64) as usize
    }

    /// Room for the batch that begins with a sequence of so many tokens, whose deadline is the earliest. `left_ns` is
    /// the time to that deadline, `ahead` the tokens of batches that the device does before.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, clamped"
    )]
    pub(super) fn room(&self, first: usize, left_ns: u64, ahead: (usize, usize)) -> Room {
        let mut tokens = self.budget();
        if self.deadline_ns.is_some() {
            let (fixed, each) = self.cost.line();
            let (batches, before) = ahead;
            let before = fixed * batches as f64 + each * before as f64;
            let time = left_ns as f64 * PLANNED - before - fixed;
            let fits = (time / each.max(1e-9)).clamp(0.0, self.tokens_max as f64) as usize;
            if fits >= first {
                tokens = tokens.min(fits);
            }
        }
        Room { tokens: tokens.max(first), sequences: self.sequences_max }
    }
}

/// What the batch that is being made may still take.
#[derive(Debug)]
pub(super) struct Room {
    tokens: usize,
    sequences: usize,
}

impl Room {
    /// Takes a sequence of so many tokens in, if it fits.
    pub(super) fn take(&mut self, tokens: usize) -> bool {
        let fits = tokens <= self.tokens && self.sequences > 0;
        if fits {
            self.tokens -= tokens;
            self.sequences -= 1;
        }
        fits
    }

    /// Whether nothing fits any more.
    pub(super) fn is_full(&self) -> bool {
        self.tokens == 0 || self.sequences == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Which of these lengths go, first come first.
    fn packed(room: &mut Room, lengths: &[usize]) -> Vec<usize> {
        lengths.iter().copied().filter(|&tokens| room.take(tokens)).collect()
    }

    #[test]
    fn shorter_ones_fill_what_long_ones_leave() {
        let packing = Packing::new(100, 4, None);
        let mut room = packing.room(60, u64::MAX, (0, 0));
        assert_eq!(packed(&mut room, &[60, 50, 30, 11, 10, 1]), [60, 30, 10]);
        assert!(room.is_full());
        let mut room = packing.room(1, 0, (9, 900));
        assert_eq!(packed(&mut room, &[1; 9]).len(), 4, "sequences are bounded, too");
        assert!(room.is_full());
    }

    #[test]
    fn a_batch_is_as_large_as_the_first_deadline_allows() {
        let mut packing = Packing::new(1000, 1000, Some(20 * MS));
        assert_eq!(packing.deadline(5), 20 * MS + 5);
        let first = |packing: &Packing, left, ahead| packing.room(10, left, ahead).tokens;
        assert_eq!(first(&packing, 0, (0, 0)), 1000, "nothing is known yet");
        // A millisecond, and 10 us a token.
        for tokens in (10..1000).step_by(10) {
            packing.learn(tokens, MS + 10_000 * tokens as u64);
        }
        let close =
            |found: usize, want: usize| assert!(found.abs_diff(want) <= want / 20, "{found}");
        close(first(&packing, 4 * MS, (0, 0)), 200);
        close(first(&packing, 8 * MS, (0, 0)), 500);
        close(first(&packing, 8 * MS, (1, 200)), 200);
        assert_eq!(first(&packing, 20 * MS, (0, 0)), 1000);
        assert_eq!(first(&packing, MS, (0, 0)), 1000, "it is late in any case");
        assert_eq!(Packing::new(50, 9, Some(0)).room(50, 0, (0, 0)).tokens, 50);
    }

    #[test]
    fn a_serial_device_gets_batches_that_are_worth_their_fixed_time() {
        let taught = |fixed_ns: u64, serial: bool| {
            let mut packing = Packing::new(1000, 1000, None).serial(serial);
            for tokens in (10..1000).step_by(10) {
                packing.learn(tokens, fixed_ns + 10_000 * tokens as u64);
            }
            packing.room(10, u64::MAX, (0, 0)).tokens
        };
        assert_eq!(taught(100_000, false), 1000);
        assert!((190..210).contains(&taught(100_000, true)), "{}", taught(100_000, true));
        assert_eq!((taught(0, true), taught(MS, true)), (SERIAL_TOKENS, 1000));
        let packing = Packing::new(1000, 9, None).serial(true);
        assert_eq!(packing.room(500, 0, (0, 0)).tokens, 500, "the first goes in any case");
        assert_eq!(Packing::new(20, 9, None).serial(true).room(1, 0, (0, 0)).tokens, 20);
    }

    #[test]
    fn what_waits_is_done_in_half_of_the_deadline() {
        let mut packing = Packing::new(1000, 1000, Some(20 * MS));
        assert_eq!(packing.admitted(), 2000, "nothing is known yet");
        for tokens in (10..1000).step_by(10) {
            packing.learn(tokens, MS + 10_000 * tokens as u64);
        }
        let found = packing.admitted();
        assert!((860..940).contains(&found), "9 of 10 ms at 10 us a token: {found}");
        for _ in 0..500 {
            packing.learn(10, 100 * MS);
        }
        assert_eq!(packing.admitted(), 1, "one is taken in any case");
        assert_eq!(Packing::new(1000, 9, None).admitted(), 2000);
    }

    #[test]
    fn the_estimate_follows_what_changes_and_stays_a_number() {
        let mut cost = Cost::default();
        assert_eq!(cost.line(), (0.0, 0.0));
        (0..100).for_each(|_| cost.learn(64, 64_000));
        let (fixed, each) = cost.line();
        assert!(fixed == 0.0 && (each - 1000.0).abs() < 1e-6, "of one size: {fixed} {each}");
        (0..300).for_each(|i| cost.learn(10 + i % 50, 5_000));
        let (fixed, each) = cost.line();
        assert!(
            (4_000.0..5_500.0).contains(&fixed) && (0.0..20.0).contains(&each),
            "{fixed} {each}"
        );
        (0..300).for_each(|i| cost.learn(1 + i % 2, u64::MAX));
        let (fixed, each) = cost.line();
        assert!(fixed.is_finite() && each.is_finite() && fixed >= 0.0 && each >= 0.0);
    }
}
