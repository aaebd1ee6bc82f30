//! Byte-level BPE (Sennrich et al. 2016, on bytes as GPT-2 has it): words by GPT-2's pattern, bytes, then merges.
//!
//! The pattern is `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. A package under
//! `benches/peers` compares the results with the library that defined the rules. Letters and numbers are those of
//! the standard library's Unicode, so the two differ on letters newer than the other's tables.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use unicode_normalization::char::is_combining_mark;

/// What `tokenizer.json` says.
#[derive(Debug)]
pub(super) struct Bpe {
    /// The token of each byte.
    pub(super) bytes: Box<[u32; 256]>,
    /// Rank and result of each merge.
    pub(super) merges: HashMap<(u32, u32), (u32, u32)>,
    /// Whether a text that begins with no space gets one.
    pub(super) space_before: bool,
}

/// The characters that stand for bytes in a vocabulary: printing ones of Latin-1 for themselves, then those from
/// U+0100 on for the others.
pub(super) fn characters() -> [char; 256] {
    let mut next = 0x100_u32;
    std::array::from_fn(|byte| {
        let own = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if own {
            u32::try_from(byte).unwrap_or(0)
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or('\0')
    })
}

impl Bpe {
    /// Takes a piece of text apart; stops behind `most` tokens.
    pub(super) fn split(&self, text: &str, most: usize, tokens: &mut Vec<u32>) {
        let spaced;
        let mut rest = text;
        if self.space_before && !text.is_empty() && !text.starts_with(' ') {
            spaced = format!(" {text}");
            rest = &spaced;
        }
        while !rest.is_empty() && tokens.len() < most {
            let (word, behind) = rest.split_at(word_bytes(rest));
            self.word(word, tokens);
            rest = behind;
        }
    }

    /// Merges the bytes of a word: the pair of the lowest rank first, of equals the leftmost.
    fn word(&self, word: &str, tokens: &mut Vec<u32>) {
        let mut ids: Vec<u32> = word.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        // Who follows and precedes; what was merged away follows itself.
        let mut next: Vec<usize> = (1..=ids.len()).collect();
        let mut before: Vec<usize> = (0..ids.len()).map(|at| at.wrapping_sub(1)).collect();
        let mut heap = BinaryHeap::new();
        let offer = |heap: &mut BinaryHeap<_>, ids: &[u32], at: usize, to: usize| {
            if to < ids.len()
                && let Some(&(rank, id)) = self.merges.get(&(ids[at], ids[to]))
            {
                heap.push(Reverse((rank, at, id)));
            }
        };
        (0..ids.len()).for_each(|at| offer(&mut heap, &ids, at, at + 1));
        while let Some(Reverse((_, at, id))) = heap.pop() {
            let to = next[at];
            if to == at || to >= ids.len() {
                continue;
            }
            // It may be another pair by now.
            if self.merges.get(&(ids[at], ids[to])).is_none_or(|&(_, now)| now != id) {
                continue;
            }
            ids[at] = id;
            next[at] = next[to];
            next[to] = to;
            if let Some(behind) = before.get_mut(next[at]) {
                *behind = at;
            }
            offer(&mut heap, &ids, at, next[at]);
            if before[at] < ids.len() {
                offer(&mut heap, &ids, before[at], at);
            }
        }
        let mut at = 0;
        while at < ids.len() {
            tokens.push(ids[at]);
            at = next[at];
        }
    }
}

/// What the pattern tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Letter,
    Number,
    Other,
}

fn kind(c: char) -> Kind {
    if c.is_whitespace() {
        Kind::Space
    } else if c.is_numeric() {
        Kind::Number
    } else if is_letter(c) {
        Kind::Letter
    } else {
        Kind::Other
    }
}

/// Whether a character that is no number has a general category of letters: alphabetic, but neither a mark nor one of
/// the enclosed letters, which are symbols.
fn is_letter(c: char) -> bool {
    let enclosed = matches!(c,
        '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f149}' | '\u{1f150}'..='\u{1f169}' | '\u{1f170}'..='\u{1f189}');
    c.is_alphabetic() && !is_combining_mark(c) && !enclosed
}

/// Bytes of the word that a text which is not empty begins with.
fn word_bytes(text: &str) -> usize {
    const ENDINGS: &[&str] = &["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    if let Some(ending) = ENDINGS.iter().find(|ending| text.starts_with(**ending)) {
        return ending.len();
    }
    let space = usize::from(text.starts_with(' '));
    let run = |from: usize, of: Kind| {
        let end = text[from..].char_indices().find(|&(_, c)| kind(c) != of);
        end.map_or(text.len(), |(at, _)| from + at)
    };
    if let Some(c) = text[space..].chars().next()
        && kind(c) != Kind::Space
    {
        return run(space, kind(c));
    }
    let end = run(0, Kind::Space);
    // The last space of several goes with what follows.
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    if end < text.len() && end > last { end - last } else { end }
}

#[cfg(test)]
mod tests {
    use super::word_bytes;

    #[test]
    fn words_are_those_of_the_pattern() {
        let mut rest = "I'll don'T  x1é\u{301} \n\n a'\u{2460}!? \t";
        let mut words = Vec::new();
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(word_bytes(rest));
            words.push(word);
            rest = behind;
        }
        let want = [
            "I", "'ll", " don", "'", "T", " ", " x", "1", "é", "\u{301}", " \n\n", " a", "'",
            "\u{2460}", "!?", " \t",
        ];
        assert_eq!(words, want);
    }
}
