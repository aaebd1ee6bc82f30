//! Unigram (Kudo 2018): of all ways to cut a word into pieces the one whose scores have the largest sum.

use super::pieces::Pieces;

/// What a character that no piece covers costs more than the worst piece.
const UNKNOWN_COSTS: f64 = 10.0;
/// What stands for a space.
pub(super) const SPACE: char = '▁';

/// What `tokenizer.json` says.
#[derive(Debug)]
pub(super) struct Unigram {
    /// Id and score of each piece.
    pub(super) pieces: Pieces<(u32, f64)>,
    pub(super) unknown: u32,
    pub(super) lowest: f64,
    /// Whether every kind of space ends a word and is dropped, before single spaces become [`SPACE`].
    pub(super) drop_spaces: bool,
    /// Whether a word that begins without [`SPACE`] gets one.
    pub(super) space_before: bool,
}

/// The best way to a place in a word: its score, its last piece, and where that begins.
#[derive(Clone, Copy)]
struct Way {
    score: f64,
    id: u32,
    from: usize,
}

impl Unigram {
    /// Takes a piece of text apart; stops behind `most` tokens.
    pub(super) fn split(&self, text: &str, most: usize, tokens: &mut Vec<u32>) {
        if !self.drop_spaces {
            return self.spaced(text, most, tokens);
        }
        for part in text.split_whitespace() {
            if tokens.len() >= most {
                return;
            }
            self.spaced(part, most, tokens);
        }
    }

    fn spaced(&self, part: &str, most: usize, tokens: &mut Vec<u32>) {
        if part.is_empty() {
            return;
        }
        let mut marked = String::with_capacity(part.len() + SPACE.len_utf8());
        if self.space_before && !part.starts_with([' ', SPACE]) {
            marked.push(SPACE);
        }
        marked.extend(part.chars().map(|c| if c == ' ' { SPACE } else { c }));
        let mut rest = &marked[..];
        while let Some(first) = rest.chars().next()
            && tokens.len() < most
        {
            // Every mark begins a word.
            let behind = first.len_utf8();
            let end = rest[behind..].find(SPACE).map_or(rest.len(), |at| behind + at);
            self.word(&rest[..end], tokens);
            rest = &rest[end..];
        }
    }

    fn word(&self, word: &str, tokens: &mut Vec<u32>) {
        let mut ways: Vec<Option<Way>> = vec![None; word.len() + 1];
        for (from, c) in word.char_indices() {
            // One character at least leads to every next place.
            let here = ways[from].map_or(0.0, |way| way.score);
            let mut reach = |bytes: usize, id: u32, score: f64| {
                let way = &mut ways[from + bytes];
                let score = here + score;
                if way.is_none_or(|way| score > way.score) {
                    *way = Some(Way { score, id, from });
                }
            };
            let mut covered = false;
            for (bytes, (id, score)) in self.pieces.prefixes(&word[from..]) {
                covered |= bytes == c.len_utf8();
                reach(bytes, id, score);
            }
            if !covered {
                reach(c.len_utf8(), self.unknown, self.lowest - UNKNOWN_COSTS);
            }
        }
        let begin = tokens.len();
        let mut end = word.len();
        // Unknown ones side by side become one, which may happen to be a piece.
        let mut unknown = None;
        while let Some(way) = ways[end].filter(|_| end > 0) {
            if way.id == self.unknown {
                unknown.get_or_insert(end);
            } else {
                tokens.extend(unknown.take().map(|to| self.fused(&word[end..to])));
                tokens.push(way.id);
            }
            end = way.from;
        }
        tokens.extend(unknown.map(|to| self.fused(&word[end..to])));
        tokens[begin..].reverse();
    }

    fn fused(&self, text: &str) -> u32 {
        self.pieces.get(text).map_or(self.unknown, |(id, _)| id)
    }
}
