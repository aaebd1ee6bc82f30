//! Where messages come from: lines of standard input, or made ones at a rate.

use pelton::base::rng::SplitMix;
use std::io::{self, BufRead, Read};
use std::time::{Duration, Instant};

/// Reads one line without its end into `line`, which is emptied first: no more than `most` bytes of it, and the number
/// of all it had; `None` when there are no more.
pub(crate) fn line(
    input: &mut impl BufRead,
    most: usize,
    line: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    line.clear();
    let read = input.by_ref().take(most as u64 + 2).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(None);
    }
    let ended = line.pop_if(|byte| *byte == b'\n').is_some();
    if ended {
        line.pop_if(|byte| *byte == b'\r');
        return Ok(Some(line.len()));
    }
    // What is left of a long line is passed over, a piece at a time.
    let mut length = line.len();
    if read < most + 2 {
        return Ok(Some(length));
    }
    loop {
        let here = input.fill_buf()?;
        let end = here.iter().position(|&byte| byte == b'\n');
        let passed = end.map_or(here.len(), |end| end + 1);
        length += end.unwrap_or(passed);
        input.consume(passed);
        if passed == 0 || end.is_some() {
            return Ok(Some(length));
        }
    }
}

/// Messages from a seed, so many a second.
pub(crate) struct Made {
    rng: SplitMix,
    begin: Instant,
    rate: u64,
    made: u64,
}

impl Made {
    pub(crate) fn new(seed: u64, rate: u64) -> Self {
        Self { rng: SplitMix::new(seed), begin: Instant::now(), rate, made: 0 }
    }

    /// The next one, when it is due.
    pub(crate) fn next(&mut self, text: &mut Vec<u8>) {
        const BEGIN: [&str; 6] = [
            "I want",
            "Nobody told me about",
            "Thanks for",
            "Stop",
            "Where is",
            "This is all about",
        ];
        const MIDDLE: [&str; 6] = [
            "my refund",
            "the parcel",
            "these stupid rules",
            "free coins",
            "your help",
            "the game",
        ];
        const END: [&str; 6] =
            [" right now!", ".", " at my address", " or else", ", please", " http://example.com"];
        if let Some(due) = self.made.saturating_mul(1_000_000_000).checked_div(self.rate) {
            let due = Duration::from_nanos(due);
            std::thread::sleep(due.saturating_sub(self.begin.elapsed()));
        }
        self.made += 1;
        text.clear();
        let mut draw =
            |words: &[&'static str; 6]| words[usize::try_from(self.rng.below(6)).unwrap_or(0)];
        let [begin, middle, end] = [draw(&BEGIN), draw(&MIDDLE), draw(&END)];
        text.extend([begin, " ", middle, end].concat().bytes());
    }
}
